"""Accounting sessions: what a series of Accounting-Requests says about who was connected and how much went through.

Packets are retransmitted, overtake one another, arrive days late or never. The rules:

- A session is told by NAS, Acct-Session-Id, user name, Calling-Station-Id and its start. None of these is enough by
  itself: ids repeat after reboots and across users.
- Counters of a packet are totals of the session. A packet whose session time is below what is known changes nothing;
  one that is above moves the totals forward. A counter that fell although time went on has begun at zero again.
- An Interim-Update or a Stop whose Start was never seen makes the session. After a Stop nothing is changed by an
  Interim-Update. A session that was only presumed over, and is heard of again later, is open again.
- What a lost Stop leaves open is closed as soon as something proves that it is over: the same id begins again
  (superseded), the same device of a service for one session begins another (superseded), the NAS says that it has
  started or will stop (accounting-on, accounting-off), or the reboot digit in RouterOS's session ids has moved on
  (reboot). Silence alone is not proof; `radius.maintenance` deals with it.

Nothing here knows a database or a clock. States are changed in place: forty thousand packets a second come by.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from radius.packet import INTERIM, OFF, ON, START, STOP, Description, Packet, address, prefix
from radius.terms import Grant, parse_class
from radius.usage import Usage

START_SLACK = 60.0
"""Seconds between two reports of one start: a retransmitted Start without a time stamp of its own."""

TOLERANCE = 300.0
"""Seconds by which the start reckoned from a packet may miss the known one: a NAS whose clock is set in between."""

DRIFT = 0.001
"""Share of the session time by which a router's count of seconds may be off, added to the tolerance."""

REBOOT_SLACK = 120.0

STOPPED = "stop"
ROUTEROS_ID = re.compile(r"8[0-6][0-9a-f]{6}\Z")

Key = tuple[int, str, str]
"""NAS, Acct-Session-Id and user name."""


@dataclass(slots=True, eq=False)
class SessionState:
    """What is known about one session. Instants are seconds since the epoch by our clock, volumes octets."""

    nas_id: int
    operator_id: int
    acct_session_id: str
    user_name: str
    calling_station_id: str
    started: float
    heard: float  # when the last packet came
    kind: str
    mac: str | None
    id: int | None = None  # None: not stored yet
    service_id: int | None = None
    session_time: int = 0
    input_octets: int = 0  # as the NAS last reported
    output_octets: int = 0
    octets_in: int = 0  # from the subscriber, in all
    octets_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    ended: float | None = None
    ended_by: str | None = None
    cause: str | None = None
    framed_ip: str | None = None
    framed_ipv6_prefix: str | None = None
    delegated_ipv6_prefix: str | None = None
    reported_rate: str | None = None
    terms_id: bytes | None = None
    interim_interval: int = 300  # seconds
    called_station_id: str = ""
    nas_port_id: str = ""
    nas_identifier: str = ""
    nas_ip_address: str | None = None
    stored_end: float | None = None  # `ended` as it was read, so that another's change is noticed
    touched: bool = False

    @property
    def was_open(self) -> bool:
        """Whether it is stored as open."""
        return self.id is not None and self.stored_end is None

    @property
    def last_event(self) -> float:
        """When the last thing known of it happened, by the NAS's count of seconds."""
        return self.started + self.session_time


class Growth(NamedTuple):
    """By how much a packet moved a session's totals, and over which time."""

    octets_in: int
    octets_out: int
    since: float
    until: float


def choose(known: Sequence[SessionState], packet: Packet) -> SessionState | None:
    """Return the session that a Start, Interim-Update or Stop belongs to, None when it is of a new one.

    `known` are the sessions of the packet's key.
    """
    newest = known[0]
    if (
        len(known) == 1
        and packet.session_time
        and newest.ended_by is None
        and newest.calling_station_id == packet.calling_station_id
        and -TOLERANCE <= packet.event - packet.session_time - newest.started <= TOLERANCE
    ):
        return newest  # as nearly always
    candidates = [state for state in known if same_device(state, packet)]
    if not candidates:
        return None
    newest = max(candidates, key=_started)
    if packet.status is START:
        return None if _begins_anew(newest, packet) else _nearest(candidates, packet.event)
    if packet.session_time:
        start = packet.event - packet.session_time
        nearest = _nearest(candidates, start)
        if _fits(nearest, packet):
            return None if _follows_the_end(nearest, start) else nearest
        return None if _restarted(newest, packet, start) else newest
    if newest.ended_by == STOPPED and newest.ended is not None and packet.event > newest.ended + START_SLACK:
        return None
    return newest


