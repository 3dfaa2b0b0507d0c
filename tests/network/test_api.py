"""Speaking to routers: what is read is what was sent, and nothing that a router does holds anybody up.

Everything is tried with the blocking connection and with the one for event loops.
"""

import asyncio
import gc
import logging
import time
import traceback
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lab.routeros import User
from network.api import RouterAccess, open_router, open_router_async, shown_certificate
from network.problems import Cause, CertificateChanged, RouterProblem, Stage
from network.version import Version
from network.words import ForeignText, Reply, Sentences, is_foreign
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures
from tests.network.certificates import router_certificate
from tests.network.sockets import DONE, nobody, play, sentence  # noqa: F401 - fixture

PASSWORD = "xyzzy-Ñandú"
QUICK = 0.4
"""Seconds that a router has in the tests in which it does not answer."""


def access_to(port, **values):
    return replace(RouterAccess("127.0.0.1", port, False, None, "portico", SecretStr(PASSWORD), 5.0), **values)


def blocking(access, command=None, *words, **fields):
    with open_router(access) as router:
        return getattr(router, command)(*words, **fields) if command else router.fingerprint


def in_a_loop(access, command=None, *words, **fields):
    async def ask():
        async with open_router_async(access) as router:
            return await getattr(router, command)(*words, **fields) if command else router.fingerprint

    return asyncio.run(ask())


both = pytest.mark.parametrize("ask", [blocking, in_a_loop])


@pytest.fixture
def router(emulated_router):  # noqa: F811
    return emulated_router(users={"portico": User(PASSWORD)})


def problem_of(ask, access, *command, **fields):
    with pytest.raises(RouterProblem) as caught:
        ask(access, *command, **fields)
    return caught.value


# What is read, and what is written


@both
@pytest.mark.parametrize("version", ["6.42.12", "6.43.16", "6.49.10", "7.14.3", "7.20"])
def test_every_version_is_logged_in_to(emulated_router, ask, version):  # noqa: F811
    router = emulated_router(version=version, users={"portico": User(PASSWORD)})
    (row,) = ask(access_to(router.port), "rows", "/system/resource", "version")
    assert row["version"].startswith(version)


@both
def test_a_router_is_reached_over_ipv6(emulated_router, ask):  # noqa: F811
    router = emulated_router(users={"portico": User(PASSWORD)}, address="::1")
    assert ask(access_to(router.port, address="::1"), "rows", "/system/identity") == [{"name": "MikroTik"}]


@both
def test_text_that_looks_like_something_else_stays_text(router, ask):
    for name in ("123", "007", "no", "yes", "true", "1e5", "a=b", "=", "ñandú 🦙", "x\r\ny"):
        router.box.table("/ppp/secret").put({"name": name, "password": name})
    rows = ask(access_to(router.port), "rows", "/ppp/secret", "name", "password")
    assert [row["name"] for row in rows] == ["123", "007", "no", "yes", "true", "1e5", "a=b", "=", "ñandú 🦙", "x\r\ny"]
    assert all(row["name"] == row["password"] for row in rows)
    assert all(type(value) is str for row in rows for value in row.values())


@both
def test_a_field_without_a_value_is_absent(router, ask):
    router.box.table("/ppp/secret").put({"name": "ana"})
    (row,) = ask(access_to(router.port), "rows", "/ppp/secret", "name", "comment", "caller-id")
    assert row.keys() == {".id", "name"}


@both
def test_rows_are_added_changed_found_and_removed(router, ask):
    access = access_to(router.port)
    fields = {"max-limit": "5M/20M", "comment": 'Peña, «torre» "norte"; $x [y]', "disabled": True}
    made = ask(access, "add", "/queue/simple", name="ana", target="10.64.0.9/32", **fields)
    ask(access, "set", "/queue/simple", made, name="ana maría")
    (found,) = ask(access, "rows", "/queue/simple", name="ana maría")
    assert found[".id"] == made
    assert found["comment"] == fields["comment"]
    assert found["disabled"] == "true"
    assert found["max-limit"] == "5000000/20000000"
    assert ask(access, "rows", "/queue/simple", name="ana") == []
    ask(access, "remove", "/queue/simple", made)
    assert ask(access, "rows", "/queue/simple") == []
    ask(access, "set", "/system/identity", name="Torre Norte")
    assert ask(access, "rows", "/system/identity") == [{"name": "Torre Norte"}]


@both
def test_removing_nothing_asks_nothing(router, ask):
    router.box.faults.traps["/ppp/secret/remove"] = "asked all the same"
    assert ask(access_to(router.port), "remove", "/ppp/secret") is None


def test_the_version_is_asked_for_once(router):
    with open_router(access_to(router.port)) as api:
        assert api.version == Version(7, 16)
        router.box.faults.silent = True
        assert api.version >= (7, 15)


