"""The rules of accounting sessions, without a database."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radius.packet import INTERIM, OFF, ON, START, STOP, Packet, read_packet
from radius.sessions import Book, ServiceFacts, SessionState, Surroundings
from radius.terms import Grant
from radius.usage import Calendar, Usage

T0 = 1_700_000_000.0
HOUR = 3600
ANA, BEN = 7, 8
CLASS = "0x" + b"p1.7.0011223344556677".hex()
TERMS = bytes.fromhex("0011223344556677")
NAMES = {START: "Start", STOP: "Stop", INTERIM: "Interim-Update", ON: "Accounting-On", OFF: "Accounting-Off"}


def packet(
    status, at, seconds=None, octets_in=None, octets_out=None, *, sid="81600001", user="ana", nas=1, late=0.0, **more
) -> Packet:
    """A packet about what happened `at` seconds after T0, which came `late` seconds after that."""
    attributes = {
        "Acct-Status-Type": NAMES[status],
        "Acct-Session-Id": sid,
        "User-Name": user,
        "Framed-Protocol": "PPP",
        "Calling-Station-Id": "AA:BB:CC:00:00:01",
        "Acct-Delay-Time": str(int(late)),
    }
    if seconds is not None:
        attributes["Acct-Session-Time"] = str(seconds)
    if octets_in is not None:
        attributes["Acct-Input-Octets"] = str(octets_in % (1 << 32))
        attributes["Acct-Input-Gigawords"] = str(octets_in >> 32)
        attributes["Acct-Output-Octets"] = str(octets_out % (1 << 32))
        attributes["Acct-Output-Gigawords"] = str(octets_out >> 32)
    attributes |= {name.replace("_", "-"): value for name, value in more.items()}
    return read_packet(T0 + at + late, nas, 1, attributes, describe=True)


def start(at, **more):
    return packet(START, at, **more)


def interim(at, seconds, octets_in=0, octets_out=0, **more):
    return packet(INTERIM, at, seconds, octets_in, octets_out, **more)


def stop(at, seconds, octets_in=0, octets_out=0, **more):
    return packet(STOP, at, seconds, octets_in, octets_out, Acct_Terminate_Cause="Lost-Carrier", **more)


@dataclass
class Network:
    """Takes packets one batch after the other, as the loader does, with everything kept in memory."""

    batch: int = 1
    limit: int = 1
    swapped: frozenset[int] = frozenset()
    names: bool = True

    def __post_init__(self):
        self.states = {}
        self.usage = Usage(Calendar({1: ("UTC", 1)}).period_of)
        self.digits = {}
        self.came_or_went = []

    def take(self, *packets: Packet) -> "Network":
        for first in range(0, len(packets), self.batch):
            batch = packets[first : first + self.batch]
            services = {ANA: ServiceFacts(1, self.limit, 300), BEN: ServiceFacts(2, self.limit, 600)}
            names = {p.key: ANA for p in batch if p.user_name == "ana" and self.names}
            surroundings = Surroundings(services.get, names, {}, self.swapped)
            book = Book(self.states, surroundings, self.usage, self.digits)
            for one in batch:
                book.take(one)
            self.came_or_went.append(sorted(book.came_or_went()))
            for number, state in enumerate(book.touched()):
                state.id, state.stored_end, state.touched = state.id or number, state.ended, False  # as if stored
        return self

    @property
    def sessions(self) -> list[SessionState]:
        return sorted((s for known in self.states.values() for s in known), key=lambda s: s.started)

    @property
    def session(self) -> SessionState:
        (only,) = self.sessions
        return only

    def told(self) -> list[tuple]:
        """What each session looks like: begin, end, cause of the end, upload, download."""
        return [
            (s.started - T0, None if s.ended is None else s.ended - T0, s.ended_by, s.octets_in, s.octets_out)
            for s in self.sessions
        ]

    def hours(self) -> dict[int, tuple[int, ...]]:
        return {hour - int(T0) // HOUR: tuple(sums) for (_, hour, _), sums in self.usage.hours.items()}

    def counted(self) -> list[int]:
        return [sum(column) for column in zip(*self.usage.hours.values(), strict=True)] or [0, 0]


WHOLE = (start(0), interim(300, 300, 10, 100), interim(600, 600, 30, 300), stop(700, 700, 35, 350))


def test_a_session_from_start_to_stop():
    network = Network().take(*WHOLE)
    session = network.session
    assert network.told() == [(0, 700, "stop", 35, 350)]
    assert (session.session_time, session.cause, session.service_id, session.kind) == (700, "Lost-Carrier", ANA, "ppp")
    assert session.mac == "aa:bb:cc:00:00:01"
    assert network.counted() == [35, 350]
    assert network.came_or_went == [[ANA], [], [], [ANA]]


def test_a_session_within_one_batch_is_nobodys_concern():
    assert Network(batch=4).take(*WHOLE).came_or_went == [[]]


def test_every_packet_twice_changes_nothing():
    once, twice = Network().take(*WHOLE), Network().take(*(p for p in WHOLE for _ in range(2)))
    assert twice.told() == once.told()
    assert twice.usage.hours == once.usage.hours


@pytest.mark.parametrize("repeated", range(4))
def test_a_packet_that_comes_again_at_the_end_changes_nothing(repeated):
    network = Network().take(*WHOLE)
    told, hours = network.told(), network.hours()
    again = WHOLE[repeated]._replace(at=WHOLE[repeated].at + 5000)
    assert network.take(again).told() == told
    assert network.hours() == hours


def test_a_late_interim_after_the_stop_changes_nothing():
    network = Network().take(WHOLE[0], WHOLE[1], WHOLE[3])
    told = network.told()
    assert network.take(interim(600, 600, 30, 300, late=400.0)).told() == told
    assert network.counted() == [35, 350]


def test_a_stop_before_its_start_is_one_session():
    network = Network().take(stop(100, 100, 5, 50), start(0, late=110.0))
    assert network.told() == [(0, 100, "stop", 5, 50)]


def test_an_interim_without_a_start_makes_the_session():
    network = Network().take(interim(7200, 7200, 100, 1000))
    assert network.told() == [(0, None, None, 100, 1000)]
    assert network.counted() == [100, 1000]
    assert len(network.hours()) == 3


def test_a_stop_without_a_start_makes_a_session_that_is_over():
    assert Network().take(stop(50, 50, 1, 2)).told() == [(0, 50, "stop", 1, 2)]


def test_counters_go_beyond_32_bits():
    many = 3 << 40
    assert Network().take(start(0), interim(300, 300, many, 2 * many)).told() == [(0, None, None, many, 2 * many)]


def test_a_counter_that_fell_has_begun_at_zero_again():
    network = Network().take(start(0), interim(300, 300, 1000, 5000), interim(600, 600, 1200, 300))
    assert network.told() == [(0, None, None, 1200, 5300)]
    assert network.take(interim(900, 900, 1300, 400)).told() == [(0, None, None, 1300, 5400)]
    assert network.counted() == [1300, 5400]


def test_an_overtaken_interim_is_not_taken_for_a_counter_that_fell():
    network = Network().take(start(0), interim(600, 600, 30, 300), interim(300, 300, 10, 100, late=301.0))
    assert network.told() == [(0, None, None, 30, 300)]


def test_an_interim_and_a_stop_in_one_second_may_come_in_either_order():
    network = Network().take(start(0), stop(60, 60, 7, 70), interim(60, 60, 6, 60))
    assert network.told() == [(0, 60, "stop", 7, 70)]


def test_a_stop_without_counters_keeps_what_is_known():
    network = Network().take(start(0), interim(300, 300, 10, 100), packet(STOP, 400, 400))
    assert network.told() == [(0, 400, "stop", 10, 100)]


def test_a_nas_that_does_not_count_seconds_is_ordered_by_arrival():
    packets = start(0), packet(INTERIM, 300, None, 10, 100), packet(STOP, 400, None, 20, 200)
    assert Network().take(*packets).told() == [(0, 400, "stop", 20, 200)]


def test_a_wrong_clock_moves_nothing():
    skewed = {"Event_Timestamp": "Jan 02 1970 01:00:00 UTC"}
    network = Network().take(start(0, **skewed), interim(300, 300, 10, 100, **skewed))
    assert network.told() == [(0, None, None, 10, 100)]


def test_a_clock_that_is_set_during_the_session_does_not_split_it():
    behind = {"Event_Timestamp": "Nov 14 2023 22:11:50 UTC"}  # 90 seconds
    network = Network().take(start(0, **behind), interim(300, 300, 10, 100), stop(700, 700, 35, 350))
    assert network.told() == [(-90, 700, "stop", 35, 350)]


def test_a_router_that_counts_seconds_a_little_fast_does_not_split_a_long_session():
    day = 86_400
    network = Network().take(start(0), *(interim(n * day, int(n * day * 1.0005), n, n) for n in range(1, 60)))
    assert len(network.sessions) == 1


def test_a_new_start_with_the_same_id_ends_the_session_whose_stop_was_lost():
    network = Network().take(start(0), interim(300, 300, 10, 100), start(4000), interim(4300, 300, 1, 2))
    assert network.told() == [(0, 4000, "superseded", 10, 100), (4000, None, None, 1, 2)]
    assert network.counted() == [11, 102]


def test_a_session_time_that_restarts_is_a_new_session_even_without_its_start():
    network = Network().take(start(0), interim(3600, 3600, 10, 100), interim(7500, 300, 4, 8))
    assert network.told() == [(0, 7200, "superseded", 10, 100), (7200, None, None, 4, 8)]


def test_the_same_id_after_a_stop_is_a_new_session():
    network = Network().take(start(0), stop(300, 300, 1, 2), start(305), interim(605, 300, 3, 4))
    assert network.told() == [(0, 300, "stop", 1, 2), (305, None, None, 3, 4)]


def test_the_same_id_after_a_stop_is_a_new_session_when_its_start_was_lost():
    network = Network().take(start(0), stop(300, 300, 1, 2), interim(610, 300, 3, 4))
    assert network.told() == [(0, 300, "stop", 1, 2), (310, None, None, 3, 4)]


def test_a_late_stop_reaches_the_session_before():
    network = Network().take(start(0), interim(300, 300, 5, 6), start(4000), stop(3900, 3900, 7, 8, late=200.0))
    assert network.told() == [(0, 3900, "stop", 7, 8), (4000, None, None, 0, 0)]


def test_one_id_of_two_users_is_two_sessions():
    network = Network().take(start(0, user="ana"), start(1, user="ben"), stop(60, 59, 1, 2, user="ben"))
    assert network.told() == [(0, None, None, 0, 0), (1, 60, "stop", 1, 2)]


def test_one_id_on_two_nas_is_two_sessions():
    other = "AA:BB:CC:00:00:02"
    network = Network().take(start(0), start(1, nas=2, Calling_Station_Id=other), stop(60, 60, 1, 2))
    assert network.told() == [(0, 60, "stop", 1, 2), (1, None, None, 0, 0)]


def test_one_id_of_two_devices_is_two_sessions():
    other = "AA:BB:CC:00:00:02"
    network = Network().take(start(0), start(1, Calling_Station_Id=other), stop(60, 60, 1, 2))
    assert network.told() == [(0, 60, "stop", 1, 2), (1, None, None, 0, 0)]


def test_a_stop_may_leave_the_device_out():
    network = Network().take(start(0), stop(60, 60, 1, 2, Calling_Station_Id=""))
    assert network.told() == [(0, 60, "stop", 1, 2)]


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize(("status", "by"), [(ON, "accounting-on"), (OFF, "accounting-off")])
def test_a_nas_that_restarts_ends_what_began_before(status, by, batch):
    network = Network(batch).take(
        start(0),
        start(0, sid="81600002", user="ben"),
        start(5, nas=2, sid="x", user="cat"),
        packet(status, 50),
        start(60, sid="b"),
    )
    assert [(s.nas_id, s.acct_session_id, s.ended_by) for s in network.sessions] == [
        (1, "81600001", by),
        (1, "81600002", by),
        (2, "x", None),
        (1, "b", None),
    ]


def test_a_session_that_speaks_after_it_was_presumed_over_is_open_again():
    network = Network().take(start(0), packet(ON, 50), interim(300, 300, 3, 4))
    assert network.told() == [(0, None, None, 3, 4)]
    assert network.came_or_went == [[ANA], [ANA], [ANA]]


def test_what_was_said_before_the_presumed_end_does_not_open_it_again():
    network = Network().take(start(0), packet(ON, 350), interim(300, 300, 3, 4, late=60.0))
    assert network.told() == [(0, 350, "accounting-on", 3, 4)]


def test_a_stop_after_the_presumed_end_tells_the_true_one():
    network = Network().take(start(0), packet(ON, 50), stop(30, 30, 3, 4, late=30.0))
    assert network.told() == [(0, 30, "stop", 3, 4)]


@pytest.mark.parametrize("batch", [1, 10])
def test_another_reboot_digit_ends_the_sessions_of_the_boot_before(batch):
    network = Network(batch).take(
        start(0, user="a", sid="81600001"),
        start(1, user="b", sid="80600001"),  # the hotspot counts by itself
        start(2, user="c", sid="81600002"),
        start(3, user="d", sid="81600001", nas=2),
        start(400, user="a", sid="81700000"),
    )
    assert [(s.user_name, s.acct_session_id, s.ended_by) for s in network.sessions] == [
        ("a", "81600001", "reboot"),
        ("b", "80600001", None),
        ("c", "81600002", "reboot"),
        ("d", "81600001", None),
        ("a", "81700000", None),
    ]


def test_a_late_packet_of_the_boot_before_ends_nothing():
    network = Network().take(
        start(0, user="a", sid="81600001"),
        start(400, user="b", sid="81700000"),
        stop(90, 60, 1, 2, user="c", sid="81600002", late=320.0),
        interim(700, 300, 1, 2, user="b", sid="81700000"),
    )
    assert [(s.user_name, s.ended_by) for s in network.sessions] == [("a", "reboot"), ("c", "stop"), ("b", None)]


@pytest.mark.parametrize(("limit", "ended_by"), [(1, "superseded"), (2, None), (0, None)])
@pytest.mark.parametrize("batch", [1, 10])
def test_a_device_that_may_have_one_session_leaves_the_one_before(batch, limit, ended_by):
    network = Network(batch, limit).take(start(0), interim(300, 300, 1, 2), start(900, sid="x", nas=2))
    assert [(s.nas_id, s.ended_by) for s in network.sessions] == [(1, ended_by), (2, None)]


def test_another_device_of_the_service_ends_nothing():
    network = Network(10).take(start(0), start(900, sid="x", Calling_Station_Id="AA:BB:CC:00:00:02"))
    assert [s.ended_by for s in network.sessions] == [None, None]


def test_swapped_directions_are_put_right():
    network = Network(swapped=frozenset({1})).take(start(0), interim(300, 300, 100, 10))
    assert network.told() == [(0, None, None, 10, 100)]
    assert network.counted() == [10, 100]


def test_directions_that_are_put_right_during_a_session_count_nothing_twice():
    network = Network().take(start(0), interim(300, 300, 1000, 100))
    network.swapped = frozenset({1})
    network.take(interim(600, 600, 1500, 160))
    assert network.told() == [(0, None, None, 1060, 600)]
    assert network.counted() == [1060, 600]


def test_class_says_the_service_and_the_terms():
    network = Network(names=False).take(start(0, user="anything", Class=CLASS))
    assert (network.session.service_id, network.session.terms_id) == (ANA, TERMS)
    assert network.session.interim_interval == 300


def test_a_class_that_names_another_operators_service_is_not_believed():
    network = Network(names=False).take(start(0, Class="0x" + b"p1.8.0011223344556677".hex()))
    assert (network.session.service_id, network.session.terms_id) == (None, None)


def test_the_accept_says_the_terms_when_the_nas_keeps_class_to_itself():
    first = start(0)
    book = Book(
        {},
        Surroundings({ANA: ServiceFacts(1, 1, 300)}.get, {}, {first.key: Grant(ANA, TERMS)}, frozenset()),
        Usage(Calendar({1: ("UTC", 1)}).period_of),
    )
    book.take(first)
    (state,) = book.touched()
    assert (state.service_id, state.terms_id) == (ANA, TERMS)


def test_a_session_whose_service_is_found_later_is_counted_whole():
    network = Network(names=False).take(start(0), interim(300, 300, 10, 100))
    assert network.usage.hours == {}
    network.take(interim(600, 600, 20, 200, Class=CLASS))
    assert network.counted() == [20, 200]
    assert (network.session.service_id, network.session.terms_id) == (ANA, TERMS)


def test_the_address_may_come_late_and_change():
    network = Network().take(start(0), interim(1, 1, Framed_IP_Address="10.0.0.9"))
    assert network.session.framed_ip == "10.0.0.9"
    network.take(interim(300, 300, Framed_IP_Address="10.0.0.10", Delegated_IPv6_Prefix="2001:db8:1::7/56"))
    assert (network.session.framed_ip, network.session.delegated_ipv6_prefix) == ("10.0.0.10", "2001:db8:1::/56")
    assert network.take(interim(600, 600, Framed_IP_Address="nonsense")).session.framed_ip == "10.0.0.10"


# A router that counts, and a network that loses, repeats and reorders.


@st.composite
def routers(draw):
    """One session as a router sees it: instants, and counters that only grow."""
    steps = draw(
        st.lists(
            st.tuples(st.integers(1, 4000), st.integers(0, 1 << 34), st.integers(0, 1 << 34)), min_size=1, max_size=12
        )
    )
    points = [(0, 0, 0)]
    for seconds, grown_in, grown_out in steps:
        last = points[-1]
        points.append((last[0] + seconds, last[1] + grown_in, last[2] + grown_out))
    return points


def told_by(points: list[tuple[int, int, int]]) -> list[Packet]:
    middle = [interim(s, s, i, o) for s, i, o in points[1:-1]]
    last = points[-1]
    return [start(0), *middle, stop(last[0], last[0], last[1], last[2])]


def interpolated(points: Iterable[tuple[float, int, int]]) -> dict[int, list[float]]:
    """What falls into each hour when traffic is steady between two points, second for second."""
    found: dict[int, list[float]] = {}
    for (t1, in1, out1), (t2, in2, out2) in pairwise(points):
        for hour in range(int((T0 + t1) // HOUR), int((T0 + t2) // HOUR) + 1):
            inside = min(T0 + t2, (hour + 1) * HOUR) - max(T0 + t1, hour * HOUR)
            share = max(0.0, inside) / (t2 - t1)
            sums = found.setdefault(hour, [0.0, 0.0])
            sums[0] += (in2 - in1) * share
            sums[1] += (out2 - out1) * share
    return found


@given(routers(), st.integers(1, 5))
def test_in_order_each_hour_gets_what_steady_traffic_gives_it(points, batch):
    network = Network(batch).take(*told_by(points))
    expected = interpolated(points)
    for (_, hour, _), sums in network.usage.hours.items():
        assert sums == pytest.approx(expected[hour], abs=2 * len(points))
    assert network.counted() == [points[-1][1], points[-1][2]]


@settings(max_examples=200)
@given(st.data(), routers(), st.integers(1, 5))
def test_lost_repeated_and_reordered_packets_count_each_octet_once(data, points, batch):
    packets = told_by(points)
    delivered = data.draw(st.lists(st.sampled_from(packets), min_size=1, max_size=30))
    arrivals = [one._replace(at=T0 + 200_000 + n) for n, one in enumerate(delivered)]
    network = Network(batch).take(*arrivals)
    known = [one for one in delivered if one.input_octets is not None]
    stops = [n for n, one in enumerate(delivered) if one.status is STOP]
    heard = delivered[: stops[0] + 1] if stops else delivered
    totals = [max((getattr(one, name) or 0 for one in heard), default=0) for name in ("input_octets", "output_octets")]
    assert len(network.sessions) == 1
    session = network.session
    assert [session.octets_in, session.octets_out] == totals
    assert network.counted() == (totals if any(totals) else [0, 0])
    assert (session.ended_by == "stop") is bool(stops)
    assert session.session_time == max((one.session_time or 0) for one in heard)
    assert known or session.octets_in == 0


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 1000), st.booleans()), min_size=1, max_size=20))
def test_totals_never_fall_when_counters_begin_again(steps):
    seconds, counter, true_total = 0, 0, 0
    network = Network().take(start(0))
    for passed, grown, begins_again in steps:
        seconds += passed
        counter = grown if begins_again and grown < counter else counter + grown
        true_total += grown
        network.take(interim(seconds, seconds, counter, 0))
        assert network.session.octets_in == true_total
    assert network.counted()[0] == true_total
