"""`portico postgres`: the private PostgreSQL by itself."""

import click

from core.settings import read_settings
from stack.accounts import prepare_directories
from stack.installation import make_secrets
from stack.postgres import Cluster
from stack.programs import become_piece


@click.command()
def command() -> None:
    """Run the private PostgreSQL, made at its first start."""
    settings = read_settings()
    prepare_directories(settings)
    make_secrets(settings)
    cluster = Cluster(settings)
    cluster.prepare()
    become_piece(cluster.piece(), settings)
