"""Webhooks: an operator's own programs are told of what happens, by a signed POST to an address of theirs.

What is told is written by the database as the rows change, in the transaction that changes them (migration 0038), so
nothing is told that was undone, nothing that stands is left out, and a billing run of a hundred thousand costs one
statement more. Where nobody listens nothing is written. `emit()` is for what is no row.

Requests are as Standard Webhooks has them (standardwebhooks.com, version 1.0.0): the headers webhook-id,
webhook-timestamp and webhook-signature, `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. The same event
has the same webhook-id however often it is sent, to each endpoint; a receiver that keeps ids handles each once. In
which order events arrive is not promised. While a secret is being replaced, both sign.

How they are sent stands in `worker.webhooks`.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_
from core.settings import Settings
from crm.outbound import NoAnswer, NotAllowed, check_web_address
from crm.problems import FieldProblem, Invalid, Problem
from crm.retention import is_held
from db.audit import Actor, record
from db.models import WebhookDelivery, WebhookEndpoint, WebhookEvent

SECRET_PURPOSE = "webhook.secret"  # noqa: S105
EVERYTHING = "*"
TEST = "webhook.test"
MOST_ENDPOINTS = 10
"""Of one operator; each is told of everything it wants, so a list without end would be a way to keep us busy."""
OVERLAP = timedelta(hours=24)
"""How long the secret before the present one signs as well."""
KEPT = timedelta(days=30)
"""How long events and their deliveries are kept."""


@dataclass(frozen=True, slots=True)
class Event:
    """What an event means, and an example of its `data`."""

    title: str
    example: Mapping[str, Any]


_SUBSCRIBER = {"id": 4711, "name": "Ana Ruiz", "email": "ana@example.com", "phone": "+52 55 1234 5678"}
_SERVICE = {
    "id": 815, "subscriber_id": 4711, "name": "ana.ruiz", "access_method": "pppoe", "state": "active", "plan_id": 3,
    "plan": "Hogar 20", "suspension_cause": None, "paid_until": "2027-04-30",
}  # fmt: skip
_INVOICE = {
    "id": 9001, "subscriber_id": 4711, "service_id": 815, "number": "F-1042", "issued_on": "2027-04-01",
    "due_on": "2027-04-10", "period_first": "2027-04-01", "period_last": "2027-04-30", "currency": "MXN",
    "net": "300", "tax": "48", "total": "348", "open": "348",
}  # fmt: skip
_PAYMENT = {
    "id": 7300, "subscriber_id": 4711, "receipt": "R-880", "paid_on": "2027-04-05", "currency": "MXN", "amount": "348",
    "refunded": "0", "method": "Cash", "reference": "", "voided": False,
}  # fmt: skip
_TICKET = {
    "id": 66, "number": 66, "subscriber_id": 4711, "subject": "No connection since noon", "priority": "high",
    "queue": "support", "state": "new", "source": "portal",
}  # fmt: skip
_ROUTER = {
    "nas_id": 12, "name": "Torre Norte", "status": "offline", "cause": "unreachable", "since": "2027-04-05T14:00:00Z",
}  # fmt: skip
_INCIDENT = {
    "id": 31, "scope": "router", "nas_id": 12, "sector": "", "title": "", "planned": False, "lost": 84, "cause": "",
    "opened_at": "2027-04-05T14:00:00Z", "closed_at": None,
}  # fmt: skip
_VOUCHER = {"id": 1200, "batch_id": 5, "batch": "Plaza, May", "number": 17}

EVENTS: dict[str, Event] = {
    "subscriber.created": Event(N_("A subscriber was entered, or brought back"), _SUBSCRIBER),
    "subscriber.updated": Event(N_("A subscriber's name, address or contact was changed"), _SUBSCRIBER),
    "subscriber.removed": Event(N_("A subscriber was removed"), _SUBSCRIBER),
    "service.activated": Event(N_("A service became active for the first time, or again after its end"), _SERVICE),
    "service.suspended": Event(
        N_("A service was suspended: overdue, or by a person"),
        {**_SERVICE, "state": "suspended", "suspension_cause": "overdue"},
    ),
    "service.restored": Event(N_("A suspended service is active again"), _SERVICE),
    "service.terminated": Event(N_("A service ended"), {**_SERVICE, "state": "terminated"}),
    "service.plan_changed": Event(
        N_("A service has another rate plan"), {**_SERVICE, "plan_id": 4, "plan": "Hogar 50"}
    ),
    "invoice.issued": Event(N_("An invoice was issued"), _INVOICE),
    "invoice.paid": Event(N_("An invoice is paid in full"), {**_INVOICE, "open": "0"}),
    "invoice.voided": Event(N_("An invoice was taken back by a credit note"), {**_INVOICE, "open": "0"}),
    "payment.recorded": Event(N_("A payment was recorded, online or by a person"), _PAYMENT),
    "payment.voided": Event(N_("A payment was voided"), {**_PAYMENT, "voided": True}),
    "payment.refunded": Event(N_("A payment was given back, or a part of it"), {**_PAYMENT, "refunded": "100"}),
    "voucher.sold": Event(N_("A voucher was sold"), {**_VOUCHER, "currency": "MXN", "price": "20"}),
    "voucher.first_used": Event(
        N_("Somebody logged in with a voucher for the first time"),
        {**_VOUCHER, "first_login_at": "2027-04-05T14:00:00Z"},
    ),
    "ticket.opened": Event(N_("A ticket was opened"), _TICKET),
    "ticket.answered": Event(N_("Staff answered a ticket"), {**_TICKET, "state": "waiting_subscriber"}),
    "ticket.closed": Event(N_("A ticket was closed"), {**_TICKET, "state": "closed"}),
    "work_order.completed": Event(
        N_("A work order was completed"),
        {
            "id": 210, "number": 210, "kind": "installation", "title": "Install Ana Ruiz", "state": "done",
            "subscriber_id": 4711, "service_id": 815, "ended_at": "2027-04-05T14:00:00Z",
        },
    ),
    "router.offline": Event(N_("A router no longer answers"), _ROUTER),
    "router.online": Event(N_("A router answers again"), {**_ROUTER, "status": "online", "cause": ""}),
    "incident.opened": Event(N_("An incident was opened: many are off line at once, or work is planned"), _INCIDENT),
    "incident.closed": Event(N_("An incident is over"), {**_INCIDENT, "closed_at": "2027-04-05T15:10:00Z"}),
}  # fmt: skip
"""What may be told, with its meaning and an example. Amounts are decimal numbers in strings, instants are UTC."""


@dataclass(frozen=True, slots=True)
class EndpointTerms:
    """What is entered for an endpoint."""

    url: str
    events: tuple[str, ...]
    notes: str = ""


def emit(session: Session, operator_id: int, event: str, data: Mapping[str, Any]) -> None:
    """Tell an operator's endpoints of something, once the caller has committed; nothing where none of them wants it.

    Only for what no trigger tells: an event of `EVENTS` is told by its row. `subscriber_id` in `data` says whom it is
    about.
    """
    subscriber_id = data.get("subscriber_id")
    session.execute(
        text(
            "INSERT INTO webhook_event (operator_id, event, data, subscriber_id)"
            " SELECT :operator, CAST(:event AS text), :data, CAST(:subscriber AS bigint)"
            " WHERE EXISTS (SELECT FROM webhook_endpoint WHERE operator_id = :operator AND active"
            " AND events && ARRAY[CAST(:event AS text), '*'])"
        ).bindparams(bindparam("data", type_=JSONB)),
        {"operator": operator_id, "event": event, "data": dict(data), "subscriber": subscriber_id},
    )


# Endpoints.


def may_be_local(settings: Settings, url: str) -> bool:
    """Tell whether an endpoint may be on this machine, without https: where a setting says so, and the demo's own."""
    lab = f"http://127.0.0.1:{settings.lab_gateway_port}/hooks/"
    return settings.local_gateways or (settings.demo and url.startswith(lab))


