"""The piece that makes a backup each day."""

import time
from datetime import timedelta

import structlog

from core.clock import utc_now
from core.settings import Settings
from stack.backup import BackupFailed, back_up, next_backup, prune

log = structlog.get_logger()
LOOK = timedelta(minutes=1)
AGAIN = timedelta(minutes=15)
"""How long a backup that failed is waited with: a disk that is full is not emptied in a minute."""


def main(settings: Settings) -> None:
    """Make backups until the process is stopped."""
    while True:
        time.sleep(once(settings).total_seconds())


def once(settings: Settings) -> timedelta:
    """Make the backup that is due, if one is, and return how long to wait."""
    now = utc_now()
    if next_backup(settings, now) > now:
        return LOOK
    try:
        made = back_up(settings, now)
    except BackupFailed as problem:
        log.error("backup_failed", problem=str(problem))
        return AGAIN
    log.info("backup_made", directory=str(made.directory), octets=made.octets)
    for backup in prune(settings, now):
        log.info("backup_removed", directory=str(backup.directory))
    return LOOK
