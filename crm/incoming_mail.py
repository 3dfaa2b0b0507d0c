"""A mail from the mailbox becomes a ticket, or an answer in one, or nothing.

A mail that replies to one of ours goes into its ticket, by the Message-IDs that it refers to; by the number in its
subject only where the sender is who the ticket is about, since anybody can write a number. All else is a new ticket: of
the subscriber whose address it comes from, and where that is nobody, or several share it, of an unknown sender.

Machines are not answered and make no tickets: whatever says that it was sent by itself (RFC 3834), bounces, lists, and
what comes from our own addresses. So two machines never talk to each other through us. A mail is told by its
Message-ID: read twice, it makes nothing twice.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import parseaddr

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_, translator
from crm.files import DOCUMENTS, store_file
from crm.help_desk import desk_of
from crm.mail_text import attachments_of, header, parse_mail, split_quoted, text_of
from crm.problems import Invalid, Problem
from crm.ticket_mail import mail_receipt, ticket_of_references
from crm.tickets import LONGEST_SUBJECT, LONGEST_TEXT, open_ticket, reply
from db.audit import Actor
from db.models import Mailbox, Operator, ReceivedMail, StoredFile, Subscriber, Ticket, TicketEntry

MOST_FILES = 10
MOST_AN_HOUR = 20
"""Mails of one sender that are taken; more come from a machine that does not say so."""
MOST_RECEIPTS_AN_HOUR = 3
_NUMBER = re.compile(r"\[#([0-9]{1,12})\]")
_REPLY = re.compile(r"^\s*(?:(?:re|rv|fw|fwd|aw|res|enc|tr)\s*(?:\[\d+\])?\s*:\s*|\[#\d{1,12}\]\s*)+", re.IGNORECASE)
_MACHINES = re.compile(r"^(?:mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?)[@+-]", re.IGNORECASE)


# What stands in the ticket in place of a file.
_NOT_KEPT = {
    Problem.FILE_NOT_TAKEN: N_("not kept: this kind of file is not taken"),
    Problem.FILE_TOO_LARGE: N_("not kept: too large"),
    Problem.NOT_A_PICTURE: N_("not kept: damaged picture"),
    Problem.TOO_MANY_PIXELS: N_("not kept: too many pixels"),
    Problem.LIMIT_REACHED: N_("not kept: too many files"),
}


@dataclass(frozen=True, slots=True)
class _Sender:
    """Who wrote: the address, the name beside it, and the one subscriber who has this address, if it is one."""

    address: str
    name: str
    subscriber: Subscriber | None


def receive(
    session: Session, keyring: Keyring, operator_id: int, raw: bytes, own: Collection[str], now: datetime
) -> ReceivedMail:
    """Make of a mail what is to be made of it. `own` are addresses that we send from. The caller commits."""
    mail = parse_mail(raw)
    message_id = header(mail, "Message-ID")[:500] or f"<{hashlib.sha256(raw).hexdigest()}@without.id>"
    known = session.get(ReceivedMail, (operator_id, message_id))
    if known is not None:
        return known
    address = parseaddr(header(mail, "From"))[1].lower()[:254]
    received = ReceivedMail(
        operator_id=operator_id,
        message_id=message_id,
        sender=address,
        subject=header(mail, "Subject")[:LONGEST_SUBJECT],
        outcome="ignored",
    )
    received.reason = _why_ignored(session, operator_id, mail, address, own, now)
    if not received.reason:
        sender = _sender(session, operator_id, mail, address)
        entry = _put_down(session, operator_id, mail, message_id, sender, now)
        ticket = session.get_one(Ticket, entry.ticket_id)
        first = session.scalar(select(func.min(TicketEntry.id)).where(TicketEntry.ticket_id == ticket.id))
        received.outcome, received.ticket_id = "ticket" if entry.id == first else "answer", ticket.id
        if received.outcome == "ticket" and _may_have_receipt(session, operator_id, address, now):
            mail_receipt(session, keyring, ticket, entry)
    session.add(received)
    session.flush()
    return received


def _why_ignored(
    session: Session, operator_id: int, mail: EmailMessage, address: str, own: Collection[str], now: datetime
) -> str:
    """Return why a mail is none that a person wrote to us, empty where it is."""
    automatic = header(mail, "Auto-Submitted").partition(";")[0].strip().lower()
    mailbox = session.get(Mailbox, operator_id)
    ours = {each.lower() for each in own} | ({mailbox.address.lower()} if mailbox else set())
    if not address or "@" not in address or header(mail, "Return-Path") == "<>" or _MACHINES.match(address):
        return "bounce"
    if mail.get_content_type() == "multipart/report":
        return "bounce"
    if automatic not in ("", "no"):
        return "automatic"
    if header(mail, "X-Autoreply") or header(mail, "X-Autorespond") or header(mail, "X-Auto-Reply-From"):
        return "automatic"
    if header(mail, "Precedence").lower() in ("bulk", "junk", "auto_reply"):
        return "automatic"
    if header(mail, "List-Id") or header(mail, "Precedence").lower() == "list":
        return "list"
    if address in ours:
        return "own"
    if _count(session, operator_id, address, now, ("ticket", "answer")) >= MOST_AN_HOUR:
        return "flood"
    return ""


def _put_down(
    session: Session, operator_id: int, mail: EmailMessage, message_id: str, sender: _Sender, now: datetime
) -> TicketEntry:
    """Add a mail to its ticket, or open one, and return the entry."""
    text, quoted = split_quoted(text_of(mail))
    files, refused = _files(session, operator_id, mail)
    words = text or "–"
    if refused:
        _ = translator(session.get_one(Operator, operator_id).locale.split("_")[0])
        words = f"{words}\n\n" + "\n".join(f"[{name}: {_(why)}]" for name, why in refused)
    words, quoted = words[:LONGEST_TEXT], quoted[:LONGEST_TEXT]
    author = sender.subscriber.name if sender.subscriber else (sender.name or sender.address)
    actor = Actor(operator_id, author)
    ticket = _ticket_of(session, operator_id, mail, sender)
    if ticket is not None:
        if _strange(session, ticket, sender):
            author = f"{author} <{sender.address}>"
        return reply(
            session, actor, ticket, words, files,
            author=author, message_id=message_id, quoted=quoted, source="email", now=now,
        )  # fmt: skip
    subject = _REPLY.sub("", header(mail, "Subject")).strip()[:LONGEST_SUBJECT] or words.split("\n")[0][:80]
    ticket = open_ticket(
        session, actor, sender.subscriber.id if sender.subscriber else None, None, subject, words, files,
        source="email", sender=sender.address, message_id=message_id, quoted=quoted, now=now,
    )  # fmt: skip
    return session.scalars(select(TicketEntry).where(TicketEntry.ticket_id == ticket.id)).one()


def _ticket_of(session: Session, operator_id: int, mail: EmailMessage, sender: _Sender) -> Ticket | None:
    references = f"{header(mail, 'References')} {header(mail, 'In-Reply-To')}"
    ticket = ticket_of_references(session, operator_id, references)
    if ticket is not None:
        return ticket
    number = _NUMBER.search(header(mail, "Subject"))
    if number is None:
        return None
    ticket = session.scalar(select(Ticket).where(Ticket.operator_id == operator_id, Ticket.number == int(number[1])))
    return None if ticket is None or _strange(session, ticket, sender) else ticket


def _strange(session: Session, ticket: Ticket, sender: _Sender) -> bool:
    """Tell whether a sender is somebody else than whom the ticket is about."""
    if ticket.subscriber_id is None:
        return ticket.sender != sender.address
    email = session.scalar(select(Subscriber.email).where(Subscriber.id == ticket.subscriber_id))
    return (email or "").lower() != sender.address


def _sender(session: Session, operator_id: int, mail: EmailMessage, address: str) -> _Sender:
    name = " ".join(parseaddr(header(mail, "From"))[0].split())[:200]
    found = session.scalars(
        select(Subscriber)
        .where(
            Subscriber.operator_id == operator_id,
            Subscriber.removed_at.is_(None),
            func.lower(Subscriber.email) == address,
        )
        .limit(2)
    ).all()
    return _Sender(address, name, found[0] if len(found) == 1 else None)


def _files(session: Session, operator_id: int, mail: EmailMessage) -> tuple[list[StoredFile], list[tuple[str, str]]]:
    """Return the files of a mail that are kept, and the others by name with the reason why not."""
    kept: list[StoredFile] = []
    refused = []
    for attachment in attachments_of(mail):
        if len(kept) == MOST_FILES:
            refused.append((attachment.name[:100], _NOT_KEPT[Problem.LIMIT_REACHED]))
            break
        try:
            kept.append(store_file(session, operator_id, attachment.name, attachment.content, DOCUMENTS))
        except Invalid as invalid:
            why = _NOT_KEPT.get(invalid.problems[0].problem, _NOT_KEPT[Problem.NOT_A_PICTURE])
            refused.append((attachment.name[:100], why))
    return kept, refused


def _may_have_receipt(session: Session, operator_id: int, address: str, now: datetime) -> bool:
    if not desk_of(session, operator_id).acknowledge:
        return False
    return _count(session, operator_id, address, now, ("ticket",)) < MOST_RECEIPTS_AN_HOUR


def _count(session: Session, operator_id: int, address: str, now: datetime, outcomes: tuple[str, ...]) -> int:
    counted = session.scalar(
        select(func.count())
        .select_from(ReceivedMail)
        .where(
            ReceivedMail.operator_id == operator_id,
            ReceivedMail.created_at > now - timedelta(hours=1),
            ReceivedMail.sender == address,
            ReceivedMail.outcome.in_(outcomes),
        )
    )
    return counted or 0
