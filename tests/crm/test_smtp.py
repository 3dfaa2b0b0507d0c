"""Mail servers that want encryption and a login, as those of the internet do."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from core.clock import utc_now
from crm.notices import send_due
from tests.crm.test_notices import isp, mailing, sessions, stored, write

__all__ = ["isp", "sessions"]

USER, PASSWORD = "noc@isp.example", "contraseña larga"


def certificate(directory: Path, name: str) -> Path:
    """Return a file with a key and a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / f"{name}.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


class SecureMailServer(socketserver.ThreadingTCPServer):
    """A mail server that takes mails only from who is encrypted and logged in; `seen` is what came in clear."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, file: Path, *, offers: bool = True, at_once: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(file)
        self.offers, self.at_once = offers, at_once
        self.seen: list[str] = []
        self.logins: list[str] = []
        self.mails = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Session(socketserver.BaseRequestHandler):
    server: SecureMailServer

    def handle(self) -> None:
        try:
            self._talk()
        except (OSError, ValueError):
            return
        finally:
            self.request.close()

    def _talk(self) -> None:
        encrypted = known = False
        if self.server.at_once:
            self.request, encrypted = self.server.context.wrap_socket(self.request, server_side=True), True
        file = self.request.makefile("rwb", buffering=0)
        file.write(b"220 mail.example ready\r\n")
        while line := file.readline().decode().strip():
            if not encrypted:
                self.server.seen.append(line)
            match line.split()[0].upper():
                case "EHLO":
                    extra = "250-AUTH PLAIN\r\n" if encrypted else "250-STARTTLS\r\n" if self.server.offers else ""
                    file.write(f"250-mail.example\r\n{extra}250 8BITMIME\r\n".encode())
                case "STARTTLS":
                    file.write(b"220 go on\r\n")
                    self.request = self.server.context.wrap_socket(self.request, server_side=True)
                    file, encrypted = self.request.makefile("rwb", buffering=0), True
                case "AUTH":
                    _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                    self.server.logins.append(user)
                    known = (user, password) == (USER, PASSWORD)
                    file.write(b"235 welcome\r\n" if known else b"535 5.7.8 wrong\r\n")
                case "DATA" if encrypted and known:
                    file.write(b"354 go on\r\n")
                    while file.readline() not in (b".\r\n", b""):
                        pass
                    self.server.mails += 1
                    file.write(b"250 taken\r\n")
                case "QUIT":
                    file.write(b"221 bye\r\n")
                    return
                case _:
                    file.write(b"250 fine\r\n" if encrypted and known else b"530 first log in\r\n")


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SecureMailServer]]:
    """A function that starts a server, whose certificate this machine trusts unless told otherwise."""
    servers: list[SecureMailServer] = []

    def start(*, trusted: bool = True, name: str = "localhost", **options: bool) -> SecureMailServer:
        file = certificate(tmp_path, name)
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(file))
        servers.append(SecureMailServer(file, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def secure(isp, server: SecureMailServer, security: str = "starttls", password: str = PASSWORD):
    return mailing(
        isp.settings, server.server_address[1], smtp_host="localhost", smtp_security=security, smtp_user=USER,
        smtp_password=SecretStr(password),
    )  # fmt: skip


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_wants_encryption_and_a_login_gets_both(isp, sessions, mail_server, security):
    server = mail_server(at_once=security == "tls")
    number = write(sessions, isp)
    send_due(sessions, secure(isp, server, security), utc_now())
    assert (stored(sessions, number).state, stored(sessions, number).error) == ("sent", "")
    assert (server.mails, server.logins) == (1, [USER])
    assert [line.split()[0] for line in server.seen] in (["ehlo", "STARTTLS"], []), "nothing more in clear"


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"offers": False}, "STARTTLS", id="no encryption offered"),
        pytest.param({"trusted": False}, "certificate verify failed", id="a certificate of nobody"),
        pytest.param({"name": "mail.other.example"}, "certificate", id="another server's certificate"),
    ],
)
def test_no_password_is_sent_where_it_could_be_read(isp, sessions, mail_server, options, said):
    server = mail_server(**options)
    number = write(sessions, isp)
    send_due(sessions, secure(isp, server), utc_now())
    row = stored(sessions, number)
    assert row.state == "waiting"
    assert said.lower() in row.error.lower()
    assert (server.logins, server.mails) == ([], 0)
    assert not any(line.upper().startswith("AUTH") for line in server.seen)


@pytest.mark.fault
def test_a_wrong_password_is_ours_to_mend_and_loses_no_mail(isp, sessions, mail_server):
    server = mail_server()
    number = write(sessions, isp)
    now = utc_now()
    send_due(sessions, secure(isp, server, password="wrong"), now)
    row = stored(sessions, number)
    assert (row.state, row.error) == ("waiting", "535 5.7.8 wrong")
    assert "wrong" not in repr(secure(isp, server, password="wrong"))
    send_due(sessions, secure(isp, server), row.next_attempt_at)
    assert stored(sessions, number).state == "sent"
