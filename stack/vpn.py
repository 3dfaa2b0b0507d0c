"""The VPN server as a piece: it keeps CAP_NET_ADMIN of root's rights, and what else it needs is laid ready for it."""

import os
import stat
import sys

from core.settings import BadSettings, Settings
from network.vpn_links import TUN, missing_program
from network.wireguard import SOCKETS
from stack.accounts import piece_account
from stack.installation import PROJECT, piece_environment
from stack.pieces import Piece, PieceFailed

OFF = "PORTICO_VPN=off"


def vpn_piece(settings: Settings) -> Piece:
    return Piece(
        "vpn",
        (sys.executable, "-m", "stack", "vpn"),
        piece_environment(settings),
        piece_account(settings),
        PROJECT,
        capabilities=("net_admin",),
    )


def left_out(settings: Settings) -> str | None:
    """Return in one line why the VPN server is not started here, or None when it can be.

    Raises BadSettings when the settings insist on it.
    """
    if settings.vpn == "off":
        return OFF
    program = missing_program()
    if program is not None:
        problem = f"{program} is not installed; run stack/setup.sh"
    elif not TUN.exists():
        problem = f"there is no {TUN}; `modprobe tun`, or give it to the container"
    elif os.geteuid() != 0:
        problem = "it needs root or CAP_NET_ADMIN"
    else:
        return None
    if settings.vpn == "on":
        raise BadSettings(f"PORTICO_VPN=on, but {problem}")
    return f"routers cannot dial in: {problem}"


def prepare_vpn(settings: Settings) -> None:
    """As root, before its rights are given up: let the piece's user open /dev/net/tun, and meet wireguard-go.

    udev opens /dev/net/tun to everybody, since without CAP_NET_ADMIN it is of no use; where udev was not at work the
    user's group is let in. wireguard-go and wg(8) meet in a directory that is built into both. Raises PieceFailed.
    """
    if os.geteuid() != 0:
        return
    account = piece_account(settings)
    try:
        found = TUN.stat()
        if not found.st_mode & stat.S_IWOTH:
            os.chown(TUN, -1, account.gid)
            TUN.chmod(stat.S_IMODE(found.st_mode) | stat.S_IRGRP | stat.S_IWGRP)
        SOCKETS.mkdir(mode=0o755, exist_ok=True)
        os.chown(SOCKETS, account.uid, account.gid)
    except OSError as problem:
        raise PieceFailed(f"vpn: {problem.filename}: {problem.strerror}") from None
