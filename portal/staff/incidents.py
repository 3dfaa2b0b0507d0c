"""Incidents: the list, one with all that is known of it, opening one by hand, telling subscribers, closing, crediting.

The monitor opens and closes those that it sees in the sessions; people open planned work and what no router shows.
"""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import Select, func, select
from wtforms import BooleanField, DateTimeLocalField
from wtforms.validators import Optional

from billing.incident_credit import CREDIT, LEAST, credited, credits_for, total_of
from billing.rules import BillingOff, rules_of
from core.i18n import N_
from crm.incident_messages import reach_of
from crm.incidents import (
    SCOPES,
    IncidentDetails,
    ask_to_tell,
    change_incident,
    close_incident,
    confirm_incident,
    open_by_hand,
    place_of,
)
from crm.jobs import start_job
from crm.problems import Invalid
from db.models import (
    AccountingSession,
    Alert,
    Incident,
    IncidentMember,
    Nas,
    Notification,
    Sector,
    Service,
    Site,
    Staff,
    Subscriber,
)
from portal import context, forms
from portal.errors import problem_text, put_on_form
from portal.home_tiles import Line, Lines, tile
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.monitoring import state_of, tabs
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("incidents", __name__)


def _state(value: str) -> Any:
    now = func.now()
    return {
        "proposed": Incident.closed_at.is_(None) & Incident.proposed,
        "open": Incident.closed_at.is_(None) & (Incident.opened_at <= now) & ~Incident.proposed,
        "to_come": Incident.closed_at.is_(None) & (Incident.opened_at > now),
        "over": Incident.closed_at.is_not(None),
    }[value]


_BACK = (
    select(func.count())
    .where(IncidentMember.incident_id == Incident.id, IncidentMember.back_at.is_not(None))
    .correlate(Incident)
    .scalar_subquery()
)
TABLE = Table(
    name="incidents",
    columns=(
        Column("began", _l("Began"), lambda row: row.Incident.opened_at, Incident.opened_at),
        Column("what", _l("What"), lambda row: title_of(row.Incident)),
        Column("where", _l("Where"), lambda row: " ".join(part for part in where_of(row) if part), Nas.name),
        Column("lost", _l("Lost"), lambda row: row.Incident.lost, Incident.lost, numeric=True),
        Column("before", _l("Of"), lambda row: row.Incident.before, exported_only=True),
        Column("back", _l("Back on line"), lambda row: row.back, numeric=True, wide=True),
        Column("ended", _l("Ended"), lambda row: row.Incident.closed_at, Incident.closed_at),
        Column("cause", _l("Cause"), lambda row: row.Incident.cause, exported_only=True),
    ),
    order="-began",
    tie=Incident.id,
    filters=(
        Filter("state", _l("Any state"), lambda: choices("incident_state"), _state),
        Filter(
            "scope", _l("Anywhere"), lambda: choices("incident_scope"), lambda value: Incident.scope == value
        ),
    ),
)  # fmt: skip


def title_of(incident: Incident) -> str:
    """Return what an incident is called: a person's words, or what the monitor found."""
    return incident.title or label("incident_scope", incident.scope)


def where_of(row: Any) -> tuple[str, str]:
    """Return the place of a row of the list: a site or router, and a sector or port of it."""
    if row.Incident.site_id is not None:
        return row.site, row.antenna or ""
    return row.name or "", row.Incident.sector


def listed() -> Select[*tuple[Any, ...]]:
    """Return the query of a list of incidents: with the names of where they are, and how many are back."""
    query: Select[*tuple[Any, ...]] = (
        select(
            Incident, Nas.name.label("name"), Site.name.label("site"), Sector.name.label("antenna"), _BACK.label("back")
        )
        .outerjoin(Nas, Nas.id == Incident.nas_id)
        .outerjoin(Site, Site.id == Incident.site_id)
        .outerjoin(Sector, Sector.id == Incident.sector_id)
    )
    return query


class LocalTimeField(DateTimeLocalField):
    """A day and time in the operator's zone; its `instant` is what they mean."""

    @property
    def instant(self) -> datetime | None:
        return self.data.replace(tzinfo=context.zone()).astimezone(UTC) if self.data else None


