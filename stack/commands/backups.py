"""`portico backups`: a backup each day."""

import click

from core.log import configure_logging
from core.settings import read_settings
from core.status import serve
from stack.accounts import become, piece_account, prepare_directories


@click.command()
def command() -> None:
    """Make a backup each day at PORTICO_BACKUP_HOUR, and remove old ones."""
    settings = read_settings()
    prepare_directories(settings)
    become(piece_account(settings))
    configure_logging("backups", settings.log_level)
    from stack.backup_schedule import main, measure

    measure(settings)
    serve(settings.run_dir, "backups", {})
    main(settings)
