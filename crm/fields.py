"""Fields of an operator's own: what it wants to know of a subscriber or a service that Portico does not ask for.

A value is kept as text in one spelling, whatever was typed: `1,5` and `1.50` are 1.5, `31/12/2026` is 2026-12-31. Text
is text: markup and formulas in it mean nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CustomField, CustomValue, Service, Subscriber

SUBJECTS = ("subscriber", "service")
KINDS = ("text", "number", "date", "choice", "yes_no")
MOST = 30
"""Fields of one subject."""
LONGEST = 500
_YES = frozenset(("yes", "sí", "si", "true", "1", "on", "x", "verdadero"))
_NO = frozenset(("no", "false", "0", "off", "falso"))
_DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y")


@dataclass(frozen=True, slots=True)
class FieldDetails:
    """What is entered for a field."""

    subject: str
    title: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    required: bool = False
    listed: bool = False


def fields_of(session: Session, operator_id: int, subject: str) -> Sequence[CustomField]:
    """Return an operator's fields of subscribers or of services, in the order in which they were made."""
    mine = select(CustomField).where(CustomField.operator_id == operator_id, CustomField.subject == subject)
    return session.scalars(mine.order_by(CustomField.position, CustomField.id)).all()


def add_field(session: Session, actor: Actor, details: FieldDetails) -> CustomField:
    """Add a field. Raises Invalid."""
    title = " ".join(details.title.split())
    choices = tuple(dict.fromkeys(choice for line in details.choices if (choice := " ".join(line.split()))))
    problems = []
    if not title:
        problems.append(FieldProblem("title", Problem.REQUIRED))
    elif len(title) > 60:
        problems.append(FieldProblem("title", Problem.TOO_LONG, {"limit": "60"}))
    elif not title.isprintable():
        problems.append(FieldProblem("title", Problem.NAME_CHARACTERS))
    if details.subject not in SUBJECTS:
        problems.append(FieldProblem("subject", Problem.UNKNOWN_CHOICE))
    if details.kind not in KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if details.kind == "choice" and not choices:
        problems.append(FieldProblem("choices", Problem.REQUIRED))
    if any(len(choice) > 60 for choice in choices) or len(choices) > 100:
        problems.append(FieldProblem("choices", Problem.TOO_LONG, {"limit": "60"}))
    mine = fields_of(session, actor.operator_id, details.subject)
    if any(field.title.lower() == title.lower() for field in mine):
        problems.append(FieldProblem("title", Problem.TAKEN))
    if len(mine) >= MOST:
        problems.append(FieldProblem("title", Problem.LIMIT_REACHED, {"limit": str(MOST)}))
    if problems:
        raise Invalid(*problems)
    row = CustomField(
        operator_id=actor.operator_id,
        subject=details.subject,
        title=title,
        kind=details.kind,
        choices=list(choices) if details.kind == "choice" else [],
        required=details.required,
        listed=details.listed,
        position=len(mine),
    )
    session.add(row)
    session.flush()
    after = {"title": title, "subject": row.subject, "kind": row.kind, "choices": row.choices, "required": row.required}
    record(session, actor, "field.create", "custom_field", row.id, None, after)
    return row


def change_listed(session: Session, actor: Actor, field: CustomField, *, listed: bool) -> None:
    """Make a field a column of the list of subscribers or services, or no column any more."""
    before, field.listed = field.listed, listed
    session.flush()
    record(session, actor, "field.change", "custom_field", field.id, {"listed": before}, {"listed": field.listed})


def remove_field(session: Session, actor: Actor, field: CustomField) -> int:
    """Remove a field with all that stands in it, and return how many values that were."""
    count = session.scalar(select(func.count()).where(CustomValue.field_id == field.id)) or 0
    before = {"title": field.title, "subject": field.subject, "kind": field.kind, "values": count}
    record(session, actor, "field.delete", "custom_field", field.id, before, None)
    session.delete(field)
    session.flush()
    return count


def read_value(field: CustomField, typed: str) -> str:
    """Return what is kept of what was typed; "" for nothing. Raises Invalid, of field `custom-<id>`."""
    typed = " ".join(typed.replace("\0", "").split())
    name = f"custom-{field.id}"
    if not typed:
        if field.required:
            raise Invalid(FieldProblem(name, Problem.REQUIRED))
        return ""
    if len(typed) > LONGEST:
        raise Invalid(FieldProblem(name, Problem.TOO_LONG, {"limit": str(LONGEST)}))
    match field.kind:
        case "number":
            try:
                value = Decimal(typed.replace(",", "."))
            except InvalidOperation:
                value = Decimal("NaN")
            if not value.is_finite() or abs(value) >= Decimal(10) ** 15:
                raise Invalid(FieldProblem(name, Problem.NOT_A_NUMBER))
            return format(value.normalize(), "f")
        case "date":
            for form in _DAYS:
                try:
                    return datetime.strptime(typed[:10], form).date().isoformat()  # noqa: DTZ007 - a day
                except ValueError:
                    continue
            raise Invalid(FieldProblem(name, Problem.NOT_A_DAY))
        case "choice":
            for choice in field.choices:
                if choice.casefold() == typed.casefold():
                    return choice
            raise Invalid(FieldProblem(name, Problem.UNKNOWN_CHOICE))
        case "yes_no":
            if typed.casefold() in _YES | _NO:
                return "yes" if typed.casefold() in _YES else "no"
            raise Invalid(FieldProblem(name, Problem.UNKNOWN_CHOICE))
    return typed


def read_values(fields: Iterable[CustomField], typed: Mapping[int, str]) -> dict[int, str]:
    """Return what is kept of what was typed into some fields. Raises Invalid with everything that is wrong."""
    found: dict[int, str] = {}
    problems: list[FieldProblem] = []
    for field in fields:
        try:
            found[field.id] = read_value(field, typed.get(field.id, ""))
        except Invalid as invalid:
            problems += invalid.problems
    if problems:
        raise Invalid(*problems)
    return found


def values_of(session: Session, subject: Subscriber | Service) -> dict[int, str]:
    """Return what stands in the fields of a subscriber or service, by the id of the field."""
    rows = select(CustomValue.field_id, CustomValue.value).where(_owner(subject) == subject.id)
    return {row.field_id: row.value for row in session.execute(rows)}


def set_values(session: Session, actor: Actor, subject: Subscriber | Service, typed: Mapping[int, str]) -> None:
    """Put what was typed into all fields of a subscriber or service. Raises Invalid with everything that is wrong."""
    kind = "subscriber" if isinstance(subject, Subscriber) else "service"
    fields = fields_of(session, actor.operator_id, kind)
    found = read_values(fields, typed)
    before = values_of(session, subject)
    if before == {field_id: value for field_id, value in found.items() if value}:
        return
    session.execute(delete(CustomValue).where(_owner(subject) == subject.id))
    session.add_all(
        CustomValue(operator_id=actor.operator_id, field_id=field_id, value=value, **{f"{kind}_id": subject.id})
        for field_id, value in found.items()
        if value
    )
    session.flush()
    titles = {field.id: field.title for field in fields}
    record(
        session, actor, f"{kind}.fields", kind, subject.id,
        {titles[key]: value for key, value in before.items() if key in titles},
        {titles[key]: value for key, value in found.items() if value},
    )  # fmt: skip


def _owner(subject: Subscriber | Service):  # type: ignore[no-untyped-def] # the column that names it
    return CustomValue.subscriber_id if isinstance(subject, Subscriber) else CustomValue.service_id
