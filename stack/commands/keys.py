"""`portico keys`: the keys that seal secrets at rest."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from core.crypto import Keyring
from core.settings import Settings, read_settings
from stack.installation import complete
from stack.terminal import told as _

Answer = TypeVar("Answer")


@click.group()
def command() -> None:
    """Make and change the keys that seal secrets at rest.

    To change the key: `add`, restart Portico, `rotate`, restart Portico, `retire`.
    """


@command.command()
@click.option("--id", "key_id", default=1, show_default=True, type=click.IntRange(1, 255), help="Id of the new key.")
def generate(key_id: int) -> None:
    """Print a new key, a value for PORTICO_SECRET_KEYS."""
    click.echo(Keyring.generate(key_id))


@command.command("list")
def list_sealed() -> None:
    """Show every sealed column, how many values it has, and with which key each is sealed; 1 is the first key."""
    from stack.rotation import sealed_values

    for column, counts in _with_database(read_settings(), lambda connection, _keyring: sealed_values(connection)):
        by_key = ", ".join(
            _("%(count)s with key %(id)s", count=count, id=key_id) for key_id, count in sorted(counts.items())
        ) or _("none")
        click.echo(f"{f'{column.table}.{column.column}':<34} {column.purpose:<26} {by_key}")


@command.command()
def add() -> None:
    """Add a key that opens but does not seal yet, so that every piece knows it before it is used."""
    from stack.rotation import keep_keys, kept_keys, with_new_key

    settings = read_settings()
    keep_keys(settings, with_new_key(kept_keys(settings)))
    click.echo(_("A key was added. Restart Portico, then run `portico keys rotate`."))


@command.command()
@click.option("--reseal-only", is_flag=True, help="Leave secrets.env alone; the keys are kept elsewhere.")
def rotate(reseal_only: bool) -> None:
    """Let the newest key seal, and seal every secret again with it. May be run again at any time."""
    from stack.rotation import keep_keys, kept_keys, reseal, with_newest_key_first

    settings = read_settings()
    if not reseal_only:
        keys = kept_keys(settings)
        if "," not in keys:
            raise click.ClickException(_("There is one key only; `portico keys add` makes another."))
        keep_keys(settings, with_newest_key_first(keys))
    count = _with_database(settings, reseal)
    click.echo(_("Secrets sealed again: %(count)s. Restart Portico, then run `portico keys retire`.", count=count))


@command.command()
def retire() -> None:
    """Drop the keys that seal no more. Refuses while anything is still sealed with one of them."""
    from stack.rotation import keep_keys, kept_keys, only_first_key, sealed_with_others

    settings = read_settings()
    keys = kept_keys(settings)
    count = _with_database(settings, sealed_with_others)
    if count:
        raise click.ClickException(
            _("Secrets still sealed with an older key: %(count)s. Run `portico keys rotate`.", count=count)
        )
    keep_keys(settings, only_first_key(keys))
    click.echo(_("Only the newest key is kept. Backups of the database from before need the older ones."))


def _with_database(settings: Settings, work: Callable[[Any, Keyring], Answer]) -> Answer:
    import psycopg

    settings = complete(settings)
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return work(connection, settings.keyring)
