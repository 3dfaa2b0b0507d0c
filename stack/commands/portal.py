"""`portico portal`: the web application."""

import click

from stack.installation import installed_settings
from stack.programs import become_piece, portal_piece


@click.command()
def command() -> None:
    """Run the portal: staff, subscribers and the API."""
    settings = installed_settings()
    become_piece(portal_piece(settings), settings)
