"""Notices leave by a real socket: a mail server of a few lines that can refuse, put off and be slow, and a web hook."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.by_apprise import _apprise, _hosts
from crm.notices import (
    APPRISE,
    EMAIL,
    PAUSES,
    Message,
    checked_address,
    deliver,
    send_due,
    shown_address,
)
from crm.problems import Invalid
from db.models import Notification
from db.session import make_engine, make_sessions
from tests.conftest import free_port
from tests.factories import Isp


class MailServer(socketserver.ThreadingTCPServer):
    """A mail server (RFC 5321) for one message at a time. `answers` are given to RCPT in turn, the last for ever."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *answers: str, slow: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _MailSession)
        self.answers = list(answers) or ["250 fine"]
        self.slow = slow
        self.mails: list[EmailMessage] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        time.sleep(self.server.slow)
        self.say("220 mail.example ready")
        while line := self.rfile.readline().decode().strip():
            match line.split(":")[0].split()[0].upper():
                case "RCPT":
                    answers = self.server.answers
                    self.say(answers.pop(0) if len(answers) > 1 else answers[0])
                case "DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(part)
                    self.server.mails.append(
                        message_from_bytes(b"".join(lines).replace(b"\r\n", b"\n"), policy=policy.default)
                    )
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 fine")


@pytest.fixture
def isp(database) -> Iterator[Isp]:
    isp = Isp.create(database)
    yield isp
    isp.connection.close()


@pytest.fixture
def sessions(database):
    engine = make_engine(database.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


def mailing(settings, port: int, **values):
    defaults = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none", "smtp_sender": "noc@isp.example"}
    return settings.model_copy(update={**defaults, "smtp_timeout": 2.0, **values})


def write(sessions, isp, **values) -> int:
    message = {
        "kind": "alert", "channel": EMAIL, "address": "ana@isp.example", "language": "es",
        "subject": "Torre Norte está caída", "body": "No contesta desde las 14:02.\n¿Luz?",
    }  # fmt: skip
    with sessions() as session:
        [row] = deliver(session, isp.settings.keyring, isp.operator_id, [Message(**{**message, **values})])
        session.commit()
        return row.id


def stored(sessions, number: int) -> Notification:
    with sessions() as session:
        return session.get_one(Notification, number)


def test_a_message_arrives_once_with_its_accents(isp, sessions):
    with MailServer() as server:
        settings = mailing(isp.settings, server.server_address[1])
        number = write(sessions, isp)
        assert [send_due(sessions, settings, utc_now()) for _ in range(3)] == [1, 0, 0]
    [mail] = server.mails
    assert (mail["Subject"], mail["To"]) == ("Torre Norte está caída", "ana@isp.example")
    assert (mail["From"], mail["Message-ID"]) == ("noc@isp.example", f"<portico-{number}@isp.example>")
    assert mail.get_content() == "No contesta desde las 14:02.\n¿Luz?\n"
    assert stored(sessions, number).state == "sent"


def test_what_is_undone_is_not_sent(isp, sessions):
    with sessions() as session:
        deliver(session, isp.settings.keyring, isp.operator_id, [Message("x", EMAIL, "a@b.example", "en", "s", "b")])
        session.rollback()
    assert send_due(sessions, mailing(isp.settings, 9), utc_now()) == 0


def test_a_subject_cannot_smuggle_a_header(isp, sessions):
    with MailServer() as server:
        write(sessions, isp, subject="Torre\r\nBcc: all@isp.example")
        send_due(sessions, mailing(isp.settings, server.server_address[1]), utc_now())
    [mail] = server.mails
    assert (mail["Subject"], mail["Bcc"]) == ("Torre Bcc: all@isp.example", None)


@pytest.mark.fault
def test_a_server_that_says_later_is_tried_again(isp, sessions):
    with MailServer("451 greylisted", "250 fine") as server:
        settings = mailing(isp.settings, server.server_address[1])
        number = write(sessions, isp)
        now = utc_now()
        send_due(sessions, settings, now)
        waiting = stored(sessions, number)
        assert (waiting.state, waiting.error) == ("waiting", "451 greylisted")
        assert waiting.next_attempt_at == now + PAUSES[0]
        assert send_due(sessions, settings, now + timedelta(seconds=30)) == 0
        assert send_due(sessions, settings, now + PAUSES[0]) == 1
    assert len(server.mails) == 1
    assert (stored(sessions, number).state, stored(sessions, number).error) == ("sent", "")


@pytest.mark.fault
def test_an_address_that_is_refused_for_good_is_given_up_at_once(isp, sessions):
    with MailServer("550 no such user") as server:
        number = write(sessions, isp)
        send_due(sessions, mailing(isp.settings, server.server_address[1]), utc_now())
    assert (stored(sessions, number).state, stored(sessions, number).error) == ("failed", "550 no such user")


@pytest.mark.fault
def test_a_server_that_is_away_is_tried_for_a_day_and_then_given_up(isp, sessions):
    settings = mailing(isp.settings, free_port(socket.SOCK_STREAM))
    number = write(sessions, isp)
    now = begun = utc_now()
    for _ in range(30):
        send_due(sessions, settings, now)
        row = stored(sessions, number)
        if row.state != "waiting":
            break
        now = row.next_attempt_at
    assert row.state == "failed"
    assert "refused" in row.error
    assert timedelta(hours=20) < now - begun < timedelta(hours=30)


@pytest.mark.fault
def test_an_address_that_no_mail_can_carry_holds_up_no_other(isp, sessions):
    with MailServer() as server:
        settings = mailing(isp.settings, server.server_address[1])
        broken, good = write(sessions, isp, address="ana@[1.2.3"), write(sessions, isp)
        assert send_due(sessions, settings, utc_now()) == 2
    assert [stored(sessions, number).state for number in (broken, good)] == ["failed", "sent"]


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("json://10.0.0.1:8080/x", ["10.0.0.1"]),
        ("mailto://u:p@example.com?smtp=127.0.0.1", ["example.com", "127.0.0.1"]),
        ("tgram://123456789:abcdefg_hijklmnop/12345", []),
        (f"twilio://AC{'1' * 32}:{'2' * 32}@15551234567/15557654321", []),
    ],
)
def test_a_telephone_number_or_token_is_no_host_to_look_up(address, hosts):
    channel = _apprise().Apprise()
    assert channel.add(address)
    assert sorted(set(_hosts(channel))) == sorted(hosts)


