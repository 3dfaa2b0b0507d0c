"""Subscribers: the list, the page of one with all that hangs on it, create and edit."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import selectinload
from wtforms import HiddenField

from core.clock import start_of_day
from core.i18n import LANGUAGES
from crm.fields import set_values, values_of
from crm.problems import ChangedMeanwhile, Invalid
from crm.subscribers import (
    Namesake,
    SubscriberDetails,
    change_subscriber,
    checked,
    create_subscriber,
    details_of,
    namesakes,
)
from db.models import (
    AccountingSession,
    AuditEntry,
    RouterQueue,
    RouterSync,
    Sector,
    Service,
    ServiceBilling,
    Subscriber,
    UsageHour,
)
from portal import context
from portal.errors import put_on_form
from portal.forms import Form, choice, coordinate, long_text, seen_version, text
from portal.labels import choices
from portal.map_ground import ground, on_ground
from portal.messages import done
from portal.own_fields import filled, own_fields, typed_into, with_own_columns, with_own_fields
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, matching, show

blueprint = Blueprint("subscribers", __name__, url_prefix="/subscribers")

# As people sort names: accents and case count last, Ñ stands after N.
BY_NAME = Subscriber.name.collate("und-x-icu")


def _search(words: str) -> ColumnElement[bool]:
    return Subscriber.id.in_(matching(func.search_subscribers, words))


def _with_services_in(state: str) -> ColumnElement[bool]:
    services = select(Service.id).where(Service.subscriber_id == Subscriber.id)
    match state:
        case "none":
            return ~services.exists()
        case "overdue":
            today = context.now().astimezone(context.zone()).date()
            overdue = and_(
                Service.paid_until < today,
                Service.management == "automatic",
                Service.state.in_(("active", "suspended")),
            )
            return services.where(overdue).exists()
    return services.where(Service.state == state).exists()


def _state_choices() -> list[tuple[str, Any]]:
    return [*choices("service_state"), ("overdue", _("Unpaid")), ("none", _("No service"))]


TABLE = Table(
    name="subscribers",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, BY_NAME),
        Column("phone", _l("Phone"), lambda row: row.phone),
        Column("services", _l("Services"), lambda row: " ".join(service.name for service in row.services)),
        Column("address", _l("Address"), lambda row: row.address, wide=True),
        Column("email", _l("E-mail"), lambda row: row.email, wide=True),
        Column("created", _l("Since"), lambda row: row.created_at, Subscriber.created_at, wide=True),
    ),
    order="name",
    tie=Subscriber.id,
    filters=(Filter("service", _l("Any service"), _state_choices, _with_services_in),),
    search=_search,
    search_hint=_l("Name, phone, e-mail, address"),
    count_up_to=200_000,
)


class SubscriberForm(Form):
    name = text(_l("Name"), required=True)
    phone = text(_l("Phone"))
    email = text(_l("E-mail address"))
    tax_id = text(_l("Tax number"))
    address = text(_l("Address"))
    latitude = coordinate(_l("Latitude"))
    longitude = coordinate(_l("Longitude"))
    language = choice(_l("Language of messages"))
    notes = long_text(_l("Notes"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.language.choices = [("", _("The company's language")), *LANGUAGES.items()]

    def details(self) -> SubscriberDetails:
        values = {name: getattr(self, name).data for name in SubscriberDetails.__slots__}
        return SubscriberDetails(**{**values, "language": self.language.data or None, "notes": self.notes.data or ""})


def find(subscriber_id: int) -> Subscriber:
    """Return a subscriber of this operator, or answer 404; who was removed has one page, to which this leads."""
    found = context.db().get(Subscriber, subscriber_id) or abort(404)
    if found.removed_at is not None:
        abort(redirect(url_for("removed.page", subscriber_id=subscriber_id)))
    return found


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    fields = own_fields("subscriber")
    query = select(Subscriber).where(Subscriber.removed_at.is_(None)).options(selectinload(Subscriber.services))
    if fields:
        query = query.options(selectinload(Subscriber.own_values))
    return show(
        context.db(), with_own_columns(TABLE, fields), query, "staff/subscribers/index.html",
        own=[field for field in fields if field.listed],
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.SUBSCRIBERS_EDIT)
def create() -> ResponseReturnValue:
    fields = own_fields("subscriber")
    form = with_own_fields(SubscriberForm, fields)()
    alike: list[Namesake] = []
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            details = checked(form.details())
            alike = [] if request.form.get("confirmed") else namesakes(session, details)
            subscriber = None if alike else create_subscriber(session, context.actor(), details)
            if subscriber is not None and fields:
                set_values(session, context.actor(), subscriber, typed_into(form, fields))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            if subscriber is not None:
                session.commit()
                done(_("%(name)s is entered.", name=subscriber.name))
                if context.may(Permission.SERVICES_EDIT):
                    return redirect(url_for("services.create", subscriber_id=subscriber.id))
                return redirect(url_for(".page", subscriber_id=subscriber.id))
    return render_template("staff/subscribers/form.html", form=form, subscriber=None, alike=alike, theirs=None)


@blueprint.route("/<int:subscriber_id>/edit", methods=["GET", "POST"])
@requires(Permission.SUBSCRIBERS_EDIT)
def edit(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find(subscriber_id)
    fields = own_fields("subscriber")
    form = with_own_fields(SubscriberForm, fields)(obj=subscriber, data=filled(values_of(context.db(), subscriber)))
    theirs = None
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            change_subscriber(session, context.actor(), subscriber, form.details(), seen_version(form.version))
            if fields:
                set_values(session, context.actor(), subscriber, typed_into(form, fields))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except ChangedMeanwhile:
            theirs = differences(details_of(subscriber), form.details())
            form.version.data = str(subscriber.version)  # sending it again overwrites, knowingly
            form.version.raw_data = None
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".page", subscriber_id=subscriber.id))
    page = render_template("staff/subscribers/form.html", form=form, subscriber=subscriber, alike=[], theirs=theirs)
    return page, 409 if theirs is not None else 200


def differences(stored: Any, typed: Any) -> list[tuple[str, Any, Any]]:
    """Return the fields in which two values of a dataclass differ: name, as stored, as typed."""
    pairs = ((name, getattr(stored, name), getattr(typed, name)) for name in type(stored).__slots__)
    return [(name, first, second) for name, first, second in pairs if first != second]


# The page of one subscriber, a tab at a time.


def services_of(subscriber: Subscriber) -> list[Service]:
    """Return the subscriber's services with plan, NAS and sector, those in use first."""
    query = (
        select(Service)
        .where(Service.subscriber_id == subscriber.id)
        .options(
            selectinload(Service.plan),
            selectinload(Service.nas),
            selectinload(Service.sector).selectinload(Sector.site),
        )
        .order_by(Service.state == "terminated", Service.id)
    )
    return list(context.db().scalars(query))


