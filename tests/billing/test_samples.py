"""Samples come with one click and go with one; what has become real stays."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.samples import PEOPLE, PLANS, add_samples, has_samples, remove_samples
from core.clock import utc_now
from crm.first_steps import progress_of
from crm.problems import Invalid
from crm.subscribers import SubscriberDetails, change_subscriber, create_subscriber
from db.audit import Actor
from db.models import AccountingSession, RatePlan, SampleRow, Service, Subscriber, Ticket
from tests.rows import add_nas, add_operator, add_plan, add_session


def count(rows: Session, model: type, operator_id: int) -> int:
    return rows.scalar(select(func.count()).where(model.operator_id == operator_id)) or 0


@pytest.fixture
def actor(rows) -> Actor:
    return Actor(add_operator(rows), "test")


def add(rows, installation, actor) -> int:
    return add_samples(rows, actor, installation.keyring, "no secret at all", utc_now())


def test_samples_are_no_steps_and_leave_no_trace_but_the_audit_log(rows, installation, actor):
    real_plan = add_plan(rows, actor.operator_id, name="Real")
    real = create_subscriber(rows, actor, SubscriberDetails("Real person"))
    assert add(rows, installation, actor) == len(PLANS) + 2 * len(PEOPLE) + 2
    with pytest.raises(Invalid):
        add(rows, installation, actor)
    assert has_samples(rows, actor.operator_id)
    removed = remove_samples(rows, actor.operator_id)
    assert removed.kept == ()
    assert not has_samples(rows, actor.operator_id)
    assert rows.scalars(select(Subscriber.id).where(Subscriber.operator_id == actor.operator_id)).all() == [real.id]
    assert rows.scalars(select(RatePlan.id).where(RatePlan.operator_id == actor.operator_id)).all() == [real_plan]
    assert [count(rows, model, actor.operator_id) for model in (Service, Ticket, SampleRow)] == [0, 0, 0]


def test_steps_are_done_by_what_is_real_alone(rows, installation, actor):
    add(rows, installation, actor)
    assert progress_of(rows, actor.operator_id).done == 0
    add_plan(rows, actor.operator_id, name="Real")
    progress = progress_of(rows, actor.operator_id)
    assert (progress.done, progress.following.name) == (1, "router")
    create_subscriber(rows, actor, SubscriberDetails("Real person"))
    add_nas(rows, actor.operator_id)
    done = [step.name for step, done in progress_of(rows, actor.operator_id).steps if done]
    assert done == ["plan", "router", "subscriber"]


def test_what_was_edited_or_on_line_stays_with_all_that_is_its_own(rows, installation, actor):
    add(rows, installation, actor)
    people = rows.scalars(
        select(Subscriber).where(Subscriber.operator_id == actor.operator_id).order_by(Subscriber.id)
    ).all()
    edited, online = people[0], people[1]
    change_subscriber(rows, actor, edited, SubscriberDetails("María Real"), edited.version)
    line = rows.scalars(select(Service).where(Service.subscriber_id == online.id)).one()
    add_session(rows, actor.operator_id, line.id, "s1", nas_id=add_nas(rows, actor.operator_id))
    removed = remove_samples(rows, actor.operator_id)
    assert set(removed.kept) >= {"María Real", online.name}
    left = rows.scalars(select(Subscriber.id).where(Subscriber.operator_id == actor.operator_id)).all()
    assert sorted(left) == sorted((edited.id, online.id))
    assert count(rows, Service, actor.operator_id) == 2
    assert count(rows, Ticket, actor.operator_id) == 1
    assert count(rows, AccountingSession, actor.operator_id) == 1
    assert not has_samples(rows, actor.operator_id)
