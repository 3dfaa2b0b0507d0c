"""`portico publisher`: changed rows go into the image."""

import click

from core.log import configure_logging
from db.status import serve_status
from stack.accounts import become, piece_account, prepare_directories
from stack.installation import installed_settings


@click.command()
def command() -> None:
    """Run the publisher: what changed in PostgreSQL is what radiusd answers with."""
    settings = installed_settings()
    prepare_directories(settings)
    become(piece_account(settings))
    configure_logging("publisher", settings.log_level)
    from radius.publisher import main

    serve_status(settings, "publisher")
    main(settings)
