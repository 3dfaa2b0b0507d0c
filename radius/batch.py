"""One batch of journal records, put into PostgreSQL in one transaction.

The records' effect and the position in the journal are committed together, so each record counts exactly once,
whatever dies in between. A handful of statements serves thousands of records: what is known is read for all of them
at once, the rules of `radius.sessions` are applied in memory, and the outcome goes back by COPY.

Two nodes may hear the same NAS. A lock for each NAS, taken in the order of their ids, lets one batch after the other
see what the one before has made of a session.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import psycopg

from aaa.facts import AccessKind
from core.clock import from_epoch
from radius.journal import Authentication
from radius.packet import START, Packet, storable
from radius.request import names
from radius.sessions import REBOOT_SLACK, START_SLACK, Book, Key, ServiceFacts, SessionState, Surroundings, same_device
from radius.terms import Grant, parse_class
from radius.usage import Calendar, HourKey, PeriodKey, Usage

HEARD_INTERVAL = 10.0  # seconds; no finer is it written when a NAS was heard
SILENCE = "10 minutes"
"""A NAS of which nothing was heard for longer was silent as a whole."""
SEEN_DEVICES = 2_000  # unregistered devices kept for an operator
_NAS_LOCK = 7471
_DAY = 86_400.0
_KNOWN_OF_A_KEY = 4  # sessions looked at; some devices use one session id for ever

Connection = psycopg.Connection[Any]


class PositionMoved(Exception):
    """The journal is further than this process believes: what it holds may be loaded already."""


@dataclass(slots=True)
class Batch:
    """Records as they were read, with the journal's positions before and behind them."""

    packets: list[Packet] = field(default_factory=list)
    events: list[Authentication] = field(default_factory=list)
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)  # segment: position before, behind
    heard: dict[int, tuple[float, int]] = field(default_factory=dict)  # NAS: the last record's time, operator
    unusable: int = 0  # accounting that tells of no session

    @property
    def records(self) -> int:
        return len(self.packets) + len(self.events) + self.unusable