def test_a_slow_server_holds_up_no_more_than_its_time_out(isp, sessions):
    with MailServer(slow=5) as server:
        number = write(sessions, isp)
        begun = time.monotonic()
        send_due(sessions, mailing(isp.settings, server.server_address[1], smtp_timeout=0.3), utc_now())
        assert time.monotonic() - begun < 2
    assert stored(sessions, number).state == "waiting"


@pytest.mark.fault
def test_a_sender_that_died_does_not_keep_the_message(isp, sessions):
    number = write(sessions, isp)
    now = utc_now()
    with sessions() as session:  # claimed, and never heard of again
        row = session.get_one(Notification, number)
        row.attempts, row.next_attempt_at = 1, now + timedelta(minutes=5)
        session.commit()
    with MailServer() as server:
        settings = mailing(isp.settings, server.server_address[1])
        assert send_due(sessions, settings, now) == 0
        assert send_due(sessions, settings, now + timedelta(minutes=5)) == 1


def test_two_senders_send_each_message_once(isp, sessions):
    numbers = [write(sessions, isp, subject=f"message {number}") for number in range(12)]
    with MailServer() as server:
        settings = mailing(isp.settings, server.server_address[1])
        threads = [threading.Thread(target=send_due, args=(sessions, settings, utc_now(), 4)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        send_due(sessions, settings, utc_now())
    assert sorted(mail["Subject"] for mail in server.mails) == sorted(f"message {n}" for n in range(12))
    assert {stored(sessions, number).state for number in numbers} == {"sent"}


def test_without_a_mail_server_messages_wait(isp, sessions):
    number = write(sessions, isp)
    send_due(sessions, isp.settings, utc_now())
    assert (stored(sessions, number).state, stored(sessions, number).error) == (
        "waiting", "PORTICO_SMTP_HOST is not set",
    )  # fmt: skip


@contextmanager
def web_hook(status: int = 200) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A web server that takes what apprise posts as JSON."""
    taken: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with closing(HTTPServer(("127.0.0.1", 0), Hook)) as server:
        server.close = server.server_close  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1], taken
        server.shutdown()
        thread.join()


def test_a_message_goes_to_a_channel_of_apprise(isp, sessions):
    with web_hook() as (port, taken):
        number = write(sessions, isp, channel=APPRISE, address=f"json://noc:s3cret@127.0.0.1:{port}/hook")
        send_due(sessions, isp.settings.model_copy(update={"local_gateways": True}), utc_now())
    assert [(one["title"], one["message"]) for one in taken] == [
        ("Torre Norte está caída", "No contesta desde las 14:02.\n¿Luz?")
    ]
    assert stored(sessions, number).state == "sent"
    assert "s3cret" not in stored(sessions, number).shown_address


@pytest.mark.fault
def test_a_channel_that_refuses_is_tried_again_and_its_password_stays_secret(isp, sessions, caplog):
    with web_hook(503) as (port, _taken):
        number = write(sessions, isp, channel=APPRISE, address=f"json://noc:s3cret@127.0.0.1:{port}/hook")
        send_due(sessions, isp.settings.model_copy(update={"local_gateways": True}), utc_now())
    row = stored(sessions, number)
    assert row.state == "waiting"
    assert row.error
    assert "s3cret" not in row.error + caplog.text


@pytest.mark.parametrize("address", ["ana", "ana@", "@isp.example", "ana@isp", "a b@isp.example", "año@isp.example"])
def test_what_is_no_address_of_mail_is_not_taken(address):
    with pytest.raises(Invalid):
        checked_address(EMAIL, address)


@pytest.mark.parametrize("address", ["", "tower", "nothing://x", "syslog://", "dbus://", "windows://"])
def test_what_is_no_channel_or_acts_on_this_machine_is_not_taken(address):
    with pytest.raises(Invalid):
        checked_address(APPRISE, address)


def test_addresses_that_can_be_used_are_taken():
    assert checked_address(EMAIL, " ana@isp.example ") == "ana@isp.example"
    assert checked_address(APPRISE, "json://127.0.0.1/hook")
    assert shown_address(APPRISE, "json://noc:s3cret@hooks.isp.example/x") == "JSON (hooks.isp.example)"


def test_every_row_of_a_message_is_sealed(isp, sessions):
    number = write(sessions, isp)
    with Session(bind=sessions.kw["bind"]) as session:
        sealed = session.scalars(select(Notification.address).where(Notification.id == number)).one()
    assert b"ana@isp.example" not in sealed
