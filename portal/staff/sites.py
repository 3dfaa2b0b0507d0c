"""Sites: the list, the page of one with its sectors and their load, enter, edit and remove."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import HiddenField

from crm.problems import ChangedMeanwhile, Invalid
from crm.sites import (
    NEARLY_FULL,
    SITE_KINDS,
    Load,
    SiteDetails,
    change_site,
    create_site,
    delete_site,
    details_of_site,
    sector_loads,
)
from db.models import Nas, Sector, Service, Site
from portal import context
from portal.errors import put_on_form
from portal.forms import Form, choice, coordinate, long_text, seen_version, text, whole_number
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import differences
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("sites", __name__, url_prefix="/sites")

_SECTORS = select(func.count()).where(Sector.site_id == Site.id).correlate(Site).scalar_subquery()
_SERVICES = (
    select(func.count())
    .select_from(Service)
    .join(Sector, Sector.id == Service.sector_id)
    .where(Sector.site_id == Site.id, Service.state.in_(("active", "suspended", "paused")))
    .correlate(Site)
    .scalar_subquery()
)

TABLE = Table(
    name="sites",
    columns=(
        Column("name", _l("Name"), lambda row: row.Site.name, Site.name),
        Column("kind", _l("Kind"), lambda row: label("site_kind", row.Site.kind), Site.kind),
        Column("router", _l("Router"), lambda row: row.router, wide=True),
        Column("sectors", _l("Sectors"), lambda row: row.sectors, numeric=True),
        Column("services", _l("Services"), lambda row: row.services, numeric=True),
        Column("address", _l("Address"), lambda row: row.Site.address, wide=True),
        Column("latitude", _l("Latitude"), lambda row: row.Site.latitude, exported_only=True),
        Column("longitude", _l("Longitude"), lambda row: row.Site.longitude, exported_only=True),
    ),
    order="name",
    tie=Site.id,
    filters=(Filter("kind", _l("Any kind"), lambda: choices("site_kind"), lambda value: Site.kind == value),),
    search=lambda words: Site.name.icontains(words, autoescape=True) | Site.address.icontains(words, autoescape=True),
    search_hint=_l("Name or address"),
)


class SiteForm(Form):
    name = text(_l("Name"), required=True)
    kind = choice(_l("Kind"), default="tower")
    latitude = coordinate(_l("Latitude"), required=True)
    longitude = coordinate(_l("Longitude"), required=True)
    address = text(_l("Address"))
    height = whole_number(_l("Height"))
    nas_id = choice(_l("Router that stands there"), numeric=True)
    notes = long_text(_l("Notes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind.choices = [(kind, label("site_kind", kind)) for kind in SITE_KINDS]
        self.nas_id.choices = nas_choices()

    def details(self) -> SiteDetails:
        return SiteDetails(
            name=self.name.data or "",
            latitude=self.latitude.data,
            longitude=self.longitude.data,
            kind=self.kind.data,
            address=self.address.data or "",
            height=self.height.data,
            nas_id=self.nas_id.data,
            notes=self.notes.data or "",
        )


def nas_choices() -> list[tuple[Any, str]]:
    """Return the routers as a form offers them, after an empty choice."""
    rows = context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))
    return [("", "–"), *((row.id, row.name) for row in rows)]


def load_state(sector: Sector, load: Load) -> str:
    """Return which badge (`sector_load`) says how full a sector is."""
    if not sector.in_use:
        return "off"
    percent = load.percent(sector)
    if percent is None:
        return "unknown"
    return "full" if percent >= 100 else "nearly" if percent >= NEARLY_FULL else "light"


def find(site_id: int) -> Site:
    """Return a site of this operator, or answer 404."""
    return context.db().get(Site, site_id) or abort(404)


@blueprint.get("/")
@requires(Permission.SITES_VIEW)
def index() -> ResponseReturnValue:
    query = select(Site, Nas.name.label("router"), _SECTORS.label("sectors"), _SERVICES.label("services")).outerjoin(
        Nas, Nas.id == Site.nas_id
    )
    return show(context.db(), TABLE, query, "staff/sites/index.html")


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.SITES_EDIT)
def create() -> ResponseReturnValue:
    form = SiteForm()
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            site = create_site(session, context.actor(), form.details())
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(site)s is entered. Now its sectors.", site=site.name))
            return redirect(url_for(".page", site_id=site.id))
    return render_template("staff/sites/form.html", form=form, site=None, theirs=None), 422 if form.errors else 200


@blueprint.get("/<int:site_id>")
@requires(Permission.SITES_VIEW)
def page(site_id: int) -> ResponseReturnValue:
    site = find(site_id)
    session = context.db()
    sectors = session.scalars(select(Sector).where(Sector.site_id == site.id).order_by(Sector.name)).all()
    loads = sector_loads(session, site.operator_id, [sector.id for sector in sectors], context.now())
    return render_template(
        "staff/sites/page.html",
        site=site,
        nas=session.get(Nas, site.nas_id) if site.nas_id else None,
        sectors=[(sector, loads[sector.id], load_state(sector, loads[sector.id])) for sector in sectors],
    )


@blueprint.route("/<int:site_id>/edit", methods=["GET", "POST"])
@requires(Permission.SITES_EDIT)
def edit(site_id: int) -> ResponseReturnValue:
    site = find(site_id)
    form = SiteForm(obj=site)
    theirs = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            change_site(session, context.actor(), site, form.details(), seen_version(form.version))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            theirs = differences(details_of_site(site), form.details())
            form.version.data = str(site.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", site_id=site.id))
    page = render_template("staff/sites/form.html", form=form, site=site, theirs=theirs)
    return page, 409 if theirs is not None else 422 if form.errors else 200


@blueprint.post("/<int:site_id>/delete")
@requires(Permission.SITES_EDIT)
def delete(site_id: int) -> ResponseReturnValue:
    session = context.db()
    site = find(site_id)
    name = site.name
    if not delete_site(session, context.actor(), site):
        refuse(_("%(site)s has sectors. Remove those first.", site=name))
        return redirect(url_for(".page", site_id=site_id))
    session.commit()
    done(_("%(name)s is removed.", name=name))
    return redirect(url_for(".index"))
