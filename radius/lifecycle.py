"""Suspending who is overdue and restoring who has paid, with an entry in the audit log for each.

Suspending runs on a timer. Restoring also runs with every change of a service, before the decision is computed, so
that a payment puts the subscriber back on in the same breath.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from aaa.dunning import OVERDUE, DunningStep, dunning_step
from aaa.facts import Service
from radius.facts import Connection, FactsReader

ACTOR = "worker"
CHUNK = 500
"""Services suspended in one transaction: audit entries of one operator are written one after the other, and staff who
save something meanwhile wait for that."""


def suspend_overdue(connection: Connection, now: datetime) -> int:
    """Suspend every service whose paid-until date and grace have passed; return how many.

    `connection` must be in autocommit mode: each chunk commits by itself.
    """
    # Somewhere it is already tomorrow; the rule itself is asked for each service in its operator's zone.
    latest = (now.astimezone(UTC) + timedelta(days=1)).date()
    suspended, after = 0, 0
    while True:
        with connection.transaction():
            rows = connection.execute(
                "SELECT id FROM service WHERE management = 'automatic' AND state = 'active' AND paid_until < %s"
                " AND id > %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
                (latest, after, CHUNK),
            ).fetchall()
            if not rows:
                return suspended
            after = rows[-1][0]
            due = _due(connection, [row[0] for row in rows], now, DunningStep.SUSPEND)
            _suspend(connection, due)
            suspended += len(due)


def restore_paid(connection: Connection, services: Iterable[int], now: datetime) -> int:
    """Restore those of the services that were cut for being overdue and are paid for now; return how many."""
    rows = connection.execute(
        "SELECT id FROM service WHERE id = ANY(%s) AND management = 'automatic' AND state = 'suspended'"
        " AND suspension_cause = %s AND paid_until IS NOT NULL FOR UPDATE",
        (list(services), OVERDUE),
    ).fetchall()
    if not rows:
        return 0
    due = _due(connection, [row[0] for row in rows], now, DunningStep.RESTORE)
    if due:
        ids = [service.id for service in due]
        connection.execute(
            "UPDATE service SET state = 'active', suspended_at = NULL, suspension_cause = NULL,"
            " suspension_detail = '', version = version + 1 WHERE id = ANY(%s)",
            (ids,),
        )
        _audit(
            connection,
            due,
            "service.restore",
            before={"state": "suspended", "cause": OVERDUE},
            after={"state": "active", "cause": None},
        )
    return len(due)


def _due(connection: Connection, ids: Sequence[int], now: datetime, step: DunningStep) -> list[Service]:
    stored = FactsReader(connection, now).services(ids)
    return [each.service for each in stored if dunning_step(each.service, each.policy.zone, now) is step]


def _suspend(connection: Connection, services: Sequence[Service]) -> None:
    if not services:
        return
    connection.execute(
        "UPDATE service s SET state = 'suspended', suspended_at = w.since, suspension_cause = %s,"
        " suspension_detail = '', version = s.version + 1"
        " FROM unnest(%s::bigint[], %s::timestamptz[]) AS w (id, since) WHERE s.id = w.id",
        (OVERDUE, [service.id for service in services], [service.paid_until for service in services]),
    )
    _audit(
        connection,
        services,
        "service.suspend",
        before={"state": "active", "cause": None},
        after={"state": "suspended", "cause": OVERDUE},
    )


def _audit(
    connection: Connection,
    services: Sequence[Service],
    action: str,
    before: dict[str, str | None],
    after: dict[str, str | None],
) -> None:
    connection.execute(
        "INSERT INTO audit_entry (operator_id, actor, action, entity, entity_id, before, after)"
        " SELECT w.operator_id, %s, %s, 'service', w.id, %s::jsonb, %s::jsonb"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS w (operator_id, id)",
        (
            ACTOR,
            action,
            json.dumps(before),
            json.dumps(after),
            [service.operator_id for service in services],
            [service.id for service in services],
        ),
    )
