"""`portico docs`: pages of the documentation that are made of the code."""

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Print pages of the documentation that are made of the code."""


@command.command()
def permissions() -> None:
    """Print who may do what, as Markdown; `docs/permissions.md` is this text."""
    from stack.permissions_page import permissions_page

    click.echo(permissions_page(), nl=False)


@command.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("docs/images"))
def pictures(directory: Path) -> None:
    """Take the pictures of each role's home anew, from the demo that runs here, into DIRECTORY."""
    from stack.installation import installed_settings
    from stack.pictures import picture_homes

    for path in picture_homes(installed_settings(), directory):
        click.echo(f"{path}  {path.stat().st_size // 1024} kB")


@command.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("docs/guide"))
def manual(directory: Path) -> None:
    """Take the pictures of the operator's manual anew in each language, from the demo that runs here."""
    from stack.installation import installed_settings
    from stack.pictures import picture_manual

    for path in picture_manual(installed_settings(), directory):
        click.echo(f"{path}  {path.stat().st_size // 1024} kB")
