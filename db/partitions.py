"""Time partitions of the high-volume tables, made ahead and dropped when their time is over.

One partition a calendar month or a day (UTC), named `table_2027_03` or `table_2027_03_14`; what falls outside lands in
`table_default`, which is normally empty and only keeps a row with an impossible time from being lost.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum

from sqlalchemy import Connection, text


class Step(Enum):
    """How long a partition is."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a table is cut: by which column, and how many partitions there are around today.

    Partitions that ended more than `keep` ago are dropped; None keeps them all.
    """

    column: str
    step: Step = Step.MONTH
    ahead: int = 3
    behind: int = 0
    keep: timedelta | None = None


PARTITIONED = {
    # Behind: sessions started before the installation, which are still open on a router.
    "session": Partitioning("started_at", behind=2),
    "usage_hour": Partitioning("hour", behind=2),
    "auth_event": Partitioning("at", behind=2),
    "router_sample": Partitioning("at", Step.DAY, keep=timedelta(days=1)),
    "interface_sample": Partitioning("at", Step.DAY, keep=timedelta(days=1)),
    "router_sample_5m": Partitioning("at", Step.DAY, keep=timedelta(days=7)),
    "interface_sample_5m": Partitioning("at", Step.DAY, keep=timedelta(days=7)),
    "router_sample_1h": Partitioning("at", ahead=2, keep=timedelta(days=731)),
    "interface_sample_1h": Partitioning("at", ahead=2, keep=timedelta(days=731)),
}


def ensure_partitions(connection: Connection, now: datetime) -> list[str]:
    """Create the partitions around `now` that are missing and return their names."""
    today = now.astimezone(UTC).date()
    made = []
    for table, cut in PARTITIONED.items():
        for number in range(-cut.behind, cut.ahead + 1):
            begin = _begin(today, cut.step, number)
            name = _name(table, cut.step, begin)
            if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
                _create(connection, table, name, begin, _begin(begin, cut.step, 1))
                made.append(name)
    return made


def drop_expired(connection: Connection, now: datetime) -> list[str]:
    """Drop the partitions whose time is over and return their names."""
    dropped = []
    for table, cut in PARTITIONED.items():
        if cut.keep is None:
            continue
        for name in connection.scalars(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)"),
            {"table": table},
        ).all():
            begin = _begin_of(name, table, cut.step)
            if begin is not None and _midnight(_begin(begin, cut.step, 1)) <= now - cut.keep:
                connection.execute(text(f"DROP TABLE {name}"))
                dropped.append(name)
        connection.execute(
            text(f"DELETE FROM {table}_default WHERE {cut.column} < :kept"),  # noqa: S608
            {"kept": now - cut.keep},
        )
    return dropped


def _create(connection: Connection, table: str, name: str, begin: date, end: date) -> None:
    """Create one partition, moving rows that waited for it in the default partition."""
    column = PARTITIONED[table].column
    default = f"{table}_default"
    bounds = {"begin": _midnight(begin), "end": _midnight(end)}
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


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _name(table: str, step: Step, begin: date) -> str:
    return f"{table}_{begin:%Y_%m_%d}" if step is Step.DAY else f"{table}_{begin:%Y_%m}"


def _begin_of(name: str, table: str, step: Step) -> date | None:
    """Return the first day of a partition by its name; None for the default one."""
    form = "%Y_%m_%d" if step is Step.DAY else "%Y_%m"
    try:
        return datetime.strptime(name.removeprefix(f"{table}_"), form).replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _begin(day: date, step: Step, offset: int) -> date:
    """Return the first day of the partition that `day` falls into, or of one that many further on."""
    if step is Step.DAY:
        return day + timedelta(days=offset)
    years, month0 = divmod(day.month - 1 + offset, 12)
    return date(day.year + years, month0 + 1, 1)