def add_endpoint(
    session: Session, actor: Actor, keyring: Keyring, settings: Settings, terms: EndpointTerms
) -> tuple[WebhookEndpoint, str]:
    """Enter an endpoint and return it with its secret, which is shown unasked this once. Raises Invalid."""
    count = select(func.count()).where(WebhookEndpoint.operator_id == actor.operator_id)
    if (session.scalar(count) or 0) >= MOST_ENDPOINTS:
        raise Invalid(FieldProblem("address", Problem.LIMIT_REACHED, {"limit": str(MOST_ENDPOINTS)}))
    terms = _checked(settings, terms)
    secret = new_secret()
    endpoint = WebhookEndpoint(
        operator_id=actor.operator_id,
        url=terms.url,
        events=list(terms.events),
        notes=terms.notes,
        secret=keyring.seal(SECRET_PURPOSE, secret),
    )
    session.add(endpoint)
    session.flush()
    record(session, actor, "webhook.create", "webhook", endpoint.id, None, _values(endpoint))
    return endpoint, secret


def change_endpoint(
    session: Session, actor: Actor, settings: Settings, endpoint: WebhookEndpoint, terms: EndpointTerms
) -> None:
    """Raises Invalid. What already waits goes to the new address."""
    before = _values(endpoint)
    terms = _checked(settings, terms)
    if terms.url != endpoint.url:
        endpoint.failures, endpoint.failing_since, endpoint.paused_until = 0, None, None
    endpoint.url, endpoint.events, endpoint.notes = terms.url, list(terms.events), terms.notes
    session.flush()
    record(session, actor, "webhook.change", "webhook", endpoint.id, before, _values(endpoint))


