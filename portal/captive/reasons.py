"""Why a line is closed, on a page that finds out by itself who asks.

Whoever is in the walled garden and opens anything by http lands here: the router sends it on, whatever it was (the
setup script's redirect). The line is told by the address that the browser comes from, which is that of a live session
or of a simple queue; nobody signs in. So what is shown is what anybody on that line may know: why it is closed, what
there is to pay, and what helps. When it is paid, enforcement opens the line on its live session; the page looks by
itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import urlsplit

import structlog
from flask import Flask, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from aaa.authorize import authorize
from aaa.decision import Reason
from billing.boosts import boost, offer_of
from billing.ledger import balance_of
from billing.links import pay_url
from billing.promises import promise, promises_left
from billing.rules import billing_is_on, rules_of
from billing.top_ups import top_up, top_up_offer, topped_up
from core.i18n import N_, translator
from crm.brands import Allowed, Branding, allowed_by, brand_of
from crm.incidents import incident_for
from crm.problems import Invalid, WrongState
from crm.services import resume
from crm.tickets import open_ticket
from db.audit import Actor
from db.models import Incident, Operator, Service, Subscriber
from portal import context
from portal.auth import limiter
from portal.captive.frame import blueprint, close_foreign_session, speak
from portal.errors import problem_text, wrong_state_text
from portal.formats import local_day
from portal.permissions import public
from portal.staff.boosts import ON_THE_INVOICE
from portal.subscriber import frame as my
from portal.subscriber.words import TROUBLES, Trouble
from radius.facts import FactsReader

log = structlog.get_logger()
FORM_LASTS = 3600
LONGEST_TEXT = 2000
NOBODYS = Trouble(
    N_("This connection is not registered"),
    N_(
        "No line of ours has this address. Your device may be new, or set up wrongly: check its user name and password."
    ),
    (),
)
_THERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Client:
    """Who comes from an address. `service` is None where only its router is known, which hides it behind its own."""

    operator: Operator
    brand: Branding
    service: Service | None
    subscriber: Subscriber | None
    reason: Reason | None
    incident: Incident | None

    @property
    def trouble(self) -> Trouble | None:
        if self.service is None:
            return NOBODYS if self.reason is not None else None
        return TROUBLES.get(self.reason) if self.reason is not None else None


def client_of(address: str | None) -> Client | None:
    """Return who comes from an address: None where nobody has it, or subscribers of several operators."""
    with context.portal().tenancy.session(None) as unbound:
        rows = unbound.execute(text("SELECT * FROM captive_client(CAST(:wanted AS inet))"), {"wanted": address}).all()
        if not rows:
            return _stranger(unbound, address)
    if len({row.operator_id for row in rows}) != 1:
        return None
    close_foreign_session(rows[0].operator_id)
    session = context.open_for(rows[0].operator_id)
    operator = session.get_one(Operator, rows[0].operator_id)
    brand = brand_of(session, operator)
    if rows[0].service_id is None:
        return Client(operator, brand, None, None, None, None)
    query = select(Service).where(Service.id == rows[0].service_id).options(selectinload(Service.plan))
    service = session.scalars(query).one()
    connection = session.connection().connection.driver_connection
    stored = next(iter(FactsReader(connection, context.now()).services([service.id])))  # type: ignore[arg-type]
    reason = authorize(stored.service, stored.policy, context.now()).reason
    incident = incident_for(session, service, context.now())
    return Client(operator, brand, service, session.get_one(Subscriber, service.subscriber_id), reason, incident)


def _stranger(unbound: Session, address: str | None) -> Client | None:
    """Return whose network an address is of that no line has; None where that is not one operator's."""
    rows = unbound.execute(text("SELECT * FROM captive_stranger(CAST(:wanted AS inet))"), {"wanted": address}).all()
    if len(rows) != 1:
        return None
    close_foreign_session(rows[0].operator_id)
    session = context.open_for(rows[0].operator_id)
    operator = session.get_one(Operator, rows[0].operator_id)
    return Client(operator, brand_of(session, operator), None, None, Reason.MAC_NOT_REGISTERED, None)


@blueprint.get("/why")
@public
@limiter.limit("120 per minute")
def why() -> ResponseReturnValue:
    """Say why the line is closed and what helps, or that it is open."""
    return _page(_client())


@blueprint.post("/why/<step>")
@public
@limiter.limit("20 per hour")
def help_yourself(step: str) -> ResponseReturnValue:
    """Promise to pay, resume, boost, buy data, or ask: what the page offered, and for the line that it was made for."""
    client = _client()
    service, subscriber = client.service, client.subscriber
    if service is None or subscriber is None or step not in dict(_helps(client)) or not _is_ours(service):
        abort(400)
    session = context.open_for(client.operator.id)
    try:
        said = _STEPS[step](session, client, service, subscriber)
    except WrongState as problem:
        session.rollback()
        return _page(_client(), error=wrong_state_text(problem), code=422)
    except Invalid as invalid:
        session.rollback()
        return _page(_client(), error=" ".join(problem_text(each) for each in invalid.problems), code=422)
    session.commit()
    session.expire_all()
    return _page(_client(), done=said)


def _promise(session: Session, client: Client, service: Service, subscriber: Subscriber) -> str:
    try:
        until = date.fromisoformat(request.form.get("until", ""))
    except ValueError:
        abort(400)
    rules = rules_of(session, client.operator.id)
    made = promise(session, _actor(client), rules, service, until, "", context.now())
    return str(_("Thank you. Your service stays on until the end of %(day)s.", day=local_day(made.until)))


