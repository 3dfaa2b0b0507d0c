"""`portico health`: are the pieces of this machine alive, and ready."""

import json

import click

from core.status import PIECES
from stack.installation import installed_settings


@click.command()
@click.argument("piece", required=False, type=click.Choice(PIECES))
@click.option("--alive", is_flag=True, help="Ask whether it is alive, not whether it is ready.")
def command(piece: str | None, *, alive: bool) -> None:
    """Say whether PIECE can do its work, or each piece that runs on this machine; exit status 1 where one cannot.

    For the health checks of containers, and for whoever looks at a machine without a browser.
    """
    from portal.health import asked

    settings = installed_settings()
    well = True
    for name in (piece,) if piece else PIECES:
        try:
            status, said = asked(settings, name, "/healthz" if alive else "/readyz")
        except FileNotFoundError:
            if piece is None:
                continue  # it runs elsewhere, or not at all
            status, said = 503, '{"status": "not running here"}'
        except OSError as problem:
            status, said = 503, json.dumps({"status": f"no answer ({type(problem).__name__})"})
        answer = json.loads(said)
        wrong = [f"{check}: {found}" for check, found in answer.get("checks", {}).items() if found != "ok"]
        wrong += [f"{step}: stuck" for step in answer.get("stuck", ())]
        click.echo(f"{name:<10} {answer['status']}{' – ' + '; '.join(wrong) if wrong else ''}")
        well = well and status == 200
    raise SystemExit(0 if well else 1)
