"""Time partitions of the high-volume tables, made ahead and dropped when their time is over.

One partition a calendar month (UTC), named `table_2027_03`; what falls outside lands in `table_default`, which is
normally empty and only keeps a packet with an impossible time from being lost.
"""

from datetime import UTC, date, datetime

from sqlalchemy import Connection, text

PARTITIONED = {"session": "started_at", "usage_hour": "hour", "auth_event": "at"}
MONTHS_AHEAD = 3
MONTHS_BEHIND = 2  # sessions started before the installation, which are still open on a router


def ensure_partitions(connection: Connection, now: datetime) -> list[str]:
    """Create the partitions around `now` that are missing and return their names."""
    first = _month(now.astimezone(UTC).date(), -MONTHS_BEHIND)
    made = []
    for table in PARTITIONED:
        for number in range(MONTHS_BEHIND + MONTHS_AHEAD + 1):
            begin = _month(first, number)
            name = f"{table}_{begin:%Y_%m}"
            if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
                _create(connection, table, name, begin, _month(begin, 1))
                made.append(name)
    return made


def _create(connection: Connection, table: str, name: str, begin: date, end: date) -> None:
    """Create one partition, moving rows that waited for it in the default partition."""
    column = PARTITIONED[table]
    default = f"{table}_default"
    bounds = {
        "begin": datetime(begin.year, begin.month, 1, tzinfo=UTC),
        "end": datetime(end.year, end.month, 1, tzinfo=UTC),
    }
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {default} WHERE {column} >= :begin AND {column} < :end RETURNING *)"  # noqa: S608
            f" INSERT INTO {name} SELECT * FROM moved"
        ),
        bounds,
    )
    connection.execute(
        text(
            f"ALTER TABLE {table} ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{bounds['begin'].isoformat()}') TO ('{bounds['end'].isoformat()}')"
        )
    )
    connection.execute(text(f"ALTER TABLE {name} SET (fillfactor = 80)"))


def _month(day: date, offset: int) -> date:
    years, month0 = divmod(day.month - 1 + offset, 12)
    return date(day.year + years, month0 + 1, 1)
