"""Lines of bank statements: who may have paid, and booking them one by one.

Proposals, the surest first: the number of an open invoice or a service's name stands in the line; the payer is a
subscriber's name; the sum is what somebody owes. A person confirms each. A line is booked once: its payment carries
the line's fingerprint as its own id, so neither two clicks, two people nor the same file again pay twice.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank_files import FoundLine
from billing.payments import PaymentTerms, Registered, register_payment
from billing.rules import BillingRules
from billing.store import as_json, rowset
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import BankLine

MOST_PROPOSALS = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody who may have paid; `why` is reference, name or amount, `owed` is open, `fits` if that is the sum."""

    subscriber_id: int
    name: str
    owed: Decimal
    why: str
    fits: bool


_FIELDS = ("operator_id", "fingerprint", "file_name", "booked_on", "amount", "reference", "payer")


def enter_lines(session: Session, actor: Actor, file_name: str, lines: Sequence[FoundLine]) -> tuple[int, int]:
    """Put the lines of a file on the list; return how many are new, and how many were there already."""
    rows = [
        {
            "operator_id": actor.operator_id,
            "fingerprint": line.fingerprint,
            "file_name": file_name[:200],
            "booked_on": line.booked_on,
            "amount": line.amount,
            "reference": line.reference,
            "payer": line.payer,
        }
        for line in lines
    ]
    names = ", ".join(_FIELDS)
    new = session.execute(
        text(
            f"INSERT INTO bank_line ({names}) SELECT {names} FROM {rowset(BankLine, _FIELDS)}"  # noqa: S608
            " ON CONFLICT DO NOTHING RETURNING id"
        ),
        {"rows": as_json(rows)},
    ).all()
    if new:
        record(
            session,
            actor,
            "bank_line.import",
            "operator",
            actor.operator_id,
            None,
            {"file": file_name[:200], "lines": len(new)},
        )
    return len(new), len(rows) - len(new)


_OWED = """
SELECT b.id, b.name, (SELECT coalesce(sum(i.open), 0) FROM invoice i
                      WHERE i.subscriber_id = b.id AND i.paid + i.credited < i.total) AS owed
FROM subscriber b WHERE b.operator_id = :operator_id AND b.id IN ({source}) ORDER BY b.id LIMIT :most
"""
_BY_REFERENCE = _OWED.format(
    source="""
    SELECT subscriber_id FROM invoice WHERE operator_id = :operator_id AND paid + credited < total
      AND upper(prefix || number) = ANY(:words)
    UNION SELECT subscriber_id FROM service
    WHERE operator_id = :operator_id AND state <> 'terminated' AND name = ANY(:names)
"""
)
_BY_NAME = _OWED.format(source="SELECT search_subscribers(:payer, 4)")
_BY_AMOUNT = _OWED.format(
    source="""
    SELECT subscriber_id FROM invoice WHERE operator_id = :operator_id AND paid + credited < total
    GROUP BY subscriber_id HAVING sum(open) = :amount
"""
)


def proposals(session: Session, operator_id: int, line: BankLine) -> list[Proposal]:
    """Return who may have paid a line, the surest first."""
    said = f"{line.reference} {line.payer}"
    words = {word.upper() for word in re.findall(r"[\w-]{1,40}", said)}
    where = {"operator_id": operator_id, "most": MOST_PROPOSALS, "amount": line.amount}
    by_reference = _found(
        session,
        _BY_REFERENCE,
        {**where, "words": sorted(words), "names": sorted({*said.split(), *said.lower().split()})},
    )
    by_name = _found(session, _BY_NAME, {**where, "payer": line.payer}) if len(line.payer) > 3 else []
    found: dict[int, Proposal] = {}
    for why, rows in (("reference", by_reference), ("name", by_name)):
        for row in rows:
            found.setdefault(row.id, Proposal(row.id, row.name, row.owed, why, row.owed == line.amount))
    if not found:
        same = _found(session, _BY_AMOUNT, where)
        found = {row.id: Proposal(row.id, row.name, row.owed, "amount", fits=True) for row in same}
    order = {"reference": 0, "name": 1, "amount": 2}
    ranked = sorted(
        found.values(), key=lambda each: (not (each.fits and each.why != "amount"), order[each.why], each.name)
    )
    return ranked[:MOST_PROPOSALS]


def _found(session: Session, query: str, where: dict[str, Any]) -> Iterable[Any]:
    return session.execute(text(query), where).all()


def book(
    session: Session,
    actor: Actor,
    rules: BillingRules,
    line_id: int,
    subscriber_id: int,
    method_id: int,
    now: datetime,
) -> Registered:
    """Register a line as a subscriber's payment. Raises Invalid, also where it was booked or put aside meanwhile."""
    line = _waiting(session, rules.operator_id, line_id)
    terms = PaymentTerms(
        subscriber_id=subscriber_id,
        method_id=method_id,
        amount=line.amount,
        currency=rules.currency,
        paid_on=line.booked_on,
        reference=(line.reference or line.fingerprint[:12])[:100],
        note=line.payer,
        external_id=f"bank {line.fingerprint}",
    )
    registered = register_payment(session, actor, rules, terms, now)
    line.state, line.payment_id, line.staff_id, line.ended_at = "booked", registered.payment.id, actor.staff_id, now
    session.flush()
    record(session, actor, "bank_line.book", "payment", registered.payment.id, None, {"line": line.reference})
    return registered


def put_aside(session: Session, actor: Actor, line_id: int, now: datetime) -> None:
    """Take a line off the list that is nobody's payment. Raises Invalid."""
    line = _waiting(session, actor.operator_id, line_id)
    line.state, line.staff_id, line.ended_at = "ignored", actor.staff_id, now
    session.flush()
    record(
        session,
        actor,
        "bank_line.ignore",
        "operator",
        actor.operator_id,
        None,
        {"line": line.reference, "amount": line.amount},
    )


def _waiting(session: Session, operator_id: int, line_id: int) -> BankLine:
    line = session.get(BankLine, line_id, with_for_update=True, populate_existing=True)
    if line is None or line.operator_id != operator_id:
        raise Invalid(FieldProblem("line", Problem.UNKNOWN_CHOICE))
    if line.state != "waiting":
        raise Invalid(FieldProblem("line", Problem.ALREADY_DONE))
    return line
