"""`portico loader`: the journal goes into PostgreSQL."""

import click

from core.log import configure_logging
from db.status import serve_status
from stack.accounts import become, piece_account, prepare_directories
from stack.installation import installed_settings


@click.command()
def command() -> None:
    """Run the loader: the journal's records become sessions, usage and events."""
    settings = installed_settings()
    prepare_directories(settings)
    become(piece_account(settings))
    configure_logging("loader", settings.log_level)
    from radius.loader import main

    serve_status(settings, "loader")
    main(settings)
