"""`portico books`: the ledger."""

import click

from stack.installation import installed_settings
from stack.terminal import told as _


@click.group()
def command() -> None:
    """Look after the books."""


@command.command()
@click.option("--operator", "slug", help="Short name of one operator; all of them by default.")
def verify(slug: str | None) -> None:
    """Follow the ledger from its first entry to its last, and compare it with invoices and payments.

    Says which entries were altered, removed or do not balance, and ends with status 1 when there are any.
    """
    from sqlalchemy import select

    from billing.ledger import broken_entries, discrepancies, entry_count
    from db.models import Operator
    from db.session import make_engine, make_sessions

    settings = installed_settings()
    assert settings.database_url is not None
    engine = make_engine(settings.database_url.get_secret_value())
    sound = True
    try:
        with make_sessions(engine)() as session:
            query = select(Operator).order_by(Operator.slug)
            operators = session.scalars(query if slug is None else query.where(Operator.slug == slug)).all()
            if not operators:
                raise click.ClickException(_("There is no operator %(slug)s.", slug=slug))
            for operator in operators:
                broken, differing = broken_entries(session, operator.id), discrepancies(session, operator.id)
                for number in broken:
                    broke = _("entry %(number)s was altered, removed, or does not balance", number=number)
                    click.echo(f"{operator.slug}: {broke}")
                for each in differing:
                    told = _("documents %(documents)s, books %(books)s", documents=each.documents, books=each.ledger)
                    click.echo(f"{operator.slug}: {each.what}: {told}")
                if broken or differing:
                    sound = False
                else:
                    whole = _("%(count)s entries, sound", count=entry_count(session, operator.id))
                    click.echo(f"{operator.slug}: {whole}")
    finally:
        engine.dispose()
    if not sound:
        raise SystemExit(1)
