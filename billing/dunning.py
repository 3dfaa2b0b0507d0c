"""Dunning: carries out an operator's ladder, batch by batch.

Reminders by e-mail go out by themselves, and those for a phone where the operator has a gateway for it; the others,
and all that concerns services managed by hand, are put on a list for a person. Late fees wait for the next invoice; a
service that was cut for not paying so many months ago is terminated. The cut-off itself is not here: the decision on
the access makes it at its instant (`aaa.cut_off`), and the worker writes down the state.

Each batch is one transaction in which a stage is marked and its message written. A pass that is killed leaves whole
batches, the next one finds the rest; two at once meet at the primary key of `dunning_done`, and one of them goes on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from babel.dates import format_date
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from aaa.cut_off import CutOffRule
from billing.charges import late_fee
from billing.cut_offs import cut_off_rule
from billing.dates import settle_dates
from billing.invoices import document_number, lock_books
from billing.ladder import LATE, Step, Words, default_words, due_steps, fill, months_before
from billing.pay_links import PayLinks, pay_links
from billing.rules import BillingOff, BillingRules, rules_of
from billing.run import Sessions
from billing.store import as_json, draw_ids, insert_rows, rowset
from core.clock import start_of_day
from core.crypto import Keyring
from core.i18n import LANGUAGES, N_, translator
from core.money import format_money, money_locale
from crm.channels import Channels, channels_of, international
from crm.notices import Message, values_of
from crm.services import terminate
from db.audit import Actor
from db.models import Charge, DunningDone, DunningSettings, DunningStep, DunningText, Notification, Operator, Service

ACTOR = "dunning"
BATCH = 1000
OLDEST_FEE = 31
"""Days after which a late fee that was missed is not charged any more, so switching fees on is not about last year."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """An operator's ladder, read once for a piece of work. `texts` are by step and language."""

    rules: BillingRules
    cutting: CutOffRule
    locale: str
    send_hour: int
    late_fees: bool
    terminate_months: int | None
    steps: tuple[Step, ...]
    texts: Mapping[tuple[Step, str], Words]
    channels: Channels
    links: PayLinks | None = None

    def words(self, step: Step, language: str) -> Words:
        return self.texts.get((step, language)) or default_words(step, language)


@dataclass(frozen=True, slots=True)
class DunningResult:
    """What a pass did."""

    sent: int = 0
    listed: int = 0
    late_fees: int = 0
    terminated: int = 0


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder to one subscriber, ready to be sent. `outcome` is what becomes of it, as `dunning_done` keeps it."""

    invoice_id: int
    subscriber_id: int
    step: Step
    outcome: str
    address: str = ""
    language: str = "en"
    subject: str = ""
    body: str = ""


def ladder_of(session: Session, operator_id: int) -> Ladder | None:
    """Return an operator's ladder, None where it is off. Raises BillingOff."""
    kept = session.get(DunningSettings, operator_id)
    if kept is None or not kept.enabled:
        return None
    return ladder_as_kept(session, operator_id, kept)


def ladder_as_kept(session: Session, operator_id: int, kept: DunningSettings) -> Ladder:
    """Return an operator's ladder, whether it is on or not. Raises BillingOff."""
    operator = session.get_one(Operator, operator_id)
    rows = session.scalars(select(DunningStep).where(DunningStep.operator_id == operator_id))
    steps = {row.id: Step(row.days, row.channel) for row in rows}
    written = session.scalars(select(DunningText).where(DunningText.operator_id == operator_id))
    return Ladder(
        rules=rules_of(session, operator_id),
        cutting=cut_off_rule(operator),
        locale=operator.locale,
        send_hour=kept.send_hour,
        late_fees=kept.late_fees,
        terminate_months=kept.terminate_months,
        steps=tuple(sorted(steps.values())),
        texts={(steps[row.step_id], row.language): Words(row.subject, row.body) for row in written},
        channels=channels_of(session, operator_id),
    )


def run_dunning(
    sessions: Sessions, keyring: Keyring, operator_id: int, now: datetime, batch: int = BATCH, public_url: str = ""
) -> DunningResult:
    """Do all that an operator's ladder has due now, committing batch by batch. May be called again at any time.

    `public_url` is `Settings.public_url`, with which reminders lead to where to pay; without it they do not.
    """
    with sessions() as session:
        try:
            ladder = ladder_of(session, operator_id)
        except BillingOff:
            ladder = None
        if ladder is not None and public_url:
            ladder = replace(ladder, links=pay_links(session, keyring, operator_id, public_url))
            session.commit()
    if ladder is None:
        return DunningResult()
    sent = listed = 0
    if now.astimezone(ladder.rules.zone).hour >= ladder.send_hour:
        sent, listed = _remind(sessions, keyring, ladder, now, batch)
    fees = _charge_late_fees(sessions, ladder, now, batch) if ladder.late_fees else 0
    return DunningResult(sent, listed, fees, _terminate(sessions, ladder, now))


