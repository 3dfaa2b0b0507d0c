"""The piece that makes a backup each day."""

import math
import time
from datetime import datetime, timedelta

import prometheus_client
import structlog

from core.clock import utc_now
from core.settings import Settings
from core.status import beat
from stack.backup import BackupFailed, back_up, backups, next_backup, prune
from stack.offsite import copy_missing, is_set, prune_copies

log = structlog.get_logger()
LOOK = timedelta(minutes=1)
AGAIN = timedelta(minutes=15)
"""How long a backup that failed is waited with: a disk that is full is not emptied in a minute."""

_copied: set[str] = set()  # what this process knows to be in the storage, which is not asked every minute


def main(settings: Settings) -> None:
    """Make backups until the process is stopped."""
    while True:
        beat("backups", 3600)
        time.sleep(once(settings).total_seconds())


def measure(settings: Settings) -> None:
    """Have the age of the newest backup among what this process counts."""

    def age() -> float:
        newest = next(iter(backups(settings)), None)
        return (utc_now() - newest.made_at).total_seconds() if newest is not None else math.inf

    gauge = prometheus_client.Gauge("portico_backup_age_seconds", "Seconds since the newest backup was made")
    gauge.set_function(age)


def once(settings: Settings) -> timedelta:
    """Make the backup that is due, if one is, and return how long to wait."""
    now = utc_now()
    if next_backup(settings, now) <= now:
        try:
            made = back_up(settings, now)
        except BackupFailed as problem:
            log.error("backup_failed", problem=str(problem))
            return AGAIN
        log.info("backup_made", directory=str(made.directory), octets=made.octets)
        for backup in prune(settings, now):
            log.info("backup_removed", directory=str(backup.directory))
    return _copy(settings, now)


def _copy(settings: Settings, now: datetime) -> timedelta:
    """Copy what is not in the storage yet: after a backup, and for as long as the storage does not take it."""
    newest = next(iter(backups(settings)), None)
    if newest is None or newest.directory.name in _copied or not is_set(settings):
        return LOOK
    try:
        if copy_missing(settings) is not None:
            log.info("backup_copied", name=newest.directory.name, octets=newest.octets)
        for old in prune_copies(settings, now):
            log.info("copy_removed", name=old.name)
    except BackupFailed as problem:
        log.error("backup_not_copied", problem=str(problem))
        return AGAIN
    _copied.add(newest.directory.name)
    return LOOK
