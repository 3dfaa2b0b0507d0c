"""What differs, what ends it, and what is left alone: on rows as RouterOS prints them."""

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaa.decision import Terms
from core.rates import Burst, RateLimit
from network.provisioning.diff import LISTS, QUEUES, Add, Field, Have, Remove, Set, compare, due
from network.provisioning.want import REFUSED_RATE, Standing, marked, marker, wanted_queues
from network.words import ForeignText
from tests.network.provisioning.router import PaperRouter

PLAN = Terms(rate=RateLimit(20_000_000, 5_000_000), address_list="portico-active", framed_ip="10.20.0.5")
GARDEN = Terms(rate=RateLimit(512_000, 512_000), address_list="portico-suspended", framed_ip="10.20.0.5")
ANA = Standing(12, "ana", "10.20.0.5", "accept", PLAN, "portico-suspended")
CUT = replace(ANA, outcome="garden", terms=GARDEN)
REFUSED = replace(ANA, outcome="reject", terms=None)

QUEUE = {
    "name": "ana",
    "target": "10.20.0.5/32",
    "parent": "none",
    "max-limit": "5000000/20000000",
    "limit-at": "0/0",
    "burst-limit": "0/0",
    "burst-threshold": "0/0",
    "burst-time": "0s/0s",
    "priority": "8/8",
    "disabled": "false",
    "dynamic": "false",
    "comment": "portico:s=12",
}
ENTRY = {
    "list": "portico-active",
    "address": "10.20.0.5",
    "disabled": "false",
    "dynamic": "false",
    "comment": "portico:s=12",
}


def differences(router: PaperRouter, *standings: Standing, known=(12,), undecided=()):
    return compare(wanted_queues(standings), router.have, known=known, undecided=undecided)


def fields(router: PaperRouter, *standings: Standing, **kwargs) -> list[Field]:
    return [each.field for each in differences(router, *standings, **kwargs)]


def right() -> PaperRouter:
    return PaperRouter([deepcopy(QUEUE)], [deepcopy(ENTRY)])


def test_a_router_that_is_right_differs_in_nothing():
    assert differences(right(), ANA) == []


def test_a_new_service_gets_a_queue_and_its_address_on_the_list():
    queue, entry = differences(PaperRouter(), ANA)
    assert queue.steps == (
        Add(
            QUEUES,
            {
                "name": "ana", "target": "10.20.0.5/32", "max-limit": "5000000/20000000", "limit-at": "0/0",
                "burst-limit": "0/0", "burst-threshold": "0/0", "burst-time": "0s/0s", "priority": "8/8",
                "comment": "portico:s=12",
            },
        ),
    )  # fmt: skip
    assert entry.steps == (Add(LISTS, {"list": "portico-active", "address": "10.20.0.5", "comment": "portico:s=12"}),)


def test_burst_priority_and_guaranteed_rate_of_the_plan_are_the_queues():
    rate = RateLimit(
        20_000_000, 5_000_000, Burst(40_000_000, 10_000_000, 15_000_000, 4_000_000, 16), 3, 2_000_000, 1_000_000
    )
    (queue, _) = differences(PaperRouter(), replace(ANA, terms=replace(PLAN, rate=rate)))
    wanted = queue.steps[0].fields
    assert wanted["burst-limit"] == "10000000/40000000"
    assert wanted["burst-threshold"] == "4000000/15000000"
    assert wanted["burst-time"] == "16s/16s"
    assert wanted["priority"] == "3/3"
    assert wanted["limit-at"] == "1000000/2000000"


def test_a_suspended_service_is_put_on_the_list_before_its_queue_is_narrowed():
    router = right()
    listed, rate = differences(router, CUT)
    assert (listed.field, rate.field) == (Field.LIST, Field.RATE)
    assert listed.steps == (Set(LISTS, "*2", {"list": "portico-suspended", "address": "10.20.0.5", "disabled": "no"}),)
    assert rate.steps == (Set(QUEUES, "*1", {"max-limit": "512000/512000"}),)
    router.take([listed, rate])
    assert differences(router, CUT) == []


def test_a_refused_service_keeps_a_queue_that_carries_no_more_than_the_page_that_says_why():
    router = right()
    router.take(differences(router, REFUSED))
    assert router.have.queues[0]["max-limit"] == f"{REFUSED_RATE.upload}/{REFUSED_RATE.download}"
    assert router.have.entries[0]["list"] == "portico-suspended"


def test_a_terminated_service_leaves_nothing_behind():
    router = right()
    (gone,) = differences(router)
    assert (gone.field, gone.meant) == (Field.QUEUE, False)
    router.take([gone])
    assert router.have == Have([], [])


def test_a_service_that_is_not_decided_on_yet_is_left_as_it_is():
    assert differences(right(), replace(ANA, outcome="", terms=None), undecided=(12,)) == []
    assert differences(PaperRouter(), replace(ANA, outcome="", terms=None), undecided=(12,)) == []


# What the ISP's own people made.


