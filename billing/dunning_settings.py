"""Changing an operator's ladder: its settings, its steps, and what its reminders say."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from aaa.cut_off import holiday_choices
from billing.ladder import LONGEST_BODY, LONGEST_SUBJECT, BadText, Step, Words, check_text, default_words
from core.i18n import LANGUAGES
from crm.notices import EMAIL, checked_address
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import DunningSettings, DunningStep, DunningText, Operator
from db.models.dunning import CHANNELS

MOST_STEPS = 20
FIRST_STEPS = (Step(-3, "email"), Step(0, "email"), Step(2, "email"))
"""What a ladder begins with when it is switched on."""


@dataclass(frozen=True, slots=True)
class LadderTerms:
    """What is entered. `weekdays` are those on which is cut; `country` and `subdivision` as in `CutOffRule`."""

    enabled: bool
    send_hour: int
    late_fees: bool
    terminate_months: int | None
    alert_address: str
    cut_off_hour: int
    weekdays: tuple[int, ...]
    country: str | None
    subdivision: str | None
    days_off: tuple[date, ...]


def terms_of_ladder(session: Session, operator: Operator) -> LadderTerms:
    """Return an operator's ladder as it stands, or as it would begin."""
    kept = session.get(DunningSettings, operator.id)
    return LadderTerms(
        enabled=kept.enabled if kept else False,
        send_hour=kept.send_hour if kept else 9,
        late_fees=kept.late_fees if kept else False,
        terminate_months=kept.terminate_months if kept else None,
        alert_address=kept.alert_address if kept else "",
        cut_off_hour=operator.cut_off_hour,
        weekdays=tuple(sorted(operator.cut_off_weekdays)),
        country=operator.holiday_country,
        subdivision=operator.holiday_subdivision,
        days_off=tuple(sorted(operator.days_off)),
    )


def change_ladder(session: Session, actor: Actor, operator: Operator, terms: LadderTerms) -> None:
    """Take over a ladder; who is cut when follows at once, on live sessions too. Raises Invalid."""
    _check(terms)
    before = asdict(terms_of_ladder(session, operator))
    kept = session.get(DunningSettings, operator.id)
    if kept is None:
        kept = DunningSettings(operator_id=operator.id)
        session.add(kept)
        for step in FIRST_STEPS:
            session.add(DunningStep(operator_id=operator.id, days=step.days, channel=step.channel))
    for name in ("enabled", "send_hour", "late_fees", "terminate_months", "alert_address"):
        setattr(kept, name, getattr(terms, name))
    operator.cut_off_hour = terms.cut_off_hour
    operator.cut_off_weekdays = list(terms.weekdays)
    operator.holiday_country, operator.holiday_subdivision = terms.country, terms.subdivision
    operator.days_off = list(terms.days_off)
    session.flush()
    record(session, actor, "dunning.settings", "operator", operator.id, before, asdict(terms))


def steps_of(session: Session, operator_id: int) -> Sequence[DunningStep]:
    """Return an operator's reminders, the earliest first."""
    query = select(DunningStep).where(DunningStep.operator_id == operator_id)
    return session.scalars(query.order_by(DunningStep.days, DunningStep.channel)).all()


def add_step(session: Session, actor: Actor, operator_id: int, step: Step) -> None:
    """Add a reminder to the ladder. Raises Invalid."""
    problems = []
    if not -60 <= step.days <= 365:
        problems.append(FieldProblem("days", Problem.OUT_OF_RANGE, {"low": "-60", "high": "365"}))
    if step.channel not in CHANNELS:
        problems.append(FieldProblem("channel", Problem.UNKNOWN_CHOICE))
    there = steps_of(session, operator_id)
    if any((one.days, one.channel) == (step.days, step.channel) for one in there):
        problems.append(FieldProblem("days", Problem.TAKEN))
    if len(there) >= MOST_STEPS:
        problems.append(FieldProblem("days", Problem.LIMIT_REACHED, {"limit": str(MOST_STEPS)}))
    if problems:
        raise Invalid(*problems)
    session.add(DunningStep(operator_id=operator_id, days=step.days, channel=step.channel))
    session.flush()
    record(session, actor, "dunning.step", "operator", operator_id, None, asdict(step))


