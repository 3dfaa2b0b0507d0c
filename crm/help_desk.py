"""The rules of an operator's help desk: hours, promises, categories, canned answers.

An operator who has decided nothing has the rules below, so the first ticket needs no set-up. They become its own, to
be changed, when the desk is used first.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from aaa.cut_off import public_holidays
from core.i18n import LANGUAGES, N_, translator
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.working_time import WorkingHours, always
from db.audit import Actor, record
from db.models import ROLES, TICKET_PRIORITIES, CannedAnswer, HelpDesk, Operator, TicketCategory

DEFAULT_HOURS: Mapping[str, Any] = {
    **{str(day): [[9 * 60, 18 * 60]] for day in range(1, 6)},
    "6": [[9 * 60, 13 * 60]],
}
DEFAULT_TARGETS: Mapping[str, Mapping[str, Any]] = {
    "urgent": {"first": 30, "solve": 4 * 60, "always": True},
    "high": {"first": 60, "solve": 9 * 60, "always": False},
    "normal": {"first": 4 * 60, "solve": 3 * 9 * 60, "always": False},
    "low": {"first": 9 * 60, "solve": 10 * 9 * 60, "always": False},
}
DEFAULT_CATEGORIES = (
    (N_("No internet"), "technical", "high"),
    (N_("Slow or unstable internet"), "technical", "normal"),
    (N_("Invoice or payment"), "finance", "normal"),
    (N_("Change of plan"), "sales", "low"),
    (N_("Move to another address"), "sales", "low"),
    (N_("Something else"), "support", "normal"),
)
LONGEST_TARGET = 60 * 24 * 365
"""Minutes."""
VARIABLES = ("subscriber", "ticket", "subject", "staff", "operator")
"""What a canned answer may say in braces."""
_VARIABLE = re.compile(r"\{([a-z_]*)\}")


@dataclass(frozen=True, slots=True)
class Target:
    """A promise for one priority, in working time, or with `always` in time by day and night."""

    first: timedelta
    solve: timedelta
    always: bool


@dataclass(frozen=True, slots=True)
class DeskRules:
    """The rules by which the clocks of an operator's tickets run."""

    hours: WorkingHours
    targets: Mapping[str, Target]
    reopen_days: int
    close_days: int

    def target(self, priority: str) -> Target:
        return self.targets[priority]

    def hours_for(self, priority: str) -> WorkingHours:
        return always(self.hours.zone) if self.targets[priority].always else self.hours


@dataclass(frozen=True, slots=True)
class DeskDetails:
    """What is entered for a help desk; see `db.models.HelpDesk`."""

    hours: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    reopen_days: int
    close_days: int
    acknowledge: bool


@dataclass(frozen=True, slots=True)
class CategoryDetails:
    name: str
    queue: str = "support"
    priority: str = "normal"
    active: bool = True


@dataclass(frozen=True, slots=True)
class CannedDetails:
    title: str
    texts: Mapping[str, str]
    category_id: int | None = None
    active: bool = True


def desk_of(session: Session, operator_id: int) -> HelpDesk:
    """Return an operator's help desk, set up with the rules above at its first use. The caller commits."""
    found = session.get(HelpDesk, operator_id)
    if found is None:
        made = session.scalar(
            insert(HelpDesk)
            .values(operator_id=operator_id, hours=dict(DEFAULT_HOURS), targets=dict(DEFAULT_TARGETS))
            .on_conflict_do_nothing()
            .returning(HelpDesk.operator_id)
        )
        if made is not None:
            _ = translator(session.get_one(Operator, operator_id).locale.split("_")[0])
            session.add_all(
                TicketCategory(operator_id=operator_id, name=_(name), queue=queue, priority=priority)
                for name, queue, priority in DEFAULT_CATEGORIES
            )
            session.flush()
        found = session.get_one(HelpDesk, operator_id)
    return found


