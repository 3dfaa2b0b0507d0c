from dataclasses import replace

import pytest
from sqlalchemy import func, select

from core.clock import utc_now
from core.crypto import Keyring
from crm.nas import (
    Dependents,
    NasTerms,
    change_nas,
    change_secret,
    create_nas,
    delete_nas,
    dependents,
    new_secret,
    reveal_secret,
    routeros_snippet,
    terms_of_nas,
)
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor
from db.models import AccountingSession, AuditEntry, EnforcementOrder, Nas, Service
from tests.rows import add_nas, add_operator, add_plan, add_service, add_session

TOWER = NasTerms(name="Torre Norte", address="10.200.0.23", notes="above the school")
KEYRING = Keyring.parse(Keyring.generate())


@pytest.fixture
def actor(rows):
    return Actor(add_operator(rows), "ana@example.com")


def test_a_nas_is_stored_as_it_was_entered_and_its_secret_sealed(rows, actor):
    nas = create_nas(rows, actor, KEYRING, TOWER, "a-secret-of-the-tower")
    rows.expire(nas)
    assert terms_of_nas(rows.get_one(Nas, nas.id)) == TOWER
    assert b"tower" not in nas.secret


def test_reading_a_secret_is_written_down_and_the_secret_is_not(rows, actor):
    nas = create_nas(rows, actor, KEYRING, TOWER, "a-secret-of-the-tower")
    assert reveal_secret(rows, actor, KEYRING, nas) == "a-secret-of-the-tower"
    change_secret(rows, actor, KEYRING, nas, "another-secret-of-it")
    rows.flush()
    entries = rows.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [entry.action for entry in entries] == ["nas.create", "nas.reveal_secret", "nas.change_secret"]
    assert "secret-of" not in repr([(entry.before, entry.after) for entry in entries])


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        (replace(TOWER, name=""), FieldProblem("name", Problem.REQUIRED)),
        (replace(TOWER, address="tower.example.com"), FieldProblem("address", Problem.NOT_AN_ADDRESS)),
        (replace(TOWER, address="10.200.0.0/24"), FieldProblem("address", Problem.NOT_AN_ADDRESS)),
        (replace(TOWER, address="0.0.0.0"), FieldProblem("address", Problem.NOT_AN_ADDRESS)),
        (replace(TOWER, coa_address="here"), FieldProblem("coa_address", Problem.NOT_AN_ADDRESS)),
        (
            replace(TOWER, coa_port=0),
            FieldProblem("coa_port", Problem.OUT_OF_RANGE, {"low": "1", "high": "65535"}),
        ),
    ],
)
def test_what_cannot_be_a_nas_is_refused_at_its_field(rows, actor, terms, problem):
    with pytest.raises(Invalid) as refused:
        create_nas(rows, actor, KEYRING, terms, new_secret())
    assert refused.value.problems == (problem,)


@pytest.mark.parametrize("secret", ["short", 'quotes " in the secret', "dollars $in the secret", "línea-con-acentos-ñ"])
def test_a_secret_that_a_router_would_misread_is_refused(rows, actor, secret):
    with pytest.raises(Invalid):
        create_nas(rows, actor, KEYRING, TOWER, secret)


def test_an_address_of_another_operator_is_refused_and_the_transaction_goes_on(rows, actor):
    add_nas(rows, add_operator(rows), address="10.200.0.23")
    with pytest.raises(Invalid) as refused:
        create_nas(rows, actor, KEYRING, TOWER, new_secret())
    assert refused.value.problems == (FieldProblem("address", Problem.TAKEN),)
    assert rows.scalar(select(func.count()).select_from(Nas)) == 1


def test_a_change_keeps_the_secret(rows, actor):
    nas = create_nas(rows, actor, KEYRING, TOWER, "a-secret-of-the-tower")
    change_nas(rows, actor, nas, replace(TOWER, coa_port=1700, swap_directions=True))
    entry = rows.scalars(select(AuditEntry).where(AuditEntry.action == "nas.change")).one()
    assert entry.after == {"coa_port": 1700, "swap_directions": True}
    assert reveal_secret(rows, actor, KEYRING, nas) == "a-secret-of-the-tower"


def test_deleting_a_nas_moves_its_services_and_closes_what_hung_on_it(rows, actor):
    old = create_nas(rows, actor, KEYRING, TOWER, new_secret())
    new = create_nas(rows, actor, KEYRING, NasTerms("Torre Sur", "10.200.0.24"), new_secret())
    service_id = add_service(rows, actor.operator_id, add_plan(rows, actor.operator_id), "one", nas_id=old.id)
    live = add_session(rows, actor.operator_id, service_id, "81c00001", nas_id=old.id)
    order = EnforcementOrder(
        operator_id=actor.operator_id,
        nas_id=old.id,
        session_id=live.id,
        session_started_at=live.started_at,
        kind="disconnect",
        cause="staff",
    )
    rows.add(order)
    rows.flush()
    assert dependents(rows, old) == Dependents(services=1, live_sessions=1)

    now = utc_now()
    delete_nas(rows, actor, old, new, now)

    rows.expire_all()
    assert rows.get(Nas, old.id) is None
    assert rows.get_one(Service, service_id).nas_id == new.id
    closed = rows.scalars(select(AccountingSession)).one()
    assert (closed.ended_at, closed.ended_by) == (now, "staff")
    assert rows.get_one(EnforcementOrder, order.id).state == "cancelled"


def test_the_commands_for_the_router_can_be_pasted_twice(rows, actor):
    nas = create_nas(rows, actor, KEYRING, TOWER, "a-secret-of-the-tower")
    lines = routeros_snippet(nas, "a-secret-of-the-tower", "10.200.0.1", 1812, 1813).splitlines()
    assert lines[:4] == [
        "/radius remove [find comment=portico]",
        '/radius add service=ppp,hotspot,dhcp,wireless address=10.200.0.1 secret="a-secret-of-the-tower"'
        " src-address=10.200.0.23 authentication-port=1812 accounting-port=1813 timeout=3s comment=portico",
        "/radius incoming set accept=yes port=3799",
        "/ppp aaa set use-radius=yes accounting=yes interim-update=5m",
    ]
