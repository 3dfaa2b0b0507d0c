"""`portico doctor`: is this installation well?"""

import sys

import click

from core.settings import read_settings


@click.command()
def command() -> None:
    """Check versions, ports, permissions, clock, disk, security and pieces, and say what to do.

    Ends with status 1 when something must be done.
    """
    from stack.doctor import Level, examine

    worst = Level.OK
    for finding in examine(read_settings()):
        click.echo(str(finding))
        if finding.level is Level.FAIL:
            worst = finding.level
    sys.exit(1 if worst is Level.FAIL else 0)
