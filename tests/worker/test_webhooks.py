"""Webhooks over real sockets: what a receiver gets, and what a bad one costs the others."""

import contextlib
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

import worker.webhooks
from core.clock import utc_now
from core.settings import Settings
from crm.webhooks import EndpointTerms, add_endpoint, emit, replace_secret, replay, send_test, signature
from db.audit import Actor
from db.migrate import migrate
from db.models import Notification, Staff, WebhookDelivery, WebhookEndpoint, WebhookEvent
from db.session import make_engine, make_sessions
from tests.network.certificates import router_certificate
from tests.rows import add_operator
from worker.webhooks import WebhookSender, claim, deliver_next, due_endpoints


@dataclass
class Receiver:
    """A program of the operator: keeps what it was sent, and answers as it is told to."""

    server: http.server.ThreadingHTTPServer
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[http.server.BaseHTTPRequestHandler], None] | int = 204
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server.server_port}/hook"

    def events(self) -> list[str]:
        return [json.loads(body)["type"] for _path, _headers, body in self.got]


@contextlib.contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers), body))
            if callable(receiver.answer):
                receiver.answer(self)
                return
            self.send_response(receiver.answer)
            self.end_headers()

        def do_GET(self) -> None:  # what a redirection that is followed would come to
            receiver.got.append((self.path, {}, b'{"type": "followed"}'))

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that went away

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = Receiver(server, tls=context is not None)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def lan(installation: Settings) -> Settings:
    """Settings under which receivers of this machine may be told, and without TLS."""
    migrate(installation)
    return installation.model_copy(update={"local_gateways": True})


@pytest.fixture(scope="module")
def sessions(lan: Settings) -> Iterator[sessionmaker[Session]]:
    engine = make_engine(lan.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture(autouse=True)
def _empty(sessions):
    with sessions() as session:
        session.execute(delete(WebhookEndpoint))
        session.execute(delete(WebhookEvent))
        session.execute(delete(Notification))
        session.commit()


def endpoint_at(sessions, settings, url: str, operator_id: int | None = None, events=("invoice.paid",)) -> tuple:
    """Enter an endpoint; return its operator, its id and its secret."""
    with sessions() as session:
        operator_id = operator_id or add_operator(session)
        actor = Actor(operator_id, "Ana")
        endpoint, secret = add_endpoint(session, actor, settings.keyring, settings, EndpointTerms(url, events))
        session.commit()
        return operator_id, endpoint.id, secret


def tell(sessions, operator_id: int, count: int = 1, event: str = "invoice.paid") -> None:
    with sessions() as session:
        for number in range(count):
            emit(session, operator_id, event, {"id": number, "total": "348"})
        session.commit()


def deliveries(sessions, endpoint_id: int) -> list[WebhookDelivery]:
    with sessions() as session:
        query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id).order_by(WebhookDelivery.id)
        return list(session.scalars(query))


def try_at_once(sessions, endpoint_id: int) -> None:
    """Let the pauses of an endpoint and its deliveries be over."""
    with sessions() as session:
        session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(paused_until=None))
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == "waiting")
            .values(next_attempt_at=utc_now() - timedelta(seconds=1))
        )
        session.commit()


def test_an_event_arrives_signed_with_both_secrets_while_one_is_replaced(sessions, lan, receiver):
    operator_id, endpoint_id, first = endpoint_at(sessions, lan, receiver.url)
    with sessions() as session:
        endpoint = session.get_one(WebhookEndpoint, endpoint_id)
        second = replace_secret(session, Actor(operator_id, "Ana"), lan.keyring, endpoint, utc_now())
        session.commit()
    tell(sessions, operator_id)
    assert deliver_next(sessions, lan, endpoint_id)
    assert not deliver_next(sessions, lan, endpoint_id)
    ((path, headers, body),) = receiver.got
    key, instant = headers["webhook-id"], headers["webhook-timestamp"]
    expected = [signature(each, key, instant, body) for each in (second, first)]
    assert (path, headers["webhook-signature"].split()) == ("/hook", expected)
    assert abs(int(instant) - time.time()) < 60
    sent = json.loads(body)
    assert (sent["type"], sent["data"]) == ("invoice.paid", {"id": 0, "total": "348"})
    (row,) = deliveries(sessions, endpoint_id)
    assert (row.state, row.status, row.attempts, len(row.tries)) == ("delivered", 204, 1, 1)
    with sessions() as session:
        again = session.get_one(WebhookDelivery, row.id)
        assert replay(session, Actor(operator_id, "Ana"), again, utc_now())
        session.commit()
    assert deliver_next(sessions, lan, endpoint_id)
    assert receiver.got[1][1]["webhook-id"] == key


