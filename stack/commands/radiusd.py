"""`portico radiusd`: FreeRADIUS with our Python inside."""

import click

from stack.installation import installed_settings
from stack.programs import become_piece
from stack.radiusd import radiusd_piece


@click.command()
def command() -> None:
    """Run radiusd: Access-Requests and Accounting-Requests."""
    settings = installed_settings()
    become_piece(radiusd_piece(settings), settings)
