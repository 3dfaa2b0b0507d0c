"""What the worker does about routers on a timer. Each task is harmless when called twice, or by two workers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from celery import shared_task
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from core.settings import read_settings
from db.models import Operator
from db.session import make_engine

if TYPE_CHECKING:
    from network.hotspots import Step

TASK_LOCK = 7479
_BACKUPS, _SHAPER, _HOTSPOTS = range(3)
AT_ONCE = 8
"""Routers that are read side by side: a dead one holds up one of these for its time-out."""
LONGEST = 240.0
"""Seconds after which a round begins no more routers; the next round goes on with them."""
MOST = 2_000

log = structlog.get_logger()


@contextmanager
def _alone(task: int) -> Iterator[Engine | None]:
    """Yield an engine while no other worker does the same task, else None."""
    settings = read_settings()
    assert settings.database_url is not None, "the settings are complete"
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=AT_ONCE + 1)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as holding:
            lock = {"lock": TASK_LOCK, "task": task}
            if not holding.scalar(text("SELECT pg_try_advisory_lock(:lock, :task)"), lock):
                yield None
                return
            try:
                yield engine
            finally:
                holding.execute(text("SELECT pg_advisory_unlock(:lock, :task)"), lock)
    finally:
        engine.dispose()


@shared_task
def back_up_routers() -> None:
    """Read the configuration of every router whose backup is due."""
    with _alone(_BACKUPS) as engine:
        if engine is not None:
            counts = back_up_due(engine, read_settings().keyring)
            if any(counts.values()):
                log.info("routers_backed_up", **counts)


def back_up_due(engine: Engine, keyring: Keyring, longest: float = LONGEST) -> dict[str, int]:
    """Do one round and return how many backups were kept, found unchanged, and failed."""
    from network.backups import due_routers

    deadline = time.monotonic() + longest
    with Session(engine) as session:
        due = due_routers(session, utc_now(), MOST)
    counts = {"kept": 0, "unchanged": 0, "failed": 0}
    with ThreadPoolExecutor(AT_ONCE, "backup") as threads:
        for outcome in threads.map(lambda each: _back_up(engine, keyring, each[0], each[1], deadline), due):
            if outcome:
                counts[outcome] += 1
    return counts


@shared_task
def keep_hotspots() -> None:
    """Read where the hotspots of routers are, and put right what the setup script put there."""
    settings = read_settings()
    with _alone(_HOTSPOTS) as engine:
        if engine is not None:
            host = urlsplit(settings.public_url).hostname or ""
            counts = keep_all_hotspots(engine, settings.keyring, host)
            if counts["changed"] or counts["failed"]:
                log.info("hotspots_looked_at", **counts)


def keep_all_hotspots(engine: Engine, keyring: Keyring, public_host: str, longest: float = LONGEST) -> dict[str, int]:
    """Do one round and return how many routers were as they should be, changed, and out of reach."""
    from network.hotspots import routers_to_look_at

    deadline = time.monotonic() + longest
    with Session(engine) as session:
        due = routers_to_look_at(session, MOST)
    counts = {"right": 0, "changed": 0, "failed": 0}
    with ThreadPoolExecutor(AT_ONCE, "hotspots") as threads:
        for outcome in threads.map(lambda each: _keep_hotspots(engine, keyring, each, public_host, deadline), due):
            if outcome:
                counts[outcome] += 1
    return counts


@shared_task
def write_shaper_files() -> None:
    """Write LibreQoS's files of every operator, where the settings say into which directory."""
    settings = read_settings()
    if settings.libreqos_dir is None:
        return
    with _alone(_SHAPER) as engine:
        if engine is not None:
            for slug, names in write_all_shaper_files(engine, settings.libreqos_dir).items():
                log.info("shaper_files_written", operator=slug, names=names)


def write_all_shaper_files(engine: Engine, directory: Path) -> dict[str, list[str]]:
    """Return what was written for each operator that had a change. One that fails is no other's business."""
    from network.shaper import files, write_files

    written = {}
    with Session(engine) as session:
        operators = session.execute(select(Operator.id, Operator.slug)).all()
        for operator_id, slug in operators:
            try:
                if names := write_files(directory / slug, files(session, operator_id)):
                    written[slug] = names
            except OSError as problem:
                log.warning("shaper_files_not_written", operator=slug, error=problem.strerror)
    return written


def _keep_hotspots(engine: Engine, keyring: Keyring, place: tuple[int, int], public_host: str, deadline: float) -> str:
    """Look after the hotspots of one router; what goes wrong with it is noted and never the others' business."""
    from network.backups import router_access
    from network.hotspots import keep_hotspots, note_look, wanted_by
    from network.problems import RouterProblem

    operator_id, nas_id = place
    if time.monotonic() > deadline:
        return ""
    try:
        with Session(engine) as session:
            access = router_access(session, keyring, operator_id, nas_id)
            wanted = wanted_by(session, operator_id, public_host)
        if access is None:
            return ""
        found, problem = None, ""
        changes: list[Step] = []
        try:
            found, changes = keep_hotspots(access, wanted)
        except RouterProblem as trouble:
            problem = str(trouble.cause)
        with Session(engine) as session:
            note_look(session, operator_id, nas_id, utc_now(), found, problem)
            session.commit()
        for change in changes:
            log.info("hotspot_put_right", operator_id=operator_id, nas_id=nas_id, change=change.told)
        return "failed" if problem else "changed" if changes else "right"
    except SecretUnreadable:
        log.warning("hotspots_impossible", nas_id=nas_id, why="a sealed secret does not open")
    except Exception:  # one router must not end the round
        log.exception("hotspots_failed", nas_id=nas_id)
    return "failed"


def _back_up(engine: Engine, keyring: Keyring, operator_id: int, nas_id: int, deadline: float) -> str:
    """Back up one router; what goes wrong with it is noted and never the others' business."""
    from network.backups import fetch, keep, note_try, router_access
    from network.problems import RouterProblem

    if time.monotonic() > deadline:
        return ""
    try:
        with Session(engine) as session:
            access = router_access(session, keyring, operator_id, nas_id)
        if access is None:
            return ""
        try:
            version, configuration = fetch(access)
        except RouterProblem as problem:
            with Session(engine) as session:
                note_try(session, operator_id, nas_id, utc_now(), problem)
                session.commit()
            return "failed"
        with Session(engine) as session:
            now = utc_now()
            backup = keep(session, keyring, operator_id, nas_id, version, configuration, now)
            note_try(session, operator_id, nas_id, now)
            session.commit()
            return "kept" if backup.taken_at == now else "unchanged"
    except SecretUnreadable:
        log.warning("backup_impossible", nas_id=nas_id, why="a sealed secret does not open")
    except Exception:  # one router must not end the round
        log.exception("backup_failed", nas_id=nas_id)
    return "failed"
