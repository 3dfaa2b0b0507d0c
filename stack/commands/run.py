"""`portico run`: the whole stack in the foreground."""

import sys

import click

from core.settings import read_settings


@click.command()
def command() -> None:
    """Run the whole stack in the foreground until Ctrl-C: servers, schema, demo, all pieces."""
    from stack.run import run

    sys.exit(run(read_settings()))
