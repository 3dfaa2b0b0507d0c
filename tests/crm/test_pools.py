"""Pools: which networks may stand beside each other, what is taken of them, and what is free next."""

from ipaddress import IPv4Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from crm.pools import (
    Block,
    PoolTerms,
    Usage,
    change_pool,
    create_pool,
    delete_pool,
    first_gap,
    next_free,
    propose,
    size,
    terms_of_pool,
    usage_of,
)
from crm.problems import Invalid, Problem
from db.audit import Actor
from db.models import AddressPool, AuditEntry
from tests.rows import add_nas, add_operator, add_plan, add_service, add_session

HOME = PoolTerms("casas", "ipv4", "10.20.0.0/24")
LINES = PoolTerms("lineas", "ipv6_delegated", "2001:db8:1000::/40", prefix_length=56)


@pytest.fixture
def actor(rows) -> Actor:
    return Actor(add_operator(rows), "test")


def refused(session, actor, terms) -> list[tuple]:
    with pytest.raises(Invalid) as problems:
        create_pool(session, actor, terms)
    return [(problem.field, problem.problem, dict(problem.detail)) for problem in problems.value.problems]


def test_an_overlap_is_refused_with_the_name_of_the_other(rows, actor):
    create_pool(rows, actor, HOME)
    found = refused(rows, actor, PoolTerms("otras", "ipv4", "10.20.0.128/25"))
    assert found == [("network", Problem.OVERLAPS, {"pool": "casas", "network": "10.20.0.0/24"})]


def test_two_routers_may_each_have_the_same_private_network(rows, actor):
    first, second = add_nas(rows, actor.operator_id), add_nas(rows, actor.operator_id)
    create_pool(rows, actor, PoolTerms("casas", "ipv4", "10.20.0.0/24", nas_id=first))
    create_pool(rows, actor, PoolTerms("casas", "ipv4", "10.20.0.0/24", nas_id=second))
    assert refused(rows, actor, HOME)[0][1] is Problem.OVERLAPS  # of all routers: of these two as well
    assert refused(rows, actor, PoolTerms("x", "ipv4", "10.20.0.0/25", nas_id=first))[0][1] is Problem.OVERLAPS


def test_another_operator_is_in_nobodys_way(rows, actor):
    create_pool(rows, actor, HOME)
    create_pool(rows, Actor(add_operator(rows), "test"), HOME)


def test_the_database_refuses_an_overlap_that_nobody_looked_for(rows, actor):
    create_pool(rows, actor, HOME)
    twice = {"operator_id": actor.operator_id, "name": "y", "kind": "ipv4", "assignment": "fixed"}
    with pytest.raises(IntegrityError, match="ex_address_pool_overlap"), rows.begin_nested():
        rows.execute(insert(AddressPool).values(network="10.20.0.64/26", prefix_length=32, **twice))