class Store:
    """Puts batches into one database, over one connection."""

    def __init__(self, connection: Connection, node: str) -> None:
        self._connection = connection
        self._node = node
        self._digits: dict[tuple[int, str], str] = {}
        self._heard: dict[int, float] = {}
        self._operators: dict[int, tuple[str, int]] = {}
        self._calendar = Calendar({})
        for statement in _TEMPORARY_TABLES:
            connection.execute(statement)

    def put(self, batch: Batch) -> None:
        """Store a batch, all of it or nothing. Raises PositionMoved and psycopg's errors."""
        digits = dict(self._digits)
        try:
            with self._connection.transaction():
                self._move_positions(batch)
                self._store_events(batch.events)
                if batch.packets:
                    self._lock_nas({packet.nas_id for packet in batch.packets})
                    self._store_packets(batch)
                self._hear(batch)
        except BaseException:
            self._digits = digits
            self._heard.clear()
            raise

    # The journal.

    def _move_positions(self, batch: Batch) -> None:
        for segment, (before, behind) in batch.moved.items():
            moved = self._connection.execute(
                "INSERT INTO journal_position AS p (node, segment, position) VALUES (%(node)s, %(segment)s, %(behind)s)"
                " ON CONFLICT (node, segment) DO UPDATE SET position = excluded.position"
                " WHERE p.position = %(before)s RETURNING (xmax = 0) AND %(before)s <> 0",
                {"node": self._node, "segment": segment, "before": before, "behind": behind},
            ).fetchone()
            if moved is None or moved[0]:
                raise PositionMoved(segment)

    # Outcomes of Access-Requests.

    def _store_events(self, events: Sequence[Authentication]) -> None:
        if not events:
            return
        self._copy(
            "auth_event (at, operator_id, nas_id, service_id, user_name, mac, kind, method, outcome, reason, detail,"
            " acct_session_id, terms_id)",
            map(_event_line, events),
        )
        self._learn_devices(events)
        unregistered = [event for event in events if event.reason == "mac_not_registered" and event.mac]
        if unregistered:
            self._keep_seen_devices(unregistered)

    def _learn_devices(self, events: Iterable[Authentication]) -> None:
        """Bind the first devices to the services that learn them."""
        found: dict[tuple[int, str], int] = {}
        for event in events:
            if event.mac and event.service_id is not None and event.outcome != "reject":
                found[event.service_id, event.mac] = event.operator_id
        if not found:
            return
        learners: dict[int, tuple[int, int]] = {
            service_id: (operator_id, room)
            for service_id, operator_id, room in self._connection.execute(
                _LEARNERS, (_array({service_id for service_id, _ in found}),)
            )
        }
        if not learners:
            return
        self._connection.execute("SELECT FROM service WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (sorted(learners),))
        rooms = {service_id: room for service_id, _, room in self._connection.execute(_LEARNERS, (_array(learners),))}
        known = set(
            self._connection.execute(
                "SELECT service_id, mac::text FROM service_mac WHERE service_id = ANY(%s)", (sorted(learners),)
            )
        )
        rows = []
        for (service_id, mac), operator_id in found.items():
            if (service_id, mac) in known:
                continue
            if rooms.get(service_id, 0) > 0 and learners[service_id][0] == operator_id:
                rows.append((service_id, mac, operator_id))
                rooms[service_id] -= 1
        if rows:
            services, macs, operators = zip(*rows, strict=True)
            self._connection.execute(
                "INSERT INTO service_mac (service_id, mac, operator_id, learned)"
                " SELECT s, m, o, true FROM unnest(%s::bigint[], %s::macaddr[], %s::bigint[]) AS n(s, m, o)"
                " ON CONFLICT DO NOTHING",
                (list(services), list(macs), list(operators)),
            )

    def _keep_seen_devices(self, events: Iterable[Authentication]) -> None:
        seen: dict[tuple[int, str], tuple[int, Authentication]] = {}
        for event in events:
            assert event.mac is not None
            times, _ = seen.get((event.operator_id, event.mac), (0, None))
            seen[event.operator_id, event.mac] = times + 1, event
        rows = [
            (
                operator_id, mac, event.nas_id, event.kind, storable(event.called_station_id),
                storable(event.nas_port_id), times, from_epoch(event.at),
            )
            for (operator_id, mac), (times, event) in sorted(seen.items(), key=lambda item: item[0])
        ]  # fmt: skip
        self._connection.execute(_SEEN, [list(column) for column in zip(*rows, strict=True)])
        for operator_id in {operator_id for operator_id, _ in seen}:
            self._connection.execute(_FORGET_SEEN, {"operator": operator_id, "most": SEEN_DEVICES})

    # Accounting.

    def _lock_nas(self, ids: set[int]) -> None:
        self._connection.execute(
            "SELECT pg_advisory_xact_lock(%s, (id %% 2147483647)::integer)"
            " FROM (SELECT unnest(%s::bigint[]) AS id ORDER BY 1) AS nas",
            (_NAS_LOCK, sorted(ids)),
        )

    def _store_packets(self, batch: Batch) -> None:
        packets = batch.packets
        described: dict[tuple[Key, str], Packet] = {}  # a packet of each key and device, its Start if there is one
        for packet in packets:
            if packet.description is not None:
                device = packet.key, packet.calling_station_id
                if packet.status is START or device not in described:
                    described[device] = packet
        keys = dict.fromkeys(key for key, _ in described)
        states = self._read_states(keys, packets)
        surroundings = self._surroundings(batch, described.values(), states)
        book = Book(states, surroundings, self._usage(packets), self._digits)
        for packet in packets:
            book.take(packet)
        touched = book.touched()
        came_or_went = book.came_or_went()
        came_or_went |= self._close_others(
            book, [state.id for known in states.values() for state in known if state.id is not None]
        )
        self._copy(_NEW_SESSION, (_session_line(state) for state in touched if state.id is None))
        changed = [state for state in touched if state.id is not None]
        if changed:
            self._copy("changed_session", map(_change_line, changed))
            self._connection.execute(_CHANGE_SESSIONS)
        self._add_usage(book.usage)
        if came_or_went:
            self._connection.execute(
                "INSERT INTO change_log (kind, ids) VALUES ('sessions', %s::bigint[])",
                (_array(sorted(came_or_went)),),
            )
            self._connection.execute("SELECT pg_notify('portico_change', 'sessions')")
        self._connection.execute("SELECT pg_notify('portico_accounting', '')")

    def _read_states(self, keys: Iterable[Key], packets: Sequence[Packet]) -> dict[Key, list[SessionState]]:
        """Read the sessions known under the keys of a batch."""
        if not keys:
            return {}
        earliest = latest = packets[0].at
        for packet in packets:
            begun = packet.event - packet.session_time if packet.session_time is not None else packet.at - 400 * _DAY
            if begun < earliest:
                earliest = begun
            if packet.at > latest:
                latest = packet.at
        self._copy("wanted_session", (f"{nas}\t{_text(session)}\t{_text(user)}\n" for nas, session, user in keys))
        rows = self._connection.execute(
            _STATES, (from_epoch(earliest - _DAY), from_epoch(latest + _DAY)), binary=True
        ).fetchall()
        states: dict[Key, list[SessionState]] = {}
        for row in rows:
            state = SessionState(*row)
            state.stored_end = state.ended
            states.setdefault((state.nas_id, state.acct_session_id, state.user_name), []).append(state)
        for known in states.values():
            known.reverse()  # the newest last
        return states

    def _surroundings(
        self, batch: Batch, described: Iterable[Packet], states: Mapping[Key, list[SessionState]]
    ) -> Surroundings:
        """Look up what sessions that may begin in this batch need to know of their services."""
        wanted: set[int] = set()
        nameless: list[Packet] = []
        for packet in described:
            assert packet.description is not None
            grant = parse_class(packet.description.class_value)
            known = [state for state in states.get(packet.key, ()) if same_device(state, packet)]
            service_id = known[-1].service_id if known and packet.status is not START else None
            if service_id is not None and (grant is None or grant.service_id == service_id):
                continue
            if grant is not None:
                wanted.add(grant.service_id)
            else:
                nameless.append(packet)
        accepted: dict[Key, Grant] = {}
        by_name: dict[Key, int] = {}
        if nameless:
            accepted = self._accepted(batch.events, nameless)
            wanted.update(grant.service_id for grant in accepted.values())
            by_name = self._named([packet for packet in nameless if packet.key not in accepted])
            wanted.update(by_name.values())
        services = self._services(wanted)

        def service(service_id: int) -> ServiceFacts | None:
            if service_id not in services:  # rare: a session began where none was expected to
                services.update(self._services({service_id}))
            return services.get(service_id)

        swapped = frozenset(nas for (nas,) in self._connection.execute("SELECT id FROM nas WHERE swap_directions"))
        return Surroundings(service, by_name, accepted, swapped)

    def _services(self, ids: set[int]) -> dict[int, ServiceFacts]:
        if not ids:
            return {}
        rows = self._connection.execute(_SERVICE_FACTS, (_array(ids),), binary=True)
        return {service_id: ServiceFacts(*facts) for service_id, *facts in rows}

    def _accepted(self, events: Iterable[Authentication], packets: Sequence[Packet]) -> dict[Key, Grant]:
        """Find the accept that a session without Class came from: same NAS, session id and user name."""
        accepted: dict[Key, Grant] = {}
        wanted = {packet.key: packet for packet in packets}
        for event in events:
            if event.terms_id is not None and event.service_id is not None and event.acct_session_id:
                key = event.nas_id, event.acct_session_id, event.user_name
                if key in wanted:
                    accepted[key] = Grant(event.service_id, event.terms_id)
        missing = [packet for key, packet in wanted.items() if key not in accepted]
        if missing:
            self._copy("asking_session", map(_asking_line, missing))
            rows = self._connection.execute(
                _ACCEPTED, (from_epoch(min(packet.at for packet in missing) - 2 * _DAY),), binary=True
            )
            for nas_id, acct_session_id, user_name, service_id, terms_id in rows:
                accepted[nas_id, acct_session_id, user_name] = Grant(service_id, terms_id)
        return accepted

    def _named(self, packets: Sequence[Packet]) -> dict[Key, int]:
        """Find services by the user name, read in the same ways and order as an Access-Request's."""
        lines = [
            f"{number}\t{rank}\t{packet.operator_id}\t{namespace}\t{_text(name)}\n"
            for number, packet in enumerate(packets)
            for rank, (namespace, name) in enumerate(_readings(packet))
        ]
        if not lines:
            return {}
        self._copy("asked_name", lines)
        rows = self._connection.execute(_NAMED, binary=True)
        return {packets[number].key: service_id for number, service_id in rows}

    def _usage(self, packets: Iterable[Packet]) -> Usage:
        if {packet.operator_id for packet in packets} - self._operators.keys():
            self.refresh_operators()
        return Usage(self._calendar.period_of)

    def refresh_operators(self) -> None:
        """Read time zones and cut-off days anew; they change rarely, and only from the next period on."""
        rows = self._connection.execute("SELECT id, timezone, cut_off_day FROM operator").fetchall()
        operators = {operator_id: (zone, day) for operator_id, zone, day in rows}
        if operators != self._operators:
            self._operators = operators
            self._calendar = Calendar(operators)

    def _close_others(self, book: Book, read_ids: Iterable[int]) -> set[int]:
        """Close the sessions outside the batch that its packets prove to be over; return whose they were."""
        read = _array(read_ids)
        gone: list[tuple[int | None]] = []
        if book.restarts:
            columns = [list(column) for column in zip(*book.restarts, strict=True)]
            gone += self._connection.execute(_CLOSE_RESTARTED, [*columns, read]).fetchall()
        if book.replacements:
            self._copy(
                "replaced_session",
                (f"{service}\t{mac}\t{kind}\t{at!r}\n" for service, mac, kind, at in book.replacements),
            )
            gone += self._connection.execute(_CLOSE_REPLACED, (read, START_SLACK)).fetchall()
        for reboot in book.reboots:
            gone += self._connection.execute(
                _CLOSE_REBOOTED, {**reboot._asdict(), "read": read, "slack": REBOOT_SLACK}
            ).fetchall()
        return {service_id for (service_id,) in gone if service_id is not None}

    def _add_usage(self, usage: Usage) -> None:
        if not usage.hours:
            return
        # One order for everybody, so that two loaders never wait for each other in a circle.
        self._copy("grown_hour", map(_hour_line, sorted(usage.hours.items())))
        self._connection.execute(_ADD_HOURS)
        self._copy("grown_period", map(_period_line, sorted(usage.periods.items())))
        self._connection.execute(_ADD_PERIODS)
        plans = [plan for (plan,) in self._connection.execute("SELECT id FROM rate_plan WHERE cap_octets IS NOT NULL")]
        capped = [service for (service,) in self._connection.execute(_CAPPED, (plans,))] if plans else []
        if capped:
            self._connection.execute("INSERT INTO change_log (kind, ids) VALUES ('service', %s)", (sorted(capped),))
            self._connection.execute("SELECT pg_notify('portico_change', 'service')")

    def _hear(self, batch: Batch) -> None:
        """Write when each NAS was last heard, though not with every batch."""
        latest = {
            nas_id: heard
            for nas_id, heard in batch.heard.items()
            if heard[0] - self._heard.get(nas_id, 0.0) >= HEARD_INTERVAL
        }
        if not latest:
            return
        ids = sorted(latest)
        self._connection.execute(
            _HEARD, (ids, [from_epoch(latest[nas_id][0]) for nas_id in ids], [latest[nas_id][1] for nas_id in ids])
        )
        self._heard.update({nas_id: at for nas_id, (at, _) in latest.items()})

    def _copy(self, target: str, lines: Iterable[str]) -> None:
        text = "".join(lines)
        if text:
            with self._connection.cursor().copy(f"COPY {target} FROM STDIN") as copy:
                copy.write(text.encode())


def _readings(packet: Packet) -> list[tuple[str, str]]:
    """Return the ways to read a packet's user name, each with the namespace in which it is looked for."""
    assert packet.description is not None
    found = names(packet.user_name, AccessKind(packet.description.kind), packet.description.mac)
    return [(reading.namespace.decode(), reading.name) for reading in found]


# What COPY takes: values between tabs, a line for each row.


def _text(text: str | None) -> str:
    if text is None:
        return "\\N"
    if text.isprintable() and "\\" not in text:
        return text
    text = storable(text).replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _array(numbers: Iterable[int]) -> str:
    """Return whole numbers as PostgreSQL writes an array: psycopg's own way is slow for thousands."""
    return f"{{{','.join(map(str, numbers))}}}"


def _octets(octets: bytes | None) -> str:
    return "\\N" if octets is None else f"\\\\x{octets.hex()}"


def _number(number: float | None) -> str:
    return "\\N" if number is None else repr(number)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{from_epoch(seconds):%Y-%m-%d %H:%M:%S}"


def _stamp(instant: float | None) -> str:
    """Return an instant to the microsecond, as PostgreSQL rounds the same number."""
    if instant is None:
        return "\\N"
    microseconds = round(instant * 1_000_000)
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06}+00"


