"""`portico restore`: an empty machine becomes the installation that was backed up."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import click

from core.settings import read_settings


@click.command()
@click.argument("backup")
@click.option(
    "--identity",
    required=True,
    type=click.File("r", encoding="utf-8"),
    help="File with the secret key (AGE-SECRET-KEY-1…); - reads it from standard input.",
)
def command(backup: str, identity: TextIO) -> None:
    """Restore a backup into an empty data directory (and an empty database, where that is outside).

    BACKUP is a directory, or s3:NAME for a copy in the storage that the settings name.
    """
    from stack.backup import BackupFailed
    from stack.offsite import fetch
    from stack.restore import restore

    settings = read_settings()
    try:
        with TemporaryDirectory(prefix="portico-restore-") as room:
            stored = backup.startswith("s3:")
            directory = fetch(settings, backup.removeprefix("s3:"), Path(room)) if stored else Path(backup)
            for line in restore(settings, directory, identity.read()):
                click.echo(line)
    except BackupFailed as problem:
        raise click.ClickException(str(problem)) from None
