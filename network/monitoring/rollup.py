"""Rolling minutes up into spans of five minutes and of an hour.

Both are made from the minutes themselves, so an average of an hour is that of its minutes and not of averages, and a
maximum that of its minutes. A span in which nothing was measured gets no row. Running it twice changes nothing: the
spans since the position are computed anew, from the last one on that may have been incomplete.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from db.models import InterfaceSample5m, RouterSample5m

SPANS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1)}
SETTLED = timedelta(seconds=90)
"""A minute is complete after this: a poll may take long, and its sample waits a little to be written."""
KEPT = timedelta(days=1)
"""How far back there are minutes to roll up."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_COUNTED = ("polls", "answered", "radius_requests", "radius_rejects", "radius_timeouts", "radius_bad_replies")
_TABLES = {
    "router_sample": (("nas_id",), RouterSample5m),
    "interface_sample": (("nas_id", "interface"), InterfaceSample5m),
}


def roll_up(connection: psycopg.Connection[Any], now: datetime) -> int:
    """Bring all spans up to date and return how many rows were written. Commits; one caller at a time does the work.

    `connection` must be in autocommit mode.
    """
    written = 0
    for name, length in SPANS.items():
        with connection.transaction():
            position = connection.execute(
                "INSERT INTO rollup_position (name, until) VALUES (%s, %s) ON CONFLICT (name)"
                " DO UPDATE SET name = excluded.name RETURNING until",
                (name, now - KEPT),
            ).fetchone()
            assert position is not None
            # Spans that are over; those begun before the position may have been short of a late minute.
            begin = _floor(max(position[0], now - KEPT), length) - length
            end = _floor(now - SETTLED, length)
            if end <= begin + length:
                continue
            for table in _TABLES:
                written += connection.execute(_statement(table, name), (length, begin, end)).rowcount
            connection.execute("UPDATE rollup_position SET until = %s WHERE name = %s", (end, name))
    return written


def _floor(instant: datetime, length: timedelta) -> datetime:
    return instant - (instant - _BEGINNING) % length


def _statement(table: str, span: str) -> str:
    keys, model = _TABLES[table]
    measures = [column.name for column in model.__table__.columns if column.name not in (*keys, "at", "operator_id")]
    computed = {name: _aggregate(name) for name in measures}
    names = ", ".join((*keys, "at", "operator_id", *computed))
    key = ", ".join(keys)
    return (
        f"INSERT INTO {table}_{span} ({names})"  # noqa: S608 - constants
        f" SELECT {key}, date_bin(%s, at, '2000-01-01Z') AS span, max(operator_id), {', '.join(computed.values())}"
        f" FROM {table} WHERE at >= %s AND at < %s GROUP BY {key}, span"
        f" ON CONFLICT ({key}, at) DO UPDATE SET"
        f" {', '.join(f'{name} = excluded.{name}' for name in computed)}"
    )


def _aggregate(name: str) -> str:
    if name in _COUNTED:
        return f"sum({name})"
    return f"max({name})" if name.endswith("_max") else f"avg({name})"