def _json(document: dict[str, str] | None) -> str:
    if not document:
        return "{}"
    plain = {storable(str(key)): storable(str(value)) for key, value in document.items()}
    return _text(json.dumps(plain))


def _event_line(event: Authentication) -> str:
    (
        at, nas_id, operator_id, service_id, user_name, mac, kind, method, outcome, reason, detail, acct_session_id,
        terms_id, _, _,
    ) = event  # fmt: skip
    return (
        f"{_stamp(at)}\t{operator_id}\t{nas_id}\t{_number(service_id)}\t{_text(user_name)}\t{_text(mac)}\t{kind}"
        f"\t{method}\t{outcome}\t{reason}\t{_json(detail)}\t{_text(acct_session_id)}\t{_octets(terms_id)}\n"
    )


def _asking_line(packet: Packet) -> str:
    nas_id, acct_session_id, user_name = packet.key
    return f"{packet.operator_id}\t{nas_id}\t{_text(acct_session_id)}\t{_text(user_name)}\n"


_NEW_SESSION = """session (
    started_at, operator_id, nas_id, service_id, acct_session_id, user_name, calling_station_id, called_station_id,
    nas_port_id, nas_identifier, nas_ip_address, kind, mac, framed_ip, framed_ipv6_prefix, delegated_ipv6_prefix,
    updated_at, ended_at, session_time, octets_in, octets_out, packets_in, packets_out, input_octets, output_octets,
    terminate_cause, ended_by, terms_id, reported_rate, interim_interval
)"""


