"""The API of an emulated router on its socket, spoken to by three clients that none of us wrote.

librouteros sends no tags and logs in either way, RouterOS-api tags every sentence, its login too, and tikapy knows only
the login of before 6.43. What no client can do (several commands at once, half a sentence) is spoken by hand.
"""

import contextlib
import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import librouteros
import librouteros.exceptions
import librouteros.login
import pytest
import routeros_api
import routeros_api.exceptions
import tikapy

from lab.routeros import Box, User
from lab.routeros.login import challenge_answer
from lab.routeros.tls import anonymous, self_signed
from lab.routeros.wire import Decoder, encode_sentence, octets, text
from tests.lab.routeros import EmulatedRouter, LoopThread, running_router

Start = Callable[..., EmulatedRouter]


class Talk:
    """A client of our own that says exactly what it is told, and reads sentence by sentence."""

    def __init__(self, router: EmulatedRouter, source: str = "") -> None:
        self.socket = socket.create_connection(
            (router.address, router.port), timeout=5, source_address=(source, 0) if source else None
        )
        self._decoder = Decoder()
        self._read: list[list[str]] = []

    def say(self, *words: str) -> None:
        self.socket.sendall(encode_sentence([octets(word) for word in words]))

    def hear(self) -> list[str]:
        """Return the next sentence; an empty list when the router has closed the connection."""
        while not self._read:
            data = self.socket.recv(65_536)
            if not data:
                return []
            self._read += [[text(word) for word in sentence] for sentence in self._decoder.feed(data)]
        return self._read.pop(0)

    def hear_all(self) -> list[list[str]]:
        """Return the sentences up to `!done`, or to the end of the connection."""
        heard: list[list[str]] = []
        while sentence := self.hear():
            heard.append(sentence)
            if sentence[0] == "!done":
                break
        return heard

    def ask(self, *words: str) -> list[list[str]]:
        self.say(*words)
        return self.hear_all()

    def log_in(self, name: str = "admin", password: str = "secret") -> "Talk":
        assert self.ask("/login", f"=name={name}", f"=password={password}") == [["!done"]]
        return self


@pytest.fixture
def talk() -> Iterator[Callable[..., Talk]]:
    with contextlib.ExitStack() as talks:

        def start(router: EmulatedRouter, **options: Any) -> Talk:
            made = Talk(router, **options)
            talks.callback(made.socket.close)
            return made

        yield start


@pytest.fixture
def libre() -> Iterator[Callable[..., librouteros.api.Api]]:
    with contextlib.ExitStack() as apis:

        def connect(router: EmulatedRouter, **options: Any) -> librouteros.api.Api:
            usual = {"username": router.user, "password": router.password, "port": router.port, "encoding": "utf-8"}
            api = librouteros.connect(router.address, **{**usual, **options})
            apis.callback(api.close)
            return api

        yield connect


@pytest.fixture
def tagging() -> Iterator[Callable[..., Any]]:
    with contextlib.ExitStack() as pools:

        def connect(router: EmulatedRouter, **options: Any) -> Any:
            usual = {"username": router.user, "password": router.password, "port": router.port, "plaintext_login": True}
            pool = routeros_api.RouterOsApiPool(router.address, **{**usual, **options})
            pools.callback(pool.disconnect)
            return pool.get_api()

        yield connect


@pytest.fixture
def old() -> Iterator[Callable[[EmulatedRouter], Any]]:
    with contextlib.ExitStack() as clients:

        def connect(router: EmulatedRouter) -> Any:
            client = tikapy.TikapyClient(router.address, router.port)
            clients.callback(client.disconnect)
            client.login(router.user, router.password)
            return client

        yield connect


# Logging in


