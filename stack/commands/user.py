"""`portico user`: the staff who sign in to the portal."""

import sys

import click

from stack.installation import installed_settings

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
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        add_staff(installed_settings(), operator, email, name, list(roles), password)
    except Invalid as invalid:
        raise click.ClickException("; ".join(problem_lines(invalid))) from None
    click.echo(f"{email} may sign in as {', '.join(roles)} of {operator}.")
