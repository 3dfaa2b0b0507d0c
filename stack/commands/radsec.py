"""`portico radsec`: certificates for routers that speak RADIUS over TLS."""

from pathlib import Path

import click

from stack.installation import installed_settings
from stack.terminal import told as _


@click.group()
def command() -> None:
    """Make certificates for RadSec (RADIUS over TLS, RFC 6614); PORTICO_RADSEC_PORT switches it on."""


@command.command()
@click.argument("address")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def certificate(address: str, directory: Path) -> None:
    """Make a certificate for the NAS registered under ADDRESS and write it to DIRECTORY."""
    from stack.accounts import piece_account
    from stack.radsec import Authority, write_for_nas

    settings = installed_settings()
    authority = Authority(settings.radsec_dir, piece_account(settings))
    try:
        made = authority.issue_to_nas(address)
    except ValueError:
        raise click.ClickException(_("%(address)s is not an IP address", address=address)) from None
    name = f"nas-{address.replace(':', '-')}"
    for path in write_for_nas(made, authority.certificate_file, directory, name):
        click.echo(path)
    click.echo(_("Upload the three files to the router, then paste there:"))
    click.echo(f'/certificate import file-name=portico-ca.pem passphrase="" name=portico-ca\n'
               f'/certificate import file-name={name}.pem passphrase="" name={name}\n'
               f'/certificate import file-name={name}.key passphrase="" name={name}\n'
               f"/radius set [find comment=portico] protocol=radsec certificate={name}")  # fmt: skip
