"""The ladder: which reminder an invoice is due for today, and what it says.

A reminder is sent so many days before or after the due day, once for each invoice. What was missed is not made up for:
when several are due at once, because nothing ran or the ladder is new, the latest is sent and the earlier ones count as
passed; one that should have gone out more than three days ago is left out. So nobody gets three messages in one
morning, and switching the ladder on reminds nobody of last year.

Nothing here reads a clock or a database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from urllib.parse import quote

import crm.texts
from core.i18n import N_, translator
from crm.texts import BadText, Words

__all__ = [
    "LATE", "LONGEST_BODY", "LONGEST_SUBJECT", "VARIABLES", "BadText", "DueSteps", "Step", "Words", "check_text",
    "default_words", "due_steps", "fill", "message_link", "months_before",
]  # fmt: skip

LATE = 3
"""Days after which a reminder that was missed is not sent any more."""
LONGEST_SUBJECT, LONGEST_BODY = 200, 2000

VARIABLES: Mapping[str, str] = {
    "name": N_("the subscriber's name"),
    "amount": N_("what is left to pay of the invoice"),
    "invoice": N_("the invoice's number"),
    "due_on": N_("the day on which it is due"),
    "cut_off_on": N_("the day on which the service is cut"),
    "service": N_("the service's user name"),
    "plan": N_("the rate plan"),
    "operator": N_("your name as it stands on invoices"),
    "phone": N_("your phone number"),
    "pay": N_("a line with the link to pay, where you take payments online"),
}

_SUBJECTS = (
    N_("Your invoice {invoice} is due on {due_on}"),
    N_("Your invoice {invoice} is due today"),
    N_("Your invoice {invoice} is overdue"),
)
_BODIES = (
    N_(
        "Hello {name},\n\nyour invoice {invoice} for {plan} is due on {due_on}: {amount}.\n{pay}\n\n"
        "If you have paid already, please ignore this message.\n\n{operator}\n{phone}"
    ),
    N_(
        "Hello {name},\n\nyour invoice {invoice} for {plan} is due today: {amount}. Without a payment your service is"
        " cut on {cut_off_on}.\n{pay}\n\nIf you have paid already, please ignore this message.\n\n{operator}\n{phone}"
    ),
    N_(
        "Hello {name},\n\nyour invoice {invoice} for {plan} was due on {due_on}, and {amount} of it is not paid yet."
        " Without a payment your service is cut on {cut_off_on}; it comes back by itself as soon as you pay.\n{pay}\n\n"
        "{operator}\n{phone}"
    ),
)
_SHORT = (
    N_("{operator}: your invoice {invoice} is due on {due_on}: {amount}. {pay}"),
    N_("{operator}: your invoice {invoice} is due today: {amount}. Without a payment we cut on {cut_off_on}. {pay}"),
    N_("{operator}: your invoice {invoice} is overdue: {amount}. Without a payment we cut on {cut_off_on}. {pay}"),
)


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """A reminder: `days` after the due day, below zero before it; `channel` is email, whatsapp or sms."""

    days: int
    channel: str

    @property
    def stage(self) -> str:
        """Return the name under which it is kept what an invoice has been through."""
        return f"{self.days} {self.channel}"


@dataclass(frozen=True, slots=True)
class DueSteps:
    """Reminders to send now, and those that a later one has overtaken."""

    send: tuple[Step, ...]
    passed: tuple[Step, ...]


def due_steps(steps: Iterable[Step], due_on: date, today: date, done: Iterable[str]) -> DueSteps:
    """Return what is due for an invoice that was due on a day and has been through the stages `done`."""
    behind = set(done)
    reached = max((int(stage.split(" ")[0]) for stage in behind), default=-1000)
    fresh = sorted(
        step
        for step in steps
        if step.stage not in behind and 0 <= (today - due_on - timedelta(days=step.days)).days <= LATE
    )
    latest = max((step.days for step in fresh), default=0)
    send = tuple(step for step in fresh if step.days == latest and step.days >= reached)
    return DueSteps(send, tuple(step for step in fresh if step not in send))


def default_words(step: Step, language: str) -> Words:
    """Return what a reminder says where the operator has not written it anew."""
    translate = translator(language)
    place = 0 if step.days < 0 else 1 if step.days == 0 else 2
    bodies: Sequence[str] = _BODIES if step.channel == "email" else _SHORT
    return Words(translate(_SUBJECTS[place]), translate(bodies[place]))


@lru_cache(maxsize=256)
def check_text(text: str) -> None:
    """Raise BadText where a text names a variable that does not exist, or its braces do not pair."""
    crm.texts.check_text(text, VARIABLES)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its variables filled in. Raises BadText."""
    check_text(text)
    return crm.texts.fill(text, values)


def message_link(channel: str, phone: str, body: str) -> str:
    """Return the address that opens a message, written already, in WhatsApp or in the phone's messages."""
    digits = "".join(character for character in phone if character.isdigit())
    if channel == "whatsapp":
        return f"https://wa.me/{digits}?text={quote(body)}"
    plus = "+" if phone.lstrip().startswith("+") else ""
    return f"sms:{plus}{digits}?&body={quote(body)}"  # the ampersand is for iOS, which needs it


def months_before(day: date, months: int) -> date:
    """Return the same day so many months earlier, or the last day of a month that is shorter."""
    year, month0 = divmod(day.year * 12 + day.month - 1 - months, 12)
    first_of_next = date(year + (month0 == 11), (month0 + 1) % 12 + 1, 1)
    return date(year, month0 + 1, min(day.day, (first_of_next - timedelta(days=1)).day))