def _session_line(state: SessionState) -> str:
    return (
        f"{_stamp(state.started)}\t{state.operator_id}\t{state.nas_id}\t{_number(state.service_id)}"
        f"\t{_text(state.acct_session_id)}\t{_text(state.user_name)}\t{_text(state.calling_station_id)}"
        f"\t{_text(state.called_station_id)}\t{_text(state.nas_port_id)}\t{_text(state.nas_identifier)}"
        f"\t{_text(state.nas_ip_address)}\t{state.kind}\t{_text(state.mac)}\t{_text(state.framed_ip)}"
        f"\t{_text(state.framed_ipv6_prefix)}\t{_text(state.delegated_ipv6_prefix)}\t{_stamp(state.heard)}"
        f"\t{_stamp(state.ended)}\t{state.session_time}\t{state.octets_in}\t{state.octets_out}\t{state.packets_in}"
        f"\t{state.packets_out}\t{state.input_octets}\t{state.output_octets}\t{_text(state.cause)}"
        f"\t{_text(state.ended_by)}\t{_octets(state.terms_id)}\t{_text(state.reported_rate)}"
        f"\t{state.interim_interval}\n"
    )


def _change_line(state: SessionState) -> str:
    return (
        f"{state.id}\t{state.started!r}\t{state.heard!r}\t{_number(state.ended)}\t{_number(state.stored_end)}"
        f"\t{_text(state.ended_by)}\t{_text(state.cause)}\t{state.session_time}\t{state.octets_in}"
        f"\t{state.octets_out}\t{state.packets_in}\t{state.packets_out}\t{state.input_octets}\t{state.output_octets}"
        f"\t{_text(state.framed_ip)}\t{_text(state.framed_ipv6_prefix)}\t{_text(state.delegated_ipv6_prefix)}"
        f"\t{_text(state.reported_rate)}\t{_number(state.service_id)}\t{_octets(state.terms_id)}"
        f"\t{state.interim_interval}\n"
    )