@both
def test_octets_that_are_no_utf_8_are_shown_and_can_be_sent_back_as_they_were(play, ask):  # noqa: F811
    def script(server, connection):
        server.hear(connection)
        connection.sendall(DONE)
        server.hear(connection)
        connection.sendall(sentence("!re", "=.id=*1", b"=comment=Pe\xf1a\x81\x00") + DONE)
        while server.hear(connection):
            connection.sendall(DONE)

    server = play(script)
    if ask is blocking:
        with open_router(access_to(server.port)) as router:
            (row,) = router.rows("/ppp/secret")
            router.set("/ppp/secret", "*1", comment=row["comment"])
    else:

        async def read_and_write():
            async with open_router_async(access_to(server.port)) as router:
                (row,) = await router.rows("/ppp/secret")
                await router.set("/ppp/secret", "*1", comment=row["comment"])
                return row

        row = asyncio.run(read_and_write())
    assert row["comment"].startswith("Peña")
    assert "\0" not in row["comment"]
    assert is_foreign(row["comment"])
    assert not is_foreign(row[".id"])
    assert b"=comment=Pe\xf1a\x81\x00" in server.asked


@pytest.mark.parametrize(
    ("octets", "shown"), [(b"Pe\xf1a", "Peña"), ("Peña\0".encode(), "Peña�"), (b"\x80 5", "€ 5"), (b"a\0b", "a�b")]
)
def test_foreign_text_reads_as_windows_meant_it(octets, shown):
    assert ForeignText(octets) == shown
    assert ForeignText(octets).octets == octets


@given(
    st.lists(st.dictionaries(st.from_regex(r"[a-z.][a-z.-]{0,20}", fullmatch=True), st.text(), max_size=5)), st.data()
)
def test_an_answer_means_the_same_however_it_is_cut(rows, data):
    octets = b"".join(sentence("!re", *(f"={k}={v}".encode() for k, v in row.items())) for row in rows) + DONE
    sentences, reply, done = Sentences(), Reply(), False
    while octets:
        cut = data.draw(st.integers(1, len(octets)))
        sentences.feed(octets[:cut])
        octets = octets[cut:]
        while (words := sentences.next()) is not None:
            done = reply.take(words)
    assert done
    assert not sentences.unfinished
    assert reply.result() == [{k: v.replace("\0", "�") for k, v in row.items()} for row in rows]


@given(st.binary(max_size=300))
def test_no_octets_do_more_than_be_garbage(octets):
    sentences, reply = Sentences(), Reply()
    sentences.feed(octets)
    with suppress(RouterProblem):
        while (words := sentences.next()) is not None:
            reply.take(words)


# What goes wrong


@both
def test_a_closed_port_is_refused(router, ask):
    with nobody() as port:
        pass
    problem = problem_of(ask, access_to(port))
    assert (problem.cause, problem.stage) == (Cause.REFUSED, Stage.CONNECT)


@both
def test_a_firewall_that_drops_costs_the_deadline_and_no_more(ask):
    with nobody() as port:
        began = time.monotonic()
        problem = problem_of(ask, access_to(port, timeout=QUICK))
    assert (problem.cause, problem.stage) == (Cause.TIMEOUT, Stage.CONNECT)
    assert QUICK * 0.9 < time.monotonic() - began < QUICK + 1


@both
def test_an_address_filter_that_hangs_up_is_told_from_a_refusal(router, ask):
    router.box.faults.refuse_connections = True
    problem = problem_of(ask, access_to(router.port))
    assert (problem.cause, problem.stage) == (Cause.CLOSED, Stage.LOGIN)


@both
def test_the_routers_own_address_filter_counts(router, ask):
    router.box.table("/ip/service").first(name="api").fields["address"] = "10.200.0.1/32"
    assert problem_of(ask, access_to(router.port)).cause is Cause.CLOSED


@both
@pytest.mark.parametrize("version", ["6.42.12", "6.49.10", "7.16"])
def test_a_wrong_password_is_said_in_the_routers_words(emulated_router, ask, version):  # noqa: F811
    router = emulated_router(version=version, users={"portico": User("another")})
    problem = problem_of(ask, access_to(router.port))
    assert (problem.cause, problem.stage) == (Cause.PASSWORD, Stage.LOGIN)
    assert "log in" in problem.detail or "password" in problem.detail


