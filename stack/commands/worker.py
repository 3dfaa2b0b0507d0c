"""`portico worker`: tasks and their schedule."""

import click

from stack.installation import installed_settings
from stack.programs import become_piece, worker_piece


@click.command()
def command() -> None:
    """Run the worker: CoA orders, sweeps and everything on a schedule."""
    settings = installed_settings()
    become_piece(worker_piece(settings), settings)
