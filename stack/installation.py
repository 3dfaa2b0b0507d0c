"""An installation: the settings, completed by what its data directory keeps.

At the first start passwords for the private PostgreSQL and the key that seals secrets are made and kept in
`secrets.env`. Every command completes its settings from that file, so `portico loader` finds the same database
whether the supervisor, systemd or a person starts it. A value in the environment always wins.
"""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from core.crypto import Keyring
from core.settings import BadSettings, Settings, read_settings
from stack.accounts import piece_account, write_private_file

PROJECT = Path(__file__).resolve().parent.parent
"""Where the code of this installation stands."""

DATABASE = "portico"
SUPERUSER = "postgres"
OWNER_ROLE, SYSTEM_ROLE, PORTAL_ROLE = "portico_owner", "portico_system", "portico_portal"
ROLES = (SUPERUSER, OWNER_ROLE, SYSTEM_ROLE, PORTAL_ROLE)


def secrets_file(settings: Settings) -> Path:
    return settings.data_dir / "secrets.env"


def read_secrets(settings: Settings) -> dict[str, str]:
    """Return what `secrets.env` keeps; empty before the first start. Raises BadSettings when it cannot be read."""
    path = secrets_file(settings)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise BadSettings(f"cannot read {path}: {problem.strerror}; run this as root or {settings.user}") from None
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def make_secrets(settings: Settings) -> None:
    """Write what is still missing from `secrets.env`; what is there stays as it is."""
    kept = read_secrets(settings)
    wanted = {password_name(role): secrets.token_urlsafe(24) for role in ROLES}
    if settings.secret_keys is None:
        wanted["PORTICO_SECRET_KEYS"] = Keyring.generate()
    complete_secrets = wanted | kept
    if complete_secrets != kept:
        write_secrets(settings, complete_secrets)


def write_secrets(settings: Settings, values: dict[str, str]) -> None:
    """Replace `secrets.env`, whole or not at all."""
    lines = [
        "# Made by Portico at the first start. Whoever reads this can open every sealed secret: keep a copy of it",
        "# apart from the backups of the database.",
        *(f"{name}={value}" for name, value in sorted(values.items())),
    ]
    write_private_file(secrets_file(settings), "\n".join(lines) + "\n", piece_account(settings))


def password_name(role: str) -> str:
    """Return the name under which `secrets.env` keeps the password of a PostgreSQL role."""
    return f"PORTICO_PASSWORD_{role.removeprefix('portico_').upper()}"


def private_url(settings: Settings, role: str, database: str = DATABASE) -> str:
    """Return the libpq URL of the private PostgreSQL for one role. Raises BadSettings before the first start."""
    try:
        password = read_secrets(settings)[password_name(role)]
    except KeyError:
        raise BadSettings(
            f"PORTICO_DATABASE_URL is not set and {settings.data_dir} has no private PostgreSQL yet;"
            " `portico run` makes one"
        ) from None
    return f"postgresql://{role}:{quote(password, safe='')}@/{database}?host={quote(str(settings.run_dir), safe='/')}"


def private_redis_url(settings: Settings, number: int = 0) -> str:
    """Return the URL of the private Redis in the form that Celery takes; `number` is the Redis database."""
    return f"redis+socket://{settings.run_dir / 'redis.sock'}?virtual_host={number}"


def has_private_database(settings: Settings) -> bool:
    """Tell whether PostgreSQL is ours to start: no setting names another."""
    return settings.database_url is None


def has_private_redis(settings: Settings) -> bool:
    """Tell whether Redis is ours to start."""
    return settings.redis_url is None


def complete(settings: Settings) -> Settings:
    """Return the settings with keys, database and Redis filled in from the data directory where they were unset.

    Raises BadSettings when some of the database URLs are set and others are not, or before the first start.
    """
    values: dict[str, object] = {}
    kept = read_secrets(settings)
    if settings.secret_keys is None and "PORTICO_SECRET_KEYS" in kept:
        values["secret_keys"] = SecretStr(kept["PORTICO_SECRET_KEYS"])
    if settings.database_url is None:
        for name in ("portal_database_url", "owner_database_url"):
            if getattr(settings, name) is not None:
                raise BadSettings(f"PORTICO_{name.upper()} is set, so PORTICO_DATABASE_URL must be too")
        values["database_url"] = SecretStr(private_url(settings, SYSTEM_ROLE))
        values["portal_database_url"] = SecretStr(private_url(settings, PORTAL_ROLE))
        values["owner_database_url"] = SecretStr(private_url(settings, OWNER_ROLE))
    if settings.redis_url is None:
        values["redis_url"] = SecretStr(private_redis_url(settings))
    return settings.model_copy(update=values)


def installed_settings() -> Settings:
    """Read the environment and complete it from the data directory: what a command starts with. Raises BadSettings."""
    return complete(read_settings())


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as the environment variables they are read from."""
    environment = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, bool):
            value = str(value).lower()
        environment[f"PORTICO_{name.upper()}"] = str(value)
    return environment


def piece_environment(settings: Settings) -> dict[str, str]:
    """Return the whole environment of a piece: the settings and little else of the environment of who started it."""
    account = piece_account(settings)
    return {
        "PATH": os.pathsep.join((str(programs_directory()), "/usr/sbin", "/usr/bin", "/sbin", "/bin")),
        "HOME": str(settings.data_dir),
        "USER": account.name,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **settings_environment(settings),
    }


def programs_directory() -> Path:
    """Return where the programs of this virtual environment are, `celery` and `gunicorn` among them."""
    return Path(sys.executable).parent
