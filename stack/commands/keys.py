"""`portico keys`: the keys that seal secrets at rest."""

import click

from core.crypto import Keyring


@click.group()
def command() -> None:
    """Make and change the keys that seal secrets at rest."""


@command.command()
@click.option("--id", "key_id", default=1, show_default=True, type=click.IntRange(1, 255), help="Id of the new key.")
def generate(key_id: int) -> None:
    """Print a new key, a value for PORTICO_SECRET_KEYS."""
    click.echo(Keyring.generate(key_id))
