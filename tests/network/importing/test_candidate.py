"""What is read out of comments, rates and names, and what is left alone."""

import time
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rates import Burst, RateLimit
from network.importing.candidate import Candidate, bits, name_of_login, queue_rate, router_rate, sound_of, told_by
from network.importing.matching import Action, Known, Likeness, PlanOffer, Plans, new_plans, propose

M = 1_000_000


@pytest.mark.parametrize(
    ("comment", "name", "phone", "download"),
    [
        ("Juan Pérez - 10M", "Juan Pérez", None, 10 * M),
        ("Juan Pérez - 10M/2M tel 555 123 4567", "Juan Pérez", "555 123 4567", 10 * M),
        ("PLAN 20 MEGAS: Ana Núñez", "Ana Núñez", None, 20 * M),
        ("María López 5541234567", "María López", "5541234567", None),
        ("cliente: José 10.0.0.5", "José", None, None),
        ("Fernández-Villalobos José 20mb", "Fernández-Villalobos José", None, 20 * M),
        ("5M/1M Rosa - calle 5", "Rosa", None, 5 * M),
        ("10M", "", None, 10 * M),
        ("debe 2 meses; cobrar", "cobrar", None, None),
        ("instalado 20/04/2010", "", None, None),
        ("<b>moroso</b> & no paga", "", None, None),
        ("", "", None, None),
        ("Familia Ruiz, Av. 5 de Mayo 23", "Familia Ruiz, Av. 5 de Mayo 23", None, None),
        ("+52 55 1234 5678", "", "+52 55 1234 5678", None),
        ("vlan 4000 puerto 12", "vlan 4000 puerto 12", None, None),
    ],
)
def test_a_comment_tells_what_is_clear_in_it(comment, name, phone, download):
    told = told_by(comment)
    assert (told.name, told.phone, told.download) == (name, phone, download)


def test_a_position_in_a_comment_is_recognised():
    told = told_by("María López 19.432600,-99.133200 casa azul")
    assert (told.latitude, told.longitude) == (Decimal("19.432600"), Decimal("-99.133200"))


@given(st.text(max_size=600))
def test_no_comment_whatsoever_breaks_the_reading(comment):
    told = told_by(comment)
    assert "\n" not in told.name
    assert len(told.name) <= 200


@pytest.mark.parametrize(
    ("text", "unit", "rate"),
    [
        ("10M", "", 10 * M), ("10240k", "", 10_240_000), ("512000", "", 512_000), ("2,5 Mbps", "", 2_500_000),
        ("20", "m", 20 * M), ("1G", "", 1000 * M), ("10 Mbit/s", "", 10 * M), ("unlimited", "m", None), ("", "m", None),
        ("-5M", "", None), ("99999999999999", "m", None), ("١٠", "m", None),
    ],
)  # fmt: skip
def test_rates_are_read_as_people_and_routers_write_them(text, unit, rate):
    assert bits(text, unit) == rate


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("2M/10M", RateLimit(10 * M, 2 * M)),
        ("10M", RateLimit(10 * M, 10 * M)),
        ("0/0", None),
        ("10M/0", None),
        ("", None),
        ("rubbish", None),
        ("2M/10M 4M/20M 1M/8M 10/10", RateLimit(10 * M, 2 * M, Burst(20 * M, 4 * M, 8 * M, 1 * M, 10))),
        ("2M/10M 4M/20M 1M/8M 10/10 5 1M/2M", RateLimit(10 * M, 2 * M, Burst(20 * M, 4 * M, 8 * M, 1 * M, 10))),
        ("2M/10M 0/0 0/0 0/0", RateLimit(10 * M, 2 * M)),
    ],
)
def test_a_rate_limit_is_turned_to_the_subscribers_view(written, rate):
    assert router_rate(written) == rate


def test_a_queue_without_burst_has_none():
    row = {"max-limit": "5000000/40000000", "burst-limit": "0/0", "burst-threshold": "0/0", "burst-time": "0s/0s"}
    assert queue_rate(row) == RateLimit(40 * M, 5 * M)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Gonzáles Jiménez, Yéssica", "Jessica Gimenez Gonzalez", True),
        ("Vásquez Hernández", "Basques Ernandez", True),
        ("Juan Pérez", "PEREZ JUAN", True),
        ("Juan Pérez", "Juan Pérez López", False),
        ("María", "Maria", False),  # one word is too little to go by
        ("Ana Núñez", "Ana Muñoz", False),
    ],
)
def test_names_that_sound_alike_are_found_and_others_not(one, other, alike):
    assert (sound_of(one) == sound_of(other) != "") is alike


def test_a_login_reads_as_a_name():
    assert [name_of_login(login) for login in ("juan.perez", "casa12", "ANA", "a_b@isp")] == [
        "Juan Perez", "casa12", "ANA", "A B",
    ]  # fmt: skip


# Matching.


