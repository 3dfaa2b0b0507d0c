"""Mails about tickets: what we answer goes out so that the subscriber's reply finds its ticket again.

Each mail has a Message-ID that names the ticket and a secret word of it; mail programs repeat it in In-Reply-To and
References (RFC 5322 §3.6.4). The subject holds the number for people, who trust it more. Mails go to the address of the
subscriber as it is on file, never to whoever wrote last.

A link in each mail opens the ticket without signing in, to read it, to add something, and to say how it went.
"""

import hashlib
import hmac
import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_, translator
from crm.brands import brand_of
from crm.notices import EMAIL, Message, deliver
from db.models import Mailbox, Notification, Operator, Subscriber, Ticket, TicketEntry

KIND = "ticket"
_LINK = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([a-z2-7]{24})")
_MESSAGE_ID = re.compile(r"<portico-ticket-([0-9]{1,18})-([0-9]{1,18})-[0-9]{1,18}-([0-9a-f]{20})@")

_RECEIVED = N_(
    "Hello,\n\nwe have received your message. It is our ticket %(number)s, and somebody will answer you.\n"
    "To add something, reply to this mail."
)
_SOLVED = N_("We think that this is solved. If not, reply to this mail and we go on.")
_RATE = N_("How did we do? One click tells us: %(url)s")
_READ = N_("Read all of it, with attached files: %(url)s")


def link_of(ticket: Ticket) -> str:
    """Return the text of the link that opens a ticket without signing in."""
    return f"{ticket.operator_id}-{ticket.number}-{ticket.key}"


def operator_of_link(text: str) -> int | None:
    """Return the operator that a link names, not yet believed; None for what is no link."""
    found = _LINK.fullmatch(text)
    return int(found[1]) if found else None


def ticket_of_link(session: Session, text: str) -> Ticket | None:
    """Return the ticket that a link opens."""
    found = _LINK.fullmatch(text)
    if found is None:
        return None
    ticket = session.scalar(select(Ticket).where(Ticket.operator_id == int(found[1]), Ticket.number == int(found[2])))
    return ticket if ticket is not None and hmac.compare_digest(ticket.key, found[3]) else None


def message_id_of(ticket: Ticket, entry_id: int, domain: str) -> str:
    """Return the Message-ID of the mail that carries an entry."""
    return f"<portico-ticket-{ticket.operator_id}-{ticket.number}-{entry_id}-{_word(ticket)}@{domain}>"


def ticket_of_references(session: Session, operator_id: int, references: str) -> Ticket | None:
    """Return the ticket that a mail replies to, by the Message-IDs that it refers to; the newest stands last."""
    for found in reversed(list(_MESSAGE_ID.finditer(references))):
        if int(found[1]) != operator_id:
            continue
        ticket = session.scalar(select(Ticket).where(Ticket.operator_id == operator_id, Ticket.number == int(found[2])))
        if ticket is not None and hmac.compare_digest(_word(ticket), found[3]):
            return ticket
    return None


def address_of(session: Session, ticket: Ticket) -> str | None:
    """Return where mails of a ticket go; None where no address is known."""
    subscriber = session.get(Subscriber, ticket.subscriber_id) if ticket.subscriber_id is not None else None
    return (subscriber.email if subscriber else ticket.sender) or None


def mail_answer(
    session: Session, keyring: Keyring, base_url: str, ticket: Ticket, entry: TicketEntry, *, files: int = 0
) -> Notification | None:
    """Send an answer; one that solves the ticket asks how it went. None: there is no address to send to.

    `base_url` is `Settings.public_url`; `files` is how many files the answer has, which are read by the link.
    """
    parts = [entry.body]
    _ = translator(ticket.language)
    url = f"{base_url}/ticket/{link_of(ticket)}"
    if ticket.state == "solved":
        parts += [_(_SOLVED), _(_RATE) % {"url": url}]
    elif files:
        parts.append(_(_READ) % {"url": url})
    parts.append(_signature(session, ticket))
    sent = _mail(session, keyring, ticket, entry.id, "\n\n".join(parts), {"Auto-Submitted": "no"})
    if sent is not None:
        entry.message_id = sent.headers["Message-ID"]
        session.flush()
    return sent


def mail_solved(
    session: Session, keyring: Keyring, base_url: str, ticket: Ticket, entry_id: int
) -> Notification | None:
    """Say that a ticket is solved, where no answer said it, and ask how it went."""
    _ = translator(ticket.language)
    url = f"{base_url}/ticket/{link_of(ticket)}"
    parts = [_(_SOLVED), _(_RATE) % {"url": url}, _signature(session, ticket)]
    return _mail(session, keyring, ticket, entry_id, "\n\n".join(parts), {"Auto-Submitted": "auto-generated"})


def mail_receipt(session: Session, keyring: Keyring, ticket: Ticket, entry: TicketEntry) -> Notification | None:
    """Tell who wrote a mail that it arrived (RFC 3834: `auto-replied`, so that no machine answers it)."""
    _ = translator(ticket.language)
    parts = [_(_RECEIVED) % {"number": f"#{ticket.number}"}, _signature(session, ticket)]
    return _mail(session, keyring, ticket, entry.id, "\n\n".join(parts), {"Auto-Submitted": "auto-replied"})


def _mail(
    session: Session, keyring: Keyring, ticket: Ticket, entry_id: int, body: str, headers: dict[str, str]
) -> Notification | None:
    address = address_of(session, ticket)
    if address is None:
        return None
    mailbox = session.get(Mailbox, ticket.operator_id)
    domain = mailbox.address.rpartition("@")[2] if mailbox else "portico"
    headers["Message-ID"] = message_id_of(ticket, entry_id, domain)
    if mailbox is not None:
        headers["Reply-To"] = mailbox.address
    earlier = select(TicketEntry.message_id).where(TicketEntry.ticket_id == ticket.id, TicketEntry.message_id != "")
    known = session.scalars(earlier.order_by(TicketEntry.id.desc()).limit(10)).all()[::-1]
    if known:
        headers["In-Reply-To"], headers["References"] = known[-1], " ".join(known)
    reply = "Re: " if known else ""
    message = Message(
        kind=KIND,
        channel=EMAIL,
        address=address,
        language=ticket.language,
        subject=f"{reply}[#{ticket.number}] {ticket.subject}",
        body=body,
        subscriber_id=ticket.subscriber_id,
        headers=headers,
    )
    return deliver(session, keyring, ticket.operator_id, [message])[0]


def _signature(session: Session, ticket: Ticket) -> str:
    return brand_of(session, session.get_one(Operator, ticket.operator_id)).name


def _word(ticket: Ticket) -> str:
    """Return the word by which a reply is believed: it follows from the key, and the key not from it."""
    return hashlib.sha256(ticket.key.encode()).hexdigest()[:20]