def close_at_once(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def say_nothing(handler: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(1)


def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(20):
            handler.wfile.write(b"x")
            time.sleep(0.1)


def redirect(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"http://127.0.0.1:{handler.server.server_port}/admin")
    handler.end_headers()


def talk(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(500)
    handler.end_headers()
    handler.wfile.write(b"e" * 100_000)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        pytest.param(500, 500, "", id="500"),
        pytest.param(404, 404, "", id="404"),
        pytest.param(close_at_once, None, "127.0.0.1: RemoteDisconnected", id="closes the connection"),
        pytest.param(say_nothing, None, "127.0.0.1: no answer in time", id="slow"),
        pytest.param(drip, None, "127.0.0.1: no answer in time", id="drips"),
        pytest.param(redirect, 302, "redirections are not followed", id="redirects"),
        pytest.param(talk, 500, "", id="talks without end"),
    ],
)
def test_a_receiver_that_fails_is_asked_again_later(sessions, lan, receiver, monkeypatch, answer, status, error):
    monkeypatch.setattr(worker.webhooks, "TIMEOUT", 0.4)
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id)
    receiver.answer = answer
    begun = time.monotonic()
    assert not deliver_next(sessions, lan, endpoint_id)
    assert time.monotonic() - begun < 2
    (row,) = deliveries(sessions, endpoint_id)
    assert (row.state, row.status, row.error) == ("waiting", status, error)
    assert len(row.answer) <= 2048
    assert 7 < (row.next_attempt_at - utc_now()).total_seconds() < 13
    assert receiver.events() == ["invoice.paid"]
    receiver.answer = 200
    assert not deliver_next(sessions, lan, endpoint_id), "not before its time"
    try_at_once(sessions, endpoint_id)
    assert deliver_next(sessions, lan, endpoint_id)
    (row,) = deliveries(sessions, endpoint_id)
    assert (row.state, row.attempts) == ("delivered", 2)
    assert receiver.got[0][1]["webhook-id"] == receiver.got[1][1]["webhook-id"]
    with sessions() as session:
        endpoint = session.get_one(WebhookEndpoint, endpoint_id)
        assert (endpoint.failures, endpoint.failing_since, endpoint.paused_until) == (0, None, None)


def test_a_certificate_that_nobody_signed_is_not_good(sessions, lan, tmp_path):
    context, _print = router_certificate(tmp_path)
    with receiving(context) as receiver:
        operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
        tell(sessions, operator_id)
        assert not deliver_next(sessions, lan, endpoint_id)
        (row,) = deliveries(sessions, endpoint_id)
        assert row.error.startswith("127.0.0.1: certificate: ")
        assert receiver.got == []


def test_nothing_goes_to_this_machine_or_without_tls_where_that_is_not_allowed(sessions, lan, receiver, installation):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id)
    assert not deliver_next(sessions, installation, endpoint_id)
    with sessions() as session:
        session.execute(update(WebhookEndpoint).values(url=receiver.url.replace("http:", "https:")))
        session.commit()
    try_at_once(sessions, endpoint_id)
    assert not deliver_next(sessions, installation, endpoint_id)
    (row,) = deliveries(sessions, endpoint_id)
    assert [each["error"] for each in row.tries] == ["not https", "127.0.0.1 is not a public address"]
    assert receiver.got == []


def test_after_nine_attempts_over_a_day_a_delivery_is_given_up(sessions, lan, receiver):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id)
    receiver.answer = 503
    for _ in range(9):
        assert deliveries(sessions, endpoint_id)[0].state == "waiting"
        try_at_once(sessions, endpoint_id)
        deliver_next(sessions, lan, endpoint_id)
    (row,) = deliveries(sessions, endpoint_id)
    assert (row.state, row.attempts, len(row.tries)) == ("failed", 9, 9)
    assert 23 < sum(worker.webhooks.PAUSES, timedelta()).total_seconds() / 3600 < 25