def _resume(session: Session, client: Client, service: Service, subscriber: Subscriber) -> str:
    resume(session, _actor(client), service)
    return str(_("Your service is active again."))


def _boost(session: Session, client: Client, service: Service, subscriber: Subscriber) -> str:
    described = {"hours": service.plan.boost_hours, "service": service.name}
    description = translator(client.operator.locale)(ON_THE_INVOICE) % described
    try:
        seen = datetime.fromisoformat(request.form["seen"]) if request.form.get("seen") else None
    except ValueError:
        abort(400)
    boost(session, _actor(client), service, description, seen, context.now())
    return str(_("Your line is faster now."))


def _top_up(session: Session, client: Client, service: Service, subscriber: Subscriber) -> str:
    typed = request.form.get("seen", "")
    seen = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else -1
    top_up(session, _actor(client), service, seen, context.now())
    return str(_("You have more data. Your line follows within seconds."))


def _ask(session: Session, client: Client, service: Service, subscriber: Subscriber) -> str:
    words = request.form.get("text", "").strip()[:LONGEST_TEXT]
    translate = translator(client.operator.locale)
    subject = f"{translate(client.trouble.title) if client.trouble else ''} ({service.name})"
    open_ticket(
        session, _actor(client), subscriber.id, None, subject, words,
        incident_id=client.incident.id if client.incident is not None else None, source="captive", now=context.now(),
    )  # fmt: skip
    return str(_("Your message has arrived. You hear from us."))


_STEPS = {"promise": _promise, "resume": _resume, "boost": _boost, "top_up": _top_up, "ask": _ask}


def _page(client: Client, *, error: str = "", done: str = "", code: int = 200) -> ResponseReturnValue:
    session = context.open_for(client.operator.id)
    service, owed, pay, token = client.service, Decimal(0), None, ""
    helps = dict(_helps(client))
    if service is not None and billing_is_on(session, client.operator.id):
        owed = balance_of(session, service.subscriber_id)
        if owed > 0:
            pay = pay_url(session, context.keyring(), "", client.operator.id, subscriber_id=service.subscriber_id)
            session.commit()
    latest = None
    if "promise" in helps:
        rules = rules_of(session, client.operator.id)
        today = rules.today(context.now())
        latest = date.fromordinal(today.toordinal() + rules.promise_days)
    if service is not None:
        token = _serializer().dumps([service.id, request.remote_addr])
    made = render_template(
        "captive/why.html",
        brand=client.brand,
        client=client,
        trouble=client.trouble,
        incident=client.incident,
        owed=owed,
        pay=pay,
        helps=helps,
        more=top_up_offer(service.plan) if service is not None and "top_up" in helps else None,
        bought=topped_up(service, context.now()) if service is not None else 0,
        latest=latest,
        token=token,
        error=error,
        done=done,
        portal_url=client.brand.portal_url(context.portal().settings.public_url),
    )
    return made, code


def _helps(client: Client) -> Iterator[tuple[str, bool]]:
    """Yield what the subscriber may do here."""
    service = client.service
    if service is None or client.trouble is None:
        return
    session = context.open_for(client.operator.id)
    allowed: Allowed = allowed_by(session, client.operator.id)
    yield "ask", True
    wanted = client.trouble.helps
    if "promise" in wanted and allowed.may_promise and billing_is_on(session, client.operator.id):
        rules = rules_of(session, client.operator.id)
        if promises_left(session, rules, service.id, context.now()) > 0:
            yield "promise", True
    if "resume" in wanted and allowed.may_pause:
        yield "resume", True
    if "top_up" in wanted and allowed.may_boost and top_up_offer(service.plan) is not None:
        yield "top_up", True
    if "boost" in wanted and allowed.may_boost and offer_of(service.plan) is not None:
        yield "boost", True


def _client() -> Client:
    """Return who comes from this request's address; a page that says that nobody is known, otherwise."""
    found = client_of(request.remote_addr)
    if found is None:
        speak("")
        abort(404)
    g.operator = found.operator
    speak(found.subscriber.language or found.operator.locale if found.subscriber else found.operator.locale)
    return found


def _actor(client: Client) -> Actor:
    name = client.subscriber.name if client.subscriber is not None else ""
    return Actor(client.operator.id, f"{name} (captive page)", None, request.remote_addr)


def _is_ours(service: Service) -> bool:
    """Tell whether a form was made here, for this line: no other page sends one in its subscriber's name."""
    try:
        return bool(
            _serializer().loads(request.form.get("made", ""), max_age=FORM_LASTS) == [service.id, request.remote_addr]
        )
    except BadSignature:
        return False


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(context.keyring().derive("captive.why"), salt="why")


def _led_here() -> ResponseReturnValue | None:
    """Lead who asked for another host, and was sent here by the router, to the page that says why."""
    if request.method not in ("GET", "HEAD"):
        return None
    public_url = context.portal().settings.public_url
    host = my.host()
    if host in _THERE or host == urlsplit(public_url).hostname or my.portal_of(None, host) is not None:
        return None
    client = client_of(request.remote_addr)
    if client is None or (client.service is not None and client.trouble is None and client.incident is None):
        context.close_db()
        return None
    return redirect(f"{public_url}{url_for('captive.why')}", 302)


def install(app: Flask) -> None:
    app.before_request(_led_here)