def test_a_queue_without_our_marker_is_never_touched():
    router = PaperRouter(
        [
            {"name": "oficina", "target": "10.20.0.99/32", "max-limit": "0/0", "comment": "no tocar"},
            {"name": "torre", "target": "ether1", "max-limit": "10M/10M"},
            {"name": "<pppoe-juan>", "target": "<pppoe-juan>", "max-limit": "1M/1M", "dynamic": "true"},
        ],
        [{"list": "portico-suspended", "address": "10.20.0.99", "comment": "abuso"}],
    )
    before = router.have
    steps = [step for each in differences(router, ANA) for step in each.steps]
    assert all(isinstance(step, Add) for step in steps)
    router.take(differences(router, ANA))
    assert router.have.queues[:3] == before.queues
    assert router.have.entries[:1] == before.entries


@pytest.mark.parametrize("comment", ["", "cliente viejo", "portico", "portico:s=", "portico:s=x", "xportico:s=12"])
def test_what_only_looks_like_our_marker_is_none(comment):
    assert marked(comment) is None


@pytest.mark.parametrize("comment", ["portico:s=12", "Ana, casa portico:s=12", "portico:s=12 moroso"])
def test_people_may_write_beside_the_marker(comment):
    assert marked(comment) == 12


def test_an_unmarked_queue_for_exactly_the_address_is_adopted_and_not_made_again():
    router = PaperRouter([{**QUEUE, "name": "Ana Peña", "comment": "casa, torre 3", "max-limit": "4M/10M"}])
    adopted, rate, entry = differences(router, ANA)
    assert adopted.steps == (Set(QUEUES, "*1", {"comment": "casa, torre 3 portico:s=12"}),)
    assert (rate.field, entry.field) == (Field.RATE, Field.LIST)
    router.take([adopted, rate, entry])
    (queue,) = router.have.queues
    assert (queue["name"], queue["max-limit"]) == ("Ana Peña", "5000000/20000000")


def test_a_comment_that_is_no_utf_8_keeps_its_octets_when_its_queue_is_adopted():
    router = PaperRouter([{**QUEUE, "comment": ForeignText(b"Pe\xf1a")}])
    comment = differences(router, ANA)[0].steps[0].fields["comment"]
    assert isinstance(comment, ForeignText)
    assert comment.octets == b"Pe\xf1a portico:s=12"


@pytest.mark.parametrize(
    "other",
    [
        {"target": "10.20.0.5/32,10.20.0.6/32"},
        {"target": "10.20.0.5/32,ether1"},
        {"target": "10.20.0.0/24"},
        {"disabled": "true"},
        {"dynamic": "true"},
    ],
)
def test_a_queue_that_is_about_more_or_not_in_force_is_not_adopted(other):
    router = PaperRouter([{**QUEUE, "name": "otra", "comment": "", **other}])
    assert differences(router, ANA)[0].steps[0] == Add(QUEUES, differences(PaperRouter(), ANA)[0].steps[0].fields)


def test_a_name_that_another_queue_has_is_left_to_it():
    router = PaperRouter([{"name": "ana", "target": "10.9.9.9/32"}, {"name": "ana #12", "target": "10.9.9.8/32"}])
    assert differences(router, ANA)[0].steps[0].fields["name"] == "ana #12 10.20.0.5"


def test_two_new_services_of_one_name_do_not_get_in_each_others_way():
    ben = replace(ANA, service_id=13, address="10.20.0.6")
    router = PaperRouter()
    router.take(differences(router, ANA, ben, known=(12, 13)))
    assert [row["name"] for row in router.have.queues] == ["ana", "ana #13"]


def test_a_marker_of_a_service_that_was_never_here_waits_for_a_person():
    router = PaperRouter([{**QUEUE, "comment": "portico:s=900"}], [{**ENTRY, "comment": "portico:s=900"}])
    (unknown,) = differences(router)
    assert (unknown.field, unknown.service_id, unknown.meant) == (Field.UNKNOWN, 900, True)
    assert due([unknown], pending=()) == []


def test_a_subscriber_whom_somebody_keeps_on_the_gardens_list_is_told_of_and_not_freed():
    router = right()
    router.rows[LISTS].append({".id": "*9", "list": "portico-suspended", "address": "10.20.0.5", "comment": "abuso"})
    (held,) = differences(router, ANA)
    assert (held.field, held.steps) == (Field.HELD, ())


def test_an_address_that_somebody_already_listed_is_not_listed_twice():
    router = PaperRouter([QUEUE], [{"list": "portico-suspended", "address": "10.20.0.5"}])
    assert fields(router, CUT) == [Field.RATE]


def test_a_broad_queue_further_up_is_told_of():
    broad = {"name": "todo", "target": "10.20.0.0/16", "max-limit": "100M/100M", "parent": "none"}
    router = PaperRouter([broad, QUEUE], [ENTRY])
    (covered,) = differences(router, ANA)
    assert (covered.field, covered.found, covered.steps) == (Field.COVERED, "todo", ())
    assert fields(PaperRouter([QUEUE, broad], [ENTRY]), ANA) == []
    assert fields(PaperRouter([broad, {**QUEUE, "parent": "todo"}], [ENTRY]), ANA) == []


