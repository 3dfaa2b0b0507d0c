"""A list asks the database as often for fifty rows as for five."""

from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.tickets import open_ticket
from crm.work_orders import WorkOrderDetails, create_work_order
from db.audit import Actor
from db.models import CustomField, CustomValue, Incident, Lead, Service, Subscriber
from tests.portal.conftest import post

LISTS = (
    "/subscribers/", "/services/", "/tickets/", "/work-orders/", "/leads/", "/monitoring/incidents", "/map/points",
    "/reports/all/subscribers", "/audit/",
)  # fmt: skip


@contextmanager
def counted():
    statements = []

    def note(_connection, _cursor, statement, *_more):
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def grow(system, isp, first, last):
    """Give the operator one more of everything for each number."""
    actor, now = Actor(isp.operator_id, "test"), utc_now()
    with Session(system) as session:
        field = session.query(CustomField).filter_by(operator_id=isp.operator_id).one()
        for number in range(first, last):
            place = {"latitude": Decimal(1), "longitude": Decimal(number)}
            person = Subscriber(operator_id=isp.operator_id, name=f"P{number:03}", **place)
            session.add(person)
            session.flush()
            line = Service(
                operator_id=isp.operator_id, subscriber_id=person.id, plan_id=isp.plan_id, access_method="mac",
                name=f"aa:bb:cc:00:00:{number:02x}",
            )  # fmt: skip
            value = CustomValue(operator_id=isp.operator_id, field_id=field.id, subscriber_id=person.id, value="9")
            lead = Lead(operator_id=isp.operator_id, name=f"L{number}")
            incident = Incident(
                operator_id=isp.operator_id, scope="router", nas_id=isp.nas_id, before=9, lost=9,
                opened_at=now - timedelta(hours=number), closed_at=now,
            )  # fmt: skip
            session.add_all((line, value, lead, incident))
            session.flush()
            open_ticket(session, actor, person.id, None, f"T{number}", "x")
            details = WorkOrderDetails("repair", f"W{number}", subscriber_id=person.id, service_id=line.id)
            create_work_order(session, actor, details, now)
        session.commit()


def queries(browser, address):
    """Return how many statements a page takes; once in a while also some whose answers are kept for seconds."""
    with counted() as statements:
        assert browser.get(address).status_code == 200, address
    return len(statements)


def test_a_list_asks_as_often_for_fifty_rows_as_for_five(sign_in, isp, system):
    browser = sign_in("manager")
    post(browser, "/settings/fields", subject="subscriber", title="Mast", kind="number", choices="", listed="yes")
    asked = {}
    for first, last in ((0, 5), (5, 48)):
        grow(system, isp, first, last)
        for address in LISTS:
            asked.setdefault(address, []).append(min(queries(browser, address) for _again in range(2)))
    assert {address: counts for address, counts in asked.items() if counts[0] != counts[1]} == {}
