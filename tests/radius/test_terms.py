from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from aaa.authorize import authorize
from aaa.decision import Reject, Terms
from aaa.documents import terms_document, terms_from_document
from core.rates import RateLimit
from radius.terms import Grant, class_value, parse_class, terms_id
from tests.radius.facts import NOW, policies, services

TERMS = Terms(RateLimit(20_000_000, 5_000_000), address_list="active", framed_ip="10.0.0.1")


@given(services, policies)
def test_terms_come_back_from_their_document_with_the_same_id(service, policy):
    decision = authorize(service, policy, NOW)
    if not isinstance(decision, Reject):
        again = terms_from_document(terms_document(decision.terms))
        assert again == decision.terms
        assert terms_id(again) == terms_id(decision.terms)


def test_whatever_differs_gives_another_id():
    others = [
        replace(TERMS, rate=RateLimit(20_000_000, 5_000_001)),
        replace(TERMS, address_list="suspended"),
        replace(TERMS, framed_ip="10.0.0.2"),
        replace(TERMS, framed_ip=None),
        replace(TERMS, idle_timeout=timedelta(minutes=1)),
        replace(TERMS, extra=(("Filter-Id", ":=", "x"),)),
    ]
    assert len({terms_id(terms) for terms in [TERMS, *others]}) == 7


def test_ids_stay_the_same_from_version_to_version():
    """A new id for old terms would order a CoA for every session after an upgrade."""
    assert terms_id(TERMS).hex() == "6a68798ab4144b32"


@given(st.integers(1, 1 << 60), st.binary(min_size=8, max_size=8))
def test_class_is_read_back_as_freeradius_prints_it(service_id, identity):
    text = class_value(service_id, identity)
    assert parse_class("0x" + text.encode().hex()) == Grant(service_id, identity)
    assert len(text) <= 40


@given(st.text(max_size=60))
def test_a_foreign_class_is_not_ours(text):
    assert parse_class("0x" + text.encode().hex()) is None
    assert parse_class(text) is None or text.startswith("p1.")