def live_sessions(services: list[Service]) -> dict[int, list[AccountingSession]]:
    """Return the open sessions of services, the newest first."""
    live: dict[int, list[AccountingSession]] = {service.id: [] for service in services}
    query = (
        select(AccountingSession)
        .where(AccountingSession.service_id.in_(list(live)), AccountingSession.ended_at.is_(None))
        .order_by(AccountingSession.started_at.desc())
        .limit(100)
    )
    for found in context.db().scalars(query):
        if found.service_id is not None:
            live[found.service_id].append(found)
    return live


def waiting_for_router(services: list[Service]) -> dict[int, tuple[RouterQueue, str]]:
    """Return what of static addresses is not on its router yet, with the cause where that cannot be reached."""
    rows = context.db().execute(
        select(RouterQueue, func.coalesce(RouterSync.cause, ""))
        .outerjoin(RouterSync, RouterSync.nas_id == RouterQueue.nas_id)
        .where(
            RouterQueue.service_id.in_([service.id for service in services if service.access_method == "queue"]),
            RouterQueue.pending_since.is_not(None),
        )
    )
    return {queue.service_id: (queue, cause) for queue, cause in rows}


def _billed(subscriber: Subscriber) -> set[int]:
    """Return the services whose date follows the money, so that nobody moves it by hand."""
    query = select(ServiceBilling.service_id).where(
        ServiceBilling.subscriber_id == subscriber.id, ServiceBilling.stopped_on.is_(None)
    )
    return set(context.db().scalars(query))


