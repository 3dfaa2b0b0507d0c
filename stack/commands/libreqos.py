"""`portico libreqos`: the files that LibreQoS shapes an operator's subscribers by."""

from pathlib import Path

import click

from stack.installation import installed_settings
from stack.terminal import told as _


@click.command()
@click.argument("operator")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def command(operator: str, directory: Path) -> None:
    """Write network.json and ShapedDevices.csv of the operator OPERATOR (its short name) into DIRECTORY."""
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from core.settings import BadSettings
    from db.models import Operator
    from db.session import make_engine
    from network.shaper import files, write_files

    settings = installed_settings()
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    engine = make_engine(settings.database_url.get_secret_value())
    try:
        with Session(engine) as session:
            operator_id = session.scalar(select(Operator.id).where(Operator.slug == operator))
            if operator_id is None:
                raise click.ClickException(_("There is no operator %(slug)s.", slug=operator))
            contents = files(session, operator_id)
    finally:
        engine.dispose()
    try:
        written = write_files(directory, contents)
    except OSError as problem:
        raise click.ClickException(f"{directory}: {problem.strerror or problem}") from None
    same = _("unchanged")
    for name in contents:
        click.echo(f"{directory / name}{'' if name in written else f' ({same})'}")
