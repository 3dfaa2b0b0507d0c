"""`portico migrate`: the schema is brought to what this version needs."""

import click

from core.settings import read_settings
from stack.installation import complete, has_private_database
from stack.postgres import Cluster


@click.command()
def command() -> None:
    """Bring the database's roles and schema to what this version needs. Harmless when nothing is to do."""
    settings = read_settings()
    if has_private_database(settings):
        Cluster(settings).ensure_roles()
    from db.migrate import migrate

    migrate(complete(settings))