def local_time_field(title: Any) -> LocalTimeField:
    return LocalTimeField(title, [Optional()], format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


def _local(instant: datetime | None) -> datetime | None:
    return instant.astimezone(context.zone()).replace(tzinfo=None, second=0, microsecond=0) if instant else None


class OpenForm(forms.Form):
    title = forms.text(_l("What it is"), required=True)
    scope = forms.choice(_l("Whom it concerns"), default="router")
    nas_id = forms.choice(_l("Router"), numeric=True)
    sector = forms.text(_l("Sector (port of the router)"))
    planned = BooleanField(_l("Planned work, told before it begins"))
    begins = local_time_field(_l("Begins"))
    expected_until = local_time_field(_l("Should be over by"))
    tell = BooleanField(_l("Tell the subscribers concerned"), default=True)
    notes = forms.long_text(_l("Notes for staff"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        routers = context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))
        self.scope.choices = [(each, label("incident_reach", each)) for each in SCOPES]
        self.nas_id.choices = [("", _("Choose a router")), *((row.id, row.name) for row in routers)]

    def details(self) -> IncidentDetails:
        return IncidentDetails(
            self.scope.data, self.title.data or "", self.nas_id.data, self.sector.data or "", self.begins.instant,
            self.expected_until.instant, self.planned.data, self.tell.data, self.notes.data or "",
        )  # fmt: skip


class WordsForm(forms.Watched):
    title = forms.text(_l("What it is, for subscribers"))
    cause = forms.text(_l("Cause, told when it is over"))
    expected_until = local_time_field(_l("Should be over by"))
    notes = forms.long_text(_l("Notes for staff"))


@blueprint.get("/monitoring/incidents")
@requires(Permission.ROUTERS_VIEW)
def index() -> ResponseReturnValue:
    return show(
        context.db(), TABLE, listed(), "staff/incidents/index.html", tabs=tabs(), title_of=title_of, state_of=state_of,
        where_of=where_of,
    )  # fmt: skip


@blueprint.route("/monitoring/incidents/new", methods=["GET", "POST"])
@requires(Permission.INCIDENTS_EDIT)
def new() -> ResponseReturnValue:
    asked = {"nas_id": request.args.get("nas_id", type=int), "sector": request.args.get("sector", "")}
    form = OpenForm(data={**asked, "scope": "sector" if asked["sector"] else "router", "tell": True})
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            incident = open_by_hand(session, context.actor(), form.details(), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The incident is open."))
            return redirect(url_for(".page", incident_id=incident.id))
    ports = context.db().scalars(
        select(AccountingSession.nas_port_id)
        .where(AccountingSession.ended_at.is_(None), AccountingSession.nas_port_id != "")
        .distinct()
        .order_by(AccountingSession.nas_port_id)
        .limit(200)
    )
    page: Any = render_template("staff/incidents/new.html", form=form, ports=list(ports))
    return page, 422 if form.errors else 200


@blueprint.get("/monitoring/incidents/<int:incident_id>")
@requires(Permission.ROUTERS_VIEW)
def page(incident_id: int) -> ResponseReturnValue:
    return _page(_incident(incident_id), None)


def _page(found: Incident, form: WordsForm | None) -> ResponseReturnValue:
    session = context.db()
    members = session.execute(
        select(IncidentMember, Subscriber)
        .outerjoin(Service, Service.id == IncidentMember.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(IncidentMember.incident_id == found.id)
        .order_by(IncidentMember.back_at.asc().nulls_first(), IncidentMember.user_name)
        .limit(1000)
    ).all()
    routers = session.execute(
        select(Alert, Nas.name).join(Nas, Nas.id == Alert.nas_id).where(Alert.incident_id == found.id)
    ).all()
    told = dict(
        session.execute(
            select(Notification.state, func.count())
            .where(Notification.incident_id == found.id)
            .group_by(Notification.state)
        ).all()
    )
    form = form or forms.watched(_words_of(found))
    may_tell = found.closed_at is None and found.told_at is None and context.may(Permission.INCIDENTS_EDIT)
    answer: Any = render_template(
        "staff/incidents/page.html", incident=found, title=title_of(found), state=state_of(found), members=members,
        routers=routers, back=sum(member.back_at is not None for member, _subscriber in members), told=told, form=form,
        nas=session.get(Nas, found.nas_id) if found.nas_id is not None else None, place=place_of(session, found),
        reach=reach_of(session, context.keyring(), found) if may_tell else None, may_tell=may_tell,
        opened_by=session.get(Staff, found.opened_by) if found.opened_by else None,
        closed_by=session.get(Staff, found.closed_by) if found.closed_by else None,
        may_credit=found.closed_at is not None and context.may(Permission.BILLING_EDIT),
    )  # fmt: skip
    return answer, 409 if form.theirs is not None else 422 if form.errors else 200


def _words_of(found: Incident) -> WordsForm:
    """Return what is said of an incident, as the form has it."""
    values = {name: getattr(found, name) for name in ("title", "cause", "notes")}
    return WordsForm(None, data={**values, "expected_until": _local(found.expected_until)})


@blueprint.post("/monitoring/incidents/<int:incident_id>")
@requires(Permission.INCIDENTS_EDIT)
def change(incident_id: int) -> ResponseReturnValue:
    """Change what is said of it."""
    found, session, form = _incident(incident_id), context.db(), WordsForm()
    session.refresh(found, with_for_update=True)
    if form.validate() and not form.changed_meanwhile(_words_of(found)):
        try:
            change_incident(
                session, context.actor(), found, title=form.title.data or "", cause=form.cause.data or "",
                notes=form.notes.data or "", expected_until=form.expected_until.instant,
            )  # fmt: skip
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", incident_id=incident_id))
    return _page(_incident(incident_id), form)


@blueprint.post("/monitoring/incidents/<int:incident_id>/tell")
@requires(Permission.INCIDENTS_EDIT)
def tell(incident_id: int) -> ResponseReturnValue:
    """Have the subscribers told, or keep it from being told."""
    wanted = request.form.get("tell") == "yes"
    try:
        ask_to_tell(context.db(), context.actor(), _incident(incident_id), tell=wanted)
    except Invalid as invalid:
        context.db().rollback()
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("They are told within seconds.") if wanted else _("Subscribers are not told of it."))
    return redirect(url_for(".page", incident_id=incident_id))


@blueprint.post("/monitoring/incidents/<int:incident_id>/confirm")
@requires(Permission.INCIDENTS_EDIT)
def confirm(incident_id: int) -> ResponseReturnValue:
    """Say that what was proposed is an outage."""
    try:
        confirm_incident(context.db(), context.actor(), _incident(incident_id))
    except Invalid as invalid:
        context.db().rollback()
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("It is an incident now. Who it concerns is told as you have set it, or when you say so below."))
    return redirect(url_for(".page", incident_id=incident_id))


@blueprint.post("/monitoring/incidents/<int:incident_id>/close")
@requires(Permission.INCIDENTS_EDIT)
def close(incident_id: int) -> ResponseReturnValue:
    cause = request.form.get("cause", "").strip()
    try:
        close_incident(context.db(), context.actor(), _incident(incident_id), cause, context.now())
    except Invalid as invalid:
        context.db().rollback()
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("The incident is closed. Who was told of it is told that it is solved."))
    if request.form.get("back") == "list":
        return redirect(url_for(".index"))
    return redirect(url_for(".page", incident_id=incident_id))


