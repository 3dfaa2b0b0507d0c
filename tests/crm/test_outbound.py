"""Addresses that people type: only public ones are asked, as they were looked up, whatever the name says later."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from crm.outbound import NoAnswer, NotAllowed, check_host, check_web_address, guarded, may_be_asked, post
from tests.network.certificates import router_certificate

LAN = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.88.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.5",
        "240.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "203.0.113.5", "::", "::1", "fe80::1%eth0",
        "fd00::1", "ff02::1", "2001:db8::1", "fec0::1",
        # IPv4 in the clothes of IPv6: mapped, compatible, NAT64 (both prefixes), 6to4, Teredo.
        "::ffff:10.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1",
        "2002:a00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ],
)  # fmt: skip
def test_what_is_not_public_is_not_asked(address):
    assert not may_be_asked(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_what_is_public_is_asked(address):
    assert may_be_asked(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "017700000001", "127.1", "localhost", "[::1]", "0"])
def test_it_does_not_matter_how_an_address_is_written(host):
    with pytest.raises(NotAllowed):
        check_web_address(f"https://{host}/", local=False)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "gopher://8.8.8.8/", "http://8.8.8.8/", "https://8.8.8.8:22/", "https://8.8.8.8:6379/",
        "https://a:b@8.8.8.8/", "https://8.8.8.8:0x50/", "https:///path", "//8.8.8.8/",
    ],
)  # fmt: skip
def test_only_addresses_of_the_web_are_taken(url):
    with pytest.raises(NotAllowed):
        check_web_address(url, local=False)


def test_a_network_that_the_installation_allows_may_be_asked():
    assert check_host("10.20.0.7", 443, local=False, networks=(ipaddress.ip_network("10.20.0.0/16"),)) == "10.20.0.7"
    with pytest.raises(NotAllowed):
        check_host("10.21.0.7", 443, local=False, networks=(ipaddress.ip_network("10.20.0.0/16"),))


@contextlib.contextmanager
def answering(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server of this machine that answers every connection the same; yields its port and what it was sent."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    raw, _address = server.accept()
                    raw.settimeout(2)
                    with context.wrap_socket(raw, server_side=True) if context else raw as connection:
                        asked.append(connection.recv(65536))
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], asked
        done.set()
        thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@pytest.fixture
def names(monkeypatch) -> dict[str, list[list[str]]]:
    """A resolver: each look-up of a name takes its next answer, and the last for ever."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host, port, *rest, **named):
        if host not in answers:
            return real(host, port, *rest, **named)
        found = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [each for address in found for each in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers


def test_a_name_that_answers_otherwise_a_moment_later_changes_nothing(names):
    with answering(OK) as (port, asked):
        # Allowed at the first look, and this machine's own address at each later one.
        names["rebind.example"] = [["127.0.0.1"], ["169.254.169.254"]]
        assert post(f"http://rebind.example:{port}/x", b"{}", {}, local=False, networks=LAN).status == 200
        assert asked[0].startswith(b"POST /x HTTP/1.1\r\nHost: rebind.example")
        with pytest.raises(NotAllowed):
            post(f"http://rebind.example:{port}/x", b"{}", {}, local=False, networks=LAN)
        assert len(asked) == 1


def test_one_private_address_among_public_ones_is_enough_to_refuse(names):
    names["mixed.example"] = [["8.8.8.8", "127.0.0.1"]]
    with pytest.raises(NotAllowed):
        check_host("mixed.example", 443, local=False)


def test_tls_is_for_the_name_and_not_for_the_address(names, tmp_path):
    context, _print = router_certificate(tmp_path, "erp.example")
    asked_for: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    names["erp.example"] = [["127.0.0.1"]]
    trusted = ssl.create_default_context(cafile=str(tmp_path / "erp.example.pem"))
    trusted.hostname_checks_common_name = True
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with answering(OK, context) as (port, _asked):
        with pytest.raises(NoAnswer, match="certificate"):
            post(f"https://erp.example:{port}/", b"", {}, local=False, networks=LAN)
        answer = post(f"https://erp.example:{port}/", b"", {}, local=False, networks=LAN, trusted=trusted)
    assert (answer.status, answer.text) == (200, "OK")
    assert set(asked_for) == {"erp.example"}


def test_where_a_first_address_does_not_answer_the_next_is_asked(names):
    with answering(OK) as (port, _asked):
        names["two.example"] = [["127.0.0.2", "127.0.0.1"]]
        assert post(f"http://two.example:{port}/", b"", {}, local=True, timeout=2).status == 200


def test_a_library_that_looks_names_up_itself_is_held_to_the_same(names):
    with answering(OK) as (port, asked):
        names["rebind.example"] = [["127.0.0.1"]]
        with guarded(local=False), pytest.raises(OSError, match="not a public address"):
            socket.create_connection(("rebind.example", port), 1)
        assert asked == []
        with guarded(local=False, networks=LAN), socket.create_connection(("rebind.example", port), 1) as allowed:
            allowed.sendall(b"x")
        with socket.create_connection(("rebind.example", port), 1) as outside:
            outside.sendall(b"y")
