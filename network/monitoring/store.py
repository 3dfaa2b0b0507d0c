"""What a round of polls writes: samples, the state of each router, and the devices that wait to be let in.

All in one transaction and in a few statements, so that a thousand routers a minute cost PostgreSQL little. Written
again it changes nothing: a minute's sample replaces itself.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from db.models import RouterSample
from network.monitoring.poll import Device
from network.monitoring.sample import Reading, Sample
from network.monitoring.states import Standing
from network.problems import NO_WAY, Cause

MOST_WAITING = 500
_MEASURES = ("cpu", "memory", "temperature", "wan_download", "wan_upload", "authenticated", "waiting")
_COUNTS = ("radius_requests", "radius_rejects", "radius_timeouts", "radius_bad_replies")


@dataclass(frozen=True, slots=True)
class Polled:
    """The outcome of one poll. `reading` and `sample` are None when it failed, for which `detail` has the words.

    `waiting` is None when the devices are as they were.
    """

    nas_id: int
    operator_id: int
    at: datetime
    standing: Standing
    reading: Reading | None = None
    sample: Sample | None = None
    serial: str | None = None
    waiting: tuple[Device, ...] | None = None
    detail: str = ""
    fingerprint: str | None = None  # of the certificate shown


def store(connection: psycopg.Connection[Any], polled: Sequence[Polled]) -> None:
    """Write the outcomes; those of a router that was removed meanwhile are dropped. Commits."""
    with connection.transaction():
        there = {
            row[0]
            for row in connection.execute(
                "SELECT nas_id FROM router WHERE nas_id = ANY (%s) FOR KEY SHARE", ([one.nas_id for one in polled],)
            )
        }
        kept = [one for one in polled if one.nas_id in there]
        with connection.cursor() as cursor:
            cursor.executemany(_SAMPLE, [_sample_row(one) for one in kept])
            interfaces = [row for one in kept for row in _interface_rows(one)]
            if interfaces:
                cursor.executemany(_INTERFACE, interfaces)
            dark = [one.nas_id for one in kept if one.standing.cause in NO_WAY]
            down = {row[0] for row in connection.execute(_TUNNELS_DOWN, (dark,))} if dark else frozenset()
            cursor.executemany(_STATE, [_state_row(one, one.nas_id in down) for one in kept])
            # The first certificate seen is remembered, so that the password goes to no other box from then on.
            cursor.executemany(_PIN, [(one.fingerprint, one.nas_id) for one in kept if one.fingerprint is not None])
            for one in kept:
                if one.waiting is not None:
                    _store_waiting(cursor, one, one.waiting[:MOST_WAITING])


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


_POLLS = ("polls", "answered")
_NAMES = [column.name for column in RouterSample.__table__.columns]
_SAMPLE = (
    f"INSERT INTO router_sample ({', '.join(_NAMES)}) VALUES ({', '.join(f'%({name})s' for name in _NAMES)})"  # noqa: S608
    " ON CONFLICT (nas_id, at) DO UPDATE SET"
    # Two polls in one minute: the one that answered is the sample.
    f" {', '.join(f'{n} = coalesce(excluded.{n}, router_sample.{n})' for n in _NAMES if n not in _POLLS)},"
    " polls = router_sample.polls + excluded.polls, answered = router_sample.answered + excluded.answered"
)
_INTERFACE = """
INSERT INTO interface_sample (nas_id, interface, at, operator_id, received, received_max, sent, sent_max)
VALUES (%(nas_id)s, %(interface)s, %(at)s, %(operator_id)s, %(received)s, %(received)s, %(sent)s, %(sent)s)
ON CONFLICT (nas_id, interface, at) DO UPDATE
SET received = excluded.received, received_max = greatest(interface_sample.received_max, excluded.received_max),
    sent = excluded.sent, sent_max = greatest(interface_sample.sent_max, excluded.sent_max)
"""
_STATE = """
INSERT INTO router_state (nas_id, operator_id, status, cause, detail, status_since, checked_at, identity, version,
    board, serial, facts)
VALUES (%(nas_id)s, %(operator_id)s, %(status)s, %(cause)s, %(detail)s, %(since)s, %(at)s, coalesce(%(identity)s, ''),
    coalesce(%(version)s, ''), coalesce(%(board)s, ''), coalesce(%(serial)s, ''), coalesce(%(facts)s::jsonb, '{}'))