def advance(state: SessionState, packet: Packet, *, swapped: bool = False) -> Growth | None:
    """Move a session forward by a packet that belongs to it; None when its totals stay as they are.

    `swapped`: the NAS reports the subscriber's download as Input.
    """
    if packet.status is INTERIM and state.ended_by == STOPPED:
        return None
    state.touched = True
    if packet.at > state.heard:
        state.heard = packet.at
    growth = _count(state, packet, swapped)
    _learn(state, packet)
    if packet.status is STOP:
        if state.ended_by != STOPPED:
            state.ended = max(packet.event, state.started)
            state.ended_by = STOPPED
            state.cause = packet.cause
    elif packet.status is INTERIM and state.ended is not None and packet.event > state.ended + 1.0:
        # It was presumed over, and speaks. (A packet from before the presumed end would prove nothing.)
        state.ended = state.ended_by = state.cause = None
    return growth


def close(state: SessionState, at: float, by: str) -> None:
    """End a session that something else proves to be over."""
    state.ended = max(at, state.started)
    state.ended_by = by
    state.touched = True


def _fits(state: SessionState, packet: Packet) -> bool:
    """Tell whether a packet's own count of seconds leads back to the start of a session."""
    assert packet.session_time is not None
    off = packet.event - packet.session_time - state.started
    return -TOLERANCE - DRIFT * packet.session_time <= off <= TOLERANCE + DRIFT * packet.session_time


def _started(state: SessionState) -> float:
    return state.started


def _described_by(state: SessionState) -> Description:
    return Description(
        "",
        state.called_station_id,
        state.nas_port_id,
        state.nas_identifier,
        state.nas_ip_address,
        state.kind,
        state.mac,
    )


def _nearest(states: list[SessionState], start: float) -> SessionState:
    if len(states) == 1:
        return states[0]
    return min(states, key=lambda state: abs(state.started - start))


def same_device(state: SessionState, packet: Packet) -> bool:
    """Tell whether a session may be of the device that a packet names; some NAS leave it out of some packets."""
    one, other = state.calling_station_id, packet.calling_station_id
    return one == other or not one or not other


def _begins_anew(newest: SessionState, start: Packet) -> bool:
    """Tell whether a Start is of a session after the newest one known."""
    if newest.ended_by == STOPPED and newest.ended is not None:
        return start.event > newest.ended + 2.0 and start.event > newest.started + 2.0
    return start.event > newest.started + START_SLACK and start.event > newest.last_event - 5.0


def _follows_the_end(state: SessionState, start: float) -> bool:
    """Tell whether a session that began at `start` came soon after a short one that had the same id."""
    if state.ended is None or state.ended_by != STOPPED:
        return False
    return start > state.started + START_SLACK and abs(start - state.ended) < start - state.started


def _restarted(newest: SessionState, packet: Packet, start: float) -> bool:
    """Tell whether a packet that does not fit the newest session's start is of one that began later."""
    if newest.ended_by == STOPPED and newest.ended is not None:
        return start > newest.started and start > (newest.started + newest.ended) / 2
    assert packet.session_time is not None
    return start > newest.last_event + START_SLACK or (
        packet.session_time < newest.session_time and start > newest.started and packet.event > newest.last_event
    )


def _count(state: SessionState, packet: Packet, swapped: bool) -> Growth | None:
    """Move the counters, unless the packet tells of an earlier moment than is known."""
    seconds = packet.session_time
    if seconds is None:
        seconds = int(packet.event - state.started)
    if seconds < state.session_time:
        return None
    received = state.input_octets if packet.input_octets is None else packet.input_octets
    sent = state.output_octets if packet.output_octets is None else packet.output_octets
    if seconds == state.session_time and (received < state.input_octets or sent < state.output_octets):
        return None  # overtaken by another of the same second
    grown_in = received - state.input_octets if received >= state.input_octets else received
    grown_out = sent - state.output_octets if sent >= state.output_octets else sent
    state.input_octets, state.output_octets = received, sent
    packets_in, packets_out = packet.input_packets, packet.output_packets
    if swapped:
        grown_in, grown_out = grown_out, grown_in
        packets_in, packets_out = packets_out, packets_in
    since = state.started + state.session_time
    state.session_time = seconds
    if packets_in > state.packets_in:
        state.packets_in = packets_in
    if packets_out > state.packets_out:
        state.packets_out = packets_out
    if not grown_in and not grown_out:
        return None
    state.octets_in += grown_in
    state.octets_out += grown_out
    until = state.started + seconds
    if until > packet.event:
        until = packet.event
    return Growth(grown_in, grown_out, since if since < until else until, until)


