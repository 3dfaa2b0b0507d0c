"""The private PostgreSQL of an installation: a cluster in the data directory that only local sockets reach.

It is an ordinary PostgreSQL of the machine's packages with the same roles that an outside server needs:
`portico_owner` owns the database, `portico_system` may pass row-level security by, `portico_portal` may not.
"""

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings
from stack.accounts import Account, own_directory, piece_account, write_private_file
from stack.installation import (
    DATABASE,
    OWNER_ROLE,
    PORTAL_ROLE,
    SUPERUSER,
    SYSTEM_ROLE,
    password_name,
    piece_environment,
    private_url,
    read_secrets,
)
from stack.pieces import Piece, PieceFailed

LEAST_VERSION = 15
_DEBIAN = Path("/usr/lib/postgresql")

# Attributes of each role, stated anew at every start. BYPASSRLS is the difference that tenancy rests on.
_ROLE_ATTRIBUTES = {
    SUPERUSER: "SUPERUSER LOGIN",
    OWNER_ROLE: "NOSUPERUSER LOGIN CREATEROLE NOBYPASSRLS",
    SYSTEM_ROLE: "NOSUPERUSER LOGIN BYPASSRLS",
    PORTAL_ROLE: "NOSUPERUSER LOGIN NOBYPASSRLS",
}

_SETTINGS = """\
# Written by Portico at every start; put changes of your own in postgresql.local.conf beside it.
listen_addresses = ''
unix_socket_directories = '{run_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 60
# Small, since the stack shares its machine; PostgreSQL reads through the page cache anyway.
shared_buffers = '64MB'
work_mem = '8MB'
maintenance_work_mem = '64MB'
effective_cache_size = '1GB'
# The loader writes in bursts: checkpoints by time rather than by volume keep the bursts short.
max_wal_size = '2GB'
min_wal_size = '128MB'
checkpoint_timeout = '15min'
wal_compression = on
synchronous_commit = on
fsync = {fsync}
full_page_writes = {fsync}
jit = off
log_line_prefix = '%m [%p] %q%u '
log_timezone = 'UTC'
timezone = 'UTC'
log_min_messages = 'warning'
log_checkpoints = off
lc_messages = 'C.UTF-8'
"""

_HOST_BASED_ACCESS = """\
# Written by Portico. Nobody comes in but over the socket and with a password.
local all all scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The private cluster of one installation. `durable` is off in tests alone: it trades crash safety for speed."""

    settings: Settings
    durable: bool = True

    @property
    def directory(self) -> Path:
        return self.settings.data_dir / "postgres"

    def prepare(self) -> None:
        """Make the cluster if there is none yet, and write its configuration. Raises PieceFailed.

        initdb works in another directory, which is renamed when it is whole: a first start that was interrupted
        is simply made again.
        """
        account = piece_account(self.settings)
        if not self.directory.exists():
            self._make(account)
        version = (self.directory / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != program("postgres").parent.parent.name:
            raise PieceFailed(
                f"{self.directory} was made by PostgreSQL {version}, this machine has"
                f" {program('postgres').parent.parent.name}: use pg_upgrade, or install postgresql-{version}"
            )
        self._drop_stale_lock()
        text = _SETTINGS.format(run_dir=self.settings.run_dir, fsync="on" if self.durable else "off")
        if (self.directory / "postgresql.local.conf").exists():
            text += "include = 'postgresql.local.conf'\n"
        write_private_file(self.directory / "postgresql.conf", text, account)
        write_private_file(self.directory / "pg_hba.conf", _HOST_BASED_ACCESS, account)

    def _drop_stale_lock(self) -> None:
        """Remove the lock files of a server that is gone.

        PostgreSQL does so itself unless its old process id now belongs to another program of the same user, which
        is the rule rather than the exception after a restart of a container, or is a zombie that nobody reaps.
        """
        lock = self.directory / "postmaster.pid"
        try:
            holder = Path("/proc") / lock.read_text(encoding="ascii").split("\n")[0]
            name, _, rest = (holder / "stat").read_text(encoding="utf-8").rpartition(") ")
            running = "(postgres" in name and rest[0] not in "ZX"
        except FileNotFoundError:
            running = False
        if not running:
            lock.unlink(missing_ok=True)
            (self.settings.run_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _make(self, account: Account) -> None:
        unfinished = self.directory.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        own_directory(unfinished, account)
        password_file = self.settings.run_dir / "initdb.password"
        write_private_file(password_file, read_secrets(self.settings)[password_name(SUPERUSER)], account)
        piece = Piece(
            "initdb",
            (
                str(program("initdb")),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
                *(() if self.durable else ("--no-sync",)),
            ),
            piece_environment(self.settings),
            account,
            self.settings.data_dir,
        )
        try:
            made = subprocess.run(
                piece.full_command(),
                env=dict(piece.environment),
                cwd=piece.directory,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if made.returncode != 0:
            raise PieceFailed(f"initdb could not make {self.directory}:\n{made.stderr.strip()}")
        unfinished.rename(self.directory)

    def piece(self) -> Piece:
        """Return the server as a piece. SIGINT is PostgreSQL's fast shutdown, which does not wait for clients."""
        return Piece(
            "postgres",
            (str(program("postgres")), "-D", str(self.directory)),
            piece_environment(self.settings),
            piece_account(self.settings),
            self.settings.data_dir,
            stop_signal=signal.SIGINT,
            stop_seconds=60.0,
            ready=self.is_ready,
            ready_seconds=300.0,  # recovery after a crash may replay 2 GB of WAL
        )

    def is_ready(self) -> bool:
        """Tell whether the server takes connections."""
        asked = [str(program("pg_isready")), "--quiet", "--timeout=2", f"--host={self.settings.run_dir}"]
        return subprocess.run(asked, check=False).returncode == 0

    def ensure_roles(self) -> None:
        """State the roles with their passwords and make the database if it is not there."""
        import psycopg
        from psycopg import sql

        kept = read_secrets(self.settings)
        with psycopg.connect(private_url(self.settings, SUPERUSER, "postgres"), autocommit=True) as connection:
            present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role, attributes in _ROLE_ATTRIBUTES.items():
                verb = "ALTER" if role in present else "CREATE"
                connection.execute(
                    sql.SQL(f"{verb} ROLE {{}} {attributes} PASSWORD {{}}").format(
                        sql.Identifier(role), sql.Literal(kept[password_name(role)])
                    )
                )
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE))
                )


def program(name: str) -> Path:
    """Return the newest of this machine's PostgreSQL programs of that name. Raises PieceFailed when there is none."""
    versions = sorted(
        (int(path.name) for path in _DEBIAN.glob("[0-9]*") if (path / "bin" / name).is_file()), reverse=True
    )
    if not versions or versions[0] < LEAST_VERSION:
        raise PieceFailed(f"PostgreSQL {LEAST_VERSION} or newer is not installed; `stack/setup.sh` installs it")
    return _DEBIAN / str(versions[0]) / "bin" / name