@blueprint.route("/monitoring/incidents/<int:incident_id>/credit", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def credit(incident_id: int) -> ResponseReturnValue:
    """See what each service would be credited for the days without it, then do it as a job."""
    found, session = _incident(incident_id), context.db()
    if found.closed_at is None:
        abort(404)
    try:
        rules = rules_of(session, found.operator_id)
    except BillingOff:
        refuse(_("Billing is switched off."))
        return redirect(url_for(".page", incident_id=incident_id))
    rows = credits_for(session, rules, found)
    if request.method == "POST":
        if request.form.get("seen") != str(total_of(rows)):
            refuse(_("What would be credited changed since you looked. Look again."))
            return redirect(url_for(".credit", incident_id=incident_id))
        job = start_job(session, context.actor(), CREDIT, {"incident_id": found.id}, title_of(found))
        session.commit()
        return redirect(url_for("jobs.page", job_id=job.id))
    return render_template(
        "staff/incidents/credit.html", incident=found, title=title_of(found), rows=rows, total=total_of(rows),
        given=credited(session, found.id), least=LEAST,
    )  # fmt: skip


def _incident(incident_id: int) -> Incident:
    return context.db().get(Incident, incident_id) or abort(404)


def _lost_of(incident: Incident) -> str:
    return ngettext("%(num)s line lost", "%(num)s lines lost", incident.lost) if incident.lost else ""


@tile("incidents", N_("Incidents"), ("support", "technical", "manager"), Permission.ROUTERS_VIEW, order=15)
def incidents_tile() -> Lines | None:
    """What is open, and what is planned for the next days."""
    rows = context.db().execute(
        listed().where(Incident.closed_at.is_(None)).order_by(Incident.proposed, Incident.opened_at.desc()).limit(5)
    )
    lines = [
        Line(
            title_of(row.Incident), url_for("incidents.page", incident_id=row.Incident.id),
            " · ".join(part for part in (*where_of(row), _lost_of(row.Incident)) if part),
            badge=("incident_state", state_of(row.Incident)),
        )
        for row in rows
    ]  # fmt: skip
    return Lines(lines, url=url_for("incidents.index")) if lines else None