@pytest.mark.parametrize("version", ["6.42.12", "6.43.16", "6.49.10", "7.16", "7.20"])
def test_each_version_lets_in_who_logs_in_its_way(
    emulated_router: Start,
    libre: Callable[..., librouteros.api.Api],
    tagging: Callable[..., Any],
    old: Callable[..., Any],
    version: str,
) -> None:
    router = emulated_router(version=version, identity="tower")
    assert tagging(router).get_resource("/system/identity").get() == [{"name": "tower"}]
    if version < "6.45":
        assert old(router).talk(["/system/identity/print"]) == {}
        assert tuple(libre(router, login_method=librouteros.login.token).path("system/identity")) == (
            {"name": "tower"},
        )
        assert tagging(router, plaintext_login=False).get_resource("/system/identity").get() == [{"name": "tower"}]
    else:
        with pytest.raises(tikapy.ClientError, match="could not login"):
            old(router)
    if version >= "6.43":
        assert tuple(libre(router).path("system/identity")) == ({"name": "tower"},)


@pytest.mark.parametrize(
    ("version", "message"), [("6.42.12", "cannot log in"), ("7.16", "invalid user name or password (6)")]
)
def test_a_wrong_password_is_refused_in_the_words_of_the_version(
    emulated_router: Start, talk: Callable[..., Talk], version: str, message: str
) -> None:
    router = emulated_router(version=version)
    client = talk(router)
    if version < "6.43":
        [[_done, ret]] = client.ask("/login")
        answer = challenge_answer(b"wrong", bytes.fromhex(ret.removeprefix("=ret=")))
        heard = client.ask("/login", "=name=admin", f"=response={answer}")
    else:
        heard = client.ask("/login", "=name=admin", "=password=wrong")
    assert heard == [["!trap", f"=message={message}"], ["!done"]]
    assert router.box.rows("/log")[-1]["message"] == "login failure for user admin from 127.0.0.1 via api"
    assert client.ask("/system/identity/print") == [["!fatal", "not logged in"]]


