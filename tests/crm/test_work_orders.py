from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.work_orders import (
    WorkOrderDetails,
    WrongOrderState,
    add_note,
    begin,
    cancel,
    change_work_order,
    clashes,
    create_work_order,
    details_of_order,
    events_of,
    fail,
    open_again,
    schedule,
    set_out,
)
from db.audit import Actor
from db.models import AuditEntry, Staff, WorkChecklist
from tests.rows import add_operator, add_plan, add_service, add_subscriber

NOW = datetime(2027, 5, 4, 15, 0, tzinfo=UTC)
MORNING = (NOW + timedelta(hours=18), NOW + timedelta(hours=20))


@pytest.fixture
def actor(rows):
    return Actor(add_operator(rows), "rosa@example.com")


@pytest.fixture
def luis(rows, actor):
    return add_staff(rows, actor.operator_id, "luis")


def add_staff(rows, operator_id, name) -> Actor:
    person = Staff(
        operator_id=operator_id, email=f"{name}{operator_id}@example.com", name=name.title(), password_hash="x",
        roles=["technical"],
    )  # fmt: skip
    rows.add(person)
    rows.flush()
    return Actor(operator_id, person.email, person.id)


@pytest.fixture
def order(rows, actor):
    subscriber = add_subscriber(rows, actor.operator_id, name="Ana", phone="+52 55 1234", address="Calle 5")
    return create_work_order(rows, actor, WorkOrderDetails("repair", subscriber_id=subscriber), NOW)


def test_what_is_left_empty_is_the_subscribers(rows, actor):
    subscriber = add_subscriber(
        rows, actor.operator_id, name="Ana", phone="+52 55 1234", address="Calle 5",
        latitude=Decimal("19.4"), longitude=Decimal("-99.1"),
    )  # fmt: skip
    service = add_service(rows, actor.operator_id, add_plan(rows, actor.operator_id), "ana", subscriber_id=subscriber)
    order = create_work_order(rows, actor, WorkOrderDetails("installation", service_id=service), NOW)
    assert (order.subscriber_id, order.title, order.address, order.contact_phone, order.latitude) == (
        subscriber, "Ana", "Calle 5", "+52 55 1234", Decimal("19.4"),
    )  # fmt: skip
    assert (order.state, order.number) == ("open", 1)


def test_orders_are_numbered_by_operator(rows, actor):
    other = Actor(add_operator(rows), "x")
    details = WorkOrderDetails("expansion", title="Tower")
    numbers = [create_work_order(rows, who, details, NOW).number for who in (actor, other, actor)]
    assert numbers == [1, 1, 2]


def test_an_order_has_the_checklist_of_its_kind_as_it_was_then(rows, actor):
    items = [{"text": "Ladder tied", "required": True}]
    checklist = WorkChecklist(operator_id=actor.operator_id, kind="expansion", items=items)
    rows.add(checklist)
    rows.flush()
    order = create_work_order(rows, actor, WorkOrderDetails("expansion", title="Tower"), NOW)
    checklist.items = []
    rows.flush()
    assert order.checklist == [{"text": "Ladder tied", "required": True, "done_at": None, "done_by": ""}]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"title": ""}, FieldProblem("title", Problem.REQUIRED)),
        ({"kind": "party"}, FieldProblem("kind", Problem.UNKNOWN_CHOICE)),
        ({"priority": "most"}, FieldProblem("priority", Problem.UNKNOWN_CHOICE)),
        ({"kind": "installation"}, FieldProblem("subscriber_id", Problem.REQUIRED)),
        ({"subscriber_id": 10**9}, FieldProblem("subscriber_id", Problem.UNKNOWN_CHOICE)),
        ({"technician_id": 10**9}, FieldProblem("technician_id", Problem.UNKNOWN_CHOICE)),
        ({"window_start": NOW}, FieldProblem("window_end", Problem.BOTH_OR_NEITHER)),
        ({"window_start": NOW, "window_end": NOW}, FieldProblem("window_end", Problem.WRONG_SPAN)),
        ({"latitude": Decimal(91), "longitude": Decimal(0)}, FieldProblem("latitude", Problem.NOT_A_POSITION)),
    ],
)
def test_what_cannot_be_is_said(rows, actor, change, problem):
    with pytest.raises(Invalid) as invalid:
        create_work_order(rows, actor, replace(WorkOrderDetails("expansion", title="Tower"), **change), NOW)
    assert problem in invalid.value.problems


def test_nothing_of_another_operator_can_be_named(rows, actor):
    theirs = add_staff(rows, add_operator(rows), "eva")
    subscriber = add_subscriber(rows, theirs.operator_id)
    for change in ({"technician_id": theirs.staff_id}, {"subscriber_id": subscriber}):
        with pytest.raises(Invalid):
            create_work_order(rows, actor, WorkOrderDetails("repair", title="t", **change), NOW)


