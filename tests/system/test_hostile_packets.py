"""Malformed and hostile RADIUS input: radiusd goes on, nothing is executed or expanded, and text stays text."""

import hashlib
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from bench.generator import SECRET, run_load, write_users
from bench.portico import Portico, portico
from bench.seed import system_url
from bench.site import make_users, open_site
from lab.packet import hide_password

pytestmark = [pytest.mark.system, pytest.mark.fault]

USERS = make_users(20)
ACCESS_REQUEST, ACCESS_REJECT, ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = 1, 3, 4, 5
SECRET_OCTETS = SECRET.encode()


@pytest.fixture(scope="module")
def ours() -> Iterator[Portico]:
    with open_site() as site, ExitStack() as stack:
        write_users(site.directory / "users.csv", USERS)
        yield stack.enter_context(portico(site, USERS))


@pytest.fixture(autouse=True)
def _radiusd_goes_on(ours: Portico) -> Iterator[None]:
    """After every test the same radiusd process still lets a subscriber in."""
    pid = ours.radiusd.pid
    yield
    assert ours.radiusd.running, ours.radiusd.last_lines()
    assert ours.radiusd.pid == pid
    load = run_load("mix", ours.site.settings.auth_port, ours.site.directory / "users.csv", "-n", 6, "-d", 5)
    assert load.accepted == 6, ours.radiusd.last_lines()


