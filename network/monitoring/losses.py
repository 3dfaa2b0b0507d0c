"""Which sessions are up, which ended since the last look, and which of those ended together.

The open sessions are read every few seconds (an index holds just them); one that was there and is not has ended, and
only then is it asked how. So nothing needs an index over the end of millions of sessions that are long over.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from network.monitoring.outage import (
    GATHERING,
    Ended,
    Gathering,
    Outage,
    find_gatherings,
    find_outages,
    was_lost,
)
from network.monitoring.poll import Known

REMEMBERED = timedelta(minutes=3)
_OPEN = """
SELECT session.id, session.mac::text, host(session.framed_ip), session.started_at, session.operator_id, session.nas_id,
       session.nas_port_id, session.service_id, session.user_name, sector.id, sector.site_id
FROM session LEFT JOIN service ON service.id = session.service_id LEFT JOIN sector ON sector.id = service.sector_id
WHERE session.ended_at IS NULL
"""
_ENDED = """
SELECT s.id, s.ended_at, s.terminate_cause, s.ended_by
FROM unnest(%s::bigint[], %s::timestamptz[]) AS gone (id, started_at)
JOIN session s ON s.id = gone.id AND s.started_at = gone.started_at
WHERE s.ended_at IS NOT NULL
"""
_QUEUES = "SELECT operator_id, host(framed_ip) FROM service WHERE access_method = 'queue' AND state <> 'terminated'"


@dataclass(frozen=True, slots=True)
class _Up:
    started_at: datetime
    operator_id: int
    nas_id: int
    sector: str
    service_id: int | None
    user_name: str
    sector_id: int | None
    site_id: int | None


class Losses:
    """Looks at the open sessions again and again. One at a time, and of one installation."""

    def __init__(self) -> None:
        self._up: dict[int, _Up] | None = None
        self._lost: list[tuple[datetime, Ended]] = []
        self._few: list[tuple[datetime, Ended]] = []
        self.gatherings: list[Gathering] = []
        """Of the last look: what a person should be asked about."""
        self.known: Mapping[int, Known] = {}
        """By NAS, the devices whose sessions are open there."""
        self.addresses: Mapping[int, frozenset[str]] = {}
        """By operator, the addresses of services that have no sessions (queues)."""

    def look(self, connection: psycopg.Connection[Any], now: datetime) -> list[Outage]:
        """Read the open sessions and return the outages that have shown since the last look."""
        up: dict[int, _Up] = {}
        macs: dict[int, set[str]] = defaultdict(set)
        addresses: dict[int, set[str]] = defaultdict(set)
        with connection.transaction(), connection.cursor() as cursor:
            for number, mac, address, *rest in cursor.execute(_OPEN):
                up[number] = _Up(*rest)
                nas_id = up[number].nas_id
                if mac:
                    macs[nas_id].add(mac)
                if address:
                    addresses[nas_id].add(address)
            queues: dict[int, set[str]] = defaultdict(set)
            for operator_id, address in cursor.execute(_QUEUES):
                if address:
                    queues[operator_id].add(address)
            self._note_lost(cursor, up, now)
        self._up = up
        self.known = {
            nas_id: Known(frozenset(macs.get(nas_id, ())), frozenset(addresses.get(nas_id, ())))
            for nas_id in macs.keys() | addresses.keys()
        }
        self.addresses = {operator_id: frozenset(found) for operator_id, found in queues.items()}
        counts = Counter((one.nas_id, one.sector) for one in up.values())
        outages = find_outages([ended for _noticed, ended in self._lost], counts)
        told = {member.session_id for outage in outages for member in outage.members}
        self._lost = [one for one in self._lost if one[1].session_id not in told and one[0] > now - REMEMBERED]
        back = {one.service_id for one in up.values()}
        self._few = [
            (noticed, one)
            for noticed, one in self._few
            if one.session_id not in told and one.service_id not in back and noticed > now - GATHERING - REMEMBERED
        ]
        places = Counter(
            (one.site_id, one.sector_id) for one in up.values() if one.site_id is not None and one.sector_id is not None
        )
        self.gatherings = find_gatherings([one for _noticed, one in self._few], places)
        return outages

    def _note_lost(self, cursor: psycopg.Cursor[Any], up: Mapping[int, _Up], now: datetime) -> None:
        gone = {number: one for number, one in (self._up or {}).items() if number not in up}
        if not gone:
            return
        rows = cursor.execute(_ENDED, (list(gone), [one.started_at for one in gone.values()])).fetchall()
        for number, ended_at, cause, ended_by in rows:
            one = gone[number]
            if was_lost(cause, ended_by):
                # A session given up as stale ended whenever it was last heard; together is when they were given up.
                at = now if ended_by == "stale" else ended_at
                ended = Ended(
                    number, one.operator_id, one.nas_id, one.sector, one.service_id, one.user_name, at,
                    cause or ended_by or "", one.sector_id, one.site_id,
                )  # fmt: skip
                self._lost.append((now, ended))
                if one.service_id is not None and one.sector_id is not None:
                    self._few.append((now, ended))
