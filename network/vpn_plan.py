"""The VPN's plan: its two halves, their addresses, and the words that are stored. Loads no database.

The network of the settings is halved: the lower half is WireGuard's, the upper OpenVPN's, and the server has the first
address of each.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from core.settings import Settings

PEER_PURPOSE, SERVER_PURPOSE = "vpn.peer", "vpn.server"
API_PURPOSE = "router.password"
API_USER = "portico"
"""The user that the script makes on a router. It is never one that was there before."""
API_PORT = 8728


class Kind(StrEnum):
    """What a tunnel is made of."""

    WIREGUARD = "wireguard"
    OPENVPN = "openvpn"


class Status(StrEnum):
    """How one half of the server is, in vpn_server; empty before it ever ran."""

    ON = "on"
    NO_RIGHTS = "no_rights"  # CAP_NET_ADMIN is missing
    NO_TUN = "no_tun"  # /dev/net/tun is missing or closed
    NO_PROGRAM = "no_program"
    PORT_TAKEN = "port_taken"
    INTERFACE_TAKEN = "interface_taken"  # another installation's, or somebody's own
    FAILED = "failed"  # the log says more


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the VPN: its network, the server's address in it, where it listens and on which interface."""

    kind: Kind
    network: ipaddress.IPv4Network
    server: ipaddress.IPv4Address
    port: int
    interface: str


def half(settings: Settings, kind: Kind) -> Half:
    lower, upper = ipaddress.IPv4Network(settings.vpn_network).subnets()
    if kind is Kind.WIREGUARD:
        return Half(kind, lower, lower[1], settings.vpn_wireguard_port, f"{settings.vpn_interface}-wg")
    return Half(kind, upper, upper[1], settings.vpn_openvpn_port, f"{settings.vpn_interface}-ovpn")
