"""`portico vpn`: the server that routers dial."""

import os
import signal

import click

from core.log import configure_logging
from core.settings import BadSettings
from stack.accounts import prepare_directories
from stack.installation import installed_settings
from stack.vpn import OFF, left_out, prepare_vpn, vpn_piece


@click.command()
def command() -> None:
    """Run the VPN server: WireGuard for RouterOS 7, OpenVPN for RouterOS 6."""
    settings = installed_settings()
    if settings.vpn == "off":
        click.echo(f"{OFF}: routers cannot dial in")
        return
    if os.geteuid() == 0:
        problem = left_out(settings)
        if problem is not None:
            raise BadSettings(problem)
        prepare_directories(settings)
        prepare_vpn(settings)
        piece = vpn_piece(settings)
        os.chdir(piece.directory)
        command = piece.full_command()
        os.execvpe(command[0], command, dict(piece.environment))  # noqa: S606 - no shell is wanted
    configure_logging("vpn", settings.log_level)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from network.vpn_halves import obstacle
    from network.vpn_server import main

    found = obstacle()
    if settings.vpn == "on" and found is not None:
        raise BadSettings(f"PORTICO_VPN=on, but the server cannot run here: {found.value}")
    main(settings)
