"""Backups: everything that an empty machine needs to be this installation again.

A backup is a directory of its own with three files:

    database.dump.age   what `pg_dump` wrote, one consistent moment of the whole database
    files.tar.age       the keys of `secrets.env`, RadSec's authority, local settings of PostgreSQL
    manifest.json       the schema it has, and size and SHA-256 of the two, for whoever copies it elsewhere

The files are encrypted for the holder of a key of age (https://age-encryption.org/v1) that this machine does not
have: who takes the machine over cannot read what was backed up from it, and what was backed up is read with the
ordinary `age` even where Portico is gone. What radiusd has written down but the loader has not loaded, a few seconds,
is not in it, and neither are the image and the queue of tasks, which are made anew.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pyrage
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.clock import utc_now
from core.settings import BadSettings, Settings
from db.migrate import alembic_config
from stack.installation import complete, read_secrets, secrets_file
from stack.postgres import program

FORMAT = 1
PREFIX = "portico-"
DATABASE_FILE, FILES_FILE, MANIFEST_FILE = "database.dump.age", "files.tar.age", "manifest.json"
STAMP = "%Y%m%dT%H%M%SZ"
_CHUNK = 1 << 20

# Positions of those who follow this database: on another machine they would point at what is not there.
LEFT_EMPTY = ("change_log", "follower", "journal_position", "node")


class BackupFailed(Exception):
    """A backup could not be made or read; the text says which step, and what the program said."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup. `made_at` is when its dump began."""

    directory: Path
    made_at: datetime
    octets: int


def make_key() -> tuple[str, str]:
    """Return a new pair: the identity, which is kept apart from this machine, and the recipient for the setting."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def back_up(settings: Settings, now: datetime | None = None) -> Backup:
    """Write a backup into PORTICO_BACKUP_DIR. Raises BackupFailed and BadSettings and then leaves nothing behind."""
    target, recipient = _where(settings), _recipient(settings)
    made_at = (now or utc_now()).replace(microsecond=0)
    finished = target / f"{PREFIX}{made_at.strftime(STAMP)}"
    if finished.exists():
        raise BackupFailed(f"{finished} is there already")
    unfinished = target / f".{finished.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        sealed = {
            DATABASE_FILE: _seal_dump(settings, unfinished / DATABASE_FILE, recipient),
            FILES_FILE: _seal(io.BytesIO(_files(settings)), unfinished / FILES_FILE, recipient),
        }
        manifest = {
            "format": FORMAT,
            "schema": schemas()[0],
            "made_at": made_at.isoformat(),
            "files": {name: {"octets": octets, "sha256": digest} for name, (octets, digest) in sealed.items()},
        }
        _write(unfinished / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")
        check(unfinished)  # what the disk gives back, not what was handed to it
        unfinished.rename(finished)
    except OSError as problem:
        raise BackupFailed(f"cannot write to {target}: {problem.strerror}") from problem
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Backup(finished, made_at, sum(octets for octets, _ in sealed.values()))


def backups(settings: Settings) -> list[Backup]:
    """Return the finished backups of PORTICO_BACKUP_DIR, the newest first."""
    if settings.backup_dir is None or not settings.backup_dir.is_dir():
        return []
    found = []
    for path in settings.backup_dir.glob(f"{PREFIX}*Z"):
        try:
            made_at = datetime.strptime(path.name.removeprefix(PREFIX), STAMP).replace(tzinfo=utc_now().tzinfo)
            octets = sum((path / name).stat().st_size for name in (DATABASE_FILE, FILES_FILE))
        except (ValueError, OSError):
            continue  # something else that lies there
        found.append(Backup(path, made_at, octets))
    return sorted(found, key=lambda backup: backup.made_at, reverse=True)


def prune(settings: Settings, now: datetime) -> list[Backup]:
    """Remove backups older than PORTICO_BACKUP_DAYS, but never the newest one, and return which."""
    oldest = now - timedelta(days=settings.backup_days)
    old = [backup for backup in backups(settings)[1:] if backup.made_at < oldest]
    for backup in old:
        shutil.rmtree(backup.directory)
    return old


def next_backup(settings: Settings, now: datetime) -> datetime:
    """Return when the next backup is due: each day at PORTICO_BACKUP_HOUR (UTC), at once where one was missed."""
    today = now.replace(hour=settings.backup_hour, minute=0, second=0, microsecond=0)
    latest_due = today if today <= now else today - timedelta(days=1)
    made = backups(settings)
    return latest_due if not made or made[0].made_at < latest_due else latest_due + timedelta(days=1)


def schemas() -> list[str]:
    """Return every schema that this version knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config("")).walk_revisions()]