def test_the_way_of_a_visit(rows, actor, luis, order):
    schedule(rows, actor, order, luis.staff_id, MORNING, NOW)
    assert order.state == "scheduled"
    set_out(rows, luis, order, MORNING[0])
    assert order.state == "on_the_way"
    begin(rows, luis, order, MORNING[0])
    assert (order.state, order.started_at) == ("in_work", MORNING[0])
    fail(rows, luis, order, "Nobody at home", MORNING[1])
    assert (order.state, order.outcome, order.ended_at) == ("failed", "Nobody at home", MORNING[1])
    open_again(rows, actor, order, MORNING[1])
    assert (order.state, order.window_start, order.ended_at) == ("open", None, None)
    steps = ["open_again", "fail", "begin", "set_out", "schedule", "create"]
    assert sorted(event.step for event in events_of(rows, order)) == sorted(steps)


def test_whoever_sets_out_takes_what_was_nobodys(rows, luis, order):
    set_out(rows, luis, order, NOW)
    assert order.technician_id == luis.staff_id


def test_a_plan_without_a_window_is_open_again(rows, actor, luis, order):
    schedule(rows, actor, order, luis.staff_id, MORNING, NOW)
    schedule(rows, actor, order, luis.staff_id, None, NOW)
    assert (order.state, order.technician_id) == ("open", luis.staff_id)


def test_what_is_over_takes_no_step_but_a_note(rows, actor, order):
    cancel(rows, actor, order, "Moved away", NOW)
    for step in (set_out, begin):
        with pytest.raises(WrongOrderState):
            step(rows, actor, order, NOW)
    with pytest.raises(WrongOrderState):
        schedule(rows, actor, order, None, MORNING, NOW)
    add_note(rows, actor, order, "They called again", NOW)
    assert order.state == "cancelled"


@pytest.mark.parametrize("step", [fail, cancel])
def test_an_end_without_success_has_a_reason(rows, actor, order, step):
    with pytest.raises(Invalid):
        step(rows, actor, order, "  ", NOW)
    assert order.state == "open"


def test_a_step_that_arrives_twice_counts_once(rows, luis, order):
    for _ in range(2):
        set_out(rows, luis, order, NOW, key="phone-1")
        begin(rows, luis, order, NOW, key="phone-2")
        add_note(rows, luis, order, "Dog", NOW, key="phone-3")
    assert sorted(event.step for event in events_of(rows, order)) == ["begin", "create", "note", "set_out"]
    with pytest.raises(WrongOrderState):
        set_out(rows, luis, order, NOW, key="phone-4")


def test_a_phone_with_a_wrong_clock_writes_nothing_into_the_future(rows, luis, order):
    add_note(rows, luis, order, "Dog", datetime(2199, 1, 1, tzinfo=UTC))
    assert max(event.at for event in events_of(rows, order)) < datetime(2198, 1, 1, tzinfo=UTC)


def test_who_plans_an_order_that_was_changed_meanwhile_is_told(rows, actor, luis, order):
    seen = order.version
    schedule(rows, actor, order, luis.staff_id, MORNING, NOW, seen=seen)
    with pytest.raises(ChangedMeanwhile):
        schedule(rows, actor, order, None, None, NOW, seen=seen)
    with pytest.raises(ChangedMeanwhile):
        change_work_order(rows, actor, order, details_of_order(order), seen, NOW)


def test_a_change_says_what_it_was_before(rows, actor, order):
    change_work_order(rows, actor, order, replace(details_of_order(order), priority="urgent"), order.version, NOW)
    assert events_of(rows, order)[0].detail == {"priority": ["normal", "urgent"]}
    entry = rows.scalars(select(AuditEntry).where(AuditEntry.action == "work_order.change")).one()
    assert (entry.before, entry.after) == ({"priority": "normal"}, {"priority": "urgent"})


def test_two_visits_at_once_are_seen(rows, actor, luis, order):
    schedule(rows, actor, order, luis.staff_id, MORNING, NOW)
    details = WorkOrderDetails("expansion", title="Tower", technician_id=luis.staff_id)
    later = replace(details, window_start=MORNING[1], window_end=MORNING[1] + timedelta(hours=1))
    at_once = replace(details, window_start=MORNING[0] + timedelta(hours=1), window_end=MORNING[1])
    assert clashes(rows, create_work_order(rows, actor, later, NOW)) == []
    assert clashes(rows, create_work_order(rows, actor, at_once, NOW)) == [order]
