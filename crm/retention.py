"""Retention: how long what is known about people is kept, and deleting it when its time is over.

Each operator says for each kind of row after how many days it goes; without a rule it stays. Books stay whatever the
rules say: invoices, payments, the ledger and the sums that graphs and caps are made of (`usage_hour`, `usage_period`).
So does the audit log, each of whose entries is proven by the one before it. Rows of a subscriber under a legal hold
stay until the hold is lifted.

Deleting never makes a writer wait. Rows go by some thousands in a transaction of their own, those that somebody holds
are passed over until the next night, and a run that was killed is gone on with. Where nothing in a month's partition is
to be kept for anybody, the partition is dropped whole; the lock that this needs is waited for a quarter of a second.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import RetentionHold, RetentionRule, RetentionRun, Service, Subscriber

BATCH = 5_000
LOCK_WAIT = "250ms"
"""That dropping a partition waits for writers. They wait for nobody: whoever comes behind this gives way by then."""
CHECK_WAIT = "5s"
"""That writers of one old month may have to wait while it is looked through once more."""
MOST_DAYS = 3_660


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that go together. `at` is the column that tells their age, `over` what must be true of a row to go.

    `about` is the column by which a legal hold is found: `service_id` or `subscriber_id`; empty for rows about nobody.
    `least` is the fewest days that make sense: what billing, support and the graphs still look at.
    """

    name: str
    table: str
    at: str
    about: str = ""
    over: str = "true"
    least: int = 7
    partitioned: bool = False


_WITH_FILES = frozenset(("ticket_file", "notification"))
"""Tables whose rows have a file of their own, which goes with them."""