def _learn(state: SessionState, packet: Packet) -> None:
    """Keep what a packet says about the session besides its counters; the address may come late, or change."""
    if packet.framed_ip is not None and packet.framed_ip != state.framed_ip:
        state.framed_ip = address(packet.framed_ip) or state.framed_ip
    if packet.framed_ipv6_prefix is not None and packet.framed_ipv6_prefix != state.framed_ipv6_prefix:
        state.framed_ipv6_prefix = prefix(packet.framed_ipv6_prefix) or state.framed_ipv6_prefix
    if packet.delegated_ipv6_prefix is not None and packet.delegated_ipv6_prefix != state.delegated_ipv6_prefix:
        state.delegated_ipv6_prefix = prefix(packet.delegated_ipv6_prefix) or state.delegated_ipv6_prefix
    if packet.reported_rate is not None:
        state.reported_rate = packet.reported_rate


class ServiceFacts(NamedTuple):
    """What a session needs to know of its service."""

    operator_id: int
    session_limit: int
    interim_interval: int  # seconds


class Restart(NamedTuple):
    """A NAS said that it began (accounting-on) or will stop (accounting-off): what began before is over."""

    nas_id: int
    at: float
    by: str


class Replacement(NamedTuple):
    """A device of a service for one session began another: those that it had before are over."""

    service_id: int
    mac: str
    kind: str
    at: float


class Reboot(NamedTuple):
    """The reboot digit of a NAS's session ids moved on: sessions of the service prefix with another are over."""

    nas_id: int
    prefix: str
    digit: str
    at: float


@dataclass
class Surroundings:
    """What the packets of one batch are held against."""

    service: Callable[[int], ServiceFacts | None]
    names: Mapping[Key, int]  # the service that is registered under the user name
    accepted: Mapping[Key, Grant]  # what the Access-Request of the session was granted
    swapped: frozenset[int]  # NAS that report the directions the other way round


