"""RadSec's certificates (RFC 6614): an authority of this installation, radiusd's certificate, and one for each NAS.

The certificate of a NAS carries, as its common name, the address under which the NAS is registered; by it radiusd
tells who speaks, since a RadSec connection may come from any address. The authority is used for nothing else, so
whoever has one of its certificates is a NAS and nothing more.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.clock import utc_now
from stack.accounts import Account, own_directory, write_private_file

# RSA, because RouterOS 6 and early 7 import nothing else reliably.
_BITS = 3072
_AUTHORITY_FOR = timedelta(days=20 * 365)
_CERTIFICATE_FOR = timedelta(days=5 * 365)
_BEFORE = timedelta(days=1)  # a router's clock may be behind
_SERVER = "portico-radsec"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key, both PEM."""

    certificate: str
    key: str


class Authority:
    """The authority kept in a directory; `account` is who owns its files."""

    def __init__(self, directory: Path, account: Account) -> None:
        self._directory = directory
        self._account = account

    @property
    def certificate_file(self) -> Path:
        return self._directory / "ca.pem"

    def ensure_server(self) -> None:
        """Make the authority and radiusd's own certificate, where they are not there yet."""
        self._ensure_authority()
        if not (self._directory / "server.key").exists():
            made = self._issue(_SERVER, ExtendedKeyUsageOID.SERVER_AUTH)
            self._write("server.pem", made.certificate)
            self._write("server.key", made.key)

    def issue_to_nas(self, address: str) -> Certificate:
        """Return a new certificate for the NAS registered under `address`. Its key is kept nowhere here.

        Raises ValueError when that is not an IP address.
        """
        self._ensure_authority()
        return self._issue(str(ip_address(address)), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _ensure_authority(self) -> None:
        if (self._directory / "ca.key").exists():
            return
        own_directory(self._directory, self._account)
        key = rsa.generate_private_key(65537, _BITS)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Portico RadSec authority")])
        now = utc_now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _AUTHORITY_FOR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM).decode())
        self._write("ca.key", _pem(key))  # last: where it is, the rest is

    def _issue(self, name: str, usage: x509.ObjectIdentifier) -> Certificate:
        authority = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        signer = serialization.load_pem_private_key((self._directory / "ca.key").read_bytes(), None)
        assert isinstance(signer, rsa.RSAPrivateKey), "made above"
        key = rsa.generate_private_key(65537, _BITS)
        now = utc_now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _CERTIFICATE_FOR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return Certificate(certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))

    def _write(self, name: str, text: str) -> None:
        write_private_file(self._directory / name, text, self._account)


def write_for_nas(made: Certificate, authority: Path, directory: Path, name: str) -> list[Path]:
    """Write what is imported on a router: the authority, the certificate and its key. Returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        directory / "portico-ca.pem": authority.read_text(encoding="ascii"),
        directory / f"{name}.pem": made.certificate,
        directory / f"{name}.key": made.key,
    }
    for path, text in files.items():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
    return list(files)


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
