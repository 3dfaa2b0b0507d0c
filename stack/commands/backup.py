"""`portico backup`: an encrypted copy of everything that must survive this machine."""

from pathlib import Path
from typing import TextIO

import click

from core.settings import read_settings
from stack.terminal import told as _

_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
_IDENTITY = click.option(
    "--identity",
    required=True,
    type=click.File("r", encoding="utf-8"),
    help="File with the secret key (AGE-SECRET-KEY-1…); - reads it from standard input.",
)


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Make a backup now, or look after those that were made."""
    if context.invoked_subcommand is not None:
        return
    from stack.backup import BackupFailed, back_up
    from stack.offsite import copy_out, is_set

    try:
        settings = read_settings()
        made = back_up(settings)
        click.echo(
            _("%(directory)s: %(octets)s octets, encrypted and read again.",
              directory=made.directory, octets=f"{made.octets:,}")
        )  # fmt: skip
        if is_set(settings):
            copy = copy_out(settings, made)
            click.echo(_("%(name)s is copied to %(bucket)s.", name=copy.name, bucket=settings.backup_s3_bucket))
    except BackupFailed as problem:
        raise click.ClickException(str(problem)) from None


@command.command()
def key() -> None:
    """Make the pair of keys: one for the settings, one to be kept where this machine is not."""
    from stack.backup import make_key

    identity, recipient = make_key()
    apart = _("Keep this line apart from the machine, in two places. Without it no backup can be read.")
    here = _("Put this line into the settings.")
    click.echo(f"# {apart}\n{identity}\n# {here}\n# PORTICO_BACKUP_RECIPIENT={recipient}")


@command.command("list")
def list_backups() -> None:
    """Say which backups there are, here and in the storage."""
    from stack.backup import BackupFailed, backups
    from stack.offsite import copies, is_set

    settings = read_settings()
    for backup in backups(settings):
        click.echo(f"{backup.made_at:%Y-%m-%d %H:%M} UTC  {backup.octets:>15,} octets  {backup.directory}")
    if is_set(settings):
        try:
            for copy in copies(settings):
                click.echo(f"{copy.made_at:%Y-%m-%d %H:%M} UTC  {copy.octets:>15,} octets  s3:{copy.name}")
        except BackupFailed as problem:
            raise click.ClickException(str(problem)) from None


@command.command()
@_DIRECTORY
@_IDENTITY
def verify(directory: Path, identity: TextIO) -> None:
    """Decrypt the backup in DIRECTORY to its last octet and say what it holds."""
    from stack.backup import BackupFailed
    from stack.backup import verify as verified

    try:
        tables = verified(directory, identity.read())
    except BackupFailed as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(_("%(directory)s is whole: %(count)s tables.", directory=directory, count=len(tables)))


@command.command()
@_DIRECTORY
@_IDENTITY
def secrets(directory: Path, identity: TextIO) -> None:
    """Print the keys in the backup in DIRECTORY, for an installation that keeps them in its environment."""
    from stack.backup import BackupFailed, kept_files
    from stack.restore import secrets_of

    try:
        click.echo(secrets_of(dict(kept_files(directory, identity.read()))), nl=False)
    except BackupFailed as problem:
        raise click.ClickException(str(problem)) from None