# Reminders. What is due is looked for once and then read batch by batch under its ids: a LIMIT would have PostgreSQL
# look at every open invoice again for each batch.

_DUE = """
SELECT i.id FROM invoice i LEFT JOIN service s ON s.id = i.service_id
WHERE i.operator_id = :operator_id AND i.paid + i.credited < i.total AND i.due_on BETWEEN :first AND :last
  AND NOT EXISTS (SELECT FROM subscriber b WHERE b.id = i.subscriber_id AND b.removed_at IS NOT NULL)
  AND coalesce(greatest(s.promised_until, s.held_until), '-infinity') < :today
  AND EXISTS (
      SELECT FROM unnest(CAST(:days AS int[]), CAST(:stages AS text[])) AS t (days, stage)
      WHERE :today - i.due_on - t.days BETWEEN 0 AND :late
        AND NOT EXISTS (SELECT FROM dunning_done d WHERE d.invoice_id = i.id AND d.stage = t.stage))
ORDER BY i.id
"""
_OPEN = """
SELECT i.id, i.subscriber_id, i.prefix, i.number, i.due_on, i.open, i.currency, b.name AS subscriber, b.email, b.phone,
       b.language, s.name AS service, s.management, s.paid_until, greatest(s.promised_until, s.held_until) AS spared,
       p.name AS plan, ARRAY(SELECT d.stage FROM dunning_done d WHERE d.invoice_id = i.id) AS done
FROM invoice i
JOIN subscriber b ON b.id = i.subscriber_id
LEFT JOIN service s ON s.id = i.service_id
LEFT JOIN rate_plan p ON p.id = s.plan_id
WHERE i.id = ANY(:ids) AND i.paid + i.credited < i.total
  AND coalesce(greatest(s.promised_until, s.held_until), '-infinity') < :today
ORDER BY i.id
"""

_MARKED = (
    "invoice_id", "stage", "operator_id", "subscriber_id", "channel", "outcome", "address", "subject", "body",
    "notification_id",
)  # fmt: skip


def due_invoices(session: Session, ladder: Ladder, today: date) -> list[int]:
    """Return the ids of the invoices that have a reminder due on a day, in ascending order."""
    if not ladder.steps:
        return []
    return list(
        session.scalars(
            text(_DUE),
            {
                "operator_id": ladder.rules.operator_id,
                "today": today,
                "late": LATE,
                "first": today - timedelta(days=ladder.steps[-1].days + LATE),
                "last": today - timedelta(days=ladder.steps[0].days),
                "days": [step.days for step in ladder.steps],
                "stages": [step.stage for step in ladder.steps],
            },
        )
    )


def reminders(session: Session, ladder: Ladder, today: date, invoices: Sequence[int]) -> list[Reminder]:
    """Return the reminders that invoices have due on a day and that are still to be paid, changing nothing."""
    rows = session.execute(text(_OPEN), {"ids": list(invoices), "today": today}).all()
    found = []
    for row in rows:
        due = due_steps(ladder.steps, row.due_on, today, row.done)
        found += [Reminder(row.id, row.subscriber_id, step, "passed") for step in due.passed]
        found += [_reminder(ladder, row, step) for step in due.send]
    return found


