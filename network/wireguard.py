"""WireGuard: keys, and the server's interface, by the kernel's module or by wireguard-go where the kernel has none.

A peer may send from its own address and from no other (`AllowedIPs` is one address), so routers cannot pretend to be
each other. The private key goes to wg(8) through a pipe: it stands in no file and in no list of processes.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from network.vpn_links import run

ALIVE = timedelta(seconds=180)
"""A session lives that long after its handshake (REJECT_AFTER_TIME of the WireGuard paper); routers renew it sooner."""
SOCKETS = Path("/var/run/wireguard")
"""Where wireguard-go and wg(8) meet; the directory is built into both."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves of a key, in base64."""

    private: str
    public: str


@dataclass(frozen=True, slots=True)
class WireGuardPeer:
    """A router that may come in."""

    public_key: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tunnel was like at a moment; octets are counted from when the tunnel came up."""

    endpoint: str
    handshake_at: datetime | None
    received: int
    sent: int


def new_key_pair() -> KeyPair:
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return KeyPair(base64.b64encode(private).decode(), base64.b64encode(public).decode())


def configuration(private_key: str, port: int, peers: Iterable[WireGuardPeer]) -> str:
    """Return the server's whole configuration in wg(8)'s format."""
    lines = ["[Interface]", f"PrivateKey = {private_key}", f"ListenPort = {port}"]
    for peer in peers:
        lines += ["[Peer]", f"PublicKey = {peer.public_key}", f"AllowedIPs = {peer.address}/32"]
    return "\n".join([*lines, ""])


def synchronise(interface: str, text: str) -> None:
    """Make the interface equal to a configuration; sessions of peers that stay go on. Raises LinkProblem."""
    run("wg", "syncconf", interface, "/dev/stdin", given=text)


def seen_peers(interface: str) -> dict[str, Seen]:
    """Return what the interface knows of its peers, by public key. Raises LinkProblem."""
    return parse_dump(run("wg", "show", interface, "dump"))


def parse_dump(text: str) -> dict[str, Seen]:
    """Read `wg show … dump`: the interface on the first line, then a peer on each."""
    seen = {}
    for line in text.splitlines()[1:]:
        key, _preshared, endpoint, _allowed, handshake, received, sent, *_rest = line.split("\t")
        at = datetime.fromtimestamp(int(handshake), UTC) if int(handshake) else None
        seen[key] = Seen("" if endpoint == "(none)" else endpoint, at, int(received), int(sent))
    return seen
