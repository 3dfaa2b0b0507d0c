"""`portico explain`: what would happen if a subscriber connected now, and why."""

import click

from core.i18n import LANGUAGES
from stack.installation import installed_settings
from stack.terminal import terminal_language


@click.command()
@click.argument("operator")
@click.argument("name")
@click.option(
    "--language",
    type=click.Choice(list(LANGUAGES)),
    default=terminal_language,
    help="Language of the explanation; the terminal's by default.",
)
def command(operator: str, name: str, language: str) -> None:
    """Explain the user name or MAC address NAME of the operator OPERATOR (its short name), rule by rule."""
    from stack.explanation import explanation_text

    click.echo(explanation_text(installed_settings(), operator, name, language))
