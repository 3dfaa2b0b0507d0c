"""Backups of routers: the configuration of each, read once a day, kept whenever it is another than the one before.

What a try came to stands beside the backups, so that a router whose backups stopped is noticed on its page. A router
that was away is tried again each hour.
"""

import base64
import difflib
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session, joinedload

from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from core.i18n import N_
from crm.jobs import RunningJob
from db.models import Nas, Router, RouterBackup, RouterBackupState
from network.access import access_of
from network.api import RouterAccess, open_router
from network.backups_text import masked, read_configuration
from network.problems import RouterProblem

TAKE = "backups.take"
"""Parameters: `nas_id`."""
PURPOSE = "router.backup"
EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)
"""After a try that failed."""
KEPT = 100
"""Different configurations of each router that are kept."""
TIMEOUT = 30.0  # seconds for each menu: a thousand leases come slowly over a thin line


def due_routers(session: Session, now: datetime, limit: int) -> list[tuple[int, int]]:
    """Return operator and NAS of routers whose backup is due, those that wait longest first."""
    state = RouterBackupState
    return [
        (operator_id, nas_id)
        for operator_id, nas_id in session.execute(
            select(Router.operator_id, Router.nas_id)
            .join(Nas, Nas.id == Router.nas_id)
            .outerjoin(state, state.nas_id == Router.nas_id)
            .where(
                Nas.enabled,
                or_(
                    state.tried_at.is_(None),
                    state.tried_at <= now - EVERY,
                    (state.cause != "") & (state.tried_at <= now - AGAIN),
                ),
            )
            .order_by(state.tried_at.nulls_first(), Router.nas_id)
            .limit(limit)
        )
    ]


def router_access(session: Session, keyring: Keyring, operator_id: int, nas_id: int) -> RouterAccess | None:
    """Return how a router is reached; None when it is not this operator's, or not in use."""
    router = session.scalar(
        select(Router)
        .join(Nas, Nas.id == Router.nas_id)
        .where(Router.nas_id == nas_id, Router.operator_id == operator_id, Nas.enabled)
        .options(joinedload(Router.nas))
    )
    return None if router is None else access_of(router, keyring, TIMEOUT)


def fetch(access: RouterAccess, between: Callable[[], None] = lambda: None) -> tuple[str, str]:
    """Return RouterOS's version and the configuration. Raises RouterProblem."""
    with open_router(access) as router:
        version = str(router.version)
        return version, read_configuration(router, between)


def keep(
    session: Session, keyring: Keyring, operator_id: int, nas_id: int, version: str, text: str, now: datetime
) -> RouterBackup:
    """Keep a configuration, or note that the newest one still stands. Return the one that now stands.

    A newest one that no key opens any more counts as another.
    """
    newest = session.scalar(
        select(RouterBackup)
        .where(RouterBackup.operator_id == operator_id, RouterBackup.nas_id == nas_id)
        .order_by(RouterBackup.id.desc())
        .limit(1)
    )
    before = None
    if newest is not None:
        with suppress(SecretUnreadable):
            before = opened(keyring, newest)
    if newest is None or before != text:
        added, removed = (0, 0) if before is None else counted(before, text)
        newest = RouterBackup(
            operator_id=operator_id, nas_id=nas_id, taken_at=now, content=_sealed(keyring, text),
            lines=text.count("\n"), added=added, removed=removed,
        )  # fmt: skip
        session.add(newest)
    newest.seen_at, newest.version = now, version
    session.flush()
    oldest = (
        select(RouterBackup.id)
        .where(RouterBackup.nas_id == nas_id)
        .order_by(RouterBackup.id.desc())
        .offset(KEPT)
        .scalar_subquery()
    )
    session.execute(delete(RouterBackup).where(RouterBackup.operator_id == operator_id, RouterBackup.id.in_(oldest)))
    return newest


def note_try(
    session: Session, operator_id: int, nas_id: int, now: datetime, problem: RouterProblem | None = None
) -> None:
    """Write down how a try went."""
    state = session.get(RouterBackupState, nas_id)
    if state is None:
        state = RouterBackupState(nas_id=nas_id, operator_id=operator_id)
        session.add(state)
    state.tried_at = now
    state.cause = "" if problem is None else problem.cause.value
    state.detail = "" if problem is None else problem.detail[:500]
    if problem is None:
        state.done_at = now
    session.flush()


def opened(keyring: Keyring, backup: RouterBackup) -> str:
    """Return a configuration with its secrets. Raises core.crypto.SecretUnreadable."""
    return zlib.decompress(base64.b85decode(keyring.open(PURPOSE, backup.content))).decode()


def shown(keyring: Keyring, backup: RouterBackup) -> str:
    """Return a configuration as people may see it. Raises core.crypto.SecretUnreadable."""
    return masked(opened(keyring, backup), keyring.derive(f"{PURPOSE}.mark {backup.nas_id}"))


def difference(older: str, newer: str, from_name: str = "", to_name: str = "") -> list[str]:
    """Return the lines of a unified diff; none where both are the same."""
    return list(difflib.unified_diff(older.splitlines(), newer.splitlines(), from_name, to_name, lineterm="", n=2))


def counted(older: str, newer: str) -> tuple[int, int]:
    """Return how many lines came and how many went."""
    lines = difference(older, newer)[2:]
    return sum(line[:1] == "+" for line in lines), sum(line[:1] == "-" for line in lines)


def take_backup(job: RunningJob) -> Mapping[str, object]:
    """The job that a person starts."""
    nas_id = int(job.parameters["nas_id"])
    job.plan(1)
    with job.session() as session:
        access = router_access(session, job.keyring, job.operator_id, nas_id)
    if access is None:
        job.log("error", "", N_("This router is gone, or not in use."))
        job.advance(0, failed=1)
        return {"reached": False}
    try:
        version, text = fetch(access, job.check_cancelled)
    except RouterProblem as problem:
        with job.session() as session:
            note_try(session, job.operator_id, nas_id, utc_now(), problem)
            session.commit()
        job.log("error", job.subject, N_("The router could not be read: %(cause)s. %(detail)s"),
                cause=problem.cause.value, detail=problem.detail[:500])  # fmt: skip
        job.advance(0, failed=1)
        return {"problem": problem.cause.value}
    with job.session() as session:
        now = utc_now()
        backup = keep(session, job.keyring, job.operator_id, nas_id, version, text, now)
        note_try(session, job.operator_id, nas_id, now)
        session.commit()
        new, lines = backup.taken_at == now, backup.lines
    if new:
        job.log("info", job.subject, N_("Kept: %(lines)s lines."), lines=lines)
    else:
        job.log("info", job.subject, N_("Nothing has changed since the last backup."))
    job.advance()
    return {"kept": new, "lines": lines}


def _sealed(keyring: Keyring, text: str) -> bytes:
    return keyring.seal(PURPOSE, base64.b85encode(zlib.compress(text.encode(), 9)).decode())