def test_an_answer_to_a_challenge_is_taken_once(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    client = talk(emulated_router(version="6.42.12"))
    [[_done, ret]] = client.ask("/login")
    answer = f"=response={challenge_answer(b'secret', bytes.fromhex(ret.removeprefix('=ret=')))}"
    assert client.ask("/login", "=name=admin", answer) == [["!done"]]
    assert client.ask("/login", "=name=admin", answer)[0][0] == "!trap"


@pytest.mark.parametrize(
    "user",
    [
        pytest.param(User("secret", "noapi", frozenset({"read", "winbox"})), id="a group without api"),
        pytest.param(User("secret", addresses=("10.0.0.0/8",)), id="an address elsewhere"),
    ],
)
def test_who_may_not_use_the_api_is_refused_like_a_stranger(
    emulated_router: Start, talk: Callable[..., Talk], user: User
) -> None:
    client = talk(emulated_router(users={"admin": User("x"), "eve": user}))
    heard = client.ask("/login", "=name=eve", "=password=secret")
    assert heard == [["!trap", "=message=invalid user name or password (6)"], ["!done"]]


def test_a_user_bound_to_an_address_comes_in_from_there(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router(users={"wisp": User("secret", addresses=("127.0.0.7/32",))})
    assert talk(router).ask("/login", "=name=wisp", "=password=secret")[0][0] == "!trap"
    talk(router, source="127.0.0.7").log_in("wisp")


def test_logins_show_in_the_log_and_among_the_active_until_they_end(
    emulated_router: Start, talk: Callable[..., Talk]
) -> None:
    router = emulated_router()
    client = talk(router).log_in()
    active = router.box.rows("/user/active")
    assert [(row["name"], row["address"], row["via"]) for row in active] == [("admin", "127.0.0.1", "api")]
    assert client.ask("/quit") == [["!fatal", "session terminated on request"]]
    assert client.hear() == []
    wait_until(lambda: not router.box.rows("/user/active"))
    assert router.box.rows("/log")[-1]["message"] == "user admin logged out from 127.0.0.1 via api"


# Commands


def test_all_clients_read_what_one_of_them_wrote(
    emulated_router: Start,
    libre: Callable[..., librouteros.api.Api],
    tagging: Callable[..., Any],
    old: Callable[..., Any],
) -> None:
    router = emulated_router(version="6.43.16")
    secrets = libre(router).path("ppp", "secret")
    first = secrets.add(name="no", password="007", comment="a = b")
    tagging(router).get_resource("/ppp/secret").add(name="123", password="a=b", profile="default-encryption")
    assert [row["name"] for row in tagging(router).get_resource("/ppp/secret").get()] == ["no", "123"]
    assert tagging(router).get_resource("/ppp/secret").get(name="123")[0]["password"] == "a=b"
    rows = old(router).talk(["/ppp/secret/print", "?name=no"])
    assert rows == {first[1:]: {".id": first, **rows[first[1:]]}}
    assert rows[first[1:]]["comment"] == "a = b"
    assert rows[first[1:]]["password"] == "007"
    # tikapy counts letters for octets, so what is not ASCII is for the others.
    secrets.update(**{".id": first, "disabled": True, "comment": "Peña"})
    assert tagging(router).get_resource("/ppp/secret").get(name="no")[0]["comment"] == "Peña"
    assert tagging(router).get_resource("/ppp/secret").get(disabled="true")[0]["name"] == "no"
    tagging(router).get_resource("/ppp/secret").remove(id=first)
    assert [row["name"] for row in secrets] == [123]


def test_queries_of_librouteros_choose_rows(emulated_router: Start, libre: Callable[..., librouteros.api.Api]) -> None:
    api = libre(emulated_router())
    queues = api.path("queue", "simple")
    for number, limit in enumerate(("1M/1M", "5M/5M", "9M/9M")):
        queues.add(name=f"q{number}", target=f"10.0.0.{number}", **{"max-limit": limit})
    name, disabled = librouteros.query.Key("name"), librouteros.query.Key("disabled")
    either = librouteros.query.Or(name == "q0", name == "q2")
    assert [row["name"] for row in queues.select(name).where(either, disabled == False)] == ["q0", "q2"]  # noqa: E712
    assert list(queues.select(name).where(name.In("q1", "q2"))) == [{"name": "q1"}, {"name": "q2"}]
    assert list(queues.select(name).where(name != "q1")) == [{"name": "q0"}, {"name": "q2"}]


def test_traps_come_with_category_and_one_done(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    client = talk(emulated_router()).log_in()
    assert client.ask("/ppp/secret/remove", "=.id=*FF", ".tag=a") == [
        ["!trap", ".tag=a", "=category=0", "=message=no such item (4)"],
        ["!done", ".tag=a"],
    ]
    assert client.ask("/ppp/secret/add", "=name=x", "=profile=gold") == [
        ["!trap", "=category=1", "=message=input does not match any value of profile"],
        ["!done"],
    ]
    assert client.ask("/ppp/secret/print") == [["!done"]]


def test_a_trap_is_an_error_to_every_client(
    emulated_router: Start,
    libre: Callable[..., librouteros.api.Api],
    tagging: Callable[..., Any],
    old: Callable[..., Any],
) -> None:
    router = emulated_router(version="6.44.6")
    with pytest.raises(librouteros.exceptions.TrapError, match="no such command prefix"):
        tuple(libre(router).path("interface", "wireguard"))
    with pytest.raises(routeros_api.exceptions.RouterOsApiCommunicationError, match="no such command prefix"):
        tagging(router).get_resource("/interface/wireguard").get()
    with pytest.raises(tikapy.ClientError, match="could not talk to api"):
        old(router).talk(["/interface/wireguard/print"])


@pytest.mark.parametrize(("version", "empty"), [("7.17", []), ("7.18", [["!empty"]])])
def test_nothing_found_is_said_since_7_18(
    emulated_router: Start,
    libre: Callable[..., librouteros.api.Api],
    tagging: Callable[..., Any],
    talk: Callable[..., Talk],
    version: str,
    empty: list[list[str]],
) -> None:
    router = emulated_router(version=version)
    assert talk(router).log_in().ask("/ppp/secret/print") == [*empty, ["!done"]]
    assert tuple(libre(router).path("ppp/secret")) == ()
    assert tagging(router).get_resource("/ppp/secret").get() == []


def test_proplist_and_count_only_answer_what_was_asked(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    client = talk(emulated_router()).log_in()
    client.ask("/ppp/secret/add", "=name=ana", "=password=x")
    assert client.ask("/ppp/secret/print", "=.proplist=name,comment,service") == [
        ["!re", "=name=ana", "=service=any"],
        ["!done"],
    ]
    assert client.ask("/ppp/secret/print", "=count-only=") == [["!done", "=ret=1"]]
    assert client.ask("/ppp/secret/print", "?#&")[0] == [
        "!trap",
        "=category=5",
        "=message=invalid query: stack underflow",
    ]


def test_octets_that_are_no_text_come_back_as_they_went(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    client = talk(router).log_in()
    client.socket.sendall(encode_sentence([b"/ppp/secret/add", b"=name=pe\xf1a", b"=comment=\x80 5"]))
    client.hear_all()
    client.socket.sendall(encode_sentence([b"/ppp/secret/print", b"=.proplist=name,comment", b"?name=pe\xf1a"]))
    expected = encode_sentence([b"!re", b"=name=pe\xf1a", b"=comment=\x80 5"]) + encode_sentence([b"!done"])
    heard = b""
    while len(heard) < len(expected):
        heard += client.socket.recv(4096)
    assert heard == expected


def test_ping_counts_and_a_lost_one_says_timeout(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api]
) -> None:
    router = emulated_router()
    times = iter([0.012345, None, 0.0005])
    router.box.pinged = lambda address: next(times)
    rows = tuple(libre(router)("/ping", address="10.0.0.1", count="3", interval="0.01"))
    assert [row.get("time", row.get("status")) for row in rows] == ["12ms345us", "timeout", "500us"]
    assert (rows[-1]["sent"], rows[-1]["received"], rows[-1]["packet-loss"]) == (3, 2, 33)
    assert rows[-1]["max-rtt"] == "12ms345us"


def test_monitor_traffic_answers_once(emulated_router: Start, libre: Callable[..., librouteros.api.Api]) -> None:
    router = emulated_router()
    router.box.traffic = lambda row: {"rx-bits-per-second": 5_000_000 if row["name"] == "ether1" else 0}
    rows = tuple(libre(router)("/interface/monitor-traffic", interface="ether1,ether2", once=""))
    assert [row["rx-bits-per-second"] for row in rows] == [5_000_000, 0]


# Scripts


def test_a_script_runs_with_the_rights_of_who_gave_it_and_says_what_it_prints(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api], talk: Callable[..., Talk]
) -> None:
    router = emulated_router(users={"admin": User("secret"), "eve": User("x", "few", frozenset({"api", "write"}))})
    script = ':foreach name in={"ana";"bob"} do={/ppp secret add name=$name}; :put "made two"'
    answer = talk(router).log_in().ask("/execute", f"=script={script}", "=as-string=")
    assert answer == [["!done", "=ret=made two"]]
    assert [row["name"] for row in libre(router).path("ppp/secret")] == ["ana", "bob"]
    [trap, _done] = talk(router).log_in("eve", "x").ask("/execute", "=script=/user remove admin", "=as-string=")
    assert trap[:2] == ["!trap", "=category=3"]
    assert "not enough permissions (9)" in trap[2]


def test_the_export_of_one_router_makes_another_the_same(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    first, second = emulated_router(), emulated_router()
    for path, fields in (
        ("/ip/pool", {"name": "clients", "ranges": "10.0.0.2-10.0.0.254"}),
        ("/ppp/profile", {"name": "gold $1", "rate-limit": "5M/20M", "remote-address": "clients"}),
        ("/ppp/secret", {"name": "ana", "password": 'a"b\\c', "profile": "gold $1", "comment": "Peña ñandú\n2"}),
        ("/ip/firewall/filter", {"chain": "forward", "action": "drop", "src-address-list": "garden"}),
        ("/queue/simple", {"name": "ana", "target": "10.0.0.5", "max-limit": "5M/20M"}),
        ("/interface/wireguard", {"name": "vpn", "listen-port": "13232"}),
    ):
        first.box.run(f"{path}/add", fields)
    first.box.run("/radius/incoming/set", {"accept": "yes"})
    first.box.run("/interface/set", {"numbers": "ether1", "name": "WAN"})
    first.box.run("/ip/service/set", {"numbers": "winbox", "address": "10.200.0.1/32"})
    [[_done, ret]] = talk(first).log_in().ask("/execute", "=script=/export show-sensitive", "=as-string=")
    second.box.run("/file/add", {"name": "first.rsc", "contents": ret.removeprefix("=ret=")})
    assert talk(second).log_in().ask("/import", "=file-name=first.rsc") == [["!done"]]
    for path in (
        "/ip/pool",
        "/ppp/profile",
        "/ppp/secret",
        "/ip/firewall/filter",
        "/queue/simple",
        "/radius/incoming",
        "/interface",
    ):
        assert second.box.rows(path) == first.box.rows(path)
    assert (
        second.box.rows("/interface/wireguard")[0]["public-key"]
        == first.box.rows("/interface/wireguard")[0]["public-key"]
    )


def test_a_script_that_the_router_keeps_is_run_and_counted(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    client = talk(router).log_in()
    client.ask("/system/script/add", "=name=name-it", "=source=/system identity set name=tower")
    assert client.ask("/system/script/run", "=number=name-it") == [["!done"]]
    assert router.box.rows("/system/identity") == [{"name": "tower"}]
    assert router.box.rows("/system/script")[0]["run-count"] == "1"


# Several at once


def test_answers_to_tagged_commands_interleave(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    for number in range(500):
        router.box.table("/ppp/secret").put({"name": f"s{number}"})
    client = talk(router).log_in()
    commands = (
        (b"/ping", b"=address=10.0.0.1", b"=count=2", b"=interval=1", b".tag=ping"),
        (b"/ppp/secret/print", b".tag=long", b"=.proplist=name"),
        (b"/system/identity/print", b".tag=short"),
    )
    client.socket.sendall(b"".join(encode_sentence(words) for words in commands))
    heard: list[list[str]] = []
    while sum(sentence[0] == "!done" for sentence in heard) < 3:
        heard.append(client.hear())
    order = [sentence[1] for sentence in heard if sentence[0] == "!done"]
    assert order == [".tag=short", ".tag=long", ".tag=ping"]
    assert sum(sentence[:2] == ["!re", ".tag=long"] for sentence in heard) == 500
    assert sum(sentence[:2] == ["!re", ".tag=ping"] for sentence in heard) == 2


def test_commands_without_tags_are_answered_in_their_order(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    client = talk(emulated_router()).log_in()
    client.say("/ping", "=address=10.0.0.1", "=count=2", "=interval=0.05")
    client.say("/system/identity/print")
    assert [sentence[0] for sentence in client.hear_all()] == ["!re", "!re", "!done"]
    assert client.hear_all() == [["!re", "=name=MikroTik"], ["!done"]]


def test_listen_tells_changes_until_it_is_cancelled(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    watcher, writer = talk(router).log_in(), talk(router).log_in()
    watcher.say("/ppp/secret/listen", "=.proplist=name,disabled", ".tag=w")
    watcher.ask("/system/identity/print", ".tag=x")  # the listening has begun when this is answered
    [[_done, ret]] = writer.ask("/ppp/secret/add", "=name=ana")
    id_ = ret.removeprefix("=ret=")
    writer.ask("/ppp/secret/disable", f"=.id={id_}")
    writer.ask("/ppp/secret/remove", f"=.id={id_}")
    assert [watcher.hear() for _ in range(3)] == [
        ["!re", ".tag=w", "=name=ana", "=disabled=false"],
        ["!re", ".tag=w", "=name=ana", "=disabled=true"],
        ["!re", ".tag=w", f"=.id={id_}", "=.dead=yes"],
    ]
    watcher.say("/cancel", "=tag=w", ".tag=c")
    assert [watcher.hear() for _ in range(3)] == [
        ["!trap", ".tag=w", "=category=2", "=message=interrupted"],
        ["!done", ".tag=w"],
        ["!done", ".tag=c"],
    ]


def test_cancel_without_a_tag_ends_what_runs(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    client = talk(emulated_router()).log_in()
    client.say("/ping", "=address=10.0.0.1", ".tag=p")
    assert client.hear()[0] == "!re"
    client.say("/cancel")
    assert client.hear_all() == [["!trap", ".tag=p", "=category=2", "=message=interrupted"], ["!done", ".tag=p"]]
    assert client.hear_all() == [["!done"]]


# Rights


def test_a_small_account_reads_masked_and_may_not_write(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api], tagging: Callable[..., Any]
) -> None:
    small = User("secret", "small", frozenset({"api", "read"}))
    router = emulated_router(users={"wisp": small, "admin": User("root")})
    router.box.run("/ppp/secret/add", {"name": "ana", "password": "topsecret"})
    assert next(iter(libre(router).path("ppp/secret")))["password"] == "*****"
    with pytest.raises(librouteros.exceptions.TrapError, match=r"not enough permissions \(9\)"):
        libre(router).path("ppp/secret").add(name="bob")
    with pytest.raises(routeros_api.exceptions.RouterOsApiCommunicationError, match="not enough permissions"):
        tagging(router).get_resource("/user/group").get()


def test_a_change_of_policies_counts_from_the_next_login(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    small = User("secret", "small", frozenset({"api", "read"}))
    router = emulated_router(users={"wisp": small, "admin": User("root")})
    before = talk(router).log_in("wisp")
    router.box.run("/user/group/set", {"numbers": "small", "policy": "write"})
    assert before.ask("/ppp/secret/add", "=name=a")[0][0] == "!trap"
    assert talk(router).log_in("wisp").ask("/ppp/secret/add", "=name=a")[0][0] == "!done"


def test_the_service_admits_only_addresses_it_names(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    router.box.run("/ip/service/set", {"numbers": "api", "address": "127.0.0.9/32"})
    assert talk(router).hear() == []
    talk(router, source="127.0.0.9").log_in()


def test_a_service_that_is_switched_off_refuses_connections_until_it_is_back(
    emulated_router: Start, talk: Callable[..., Talk]
) -> None:
    router = emulated_router()
    router.box.run("/ip/service/disable", {"numbers": "api"})
    wait_until(lambda: refuses(router))
    router.box.run("/ip/service/enable", {"numbers": "api"})
    wait_until(lambda: not refuses(router))
    talk(router).log_in()


def test_a_service_may_be_switched_off_and_on_at_once(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    for _ in range(5):
        router.box.run("/ip/service/disable", {"numbers": "api"})
        router.box.run("/ip/service/enable", {"numbers": "api"})
    wait_until(lambda: not refuses(router))
    talk(router).log_in()


def test_who_connects_while_a_router_goes_is_not_forgotten(router_loop: LoopThread) -> None:
    for _ in range(20):
        with running_router(router_loop) as router:
            client = socket.create_connection((router.address, router.port), timeout=5)
        with client, contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    gc.collect()  # a socket that nobody closed would be reported here


def test_sessions_beyond_the_limit_are_closed_at_once(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router(version="7.20")
    talks = [talk(router).log_in() for _ in range(20)]
    assert talk(router).hear() == []
    connections = router.box.run("/ip/service/print", {}, "connection=true").rows
    assert len(connections) == 20
    assert {row["name"] for row in connections} == {"api"}
    talks[0].ask("/quit")
    wait_until(lambda: len(router.server.connections) < 20)
    talk(router).log_in()


# TLS


def test_tls_shows_the_certificate_of_the_router(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api], tagging: Callable[..., Any]
) -> None:
    certificate = self_signed("tower")
    router = emulated_router(tls=certificate.context(), identity="tower")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    api = libre(router, ssl_wrapper=context.wrap_socket)
    assert tuple(api.path("system/identity")) == ({"name": "tower"},)
    assert tagging(router, ssl_context=context).get_resource("/system/identity").get() == [{"name": "tower"}]
    with socket.create_connection((router.address, router.port)) as plain, context.wrap_socket(plain) as shown:
        der = shown.getpeercert(binary_form=True)
    assert der == ssl.PEM_cert_to_DER_cert(certificate.certificate.decode())
    strict = ssl.create_default_context()
    with socket.create_connection((router.address, router.port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        strict.wrap_socket(plain, server_hostname="tower")


def test_without_a_certificate_only_an_anonymous_client_comes_in(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api]
) -> None:
    router = emulated_router(tls=anonymous(), identity="tower")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):
        libre(router, ssl_wrapper=context.wrap_socket)
    context.set_ciphers("ADH:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert tuple(libre(router, ssl_wrapper=context.wrap_socket).path("system/identity")) == ({"name": "tower"},)


# Faults


def test_a_reboot_ends_connections_and_starts_the_uptime_anew(
    emulated_router: Start, talk: Callable[..., Talk], libre: Callable[..., librouteros.api.Api]
) -> None:
    clock = iter(range(10**9, 2 * 10**9, 1000))
    router = emulated_router(clock=lambda: next(clock))
    before = next(iter(libre(router).path("system/resource")))["uptime"]
    other = talk(router).log_in()
    talk(router).log_in().say("/system/reboot")
    assert other.hear() == []
    after = next(iter(libre(router).path("system/resource")))["uptime"]
    assert before.endswith("s")
    assert router.box.boots == 1
    assert router.box.rows("/log")[0]["message"] == "router rebooted"
    assert after != before


def test_while_it_boots_nobody_comes_in(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    now = [1_000_000.0]
    router = emulated_router(clock=lambda: now[0])
    router.box.boot_time = 60.0
    router.box.reboot()
    assert talk(router).hear() == []
    now[0] += 61
    talk(router).log_in()


def test_an_answer_is_cut_in_the_middle_of_a_sentence(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router()
    client = talk(router).log_in()
    router.box.faults.cut_after = 40
    client.say("/system/resource/print")
    heard = b""
    while data := client.socket.recv(4096):
        heard += data
    assert len(encode_sentence([b"!done"])) + len(heard) == 40


def test_librouteros_meets_each_fault_as_an_error(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api]
) -> None:
    router = emulated_router()
    faults = router.box.faults
    faults.refuse_logins = True
    with pytest.raises(librouteros.exceptions.TrapError, match="invalid user name"):
        libre(router)
    faults.refuse_logins = False
    api = libre(router, timeout=0.3)
    faults.traps["/ppp/secret/print"] = "timeout"
    with pytest.raises(librouteros.exceptions.TrapError, match="timeout"):
        tuple(api.path("ppp/secret"))
    faults.stall_after = 40
    with pytest.raises(TimeoutError):
        tuple(api.path("system/resource"))
    faults.stall_after, faults.silent = None, True
    with pytest.raises(TimeoutError):
        libre(router, timeout=0.3)
    faults.silent, faults.garbage = False, b"\xff\xfe HTTP/1.1 400"
    with pytest.raises((librouteros.exceptions.LibRouterosError, TimeoutError)):
        libre(router, timeout=0.3)
    faults.garbage, faults.refuse_connections = b"", True
    with pytest.raises((librouteros.exceptions.ConnectionClosed, ConnectionError)):
        libre(router)
    faults.refuse_connections = False
    assert tuple(libre(router).path("system/identity")) == ({"name": "MikroTik"},)


@pytest.mark.parametrize(
    "command", ["ppp/secret/print", "/", "//", "/ppp", "", "/ppp/secret", "/ppp/secret/fly", "!re"]
)
def test_what_is_no_command_is_trapped_and_the_next_one_answered(
    emulated_router: Start, talk: Callable[..., Talk], command: str
) -> None:
    client = talk(emulated_router()).log_in()
    heard = client.ask(command, "=x=y") if command else client.ask("=x=y")
    assert (heard[0][:2], heard[-1]) == (["!trap", "=category=0"], ["!done"])
    assert client.ask("/system/identity/print")[-1] == ["!done"]


@pytest.mark.parametrize(
    ("version", "argument", "taken"),
    [
        ("6.49.10", "vrf", False),
        ("6.49.10", "routing-table", True),
        ("7.16", "vrf", True),
        ("7.16", "count=many", False),
    ],
)
def test_ping_takes_the_arguments_of_its_version(
    emulated_router: Start, talk: Callable[..., Talk], version: str, argument: str, taken: bool
) -> None:
    client = talk(emulated_router(version=version)).log_in()
    words = f"={argument}" if "=" in argument else f"={argument}=main"
    assert client.ask("/ping", "=address=10.0.0.1", "=count=1", words)[0][0] == ("!re" if taken else "!trap")


def test_a_limit_of_sessions_may_be_played_in_any_version(emulated_router: Start, talk: Callable[..., Talk]) -> None:
    router = emulated_router(version="6.49.10")
    router.box.faults.max_sessions = 1
    talk(router).log_in()
    assert talk(router).hear() == []


def test_a_slow_router_answers_late_and_tagged_commands_wait_together(
    emulated_router: Start, talk: Callable[..., Talk]
) -> None:
    router = emulated_router()
    client = talk(router).log_in()
    router.box.faults.reply_delay = 0.2
    started = time.monotonic()
    for tag in "abc":
        client.say("/system/identity/print", f".tag={tag}")
    for _ in range(3):
        client.hear_all()
    assert 0.2 <= time.monotonic() - started < 0.5


@pytest.mark.parametrize("junk", [b"\xff" * 20, b"GET / HTTP/1.1\r\n\r\n" + b"x" * 200, b"\xf0\xff\xff\xff\xff"])
def test_what_is_no_sentence_ends_the_connection_and_nothing_else(
    emulated_router: Start, talk: Callable[..., Talk], junk: bytes
) -> None:
    router = emulated_router()
    client = talk(router)
    client.socket.sendall(junk)
    client.socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while client.socket.recv(4096):
            pass
    talk(router).log_in()


# Hooks


def test_what_plays_the_router_hears_of_commands_and_may_refuse_them(
    emulated_router: Start, talk: Callable[..., Talk]
) -> None:
    router = emulated_router()
    heard: list[tuple[str, str]] = []
    router.box.table("/ppp/active").put({"name": "ana", "radius": "true"})
    router.box.on("/ppp/active", lambda change: heard.append((change.kind, change.row["name"])))
    router.box.compute("/ppp/active", "uptime", lambda row: "5m")
    client = talk(router).log_in()
    [[_re, id_, *_], _done] = client.ask("/ppp/active/print", "=.proplist=.id,uptime")
    assert router.box.rows("/ppp/active")[0]["uptime"] == "5m"
    client.ask("/ppp/active/remove", id_)
    assert heard == [("remove", "ana")]


def test_a_box_may_be_changed_from_any_thread_while_it_is_read(
    emulated_router: Start, libre: Callable[..., librouteros.api.Api]
) -> None:
    router = emulated_router()
    stop = threading.Event()

    def churn() -> None:
        table = router.box.table("/ppp/active")
        while not stop.is_set():
            rows = [table.put({"name": f"s{number}", "dynamic": "true"}) for number in range(50)]
            for row in rows:
                table.drop(row)
            stop.wait(0.001)  # or it would have the interpreter to itself

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        api = libre(router)
        for _ in range(30):
            assert all("name" in row for row in api.path("ppp/active"))
    finally:
        stop.set()
        thread.join()


def test_a_thousand_boxes_fit_in_a_process() -> None:
    started = time.process_time()
    boxes = [Box(identity=f"tower-{number}") for number in range(1000)]
    assert {box.rows("/system/identity")[0]["name"] for box in boxes} == {f"tower-{number}" for number in range(1000)}
    assert time.process_time() - started < 20


def wait_until(true: Callable[[], bool]) -> None:
    """Wait up to five seconds for something that another thread is about to do."""
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def refuses(router: EmulatedRouter) -> bool:
    """Whether nobody listens on the router's port."""
    with socket.socket() as probe:
        return probe.connect_ex((router.address, router.port)) != 0