def _hour_line(item: tuple[HourKey, list[int]]) -> str:
    (service_id, hour, operator_id), (octets_in, octets_out) = item
    return f"{service_id}\t{hour}\t{operator_id}\t{octets_in}\t{octets_out}\n"


def _period_line(item: tuple[PeriodKey, list[int]]) -> str:
    (service_id, begin, end, operator_id), (octets_in, octets_out) = item
    return f"{service_id}\t{begin!r}\t{end!r}\t{operator_id}\t{octets_in}\t{octets_out}\n"


# Statements.

_TEMPORARY_TABLES = (
    """
    CREATE TEMPORARY TABLE changed_session (
        id bigint, started double precision, heard double precision, ended double precision,
        stored_end double precision, ended_by text, cause text, session_time bigint, octets_in bigint,
        octets_out bigint, packets_in bigint, packets_out bigint, input_octets bigint, output_octets bigint,
        framed_ip inet, framed_ipv6_prefix cidr, delegated_ipv6_prefix cidr, reported_rate text, service_id bigint,
        terms_id bytea, interim_interval integer
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE wanted_session (nas_id bigint, acct_session_id text, user_name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE asking_session (operator_id bigint, nas_id bigint, acct_session_id text, user_name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE asked_name (number integer, rank integer, operator_id bigint, namespace text, name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE replaced_session (service_id bigint, mac macaddr, kind text, at double precision)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE grown_hour (
        service_id bigint, hour bigint, operator_id bigint, octets_in bigint, octets_out bigint
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE grown_period (
        service_id bigint, begins double precision, ends double precision, operator_id bigint,
        octets_in bigint, octets_out bigint
    ) ON COMMIT DELETE ROWS
    """,
)