ON CONFLICT (nas_id) DO UPDATE
SET status = excluded.status, cause = excluded.cause, detail = excluded.detail,
    status_since = CASE WHEN router_state.status = excluded.status THEN router_state.status_since
                   ELSE excluded.status_since END,
    checked_at = excluded.checked_at,
    identity = coalesce(%(identity)s, router_state.identity), version = coalesce(%(version)s, router_state.version),
    board = coalesce(%(board)s, router_state.board), serial = coalesce(%(serial)s, router_state.serial),
    facts = router_state.facts || coalesce(%(facts)s::jsonb, '{}') || %(always)s::jsonb
"""
_TUNNELS_DOWN = """
SELECT p.nas_id FROM vpn_peer p JOIN nas n ON n.id = p.nas_id JOIN router r ON r.nas_id = n.id
LEFT JOIN vpn_peer_state s ON s.peer_id = p.id
WHERE p.nas_id = ANY (%s) AND coalesce(r.api_address, n.address) = p.address AND s.connected_since IS NULL
"""
_PIN = "UPDATE router SET api_fingerprint = %s WHERE nas_id = %s AND api_tls AND api_fingerprint IS NULL"
_WAITING = """
INSERT INTO waiting_device (nas_id, operator_id, mac, address, source, server, host_name, first_seen_at)
VALUES (%(nas_id)s, %(operator_id)s, %(mac)s, %(address)s, %(source)s, %(server)s, %(host_name)s, %(at)s)
ON CONFLICT (nas_id, mac) DO UPDATE
SET address = excluded.address, source = excluded.source, server = excluded.server, host_name = excluded.host_name
"""


def _sample_row(one: Polled) -> dict[str, Any]:
    row: dict[str, Any] = {"nas_id": one.nas_id, "operator_id": one.operator_id, "at": _minute(one.at), "polls": 1}
    row["answered"] = int(one.sample is not None)
    for name in _MEASURES:
        row[name] = row[f"{name}_max"] = getattr(one.sample, name, None)
    return row | {name: getattr(one.sample, name, None) for name in _COUNTS}


def _interface_rows(one: Polled) -> list[dict[str, Any]]:
    if one.sample is None:
        return []
    return [
        {
            "nas_id": one.nas_id,
            "interface": name.replace("\0", ""),
            "at": _minute(one.at),
            "operator_id": one.operator_id,
            "received": rate.received,
            "sent": rate.sent,
        }
        for name, rate in one.sample.interfaces.items()
    ]


def _state_row(one: Polled, tunnel_down: bool) -> dict[str, Any]:
    standing, reading, sample = one.standing, one.reading, one.sample
    cause = Cause.VPN if tunnel_down else standing.cause
    facts = None
    if reading is not None and sample is not None:
        facts = {
            "uptime": int(reading.uptime.total_seconds()) if reading.uptime is not None else None,
            "cpu": sample.cpu,
            "memory": sample.memory,
            "memory_total": reading.memory_total,
            "temperature": sample.temperature,
            "wan_download": sample.wan_download,
            "wan_upload": sample.wan_upload,
            "authenticated": sample.authenticated,
            "waiting": sample.waiting,
            "interfaces": {name.replace("\0", ""): None for name in reading.interfaces}
            | {name.replace("\0", ""): [round(r.received), round(r.sent)] for name, r in sample.interfaces.items()},
        }
    clean = {
        name: getattr(reading, name).replace("\0", "")[:200] if reading is not None else None
        for name in ("identity", "version", "board")
    }
    return {
        "nas_id": one.nas_id,
        "operator_id": one.operator_id,
        "status": standing.status,
        "cause": str(cause) if cause is not None else "",
        "detail": one.detail.replace("\0", "")[:500] if standing.status != "online" else "",
        "since": standing.since or one.at,
        "at": one.at,
        **clean,
        "serial": one.serial,
        "facts": Jsonb(facts) if facts is not None else None,
        "always": Jsonb({"times_down": len(standing.went_down)}),
    }


def _store_waiting(cursor: psycopg.Cursor[Any], one: Polled, devices: Sequence[Device]) -> None:
    cursor.execute(
        "DELETE FROM waiting_device WHERE nas_id = %s AND mac <> ALL (%s::macaddr[])",
        (one.nas_id, [device.mac for device in devices]),
    )
    if devices:
        cursor.executemany(
            _WAITING,
            [
                {
                    "nas_id": one.nas_id,
                    "operator_id": one.operator_id,
                    "mac": device.mac,
                    "address": _address(device.address),
                    "source": device.source,
                    "server": device.server.replace("\0", ""),
                    "host_name": device.host_name.replace("\0", ""),
                    "at": one.at,
                }
                for device in devices
            ],
        )


def _address(text: str | None) -> str | None:
    """Return an address that PostgreSQL will take; a router may send anything."""
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None