def check(directory: Path) -> dict[str, Any]:
    """Return a backup's manifest after its files were found to be what it says. Raises BackupFailed."""
    try:
        manifest = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
        wanted = {name: manifest["files"][name]["sha256"] for name in (DATABASE_FILE, FILES_FILE)}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BackupFailed(f"{directory} is not a backup of Portico: {problem}") from None
    if manifest["format"] != FORMAT:
        raise BackupFailed(f"{directory} has format {manifest['format']}; this version reads {FORMAT}")
    if manifest["schema"] not in schemas():
        raise BackupFailed(f"{directory} was made by a newer version of Portico; install that one first")
    for name, digest in wanted.items():
        try:
            with (directory / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise BackupFailed(f"cannot read {directory / name}: {problem.strerror}") from None
        if found != digest:
            raise BackupFailed(f"{directory / name} is damaged: its SHA-256 is not the one in {MANIFEST_FILE}")
    return dict(manifest)


def verify(directory: Path, identity: str) -> list[str]:
    """Decrypt a backup to its last octet and return the tables it holds. Raises BackupFailed."""
    check(directory)
    if not any(name in ("secrets.env", "environment.env") for name, _ in kept_files(directory, identity)):
        raise BackupFailed(f"{directory / FILES_FILE} has no keys: what is sealed in the database could not be opened")
    command = [str(program("pg_restore")), "--list"]
    listed, _ = pour(directory, identity, command, {})
    with Path(os.devnull).open("wb") as nowhere:  # the list stands at the beginning, and no more of it was read
        _open(directory / DATABASE_FILE, identity, nowhere)
    return sorted(line.split()[6] for line in listed.splitlines() if " TABLE DATA " in line)


def kept_files(directory: Path, identity: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of a backup. Raises BackupFailed."""
    clear = io.BytesIO()
    _open(directory / FILES_FILE, identity, clear)
    clear.seek(0)
    with tarfile.open(fileobj=clear) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                yield member.name, content.read()


def pour(directory: Path, identity: str, command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """Decrypt the dump of a backup into a command's standard input and return what it printed. Raises BackupFailed."""
    # What it prints goes to files: it would fill a pipe and wait for a reader, who waits for it to take the dump.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env={"PATH": os.environ.get("PATH", "/usr/bin"), "LANG": "C.UTF-8", **environment},
        ) as process:
            assert process.stdin is not None
            try:
                _open(directory / DATABASE_FILE, identity, process.stdin)
            except BackupFailed:
                process.kill()
                raise
            except BrokenPipeError:
                pass  # it has read enough, or failed, which its status says
            process.communicate()
        printed, said = (_whole(file) for file in (output, errors))
    if process.returncode != 0:
        raise BackupFailed(f"{Path(command[0]).name} says: {said.strip()[-2000:]}")
    return printed, said


def connection_of(url: str) -> tuple[str, dict[str, str]]:
    """Return how a program of PostgreSQL is told of a database: without the password, which `ps` would show."""
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {} if password is None else {"PGPASSWORD": str(password)}


def _where(settings: Settings) -> Path:
    if settings.backup_dir is None:
        raise BadSettings("PORTICO_BACKUP_DIR is not set: where shall backups be written?")
    return settings.backup_dir


def _recipient(settings: Settings) -> Any:
    if settings.backup_recipient is None:
        raise BadSettings("PORTICO_BACKUP_RECIPIENT is not set; `portico backup key` makes a key and prints the value")
    try:
        return pyrage.x25519.Recipient.from_str(settings.backup_recipient)
    except pyrage.RecipientError:
        raise BadSettings("PORTICO_BACKUP_RECIPIENT is not a public key of age (age1…)") from None


def _identity(text: str) -> Any:
    """Return the key in the text of an identity file, whose comments begin with `#`."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return pyrage.x25519.Identity.from_str("".join(lines))
    except pyrage.IdentityError:
        raise BackupFailed("the identity is not a secret key of age (AGE-SECRET-KEY-1…)") from None


class _Measured:
    """A file that is written to, with the size and SHA-256 of what went through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.octets = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.octets += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def result(self) -> tuple[int, str]:
        return self.octets, self._digest.hexdigest()


def _seal(source: IO[bytes], path: Path, recipient: Any) -> tuple[int, str]:
    """Encrypt a stream into a file that is on the disk afterwards; return its size and SHA-256."""
    with path.open("xb") as file:
        path.chmod(0o600)
        measured = _Measured(file)
        pyrage.encrypt_io(source, measured, [recipient])
        file.flush()
        os.fsync(file.fileno())
    return measured.result()


def _seal_dump(settings: Settings, path: Path, recipient: Any) -> tuple[int, str]:
    url = complete(settings).owner_database_url
    if url is None:
        raise BadSettings("PORTICO_OWNER_DATABASE_URL is not set")
    database, environment = connection_of(url.get_secret_value())
    command = [str(program("pg_dump")), "--format=custom", "--no-password", f"--dbname={database}"]
    command += [f"--exclude-table-data={table}" for table in LEFT_EMPTY]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PATH": os.environ.get("PATH", "/usr/bin"), "LANG": "C.UTF-8", **environment},
        ) as process:
            assert process.stdout is not None
            sealed = _seal(process.stdout, path, recipient)
        said = _whole(errors).strip()
    if process.returncode != 0:
        raise BackupFailed(f"pg_dump says: {said[-2000:]}")
    return sealed


def _whole(file: IO[bytes]) -> str:
    """Return the text that a program has written into a file."""
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _files(settings: Settings) -> bytes:
    """Return the archive of what is kept outside the database, small as it is."""
    wanted = [secrets_file(settings), settings.data_dir / "postgres" / "postgresql.local.conf"]
    wanted += sorted(path for path in settings.radsec_dir.rglob("*") if path.is_file())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in wanted:
            if path.is_file():
                tar.add(path, arcname=str(path.relative_to(settings.data_dir)), filter=_nobody)
        keys = None if settings.secret_keys is None else settings.secret_keys.get_secret_value()
        if keys is not None and keys != read_secrets(settings).get("PORTICO_SECRET_KEYS"):  # from the environment
            line = f"PORTICO_SECRET_KEYS={keys}\n".encode()
            kept = tarfile.TarInfo("environment.env")
            kept.size = len(line)
            tar.addfile(kept, io.BytesIO(line))
    return archive.getvalue()


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owned a file here: numbers of users mean nothing elsewhere."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _open(path: Path, identity: str, into: Any) -> None:
    try:
        with path.open("rb") as file:
            pyrage.decrypt_io(file, into, [_identity(identity)])
    except BrokenPipeError:  # of who was to have it
        raise
    except (pyrage.DecryptError, OSError) as problem:  # the second when it goes wrong behind the beginning
        raise BackupFailed(f"{path.name} cannot be opened with this identity: {problem}") from None


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
