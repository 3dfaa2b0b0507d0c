"""`portico monitor`: the routers are watched."""

import click

from core.log import configure_logging
from db.status import serve_status
from stack.accounts import become, piece_account, prepare_directories
from stack.installation import installed_settings


@click.command()
def command() -> None:
    """Run the monitor: poll the routers, keep samples, raise alerts, send notices."""
    settings = installed_settings()
    prepare_directories(settings)
    become(piece_account(settings))
    configure_logging("monitor", settings.log_level)
    from network.monitoring.service import main

    serve_status(settings, "monitor")
    main(settings)
