"""`portico user`: the staff who sign in to the portal."""

import sys

import click

from stack.installation import installed_settings
from stack.terminal import told as _

ROLES = ("manager", "sales", "support", "finance", "technical")


@click.group()
def command() -> None:
    """Enter the staff who sign in to the portal."""


@command.command()
@click.argument("operator")
@click.argument("email")
@click.argument("name")
@click.option("--role", "roles", multiple=True, default=("manager",), type=click.Choice(ROLES), help="May be repeated.")
def create(operator: str, email: str, name: str, roles: tuple[str, ...]) -> None:
    """Enter a staff member of OPERATOR (its slug). The password is asked for, or read from standard input."""
    from crm.problems import Invalid
    from portal.cli import add_staff, problem_lines

    if sys.stdin.isatty():
        password = click.prompt(_("Password"), hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        add_staff(installed_settings(), operator, email, name, list(roles), password)
    except Invalid as invalid:
        raise click.ClickException("; ".join(problem_lines(invalid, _))) from None
    click.echo(
        _("%(email)s may sign in as %(roles)s of %(operator)s.", email=email, roles=", ".join(roles), operator=operator)
    )