@dataclass
class Book:
    """The sessions that a batch of packets concerns, and what becomes of them.

    `states` holds what is stored, by key. After the packets were taken, `touched()` are the sessions to store, the
    three lists of proofs are still to be applied to the sessions that are not in the book, and `usage` is to
    be added.
    """

    states: dict[Key, list[SessionState]]
    surroundings: Surroundings
    usage: Usage
    digits: dict[tuple[int, str], str] = field(default_factory=dict)
    restarts: list[Restart] = field(default_factory=list)
    replacements: list[Replacement] = field(default_factory=list)
    reboots: list[Reboot] = field(default_factory=list)
    _adopted: set[int] = field(default_factory=set)
    _devices: dict[tuple[int, str, str], list[SessionState]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for state in self._open_states():
            if state.service_id is not None and state.mac is not None:
                self._devices.setdefault((state.service_id, state.mac, state.kind), []).append(state)

    def take(self, packet: Packet) -> None:
        """Apply one packet; packets come in the order in which they arrived."""
        if packet.status is ON or packet.status is OFF:
            self._restart(packet)
            return
        known = self.states.get(packet.key)
        state = choose(known, packet) if known else None
        if state is None:
            state = self._open(packet, known)
        growth = advance(state, packet, swapped=packet.nas_id in self.surroundings.swapped)
        if state.service_id is None:
            self._adopt(state, packet)
        elif growth is not None:
            self.usage.add(state.operator_id, state.service_id, *growth)

    def touched(self) -> list[SessionState]:
        """Return the sessions that are new or changed."""
        return [state for states in self.states.values() for state in states if state.touched]

    def came_or_went(self) -> set[int]:
        """Return the services whose open sessions are not those that were stored.

        A session that begins and ends within one batch is nobody's concern any more.
        """
        services = {
            state.service_id
            for state in self.touched()
            if state.service_id is not None and state.was_open is not (state.ended is None)
        }
        return services | self._adopted

    def _open(self, packet: Packet, known: list[SessionState] | None) -> SessionState:
        described = packet.description
        predecessor = next((state for state in reversed(known or ()) if same_device(state, packet)), None)
        if described is None:
            assert predecessor is not None, "an earlier packet of the batch had the description"
            described = _described_by(predecessor)
        state = SessionState(
            packet.nas_id,
            packet.operator_id,
            packet.acct_session_id,
            packet.user_name,
            packet.calling_station_id,
            packet.event - (packet.session_time or 0),
            packet.at,
            described.kind,
            described.mac,
            called_station_id=described.called_station_id,
            nas_port_id=described.nas_port_id,
            nas_identifier=described.nas_identifier,
            nas_ip_address=described.nas_ip_address,
            touched=True,
        )
        for other in known or ():
            if other.ended is None and same_device(other, packet):
                close(other, state.started, "superseded")
        self.states.setdefault(packet.key, []).append(state)
        grant = self._grant(packet, described)
        if grant is not None:
            self._assign(state, *grant)
        elif predecessor is not None:
            state.service_id, state.interim_interval = predecessor.service_id, predecessor.interim_interval
        self._replace_earlier(state)
        self._notice_reboot(state)
        return state

    def _grant(self, packet: Packet, described: Description) -> tuple[int, bytes | None] | None:
        """Return the service that a session belongs to, with the terms it was granted where they are known."""
        around = self.surroundings
        for grant in (parse_class(described.class_value), around.accepted.get(packet.key)):
            if grant is not None and self._is_of(grant.service_id, packet.operator_id):
                return grant.service_id, grant.terms_id
        service_id = around.names.get(packet.key)
        if service_id is not None and self._is_of(service_id, packet.operator_id):
            return service_id, None
        return None

    def _is_of(self, service_id: int, operator_id: int) -> bool:
        """Tell whether a service is the operator's: a Class is only what some NAS says."""
        service = self.surroundings.service(service_id)
        return service is not None and service.operator_id == operator_id

    def _assign(self, state: SessionState, service_id: int, terms_id: bytes | None) -> None:
        service = self.surroundings.service(service_id)
        assert service is not None
        state.service_id = service_id
        state.terms_id = state.terms_id or terms_id
        state.interim_interval = service.interim_interval

    def _adopt(self, state: SessionState, packet: Packet) -> None:
        """Find the service of a session that began without one, and count all of its traffic."""
        if packet.description is None:
            return
        grant = self._grant(packet, packet.description)
        if grant is None:
            return
        self._assign(state, *grant)
        assert state.service_id is not None
        self._adopted.add(state.service_id)
        if state.octets_in or state.octets_out:
            until = min(state.last_event, packet.event)
            self.usage.add(
                state.operator_id,
                state.service_id,
                state.octets_in,
                state.octets_out,
                min(state.started, until),
                until,
            )

    # What one packet proves about other sessions.

    def _restart(self, packet: Packet) -> None:
        by = "accounting-on" if packet.status is ON else "accounting-off"
        for state in self._open_states():
            if state.nas_id == packet.nas_id and state.started < packet.event:
                close(state, packet.event, by)
        self.restarts.append(Restart(packet.nas_id, packet.event, by))

    def _replace_earlier(self, new: SessionState) -> None:
        """A device of a service for one session that begins another has left the one before.

        Where several sessions are allowed, a router may well dial twice from one MAC address.
        """
        if new.mac is None or new.service_id is None:
            return
        service = self.surroundings.service(new.service_id)
        if service is None or service.session_limit != 1:
            return
        device = (new.service_id, new.mac, new.kind)
        others = self._devices.setdefault(device, [])
        for other in others:
            if other.ended is None and other.started < new.started and other.last_event <= new.started + START_SLACK:
                close(other, new.started, "superseded")
        others.append(new)
        self.replacements.append(Replacement(*device, new.started))

    def _notice_reboot(self, new: SessionState) -> None:
        """RouterOS numbers its sessions: two digits for the service, one that counts reboots, five for the session."""
        if not ROUTEROS_ID.match(new.acct_session_id):
            return
        service, digit = new.acct_session_id[:2], new.acct_session_id[2]
        if self.digits.get((new.nas_id, service)) == digit:
            return
        self.digits[new.nas_id, service] = digit
        for state in self._open_states():
            if (
                state.nas_id == new.nas_id
                and ROUTEROS_ID.match(state.acct_session_id)
                and state.acct_session_id[:2] == service
                and state.acct_session_id[2] != digit
                and state.started < new.started
                and state.last_event <= new.started + REBOOT_SLACK
            ):
                close(state, new.started, "reboot")
        self.reboots.append(Reboot(new.nas_id, service, digit, new.started))

    def _open_states(self) -> list[SessionState]:
        return [state for states in self.states.values() for state in states if state.ended is None]