# What a voucher has used is summed up from its sessions for as long as somebody may use it.
_NO_LIVE_VOUCHER = (
    "NOT EXISTS (SELECT FROM service WHERE service.id = t.service_id AND service.access_method = 'voucher'"
    " AND service.state <> 'terminated')"
)
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "sessions", "session", "started_at", "service_id",
            f"t.ended_at IS NOT NULL AND t.ended_at < {{before}} AND {_NO_LIVE_VOUCHER}", 62, partitioned=True,
        ),
        Kind("auth_events", "auth_event", "at", "service_id", partitioned=True),
        Kind("messages", "notification", "created_at", "subscriber_id", "t.state NOT IN ('waiting', 'by_hand')", 30),
        Kind(
            "webhooks", "webhook_event", "created_at", "subscriber_id",
            "NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.event_id = t.id AND d.state = 'waiting')",
        ),
        Kind("circuit_tests", "circuit_test", "started_at", "service_id", "t.finished_at IS NOT NULL"),
        Kind("shadow_events", "shadow_event", "at", "service_id"),
        Kind("devices", "seen_device", "last_seen_at"),
        Kind(
            "ticket_files", "ticket_file", "", "",
            # Of a file only the ticket knows how old it is, and whose.
            "EXISTS (SELECT FROM ticket_entry e JOIN ticket k ON k.id = e.ticket_id WHERE e.id = t.entry_id"
            " AND k.state = 'closed' AND k.closed_at < {before}"
            " AND (k.subscriber_id IS NULL OR k.subscriber_id <> ALL ({held})))",
            30,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would delete now: how many rows, out of how many partitions, and when the oldest is from."""

    rows: int
    partitions: int
    oldest: datetime | None


# Rules.


def rules_of(session: Session, operator_id: int) -> dict[str, int]:
    """Return the days of each kind that has a rule."""
    query = select(RetentionRule.kind, RetentionRule.days).where(RetentionRule.operator_id == operator_id)
    return {kind: days for kind, days in session.execute(query) if kind in KINDS}


def set_rules(session: Session, actor: Actor, wanted: Mapping[str, int | None]) -> None:
    """Set how many days each kind is kept; None keeps it for good. Raises Invalid, by the kind as field."""
    problems = []
    for name, days in wanted.items():
        kind = KINDS.get(name)
        if kind is None:
            problems.append(FieldProblem(name, Problem.UNKNOWN_CHOICE))
        elif days is not None and not kind.least <= days <= MOST_DAYS:
            span = {"low": str(kind.least), "high": str(MOST_DAYS)}
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, span))
    if problems:
        raise Invalid(*problems)
    before: dict[str, int | None] = dict(rules_of(session, actor.operator_id))
    after = {**before, **wanted}
    for name, days in wanted.items():
        if days == before.get(name):
            continue
        if days is None:
            rule = session.get_one(RetentionRule, (actor.operator_id, name))
            session.delete(rule)
        else:
            row = insert(RetentionRule).values(operator_id=actor.operator_id, kind=name, days=days)
            session.execute(
                row.on_conflict_do_update(index_elements=["operator_id", "kind"], set_={"days": row.excluded.days})
            )
    session.flush()
    said = {name: before.get(name) for name in after}
    record(session, actor, "retention.rules", "retention", None, said, after)


def preview(session: Session, operator_id: int, kind: Kind, before: datetime) -> Preview:
    """Return what would go of a kind if everything before an instant went."""
    held = held_ids(session, operator_id)
    count = "count(DISTINCT t.tableoid)" if kind.partitioned else "1"
    oldest = f"min(t.{kind.at})" if kind.at else "NULL::timestamptz"
    where = _going(kind, ":before", "CAST(:held AS bigint[])")
    row = session.execute(
        text(f"SELECT count(*), {count}, {oldest} FROM {kind.table} t WHERE t.operator_id = :operator AND {where}"),  # noqa: S608
        {"operator": operator_id, "before": before, "held": held[kind.about or "subscriber_id"]},
    ).one()
    return Preview(row[0], row[1] if row[0] else 0, row[2])


# Legal holds.


def hold(session: Session, actor: Actor, subscriber: Subscriber, reason: str) -> RetentionHold:
    """Forbid that anything about a subscriber is deleted. Raises Invalid."""
    reason = " ".join(reason.split())
    if not reason:
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 300:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "300"}))
    if standing_hold(session, subscriber.id) is not None:
        raise Invalid(FieldProblem("reason", Problem.ALREADY_DONE))
    made = RetentionHold(
        operator_id=actor.operator_id, subscriber_id=subscriber.id, reason=reason, author=actor.name
    )  # fmt: skip
    session.add(made)
    session.flush()
    record(session, actor, "subscriber.hold", "subscriber", subscriber.id, None, {"reason": reason})
    return made


def lift(session: Session, actor: Actor, standing: RetentionHold, now: datetime) -> None:
    """End a legal hold; what is too old goes the next night."""
    if standing.lifted_at is not None:
        return
    standing.lifted_at, standing.lifted_by = now, actor.name
    session.flush()
    said = {"reason": standing.reason}
    record(session, actor, "subscriber.hold_lifted", "subscriber", standing.subscriber_id, said, None)


def standing_hold(session: Session, subscriber_id: int) -> RetentionHold | None:
    return session.scalar(
        select(RetentionHold).where(RetentionHold.subscriber_id == subscriber_id, RetentionHold.lifted_at.is_(None))
    )


def is_held(subscriber_id: Any) -> ColumnElement[bool]:
    """Return the condition that a legal hold protects the subscriber whose id stands in a column."""
    standing = select(RetentionHold.subscriber_id).where(RetentionHold.lifted_at.is_(None))
    return standing.where(RetentionHold.subscriber_id == subscriber_id).exists()


def held_ids(session: Session | Connection, operator_id: int) -> dict[str, list[int]]:
    """Return whom legal holds protect, as subscribers and as their services."""
    standing = select(RetentionHold.subscriber_id).where(
        RetentionHold.operator_id == operator_id, RetentionHold.lifted_at.is_(None)
    )
    services = select(Service.id).where(Service.operator_id == operator_id, Service.subscriber_id.in_(standing))
    return {
        "subscriber_id": list(session.scalars(standing)),
        "service_id": list(session.scalars(services)),
    }


# Runs. For sessions that see the rows of all operators.


def begin_run(session: Session, operator_id: int, kind: Kind, days: int, now: datetime) -> RetentionRun:
    """Return the run to do: the one that was interrupted, else a new one that deletes what is older than the days."""
    query = select(RetentionRun).where(
        RetentionRun.operator_id == operator_id, RetentionRun.kind == kind.name, RetentionRun.ended_at.is_(None)
    )
    run = session.scalar(query)
    if run is None:
        run = RetentionRun(
            operator_id=operator_id, kind=kind.name, before=now - timedelta(days=days), began_at=now, removed=0,
            partitions=0,
        )  # fmt: skip
        session.add(run)
        session.flush()
    # Whoever allowed it longer since, or forbade it, meant what is left of an interrupted run, too.
    run.before = min(run.before, now - timedelta(days=days))
    session.flush()
    return run


def delete_batches(sessions: sessionmaker[Session], run_id: int, *, batch: int = BATCH) -> Iterator[int]:
    """Delete what a run is to delete, a batch in a transaction, and yield the size of each after its commit."""
    with sessions() as session:
        run = session.get_one(RetentionRun, run_id)
        kind = KINDS[run.kind]
        tables = _parts(session, kind) if kind.partitioned else [kind.table]
    for table in tables:
        while True:
            with sessions() as session:
                held = held_ids(session, run.operator_id)  # read anew: a hold counts from its commit on
                values = {
                    "operator": run.operator_id, "before": run.before, "most": batch,
                    "held": held[kind.about or "subscriber_id"],
                }  # fmt: skip
                count = session.execute(text(_delete(kind, table)), values).scalar_one()
                session.execute(
                    update(RetentionRun).where(RetentionRun.id == run_id).values(removed=RetentionRun.removed + count)
                )
                session.commit()
            if count:
                yield count
            if count < batch:
                break


def end_run(session: Session, run_id: int, now: datetime) -> RetentionRun:
    """Close a run, and tell the audit log what went."""
    run = session.get_one(RetentionRun, run_id, populate_existing=True)
    run.ended_at = now
    session.flush()
    if run.removed:
        told = {"kind": run.kind, "before": run.before, "removed": run.removed, "partitions": run.partitions}
        record(session, Actor(run.operator_id, "worker"), "retention.run", "retention", run.id, None, told)
    return run


def drop_partitions(owner: Engine, kind: Kind, runs: Sequence[RetentionRun]) -> list[str]:
    """Drop each partition of which nothing is kept by anybody, count its rows to the runs, and return their names.

    `owner` connects as the owner of the tables. What cannot be locked at once is left to the batches.
    """
    if not runs:
        return []
    latest = max(run.before for run in runs)
    with owner.connect() as connection:
        names = [name for name in _parts(connection, kind) if (end := _end(name)) is not None and end <= latest]
    return [name for name in names if _drop(owner, kind, name, runs)]


def _drop(owner: Engine, kind: Kind, name: str, runs: Sequence[RetentionRun]) -> bool:
    with owner.connect() as connection:
        rules = [
            {
                "operator_id": run.operator_id,
                "before": run.before.isoformat(),
                "held": held_ids(connection, run.operator_id)[kind.about],
            }
            for run in runs
        ]
        where = {"rules": json.dumps(rules)}
        keeps = text(_keeps(kind, name))
        if connection.scalar(keeps, where):  # looked through without a lock first: nearly always this says it all
            return False
        connection.rollback()
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
            connection.execute(text(f"SET LOCAL statement_timeout = '{CHECK_WAIT}'"))
            # Whoever writes into this old month waits now, everybody else goes on; then it is looked through again.
            connection.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))
            if connection.scalar(keeps, where):
                return False
            counts = connection.execute(text(f"SELECT operator_id, count(*) FROM {name} GROUP BY operator_id"))  # noqa: S608
            for operator_id, count in counts.all():
                run = next(run.id for run in runs if run.operator_id == operator_id)
                connection.execute(
                    update(RetentionRun)
                    .where(RetentionRun.id == run)
                    .values(removed=RetentionRun.removed + count, partitions=RetentionRun.partitions + 1)
                )
            connection.execute(text(f"DROP TABLE {name}"))
            connection.commit()
        except OperationalError:  # a writer was there, the check took too long, or a deadlock was found
            connection.rollback()
            return False
    return True


def _going(kind: Kind, before: str, held: str) -> str:
    """Return the condition under which a row `t` is deleted."""
    conditions = [kind.over.format(before=before, held=held)]
    if kind.at:
        conditions.insert(0, f"t.{kind.at} < {before}")
    if kind.about:
        conditions.append(f"(t.{kind.about} IS NULL OR t.{kind.about} <> ALL ({held}))")
    return " AND ".join(conditions)


def _keeps(kind: Kind, partition: str) -> str:
    return (
        f"SELECT EXISTS (SELECT FROM {partition} t"  # noqa: S608
        " LEFT JOIN json_to_recordset(CAST(:rules AS json)) AS r(operator_id bigint, before timestamptz, held bigint[])"
        " ON r.operator_id = t.operator_id"
        f" WHERE r.operator_id IS NULL OR NOT ({_going(kind, 'r.before', 'r.held')}))"
    )


def _delete(kind: Kind, table: str) -> str:
    going = _going(kind, ":before", "CAST(:held AS bigint[])")
    chosen = (
        f"SELECT t.ctid FROM {table} t WHERE t.operator_id = :operator AND {going}"  # noqa: S608
        " LIMIT :most FOR UPDATE OF t SKIP LOCKED"
    )
    deleted = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({chosen})) RETURNING"  # noqa: S608
    if kind.table not in _WITH_FILES:
        return f"WITH gone AS ({deleted} 1) SELECT count(*) FROM gone"  # noqa: S608
    return (
        f"WITH gone AS ({deleted} file_id), files AS (DELETE FROM stored_file WHERE id IN (SELECT file_id FROM gone))"  # noqa: S608
        " SELECT count(*) FROM gone"
    )


def _parts(session: Session | Connection, kind: Kind) -> list[str]:
    """Return the partitions of a table, the oldest first; the default one comes last."""
    query = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table) ORDER BY 1")
    return list(session.scalars(query, {"table": kind.table}))


def _end(partition: str) -> datetime | None:
    """Return the instant at which a month's partition ends, by its name; None for the default one."""
    found = re.search(r"_(\d{4})_(\d{2})\Z", partition)
    if found is None:
        return None
    years, month0 = divmod(int(found[2]), 12)
    return datetime(int(found[1]) + years, month0 + 1, 1, tzinfo=UTC)


def last_runs(session: Session, operator_id: int) -> dict[str, RetentionRun]:
    """Return the latest run of each kind."""
    latest = (
        select(func.max(RetentionRun.id)).where(RetentionRun.operator_id == operator_id).group_by(RetentionRun.kind)
    )
    query = select(RetentionRun).where(RetentionRun.id.in_(latest))
    return {run.kind: run for run in session.scalars(query)}
