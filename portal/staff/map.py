"""The map: subscribers, sites, sectors and outages where they are, and putting them where they belong.

What lies in view is asked for by its corners as the map is moved. The list beside the map and the table hold the same,
for who sees no picture or has no mouse.
"""

from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import selectinload
from werkzeug.datastructures import MultiDict

from crm.incidents import place_of
from crm.map import STATES, Only, Part, areas_of_incidents, most_of, shown_in
from crm.problems import ChangedMeanwhile, Invalid
from crm.sites import change_map, move_site, sector_loads
from crm.subscribers import move_subscriber
from db.models import AccountingSession, Incident, Nas, RatePlan, RouterState, Sector, Service, Site, Subscriber
from portal import context
from portal.errors import problem_text, put_on_form
from portal.forms import Form, text
from portal.labels import choices, label
from portal.map_ground import ground, on_ground
from portal.messages import done
from portal.permissions import Permission, requires
from portal.sector_choices import sector_choices
from portal.staff.billing.statement import balance_for
from portal.staff.sites import load_state
from portal.staff.subscribers import BY_NAME
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("map", __name__, url_prefix="/map")

WORLD = Part(-85, -180, 85, 180, 2)
FILTERS = ("state", "plan", "sector", "router")


class GroundForm(Form):
    tiles = text(_l("Tile server"))
    attribution = text(_l("Whose map it is"))


# The page.


@blueprint.get("/")
@requires(Permission.MAP_VIEW)
def index() -> ResponseReturnValue:
    place = _number("place")
    return on_ground(
        render_template(
            "staff/map/index.html",
            ground=ground(),
            chosen={key: request.args.get(key, "") for key in FILTERS},
            options=_filter_choices(),
            view=_view(),
            around=most_of(context.db(), context.operator().id),
            placed=context.db().get(Subscriber, place) if place is not None else None,
            words=_words(),
        )
    )


def _filter_choices() -> list[tuple[str, str, list[tuple[str, str]]]]:
    session = context.db()
    plans = session.execute(select(RatePlan.id, RatePlan.name).where(~RatePlan.archived).order_by(RatePlan.name))
    routers = session.execute(select(Nas.id, Nas.name).order_by(Nas.name))
    sectors = [(str(value), title) for value, title in sector_choices() if value]
    return [
        ("state", _("Any state"), choices("map_state")),
        ("plan", _("Any plan"), [(str(row.id), row.name) for row in plans]),
        ("sector", _("Any sector"), sectors),
        ("router", _("Any router"), [(str(row.id), row.name) for row in routers]),
    ]


def _view() -> dict[str, float] | None:
    """Return the middle and zoom that the address of the page asks for."""
    values = [_degrees(request.args.get(key, ""), most) for key, most in (("lat", 85), ("lng", 180))]
    if None in values:
        return None
    return {"lat": values[0] or 0.0, "lng": values[1] or 0.0, "zoom": min(_number("zoom") or 14, 19)}


def _words() -> dict[str, str]:
    """Return what the script says; all in the reader's language."""
    return {
        **{f"state_{state}": label("map_state", state) for state in STATES},
        "many": _("%(num)s subscribers here. Zoom in to see each.", num="{num}"),
        "in_view": _("%(num)s in view", num="{num}"),
        "nobody": _("Nobody in view."),
        "saved": _("Put there."),
        "undo": _("Undo"),
        "changed": _("Somebody changed this meanwhile. It is back where it was; look again."),
        "failed": _("Nothing was changed: the server could not be reached."),
        "subscribers": _("subscribers"),
        "outage": _("Outage"),
        "perhaps": _("Perhaps an outage"),
        "zoom_in": _("Zoom in"),
        "zoom_out": _("Zoom out"),
    }


@blueprint.get("/points")
@requires(Permission.MAP_VIEW)
def subscribers_in_view() -> ResponseReturnValue:
    """Answer what subscribers lie in `box=south,west,north,east` (degrees; without it the world) at `zoom`."""
    part = _part(request.args)
    if part is None:
        abort(400)
    today = context.now().astimezone(context.zone()).date()
    state = request.args.get("state")
    only = Only(state if state in STATES else None, _number("plan"), _number("sector"), _number("router"))
    shown = shown_in(context.db(), context.operator().id, part, only, today)
    named = context.may(Permission.SUBSCRIBERS_VIEW)
    points = shown.points if named else [(*point[:4], "", point[5]) for point in shown.points]
    return jsonify(counts=shown.counts, cells=shown.cells, points=points)


