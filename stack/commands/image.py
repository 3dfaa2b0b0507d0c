"""`portico image`: the image that radiusd answers from."""

import click

from core.settings import read_settings
from stack.terminal import told as _


@click.group()
def command() -> None:
    """Check and renew the image that radiusd answers from."""


@command.command()
def verify() -> None:
    """Read the whole image and check every value's signature and checksum."""
    from radius.image import ImageDamaged, ImageMissing
    from radius.image import verify as verify_image
    from stack.installation import installed_settings

    settings = installed_settings()
    try:
        count = verify_image(settings.image_dir, settings.keyring)
    except (ImageDamaged, ImageMissing) as problem:
        raise click.ClickException(
            _("%(problem)s; `portico image rebuild` asks for a new one", problem=problem)
        ) from None
    click.echo(_("%(count)s values, all whole", count=count))


@command.command()
def rebuild() -> None:
    """Ask the publisher for a new image. radiusd answers from the old one until the new one is whole."""
    from radius.image import DAMAGED
    from stack.accounts import piece_account, write_private_file

    settings = read_settings()
    write_private_file(settings.image_dir / DAMAGED, "", piece_account(settings))
    click.echo(_("Asked; the publisher says when it is done."))
