"""OpenVPN for routers that know nothing better: what RouterOS 6 can do, and not more.

Its client speaks TCP only, AES-CBC with SHA-1, proves itself with user name and password, and neither negotiates a
cipher nor knows tls-auth. OpenVPN itself runs without any right: the interface is made for it, with its address, and
belongs to its user. It admits whoever has a file in `clients/` and the password behind the hash in `credentials`.
"""

import secrets
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from network import vpn_verify
from network.vpn_plan import Half
from network.vpn_verify import password_hash
from network.wireguard import Seen

_LAST_DAY = datetime(2037, 12, 31, tzinfo=UTC)
"""The server's certificate ends before 2038: older RouterOS counts seconds in 32 bits."""


@dataclass(frozen=True, slots=True)
class OpenVpnPeer:
    """A router that may come in."""

    user: str
    password: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's certificate, signed by itself, and its key; both PEM."""

    certificate: str
    key: str


def new_certificate(now: datetime) -> Certificate:
    """Make the server's certificate. RSA, because RouterOS 6 has no other."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Portico VPN")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.replace(hour=0, minute=0, second=0, microsecond=0))
        .not_valid_after(_LAST_DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def configuration(half: Half) -> str:
    """Return the server's configuration; its files stand in the directory that OpenVPN is started in."""
    verify = f"{sys.executable} -I {Path(vpn_verify.__file__).resolve()} credentials"
    lines = [
        "mode server",
        "tls-server",
        "proto tcp-server",
        f"port {half.port}",
        f"dev {half.interface}",
        "dev-type tun",
        "topology subnet",
        'push "topology subnet"',
        f"ifconfig {half.server} {half.network.netmask}",
        "ifconfig-noexec",
        "route-noexec",
        "cipher AES-256-CBC",
        "data-ciphers AES-256-GCM:AES-256-CBC",
        "data-ciphers-fallback AES-256-CBC",
        "auth SHA1",
        # Old 6.x builds may know TLS 1.0 only; whoever knows better gets better.
        "tls-version-min 1.0",
        "tls-cert-profile insecure",
        "dh none",
        "ca server.crt",
        "cert server.crt",
        "key server.key",
        "verify-client-cert none",
        "username-as-common-name",
        "script-security 2",
        f'auth-user-pass-verify "{verify}" via-file',
        "tmp-dir .",
        "client-config-dir clients",
        "ccd-exclusive",
        "keepalive 10 60",
        "persist-tun",
        "persist-key",
        "management management.sock unix",
        "verb 1",
        "suppress-timestamps",
    ]
    return "\n".join([*lines, ""])


def credentials(peers: Iterable[OpenVpnPeer]) -> str:
    """Return what `vpn_verify` compares with: no password can be read out of it."""
    lines = []
    for peer in peers:
        salt = secrets.token_hex(8)
        lines.append(f"{peer.user} {salt} {password_hash(salt, peer.password)}\n")
    return "".join(lines)


def client_file(half: Half, peer: OpenVpnPeer) -> str:
    """Return what OpenVPN does for one router: it gets its own address, always the same."""
    return f"ifconfig-push {peer.address} {half.network.netmask}\n"


def ask(directory: Path, command: str) -> list[str]:
    """Give OpenVPN a command over its management socket and return its answer. Raises OSError, also on time-out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(3)
        connection.connect(str(directory / "management.sock"))
        reader = connection.makefile("r", encoding="utf-8", errors="replace")
        connection.sendall(f"{command}\n".encode())
        lines = []
        for line in reader:
            text = line.rstrip("\r\n")
            if text.startswith(">"):
                continue
            lines.append(text)
            if text == "END" or text.startswith(("SUCCESS:", "ERROR:")):
                break
        return lines


@dataclass(frozen=True, slots=True)
class Client:
    """A router that is in, and since when."""

    since: datetime
    seen: Seen


def clients(lines: Iterable[str]) -> Mapping[str, Client]:
    """Read `status 3`: who is in, by user name. OpenVPN has no handshake apart from coming in."""
    found = {}
    for line in lines:
        fields = line.split("\t")
        if fields[0] != "CLIENT_LIST" or len(fields) < 10 or fields[9] == "UNDEF":
            continue
        since = datetime.fromtimestamp(int(fields[8]), UTC)
        found[fields[9]] = Client(since, Seen(fields[2], since, int(fields[5]), int(fields[6])))
    return found