@blueprint.get("/network")
@requires(Permission.MAP_VIEW)
def network() -> ResponseReturnValue:
    """Answer the sites with their sectors and routers, and where open incidents are: few, so all at once."""
    session = context.db()
    sites = session.scalars(select(Site).options(selectinload(Site.sectors), selectinload(Site.nas))).all()
    states = session.execute(select(RouterState.nas_id, RouterState.status))
    routers = {row.nas_id: row.status for row in states}
    sectors = [sector for site in sites for sector in site.sectors if sector.in_use]
    loads = sector_loads(session, context.operator().id, [sector.id for sector in sectors], context.now())
    areas = areas_of_incidents(session, context.operator().id, context.now())
    dark_ports = {(area.incident.nas_id, area.incident.sector) for area in areas if area.incident.sector}
    dark_sites = {area.incident.site_id for area in areas if area.incident.scope == "site"}
    dark_sectors = {area.incident.sector_id for area in areas if area.incident.sector_id is not None}

    def is_dark(sector: Sector) -> bool:
        at_port = (sector.nas_id, sector.port) in dark_ports
        return at_port or sector.id in dark_sectors or sector.site_id in dark_sites

    return jsonify(
        sites=[
            {
                "id": site.id, "name": site.name, "lat": float(site.latitude), "lng": float(site.longitude),
                "kind": site.kind, "router": site.nas.name if site.nas else "",
                "router_state": routers.get(site.nas_id or 0, "unknown"), "version": site.version,
                "url": url_for("sites.page", site_id=site.id),
            }
            for site in sites
        ],
        sectors=[
            {
                "id": sector.id, "site": sector.site_id, "name": sector.name, "azimuth": sector.azimuth,
                "beam": sector.beam_width, "reach": sector.reach, "load": load_state(sector, loads[sector.id]),
                "services": loads[sector.id].services, "dark": is_dark(sector),
                "url": url_for("sectors.page", sector_id=sector.id),
            }
            for sector in sectors
        ],
        incidents=[
            {"title": _incident_title(area.incident), "proposed": area.incident.proposed, "corners": area.corners,
             "subscribers": area.subscribers, "url": url_for("incidents.page", incident_id=area.incident.id)}
            for area in areas
        ],
    )  # fmt: skip


def _incident_title(incident: Incident) -> str:
    if incident.title:
        return incident.title
    where = " · ".join(part for part in place_of(context.db(), incident) if part) or _("Network")
    lost = ngettext("%(num)s line lost", "%(num)s lines lost", incident.lost)
    return f"{where}: {lost}"


@blueprint.get("/subscribers/<int:subscriber_id>")
@requires(Permission.SUBSCRIBERS_VIEW)
def card(subscriber_id: int) -> ResponseReturnValue:
    """Answer the card of a subscriber, which the map shows beside their marker."""
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    services = session.scalars(
        select(Service)
        .where(Service.subscriber_id == subscriber.id, Service.state != "terminated")
        .options(selectinload(Service.plan), selectinload(Service.sector))
        .order_by(Service.id)
    ).all()
    live = set(
        session.scalars(
            select(AccountingSession.service_id).where(
                AccountingSession.service_id.in_([service.id for service in services]),
                AccountingSession.ended_at.is_(None),
            )
        )
    )
    return render_template(
        "staff/map/card.html", subscriber=subscriber, services=services, live=live, money=balance_for(subscriber)
    )


# Putting things where they are.


@blueprint.post("/subscribers/<int:subscriber_id>/position")
@requires(Permission.SUBSCRIBERS_EDIT)
def move(subscriber_id: int) -> ResponseReturnValue:
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    try:
        move_subscriber(session, context.actor(), subscriber, _place(), _seen())
    except Invalid as invalid:
        return jsonify(problem=problem_text(invalid.problems[0])), 422
    except ChangedMeanwhile:
        return jsonify(problem=_("Somebody changed this meanwhile. It is back where it was; look again.")), 409
    session.commit()
    return jsonify(version=subscriber.version)


