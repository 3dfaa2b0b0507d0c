"""Bringing a database to the current schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from core.clock import utc_now
from core.settings import BadSettings, Settings
from db.partitions import ensure_partitions
from db.session import make_engine, tenancy_key

MIGRATIONS = Path(__file__).resolve().parent / "migrations"


def alembic_config(owner_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = owner_url
    return config


def migrate(settings: Settings) -> None:
    """Apply what is missing, make partitions ahead, and hand PostgreSQL the tenancy key of the settings.

    Raises BadSettings without an owner's database URL, and where the schema is of a newer version than this one.
    """
    if settings.owner_database_url is None:
        raise BadSettings("PORTICO_OWNER_DATABASE_URL is not set")
    url = settings.owner_database_url.get_secret_value()
    config = alembic_config(url)
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if present is not None and present not in known:
            raise BadSettings(
                f"the database has schema {present}, which this version of Portico does not know: start the newer"
                " version, or restore a backup from before the upgrade"
            )
        command.upgrade(config, "head")
        with engine.begin() as connection:
            ensure_partitions(connection, utc_now())
            connection.execute(
                text(
                    "INSERT INTO tenancy_key (id, key) VALUES (1, :key)"
                    " ON CONFLICT (id) DO UPDATE SET key = excluded.key"
                ),
                {"key": tenancy_key(settings.keyring)},
            )
    finally:
        engine.dispose()
