"""Who the pieces run as, and the directories that belong to them.

Started by root, every piece drops to the unprivileged user of the settings; started by anyone else, the pieces run
as that user. FreeRADIUS, PostgreSQL and Redis refuse or warn against root, and a hole in one of them should not be
the machine's.
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from core.settings import BadSettings, Settings

# The kernel's sun_path holds 108 octets with its final NUL; the longest socket is PostgreSQL's.
_LONGEST_SOCKET = 107 - len("/.s.PGSQL.5432.lock")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: Path


def piece_account(settings: Settings) -> Account:
    """Return the user that the pieces run as. Raises BadSettings when root is told to drop to a user it lacks."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
    else:
        try:
            entry = pwd.getpwnam(settings.user)
        except KeyError:
            raise BadSettings(
                f"PORTICO_USER: there is no user {settings.user!r} on this machine; `stack/setup.sh` creates it"
            ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def become(account: Account) -> None:
    """Give up root's rights for good; nothing happens when they are not there to give up."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)


def prepare_directories(settings: Settings) -> None:
    """Create the data directory and what is in it, owned by the pieces' user and closed to all others.

    Raises BadSettings when a directory cannot be made, or when the path is too long for the sockets in it.
    """
    if len(os.fsencode(settings.run_dir)) > _LONGEST_SOCKET:
        raise BadSettings(
            f"PORTICO_DATA_DIR: {settings.data_dir} is too long; sockets in it may have 107 octets (unix(7))"
        )
    account = piece_account(settings)
    directories = (
        settings.data_dir,
        settings.run_dir,
        settings.log_dir,
        settings.journal_dir,
        settings.image_dir,
    )
    for directory in directories:
        own_directory(directory, account)


def own_directory(directory: Path, account: Account) -> None:
    """Make `directory` exist, belong to `account` and be closed to all others. Raises BadSettings."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(directory, account.uid, account.gid)
        directory.chmod(0o700)
    except OSError as problem:
        raise BadSettings(f"PORTICO_DATA_DIR: cannot make {directory} ready: {problem.strerror}") from None


def write_private_file(path: Path, text: str, account: Account) -> None:
    """Write `text` so that only `account` can read it, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if os.geteuid() == 0:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)