@pytest.mark.parametrize(
    ("terms", "field", "problem"),
    [
        (PoolTerms("", "ipv4", "10.0.0.0/8"), "name", Problem.REQUIRED),
        (PoolTerms("x", "ipv4", "10.20.0.5/24"), "network", Problem.HOST_BITS),
        (PoolTerms("x", "ipv4", "10.20.0.5"), "network", Problem.NOT_A_NETWORK),
        (PoolTerms("x", "ipv4", "2001:db8::/40"), "network", Problem.NOT_A_NETWORK),
        (PoolTerms("x", "ipv6_line", "casa"), "network", Problem.NOT_A_NETWORK),
        (PoolTerms("x", "ipv6_line", "2001:db8::/40", prefix_length=32), "prefix_length", Problem.OUT_OF_RANGE),
        (PoolTerms("x", "ipv6_line", "2001:db8::/40", prefix_length=80), "prefix_length", Problem.OUT_OF_RANGE),
        (PoolTerms("x", "ipv4", "10.0.0.0/24", first_address="10.0.1.1"), "first_address", Problem.NOT_IN_NETWORK),
        (PoolTerms("x", "ipv4", "10.0.0.0/24", first_address="::1"), "first_address", Problem.NOT_IN_NETWORK),
        (PoolTerms("x", "ipv4", "10.0.0.0/24", "fixed", "10.0.0.9", "10.0.0.2"), "last_address", Problem.WRONG_ORDER),
        (PoolTerms("x", "ipv4", "10.0.0.0/24", nas_id=999_999), "nas_id", Problem.UNKNOWN_NAS),
        (PoolTerms("x", "ipv4", "10.0.0.0/24", "never"), "assignment", Problem.UNKNOWN_CHOICE),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(rows, actor, terms, field, problem):
    assert (field, problem) in [(found[0], found[1]) for found in refused(rows, actor, terms)]


def test_the_same_name_twice_at_the_same_place_is_refused(rows, actor):
    create_pool(rows, actor, HOME)
    assert refused(rows, actor, PoolTerms("casas", "ipv4", "10.30.0.0/24"))[0][:2] == ("name", Problem.TAKEN)


def test_the_next_free_address_is_the_first_that_nobody_holds(rows, actor):
    plan = add_plan(rows, actor.operator_id)
    pool = create_pool(rows, actor, PoolTerms("casas", "ipv4", "10.20.0.0/24", first_address="10.20.0.10"))
    assert next_free(rows, pool) == IPv4Address("10.20.0.10")
    add_service(rows, actor.operator_id, plan, "a", framed_ip="10.20.0.10")
    add_session(rows, actor.operator_id, None, "1", framed_ip="10.20.0.11")
    add_service(rows, actor.operator_id, plan, "b", framed_routes=["10.20.0.12/30 10.20.0.10 1"])
    add_service(rows, actor.operator_id, plan, "gone", framed_ip="10.20.0.16", state="terminated")
    assert next_free(rows, pool) == IPv4Address("10.20.0.16")


def test_the_next_free_prefix_steps_over_longer_and_shorter_ones(rows, actor):
    plan = add_plan(rows, actor.operator_id)
    pool = create_pool(rows, actor, LINES)
    assert next_free(rows, pool) == IPv6Network("2001:db8:1000::/56")
    add_service(rows, actor.operator_id, plan, "a", delegated_ipv6_prefix="2001:db8:1000::/60")
    add_service(rows, actor.operator_id, plan, "b", delegated_ipv6_prefix="2001:db8:1000:100::/56")
    add_service(rows, actor.operator_id, plan, "c", delegated_ipv6_prefix="2001:db8:1000:200::/55")
    assert next_free(rows, pool) == IPv6Network("2001:db8:1000:400::/56")


def test_a_full_pool_has_nothing_to_give_and_the_next_one_is_proposed(rows, actor):
    plan = add_plan(rows, actor.operator_id)
    small = create_pool(rows, actor, PoolTerms("a", "ipv4", "10.20.0.0/30"))
    add_service(rows, actor.operator_id, plan, "a", framed_ip="10.20.0.1")
    add_service(rows, actor.operator_id, plan, "b", framed_ip="10.20.0.2")
    assert next_free(rows, small) is None
    assert propose(rows, actor.operator_id, "ipv4", None) is None
    create_pool(rows, actor, PoolTerms("c", "ipv4", "10.40.0.0/24", "dynamic"))
    assert propose(rows, actor.operator_id, "ipv4", None) is None  # the router gives those
    other = create_pool(rows, actor, PoolTerms("b", "ipv4", "10.30.0.0/24"))
    assert propose(rows, actor.operator_id, "ipv4", None) == (other, IPv4Address("10.30.0.1"))


def test_how_full_a_pool_is_counts_an_address_once(rows, actor):
    plan = add_plan(rows, actor.operator_id)
    pool = create_pool(rows, actor, HOME)
    service = add_service(rows, actor.operator_id, plan, "a", framed_ip="10.20.0.10")
    add_session(rows, actor.operator_id, service, "1", framed_ip="10.20.0.10")
    add_session(rows, actor.operator_id, None, "2", framed_ip="10.20.0.11")
    add_session(rows, actor.operator_id, None, "3", framed_ip="10.21.0.11")
    assert usage_of(rows, [pool]) == {pool.id: Usage(254, 2, 1, 2)}
    assert size(create_pool(rows, actor, LINES)) == 2**16


def test_changes_are_audited_and_an_unchanged_pool_is_in_its_own_way_no_more(rows, actor):
    pool = create_pool(rows, actor, HOME)
    change_pool(rows, actor, pool, PoolTerms("casas", "ipv4", "10.20.0.0/23"))
    assert terms_of_pool(pool).network == "10.20.0.0/23"
    delete_pool(rows, actor, pool)
    entries = rows.query(AuditEntry).where(AuditEntry.operator_id == actor.operator_id).order_by(AuditEntry.id)
    actions = [entry.action for entry in entries]
    assert actions == ["pool.create", "pool.change", "pool.delete"]


@given(
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9)), max_size=20),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, 20),
)
def test_a_gap_is_free_and_the_first(taken, unit, begin):
    blocks = sorted(Block(first, first + length) for first, length in taken)
    busy = {number for first, last in blocks for number in range(first, last + 1)}
    fits = [
        at for at in range(begin, 64 - unit + 2)
        if at % unit == 0 and at + unit - 1 <= 63 and not busy & set(range(at, at + unit))
    ]  # fmt: skip
    assert first_gap(Block(begin, 63), unit, blocks) == (fits[0] if fits else None)