def switch_endpoint(session: Session, actor: Actor, endpoint: WebhookEndpoint, *, on: bool, now: datetime) -> None:
    """Have an endpoint told again, or no more. What waits when it is switched off counts as failed."""
    if endpoint.active == on:
        return
    before = _values(endpoint)
    if on:
        endpoint.active, endpoint.off_why = True, ""
        endpoint.failures, endpoint.failing_since, endpoint.paused_until = 0, None, None
        session.flush()
    else:
        switch_off(session, endpoint, "person", now)
    record(session, actor, "webhook.change", "webhook", endpoint.id, before, _values(endpoint))


def switch_off(session: Session, endpoint: WebhookEndpoint, why: str, now: datetime) -> None:
    """Tell an endpoint nothing any more; `why` is one of `off_why`. What waits is given up, and can be replayed."""
    endpoint.active, endpoint.off_why, endpoint.paused_until = False, why, None
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "waiting")
        .values(state="failed", finished_at=now)
        .execution_options(synchronize_session=False)
    )
    session.flush()


def delete_endpoint(session: Session, actor: Actor, endpoint: WebhookEndpoint) -> None:
    """Forget an endpoint, with the log of its deliveries."""
    record(session, actor, "webhook.delete", "webhook", endpoint.id, _values(endpoint), None)
    session.delete(endpoint)
    session.flush()


def reveal_secret(session: Session, actor: Actor, keyring: Keyring, endpoint: WebhookEndpoint) -> str:
    """Return an endpoint's secret and write down who saw it. Raises SecretUnreadable."""
    secret = keyring.open(SECRET_PURPOSE, endpoint.secret)
    record(session, actor, "webhook.secret_shown", "webhook", endpoint.id, None, {"host": host_of(endpoint)})
    return secret


def replace_secret(session: Session, actor: Actor, keyring: Keyring, endpoint: WebhookEndpoint, now: datetime) -> str:
    """Give an endpoint a new secret and return it. The old one signs as well for `OVERLAP`."""
    secret = new_secret()
    endpoint.previous_secret, endpoint.previous_until = endpoint.secret, now + OVERLAP
    endpoint.secret = keyring.seal(SECRET_PURPOSE, secret)
    session.flush()
    record(session, actor, "webhook.secret", "webhook", endpoint.id, None, {"secret": "changed"})
    return secret


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def host_of(endpoint: WebhookEndpoint) -> str:
    """Return the part of an endpoint's address that may stand in messages; what is behind it may be a password."""
    return endpoint.url.partition("://")[2].partition("/")[0].partition("?")[0]


# What is sent.


def body_of(event: WebhookEvent) -> bytes:
    """Return what is posted: the same octets at each attempt."""
    at = event.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"type": event.event, "timestamp": at, "data": event.data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=False).encode()


def signed_headers(key: str, body: bytes, now: datetime, valid: Sequence[str]) -> dict[str, str]:
    """Return the headers of one attempt, signed with each of the secrets that are valid."""
    instant = str(int(now.timestamp()))
    return {
        "Content-Type": "application/json",
        "webhook-id": key,
        "webhook-timestamp": instant,
        "webhook-signature": " ".join(signature(secret, key, instant, body) for secret in valid),
    }


