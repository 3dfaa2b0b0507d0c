"""`portico operator`: the ISPs that share an installation."""

import click

from stack.installation import installed_settings
from stack.terminal import told as _


@click.group()
def command() -> None:
    """Enter the ISPs that share this installation."""


@command.command()
@click.argument("slug")
@click.argument("name")
@click.option("--timezone", default="UTC", show_default=True, help="Zone in which its days begin and end.")
@click.option("--currency", default="USD", show_default=True, help="ISO 4217 code.")
@click.option("--locale", default="en", show_default=True, help="Language of its messages: en or es.")
def create(slug: str, name: str, timezone: str, currency: str, locale: str) -> None:
    """Enter an operator. SLUG is its short name in commands, such as valle-net; NAME is what people read."""
    from crm.problems import Invalid
    from crm.staff import OperatorDetails
    from portal.cli import add_operator, problem_lines

    try:
        operator_id = add_operator(installed_settings(), OperatorDetails(slug, name, locale, currency, timezone))
    except Invalid as invalid:
        raise click.ClickException("; ".join(problem_lines(invalid, _))) from None
    click.echo(
        _(
            "Operator %(slug)s is entered, number %(id)s. `portico user create %(slug)s …` gives it its first manager.",
            slug=slug, id=operator_id,
        )
    )  # fmt: skip
