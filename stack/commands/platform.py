"""`portico platform`: who runs the installation for other ISPs."""

import sys

import click

from stack.installation import installed_settings
from stack.terminal import told as _


@click.group()
def command() -> None:
    """Enter who runs this installation for others: they see operators, licences and sign-ups under /platform/."""


@command.command()
@click.argument("email")
@click.argument("name")
@click.option("--company", default="Portico", show_default=True, help="What the platform is called.")
@click.option(
    "--role",
    type=click.Choice(["owner", "support"]),
    default="owner",
    show_default=True,
    help="An owner decides over licences; support sees everything there, and acts for an operator with its consent.",
)
def create(email: str, name: str, company: str, role: str) -> None:
    """Enter somebody of the platform. The password is asked for, or read from standard input."""
    from crm.problems import Invalid
    from portal.cli import add_platform_staff, problem_lines

    if sys.stdin.isatty():
        password = click.prompt(_("Password"), hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        kept = {"owner": "manager"}.get(role, role)
        add_platform_staff(installed_settings(), company, email, name, password, kept)
    except Invalid as invalid:
        raise click.ClickException("; ".join(problem_lines(invalid, _))) from None
    click.echo(_("%(email)s may sign in and sees every operator under /platform/.", email=email))