def rules_of(session: Session, operator_id: int) -> DeskRules:
    """Return the rules by which an operator's clocks run. The caller commits."""
    desk, operator = desk_of(session, operator_id), session.get_one(Operator, operator_id)
    days_off, country, part = frozenset(operator.days_off), operator.holiday_country, operator.holiday_subdivision

    def is_day_off(day: date) -> bool:
        return day in days_off or (country is not None and day in public_holidays(country, part, day.year))

    spans = {int(day): tuple((first, last) for first, last in spans) for day, spans in desk.hours.items()}
    targets = {
        priority: Target(timedelta(minutes=row["first"]), timedelta(minutes=row["solve"]), bool(row["always"]))
        for priority, row in desk.targets.items()
    }
    hours = WorkingHours(ZoneInfo(operator.timezone), spans, is_day_off)
    return DeskRules(hours, targets, desk.reopen_days, desk.close_days)


def details_of(desk: HelpDesk) -> DeskDetails:
    return DeskDetails(**{name: getattr(desk, name) for name in DeskDetails.__slots__})


def change_desk(session: Session, actor: Actor, details: DeskDetails, seen: int) -> None:
    """Change the rules of which version `seen` was shown; clocks that run go on as they were set.

    Raises Invalid and ChangedMeanwhile.
    """
    desk = desk_of(session, actor.operator_id)
    session.refresh(desk, with_for_update=True)
    if desk.version != seen:
        raise ChangedMeanwhile
    problems = []
    for priority in TICKET_PRIORITIES:
        row = details.targets[priority]
        for name in ("first", "solve"):
            if not 1 <= row[name] <= LONGEST_TARGET:
                limits = {"low": "1", "high": str(LONGEST_TARGET)}
                problems.append(FieldProblem(f"{priority}_{name}", Problem.OUT_OF_RANGE, limits))
    for field, days, least in (("reopen_days", details.reopen_days, 0), ("close_days", details.close_days, 1)):
        if not least <= days <= 365:
            problems.append(FieldProblem(field, Problem.OUT_OF_RANGE, {"low": str(least), "high": "365"}))
    if problems:
        raise Invalid(*problems)
    before = _audited(asdict(details_of(desk)))
    for name, value in asdict(details).items():
        setattr(desk, name, value)
    desk.version += 1
    session.flush()
    record(session, actor, "help_desk.change", "operator", actor.operator_id, before, _audited(asdict(details)))


def categories(session: Session, operator_id: int, *, all_of_them: bool = False) -> list[TicketCategory]:
    """Return an operator's categories by name; those out of use only when asked for. The caller commits."""
    desk_of(session, operator_id)
    query = select(TicketCategory).where(TicketCategory.operator_id == operator_id).order_by(TicketCategory.name)
    return list(session.scalars(query if all_of_them else query.where(TicketCategory.active)))


def save_category(
    session: Session, actor: Actor, category: TicketCategory | None, details: CategoryDetails, seen: int = 0
) -> TicketCategory:
    """Enter a category, or change one of which version `seen` was shown. Raises Invalid and ChangedMeanwhile."""
    if category is not None:
        _claim(session, category, seen)
    name = " ".join(details.name.split())
    if not name:
        raise Invalid(FieldProblem("name", Problem.REQUIRED))
    if len(name) > 80:
        raise Invalid(FieldProblem("name", Problem.TOO_LONG, {"limit": "80"}))
    if details.queue not in ROLES:
        raise Invalid(FieldProblem("queue", Problem.UNKNOWN_CHOICE))
    if details.priority not in TICKET_PRIORITIES:
        raise Invalid(FieldProblem("priority", Problem.UNKNOWN_CHOICE))
    same = select(TicketCategory.id).where(
        TicketCategory.operator_id == actor.operator_id, func.lower(TicketCategory.name) == name.lower()
    )
    if session.scalar(same.where(TicketCategory.id != (category.id if category else 0))) is not None:
        raise Invalid(FieldProblem("name", Problem.TAKEN))
    before = _category_values(category) if category else None
    if category is None:
        category = TicketCategory(operator_id=actor.operator_id)
        session.add(category)
    category.name, category.queue = name, details.queue
    category.priority, category.active = details.priority, details.active
    _count(category)
    session.flush()
    action = "ticket_category.create" if before is None else "ticket_category.change"
    record(session, actor, action, "ticket_category", category.id, before, _category_values(category))
    return category


