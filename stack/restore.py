"""`portico restore`: an empty machine becomes the installation that was backed up.

Nothing is written over: a data directory that already has a database or keys is left alone. When a step fails, what the
steps before it made is taken away again, so that the command can simply be repeated.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from core.settings import BadSettings, Settings
from db.migrate import migrate
from stack.accounts import own_directory, piece_account, prepare_directories, write_private_file
from stack.backup import BackupFailed, check, connection_of, kept_files, pour
from stack.installation import complete, has_private_database, make_secrets
from stack.pieces import RunningPiece
from stack.postgres import Cluster, program
from stack.run import only_one

_PRIVATE = ("secrets.env", "postgres", "radsec")


def restore(settings: Settings, directory: Path, identity: str) -> list[str]:
    """Restore a backup and return lines on what was done. Raises BackupFailed and BadSettings."""
    manifest = check(directory)
    files = dict(kept_files(directory, identity))  # says at once when the identity is another one
    prepare_directories(settings)
    with only_one(settings):
        _expect_nothing(settings)
        with _taken_away_on_failure(settings):
            _put_back(settings, files)
            settings = _with_keys(settings, files)
            make_secrets(settings)
            with _database(settings) as complete_settings:
                _fill(complete_settings, directory, identity)
                migrate(complete_settings)
    return [
        f"The backup of {manifest['made_at']} is restored to {settings.data_dir}.",
        "Start Portico as before; radiusd's image is made at the start.",
        "Machines that run radiusd against this database need their image directory emptied before they start.",
    ]


def _expect_nothing(settings: Settings) -> None:
    for name in _PRIVATE:
        if (settings.data_dir / name).exists():
            raise BadSettings(
                f"PORTICO_DATA_DIR: {settings.data_dir} already has {name}; restore into an empty directory"
            )


@contextmanager
def _taken_away_on_failure(settings: Settings) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for name in _PRIVATE:
            path = settings.data_dir / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _put_back(settings: Settings, files: dict[str, bytes]) -> None:
    """Write the kept files where they were; a name that would lead elsewhere is refused."""
    account = piece_account(settings)
    for name, content in files.items():
        if name in ("environment.env", "postgres/postgresql.local.conf"):
            continue
        parts = Path(name).parts
        if ".." in parts or Path(name).is_absolute() or parts[0] not in _PRIVATE:
            raise BackupFailed(f"the backup holds a file called {name!r}, which Portico never wrote")
        path = settings.data_dir / name
        if path.parent != settings.data_dir:
            own_directory(path.parent, account)
        write_private_file(path, content.decode("utf-8"), account)


def _with_keys(settings: Settings, files: dict[str, bytes]) -> Settings:
    """Insist on the keys that sealed the secrets, where they were kept in the environment."""
    line = files.get("environment.env", b"").decode("utf-8").strip()
    if not line or (settings.secret_keys is not None and line.endswith(settings.secret_keys.get_secret_value())):
        return settings
    raise BadSettings(
        "PORTICO_SECRET_KEYS: the backup was made with keys from the environment; set them here too."
        " `portico backup secrets` prints them"
    )


@contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """Have a database without tables: the outside one, or a private one that runs for as long as this lasts."""
    if not has_private_database(settings):
        yield complete(settings)
        return
    cluster = Cluster(settings)
    cluster.prepare()
    with RunningPiece(cluster.piece(), settings.log_dir / "postgres.log"):
        cluster.ensure_roles()
        yield complete(settings)


def _fill(settings: Settings, directory: Path, identity: str) -> None:
    assert settings.owner_database_url is not None
    url = settings.owner_database_url.get_secret_value()
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    if tables is None or tables[0]:
        raise BadSettings("PORTICO_OWNER_DATABASE_URL: that database already has tables; restore into an empty one")
    database, environment = connection_of(url)
    command = [str(program("pg_restore")), "--single-transaction", "--no-owner", "--no-password"]
    command.append(f"--dbname={database}")
    pour(directory, identity, command, environment)


def secrets_of(files: dict[str, bytes]) -> str:
    """Return the text of every kept file with keys, for people who need them."""
    return "".join(files[name].decode("utf-8") for name in ("secrets.env", "environment.env") if name in files)
