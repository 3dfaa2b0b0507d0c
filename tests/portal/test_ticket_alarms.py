"""What staff are told of tickets: that one is theirs now, and that a promise ends soon or was broken."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.ticket_alarms import tell_of_promises
from crm.tickets import details_of
from db.models import Notification, Staff, Ticket
from tests.portal.conftest import add_subscriber, post
from tests.portal.test_tickets import new_ticket, ticket_of


def mails(system, isp) -> list[tuple[str, str]]:
    """Return what went to staff so far: event, and the role whose only member it went to."""
    roles = {address: role for role, address in isp.staff.items()}
    with Session(system) as session:
        rows = session.scalars(
            select(Notification).where(Notification.operator_id == isp.operator_id).order_by(Notification.id)
        )
        return sorted((row.kind, roles.get(row.shown_address, row.shown_address)) for row in rows)


def told(system, installation, isp, now) -> int:
    with Session(system) as session:
        count = tell_of_promises(session, installation.keyring, isp.operator_id, now)
        session.commit()
        return count


def change(browser, system, ticket_id, **values):
    ticket = ticket_of(system, ticket_id)
    sent = {name: getattr(details_of(ticket), name) for name in details_of(ticket).__slots__} | values
    sent = {f"change-{name}": "" if value is None else value for name, value in sent.items()}
    return post(browser, f"/tickets/{ticket_id}/edit", **sent, **{"change-version": ticket.version})


def test_who_is_given_a_ticket_is_told_but_nobody_of_what_they_took_themselves(sign_in, isp, system):
    support = sign_in("support")
    number = new_ticket(support, add_subscriber(system, isp, "Luisa"))
    with Session(system) as session:
        people = {
            one.roles[0]: one.id for one in session.scalars(select(Staff).where(Staff.operator_id == isp.operator_id))
        }
    post(support, f"/tickets/{number}/take", version=ticket_of(system, number).version)
    assert mails(system, isp) == []
    assert change(support, system, number, assigned_id=people["technical"]).status_code == 302
    assert change(support, system, number, priority="high").status_code == 302
    assert mails(system, isp) == [("ticket_given", "technical")]
    post(support, f"/tickets/{number}/escalate", **{"on-queue": "finance", "on-reason": "He paid twice"})
    assert mails(system, isp) == [("ticket_given", "finance"), ("ticket_given", "technical")]


def test_a_promise_is_told_of_once_when_it_is_near_and_once_when_it_is_broken(sign_in, isp, system, installation):
    support = sign_in("support")
    number = new_ticket(support, add_subscriber(system, isp, "Luisa"))
    now = utc_now()

    def due(at):
        with Session(system) as session:
            ticket = session.get_one(Ticket, number)
            ticket.first_due_at, ticket.solve_due_at = at, at + timedelta(days=9)
            ticket.created_at = now - timedelta(days=1)
            session.commit()

    due(now + timedelta(hours=2))
    assert told(system, installation, isp, now) == 0
    due(now + timedelta(minutes=50))
    assert [told(system, installation, isp, now) for _round in range(2)] == [1, 0]
    assert mails(system, isp) == [("ticket_due", "support")]  # nobody has it: its queue
    late = now + timedelta(hours=1)
    assert [told(system, installation, isp, late) for _round in range(2)] == [1, 0]
    assert mails(system, isp) == [("ticket_due", "support"), ("ticket_late", "manager"), ("ticket_late", "support")]
    due(late + timedelta(minutes=30))  # another promise, as after a reopening
    assert told(system, installation, isp, late) == 1
    due(now - timedelta(days=20))  # an old sin
    assert told(system, installation, isp, now) == 0
    with Session(system) as session:
        session.get_one(Ticket, number).closed_at = now
        session.commit()
    due(now - timedelta(hours=1))
    assert told(system, installation, isp, now) == 0