# The columns are those of SessionState, in its order.
_STATES = f"""
SELECT s.nas_id, s.operator_id, s.acct_session_id, s.user_name, s.calling_station_id,
       extract(epoch FROM s.started_at)::double precision, extract(epoch FROM s.updated_at)::double precision,
       s.kind, s.mac::text, s.id, s.service_id, s.session_time, s.input_octets, s.output_octets, s.octets_in,
       s.octets_out, s.packets_in, s.packets_out, extract(epoch FROM s.ended_at)::double precision, s.ended_by,
       s.terminate_cause, host(s.framed_ip), s.framed_ipv6_prefix::text, s.delegated_ipv6_prefix::text,
       s.reported_rate, s.terms_id, s.interim_interval, s.called_station_id, s.nas_port_id, s.nas_identifier,
       host(s.nas_ip_address)
FROM wanted_session k
CROSS JOIN LATERAL (
    SELECT * FROM session
    WHERE session.nas_id = k.nas_id AND session.acct_session_id = k.acct_session_id
      AND session.user_name = k.user_name AND session.started_at >= %s AND session.started_at < %s
    ORDER BY session.started_at DESC LIMIT {_KNOWN_OF_A_KEY}
) s
"""  # noqa: S608 - a constant

# What somebody else has changed about the end of a session stays, unless its Stop has come.
_CHANGE_SESSIONS = """
UPDATE session s SET
    updated_at = to_timestamp(c.heard),
    ended_at = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                    THEN to_timestamp(c.ended) ELSE s.ended_at END,
    ended_by = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                    THEN c.ended_by ELSE s.ended_by END,
    terminate_cause = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                           THEN c.cause ELSE s.terminate_cause END,
    session_time = c.session_time, octets_in = c.octets_in, octets_out = c.octets_out, packets_in = c.packets_in,
    packets_out = c.packets_out, input_octets = c.input_octets, output_octets = c.output_octets,
    framed_ip = c.framed_ip, framed_ipv6_prefix = c.framed_ipv6_prefix,
    delegated_ipv6_prefix = c.delegated_ipv6_prefix, reported_rate = c.reported_rate,
    service_id = coalesce(s.service_id, c.service_id), terms_id = coalesce(s.terms_id, c.terms_id),
    interim_interval = c.interim_interval
FROM changed_session c
WHERE s.id = c.id AND s.started_at = to_timestamp(c.started)
"""