@both
@pytest.mark.parametrize(
    "octets", [b"SSH-2.0-ROSSSH\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64, bytes(range(1, 99))]
)
def test_another_service_on_the_port_is_garbage_at_once(play, ask, octets):  # noqa: F811
    def script(server, connection):
        connection.sendall(octets)
        server.over.wait()

    began = time.monotonic()
    problem = problem_of(ask, access_to(play(script).port))
    assert problem.cause is Cause.GARBAGE
    assert time.monotonic() - began < 2


@both
def test_a_word_that_claims_to_be_huge_is_not_waited_for(play, ask):  # noqa: F811
    def script(server, connection):
        server.hear(connection)
        connection.sendall(b"\xe8\x00\x00\x00!re")
        server.over.wait()

    assert problem_of(ask, access_to(play(script).port)).cause is Cause.GARBAGE


def login_then(answer):
    """A script that lets anybody in and answers each command so."""

    def script(server, connection):
        server.hear(connection)
        connection.sendall(DONE)
        while server.hear(connection):
            if answer(server, connection):
                return

    return script


def half_a_sentence(_server, connection):
    connection.sendall(sentence("!re", "=.id=*1", "=name=ana")[:-5])


def nothing(_server, _connection):
    pass


def a_row_now_and_then(server, connection):
    """Each socket operation is answered in good time, and the command never."""
    while not server.over.wait(0.05):
        connection.sendall(sentence("!re", "=.id=*1"))


@both
@pytest.mark.parametrize("answer", [half_a_sentence, nothing, a_row_now_and_then])
def test_an_answer_that_is_never_whole_costs_the_deadline_and_no_more(play, ask, answer):  # noqa: F811
    server = play(login_then(answer))
    began = time.monotonic()
    problem = problem_of(ask, access_to(server.port, timeout=QUICK), "rows", "/ppp/secret")
    assert problem.cause is Cause.SILENT
    assert QUICK * 0.9 < time.monotonic() - began < QUICK + 1


@both
def test_a_router_that_is_taken_with_the_login_unanswered_is_silent(router, ask):
    router.box.faults.silent = True
    problem = problem_of(ask, access_to(router.port, timeout=QUICK))
    assert (problem.cause, problem.stage) == (Cause.SILENT, Stage.LOGIN)


def reboot(_server, connection):
    connection.sendall(sentence("!re", "=.id=*1", "=name=ana") + sentence("!re", "=.id=*2")[:-3])
    return True


@both
def test_a_reboot_in_the_middle_of_an_answer_is_no_answer(play, ask):  # noqa: F811
    problem = problem_of(ask, access_to(play(login_then(reboot)).port), "rows", "/ppp/secret")
    assert problem.cause is Cause.CLOSED
    assert problem.out_of_reach


@both
def test_a_reboot_of_the_router_ends_the_connection(router, ask):
    for number in range(200):
        router.box.table("/ppp/secret").put({"name": f"client-{number}"})
    router.box.faults.cut_after = 3000
    problem = problem_of(ask, access_to(router.port), "rows", "/ppp/secret", "name")
    assert problem.cause is Cause.CLOSED
    router.box.faults.cut_after = None
    router.box.reboot()
    assert len(ask(access_to(router.port), "rows", "/ppp/secret", "name")) == 200


def trap(*words):
    def answer(_server, connection):
        connection.sendall(sentence("!trap", *words) + DONE)

    return answer


@both
@pytest.mark.parametrize(
    ("words", "cause", "detail"),
    [
        ((), Cause.TRAP, ""),
        (("=message=",), Cause.TRAP, ""),
        (("=category=0", "=extra=1"), Cause.TRAP, "category=0 extra=1"),
        (("=category=4", "=message=failure: something\r\nelse"), Cause.TRAP, "failure: something\r\nelse"),
        (("=message=not enough permissions (9)",), Cause.PERMISSION, "not enough permissions (9)"),
        (("=message=no such command prefix",), Cause.VERSION, "no such command prefix"),
        (("=message=no such item (4)",), Cause.NO_SUCH_ITEM, "no such item (4)"),
        (("=message=failure: already have such address",), Cause.DUPLICATE, "failure: already have such address"),
    ],
)
def test_a_refusal_keeps_the_routers_words(play, ask, words, cause, detail):  # noqa: F811
    problem = problem_of(ask, access_to(play(login_then(trap(*words))).port), "call", "/ppp/secret/add", name="x")
    assert (problem.cause, problem.detail) == (cause, detail)


def test_after_a_refusal_the_connection_goes_on(router):
    with open_router(access_to(router.port)) as api:
        with pytest.raises(RouterProblem):
            api.remove("/ppp/secret", "*FFFF")
        assert api.usable
        assert api.rows("/system/identity") == [{"name": "MikroTik"}]


def test_after_a_missed_deadline_the_connection_is_not_used_again(router):
    with open_router(access_to(router.port, timeout=QUICK)) as api:
        router.box.faults.reply_delay = 1.0
        for _ in range(2):
            with pytest.raises(RouterProblem):
                api.rows("/system/identity")
            assert not api.usable


@both
def test_a_fatal_word_ends_the_connection_with_its_reason(play, ask):  # noqa: F811
    def script(server, connection):
        server.hear(connection)
        connection.sendall(sentence("!fatal", "too many sessions"))

    problem = problem_of(ask, access_to(play(script).port))
    assert (problem.cause, problem.detail) == (Cause.CLOSED, "too many sessions")


def test_a_dead_router_does_not_hold_up_the_others_of_a_loop(router):
    async def look(port, timeout):
        async with open_router_async(access_to(port, timeout=timeout)) as api:
            return await api.rows("/system/identity")

    async def all_of_them(dead):
        waiting = asyncio.create_task(look(dead, 3.0))
        began = time.monotonic()
        await asyncio.gather(*(look(router.port, 3.0) for _ in range(10)))
        seconds = time.monotonic() - began
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return seconds

    with nobody() as dead:
        assert asyncio.run(all_of_them(dead)) < 2


@both
def test_nothing_is_left_open(router, ask):
    """A connection left open would be a warning when it is collected, and warnings are errors."""
    ask(access_to(router.port), "rows", "/system/identity")
    for fault in ("refuse_connections", "refuse_logins"):
        setattr(router.box.faults, fault, True)
        problem_of(ask, access_to(router.port))
        setattr(router.box.faults, fault, False)
    gc.collect()
    deadline = time.monotonic() + 5
    while router.server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not router.server.connections


# TLS


@both
def test_a_certificate_of_its_own_is_taken_and_told(emulated_router, ask, tmp_path):  # noqa: F811
    context, fingerprint = router_certificate(tmp_path)
    router = emulated_router(users={"portico": User(PASSWORD)}, tls=context)
    assert ask(access_to(router.port, tls=True)) == fingerprint
    assert ask(access_to(router.port, tls=True, fingerprint=fingerprint), "rows", "/system/identity")


@both
def test_another_certificate_gets_no_password(play, ask, tmp_path):  # noqa: F811
    _first, pinned = router_certificate(tmp_path, "first")
    context, shown = router_certificate(tmp_path, "second")

    def script(server, connection):
        while server.hear(connection):
            connection.sendall(DONE)

    server = play(script, context)
    problem = problem_of(ask, access_to(server.port, tls=True, fingerprint=pinned))
    assert isinstance(problem, CertificateChanged)
    assert (problem.cause, problem.pinned, problem.shown) == (Cause.TLS, pinned, shown)
    assert problem.detail == f"pinned {pinned}, shown {shown}"
    assert not server.asked


def test_a_certificate_is_seen_without_a_word_to_who_shows_it(play, tmp_path):  # noqa: F811
    context, fingerprint = router_certificate(tmp_path)
    server = play(lambda server, connection: server.hear(connection) and None, context)
    assert shown_certificate(access_to(server.port, tls=True)) == fingerprint
    assert not server.asked


@both
def test_tls_to_a_port_without_it_is_no_tls(router, ask):
    problem = problem_of(ask, access_to(router.port, tls=True, timeout=2.0))
    assert problem.cause in (Cause.TLS, Cause.CLOSED, Cause.SILENT)
    assert problem.stage is Stage.TLS


@both
def test_no_tls_to_a_port_with_it_says_so(emulated_router, ask, tmp_path):  # noqa: F811
    router = emulated_router(users={"portico": User(PASSWORD)}, tls=router_certificate(tmp_path)[0])
    problem = problem_of(ask, access_to(router.port, timeout=2.0))
    assert problem.cause in (Cause.TLS, Cause.CLOSED)


@both
def test_a_handshake_that_is_never_done_costs_the_deadline_and_no_more(play, ask):  # noqa: F811
    server = play(lambda server, _connection: server.over.wait())
    began = time.monotonic()
    problem = problem_of(ask, access_to(server.port, tls=True, timeout=QUICK))
    assert (problem.cause, problem.stage) == (Cause.SILENT, Stage.TLS)
    assert time.monotonic() - began < QUICK + 1


# The password


@both
@pytest.mark.parametrize("fault", ["refuse_logins", "refuse_connections", "silent"])
def test_the_password_is_in_no_log_problem_or_traceback(router, ask, fault, caplog):
    setattr(router.box.faults, fault, True)
    caplog.set_level(logging.DEBUG)
    access = access_to(router.port, timeout=QUICK)
    problem = problem_of(ask, access)
    told = "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format())
    assert problem.__cause__ is None
    for text in (repr(access), str(problem), repr(problem), told, caplog.text):
        assert PASSWORD not in text
        assert "xyzzy" not in text


@both
def test_a_password_that_is_no_unicode_is_a_problem_without_it(router, ask):
    problem = problem_of(ask, access_to(router.port, password=SecretStr("xyzzy\udc80")))
    assert "xyzzy" not in repr(problem)
    assert problem.__cause__ is None