@pytest.mark.parametrize("why", ["gone", "failing"])
def test_an_endpoint_without_hope_is_switched_off_and_the_managers_are_told(sessions, lan, receiver, why):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    receiver.answer = 410 if why == "gone" else 500
    with sessions() as session:
        email = f"manager@{operator_id}.example"
        session.add(Staff(operator_id=operator_id, email=email, name="M", password_hash="x", roles=["manager"]))
        if why == "failing":
            since = utc_now() - timedelta(days=3, hours=1)
            session.execute(update(WebhookEndpoint).values(failures=9, failing_since=since))
        session.commit()
    tell(sessions, operator_id, 2)
    assert not deliver_next(sessions, lan, endpoint_id)
    with sessions() as session:
        endpoint = session.get_one(WebhookEndpoint, endpoint_id)
        assert (endpoint.active, endpoint.off_why) == (False, why)
        (notice,) = session.scalars(select(Notification))
        assert (notice.shown_address, notice.kind) == (email, "webhook_off")
        assert f"127.0.0.1:{receiver.server.server_port}" in notice.body
    assert [each.state for each in deliveries(sessions, endpoint_id)] == ["failed", "failed"]
    tell(sessions, operator_id)
    assert len(deliveries(sessions, endpoint_id)) == 2
    receiver.answer = 200
    with sessions() as session:  # to try it out before it is switched on again
        send_test(session, Actor(operator_id, "Ana"), session.get_one(WebhookEndpoint, endpoint_id))
        session.commit()
    assert deliver_next(sessions, lan, endpoint_id)
    assert receiver.events()[-1] == "webhook.test"


@contextlib.contextmanager
def running(settings: Settings, count: int = 1) -> Iterator[None]:
    senders = [WebhookSender(settings) for _ in range(count)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


def test_two_workers_at_once_send_each_event_once(sessions, lan, receiver):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id, 60)
    with running(lan, 2):
        eventually(lambda: all(each.state == "delivered" for each in deliveries(sessions, endpoint_id)))
    keys = [headers["webhook-id"] for _path, headers, _body in receiver.got]
    assert (len(keys), len(set(keys))) == (60, 60)


def test_many_dead_endpoints_of_one_operator_delay_no_other(sessions, lan, receiver):
    with receiving() as dead:
        dead.answer = lambda handler: time.sleep(2)
        slow_one, *_ = endpoint_at(sessions, lan, dead.url)
        for _ in range(9):
            endpoint_at(sessions, lan, dead.url, slow_one)
        tell(sessions, slow_one, 50)
        with running(lan):
            eventually(lambda: len(dead.got) >= worker.webhooks.OF_OPERATOR)
            operator_id, _endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
            begun = time.monotonic()
            tell(sessions, operator_id, 5)
            eventually(lambda: len(receiver.got) == 5)
            assert time.monotonic() - begun < 2
            assert len(dead.got) <= 2 * worker.webhooks.OF_OPERATOR


KILLED = """
import sys
from core.settings import Settings
from db.session import make_engine, make_sessions
from worker.webhooks import deliver_next
settings = Settings.model_validate_json(sys.stdin.read())
deliver_next(make_sessions(make_engine(sys.argv[1])), settings, int(sys.argv[2]))
"""


def test_a_worker_killed_after_the_post_leads_to_a_second_one_under_the_same_id(sessions, lan, receiver):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id)
    arrived = threading.Event()

    def hold(handler: http.server.BaseHTTPRequestHandler) -> None:
        arrived.set()
        time.sleep(0.5)

    receiver.answer = hold
    settings = lan.model_copy(update={"database_url": None, "portal_database_url": None, "owner_database_url": None})
    clear = json.loads(settings.model_dump_json()) | {"secret_keys": lan.secret_keys.get_secret_value()}
    clear = {name: value for name, value in clear.items() if value is not None and value != "**********"}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, lan.database_url.get_secret_value(), str(endpoint_id)],
        stdin=subprocess.PIPE, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(json.dumps(clear).encode())
    child.stdin.close()
    assert arrived.wait(20)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (row,) = deliveries(sessions, endpoint_id)
    assert (row.state, row.attempts) == ("waiting", 1)
    with sessions() as session:
        assert due_endpoints(session, utc_now()) == [], "claimed for a minute"
        later = utc_now() + timedelta(seconds=61)
        assert [each[0] for each in due_endpoints(session, later)] == [endpoint_id]
    receiver.answer = 200
    try_at_once(sessions, endpoint_id)
    assert deliver_next(sessions, lan, endpoint_id)
    assert receiver.got[0][1]["webhook-id"] == receiver.got[1][1]["webhook-id"]


def test_what_one_worker_claimed_no_other_takes(sessions, lan, receiver):
    operator_id, endpoint_id, _secret = endpoint_at(sessions, lan, receiver.url)
    tell(sessions, operator_id)
    now = utc_now()
    assert claim(sessions, lan, endpoint_id, now) is not None
    assert claim(sessions, lan, endpoint_id, now) is None
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 1
