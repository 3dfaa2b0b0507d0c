"""Network interfaces of the VPN server: made, marked as ours, closed to forwarding, and taken away again.

Everything goes through ip(8) and wg(8), which need CAP_NET_ADMIN and nothing else. What a router sends into its tunnel
may go to this machine and no further: a routing rule refuses whatever came in by one of our interfaces and is for
another machine. So routers reach neither each other nor the network behind the server, whatever the machine's own
forwarding and firewall are set to.
"""

import json
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

TUN = Path("/dev/net/tun")
PROGRAMS = ("ip", "wg", "wireguard-go", "openvpn", "setpriv")
_CAP_NET_ADMIN = 12
_RULE = "5180"
"""The preference of our routing rules: after the kernel's own for local addresses (0), before all others."""


class LinkProblem(Exception):
    """A command that was to change an interface failed; `str()` is its last line."""


def run(*command: str, given: str = "") -> str:
    """Run a command to its end, with `given` as its input, and return what it printed. Raises LinkProblem."""
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no word of it comes from a request
            command, input=given, text=True, check=True, capture_output=True, timeout=10
        ).stdout
    except subprocess.CalledProcessError as problem:
        raise LinkProblem(f"{command[0]}: {(problem.stderr.strip().splitlines() or ['?'])[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise LinkProblem(f"{command[0]}: {type(problem).__name__}") from None


def may_administer() -> bool:
    """Tell whether this process has CAP_NET_ADMIN."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def has_tun() -> bool:
    """Tell whether this process may open /dev/net/tun."""
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def missing_program() -> str | None:
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


def port_is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def owner_of(interface: str) -> str | None:
    """Return the alias of an interface, which says whose it is; None when there is no such interface."""
    try:
        (link,) = json.loads(run("ip", "-json", "link", "show", "dev", interface))
    except (LinkProblem, ValueError):
        return None
    return str(link.get("ifalias", ""))


def add_kernel_wireguard(interface: str) -> bool:
    """Make a WireGuard interface of the kernel's; False where the kernel has no WireGuard."""
    try:
        run("ip", "link", "add", "dev", interface, "type", "wireguard")
    except LinkProblem:
        return False
    return True


def add_tun(interface: str) -> None:
    """Make a tun interface that this user may open without any capability. Raises LinkProblem."""
    run("ip", "tuntap", "add", "dev", interface, "mode", "tun", "user", str(os.geteuid()))


def bring_up(interface: str, address: IPv4Address, network: IPv4Network, mtu: int, owner: str) -> None:
    """Give an interface its address, mark it as ours, close it to forwarding and switch it on. Raises LinkProblem."""
    close_to_forwarding(interface)
    run("ip", "link", "set", "dev", interface, "alias", owner)
    run("ip", "address", "replace", f"{address}/{network.prefixlen}", "dev", interface)
    run("ip", "link", "set", "dev", interface, "mtu", str(mtu), "up")


def close_to_forwarding(interface: str) -> None:
    """Refuse whatever comes in by an interface and is not for this machine. Raises LinkProblem."""
    for family in ("-4", "-6"):
        open_to_forwarding(interface, family)
        run("ip", family, "rule", "add", "iif", interface, "preference", _RULE, "prohibit")


def open_to_forwarding(interface: str, family: str) -> None:
    """Take our rules of an interface away, all of them."""
    with suppress(LinkProblem):
        while True:
            run("ip", family, "rule", "delete", "iif", interface, "preference", _RULE)


def remove(interface: str) -> None:
    """Take an interface and its rules away; one that is gone already is no problem."""
    with suppress(LinkProblem):
        run("ip", "link", "delete", "dev", interface)
    for family in ("-4", "-6"):
        open_to_forwarding(interface, family)
