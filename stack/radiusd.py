"""radiusd: FreeRADIUS with the configuration in `freeradius-config/` and our Python inside.

The configuration is the same text for every installation; what differs comes to it through the environment, which
it reads as `$ENV{…}`.
"""

import sysconfig

from core.settings import Settings
from core.status import udp_port_is_bound
from stack.accounts import piece_account
from stack.installation import PROJECT, piece_environment
from stack.pieces import Piece
from stack.radsec import Authority

PROGRAM = "/usr/sbin/freeradius"
CONFIGURATION = PROJECT / "freeradius-config"


def radiusd_environment(settings: Settings) -> dict[str, str]:
    """Return the environment that `freeradius-config/` reads. The settings must be complete."""
    # Without it radiusd could seal and open nothing; a start that fails here says so in one line.
    assert settings.keyring
    return {
        **piece_environment(settings),
        "PORTICO_RADIUSD_THREADS": str(settings.radiusd_threads),
        "PORTICO_RUN_DIR": str(settings.run_dir),
        "PORTICO_LOG_DIR": str(settings.log_dir),
        "PORTICO_JOURNAL_DIR": str(settings.journal_dir),
        "PORTICO_IMAGE_DIR": str(settings.image_dir),
        "PORTICO_JOURNAL_SYNC": "true" if settings.journal_sync else "false",
        "PORTICO_RADSEC_DIR": str(settings.radsec_dir),
        "PORTICO_RADSEC_SITE": str(
            CONFIGURATION / "sites-available" / ("radsec" if settings.radsec_port else "no-radsec")
        ),
        "PORTICO_HOME": str(PROJECT),
        "PORTICO_SITE_PACKAGES": sysconfig.get_path("purelib"),
    }


def radiusd_command(settings: Settings) -> list[str]:
    """Return the command that runs radiusd in the foreground, logging to its standard output."""
    return [PROGRAM, "-f", "-d", str(CONFIGURATION), "-n", "radiusd", "-l", "stdout"]


def radiusd_piece(settings: Settings) -> Piece:
    """Return radiusd as a piece. Where RadSec is on and has no certificate yet, it gets one."""
    if settings.radsec_port is not None:
        Authority(settings.radsec_dir, piece_account(settings)).ensure_server()
    return Piece(
        "radiusd",
        tuple(radiusd_command(settings)),
        radiusd_environment(settings),
        piece_account(settings),
        PROJECT,
        ready=lambda: udp_port_is_bound(settings.auth_port) and udp_port_is_bound(settings.acct_port),
        ready_seconds=60.0,
        noise=": Info: Adding client ",  # each NAS anew every second, so that a changed one is in force at once
    )
