"""`portico settings`: every setting and what it means."""

import click

from stack.settings_page import settings_page


@click.command()
def command() -> None:
    """Print every setting as Markdown; `docs/settings.md` is this text."""
    click.echo(settings_page(), nl=False)
