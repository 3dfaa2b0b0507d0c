"""Mails become tickets, read from a real IMAP server; what we answer leaves as mail, and its reply comes back."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from sqlalchemy import delete, select, text

from core.clock import utc_now
from crm import mailbox as module
from crm.mail_text import split_quoted, text_of
from crm.mailbox import Access, MailboxDetails, MailboxTrouble, access_of, count_unseen, read_mailbox, save_mailbox
from crm.notices import send_due
from crm.problems import ChangedMeanwhile, Invalid, Problem
from crm.ticket_entries import entries_of, files_of, public_entries
from crm.ticket_mail import mail_answer
from crm.ticket_tasks import TASK_LOCK, look_after, read_all
from crm.tickets import (
    answer,
    merge,
    solve,
)
from db.audit import Actor
from db.models import Mailbox, Notification, ReceivedMail, Ticket
from db.session import make_engine, make_sessions
from tests.conftest import free_port
from tests.crm.dovecot import PASSWORD, USER, Dovecot, running_dovecot
from tests.crm.test_notices import MailServer
from tests.rows import add_operator, add_subscriber

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00"
    b"\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running_dovecot(free_port(socket.SOCK_STREAM)) as running:
        yield running


@pytest.fixture(scope="module")
def settings(installation):
    return installation.model_copy(update={"local_gateways": True})


@pytest.fixture(scope="module")
def sessions(installation):
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


class Desk:
    """An operator with a mailbox and one subscriber, Luisa; `tickets()` is what stands in the database."""

    def __init__(self, sessions, settings, server: Dovecot) -> None:
        self.sessions, self.settings, self.server = sessions, settings, server
        with sessions() as session:
            session.execute(delete(Mailbox))
            self.operator_id = add_operator(session, locale="es")
            self.actor = Actor(self.operator_id, "ana@valle.example")
            self.luisa = add_subscriber(session, self.operator_id, name="Luisa Peña", email="Luisa@example.com")
            details = MailboxDetails(USER, "127.0.0.1", server.port, "none", USER, PASSWORD)
            save_mailbox(session, self.actor, settings.keyring, details, 0)
            session.commit()

    def read(self, now: datetime | None = None) -> int:
        return read_mailbox(self.sessions, self.settings, self.operator_id, now or utc_now())

    def tickets(self) -> list[Ticket]:
        with self.sessions() as session:
            return list(
                session.scalars(select(Ticket).where(Ticket.operator_id == self.operator_id).order_by(Ticket.id))
            )

    def words(self, ticket: Ticket) -> list[str]:
        with self.sessions() as session:
            return [entry.body for entry in public_entries(session, ticket)]

    def received(self) -> list[tuple[str, str]]:
        query = select(ReceivedMail).where(ReceivedMail.operator_id == self.operator_id)
        with self.sessions() as session:
            return [(row.outcome, row.reason) for row in session.scalars(query.order_by(ReceivedMail.created_at))]

    def told(self) -> list[Notification]:
        query = select(Notification).where(Notification.operator_id == self.operator_id).order_by(Notification.id)
        with self.sessions() as session:
            return list(session.scalars(query))


@pytest.fixture
def desk(sessions, settings, server) -> Desk:
    for file in [*(server.home / "mail" / "new").iterdir(), *(server.home / "mail" / "cur").iterdir()]:
        file.unlink()
    return Desk(sessions, settings, server)


def mail(text: str = "Desde ayer no hay señal.", *, files=(), **headers: str) -> bytes:
    message = EmailMessage()
    defaults = {
        "From": "Luisa P <luisa@example.com>",
        "Subject": "Sin señal",
        "To": USER,
        "Message-ID": "<1@example.com>",
    }
    for name, value in {**defaults, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
        message[name] = value
    message.set_content(text)
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes(policy=policy.SMTP)


def test_a_mail_of_a_subscriber_is_a_ticket_and_is_marked_once_it_is_stored(desk):
    desk.server.put(mail(files=[("techo.jpg", PNG), ("factura.pdf", b"MZ\x90\x00\x03 program")]))
    assert desk.read() == 1
    [ticket] = desk.tickets()
    assert (ticket.subscriber_id, ticket.subject, ticket.source, ticket.state) == (
        desk.luisa, "Sin señal", "email", "new",
    )  # fmt: skip
    with desk.sessions() as session:
        [entry] = entries_of(session, ticket)
        assert (entry.author, entry.body) == (
            "Luisa Peña",
            "Desde ayer no hay señal.\n\n[factura.pdf: no se guardó: no se aceptan archivos de este tipo]",
        )
        assert [file.name for file in files_of(session, [entry])[entry.id]] == ["techo.png"]
    assert desk.server.unseen() == 0
    [receipt] = desk.told()
    assert receipt.headers["Auto-Submitted"] == "auto-replied"
    assert receipt.headers["In-Reply-To"] == "<1@example.com>"
    assert f"#{ticket.number}" in receipt.body


def test_a_mail_that_is_read_twice_makes_one_ticket(desk):
    desk.server.put(mail())
    desk.read()
    desk.server.unmark()
    desk.server.put(mail())  # and a copy of it
    assert desk.server.unseen() == 2
    assert desk.read() == 2
    assert (len(desk.tickets()), len(desk.told()), desk.server.unseen()) == (1, 1, 0)


def test_a_mail_whose_transaction_fails_stays_unread_and_holds_up_no_other(desk, monkeypatch):
    desk.server.put(mail("Primero", Message_ID="<a@example.com>"))
    desk.server.put(mail("Segundo", Message_ID="<b@example.com>"))
    whole = module.receive

    def half(session, *arguments):
        found = whole(session, *arguments)
        if found.message_id == "<a@example.com>":
            session.execute(select(1 / (Ticket.number - Ticket.number)))  # PostgreSQL gives up in the middle
        return found

    monkeypatch.setattr(module, "receive", half)
    assert desk.read() == 1
    assert (desk.server.unseen(), [desk.words(each) for each in desk.tickets()]) == (1, [["Segundo"]])
    monkeypatch.setattr(module, "receive", whole)
    assert (desk.read(), desk.server.unseen(), len(desk.tickets())) == (1, 0, 2)


def test_a_mail_that_nobody_can_read_holds_up_no_other(desk):
    parts = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1500))
    desk.server.put(b"From: x@example.com\r\nMessage-ID: <deep@example.com>\r\n" + parts)
    desk.server.put(mail())
    assert desk.read() == 1
    assert [ticket.subject for ticket in desk.tickets()] == ["Sin señal"]
    assert desk.server.unseen() == 1


@pytest.mark.parametrize(
    "text",
    ["a" + "\n" * 200_000 + "b", "_" * 10 + " " * 200_000 + "x", "from: a\n" + "\n" * 200_000 + "x"],
)
def test_no_text_takes_longer_to_read_than_its_length(text):
    began = time.process_time()
    assert split_quoted(text) == (text, "")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("piece", ["<!--", "<a ", "<![", "<x a='", "</", "<", "&"])
def test_no_html_takes_longer_to_read_than_its_length(piece):
    message = EmailMessage()
    message.set_content(f"<p>Sin señal</p>{piece * 50_000}", subtype="html")
    began = time.process_time()
    assert text_of(message).startswith("Sin señal")
    assert time.process_time() - began < 2


def test_what_we_answer_leaves_as_mail_and_its_reply_finds_the_ticket(desk):
    desk.server.put(mail())
    desk.read()
    [ticket] = desk.tickets()
    with desk.sessions() as session:
        ticket = session.get_one(Ticket, ticket.id)
        entry = answer(session, desk.actor, ticket, "¿Qué luz ve usted?\n.\nGracias")
        mail_answer(session, desk.settings.keyring, "https://portal.example", ticket, entry)
        session.commit()
    with MailServer() as out:
        mailing = {"smtp_host": "127.0.0.1", "smtp_port": out.server_address[1], "smtp_security": "none"}
        send_due(desk.sessions, desk.settings.model_copy(update=mailing), utc_now())
        [sent] = [each for each in out.mails if "luz" in each.get_content()]
    assert (sent["To"], sent["Subject"]) == ("Luisa@example.com", "Re: [#1] Sin señal")
    assert (sent["In-Reply-To"], sent["Reply-To"], sent["Auto-Submitted"]) == ("<1@example.com>", USER, "no")
    quoted = "".join(f"> {line}\n" for line in sent.get_content().splitlines())
    back = f"Roja.\n\nEl lun, 2 mar 2027 a las 10:00, Valle Net ({USER}) escribió:\n{quoted}"
    # From another address and with another subject: the reference decides.
    desk.server.put(
        mail(back, From="otra@example.com", Subject="foco", Message_ID="<2@x>", References=sent["Message-ID"])
    )
    desk.read()
    [ticket] = desk.tickets()
    assert (ticket.state, desk.words(ticket)[-1]) == ("open", "Roja.")
    with desk.sessions() as session:
        last = public_entries(session, ticket)[-1]
        assert last.author == "otra@example.com <otra@example.com>"
        assert "¿Qué luz ve usted?" in last.quoted
    assert len(desk.told()) == 2  # no receipt for what is part of a conversation


def test_a_number_in_the_subject_is_believed_of_the_subscriber_alone(desk):
    desk.server.put(mail())
    desk.read()
    desk.server.put(mail("Yo también", Subject="Re: [#1] Sin señal", Message_ID="<2@x>"))
    desk.server.put(mail("Deme sus datos", From="x@evil.example", Subject="[#1] Sin señal", Message_ID="<3@x>"))
    forged = f"<portico-ticket-{desk.operator_id}-1-1-{'0' * 20}@valle.example>"
    desk.server.put(mail("Y yo", From="y@evil.example", Message_ID="<4@x>", In_Reply_To=forged))
    desk.read()
    first, *others = desk.tickets()
    assert desk.words(first) == ["Desde ayer no hay señal.", "Yo también"]
    assert [(each.subscriber_id, each.sender) for each in others] == [
        (None, "x@evil.example"), (None, "y@evil.example"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        pytest.param({"Auto_Submitted": "auto-replied; vacation"}, "automatic", id="out of office"),
        pytest.param({"Precedence": "bulk"}, "automatic", id="bulk"),
        pytest.param({"X_Autoreply": "yes"}, "automatic", id="another out of office"),
        pytest.param({"Return_Path": "<>"}, "bounce", id="bounce"),
        pytest.param({"From": "MAILER-DAEMON@example.com"}, "bounce", id="daemon"),
        pytest.param({"List_Id": "<news.example.com>"}, "list", id="mailing list"),
        pytest.param({"From": f"Soporte <{USER.upper()}>"}, "own", id="our own address"),
        pytest.param({"From": "nobody"}, "bounce", id="no address"),
    ],
)
def test_machines_make_no_tickets_and_get_no_answers(desk, headers, reason):
    desk.server.put(mail(**headers))
    assert desk.read() == 1
    assert (desk.tickets(), desk.told(), desk.received(), desk.server.unseen()) == ([], [], [("ignored", reason)], 0)


def test_a_bounce_in_its_own_form_is_ignored(desk):
    report = (
        b"From: mail@relay.example\r\nMessage-ID: <b@x>\r\nContent-Type: multipart/report; boundary=b\r\n\r\n"
        b"--b\r\n\r\nx\r\n--b--\r\n"
    )
    desk.server.put(report)
    desk.read()
    assert desk.received() == [("ignored", "bounce")]


def test_two_machines_that_answer_each_other_come_to_an_end(desk):
    for number in range(25):
        desk.server.put(mail("We have received your message", From="bot@other.example", Message_ID=f"<{number}@x>"))
    desk.read()
    assert len(desk.tickets()) == 20
    assert len(desk.told()) == 3  # receipts
    assert [row for row in desk.received() if row[0] == "ignored"] == [("ignored", "flood")] * 5


def test_an_address_that_two_subscribers_share_is_nobodys(desk):
    with desk.sessions() as session:
        add_subscriber(session, desk.operator_id, name="Su hermana", email="luisa@EXAMPLE.com")
        session.commit()
    desk.server.put(mail())
    desk.read()
    assert [(each.subscriber_id, each.sender) for each in desk.tickets()] == [(None, "luisa@example.com")]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"From: luisa@example.com\r\n\r\n", id="no words"),
        pytest.param(b"From: luisa@example.com\r\nSubject: =?utf-8?B?////?=\r\n\r\n\xff\xfe\0 x", id="no text"),
        pytest.param(b"From: luisa@example.com\r\nContent-Type: text/plain; charset=klingon\r\n\r\nhola", id="charset"),
        pytest.param(
            b"From: luisa@example.com\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--y\r\n", id="broken parts"
        ),
        pytest.param(b"From: luisa@example.com\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%%", id="broken encoding"),
        pytest.param(b"From: luisa@example.com\r\nSubject: " + b"x" * 5000 + b"\r\n\r\n" + b"y" * 90_000, id="endless"),
        pytest.param(b'From: "Luisa" <<luisa@example.com>\r\nTo: ,,;:\r\n\r\nhola', id="broken addresses"),
    ],
)
def test_a_broken_mail_breaks_nothing(desk, raw):
    desk.server.put(raw)
    desk.server.put(mail("La de después", Message_ID="<after@x>"))
    desk.read()
    assert desk.server.unseen() == 0
    assert desk.words(desk.tickets()[-1]) == ["La de después"]


def test_a_mail_in_html_alone_is_read_and_its_scripts_are_not(desk):
    html = (
        "<html><head><style>p{}</style></head><body><p>No hay <b>señal</b></p><script>alert(1)</script>"
        "<div>Luisa &amp; Co</div></body></html>"
    )
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "luisa@example.com", "x", "<h@x>"
    message.set_content(html, subtype="html")
    desk.server.put(message.as_bytes(policy=policy.SMTP))
    desk.read()
    assert desk.words(desk.tickets()[0]) == ["No hay señal\n\nLuisa & Co"]


def test_a_reply_to_what_was_merged_stands_where_it_went(desk):
    for number, subject in enumerate(("Uno", "Dos")):
        desk.server.put(mail(Subject=subject, Message_ID=f"<{number}@x>"))
    desk.read()
    with desk.sessions() as session:
        one, two = (session.get_one(Ticket, each.id) for each in desk.tickets())
        merge(session, desk.actor, one, two)
        session.commit()
    desk.server.put(mail("Sigo sin señal", Subject="Re: [#1] Uno", Message_ID="<3@x>"))
    desk.read()
    assert desk.words(desk.tickets()[1])[-1] == "Sigo sin señal"


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"password": "wrong"}, "login"),
        ({"folder": "No such folder"}, "folder"),
        ({"port": 1}, "connection"),
        ({"security": "tls"}, "tls"),
        ({"security": "starttls"}, "server"),
        ({"host": "no-such-host.invalid"}, "host"),
        ({"local": False}, "host"),
    ],
)
def test_a_mailbox_that_cannot_be_read_says_why(desk, changes, trouble):
    with desk.sessions() as session:
        good = access_of(session.get_one(Mailbox, desk.operator_id), desk.settings.keyring, desk.settings)
    values = {name: getattr(good, name) for name in Access.__slots__}
    with pytest.raises(MailboxTrouble) as raised:
        count_unseen(Access(**{**values, **changes}))
    assert str(raised.value).startswith(f"{trouble}:")
    assert "wrong" not in str(raised.value)


def test_trouble_is_noted_and_goes_when_it_is_over(desk):
    with desk.sessions() as session:
        session.get_one(Mailbox, desk.operator_id).folder = "Away"
        session.commit()
    assert desk.read() == 0
    with desk.sessions() as session:
        row = session.get_one(Mailbox, desk.operator_id)
        assert (row.trouble.partition(":")[0], row.read_at) == ("folder", None)
        row.folder = "INBOX"
        session.commit()
    desk.read()
    with desk.sessions() as session:
        row = session.get_one(Mailbox, desk.operator_id)
        assert row.trouble == ""
        assert utc_now() - row.read_at < timedelta(minutes=1)


def test_a_password_goes_only_where_it_was_entered_for(desk):
    with desk.sessions() as session:
        details = MailboxDetails(USER, "mail.evil.example", 993, "tls", USER)
        with pytest.raises(Invalid) as raised:
            save_mailbox(session, desk.actor, desk.settings.keyring, details, 1)
        assert raised.value.problems[0].problem is Problem.PASSWORD_AGAIN
        with pytest.raises(ChangedMeanwhile):
            save_mailbox(session, desk.actor, desk.settings.keyring, details, 2)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Hola\n\nOn Mon, 2 Mar 2027 at 10:00, Valle <a@b.c> wrote:\n> x", "Hola"),
        ("Hola\n\nEl lun, 2 mar 2027 a la(s) 10:00, Valle (a@b.c) escribió:\n> x", "Hola"),
        ("Hola\n\n-----Mensaje original-----\nDe: x", "Hola"),
        ("Hola\n\nDe: Valle <a@b.c>\nEnviado el: lunes 2: 10\nAsunto: x", "Hola"),
        ("Hola\n> dos\n> tres\n", "Hola"),
        ("> ¿luz?\nroja", "> ¿luz?\nroja"),
        ("> todo", "> todo"),
    ],
)
def test_what_a_mail_repeats_is_folded_away(text, written):
    assert split_quoted(text)[0] == written


def test_the_worker_reads_a_mailbox_that_no_other_worker_reads(desk):
    desk.server.put(mail())
    with desk.sessions() as other:
        lock = text("SELECT pg_advisory_xact_lock(:lock, CAST(:operator AS integer))")
        other.execute(lock, {"lock": TASK_LOCK, "operator": desk.operator_id})
        read_all(desk.sessions, desk.settings)
        assert desk.tickets() == []
    read_all(desk.sessions, desk.settings)
    assert len(desk.tickets()) == 1


def test_the_worker_closes_what_was_solved_days_ago(desk):
    desk.server.put(mail())
    desk.read()
    with desk.sessions() as session:
        ticket = session.get_one(Ticket, desk.tickets()[0].id)
        solve(session, desk.actor, ticket, now=utc_now() - timedelta(days=4))
        session.commit()
    look_after(desk.sessions, desk.settings)
    assert desk.tickets()[0].state == "closed"


def test_nobody_is_told_anything_about_a_mail_of_long_ago(desk):
    desk.server.put(mail(Date="Mon, 02 Mar 1998 10:00:00 +0000"))
    now = datetime(2027, 3, 2, 10, tzinfo=UTC)
    desk.read(now)
    assert desk.tickets()[0].created_at == now  # the clock runs from when it came, whatever the sender's says


def test_a_mail_is_what_it_was_when_it_is_read_back():
    assert message_from_bytes(mail(), policy=policy.default)["Subject"] == "Sin señal"