def save_canned(
    session: Session, actor: Actor, canned: CannedAnswer | None, details: CannedDetails, seen: int = 0
) -> CannedAnswer:
    """Enter a canned answer, or change one of which version `seen` was shown.

    Raises Invalid: no text at all, or a variable that there is not; and ChangedMeanwhile.
    """
    if canned is not None:
        _claim(session, canned, seen)
    title = " ".join(details.title.split())
    texts = {language: text.strip() for language, text in details.texts.items() if text.strip()}
    if not title:
        raise Invalid(FieldProblem("title", Problem.REQUIRED))
    if len(title) > 80:
        raise Invalid(FieldProblem("title", Problem.TOO_LONG, {"limit": "80"}))
    if not texts:
        raise Invalid(FieldProblem(f"text_{next(iter(LANGUAGES))}", Problem.REQUIRED))
    for language, text in texts.items():
        if len(text) > 10_000:
            raise Invalid(FieldProblem(f"text_{language}", Problem.TOO_LONG, {"limit": "10000"}))
        unknown = next((name for name in _VARIABLE.findall(text) if name not in VARIABLES), None)
        if unknown is not None:
            raise Invalid(FieldProblem(f"text_{language}", Problem.UNKNOWN_VARIABLE, {"variable": "{" + unknown + "}"}))
    same = select(CannedAnswer.id).where(
        CannedAnswer.operator_id == actor.operator_id, func.lower(CannedAnswer.title) == title.lower()
    )
    if session.scalar(same.where(CannedAnswer.id != (canned.id if canned else 0))) is not None:
        raise Invalid(FieldProblem("title", Problem.TAKEN))
    before = _canned_values(canned) if canned else None
    if canned is None:
        canned = CannedAnswer(operator_id=actor.operator_id)
        session.add(canned)
    canned.title, canned.texts = title, texts
    canned.category_id, canned.active = details.category_id, details.active
    _count(canned)
    session.flush()
    action = "canned_answer.create" if before is None else "canned_answer.change"
    record(session, actor, action, "canned_answer", canned.id, before, _canned_values(canned))
    return canned


def delete_canned(session: Session, actor: Actor, canned: CannedAnswer) -> None:
    record(session, actor, "canned_answer.delete", "canned_answer", canned.id, _canned_values(canned), None)
    session.delete(canned)
    session.flush()


def canned_text(canned: CannedAnswer, language: str, values: Mapping[str, str]) -> str:
    """Return a canned answer in a language, else in the first that it has, with its variables filled in."""
    text = canned.texts.get(language) or next(iter(canned.texts.values()))
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def _claim(session: Session, row: TicketCategory | CannedAnswer, seen: int) -> None:
    """Lock a row of which version `seen` was shown. Raises ChangedMeanwhile."""
    session.refresh(row, with_for_update=True)
    if row.version != seen:
        raise ChangedMeanwhile


def _count(row: TicketCategory | CannedAnswer) -> None:
    if row.id is not None:
        row.version += 1


def _category_values(category: TicketCategory) -> dict[str, Any]:
    return {name: getattr(category, name) for name in ("name", "queue", "priority", "active")}


def _canned_values(canned: CannedAnswer) -> dict[str, Any]:
    return {
        "title": canned.title,
        "active": canned.active,
        **{f"text_{language}": text for language, text in canned.texts.items()},
    }


def _audited(values: dict[str, Any]) -> dict[str, Any]:
    """Return values that compare the same whether they come from JSON or from a form."""
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict) else value for name, value in values.items()
    }
