"""`portico redis`: the private Redis by itself."""

import click

from core.settings import read_settings
from stack.programs import become_piece
from stack.redis import redis_piece


@click.command()
def command() -> None:
    """Run the private Redis, Celery's broker."""
    settings = read_settings()
    become_piece(redis_piece(settings), settings)
