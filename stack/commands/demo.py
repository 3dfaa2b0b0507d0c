"""`portico demo`: the demo operator, made once."""

import json

import click

from stack.installation import installed_settings


@click.command()
def command() -> None:
    """Make the demo operator if it is not there, and print its logins as JSON."""
    from stack.demo import seed

    click.echo(json.dumps(seed(installed_settings()).lines()))
