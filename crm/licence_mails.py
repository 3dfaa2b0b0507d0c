"""Mails about a licence that ends: to every manager, two weeks, one week and a day before, and on the day."""

from datetime import datetime

from babel.dates import format_date
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import LANGUAGES, N_, translator
from crm.licences import due_reminder, today_of
from crm.notices import EMAIL, Message, deliver
from db.models import Account, Licence, Operator, Staff

KIND = "licence.reminder"
_SUBJECT_SOON = N_("Your licence ends on %(day)s")
_SUBJECT_OVER = N_("Your licence ended on %(day)s")
_SOON = N_(
    "The licence “%(licence)s” of %(company)s holds until %(day)s. Your adviser renews it; how to reach them stands"
    " here:"
)
_OVER = N_(
    "The licence “%(licence)s” of %(company)s ended on %(day)s. Nobody is cut off and everything goes on for the"
    " subscribers that you have; new ones need a licence. How to go on stands here:"
)


def remind_all(session: Session, keyring: Keyring, public_url: str, now: datetime) -> int:
    """Queue the reminders that are due, each once, and return how many operators are told. The caller commits."""
    newest = select(func.max(Licence.id)).group_by(Licence.operator_id)
    rows = session.execute(
        select(Licence, Operator)
        .join(Operator, Operator.id == Licence.operator_id)
        .outerjoin(Account, Account.operator_id == Operator.id)
        .where(Licence.id.in_(newest), Licence.until.is_not(None), Account.suspended_at.is_(None))
        .with_for_update(of=Licence, skip_locked=True)
    ).all()
    told = 0
    for licence, operator in rows:
        due = due_reminder(licence, today_of(now))
        if due is None:
            continue
        licence.reminded = due
        over = licence.until is not None and licence.until < today_of(now)
        people = session.scalars(
            select(Staff).where(Staff.operator_id == operator.id, Staff.active, Staff.roles.contains(["manager"]))
        )
        messages = [_mail(licence, operator, person, public_url, over=over) for person in people]
        deliver(session, keyring, operator.id, messages)
        told += 1
    session.flush()
    return told


def _mail(licence: Licence, operator: Operator, person: Staff, public_url: str, *, over: bool) -> Message:
    wanted = person.language or operator.locale.partition("-")[0]
    language = wanted if wanted in LANGUAGES else "en"
    say = translator(language)
    values = {
        "day": format_date(licence.until, "long", locale=language),
        "licence": licence.name,
        "company": operator.name,
    }
    subject = say(_SUBJECT_OVER if over else _SUBJECT_SOON) % values
    body = "\n\n".join((say(_OVER if over else _SOON) % values, f"{public_url}/licence"))
    return Message(KIND, EMAIL, person.email, language, subject, body)