def _reminder(ladder: Ladder, row: Any, step: Step) -> Reminder:
    language = (row.language or ladder.locale).replace("-", "_").split("_")[0]
    language = language if language in LANGUAGES else "en"
    address = (row.email if step.channel == "email" else row.phone) or ""
    outcome = "listed"
    if row.management != "manual":
        # Without a gateway, or with a number that cannot be dialled from abroad, a person sends it from their phone.
        dialled = international(address, ladder.channels.dial_prefix) if step.channel != "email" else ""
        if step.channel == "email" or (dialled and ladder.channels.sends(step.channel)):
            outcome, address = "sent", dialled or address
    if not address:
        return Reminder(row.id, row.subscriber_id, step, "unreachable", language=language)
    cut = ladder.cutting.cut_off(row.paid_until or row.due_on, row.spared).astimezone(ladder.rules.zone).date()
    issuer = dict(ladder.rules.issuer)
    values = {
        "name": row.subscriber,
        "amount": _money(row.open, row.currency, language),
        "invoice": document_number(row.prefix, row.number),
        "due_on": _day(row.due_on, language),
        "cut_off_on": _day(cut, language),
        "service": row.service or "",
        "plan": row.plan or translator(language)(N_("your service")),
        "operator": issuer["name"],
        "phone": issuer["phone"],
        "pay": ladder.links.line(row.subscriber_id, language) if ladder.links else "",
    }
    words = ladder.words(step, language)
    subject, body = fill(words.subject, values), _BLANK.sub("\n\n", fill(words.body, values))
    return Reminder(row.id, row.subscriber_id, step, outcome, address, language, subject, body)


_BLANK = re.compile(r"\n{3,}")
"""What is left of lines on which nothing was to be said."""

# Most subscribers of an operator owe one of a few sums since the same day.


@lru_cache(maxsize=4096)
def _money(amount: Decimal, currency: str, language: str) -> str:
    return format_money(amount, currency, money_locale(language, currency))


@lru_cache(maxsize=4096)
def _day(day: date, language: str) -> str:
    return format_date(day, "long", locale=language)


def _remind(sessions: Sessions, keyring: Keyring, ladder: Ladder, now: datetime, batch: int) -> tuple[int, int]:
    today = ladder.rules.today(now)
    with sessions() as session:
        due = due_invoices(session, ladder, today)
    sent = listed = 0
    for start in range(0, len(due), batch):
        with sessions() as session:
            found = reminders(session, ladder, today, due[start : start + batch])
            new = _write(session, keyring, ladder.rules.operator_id, found, now) if found else []
            session.commit()
        sent += sum(each.outcome == "sent" for each in new)
        listed += sum(each.outcome == "listed" for each in new)
    return sent, listed


def _write(
    session: Session, keyring: Keyring, operator_id: int, found: Sequence[Reminder], now: datetime
) -> list[Reminder]:
    """Mark the stages as gone through and write the messages of those that nobody else has marked meanwhile."""
    ids = iter(draw_ids(session, Notification, sum(each.outcome == "sent" for each in found)))
    numbered = [(each, next(ids) if each.outcome == "sent" else None) for each in found]
    rows = [
        {
            "invoice_id": each.invoice_id,
            "stage": each.step.stage,
            "operator_id": operator_id,
            "subscriber_id": each.subscriber_id,
            "channel": each.step.channel,
            "outcome": each.outcome,
            "address": each.address,
            "subject": each.subject,
            "body": each.body,
            "notification_id": number,
        }
        for each, number in numbered
    ]
    names = ", ".join(_MARKED)
    marked = session.execute(
        text(
            f"INSERT INTO dunning_done ({names}, created_at) SELECT {names}, :now"  # noqa: S608 - names of ours
            f" FROM {rowset(DunningDone, _MARKED)} ORDER BY invoice_id, stage"
            " ON CONFLICT DO NOTHING RETURNING invoice_id, stage"
        ),
        {"rows": as_json(rows), "now": now},
    )
    keys = {(row.invoice_id, row.stage) for row in marked}
    new = [(each, number) for each, number in numbered if (each.invoice_id, each.step.stage) in keys]
    messages = [
        {"id": number, **values_of(keyring, operator_id, _message(each))} for each, number in new if number is not None
    ]
    insert_rows(session, Notification, messages)
    return [each for each, _ in new]


def _message(reminder: Reminder) -> Message:
    return Message(
        "reminder", reminder.step.channel, reminder.address, reminder.language, reminder.subject, reminder.body,
        subscriber_id=reminder.subscriber_id, urgent=False,
    )  # fmt: skip


# Late fees.

