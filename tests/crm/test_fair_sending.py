"""One operator's slow gateway or mailbox is no other operator's business."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import func, select

from core.clock import utc_now
from core.settings import Settings
from crm import ticket_tasks
from crm.channels import GATEWAY_PURPOSE
from crm.mailbox import MailboxDetails, save_mailbox
from crm.notices import Message, Outbox, deliver, send_due
from db.audit import Actor
from db.models import Mailbox, MessageSettings, Notification
from db.session import make_engine, make_sessions
from tests.rows import add_operator


@pytest.fixture
def settings(installation: Settings) -> Settings:
    return installation.model_copy(update={"local_gateways": True})


@pytest.fixture
def sessions(settings):
    engine = make_engine(settings.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


@contextmanager
def gateway(seconds: float = 0.0) -> Iterator[tuple[str, list[float]]]:
    """An SMS gateway that takes its time; yields its address and when it was asked."""
    asked: list[float] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/sms", asked
    server.shutdown()
    thread.join()
    server.server_close()


def write(sessions, settings, url: str, count: int) -> int:
    """Enter an operator whose gateway is at an address, with as many messages; return the operator."""
    with sessions() as session:
        operator_id = add_operator(session)
        sealed = settings.keyring.seal(GATEWAY_PURPOSE, url)
        session.add(MessageSettings(operator_id=operator_id, channels=["sms"], sms_kind="http", sms_url=sealed))
        messages = [Message("test", "sms", f"+5255000000{n:02}", "es", "s", "b") for n in range(count)]
        deliver(session, settings.keyring, operator_id, messages)
        session.commit()
        return operator_id


def waiting(sessions, operator_id: int) -> int:
    with sessions() as session:
        mine = (Notification.operator_id == operator_id, Notification.state == "waiting")
        return session.scalar(select(func.count()).where(*mine)) or 0


def eventually(holds: Callable[[], bool], seconds: float = 5) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.fault
def test_a_slow_gateway_of_one_operator_delays_no_other(sessions, settings):
    with gateway(0.4) as (slow, asked), gateway() as (quick, answered):
        first = write(sessions, settings, slow, 12)
        outbox = Outbox(sessions, settings)
        outbox.look()
        eventually(lambda: bool(asked))
        second = write(sessions, settings, quick, 5)
        begun = time.monotonic()
        outbox.look()
        eventually(lambda: waiting(sessions, second) == 0)
        assert time.monotonic() - begun < 1
        assert waiting(sessions, first) > 5
        assert outbox.look() == 0, "who is being served is not taken up twice"
        outbox.close(wait=True)  # or its threads open connections of a pool that nobody closes any more
        assert len(answered) == 5
        with sessions() as session:
            session.execute(Notification.__table__.delete())
            session.commit()


def test_one_round_serves_every_operator(sessions, settings):
    with gateway() as (url, asked):
        operators = [write(sessions, settings, url, 3) for _ in range(3)]
        assert send_due(sessions, settings, utc_now(), most=2) == 6
        assert [waiting(sessions, each) for each in operators] == [1, 1, 1]
        assert send_due(sessions, settings, utc_now()) == 3
    assert len(asked) == 9


@pytest.mark.fault
def test_a_mailbox_that_does_not_answer_delays_no_other(sessions, settings, monkeypatch):
    monkeypatch.setattr("crm.mailbox.TIMEOUT", 1.0)
    read: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as refusing:

        def refuse() -> None:
            connection, _address = refusing.accept()
            read.append(time.monotonic())
            connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        with sessions() as session:
            for server in (silent, silent, silent, refusing):
                actor = Actor(add_operator(session), "Ana")
                details = MailboxDetails("a@isp.example", "127.0.0.1", server.getsockname()[1], "none", "u", "p")
                save_mailbox(session, actor, settings.keyring, details, 0)
            session.commit()
        begun = time.monotonic()
        ticket_tasks.read_all(sessions, settings)
        thread.join()
        assert read[0] - begun < 0.9, "the last was asked while the others kept silent"
        assert time.monotonic() - begun < 2.5, "all of them together took as long as one"
    with sessions() as session:
        assert all(session.scalars(select(Mailbox.trouble)))