def remove_step(session: Session, actor: Actor, step: DunningStep) -> None:
    """Take a reminder off the ladder, with what it says."""
    before = {"days": step.days, "channel": step.channel}
    session.execute(delete(DunningText).where(DunningText.step_id == step.id))
    session.execute(delete(DunningStep).where(DunningStep.id == step.id))
    record(session, actor, "dunning.step", "operator", step.operator_id, before, None)


def words_of(session: Session, step: DunningStep, language: str) -> Words:
    """Return what a reminder says in a language: the operator's words, or those that come with Portico."""
    row = session.get(DunningText, (step.id, language))
    return Words(row.subject, row.body) if row else default_words(Step(step.days, step.channel), language)


def change_words(session: Session, actor: Actor, step: DunningStep, language: str, words: Words) -> None:
    """Have a reminder say something else in a language. Raises Invalid: unknown variables, or nothing said."""
    if language not in LANGUAGES:
        raise Invalid(FieldProblem("language", Problem.UNKNOWN_CHOICE))
    problems = []
    for name, limit in (("subject", LONGEST_SUBJECT), ("body", LONGEST_BODY)):
        said = getattr(words, name)
        if not said.strip():
            problems.append(FieldProblem(name, Problem.REQUIRED))
        elif len(said) > limit:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
        else:
            try:
                check_text(said)
            except BadText as bad:
                problems.append(FieldProblem(name, Problem.UNKNOWN_VARIABLE, {"variable": f"{{{bad.variable}}}"}))
    if problems:
        raise Invalid(*problems)
    before = asdict(words_of(session, step, language))
    values: dict[str, Any] = {"subject": words.subject.strip(), "body": words.body.strip()}
    session.execute(
        insert(DunningText)
        .values(step_id=step.id, language=language, operator_id=step.operator_id, **values)
        .on_conflict_do_update(index_elements=["step_id", "language"], set_=values)
    )
    session.expire_all()
    record(session, actor, "dunning.text", "operator", actor.operator_id, before, values)


def _check(terms: LadderTerms) -> None:
    problems = [
        FieldProblem(name, Problem.OUT_OF_RANGE, {"low": "0", "high": "23"})
        for name in ("send_hour", "cut_off_hour")
        if not 0 <= getattr(terms, name) <= 23
    ]
    if terms.terminate_months is not None and not 1 <= terms.terminate_months <= 60:
        problems.append(FieldProblem("terminate_months", Problem.OUT_OF_RANGE, {"low": "1", "high": "60"}))
    if not terms.weekdays or not set(terms.weekdays) <= set(range(1, 8)):
        problems.append(FieldProblem("weekdays", Problem.REQUIRED))
    if terms.country is not None:
        known = holiday_choices()
        if terms.country not in known:
            problems.append(FieldProblem("country", Problem.UNKNOWN_CHOICE))
        elif terms.subdivision is not None and terms.subdivision not in known[terms.country]:
            problems.append(FieldProblem("subdivision", Problem.UNKNOWN_CHOICE))
    elif terms.subdivision is not None:
        problems.append(FieldProblem("subdivision", Problem.UNKNOWN_CHOICE))
    if len(terms.days_off) > 100:
        problems.append(FieldProblem("days_off", Problem.LIMIT_REACHED, {"limit": "100"}))
    if terms.alert_address:
        try:
            checked_address(EMAIL, terms.alert_address)
        except Invalid:
            problems.append(FieldProblem("alert_address", Problem.NOT_AN_EMAIL))
    if problems:
        raise Invalid(*problems)