_LATE = """
SELECT i.id FROM invoice i LEFT JOIN service s ON s.id = i.service_id
WHERE i.operator_id = :operator_id AND i.paid + i.credited < i.total AND i.kind = 'period'
  AND i.due_on >= :first AND i.due_on < :last
  AND coalesce(greatest(s.promised_until, s.held_until), '-infinity') < :today
  AND s.state IS DISTINCT FROM 'terminated'  -- of which no next invoice comes that could have the fee
  AND NOT EXISTS (SELECT FROM subscriber b WHERE b.id = i.subscriber_id AND b.removed_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM charge c WHERE c.source_invoice_id = i.id AND c.kind = 'late_fee')
ORDER BY i.id
"""
_OWED = "SELECT subscriber_id FROM invoice WHERE id = ANY(:ids)"
_STILL_OWED = """
SELECT i.id, i.subscriber_id, i.service_id, i.prefix, i.number, i.open, b.language
FROM invoice i JOIN subscriber b ON b.id = i.subscriber_id LEFT JOIN service s ON s.id = i.service_id
WHERE i.id = ANY(:ids) AND i.paid + i.credited < i.total
  AND coalesce(greatest(s.promised_until, s.held_until), '-infinity') < :today
ORDER BY i.id
"""
_FEE = (
    "operator_id", "subscriber_id", "service_id", "kind", "description", "amount", "starts_on", "source_invoice_id",
)  # fmt: skip


def _charge_late_fees(sessions: Sessions, ladder: Ladder, now: datetime, batch: int) -> int:
    rules, today = ladder.rules, ladder.rules.today(now)
    last = today - timedelta(days=rules.late_fee_days)
    with sessions() as session:
        where = {
            "operator_id": rules.operator_id,
            "first": last - timedelta(days=OLDEST_FEE),
            "last": last,
            "today": today,
        }
        due = session.scalars(text(_LATE), where).all()
    charged = 0
    for start in range(0, len(due), batch):
        ids = due[start : start + batch]
        with sessions() as session:
            lock_books(session, rules.operator_id, session.scalars(text(_OWED), {"ids": ids}).all())
            still = session.execute(text(_STILL_OWED), {"ids": ids, "today": today}).all()  # some were paid meanwhile
            done = _write_fees(session, ladder, still, today)
            if done:
                settle_dates(session, Actor(rules.operator_id, ACTOR), rules, done, today)
            session.commit()
            charged += len(done)
    return charged


def _write_fees(session: Session, ladder: Ladder, rows: Sequence[Any], today: date) -> list[int]:
    """Let the next invoices have the fees; return the subscribers concerned."""
    fees = []
    for row in rows:
        amount = late_fee(row.open, ladder.rules)
        if amount > 0:
            say = translator((row.language or ladder.locale).split("_")[0])
            fees.append(
                {
                    "operator_id": ladder.rules.operator_id,
                    "subscriber_id": row.subscriber_id,
                    "service_id": row.service_id,
                    "kind": "late_fee",
                    "description": say(N_("Late payment of invoice %(number)s"))
                    % {"number": document_number(row.prefix, row.number)},
                    "amount": amount,
                    "starts_on": today,
                    "source_invoice_id": row.id,
                }
            )
    if not fees:
        return []
    names = ", ".join(_FEE)
    return list(
        session.scalars(
            text(
                f"WITH new AS (INSERT INTO charge ({names}) SELECT {names} FROM {rowset(Charge, _FEE)}"  # noqa: S608
                " ON CONFLICT DO NOTHING RETURNING operator_id, subscriber_id, source_invoice_id, amount),"
                " noted AS (INSERT INTO audit_entry (operator_id, actor, action, entity, entity_id, after)"
                " SELECT operator_id, :actor, 'charge.late_fee', 'invoice', source_invoice_id,"
                " jsonb_build_object('amount', amount::text) FROM new ORDER BY source_invoice_id)"
                " SELECT DISTINCT subscriber_id FROM new"
            ),
            {"rows": as_json(fees), "actor": ACTOR},
        )
    )


# The end of a service.

_LONG_OFF = """
SELECT id FROM service
WHERE operator_id = :operator_id AND state = 'suspended' AND suspension_cause = 'overdue' AND management = 'automatic'
  AND suspended_at < :before AND coalesce(greatest(promised_until, held_until), '-infinity') < :today
ORDER BY id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
"""


def _terminate(sessions: Sessions, ladder: Ladder, now: datetime) -> int:
    if ladder.terminate_months is None:
        return 0
    rules, ended = ladder.rules, 0
    today = rules.today(now)
    before = start_of_day(months_before(today, ladder.terminate_months) + timedelta(days=1), rules.zone)
    while True:
        with sessions() as session:
            where = {"operator_id": rules.operator_id, "before": before, "today": today}
            ids = session.scalars(text(_LONG_OFF), where).all()
            for service_id in ids:
                service = session.get_one(Service, service_id, populate_existing=True)
                terminate(session, Actor(rules.operator_id, ACTOR), service, now)
            session.commit()
        ended += len(ids)
        if not ids:
            return ended