def attribute(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


def vendor(number: int, kind: int, value: bytes) -> bytes:
    return attribute(26, struct.pack("!I", number) + bytes((kind, len(value) + 2)) + value)


def accounting(session: bytes, name: bytes, extra: bytes = b"", secret: bytes = SECRET_OCTETS) -> bytes:
    body = attribute(40, struct.pack("!I", 1)) + attribute(44, session) + attribute(1, name) + attribute(6, b"\0\0\0\2")
    body += attribute(7, b"\0\0\0\1") + extra
    head = struct.pack("!BBH", ACCOUNTING_REQUEST, os.urandom(1)[0], 20 + len(body))
    return head + hashlib.md5(head + bytes(16) + body + secret).digest() + body


def access(name: bytes, extra: bytes = b"", password: bytes = b"guess", secret: bytes = SECRET_OCTETS) -> bytes:
    authenticator = os.urandom(16)
    body = attribute(1, name) + attribute(2, hide_password(password, secret, authenticator))
    body += attribute(6, b"\0\0\0\2") + attribute(7, b"\0\0\0\1") + extra
    return struct.pack("!BBH", ACCESS_REQUEST, os.urandom(1)[0], 20 + len(body)) + authenticator + body


def ask(port: int, octets: bytes, seconds: float = 1.0) -> int | None:
    """Send a packet and return the code of the answer, None for silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(seconds)
        udp.sendto(octets, ("127.0.0.1", port))
        try:
            return udp.recv(4096)[0]
        except TimeoutError:
            return None


def rows(ours: Portico, query: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(system_url(ours.site.settings)) as connection:
        return connection.execute(query.encode(), values).fetchall()


def eventually(ours: Portico, query: str, *values: object, seconds: float = 10) -> list[tuple[object, ...]]:
    """Return the rows as soon as there are any."""
    deadline = time.monotonic() + seconds
    while not (found := rows(ours, query, *values)):
        assert time.monotonic() < deadline, f"no row; loader: {ours.loader.last_lines()}"
        time.sleep(0.05)
    return found


TEXTS = {
    "quotes": "a\"b'c\\",
    "sql": "x'; DROP TABLE session; --",
    "copy end": "a\\.\tb\\N",
    "newlines": 'a\nAcct-Session-Id = "zz"\n\nb\r\n',
    "log line": "bob\nSat Nov 21 23:00:00 2026 : Auth: Login OK: [admin]",
    "expansion": "%{Acct-Session-Id}%{exec:id}${confdir}$ENV{HOME}",
    "shell": "`id`$(id);id|id&&id",
    "percent": "100% %s %n%n%n",
    "html": "<script>alert(1)</script>",
    "control": "".join(map(chr, range(1, 32))) + "\x7f",
    "longest": "x" * 253,
    "longest with escapes": '"' * 253,
    "backslashes": "\\" * 253,
    "umlauts and others": "Ñandú-серый-灰色-🦊",
    "direction": "a\u202eb\u0000"[:-1],
}


@pytest.mark.parametrize("name", TEXTS.values(), ids=TEXTS)
def test_a_hostile_name_is_stored_as_it_came(ours: Portico, name: str) -> None:
    settings = ours.site.settings
    session = os.urandom(4).hex()
    assert ask(settings.auth_port, access(name.encode())) == ACCESS_REJECT
    assert ask(settings.acct_port, accounting(session.encode(), name.encode())) == ACCOUNTING_RESPONSE
    assert eventually(ours, "SELECT user_name FROM session WHERE acct_session_id = %s", session) == [(name,)]
    assert eventually(ours, "SELECT DISTINCT outcome FROM auth_event WHERE user_name = %s", name) == [("reject",)]


def test_a_name_cannot_forge_a_line_of_the_log(ours: Portico) -> None:
    forged = "Sat Nov 21 23:00:00 2026 : Auth: Login OK"
    ask(ours.site.settings.auth_port, access(f"bob\n{forged}".encode()))
    ask(ours.site.settings.auth_port, access(b"bob", extra=attribute(31, f"\n{forged}".encode())))
    lines = ours.radiusd.log.read_text(encoding="utf-8", errors="replace").splitlines()
    assert not [line for line in lines if line.startswith(forged)]


HOSTILE_ATTRIBUTES = {
    "many Class": b"".join(attribute(25, bytes([i]) * 250) for i in range(12)),
    "unknown Mikrotik": vendor(14988, 250, b'\0\1\n"x'),
    "unknown vendor": vendor(99999, 3, b'\n\n"'),
    "vendor without content": attribute(26, b"\0\0"),
    "vendor with a wrong length": attribute(26, struct.pack("!I", 14988) + b"\x08\xff\x00"),
    "long text": b"".join(attribute(18, b"z" * 253) for _ in range(15)),
    "short address": attribute(8, b"abc"),
    "short number": attribute(46, b"12"),
    "short time": attribute(55, b"x"),
    "time in the far future": attribute(55, struct.pack("!I", 0xFFFFFFF0)),
    "time long ago": attribute(55, struct.pack("!I", 0)),
    "greatest counters": attribute(42, b"\xff" * 4) + attribute(52, b"\xff" * 4) + attribute(46, b"\xff" * 4),
    "greatest delay": attribute(41, b"\xff" * 4),
    "tagged": attribute(81, b'\x01\n\n"v'),
    "IPv6": attribute(95, bytes(16)) + attribute(97, b"\0\x40" + bytes(8)),
    "IPv6 prefix too long": attribute(97, b"\0\xff" + b"\xff" * 16),
    "two names": attribute(1, b"first") + attribute(1, b"second"),
    "NUL in a text": attribute(31, b"02:00:00\x0000:00:01"),
    "NUL in NAS-Port-Id": attribute(87, b"\0"),
    "MAC of letters": attribute(31, b"zz:zz:zz:zz:zz:zz"),
}


@pytest.mark.parametrize("extra", HOSTILE_ATTRIBUTES.values(), ids=HOSTILE_ATTRIBUTES)
def test_packets_behind_a_hostile_one_are_stored(ours: Portico, extra: bytes) -> None:
    """A record that the loader cannot take must not keep those behind it out."""
    settings = ours.site.settings
    hostile, good = os.urandom(4).hex(), os.urandom(4).hex()
    acknowledged = ask(settings.acct_port, accounting(hostile.encode(), b"somebody", extra), 0.5)
    assert acknowledged in (ACCOUNTING_RESPONSE, None)
    assert ask(settings.acct_port, accounting(good.encode(), USERS[0][0].encode())) == ACCOUNTING_RESPONSE
    eventually(ours, "SELECT 1 FROM session WHERE acct_session_id = %s", good)
    if acknowledged:
        eventually(ours, "SELECT 1 FROM session WHERE acct_session_id = %s", hostile)


def test_a_name_that_is_no_utf8_is_refused_and_shown_as_latin1(ours: Portico) -> None:
    assert ask(ours.site.settings.auth_port, access(b"Pe\xf1a\xff")) == ACCESS_REJECT
    found = eventually(ours, "SELECT reason FROM auth_event WHERE user_name = 'Peñaÿ'")
    assert found == [("unknown_subscriber",)]


def test_a_password_that_is_no_utf8_is_wrong_and_no_more(ours: Portico) -> None:
    name = USERS[2][0]
    assert ask(ours.site.settings.auth_port, access(name.encode(), password=b"\xff\xfe\0\x80")) == ACCESS_REJECT
    found = eventually(ours, "SELECT reason FROM auth_event WHERE user_name = %s AND outcome = 'reject'", name)
    assert found == [("wrong_password",)]


def test_accounting_with_text_in_latin1_is_kept(ours: Portico) -> None:
    session = os.urandom(4).hex()
    extra = attribute(30, "Peñón".encode("latin-1")) + attribute(32, "Torre Ñ".encode("latin-1"))
    packet = accounting(session.encode(), USERS[1][0].encode(), extra)
    assert ask(ours.site.settings.acct_port, packet) == ACCOUNTING_RESPONSE
    found = eventually(ours, "SELECT user_name FROM session WHERE acct_session_id = %s", session)
    assert found == [(USERS[1][0],)]


def test_a_name_cannot_pretend_to_be_the_hex_of_another(ours: Portico) -> None:
    """Strings that are not UTF-8 come to the hooks in hex, behind `=0x`; a subscriber may have typed just that."""
    session = os.urandom(4).hex()
    packet = accounting(session.encode(), b"=0xno hex", attribute(30, b"Pe\xf1\xf3n"))
    assert ask(ours.site.settings.acct_port, packet) == ACCOUNTING_RESPONSE
    found = eventually(ours, "SELECT user_name FROM session WHERE acct_session_id = %s", session)
    assert found == [("=0xno hex",)]


def test_a_wrong_secret_gets_no_answer(ours: Portico) -> None:
    settings = ours.site.settings
    session = os.urandom(4).hex()
    assert ask(settings.acct_port, accounting(session.encode(), b"bob", secret=b"wrong"), 0.5) is None
    assert rows(ours, "SELECT 1 FROM session WHERE acct_session_id = %s", session) == []


def test_an_unknown_source_gets_no_answer(ours: Portico) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.66.66.66", 0))
        udp.settimeout(0.5)
        udp.sendto(
            access(USERS[0][0].encode(), password=USERS[0][1].encode()), ("127.0.0.1", ours.site.settings.auth_port)
        )
        with pytest.raises(TimeoutError):
            udp.recv(4096)


def test_fuzzed_packets_are_survived(ours: Portico) -> None:
    settings = ours.site.settings
    chance = random.Random(2865)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        for number in range(6000):
            octets = bytearray(fuzzed(chance))
            if octets and octets[0] == ACCOUNTING_REQUEST and len(octets) >= 20 and chance.random() < 0.8:
                octets[4:20] = hashlib.md5(octets[:4] + bytes(16) + octets[20:] + SECRET_OCTETS).digest()
            udp.sendto(octets, ("127.0.0.1", chance.choice((settings.auth_port, settings.acct_port))))
            if number % 200 == 0:
                time.sleep(0.02)
    # What was acknowledged of it is loaded, and what could not be is set aside: the backlog ends.
    deadline = time.monotonic() + 20
    while ours.backlog():
        assert time.monotonic() < deadline, ours.loader.last_lines()
        time.sleep(0.1)
    assert ours.loader.running


def fuzzed(chance: random.Random) -> bytes:
    """Return a packet that begins well and then goes wrong: random attributes, flipped octets, false lengths, cuts."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(1, 300))
    extra = b"".join(
        attribute(chance.randrange(256), chance.randbytes(chance.randrange(40))) for _ in range(chance.randrange(8))
    )
    name = chance.choice((USERS[0][0].encode(), chance.randbytes(chance.randrange(1, 60)), b""))
    whole = access(name, extra) if chance.random() < 0.5 else accounting(chance.randbytes(8), name, extra)
    octets = bytearray(whole)
    for _ in range(chance.choice((0, 0, 1, 3))):
        octets[chance.randrange(20, len(octets))] = chance.randrange(256)
    if chance.random() < 0.1:
        octets[2:4] = struct.pack("!H", chance.randrange(5000))
    if chance.random() < 0.1:
        del octets[chance.randrange(len(octets)) :]
    return bytes(octets)
