"""What webhooks tell: each event by the row that changed, in its transaction, and nothing where nobody listens."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.settings import Settings
from crm.problems import Invalid
from crm.retention import hold, lift
from crm.services import restore, suspend
from crm.subscribers import SubscriberDetails, create_subscriber
from crm.webhooks import (
    EVENTS,
    EndpointTerms,
    add_endpoint,
    change_endpoint,
    emit,
    forget_old,
    replace_secret,
    replay_failed,
    reveal_secret,
    send_test,
    signature,
    switch_endpoint,
)
from db.audit import Actor
from db.migrate import migrate
from db.models import AuditEntry, Service, Subscriber, WebhookDelivery, WebhookEndpoint, WebhookEvent
from db.session import Tenancy, make_engine, tenancy_key
from tests.factories import Isp
from tests.rows import add_operator, add_plan, add_service, add_subscriber

NOW = datetime(2027, 4, 5, 14, tzinfo=UTC)
KEYRING = Keyring.parse(Keyring.generate())


@pytest.fixture
def lan(installation: Settings) -> Settings:
    """Settings under which a webhook may be at any address, as those of the demo."""
    return installation.model_copy(update={"local_gateways": True})


@pytest.fixture
def listening(rows: Session, lan: Settings) -> tuple[int, WebhookEndpoint]:
    operator_id = add_operator(rows)
    terms = EndpointTerms("http://127.0.0.1:9099/hook", ("*",))
    return operator_id, add_endpoint(rows, Actor(operator_id, "Ana"), KEYRING, lan, terms)[0]


def told(rows: Session, operator_id: int) -> list[tuple[str, dict]]:
    query = select(WebhookEvent.event, WebhookEvent.data).where(WebhookEvent.operator_id == operator_id)
    return [(row.event, row.data) for row in rows.execute(query.order_by(WebhookEvent.id))]


# What is told of each table. Each step is one statement; `{…}` are ids.
STEPS = (
    ("INSERT INTO subscriber (operator_id, name, email, phone) VALUES ({o}, 'Ana', 'a@x.example', '5') RETURNING id",
     "s", ["subscriber.created"]),
    ("UPDATE subscriber SET phone = '6' WHERE id = {s}", "", ["subscriber.updated"]),
    ("UPDATE subscriber SET version = version + 1 WHERE id = {s}", "", []),
    ("INSERT INTO subscriber (operator_id, name) VALUES ({o}, 'Gone') RETURNING id", "g", ["subscriber.created"]),
    ("UPDATE subscriber SET removed_at = now() WHERE id = {g}", "", ["subscriber.removed"]),
    ("UPDATE subscriber SET removed_at = NULL WHERE id = {g}", "", ["subscriber.created"]),
    ("DELETE FROM subscriber WHERE id = {g}", "", ["subscriber.removed"]),
    ("INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name, state)"
     " VALUES ({o}, {s}, {p}, 'mac', 'aa:bb:cc:00:00:09', 'pending') RETURNING id", "v", []),
    ("UPDATE service SET state = 'active' WHERE id = {v}", "", ["service.activated"]),
    ("UPDATE service SET paid_until = '2027-05-01' WHERE id = {v}", "", []),
    ("UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'overdue' WHERE id = {v}", "",
     ["service.suspended"]),
    ("UPDATE service SET state = 'active', suspended_at = NULL WHERE id = {v}", "", ["service.restored"]),
    ("UPDATE service SET plan_id = {q} WHERE id = {v}", "", ["service.plan_changed"]),
    ("UPDATE service SET state = 'terminated' WHERE id = {v}", "", ["service.terminated"]),
    ("WITH made AS (INSERT INTO invoice (operator_id, subscriber_id, kind, prefix, number, issued_on, due_on, currency,"
     " net, tax, total) VALUES ({o}, {s}, 'charges', 'F-', 7, '2027-01-01', '2027-01-10', 'MXN', 300, 48, 348)"
     " RETURNING id, operator_id), line AS (INSERT INTO invoice_line (invoice_id, position, operator_id, kind,"
     " description, net, tax, total) SELECT id, 1, operator_id, 'charge', 'x', 300, 48, 348 FROM made),"
     " tax AS (INSERT INTO invoice_tax (invoice_id, position, operator_id, name, rate, base, amount)"
     " SELECT id, 1, operator_id, 'VAT', 16, 300, 48 FROM made) SELECT id FROM made", "i", ["invoice.issued"]),
    ("UPDATE invoice SET paid = 100 WHERE id = {i}", "", []),
    ("UPDATE invoice SET paid = 348 WHERE id = {i}", "", ["invoice.paid"]),
    ("UPDATE invoice SET paid = 0 WHERE id = {i}", "", []),
    ("UPDATE invoice SET credited = 348 WHERE id = {i}", "", ["invoice.voided"]),
    ("INSERT INTO payment_method (operator_id, name, account) VALUES ({o}, 'Cash', 'cash') RETURNING id", "m", []),
    ("INSERT INTO payment (operator_id, subscriber_id, method_id, prefix, number, currency, amount, unapplied,"
     " paid_on) VALUES ({o}, {s}, {m}, 'R-', 8, 'MXN', 348.50, 348.50, '2027-01-05') RETURNING id", "y",
     ["payment.recorded"]),
    ("UPDATE payment SET refunded = 10, unapplied = 338.50 WHERE id = {y}", "", ["payment.refunded"]),
    ("UPDATE payment SET voided_at = now(), void_reason = 'twice' WHERE id = {y}", "", ["payment.voided"]),
    ("INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name)"
     " VALUES ({o}, {s}, {p}, 'voucher', 'hash') RETURNING id", "w", []),
    ("INSERT INTO voucher_batch (operator_id, name, length, count, lasts, price) VALUES ({o}, 'b', 8, 1, 60, 20)"
     " RETURNING id", "b", []),
    ("INSERT INTO voucher (operator_id, service_id, batch_id, number, lookup) VALUES ({o}, {w}, {b}, 1, 'l')"
     " RETURNING service_id", "", []),
    ("INSERT INTO voucher_sale (operator_id, voucher_id, batch_id, currency, price) VALUES ({o}, {w}, {b}, 'MXN', 20)"
     " RETURNING id", "", ["voucher.sold"]),
    ("UPDATE voucher SET octets = 1 WHERE service_id = {w}", "", []),
    ("UPDATE voucher SET first_login_at = now() WHERE service_id = {w}", "", ["voucher.first_used"]),
    ("INSERT INTO ticket (operator_id, number, subscriber_id, source, subject, priority, queue, key, created_at,"
     " updated_at) VALUES ({o}, 1, {s}, 'staff', 'No connection', 'high', 'support', 'k', now(), now()) RETURNING id",
     "t", ["ticket.opened"]),
    ("INSERT INTO ticket_entry (operator_id, ticket_id, kind, author, created_at)"
     " VALUES ({o}, {t}, 'note', 'a', now()) RETURNING id", "", []),
    ("INSERT INTO ticket_entry (operator_id, ticket_id, kind, author, created_at)"
     " VALUES ({o}, {t}, 'answer', 'a', now()) RETURNING id", "", ["ticket.answered"]),
    ("UPDATE ticket SET state = 'closed', closed_at = now() WHERE id = {t}", "", ["ticket.closed"]),
    ("INSERT INTO work_order (operator_id, number, kind, title, created_by, created_at, subscriber_id)"
     " VALUES ({o}, 1, 'repair', 't', 'a', now(), {s}) RETURNING id", "k", []),
    ("UPDATE work_order SET state = 'done', ended_at = now() WHERE id = {k}", "", ["work_order.completed"]),
    ("INSERT INTO router (operator_id, nas_id, api_user, api_password) VALUES ({o}, {n}, 'u', 'x') RETURNING nas_id",
     "", []),
    ("INSERT INTO router_state (operator_id, nas_id, status) VALUES ({o}, {n}, 'online') RETURNING nas_id", "", []),
    ("INSERT INTO router_state (operator_id, nas_id, status) VALUES ({o}, {n}, 'offline') ON CONFLICT (nas_id)"
     " DO UPDATE SET status = excluded.status", "", ["router.offline"]),
    ("UPDATE router_state SET checked_at = now() WHERE nas_id = {n}", "", []),
    ("UPDATE router_state SET status = 'online' WHERE nas_id = {n}", "", ["router.online"]),
    ("INSERT INTO incident (operator_id, scope, nas_id, before, lost) VALUES ({o}, 'router', {n}, 9, 9) RETURNING id",
     "c", ["incident.opened"]),
    ("UPDATE incident SET closed_at = now() WHERE id = {c}", "", ["incident.closed"]),
)  # fmt: skip


def test_each_change_is_told_once_and_looks_as_its_example_says(installation):
    migrate(installation)
    isp = Isp.create(installation, "10.9.0.1")
    ids = {"o": isp.operator_id, "p": isp.plan_id, "q": isp.plan(), "n": isp.nas_id}
    seen: set[str] = set()
    with isp.connection, psycopg.connect(installation.database_url.get_secret_value()) as connection:
        values = (isp.operator_id, "https://isp.example/hook", ["*"], b"s")
        connection.execute(
            "INSERT INTO webhook_endpoint (operator_id, url, events, secret) VALUES (%s, %s, %s, %s)", values
        )
        for statement, name, events in STEPS:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM webhook_event").fetchone()[0]
            done = connection.execute(statement.format(**ids))
            if name:
                ids[name] = done.fetchone()[0]
            query = "SELECT event, data, operator_id FROM webhook_event WHERE id > %s ORDER BY id"
            rows = connection.execute(query, (last,)).fetchall()
            assert [row[0] for row in rows] == events, statement
            for event, data, operator in rows:
                assert operator == isp.operator_id
                assert data.keys() == EVENTS[event].example.keys(), event
                for key, example in EVENTS[event].example.items():
                    if example is not None and data[key] is not None:
                        assert type(data[key]) is type(example), (event, key)
                seen.add(event)
        amounts = connection.execute(
            "SELECT data ->> 'amount', data ->> 'number' FROM webhook_event"
            " WHERE event IN ('payment.recorded', 'invoice.issued') ORDER BY id"
        ).fetchall()
        deliveries = connection.execute("SELECT count(*) FROM webhook_delivery").fetchone()[0]
        assert deliveries == connection.execute("SELECT count(*) FROM webhook_event").fetchone()[0]
        connection.rollback()
    assert seen == set(EVENTS)
    assert amounts == [(None, "F-7"), ("348.5", None)]


def test_the_functions_of_the_desk_are_told_too_and_what_is_undone_is_not(rows, listening):
    operator_id, _endpoint = listening
    actor = Actor(operator_id, "Ana")
    subscriber = create_subscriber(rows, actor, SubscriberDetails(name="Luz Paz"))
    service_id = add_service(rows, operator_id, add_plan(rows, operator_id), "luz", subscriber_id=subscriber.id)
    service = rows.get_one(Service, service_id)
    with rows.begin_nested() as undone:
        suspend(rows, actor, service, "staff", "", NOW)
        undone.rollback()
    suspend(rows, actor, service, "staff", "", NOW)
    restore(rows, actor, service)
    rows.flush()
    assert [event for event, _data in told(rows, operator_id)] == [
        "subscriber.created", "service.activated", "service.suspended", "service.restored",
    ]  # fmt: skip


def test_nothing_is_written_where_nobody_listens_and_to_none_that_wants_something_else(rows, lan, listening):
    deaf = add_operator(rows)
    add_subscriber(rows, deaf)
    emit(rows, deaf, "subscriber.created", {"id": 1})
    assert told(rows, deaf) == []
    picky = add_operator(rows)
    terms = EndpointTerms("http://127.0.0.1:9099/hook", ("invoice.paid",))
    add_endpoint(rows, Actor(picky, "Ana"), KEYRING, lan, terms)
    add_subscriber(rows, picky)
    assert told(rows, picky) == []
    operator_id, endpoint = listening
    switch_endpoint(rows, Actor(operator_id, "Ana"), endpoint, on=False, now=NOW)
    add_subscriber(rows, operator_id)
    assert told(rows, operator_id) == []


def test_a_hundred_at_once_are_told_by_one_statement(rows, listening):
    operator_id, _endpoint = listening
    plan_id = add_plan(rows, operator_id)
    subscriber_id = add_subscriber(rows, operator_id)
    values = {"o": operator_id, "s": subscriber_id, "p": plan_id}
    rows.execute(
        text(
            "INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name)"
            " SELECT :o, :s, :p, 'line', 'x' || i FROM generate_series(1, 100) AS i"
        ),
        values,
    )
    rows.execute(text("UPDATE service SET state = 'suspended', suspended_at = now() WHERE operator_id = :o"), values)
    counted = select(WebhookEvent.event, func.count()).where(WebhookEvent.operator_id == operator_id)
    assert dict(map(tuple, rows.execute(counted.group_by(WebhookEvent.event)))) == {
        "subscriber.created": 1, "service.activated": 100, "service.suspended": 100,
    }  # fmt: skip


def test_the_portal_tells_of_its_own_operator_alone(installation):
    isp = Isp.create(installation, "10.9.0.2")
    other = Isp.create(installation, "10.9.0.3")
    for each in (isp, other):
        values = {"url": "https://isp.example/hook", "events": ["*"], "secret": b"s"}
        each.insert("webhook_endpoint", operator_id=each.operator_id, **values)
    engine = make_engine(installation.portal_database_url.get_secret_value())
    with Tenancy(engine, tenancy_key(installation.keyring)).session(isp.operator_id) as session:
        session.execute(text("INSERT INTO subscriber (operator_id, name) VALUES (:o, 'A')"), {"o": isp.operator_id})
        emit(session, isp.operator_id, "something.new", {"subscriber_id": 1})
        session.commit()
        assert {row.operator_id for row in session.scalars(select(WebhookEvent))} == {isp.operator_id}
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 2
    engine.dispose()
    isp.connection.close()
    other.connection.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://203.0.113.9/hook", "https://127.0.0.1/hook", "https://2130706433/", "https://[::1]/", "ftp://x.example",
        "https://user:pass@93.184.216.34/", "https://169.254.169.254/latest/meta-data", "https://10.0.0.7/",
        "https://93.184.216.34:5432/", "https://93.184.216.34:99999/", "https://x.example/\r\nHost: y",
    ],
)  # fmt: skip
def test_an_address_that_is_no_public_one_is_refused_when_it_is_entered(rows, installation, url):
    actor = Actor(add_operator(rows), "Ana")
    with pytest.raises(Invalid) as refused:
        add_endpoint(rows, actor, KEYRING, installation, EndpointTerms(url, ("*",)))
    found = [(each.field, each.problem.value) for each in refused.value.problems]
    assert found == [("address", "not_a_public_address")]


def test_an_endpoint_needs_something_to_be_told_and_there_are_ten_at_most(rows, lan):
    actor = Actor(add_operator(rows), "Ana")
    with pytest.raises(Invalid):
        add_endpoint(rows, actor, KEYRING, lan, EndpointTerms("http://127.0.0.1:9099/", ("no.such",)))
    terms = EndpointTerms("http://127.0.0.1:9099/", ("invoice.paid", "no.such", "invoice.issued"))
    for _ in range(10):
        endpoint, _secret = add_endpoint(rows, actor, KEYRING, lan, terms)
    assert endpoint.events == ["invoice.issued", "invoice.paid"]
    with pytest.raises(Invalid):
        add_endpoint(rows, actor, KEYRING, lan, terms)


def test_a_secret_is_replaced_with_two_valid_for_a_day_and_who_saw_it_is_written_down(rows, lan, listening):
    operator_id, endpoint = listening
    actor = Actor(operator_id, "Ana")
    first = reveal_secret(rows, actor, KEYRING, endpoint)
    second = replace_secret(rows, actor, KEYRING, endpoint, NOW)
    assert first != second
    assert KEYRING.open("webhook.secret", endpoint.previous_secret) == first
    assert endpoint.previous_until == NOW + timedelta(hours=24)
    change_endpoint(rows, actor, lan, endpoint, EndpointTerms("http://127.0.0.1:9099/b?key=hidden", ("*",), "Ledger"))
    rows.flush()
    entries = rows.scalars(
        select(AuditEntry).where(AuditEntry.operator_id == operator_id).order_by(AuditEntry.id)
    ).all()
    actions = [each.action for each in entries]
    assert actions == ["webhook.create", "webhook.secret_shown", "webhook.secret", "webhook.change"]
    written = json.dumps([[each.before, each.after] for each in entries])
    assert first not in written
    assert second not in written
    assert "hidden" not in written


def test_signatures_are_those_of_standard_webhooks():
    # The example that the reference libraries of the specification are tested with.
    made = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_test_goes_to_one_endpoint_and_what_failed_is_sent_again(rows, lan, listening):
    operator_id, endpoint = listening
    actor = Actor(operator_id, "Ana")
    terms = EndpointTerms("http://127.0.0.1:9099/", ("invoice.paid",))
    other, _secret = add_endpoint(rows, actor, KEYRING, lan, terms)
    send_test(rows, actor, other)
    owners = rows.scalars(select(WebhookDelivery.endpoint_id).where(WebhookDelivery.operator_id == operator_id)).all()
    assert other.id in owners
    add_subscriber(rows, operator_id)
    switch_endpoint(rows, actor, endpoint, on=False, now=NOW)
    switch_endpoint(rows, actor, endpoint, on=True, now=NOW)
    since = datetime.now(UTC) - timedelta(hours=1)
    failed = select(func.count()).where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "failed")
    lost = rows.scalar(failed)
    assert lost >= 1
    assert replay_failed(rows, actor, endpoint, since, NOW) == lost
    assert rows.scalar(failed) == 0


def test_a_test_of_one_endpoint_is_no_business_of_another(rows, lan, listening):
    operator_id, everything = listening
    terms = EndpointTerms("http://127.0.0.1:9099/", ("invoice.paid",))
    other, _secret = add_endpoint(rows, Actor(operator_id, "Ana"), KEYRING, lan, terms)
    send_test(rows, Actor(operator_id, "Ana"), other)
    owners = rows.scalars(select(WebhookDelivery.endpoint_id).where(WebhookDelivery.operator_id == operator_id)).all()
    assert owners == [other.id]
    assert everything.id not in owners


def test_what_is_old_is_forgotten_with_its_deliveries_once_no_hold_stands(rows, listening):
    operator_id, _endpoint = listening
    add_subscriber(rows, operator_id)
    rows.execute(text("UPDATE webhook_event SET created_at = :then"), {"then": NOW - timedelta(days=31)})
    person = rows.scalar(select(func.max(WebhookEvent.subscriber_id)).where(WebhookEvent.operator_id == operator_id))
    standing = hold(rows, Actor(operator_id, "Ana"), rows.get_one(Subscriber, person), "letter")
    forget_old(rows, NOW)
    kept = select(func.count()).where(WebhookEvent.subscriber_id == person)
    assert rows.scalar(kept) == 1
    lift(rows, Actor(operator_id, "Ana"), standing, NOW)
    assert forget_old(rows, NOW) >= 1
    counted = select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.operator_id == operator_id)
    assert rows.scalar(counted) == 0