_ADD_HOURS = """
INSERT INTO usage_hour (service_id, hour, operator_id, octets_in, octets_out)
SELECT service_id, to_timestamp(hour * 3600), operator_id, octets_in, octets_out FROM grown_hour
ON CONFLICT (service_id, hour) DO UPDATE SET
    octets_in = usage_hour.octets_in + excluded.octets_in, octets_out = usage_hour.octets_out + excluded.octets_out
"""

# When an operator has moved its cut-off day, the period that begins ends those that it overlaps: a service is never in
# two periods at once.
_ADD_PERIODS = """
WITH counted AS (
    INSERT INTO usage_period AS u (service_id, period_start, period_end, operator_id, octets_in, octets_out)
    SELECT service_id, to_timestamp(begins), to_timestamp(ends), operator_id, octets_in, octets_out FROM grown_period
    ON CONFLICT (service_id, period_start) DO UPDATE SET
        period_end = excluded.period_end, octets_in = u.octets_in + excluded.octets_in,
        octets_out = u.octets_out + excluded.octets_out
    RETURNING u.service_id, u.period_start, u.period_end, xmax = 0 AS begun
)
UPDATE usage_period u SET period_end = greatest(u.period_start, least(u.period_end, c.period_start))
FROM counted c
WHERE c.begun AND u.service_id = c.service_id AND u.period_start <> c.period_start
  AND u.period_start < c.period_end AND u.period_end > c.period_start
"""

# The services that have just reached the cap of their plan, in the period that is running.
_CAPPED = """
SELECT g.service_id
FROM grown_period g
JOIN service s ON s.id = g.service_id AND s.plan_id = ANY(%s)
JOIN rate_plan p ON p.id = s.plan_id
JOIN usage_period u ON u.service_id = g.service_id AND u.period_start = to_timestamp(g.begins)
WHERE p.cap_octets <= u.octets_in + u.octets_out
  AND p.cap_octets > u.octets_in + u.octets_out - g.octets_in - g.octets_out
  AND now() >= u.period_start AND now() < u.period_end
"""

_CLOSE_RESTARTED = """
UPDATE session s SET ended_at = to_timestamp(p.at), ended_by = p.by
FROM unnest(%s::bigint[], %s::double precision[], %s::text[]) AS p(nas_id, at, by)
WHERE s.nas_id = p.nas_id AND s.ended_at IS NULL AND s.started_at < to_timestamp(p.at) AND NOT s.id = ANY(%s::bigint[])
RETURNING s.service_id
"""

_CLOSE_REPLACED = """
UPDATE session s SET ended_at = to_timestamp(p.at), ended_by = 'superseded'
FROM replaced_session p
WHERE s.service_id = p.service_id AND s.mac = p.mac AND s.kind = p.kind AND s.ended_at IS NULL
  AND s.started_at < to_timestamp(p.at) AND NOT s.id = ANY(%s::bigint[])
  AND s.started_at + s.session_time * interval '1 second' <= to_timestamp(p.at + %s)
RETURNING s.service_id
"""

