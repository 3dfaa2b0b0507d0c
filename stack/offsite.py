"""Backups on another machine: copied to S3-compatible storage, and fetched from there for a restore.

A copy is the same three files under the backup's name. The manifest goes last, so a copy that was interrupted is not
taken for one: it has no manifest, is not listed, and is written anew at the next turn. What arrives is compared with
the manifest; what the storage does to single octets on the way its own checksums tell (SHA-256 of each part).
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from core.settings import BadSettings, Settings
from stack.backup import DATABASE_FILE, FILES_FILE, MANIFEST_FILE, PREFIX, STAMP, Backup, BackupFailed, backups, check

PART = 16 << 20
"""Octets that are sent at once; a storage takes 10,000 parts, so a dump may have 156 GiB."""
_TIMEOUT, _RETRIES = "60s", 4
_CONTENT = (DATABASE_FILE, FILES_FILE, MANIFEST_FILE)  # in this order


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole backup in the storage."""

    name: str
    made_at: datetime
    octets: int


def is_set(settings: Settings) -> bool:
    """Tell whether backups are to be copied. Raises BadSettings when half of what that takes is missing."""
    if settings.backup_s3_bucket is None:
        return False
    for name in ("backup_s3_key", "backup_s3_secret"):
        if getattr(settings, name) is None:
            raise BadSettings(f"PORTICO_BACKUP_S3_BUCKET is set, so PORTICO_{name.upper()} must be too")
    return True


def copy_missing(settings: Settings) -> Copy | None:
    """Copy the newest backup unless it is there already; return what was copied. Raises BackupFailed, BadSettings."""
    made = backups(settings)
    if not made or any(copy.name == made[0].directory.name for copy in copies(settings)):
        return None
    return copy_out(settings, made[0])


def copy_out(settings: Settings, backup: Backup) -> Copy:
    """Copy one backup and compare what arrived. Raises BackupFailed and BadSettings."""
    manifest = check(backup.directory)
    name = backup.directory.name
    with _store(settings) as store:
        for file in _CONTENT:
            obstore.put(store, f"{name}/{file}", backup.directory / file, chunk_size=PART)
            wanted = (backup.directory / file).stat().st_size
            arrived = obstore.head(store, f"{name}/{file}")["size"]
            if arrived != wanted:
                raise BackupFailed(f"{file} has {wanted:,} octets here and {arrived:,} in the storage")
    return Copy(name, backup.made_at, sum(part["octets"] for part in manifest["files"].values()))


def copies(settings: Settings) -> list[Copy]:
    """Return the whole backups in the storage, the newest first. Raises BackupFailed and BadSettings."""
    sizes: dict[str, dict[str, int]] = {}
    with _store(settings) as store:
        for chunk in obstore.list(store):
            for found in chunk:
                name, _, file = found["path"].partition("/")
                sizes.setdefault(name, {})[file] = found["size"]
    whole = []
    for name, files in sizes.items():
        made_at = _made_at(name)
        if made_at is not None and files.keys() >= set(_CONTENT):
            whole.append(Copy(name, made_at, files[DATABASE_FILE] + files[FILES_FILE]))
    return sorted(whole, key=lambda copy: copy.made_at, reverse=True)


def prune_copies(settings: Settings, now: datetime) -> list[Copy]:
    """Remove copies older than PORTICO_BACKUP_DAYS, but never the newest one, and return which. Raises BackupFailed."""
    oldest = now - timedelta(days=settings.backup_days)
    old = [copy for copy in copies(settings)[1:] if copy.made_at < oldest]
    with _store(settings) as store:
        for copy in old:
            # The manifest first: what is left when this is interrupted is no backup any more.
            obstore.delete(store, [f"{copy.name}/{file}" for file in reversed(_CONTENT)])
    return old


def fetch(settings: Settings, name: str, into: Path) -> Path:
    """Bring a copy into a directory and return where it is, compared with its manifest. Raises BackupFailed."""
    if _made_at(name) is None:
        raise BackupFailed(f"{name!r} is not the name of a backup; `portico backup list` says which there are")
    directory = into / name
    try:
        directory.mkdir(mode=0o700)
        with _store(settings) as store:
            for file in _CONTENT:
                with (directory / file).open("xb") as target:
                    for chunk in obstore.get(store, f"{name}/{file}").stream(min_chunk_size=1 << 20):
                        target.write(chunk)
        check(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


@contextmanager
def _store(settings: Settings) -> Iterator[S3Store]:
    """Give the storage; what it says, or that it says nothing, becomes a BackupFailed that names it."""
    if not is_set(settings):
        raise BadSettings("PORTICO_BACKUP_S3_BUCKET is not set: where are copies kept?")
    assert settings.backup_s3_bucket is not None
    assert settings.backup_s3_secret is not None
    bucket, _, folder = settings.backup_s3_bucket.partition("/")
    options: dict[str, Any] = {"endpoint": settings.backup_s3_endpoint} if settings.backup_s3_endpoint else {}
    plain = (settings.backup_s3_endpoint or "").startswith("http://")  # of a machine beside this one
    store = S3Store(
        bucket,
        prefix=folder or None,
        region=settings.backup_s3_region,
        access_key_id=settings.backup_s3_key,
        secret_access_key=settings.backup_s3_secret.get_secret_value(),
        checksum_algorithm="SHA256",
        virtual_hosted_style_request=False,
        client_options={"allow_http": plain, "timeout": _TIMEOUT, "connect_timeout": "5s"},
        retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=30)},
        **options,
    )
    try:
        yield store
    except (BaseError, OSError) as problem:
        where = f"{settings.backup_s3_endpoint or 'S3'}, bucket {bucket}"
        raise BackupFailed(f"the storage ({where}) says: {_said(str(problem))}") from None
    except json.JSONDecodeError as problem:
        raise BackupFailed(f"the storage holds a manifest that cannot be read: {problem}") from None


def _said(text: str) -> str:
    """Return what a storage answered: the message of S3's XML where there is one, else the first line."""
    code, message = (text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0] for tag in ("Code", "Message"))
    return f"{code}: {message}" if code else text.strip().splitlines()[0][:300]


def _made_at(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.removeprefix(PREFIX), STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