def candidate(line: int, name: str, **values: object) -> Candidate:
    return Candidate(line=line, access_method="pppoe", name=name, **{"subscriber": name, **values})


def known(service_id: int, name: str, **values: object) -> Known:
    given = {"subscriber": name, "access_method": "pppoe", "framed_ip": None, "nas_id": None, **values}
    return Known(service_id=service_id, subscriber_id=service_id + 100, name=name, **given)


def test_the_same_user_is_proposed_as_an_update():
    (proposal,) = propose([candidate(1, "ana")], [known(7, "ana")], None)
    assert (proposal.action, proposal.target_id) == (Action.UPDATE, 7)
    assert [(double.likeness, double.service_id) for double in proposal.doubles] == [(Likeness.NAME, 7)]


def test_the_second_of_two_in_one_import_is_left_out():
    first, second = propose(
        [candidate(1, "a", framed_ip="10.0.0.1"), candidate(2, "b", framed_ip="10.0.0.1")], [], None
    )
    assert (first.action, second.action) == (Action.NEW, Action.IGNORE)
    assert second.doubles[0].line == 1


def test_a_similar_name_is_told_and_left_to_a_person():
    (proposal,) = propose(
        [candidate(1, "x", subscriber="Jose Peres Lopez")], [known(7, "y", subscriber="López, José Pérez")], None
    )
    assert proposal.action is Action.NEW
    assert [double.likeness for double in proposal.doubles] == [Likeness.SIMILAR]


def test_thousands_of_one_name_are_compared_in_time():
    found = [candidate(line, f"c{line}", subscriber="Cliente Nuevo") for line in range(1, 5001)]
    began = time.monotonic()
    proposals = propose(
        found, [known(number, f"k{number}", subscriber="cliente nuevo") for number in range(5000)], None
    )
    assert time.monotonic() - began < 10
    assert {len(proposal.doubles) for proposal in proposals} == {6}


def test_an_address_behind_another_router_is_no_double_where_services_are_tied():
    other = known(7, "b", framed_ip="10.0.0.1", nas_id=2)
    tied, loose = (propose([candidate(1, "a", framed_ip="10.0.0.1")], [other], nas) for nas in (1, None))
    assert (tied[0].doubles, loose[0].doubles != ()) == ((), True)


def test_a_plan_is_told_by_its_name_then_by_its_rate():
    plans = Plans([PlanOffer(1, "Home 20", RateLimit(20 * M, 5 * M)), PlanOffer(2, "Básico", RateLimit(5 * M, M))])
    assert plans.guess(candidate(1, "a", profile="BASICO", rate=RateLimit(20 * M, 5 * M))) == 2
    assert plans.guess(candidate(1, "a", profile="other", rate=RateLimit(20 * M, 5 * M))) == 1
    assert plans.guess(candidate(1, "a", rate=RateLimit(20_480_000, 5_120_000))) == 1  # 20480k/5120k
    assert plans.guess(candidate(1, "a", rate=RateLimit(30 * M, 5 * M))) is None
    assert plans.guess(candidate(1, "a")) is None


def test_a_plan_with_a_data_cap_is_told_by_its_name_alone():
    plans = Plans([PlanOffer(1, "Tope 20", RateLimit(20 * M, 5 * M), capped=True)])
    assert plans.guess(candidate(1, "a", rate=RateLimit(20 * M, 5 * M))) is None
    assert plans.guess(candidate(1, "a", profile="tope 20", rate=RateLimit(20 * M, 5 * M))) == 1
    same = Plans(
        [PlanOffer(1, "Tope", RateLimit(20 * M, 5 * M), capped=True), PlanOffer(2, "Libre", RateLimit(20 * M, 5 * M))]
    )
    assert same.guess(candidate(1, "a", rate=RateLimit(20 * M, 5 * M))) == 2


def test_new_plans_are_called_by_their_profile_and_never_like_another():
    rows = [(10 * M, 2 * M, "Hogar")] * 3 + [(20 * M, 5 * M, "default"), (20 * M, 5 * M, "x"), (5 * M, M, "Basico")]
    proposed = new_plans([(*row, None) for row in rows], ["Básico", "20 Mbit/s / 5 Mbit/s"])
    assert [(plan.name, plan.rows) for plan in proposed] == [
        ("Hogar", 3), ("20 Mbit/s / 5 Mbit/s (2)", 2), ("5 Mbit/s / 1 Mbit/s", 1),
    ]  # fmt: skip


def test_new_plans_cost_what_most_of_their_rows_cost():
    prices = [Decimal(350), None, Decimal("299.50"), Decimal(350)]
    (proposed,) = new_plans([(10 * M, 2 * M, "Hogar", price) for price in prices], [])
    assert proposed.prices == ((Decimal(350), 2), (Decimal("299.50"), 1))


def test_a_candidate_does_not_print_its_password():
    assert "geheim" not in repr(candidate(1, "a", password="geheim", paid_until=date(2027, 1, 1)))
