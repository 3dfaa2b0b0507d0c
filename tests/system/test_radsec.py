"""RadSec (RFC 6614) to the real radiusd, over TLS with certificates that `stack.radsec` made."""

import hashlib
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyrad import packet
from pyrad.dictionary import Dictionary

from core.settings import Settings
from stack.accounts import piece_account
from stack.radsec import Authority, write_for_nas
from tests.conftest import free_port
from tests.system.client import DICTIONARY
from tests.system.conftest import start_controller

pytestmark = pytest.mark.system

NAS = "10.77.0.1"
SECRET = b"radsec"
"""The shared secret inside RadSec, by RFC 6614 §2.3: TLS protects, it does not."""


@pytest.fixture(scope="module")
def radsec(new_installation: Callable[[], Settings]) -> Iterator[Settings]:
    settings = new_installation().model_copy(update={"radsec_port": free_port(socket.SOCK_STREAM)})
    with ExitStack() as stack:
        controller = start_controller(settings, stack, address=NAS)
        controller.isp.service("ana", "secreto")
        controller.settle()
        yield settings


def files_of(settings: Settings, address: str, directory: Path) -> list[Path]:
    authority = Authority(settings.radsec_dir, piece_account(settings))
    return write_for_nas(authority.issue_to_nas(address), authority.certificate_file, directory, "nas")


@contextmanager
def connection(settings: Settings, files: list[Path] | None) -> Iterator[ssl.SSLSocket]:
    """A TLS connection as a router makes it, with a certificate or without one."""
    context = ssl.create_default_context(cafile=str(settings.radsec_dir / "ca.pem"))
    context.check_hostname = False
    if files:
        context.load_cert_chain(files[1], files[2])
    assert settings.radsec_port is not None
    with socket.create_connection((settings.radius_address, settings.radsec_port), timeout=5) as plain:
        plain.settimeout(3)
        with context.wrap_socket(plain, server_hostname="portico-radsec") as secured:
            yield secured


def request(user: str, password: str) -> packet.AuthPacket:
    asked = packet.AuthPacket(secret=SECRET, dict=Dictionary(str(DICTIONARY)), id=7, authenticator=os.urandom(16))
    asked["Service-Type"] = "Framed-User"
    asked["Framed-Protocol"] = "PPP"
    asked["User-Name"] = user
    asked["User-Password"] = asked.PwCrypt(password)
    return asked


def answered(secured: ssl.SSLSocket, asked: packet.AuthPacket) -> packet.Packet:
    secured.sendall(asked.RequestPacket())
    head = secured.recv(4)
    rest = secured.recv(struct.unpack("!BBH", head)[2] - 4)
    return asked.CreateReply(packet=head + rest)


def test_a_nas_with_its_certificate_is_answered_from_wherever_it_connects(radsec: Settings, tmp_path: Path):
    with connection(radsec, files_of(radsec, NAS, tmp_path)) as secured:
        accepted = answered(secured, request("ana", "secreto"))
        refused = answered(secured, request("ana", "otra"))
    assert (accepted.code, refused.code) == (packet.AccessAccept, packet.AccessReject)
    assert accepted["Mikrotik-Rate-Limit"] == ["5M/20M"]
    assert 80 in accepted  # Message-Authenticator
    assert 80 in refused


def test_accounting_over_tls_is_acknowledged(radsec: Settings, tmp_path: Path):
    body = bytes([40, 6, 0, 0, 0, 1, 44, 10]) + b"81000001" + bytes([1, 5]) + b"ana"
    head = struct.pack("!BBH", packet.AccountingRequest, 9, 20 + len(body))
    authenticator = hashlib.md5(head + bytes(16) + body + SECRET).digest()
    with connection(radsec, files_of(radsec, NAS, tmp_path)) as secured:
        secured.sendall(head + authenticator + body)
        assert secured.recv(4096)[0] == packet.AccountingResponse


def test_the_certificate_of_an_address_that_is_no_nas_gets_no_answer(radsec: Settings, tmp_path: Path):
    with connection(radsec, files_of(radsec, "10.77.0.99", tmp_path)) as secured:
        secured.sendall(request("ana", "secreto").RequestPacket())
        with pytest.raises(TimeoutError):
            secured.recv(4096)


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_without_a_certificate_of_this_installation_there_is_no_connection(radsec: Settings, tmp_path: Path, who: str):
    files = None
    if who == "a stranger":
        stranger = Authority(tmp_path / "stranger", piece_account(radsec))
        files = write_for_nas(stranger.issue_to_nas(NAS), stranger.certificate_file, tmp_path, "nas")
    with pytest.raises((ssl.SSLError, ConnectionError)), connection(radsec, files) as secured:  # noqa: PT012
        secured.sendall(request("ana", "secreto").RequestPacket())
        if not secured.recv(4096):
            raise ConnectionResetError


def test_a_certificate_is_made_for_addresses_only(tmp_path: Path, radsec: Settings):
    with pytest.raises(ValueError, match="does not appear to be"):
        Authority(tmp_path, piece_account(radsec)).issue_to_nas("tower-1")


def test_private_keys_are_readable_by_their_owner_only(radsec: Settings, tmp_path: Path):
    kept = [radsec.radsec_dir / "ca.key", radsec.radsec_dir / "server.key", *files_of(radsec, NAS, tmp_path)]
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}