_CLOSE_REBOOTED = """
UPDATE session SET ended_at = to_timestamp(%(at)s), ended_by = 'reboot'
WHERE nas_id = %(nas_id)s AND ended_at IS NULL AND NOT id = ANY(%(read)s::bigint[])
  AND acct_session_id ~ '^8[0-6][0-9a-f]{6}$' AND left(acct_session_id, 2) = %(prefix)s
  AND substr(acct_session_id, 3, 1) <> %(digit)s
  AND started_at < to_timestamp(%(at)s)
  AND started_at + session_time * interval '1 second' <= to_timestamp(%(at)s + %(slack)s)
RETURNING service_id
"""

_SERVICE_FACTS = """
SELECT service.id, service.operator_id, service.session_limit,
       extract(epoch FROM rate_plan.interim_interval)::integer
FROM service JOIN rate_plan ON rate_plan.id = service.plan_id
WHERE service.id = ANY(%s::bigint[])
"""

_ACCEPTED = """
SELECT k.nas_id, k.acct_session_id, k.user_name, e.service_id, e.terms_id
FROM asking_session k
CROSS JOIN LATERAL (
    SELECT service_id, terms_id FROM auth_event
    WHERE auth_event.operator_id = k.operator_id AND auth_event.user_name = k.user_name
      AND auth_event.nas_id = k.nas_id AND auth_event.acct_session_id = k.acct_session_id
      AND auth_event.at >= %s AND auth_event.terms_id IS NOT NULL AND auth_event.service_id IS NOT NULL
    ORDER BY auth_event.at DESC LIMIT 1
) e
"""

_NAMED = """
SELECT DISTINCT ON (k.number) k.number, s.id
FROM asked_name k
JOIN service s ON s.operator_id = k.operator_id AND s.name = k.name AND s.state <> 'terminated'
     AND k.namespace = CASE s.access_method WHEN 'mac' THEN 'm' WHEN 'voucher' THEN 'v' ELSE 'n' END
ORDER BY k.number, k.rank
"""

_LEARNERS = """
SELECT s.id, s.operator_id, s.max_macs - (SELECT count(*) FROM service_mac m WHERE m.service_id = s.id)
FROM service s WHERE s.id = ANY(%s::bigint[]) AND s.mac_binding = 'learn'
  AND s.max_macs > (SELECT count(*) FROM service_mac m WHERE m.service_id = s.id)
"""

_SEEN = """
INSERT INTO seen_device AS d
    (operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, first_seen_at, last_seen_at)
SELECT operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, at, at
FROM unnest(%s::bigint[], %s::macaddr[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
            %s::timestamptz[])
     AS n(operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, at)
ON CONFLICT (operator_id, mac) DO UPDATE SET
    nas_id = excluded.nas_id, kind = excluded.kind, called_station_id = excluded.called_station_id,
    nas_port_id = excluded.nas_port_id, times = d.times + excluded.times,
    last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
"""

_FORGET_SEEN = """
DELETE FROM seen_device d USING (
    SELECT mac FROM seen_device WHERE operator_id = %(operator)s ORDER BY last_seen_at DESC OFFSET %(most)s
) old
WHERE d.operator_id = %(operator)s AND d.mac = old.mac
"""

_HEARD = f"""
INSERT INTO nas_heard AS h (nas_id, last_packet_at, talking_since, operator_id)
SELECT nas_id, at, at, operator_id
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS n(nas_id, at, operator_id)
ON CONFLICT (nas_id) DO UPDATE SET
    talking_since = CASE WHEN excluded.last_packet_at > h.last_packet_at + interval '{SILENCE}'
                         THEN excluded.last_packet_at ELSE h.talking_since END,
    last_packet_at = greatest(h.last_packet_at, excluded.last_packet_at), operator_id = excluded.operator_id
"""  # noqa: S608 - a constant
