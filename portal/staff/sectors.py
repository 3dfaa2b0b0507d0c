"""Sectors: the list by load, the page of one with the services that hang on it, enter, edit and remove."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, HiddenField

from crm.problems import ChangedMeanwhile, Invalid
from crm.sites import (
    Aim,
    SectorDetails,
    aim,
    change_sector,
    create_sector,
    delete_sector,
    details_of_sector,
    sector_loads,
)
from db.models import AccountingSession, Nas, RatePlan, Sector, Service, Site, Subscriber
from portal import context
from portal.errors import put_on_form
from portal.fields import RateField
from portal.forms import OPTIONAL, Form, choice, long_text, seen_version, text, whole_number
from portal.labels import label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.sites import find as find_site
from portal.staff.sites import load_state, nas_choices
from portal.staff.subscribers import BY_NAME, differences
from portal.tables import Column, Table, page_of, show

blueprint = Blueprint("sectors", __name__, url_prefix="/sectors")

_LIVE = (
    select(AccountingSession.id)
    .where(AccountingSession.service_id == Service.id, AccountingSession.ended_at.is_(None))
    .correlate(Service)
    .exists()
)
_SERVICES = (
    select(func.count())
    .where(Service.sector_id == Sector.id, Service.state.in_(("active", "suspended", "paused")))
    .correlate(Sector)
    .scalar_subquery()
)

TABLE = Table(
    name="sectors",
    columns=(
        Column("site", _l("Site"), lambda row: row.site, Site.name),
        Column("name", _l("Sector"), lambda row: row.Sector.name, Sector.name),
        Column("azimuth", _l("Azimuth"), lambda row: row.Sector.azimuth, Sector.azimuth, numeric=True, wide=True),
        Column("frequency", _l("MHz"), lambda row: row.Sector.frequency, Sector.frequency, numeric=True, wide=True),
        Column("services", _l("Services"), lambda row: row.services, _SERVICES, numeric=True),
        Column("most", _l("At most"), lambda row: row.Sector.most_services, numeric=True, wide=True),
        Column("capacity", _l("Capacity"), lambda row: row.Sector.capacity, Sector.capacity, numeric=True),
    ),
    order="site",
    tie=Sector.id,
    search=lambda words: Sector.name.icontains(words, autoescape=True) | Site.name.icontains(words, autoescape=True),
    search_hint=_l("Site or sector"),
    title=_l("Sectors"),
)


def aimed(row: Any) -> Aim | None:
    """Return how the subscriber of a row lies to its sector; None where nobody said where they live."""
    return None if row.latitude is None else aim(row.Site, row.Sector, row.latitude, row.longitude)


SERVICES = Table(
    name="sector-services",
    columns=(
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, BY_NAME),
        Column("name", _l("User name"), lambda row: row.Service.name, Service.name, wide=True),
        Column("state", _l("State"), lambda row: label("service_state", row.Service.state)),
        Column("line", _l("Line"), lambda row: label("line", "online" if row.live else "offline")),
        Column("plan", _l("Rate plan"), lambda row: row.plan, wide=True),
        Column("sight", _l("Line of sight"), lambda row: row.Service.line_of_sight, wide=True),
        Column("aim", _l("Distance"), lambda row: row_aim.distance if (row_aim := aimed(row)) else None),
    ),
    order="subscriber",
    tie=Service.id,
    search=lambda words: (
        Service.name.icontains(words, autoescape=True) | Subscriber.name.icontains(words, autoescape=True)
    ),
    search_hint=_l("Subscriber or user name"),
    title=_l("Services of a sector"),
)


class SectorForm(Form):
    name = text(_l("Name"), required=True)
    nas_id = choice(_l("Router"), numeric=True)
    port = text(_l("Port on the router"))
    azimuth = whole_number(_l("Azimuth"), required=True, default=0)
    beam_width = whole_number(_l("Beam width"), required=True, default=90)
    reach = whole_number(_l("Reach"), required=True, default=3000)
    frequency = whole_number(_l("Frequency"))
    capacity = RateField(_l("Capacity"), [OPTIONAL])
    most_services = whole_number(_l("Most services"))
    in_use = BooleanField(_l("In use"), default=True)
    notes = long_text(_l("Notes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nas_id.choices = nas_choices()

    def details(self) -> SectorDetails:
        return SectorDetails(
            name=self.name.data or "",
            nas_id=self.nas_id.data,
            port=self.port.data or "",
            azimuth=self.azimuth.data or 0,
            beam_width=self.beam_width.data or 0,
            reach=self.reach.data or 0,
            frequency=self.frequency.data,
            capacity=self.capacity.data,
            most_services=self.most_services.data,
            in_use=self.in_use.data,
            notes=self.notes.data or "",
        )


def find(sector_id: int) -> Sector:
    """Return a sector of this operator, or answer 404."""
    return context.db().get(Sector, sector_id) or abort(404)


@blueprint.get("/")
@requires(Permission.SITES_VIEW)
def index() -> ResponseReturnValue:
    query = select(Sector, Site.name.label("site"), _SERVICES.label("services")).join(Site, Site.id == Sector.site_id)
    session = context.db()
    if request.args.get("format"):
        return show(session, TABLE, query, "staff/sectors/index.html")
    listing = page_of(session, TABLE, query, request.args)
    sectors = [row.Sector for row in listing.rows]
    loads = sector_loads(session, context.operator().id, [sector.id for sector in sectors], context.now())
    states = {sector.id: load_state(sector, loads[sector.id]) for sector in sectors}
    return render_template("staff/sectors/index.html", listing=listing, loads=loads, states=states)


@blueprint.route("/new/<int:site_id>", methods=["GET", "POST"])
@requires(Permission.SITES_EDIT)
def create(site_id: int) -> ResponseReturnValue:
    site = find_site(site_id)
    form = SectorForm(data={"nas_id": site.nas_id} if request.method == "GET" else None)
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            sector = create_sector(session, context.actor(), site, form.details())
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(sector)s is entered.", sector=sector.name))
            return redirect(url_for("sites.page", site_id=site.id))
    page = render_template("staff/sectors/form.html", form=form, site=site, sector=None, theirs=None)
    return page, 422 if form.errors else 200


@blueprint.get("/<int:sector_id>")
@requires(Permission.SITES_VIEW)
def page(sector_id: int) -> ResponseReturnValue:
    sector = find(sector_id)
    session = context.db()
    site = session.get_one(Site, sector.site_id)
    query = (
        select(
            Service,
            Subscriber.name.label("subscriber"),
            Subscriber.latitude,
            Subscriber.longitude,
            RatePlan.name.label("plan"),
            _LIVE.label("live"),
            Sector,
            Site,
        )
        .join(Sector, Sector.id == Service.sector_id)
        .join(Site, Site.id == Sector.site_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .where(Service.sector_id == sector.id, Service.state != "terminated")
    )
    load = sector_loads(session, site.operator_id, [sector.id], context.now())[sector.id]

    return show(
        session,
        SERVICES,
        query,
        "staff/sectors/page.html",
        sector=sector,
        site=site,
        nas=session.get(Nas, sector.nas_id) if sector.nas_id else None,
        load=load,
        load_state=load_state(sector, load),
        aimed=aimed,
    )


@blueprint.route("/<int:sector_id>/edit", methods=["GET", "POST"])
@requires(Permission.SITES_EDIT)
def edit(sector_id: int) -> ResponseReturnValue:
    sector = find(sector_id)
    site = context.db().get_one(Site, sector.site_id)
    form = SectorForm(obj=sector)
    theirs = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            change_sector(session, context.actor(), sector, form.details(), seen_version(form.version))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            theirs = differences(details_of_sector(sector), form.details())
            form.version.data = str(sector.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", sector_id=sector.id))
    page = render_template("staff/sectors/form.html", form=form, site=site, sector=sector, theirs=theirs)
    return page, 409 if theirs is not None else 422 if form.errors else 200


@blueprint.post("/<int:sector_id>/delete")
@requires(Permission.SITES_EDIT)
def delete(sector_id: int) -> ResponseReturnValue:
    session = context.db()
    sector = find(sector_id)
    name, site_id = sector.name, sector.site_id
    if not delete_sector(session, context.actor(), sector):
        refuse(_("Services hang or hung on %(sector)s. Take it out of use instead.", sector=name))
        return redirect(url_for(".page", sector_id=sector_id))
    session.commit()
    done(_("%(name)s is removed.", name=name))
    return redirect(url_for("sites.page", site_id=site_id))
