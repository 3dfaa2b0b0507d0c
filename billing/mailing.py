"""Sending documents by e-mail: a few lines and a signed link to the PDF, with the PDF itself if the operator wants it.

The link is always there: it opens the document as it stands by then, void if it was voided. A PDF that is larger than
mail servers like, or cannot be made just now, stays away, and the mail goes without it. Each sending is written down,
so that receipts which go by themselves go once.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.documents import FETCHED_BY, TITLES, file_name, pdf_of, read_document
from billing.links import link_key, pay_url, signed
from billing.pdf import NotRendered
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.brands import brand_of
from crm.files import PDF, store_bytes
from crm.messages import Value, Voice
from crm.notices import EMAIL, Message, checked_address, deliver
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import DocumentMail, Invoice, Letterhead, Operator, Payment, Subscriber

log = structlog.get_logger()

NEWEST = timedelta(days=1)
"""A receipt that is older does not go by itself any more: whoever switches it on does not send the past."""

LARGEST_ATTACHED = 1_000_000
"""Octets; a document has some 70 kB."""

_PAY = N_("Pay it online: %(url)s")


def mail_document(
    session: Session,
    keyring: Keyring,
    actor: Actor,
    kind: str,
    subject_id: int,
    subscriber_id: int,
    base_url: str,
    *,
    address: str | None = None,
) -> str:
    """Have a document sent once the caller commits, to the subscriber or another address; return the address.

    Raises Invalid (field `address`) when there is none to send to, and NoDocument.
    """
    subscriber = session.get_one(Subscriber, subscriber_id)
    to = address or subscriber.email
    if not to:
        raise Invalid(FieldProblem("address", Problem.REQUIRED))
    to = checked_address(EMAIL, to)
    operator = session.get_one(Operator, actor.operator_id)
    document = read_document(session, keyring, operator.id, kind, subject_id, None, base_url)
    translate = translator(document.language)
    voice = Voice(session, keyring, operator.id)
    key = link_key(session, keyring, operator.id)
    own_url = brand_of(session, operator).base_url(base_url)
    url = f"{own_url}/documents/{signed(key, FETCHED_BY[kind], operator.id, subject_id)}.pdf"
    title = translate(TITLES[kind])
    pay = ""
    if kind == "invoice" and session.get_one(Invoice, subject_id).open > 0:
        pay = translate(_PAY) % {"url": pay_url(session, keyring, own_url, operator.id, invoice_id=subject_id)}
    said: dict[str, Value] = {
        "title": title, "number": document.number, "amount": document.total[1], "url": url, "pay": pay,
        "issuer": " · ".join(document.issuer),
    }  # fmt: skip
    filled = voice.filled(subscriber.name, document.language, said)
    subject, body = voice.written("document", voice.words("document", EMAIL, document.language), filled)
    message = Message(
        f"document.{kind}",
        EMAIL,
        to,
        document.language,
        subject,
        body,
        subscriber_id=subscriber_id,
        file_id=_attached(session, keyring, operator.id, kind, subject_id, base_url),
    )
    deliver(session, keyring, operator.id, [message])
    session.add(
        DocumentMail(operator_id=operator.id, kind=kind, subject_id=subject_id, address=to, staff_id=actor.staff_id)
    )
    session.flush()
    record(session, actor, "document.mail", kind, subject_id, None, {"number": document.number, "address": to})
    return to


def _attached(
    session: Session, keyring: Keyring, operator_id: int, kind: str, subject_id: int, base_url: str
) -> int | None:
    """Return the file that goes with a mail, if the operator wants one."""
    kept = session.get(Letterhead, operator_id)
    if kept is None or not kept.attach_pdf:
        return None
    try:
        document, content = pdf_of(session, keyring, operator_id, kind, subject_id, base_url)
    except NotRendered:
        log.exception("not_attached", kind=kind, subject_id=subject_id)
        return None
    if len(content) > LARGEST_ATTACHED:
        return None
    return store_bytes(session, operator_id, file_name(document), PDF, content).id


def receipts_to_mail(session: Session, now: datetime, most: int = 200) -> list[tuple[int, int, int]]:
    """Return receipts that should go by themselves and have not: operator, payment, subscriber."""
    sent = select(DocumentMail.id).where(
        DocumentMail.operator_id == Payment.operator_id,
        DocumentMail.kind == "receipt",
        DocumentMail.subject_id == Payment.id,
    )
    rows = session.execute(
        select(Payment.operator_id, Payment.id, Payment.subscriber_id)
        .join(Letterhead, Letterhead.operator_id == Payment.operator_id)
        .join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .where(
            Letterhead.email_receipts,
            Subscriber.email.is_not(None),
            Payment.voided_at.is_(None),
            Payment.created_at > now - NEWEST,
            ~sent.exists(),
        )
        .order_by(Payment.id)
        .limit(most)
    )
    return [(row.operator_id, row.id, row.subscriber_id) for row in rows]


def mail_receipts(session: Session, keyring: Keyring, base_url: str, now: datetime) -> int:
    """Send the receipts that should go by themselves, and return how many. Commits each."""
    count = 0
    for operator_id, payment_id, subscriber_id in receipts_to_mail(session, now):
        actor = Actor(operator_id, "receipts")
        try:
            mail_document(session, keyring, actor, "receipt", payment_id, subscriber_id, base_url)
            count += 1
        except Invalid:  # an address that nothing can be sent to: noted, so that it is not tried for ever
            session.add(DocumentMail(operator_id=operator_id, kind="receipt", subject_id=payment_id, address=""))
        session.commit()
    return count