# Drift.


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"max-limit": "10M/10M"}, Field.RATE),
        ({"max-limit": "no/idea"}, Field.RATE),
        ({"target": "10.20.0.77/32"}, Field.ADDRESS),
        ({"burst-limit": "9M/9M", "burst-threshold": "1M/1M", "burst-time": "8s/8s"}, Field.BURST),
        ({"priority": "1/1"}, Field.PRIORITY),
        ({"limit-at": "1M/1M"}, Field.MINIMUM),
        ({"disabled": "true"}, Field.SWITCHED_OFF),
    ],
)
def test_what_a_person_may_have_meant_waits_for_one(changed, field):
    router = PaperRouter([{**QUEUE, **changed}], [ENTRY])
    (difference,) = differences(router, ANA)
    assert (difference.field, difference.meant) == (field, True)
    assert due([difference], pending=()) == []
    assert due([difference], pending=(12,)) == [difference]
    router.take([difference])
    assert differences(router, ANA) == []


@pytest.mark.parametrize("changed", [{"max-limit": "10M/10M"}, {"disabled": "true"}, {"target": "10.20.0.77/32"}])
def test_whatever_would_keep_a_suspended_subscriber_online_is_put_right_at_once(changed):
    router = right()
    router.take(differences(router, CUT))
    router.rows[QUEUES][0].update(changed)
    found = differences(router, CUT)
    assert found
    assert due(found, pending=()) == found


def test_what_a_reset_took_away_is_put_back_at_once():
    found = differences(PaperRouter(), ANA)
    assert due(found, pending=()) == found


@pytest.mark.parametrize(
    "written",
    [
        {"max-limit": "5M/20M"},
        {"max-limit": "5000k/20000k"},
        {"burst-time": "00:00:00/00:00:00"},
        {"burst-time": "16s/16s", "burst-threshold": "1M/1M"},
        {"priority": "8"},
        {"target": "10.20.0.5"},
    ],
)
def test_the_same_written_otherwise_is_no_difference(written):
    assert differences(PaperRouter([{**QUEUE, **written}], [ENTRY]), ANA) == []


def test_a_copy_made_in_winbox_carries_our_marker_and_is_no_second_queue_of_ours():
    router = PaperRouter([QUEUE, {**QUEUE, "name": "ana (copia)"}], [ENTRY])
    (copy,) = differences(router, ANA)
    assert (copy.field, copy.steps, copy.meant) == (Field.COPY, (Remove(QUEUES, "*2"),), True)


# Whatever is there, and wherever it is interrupted.

ADDRESSES = [f"10.20.0.{n}" for n in range(1, 6)]
RATES = st.sampled_from(["5000000/20000000", "1M/1M", "0/0", "broken"])


@st.composite
def standings(draw):
    chosen = draw(st.lists(st.sampled_from(range(1, 6)), unique=True, max_size=5))
    free = draw(st.permutations(ADDRESSES))
    made = []
    for number, service_id in enumerate(chosen):
        outcome = draw(st.sampled_from(["accept", "garden", "reject"]))
        terms = {"accept": PLAN, "garden": GARDEN, "reject": None}[outcome]
        name = draw(st.sampled_from(["ana", "ben"]))
        made.append(Standing(service_id, name, free[number], outcome, terms, "portico-suspended"))
    return made


@st.composite
def routers(draw):
    comments = st.sampled_from(["", "no tocar", *(marker(n) for n in range(1, 8))])
    names = draw(st.lists(st.sampled_from(["ana", "ben", "ana #1", "x", "y"]), unique=True))
    queues = [
        {
            "name": name,
            "target": draw(st.sampled_from(["10.20.0.0/24", "ether1", *(f"{each}/32" for each in ADDRESSES)])),
            "max-limit": draw(RATES),
            "disabled": draw(st.sampled_from(["true", "false"])),
            "comment": draw(comments),
        }
        for name in names
    ]
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(["portico-suspended", "portico-active"]), st.sampled_from(ADDRESSES)), unique=True
        )
    )
    entries = [{"list": name, "address": address, "comment": draw(comments)} for name, address in pairs]
    return PaperRouter(queues, entries)


@given(standings(), routers(), st.integers(0, 20))
def test_any_router_becomes_right_wherever_the_first_try_was_cut_off(wanted, router, cut):
    known = range(1, 8)
    foreign = [row for path in (QUEUES, LISTS) for row in router.rows[path] if marked(row["comment"]) is None]
    adoptable = {f"{standing.address}/32" for standing in wanted}
    router.take(differences(router, *wanted, known=known), cut)
    for _ in range(3):  # an adopted queue shows its own differences only then
        router.take(differences(router, *wanted, known=known))
    left = differences(router, *wanted, known=known)
    assert [each for each in left if each.steps] == []
    for row in foreign:
        if row.get("target") not in adoptable:
            assert row in router.rows[QUEUES] + router.rows[LISTS]
    marks = [marked(row["comment"]) for row in router.rows[QUEUES]]
    assert sorted(mark for mark in marks if mark is not None) == sorted(each.service_id for each in wanted)
