"""`portico restore`: an empty machine becomes the installation that was backed up."""

from pathlib import Path
from typing import TextIO

import click

from core.settings import read_settings


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--identity",
    required=True,
    type=click.File("r", encoding="utf-8"),
    help="File with the secret key (AGE-SECRET-KEY-1…); - reads it from standard input.",
)
def command(directory: Path, identity: TextIO) -> None:
    """Restore the backup in DIRECTORY into an empty data directory (and an empty database, where that is outside)."""
    from stack.backup import BackupFailed
    from stack.restore import restore

    try:
        for line in restore(read_settings(), directory, identity.read()):
            click.echo(line)
    except BackupFailed as problem:
        raise click.ClickException(str(problem)) from None
