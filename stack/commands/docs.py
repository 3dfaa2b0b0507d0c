"""`portico docs`: pages of the documentation that are made of the code."""

import click


@click.group()
def command() -> None:
    """Print pages of the documentation that are made of the code."""


@command.command()
def permissions() -> None:
    """Print who may do what, as Markdown; `docs/permissions.md` is this text."""
    from stack.permissions_page import permissions_page

    click.echo(permissions_page(), nl=False)
