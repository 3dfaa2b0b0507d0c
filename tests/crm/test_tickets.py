"""Tickets from the first word to the last: clocks, states, two people at once, merging, reopening."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm import ticket_clock
from crm.help_desk import (
    CannedDetails,
    CategoryDetails,
    canned_text,
    categories,
    change_desk,
    desk_of,
    save_canned,
    save_category,
)
from crm.help_desk import details_of as desk_details
from crm.problems import ChangedMeanwhile, Invalid, Problem
from crm.ticket_entries import entries_of, public_entries
from crm.ticket_upkeep import close_solved, settle_incident_tickets
from crm.tickets import (
    Call,
    TicketChanged,
    answer,
    change_ticket,
    close,
    details_of,
    escalate,
    log_call,
    merge,
    note,
    open_ticket,
    rate,
    reply,
    solve,
)
from db.audit import Actor
from db.models import AuditEntry, Incident, Staff, Ticket
from tests.rows import add_nas, add_operator, add_subscriber

TUESDAY = datetime(2027, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def operator(rows: Session) -> int:
    return add_operator(rows, locale="es")


@pytest.fixture
def ana(rows: Session, operator: int) -> Actor:
    person = Staff(
        operator_id=operator, email=f"ana@{operator}.example", name="Ana", password_hash="x", roles=["support"]
    )
    rows.add(person)
    rows.flush()
    return Actor(operator, person.email, person.id)


@pytest.fixture
def subscriber(rows: Session, operator: int) -> int:
    return add_subscriber(rows, operator, name="Luisa Peña", email="luisa@example.com", language="es")


@pytest.fixture
def new_ticket(rows, ana, subscriber):
    def new(category: str = "Factura o pago", now: datetime = TUESDAY, **values) -> Ticket:
        found = next(each for each in categories(rows, ana.operator_id) if each.name == category)
        return open_ticket(rows, ana, subscriber, found, "No puedo pagar", "La página no abre.", now=now, **values)

    return new


def test_a_ticket_goes_to_the_queue_of_its_category_with_a_number_of_the_operator(rows, ana, subscriber, new_ticket):
    first, second = new_ticket(), new_ticket("Sin internet")
    assert (first.number, second.number) == (1, 2)
    assert (first.queue, first.priority, first.state, first.language) == ("finance", "normal", "new", "es")
    assert (second.queue, second.priority) == ("technical", "high")
    elsewhere = Actor(add_operator(rows), "bo@else.example")
    assert open_ticket(rows, elsewhere, None, None, "x", "y").number == 1


def test_the_clocks_of_a_new_ticket_run_in_working_hours(new_ticket):
    ticket = new_ticket(now=TUESDAY.replace(hour=16))  # hours until 18:00: two of the four today
    assert ticket.first_due_at == TUESDAY.replace(day=3, hour=11)
    assert ticket.solve_due_at == TUESDAY.replace(day=5, hour=16)


def test_the_earlier_of_both_promises_is_the_next_one(rows, new_ticket):
    ticket = new_ticket()
    rows.refresh(ticket)
    assert ticket.due_at == ticket.first_due_at < ticket.solve_due_at
    assert ticket_clock.is_late(ticket, ticket.first_due_at + HOUR)


def test_an_answer_stops_the_clock_until_the_subscriber_writes_again(rows, ana, new_ticket):
    ticket = new_ticket()
    answer(rows, ana, ticket, "¿Qué ve usted?", now=TUESDAY + HOUR)
    assert (ticket.state, ticket.first_met, ticket.solve_due_at) == ("waiting_subscriber", True, None)
    assert ticket.solve_left == 26 * 3600  # 27 hours of work were promised
    assert ticket.assigned_id == ana.staff_id
    reply(rows, Actor(ana.operator_id, "Luisa Peña"), ticket, "Nada.", now=TUESDAY + timedelta(days=7))
    assert (ticket.state, ticket.solve_left) == ("open", None)
    assert ticket.solve_due_at == TUESDAY.replace(day=11, hour=18)  # 8 + 9 + 9 hours on


def test_what_was_late_stays_late_though_it_is_asked_back(rows, ana, new_ticket):
    ticket = new_ticket("Sin internet")
    late = TUESDAY + timedelta(days=8)
    answer(rows, ana, ticket, "Perdón", now=late)
    assert (ticket.first_met, ticket.solve_met) == (False, False)
    solve(rows, ana, ticket, now=late)
    assert ticket.solve_met is False


def test_waiting_for_others_is_on_our_time(rows, ana, new_ticket):
    ticket = new_ticket()
    change_ticket(rows, ana, ticket, replace(details_of(ticket), state="waiting_others"), ticket.version)
    assert ticket.solve_due_at is not None


def test_the_clock_stands_while_the_incident_is_open(rows, ana, operator, new_ticket):
    incident = Incident(operator_id=operator, scope="router", nas_id=add_nas(rows, operator), before=9, lost=9)
    rows.add(incident)
    rows.flush()
    ticket = new_ticket(incident_id=incident.id)
    assert (ticket.first_due_at, ticket.solve_due_at) == (None, None)
    assert settle_incident_tickets(rows, operator, TUESDAY + HOUR) == 0
    incident.closed_at = TUESDAY + 2 * HOUR
    rows.flush()
    assert settle_incident_tickets(rows, operator, TUESDAY + 3 * HOUR) == 1
    assert ticket.first_due_at == TUESDAY + 6 * HOUR
    assert settle_incident_tickets(rows, operator, TUESDAY + 3 * HOUR) == 0


def test_a_higher_priority_counts_the_time_that_has_passed(rows, ana, new_ticket):
    ticket = new_ticket()  # four hours for the first answer
    soon = TUESDAY + timedelta(minutes=20)
    change_ticket(rows, ana, ticket, replace(details_of(ticket), priority="urgent"), ticket.version, now=soon)
    assert ticket.first_due_at == TUESDAY + timedelta(minutes=30)
    change_ticket(rows, ana, ticket, replace(details_of(ticket), priority="low"), ticket.version, now=TUESDAY + HOUR)
    assert ticket.first_due_at == TUESDAY.replace(day=3)  # nine hours of work since ten: at ten on the next day


def test_who_changes_second_is_told_what_the_first_changed(rows, ana, new_ticket):
    ticket = new_ticket()
    seen = ticket.version
    escalate(rows, ana, ticket, "technical", "La antena no responde")
    with pytest.raises(TicketChanged) as raised:
        change_ticket(rows, ana, ticket, replace(details_of(ticket), priority="high"), seen)
    [event] = raised.value.entries
    assert event.detail["changes"]["queue"] == ["finance", "technical"]
    assert event.detail["reason"] == "La antena no responde"
    assert ticket.priority == "normal"


def test_who_answers_without_having_seen_the_last_message_is_shown_it(rows, ana, new_ticket):
    ticket = new_ticket()
    seen = entries_of(rows, ticket)[-1].id
    note(rows, ana, ticket, "Le llamo luego")
    reply(rows, Actor(ana.operator_id, "Luisa Peña"), ticket, "Ya funciona")
    with pytest.raises(TicketChanged) as raised:
        answer(rows, ana, ticket, "¿Qué ve usted?", seen_entry=seen)
    assert [entry.body for entry in raised.value.entries] == ["Ya funciona"]


def test_notes_and_calls_are_not_for_the_subscriber(rows, ana, new_ticket):
    ticket = new_ticket()
    note(rows, ana, ticket, "Debe dos meses")
    log_call(rows, ana, ticket, Call("in", "Dice que pagó", 180), now=TUESDAY + HOUR)
    answer(rows, ana, ticket, "Gracias", now=TUESDAY + 2 * HOUR)
    assert [entry.body for entry in public_entries(rows, ticket)] == ["La página no abre.", "Gracias"]
    assert ticket.first_answered_at == TUESDAY + HOUR  # by phone


def test_escalating_leaves_it_to_whoever_takes_it_there(rows, ana, new_ticket):
    ticket = new_ticket()
    answer(rows, ana, ticket, "Un momento", state="open")
    escalate(rows, ana, ticket, "technical", "Sin señal")
    assert (ticket.queue, ticket.assigned_id) == ("technical", None)
    with pytest.raises(Invalid):
        escalate(rows, ana, ticket, "technical", "  ")
    assert rows.scalar(select(AuditEntry.after).where(AuditEntry.action == "ticket.escalate"))["reason"] == "Sin señal"


def test_a_word_of_the_subscriber_reopens_what_was_solved_lately(rows, ana, new_ticket):
    ticket = new_ticket()
    answer(rows, ana, ticket, "Listo", state="solved", now=TUESDAY + HOUR)
    assert (ticket.state, ticket.solve_met, ticket.solve_due_at) == ("solved", True, None)
    entry = reply(rows, Actor(ana.operator_id, "Luisa"), ticket, "No, sigue igual", now=TUESDAY + timedelta(days=13))
    assert (entry.ticket_id, ticket.state, ticket.reopened, ticket.solve_met) == (ticket.id, "open", 1, None)
    assert ticket.solve_due_at is not None


def test_long_after_that_it_is_another_ticket(rows, ana, new_ticket):
    ticket = new_ticket()
    close(rows, ana, ticket, now=TUESDAY)
    entry = reply(rows, Actor(ana.operator_id, "Luisa"), ticket, "Otra vez", now=TUESDAY + timedelta(days=15))
    another = rows.get_one(Ticket, entry.ticket_id)
    assert (another.number, another.state, ticket.state) == (ticket.number + 1, "new", "closed")
    assert entries_of(rows, another)[-1].detail == {"what": "follows", "number": ticket.number}


def test_a_merged_ticket_brings_its_words_and_later_ones(rows, ana, new_ticket):
    ticket, into = new_ticket(), new_ticket("Sin internet")
    merge(rows, ana, ticket, into)
    assert (ticket.state, ticket.solve_due_at, ticket.solve_met) == ("closed", None, None)
    assert len(public_entries(rows, into)) == 2
    assert reply(rows, Actor(ana.operator_id, "Luisa"), ticket, "¿Hay novedades?").ticket_id == into.id
    with pytest.raises(Invalid):
        merge(rows, ana, into, ticket)  # a circle


def test_nothing_is_said_in_a_ticket_that_somebody_merged_meanwhile(rows, ana, new_ticket):
    ticket, into, third = new_ticket(), new_ticket("Sin internet"), new_ticket()
    seen = entries_of(rows, ticket)[-1].id
    merge(rows, ana, ticket, into)
    for late in (
        lambda: answer(rows, ana, ticket, "Ya quedó", seen_entry=seen),
        lambda: escalate(rows, ana, ticket, "finance", "No paga"),
    ):
        with pytest.raises(TicketChanged) as raised:
            late()
        assert [entry.detail for entry in raised.value.entries] == [{"what": "merged", "number": ticket.number}]
    with pytest.raises(Invalid):
        merge(rows, ana, ticket, third)  # its words are in the other one
    assert note(rows, ana, ticket, "Le llamo").ticket_id == into.id
    assert log_call(rows, ana, ticket, Call("out", "No contesta")).ticket_id == into.id
    assert (ticket.state, ticket.queue, ticket.merged_into_id) == ("closed", "finance", into.id)


def test_tickets_of_two_subscribers_are_not_merged(rows, ana, operator, new_ticket):
    other = open_ticket(rows, ana, add_subscriber(rows, operator, name="Otro"), None, "x", "y")
    with pytest.raises(Invalid) as raised:
        merge(rows, ana, new_ticket(), other)
    assert raised.value.problems[0].problem is Problem.NOT_MERGEABLE


def test_what_nobody_complains_about_is_closed_after_some_days(rows, ana, new_ticket):
    ticket = new_ticket()
    solve(rows, ana, ticket, now=TUESDAY)
    worker = Actor(ana.operator_id, "worker")
    assert close_solved(rows, worker, TUESDAY + timedelta(days=2)) == 0
    assert close_solved(rows, worker, TUESDAY + timedelta(days=3)) == 1
    assert (ticket.state, ticket.closed_at) == ("closed", TUESDAY + timedelta(days=3))


def test_the_last_word_on_satisfaction_counts(rows, ana, new_ticket):
    ticket = new_ticket()
    for stars in (2, 5):
        rate(rows, Actor(ana.operator_id, "Luisa"), ticket, stars, " bien ", TUESDAY)
    assert (ticket.satisfaction, ticket.satisfaction_words) == (5, "bien")
    with pytest.raises(Invalid):
        rate(rows, ana, ticket, 6, "", TUESDAY)


def test_rows_of_another_operator_are_not_to_be_chosen(rows, ana, new_ticket):
    elsewhere = add_operator(rows)
    with pytest.raises(Invalid):
        open_ticket(rows, ana, add_subscriber(rows, elsewhere), None, "x", "y")
    theirs = categories(rows, elsewhere)[0]
    with pytest.raises(Invalid):
        open_ticket(rows, ana, None, theirs.id, "x", "y")
    ticket = new_ticket()
    with pytest.raises(Invalid):
        change_ticket(rows, ana, ticket, replace(details_of(ticket), category_id=theirs.id), ticket.version)


@pytest.mark.parametrize(("subject", "text"), [("", "y"), ("x", " \r\n "), ("x" * 201, "y"), ("x", "y" * 20_001)])
def test_an_empty_or_endless_ticket_is_refused(rows, ana, subscriber, subject, text):
    with pytest.raises(Invalid):
        open_ticket(rows, ana, subscriber, None, subject, text)


def test_canned_answers_speak_the_subscribers_language(rows, ana):
    texts = {"es": "Hola {subscriber}, su caso es {ticket}.", "en": "Hello {subscriber}."}
    canned = save_canned(rows, ana, None, CannedDetails("Saludo", texts))
    assert canned_text(canned, "es", {"subscriber": "{ticket}", "ticket": "#7"}) == "Hola {ticket}, su caso es #7."
    assert canned_text(canned, "pt", {"subscriber": "Ana"}).startswith("Hola Ana")
    with pytest.raises(Invalid) as raised:
        save_canned(rows, ana, None, CannedDetails("Otro", {"en": "{password}"}))
    assert raised.value.problems[0].problem is Problem.UNKNOWN_VARIABLE
    with pytest.raises(Invalid):
        save_canned(rows, ana, None, CannedDetails("saludo", texts))


def test_two_categories_do_not_share_a_name(rows, ana):
    save_category(rows, ana, None, CategoryDetails("Cámaras"))
    with pytest.raises(Invalid):
        save_category(rows, ana, None, CategoryDetails(" cámaras "))
    with pytest.raises(Invalid):
        save_category(rows, ana, None, CategoryDetails("x", queue="nobody"))


def test_rules_are_changed_by_one_at_a_time(rows, ana):
    desk = desk_of(rows, ana.operator_id)
    details = replace(desk_details(desk), hours={"1": [[0, 1440]]}, reopen_days=0)
    change_desk(rows, ana, details, desk.version)
    assert desk.hours == {"1": [[0, 1440]]}
    with pytest.raises(ChangedMeanwhile):
        change_desk(rows, ana, details, desk.version - 1)
    with pytest.raises(Invalid):
        change_desk(rows, ana, replace(details, close_days=0), desk.version)
