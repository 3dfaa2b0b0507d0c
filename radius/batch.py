"""One batch of journal records, put into PostgreSQL in one transaction.

The records' effect and the position in the journal are committed together, so each record counts exactly once,
whatever dies in between. A handful of statements serves thousands of records: what is known is read for all of them
at once, the rules of `radius.sessions` are applied in memory, and the outcome goes back by COPY.

Two nodes may hear the same NAS. A lock for each NAS, taken in the order of their ids, lets one batch after the other
see what the one before has made of a session.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import prometheus_client
import psycopg

from aaa.facts import AccessKind
from core.clock import from_epoch, utc_now
from core.codes import is_concealed
from radius import copy_text, statements
from radius.fair_use import FairUse
from radius.journal import Authentication
from radius.packet import START, Packet, storable
from radius.request import names
from radius.sessions import REBOOT_SLACK, START_SLACK, Book, Key, ServiceFacts, SessionState, Surroundings, same_device
from radius.terms import Grant, parse_class
from radius.usage import Calendar, Usage

HEARD_INTERVAL = 10.0  # seconds; no finer is it written when a NAS was heard
SEEN_DEVICES = 2_000  # unregistered devices kept for an operator
_NAS_LOCK = 7471
_DAY = 86_400.0

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


DECISIONS = prometheus_client.Counter("portico_radius_decisions", "Access-Requests by what was decided", ["outcome"])
RECORDS = prometheus_client.Counter("portico_accounting_records", "Accounting-Requests that were put down")


class Store:
    """Puts batches into one database, over one connection."""

    def __init__(self, connection: Connection, node: str) -> None:
        self._connection = connection
        self._node = node
        self._digits: dict[tuple[int, str], str] = {}
        self._heard: dict[int, float] = {}
        self._operators: dict[int, tuple[str, int]] = {}
        self._calendar = Calendar({})
        self._zones: dict[int, ZoneInfo] = {}
        for statement in statements.TEMPORARY_TABLES:
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
        for event in batch.events:
            DECISIONS.labels(event.outcome).inc()
        RECORDS.inc(len(batch.packets))

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
            map(copy_text.event_line, events),
        )
        self._learn_devices(events)
        self._start_vouchers(events)
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
                statements.LEARNERS, (copy_text.array({service_id for service_id, _ in found}),)
            )
        }
        if not learners:
            return
        self._connection.execute("SELECT FROM service WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (sorted(learners),))
        rooms = {
            service_id: room
            for service_id, _, room in self._connection.execute(statements.LEARNERS, (copy_text.array(learners),))
        }
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

    def _start_vouchers(self, events: Iterable[Authentication]) -> None:
        """Let the clock of vouchers begin with the first accept."""
        accepted = [
            (event.service_id, event.at)
            for event in events
            if event.kind == AccessKind.HOTSPOT and event.outcome == "accept" and is_concealed(event.user_name)
        ]
        if accepted:
            ids, instants = zip(*accepted, strict=True)
            self._connection.execute(statements.START_VOUCHERS, (list(ids), list(instants)))

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
        self._connection.execute(statements.SEEN, [list(column) for column in zip(*rows, strict=True)])
        for operator_id in {operator_id for operator_id, _ in seen}:
            self._connection.execute(statements.FORGET_SEEN, {"operator": operator_id, "most": SEEN_DEVICES})

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
        self._copy(statements.NEW_SESSION, (copy_text.session_line(state) for state in touched if state.id is None))
        changed = [state for state in touched if state.id is not None]
        if changed:
            self._copy("changed_session", map(copy_text.change_line, changed))
            self._connection.execute(statements.CHANGE_SESSIONS)
        vouchers = {
            state.service_id for state in touched if state.service_id is not None and is_concealed(state.user_name)
        }
        if vouchers:
            self._connection.execute(statements.COUNT_VOUCHERS, (copy_text.array(vouchers),))
        self._add_usage(book.usage)
        if came_or_went:
            self._connection.execute(
                "INSERT INTO change_log (kind, ids) VALUES ('sessions', %s::bigint[])",
                (copy_text.array(sorted(came_or_went)),),
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
        self._copy("wanted_session", map(copy_text.key_line, keys))
        rows = self._connection.execute(
            statements.STATES, (from_epoch(earliest - _DAY), from_epoch(latest + _DAY)), binary=True
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
        rows = self._connection.execute(statements.SERVICE_FACTS, (copy_text.array(ids),), binary=True)
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
            self._copy("asking_session", map(copy_text.asking_line, missing))
            rows = self._connection.execute(
                statements.ACCEPTED, (from_epoch(min(packet.at for packet in missing) - 2 * _DAY),), binary=True
            )
            for nas_id, acct_session_id, user_name, service_id, terms_id in rows:
                accepted[nas_id, acct_session_id, user_name] = Grant(service_id, terms_id)
        return accepted

    def _named(self, packets: Sequence[Packet]) -> dict[Key, int]:
        """Find services by the user name, read in the same ways and order as an Access-Request's."""
        lines = [
            f"{number}\t{rank}\t{packet.operator_id}\t{namespace}\t{copy_text.text_value(name)}\n"
            for number, packet in enumerate(packets)
            for rank, (namespace, name) in enumerate(_readings(packet))
        ]
        if not lines:
            return {}
        self._copy("asked_name", lines)
        rows = self._connection.execute(statements.NAMED, binary=True)
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
            self._zones = {operator_id: ZoneInfo(zone) for operator_id, (zone, _) in operators.items()}

    def _close_others(self, book: Book, read_ids: Iterable[int]) -> set[int]:
        """Close the sessions outside the batch that its packets prove to be over; return whose they were."""
        read = copy_text.array(read_ids)
        gone: list[tuple[int | None]] = []
        if book.restarts:
            columns = [list(column) for column in zip(*book.restarts, strict=True)]
            gone += self._connection.execute(statements.CLOSE_RESTARTED, [*columns, read]).fetchall()
        if book.replacements:
            self._copy(
                "replaced_session",
                (f"{service}\t{mac}\t{kind}\t{at!r}\n" for service, mac, kind, at in book.replacements),
            )
            gone += self._connection.execute(statements.CLOSE_REPLACED, (read, START_SLACK)).fetchall()
        for reboot in book.reboots:
            gone += self._connection.execute(
                statements.CLOSE_REBOOTED, {**reboot._asdict(), "read": read, "slack": REBOOT_SLACK}
            ).fetchall()
        return {service_id for (service_id,) in gone if service_id is not None}

    def _add_usage(self, usage: Usage) -> None:
        if not usage.hours:
            return
        fair_use = FairUse(self._connection)
        spans = fair_use.count(usage, self._zones)
        # One order for everybody, so that two loaders never wait for each other in a circle.
        self._copy("grown_hour", map(copy_text.hour_line, sorted(usage.hours.items())))
        self._connection.execute(statements.ADD_HOURS)
        self._copy("grown_period", map(copy_text.period_line, sorted(usage.periods.items())))
        self._connection.execute(statements.ADD_PERIODS)
        capped = fair_use.allow({service_id for service_id, _, _ in usage.hours})
        capped |= fair_use.capped() | fair_use.add_spans(spans, utc_now())
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
            statements.HEARD,
            (ids, [from_epoch(latest[nas_id][0]) for nas_id in ids], [latest[nas_id][1] for nas_id in ids]),
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
