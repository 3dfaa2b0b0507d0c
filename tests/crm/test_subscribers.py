from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.problems import ChangedMeanwhile, Invalid
from crm.subscribers import (
    SubscriberDetails,
    change_subscriber,
    create_subscriber,
    delete_subscriber,
    details_of,
)
from db.audit import Actor
from db.models import AuditEntry, Operator


@pytest.fixture
def actor(rows: Session) -> Actor:
    operator = Operator(slug="valle", name="Valle Net")
    rows.add(operator)
    rows.flush()
    return Actor(operator.id, "ana@valle.example")


FULL = SubscriberDetails(
    name="José María Fernández-Villalobos de la Torre",
    email="jose@example.com",
    phone="+52 (55) 1234-5678 ext 12",
    tax_id="FEVJ800101AB1",
    address="Calle 5 Nº 12",
    latitude=Decimal("19.4326077"),
    longitude=Decimal("-99.133209"),
    language="es",
    notes="behind the church",
)


def test_what_is_entered_is_what_is_stored(rows, actor):
    subscriber = create_subscriber(rows, actor, FULL)
    rows.expire(subscriber)
    stored = details_of(subscriber)
    assert stored.name == FULL.name
    assert (stored.latitude, stored.longitude) == (Decimal("19.432608"), Decimal("-99.133209"))


def test_saving_what_is_stored_changes_no_row_and_writes_nothing(rows, actor):
    subscriber = create_subscriber(rows, actor, FULL)
    rows.expire(subscriber)
    version = subscriber.version
    change_subscriber(rows, actor, subscriber, details_of(subscriber), version)
    assert subscriber.version == version
    actions = rows.scalars(select(AuditEntry.action).where(AuditEntry.entity == "subscriber"))
    assert actions.all() == ["subscriber.create"]


def test_a_change_keeps_what_it_was_before(rows, actor):
    subscriber = create_subscriber(rows, actor, FULL)
    change_subscriber(rows, actor, subscriber, SubscriberDetails(name=FULL.name), subscriber.version)
    entry = rows.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert entry.before["phone"] == FULL.phone
    assert entry.after["phone"] is None
    assert "name" not in entry.before


def test_who_saves_second_is_told(rows, actor):
    subscriber = create_subscriber(rows, actor, FULL)
    seen = subscriber.version
    change_subscriber(rows, actor, subscriber, SubscriberDetails(name="Another"), seen)
    with pytest.raises(ChangedMeanwhile):
        change_subscriber(rows, actor, subscriber, FULL, seen)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "   "),
        ("name", "x" * 201),
        ("name", "A\0na"),
        ("address", "Calle\0 5"),
        ("email", "ana"),
        ("email", "a b@example.com"),
        ("phone", "call me"),
        ("phone", "=1+1"),
        ("language", "de"),
        ("latitude", Decimal(91)),
        ("longitude", Decimal(-181)),
        ("latitude", Decimal("NaN")),
    ],
)
def test_what_cannot_be_right_is_refused(rows, actor, field, value):
    values = {"name": "Ana", "latitude": Decimal(1), "longitude": Decimal(1), field: value}
    with pytest.raises(Invalid) as refused:
        create_subscriber(rows, actor, SubscriberDetails(**values))
    assert [problem.field for problem in refused.value.problems] == [field]


def test_half_a_position_is_none(rows, actor):
    with pytest.raises(Invalid) as refused:
        create_subscriber(rows, actor, SubscriberDetails(name="Ana", latitude=Decimal(1)))
    assert refused.value.problems[0].field == "longitude"


def test_a_double_entry_can_be_removed(rows, actor):
    subscriber = create_subscriber(rows, actor, FULL)
    assert delete_subscriber(rows, actor, subscriber) is True
    entry = rows.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert (entry.action, entry.before["name"]) == ("subscriber.delete", FULL.name)
