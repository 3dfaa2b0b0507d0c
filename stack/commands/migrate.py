"""`portico migrate`: the schema is brought to what this version needs."""

import time

import click

from core.settings import Settings, read_settings
from stack.installation import complete, has_private_database, read_secrets
from stack.pieces import PieceFailed
from stack.postgres import Cluster

PATIENCE = 300.0
"""How long the private PostgreSQL may take to be there, in seconds: it may have a crash to recover from."""


@click.command()
def command() -> None:
    """Bring the database's roles and schema to what this version needs. Harmless when nothing is to do."""
    settings = read_settings()
    if has_private_database(settings):
        wait_for_postgres(settings)
        Cluster(settings).ensure_roles()
    from db.migrate import migrate

    migrate(complete(settings))


def wait_for_postgres(settings: Settings, patience: float = PATIENCE) -> None:
    """Wait until the private PostgreSQL answers: systemd and containers start us beside it. Raises PieceFailed."""
    deadline = time.monotonic() + patience
    while not (read_secrets(settings) and Cluster(settings).is_ready()):
        if time.monotonic() > deadline:
            raise PieceFailed(f"no PostgreSQL answered on {settings.run_dir} within {patience:g} s")
        time.sleep(0.5)
