"""TLS as a router has it: a certificate that it signed itself, or none.

`api-ssl` without a certificate is anonymous: the two sides agree on a key and nobody shows who it is. Python's defaults
refuse that, and RouterOS offers nothing else then.
"""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# The 2048 bit group of RFC 3526 §3, so that none has to be searched for.
_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, both as PEM."""

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in lower-case hex without colons."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(SHA256()).hex()

    def context(self) -> ssl.SSLContext:
        """Return a context for a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as directory:
            both = Path(directory) / "router.pem"
            both.write_bytes(self.certificate + self.key)
            context.load_cert_chain(both)
        return context


def self_signed(name: str = "router", *, days: int = 3650) -> Certificate:
    """Make a certificate that a router signed itself; with negative days it has run out."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(made.public_bytes(Encoding.PEM), pem)


def anonymous() -> ssl.SSLContext:
    """Return a context for a server that has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ADH:@SECLEVEL=0")
    with tempfile.NamedTemporaryFile() as parameters:
        parameters.write(_parameters().encode())
        parameters.flush()
        context.load_dh_params(parameters.name)
    return context


@cache
def _parameters() -> str:
    """Return the group as PEM: a sequence of the prime and the generator 2 (PKCS 3)."""
    prime = b"\0" + _PRIME.to_bytes(256, "big")
    numbers = b"\x02\x82" + len(prime).to_bytes(2, "big") + prime + b"\x02\x01\x02"
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(numbers).to_bytes(2, "big") + numbers).replace(
        "CERTIFICATE", "DH PARAMETERS"
    )