@blueprint.post("/sites/<int:site_id>/position")
@requires(Permission.SITES_EDIT)
def move_tower(site_id: int) -> ResponseReturnValue:
    session = context.db()
    site = session.get(Site, site_id) or abort(404)
    try:
        move_site(session, context.actor(), site, _place(), _seen())
    except Invalid as invalid:
        return jsonify(problem=problem_text(invalid.problems[0])), 422
    except ChangedMeanwhile:
        return jsonify(problem=_("Somebody changed this meanwhile. It is back where it was; look again.")), 409
    session.commit()
    return jsonify(version=site.version)


# The same without a picture.


def _positioned(value: str) -> ColumnElement[bool]:
    return Subscriber.latitude.is_not(None) if value == "yes" else Subscriber.latitude.is_(None)


def _at_sector(value: str) -> ColumnElement[bool]:
    services = select(Service.id).where(Service.subscriber_id == Subscriber.id, Service.state != "terminated")
    return services.where(Service.sector_id == int(value)).exists()


TABLE = Table(
    name="map",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, BY_NAME),
        Column("address", _l("Address"), lambda row: row.address, wide=True),
        Column("sector", _l("Sector"), lambda row: ", ".join(one.sector.name for one in row.services if one.sector)),
        Column("latitude", _l("Latitude"), lambda row: row.latitude, Subscriber.latitude, numeric=True),
        Column("longitude", _l("Longitude"), lambda row: row.longitude, numeric=True),
    ),
    order="name",
    tie=Subscriber.id,
    filters=(
        Filter(
            "position",
            _l("With and without position"),
            lambda: [("yes", _("On the map")), ("no", _("Without position"))],
            _positioned,
        ),
        Filter(
            "sector",
            _l("Any sector"),
            lambda: [(str(value), title) for value, title in sector_choices() if value],
            _at_sector,
        ),
    ),
    search=lambda words: (
        Subscriber.name.icontains(words, autoescape=True) | Subscriber.address.icontains(words, autoescape=True)
    ),
    search_hint=_l("Name or address"),
    title=_l("Subscribers on the map"),
)


@blueprint.get("/table")
@requires(Permission.SUBSCRIBERS_VIEW)
def table() -> ResponseReturnValue:
    services = selectinload(Subscriber.services)
    query = select(Subscriber).options(services, services.selectinload(Service.sector))
    return show(context.db(), TABLE, query, "staff/map/table.html")


@blueprint.route("/ground", methods=["GET", "POST"])
@requires(Permission.SITES_EDIT)
def ground_page() -> ResponseReturnValue:
    form = GroundForm(obj=ground())
    if request.method == "POST" and form.validate():
        try:
            change_map(context.db(), context.actor(), form.tiles.data or "", form.attribution.data or "")
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved."))
            return redirect(url_for(".index"))
    return render_template("staff/map/ground.html", form=form), 422 if form.errors else 200


# What a browser sends.


def _number(key: str) -> int | None:
    typed = request.args.get(key, "")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else None


def _degrees(typed: str, most: float) -> float | None:
    try:
        value = float(typed)
    except ValueError:
        return None
    return value if isfinite(value) and abs(value) <= most else None


def _part(args: MultiDict[str, str]) -> Part | None:
    """Return the part of the world that is asked for, cut at the edges of the map; None where it makes no sense."""
    if "box" not in args:
        return WORLD
    try:
        south, west, north, east = (float(corner) for corner in args.get("box", "").split(","))
        zoom = int(args.get("zoom", ""))
    except ValueError:
        return None
    if not all(isfinite(corner) for corner in (south, west, north, east)) or south > north or west > east:
        return None
    south, west = max(south, WORLD.south), max(west, WORLD.west)
    north, east = min(north, WORLD.north), min(east, WORLD.east)
    return Part(south, west, north, east, min(max(zoom, 0), 20))


def _place() -> tuple[Decimal, Decimal]:
    """Return the latitude and longitude of a form; what is no number is no place, which who stores it refuses."""
    try:
        return Decimal(request.form.get("latitude", "")), Decimal(request.form.get("longitude", ""))
    except InvalidOperation:
        return Decimal("NaN"), Decimal("NaN")


def _seen() -> int:
    typed: Any = request.form.get("version", "")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 10 else 0