def signature(secret: str, key: str, instant: str, body: bytes) -> str:
    """Return one signature (Standard Webhooks, "Signature scheme"): `instant` is seconds since 1970."""
    octets = base64.b64decode(secret.removeprefix("whsec_"))
    made = hmac.new(octets, f"{key}.{instant}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(made).decode()


# The log.


def send_test(session: Session, actor: Actor, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send an event that says nothing to one endpoint, switched off or not."""
    event = WebhookEvent(operator_id=actor.operator_id, event=TEST, data={"endpoint_id": endpoint.id})
    session.add(event)
    session.flush()
    delivery = WebhookDelivery(operator_id=actor.operator_id, event_id=event.id, endpoint_id=endpoint.id)
    session.add(delivery)
    session.execute(text("NOTIFY portico_webhook"))
    session.flush()
    record(session, actor, "webhook.test", "webhook", endpoint.id, None, {"host": host_of(endpoint)})
    return delivery


def replay(session: Session, actor: Actor, delivery: WebhookDelivery, now: datetime) -> bool:
    """Send an event to its endpoint once more, under the same webhook-id. False: it is on its way."""
    done = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery.id, WebhookDelivery.state != "waiting")
        .values(state="waiting", attempts=0, next_attempt_at=now, finished_at=None)
        .returning(WebhookDelivery.id)
    ).scalar()
    session.refresh(delivery)
    if done is not None:
        session.execute(text("NOTIFY portico_webhook"))
        record(session, actor, "webhook.replay", "webhook", delivery.endpoint_id, None, {"delivery": delivery.id})
    return done is not None


def replay_failed(
    session: Session, actor: Actor, endpoint: WebhookEndpoint, since: datetime, now: datetime
) -> int:  # fmt: skip
    """Send again what failed since an instant, and return how many there are."""
    sent = session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint.id,
            WebhookDelivery.state == "failed",
            WebhookDelivery.created_at >= since,
        )
        .values(state="waiting", attempts=0, next_attempt_at=now, finished_at=None)
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).all()
    if sent:
        session.execute(text("NOTIFY portico_webhook"))
        after = {"deliveries": len(sent), "since": since}
        record(session, actor, "webhook.replay", "webhook", endpoint.id, None, after)
    return len(sent)


def forget_old(session: Session, now: datetime, most: int = 50_000) -> int:
    """Delete events, and with them their deliveries, that are older than `KEPT`; of all operators.

    Those about somebody under a legal hold stay.
    """
    over = (WebhookEvent.created_at < now - KEPT, ~is_held(WebhookEvent.subscriber_id))
    old = select(WebhookEvent.id).where(*over).order_by(WebhookEvent.created_at)
    gone = session.execute(
        delete(WebhookEvent).where(WebhookEvent.id.in_(old.limit(most))).returning(WebhookEvent.id)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return len(gone.all())


def _checked(settings: Settings, terms: EndpointTerms) -> EndpointTerms:
    """Return terms as they are kept. Raises Invalid."""
    problems: list[FieldProblem] = []
    url = terms.url.strip()
    if not url:
        problems.append(FieldProblem("address", Problem.REQUIRED))
    elif len(url) > 1000:
        problems.append(FieldProblem("address", Problem.TOO_LONG, {"limit": "1000"}))
    else:
        try:
            if not url.isascii() or any(each <= " " for each in url):
                raise NotAllowed("characters that no address has")
            check_web_address(url, local=may_be_local(settings, url), networks=settings.private_networks)
        except NotAllowed:
            problems.append(FieldProblem("address", Problem.NOT_A_PUBLIC_ADDRESS))
        except NoAnswer:
            pass  # nobody knows the name today; the log will say so
    wanted = (EVERYTHING,) if EVERYTHING in terms.events else tuple(each for each in EVENTS if each in terms.events)
    if not wanted:
        problems.append(FieldProblem("events", Problem.REQUIRED))
    if len(terms.notes) > 200:
        problems.append(FieldProblem("notes", Problem.TOO_LONG, {"limit": "200"}))
    if problems:
        raise Invalid(*problems)
    return EndpointTerms(url, wanted, terms.notes.strip())


def _values(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return what the audit log keeps: of the address, the host alone."""
    return {
        "host": host_of(endpoint),
        "address": hashlib.sha256(endpoint.url.encode()).hexdigest()[:12],
        "events": list(endpoint.events),
        "notes": endpoint.notes,
        "active": endpoint.active,
        "off_why": endpoint.off_why,
    }