@blueprint.get("/<int:subscriber_id>")
@requires(Permission.SUBSCRIBERS_VIEW)
def page(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find(subscriber_id)
    services = services_of(subscriber)
    shown = render_template(
        "staff/subscribers/overview.html",
        map_ground=ground(),
        map_state=_map_state(services, live_sessions(services)),
        billed=_billed(subscriber),
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        waiting=waiting_for_router(services),
        today=context.now().astimezone(context.zone()).date(),
    )
    return on_ground(shown)


def _map_state(services: list[Service], live: dict[int, list[AccountingSession]]) -> str:
    """Return how a subscriber's marker looks on the small map: what the line says, not the money."""
    states = {service.state for service in services}
    if "suspended" in states:
        return "suspended"
    active = [service for service in services if service.state == "active"]
    if any(live[service.id] for service in active):
        return "online"
    return "offline" if any(service.access_method != "queue" for service in active) else "other"


USAGE_SPANS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=31)}


@blueprint.get("/<int:subscriber_id>/usage")
@requires(Permission.SUBSCRIBERS_VIEW)
def usage(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find(subscriber_id)
    services = services_of(subscriber)
    span = request.args.get("span") if request.args.get("span") in USAGE_SPANS else "week"
    assert span is not None
    hourly = span != "month"
    rows = _usage_rows([service.id for service in services], context.now() - USAGE_SPANS[span], hourly=hourly)
    return render_template(
        "staff/subscribers/usage.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        rows=rows,
        span=span,
        hourly=hourly,
    )


def _usage_rows(service_ids: list[int], since: datetime, *, hourly: bool) -> list[Any]:
    """Return octets per hour, or per day of the operator's zone: `at`, `received`, `sent` by the subscriber."""
    if hourly:
        unit: Any = UsageHour.hour
    else:
        unit = func.date_trunc("day", UsageHour.hour, context.zone().key)
        local = since.astimezone(context.zone())
        since = start_of_day(local.date(), context.zone())
    query: Select[Any] = (
        select(
            unit.label("at"),
            func.sum(UsageHour.octets_out).label("received"),
            func.sum(UsageHour.octets_in).label("sent"),
        )
        .where(UsageHour.service_id.in_(service_ids), UsageHour.hour >= since)
        .group_by(unit)
        .order_by(unit)
    )
    return list(context.db().execute(query))


SESSIONS = Table(
    name="sessions",
    title=_l("Sessions"),
    columns=(
        Column("started", _l("From"), lambda row: row.started_at, AccountingSession.started_at),
        Column("ended", _l("Until"), lambda row: row.ended_at),
        Column("user_name", _l("User name"), lambda row: row.user_name, wide=True),
        Column("framed_ip", _l("Address"), lambda row: row.framed_ip),
        Column("mac", _l("Device"), lambda row: row.mac, wide=True),
        Column("received", _l("Received"), lambda row: row.octets_out, numeric=True),
        Column("sent", _l("Sent"), lambda row: row.octets_in, numeric=True),
        Column("cause", _l("Ended by"), lambda row: row.terminate_cause, wide=True),
    ),
    order="-started",
    tie=AccountingSession.id,
)


@blueprint.get("/<int:subscriber_id>/sessions")
@requires(Permission.SUBSCRIBERS_VIEW)
def sessions(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find(subscriber_id)
    services = services_of(subscriber)
    query = select(AccountingSession).where(AccountingSession.service_id.in_([service.id for service in services]))
    return show(
        context.db(),
        SESSIONS,
        query,
        "staff/subscribers/sessions.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
    )


@blueprint.get("/<int:subscriber_id>/history")
@requires(Permission.SUBSCRIBERS_VIEW)
def history(subscriber_id: int) -> ResponseReturnValue:
    subscriber = find(subscriber_id)
    services = services_of(subscriber)
    ids = [service.id for service in services]
    query = (
        select(AuditEntry)
        .where(
            or_(
                and_(AuditEntry.entity == "subscriber", AuditEntry.entity_id == subscriber.id),
                and_(AuditEntry.entity == "service", AuditEntry.entity_id.in_(ids)),
            )
        )
        .order_by(AuditEntry.id.desc())
        .limit(200)
    )
    return render_template(
        "staff/subscribers/history.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        entries=list(context.db().scalars(query)),
        names={service.id: service.name for service in services},
    )
