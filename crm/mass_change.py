"""Mass changes: one change of many services, which a person previews, a worker does, and a person can take back.

What will happen to a service is one expression of SQL, `verdict()`: the preview counts by it, and the job asks it again
for each service at the moment of changing it, since hours may lie between. Each service is changed by the rules of
`crm.services`, as if its own page had been used, and audited as such.

The services are fixed when the change is started. Each has a row that says whether it is done and what it was before,
written with the change itself: a worker that is killed leaves nothing half done, and the next one goes on from there.
Undo leaves alone what somebody changed since.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, case, func, insert, literal, select, update
from sqlalchemy.orm import Session

from core.clock import local_date, utc_now
from core.i18n import N_
from crm.jobs import JobFunction, RunningJob, start_job
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from crm.services import CAUSES, change_plan_of, pause, restore, set_paid_until, suspend
from db.audit import Actor, record
from db.models import Job, MassChange, MassChangeRow, Operator, RatePlan, Service, Staff

CHANGE, UNDO = "services.change", "services.undo"
KINDS = ("plan", "suspend", "restore", "management", "paid_until")
CHANGES = "changes"
"""The verdict on a service that will be changed; every other verdict is the reason why not."""
BATCH = 50
"""Services of one transaction: while it lasts, nobody else of the operator writes into the audit log."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed, and to what. `everyone` takes in what is left out by default.

    Suspending and cutting by date leave out services that are managed by hand, restoring those suspended for abuse.
    """

    kind: str
    plan_id: int | None = None
    cause: str = "staff"
    detail: str = ""
    management: str = "automatic"
    paid_until: date | None = None
    everyone: bool = False

    def document(self) -> dict[str, Any]:
        """Return the change as JSON holds it."""
        return {**asdict(self), "paid_until": self.paid_until.isoformat() if self.paid_until else None}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Change":
        until = document["paid_until"]
        return cls(**{**document, "paid_until": date.fromisoformat(until) if until else None})


def verdict(change: Change) -> ColumnElement[str]:
    """Return what becomes of a row of `service`: CHANGES, or why it stays as it is.

    `terminated`, `same` (it is so already), `state` (not one that the step starts from), `manual` (managed by hand),
    `abuse` (suspended for abuse).
    """
    by_hand = (Service.management == "manual", "manual")
    ended = (Service.state == "terminated", "terminated")
    reasons: list[tuple[ColumnElement[bool], str]]
    match change.kind:
        case "plan":
            reasons = [ended, (Service.plan_id == change.plan_id, "same")]
        case "suspend":
            off = (Service.state == "suspended", "same")
            reasons = [ended, off, (Service.state.not_in(("active", "paused")), "state")]
            reasons += [] if change.everyone else [by_hand]
        case "restore":
            reasons = [ended, (Service.state != "suspended", "state")]
            reasons += [] if change.everyone else [(Service.suspension_cause == "abuse", "abuse")]
        case "management":
            reasons = [ended, (Service.management == change.management, "same")]
        case _:
            reasons = [ended, (Service.paid_until.is_not_distinct_from(change.paid_until), "same")]
            reasons += [] if change.everyone else [by_hand]
    return case(*((condition, literal(reason)) for condition, reason in reasons), else_=literal(CHANGES))


def check_change(session: Session, change: Change) -> None:
    """Raise Invalid with what is wrong with a change, whatever services it is for."""
    problems = []
    if change.kind not in KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if change.kind == "plan":
        plan = session.get(RatePlan, change.plan_id) if change.plan_id else None
        if plan is None or plan.archived:
            problems.append(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    if change.kind == "suspend":
        if change.cause not in CAUSES:
            problems.append(FieldProblem("cause", Problem.UNKNOWN_CHOICE))
        if len(change.detail) > 500 or not change.detail.isprintable():
            problems.append(FieldProblem("detail", Problem.TOO_LONG, {"limit": "500"}))
    if change.kind == "management" and change.management not in ("automatic", "manual"):
        problems.append(FieldProblem("management", Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)


def preview(session: Session, change: Change, chosen: Select[Any]) -> dict[str, int]:
    """Return how many of the chosen services there are of each verdict; `chosen` selects their ids."""
    found = verdict(change).label("verdict")
    counted = select(found, func.count()).where(Service.id.in_(chosen)).group_by(found)
    return dict(session.execute(counted).all())


def start_change(session: Session, actor: Actor, change: Change, chosen: Select[Any], seen: int, subject: str) -> Job:
    """Queue a change of the chosen services. Raises Invalid, also when not `seen` of them would change any more."""
    check_change(session, change)
    made = MassChange(operator_id=actor.operator_id, kind=change.kind, terms=change.document(), staff_id=actor.staff_id)
    session.add(made)
    session.flush()
    found = verdict(change)
    rows = select(
        literal(made.id),
        Service.id,
        Service.operator_id,
        case((found == CHANGES, "waiting"), else_="kept"),
        case((found == CHANGES, ""), else_=found),
    ).where(Service.id.in_(chosen), Service.operator_id == actor.operator_id)
    columns = ("mass_change_id", "service_id", "operator_id", "state", "problem")
    session.execute(insert(MassChangeRow).from_select(columns, rows))
    count = session.scalar(_count(made.id, "waiting")) or 0
    if count == 0 or count != seen:
        raise Invalid(FieldProblem("seen", Problem.ALREADY_DONE))
    record(
        session, actor, "service.mass_change", "mass_change", made.id, None, {**change.document(), "services": count}
    )
    return start_job(session, actor, CHANGE, {"mass_change_id": made.id}, subject)


def start_undo(session: Session, actor: Actor, change: MassChange, subject: str) -> Job:
    """Queue that what a change did is taken back. Raises Invalid when it did nothing, or is still at it."""
    under_way = select(Job.id).where(
        Job.kind.in_((CHANGE, UNDO)),
        Job.state.in_(("queued", "running")),
        Job.parameters["mass_change_id"].as_integer() == change.id,
    )
    if session.scalar(under_way.limit(1)) is not None or not session.scalar(_count(change.id, "done")):
        raise Invalid(FieldProblem("undo", Problem.ALREADY_DONE))
    record(session, actor, "service.mass_undo", "mass_change", change.id)
    return start_job(session, actor, UNDO, {"mass_change_id": change.id}, subject)


# What a worker does.


def change_services(job: RunningJob) -> Mapping[str, object]:
    """Change the services of a mass change that wait, batch by batch."""

    def one(session: Session, actor: Actor, change: Change, service: Service, row: MassChangeRow) -> None:
        found = session.scalar(select(verdict(change)).where(Service.id == service.id))
        if found != CHANGES:
            row.state, row.problem = "kept", found or "terminated"
            return
        row.before = _before(service)
        _apply(session, actor, change, service)
        row.state, row.problem = "done", ""

    return _each(job, "waiting", one)


def undo_services(job: RunningJob) -> Mapping[str, object]:
    """Take back what a mass change did, where nobody changed it since."""

    def one(session: Session, actor: Actor, change: Change, service: Service, row: MassChangeRow) -> None:
        if not _untouched(change, service):
            row.state, row.problem = "kept", "changed"
            return
        _take_back(session, actor, change, service, row.before)
        row.state, row.problem = "undone", ""

    return _each(job, "done", one)


JOBS: Mapping[str, JobFunction] = {CHANGE: change_services, UNDO: undo_services}


def _each(
    job: RunningJob, state: str, one: Callable[[Session, Actor, Change, Service, MassChangeRow], None]
) -> Mapping[str, object]:
    change_id = int(job.parameters["mass_change_id"])
    with job.session() as session:
        stored = session.get_one(MassChange, change_id)
        if stored.operator_id != job.operator_id:
            raise ValueError("a mass change of another operator")
        change = Change.of(stored.terms)
        if state == "waiting":  # repeated: what was refused is tried again
            session.execute(
                update(MassChangeRow)
                .where(MassChangeRow.mass_change_id == change_id, MassChangeRow.state == "refused")
                .values(state="waiting")
            )
        actor = _actor_of(job, session)
        job.plan(session.scalar(_count(change_id, state)) or 0)
        session.commit()
    counts = {"done": 0, "kept": 0, "refused": 0}
    while True:
        job.check_cancelled()
        with job.session() as session:
            rows = session.scalars(
                select(MassChangeRow)
                .where(MassChangeRow.mass_change_id == change_id, MassChangeRow.state == state)
                .order_by(MassChangeRow.service_id)
                .limit(BATCH)
            ).all()
            if not rows:
                break
            services = select(Service).where(
                Service.operator_id == job.operator_id, Service.id.in_([row.service_id for row in rows])
            )
            # In the order of their ids, as billing locks them.
            locked = {one.id: one for one in session.scalars(services.order_by(Service.id).with_for_update())}
            for row in rows:
                _settle(session, job, counts, actor, change, locked[row.service_id], row, one)
            session.commit()
        failed = sum(row.state == "refused" for row in rows)
        job.advance(len(rows) - failed, failed)
    return {**counts, "url": f"/mass-changes/{change_id}"}


def _settle(
    session: Session,
    job: RunningJob,
    counts: dict[str, int],
    actor: Actor,
    change: Change,
    service: Service,
    row: MassChangeRow,
    one: Callable[[Session, Actor, Change, Service, MassChangeRow], None],
) -> None:
    try:
        with session.begin_nested():
            one(session, actor, change, service, row)
    except WrongState as problem:
        row.state, row.problem = "refused", problem.state
    except Invalid as invalid:
        row.state, row.problem = "refused", invalid.problems[0].problem.value
    if row.state == "refused":
        job.log("error", service.name, N_("This was refused: %(problem)s"), problem=row.problem)
        counts["refused"] += 1
    elif row.state == "kept":
        job.log("warning", service.name, N_("It changed meanwhile and was left as it is."))
        counts["kept"] += 1
    else:
        counts["done"] += 1


def _apply(session: Session, actor: Actor, change: Change, service: Service) -> None:
    now = utc_now()
    match change.kind:
        case "plan":
            assert change.plan_id is not None, "checked when it was started"
            change_plan_of(session, actor, service, change.plan_id, now)
        case "suspend":
            suspend(session, actor, service, change.cause, change.detail, now)
        case "restore":
            restore(session, actor, service)
        case "management":
            _set_management(session, actor, service, change.management)
        case _:
            _set_paid_until(session, actor, service, change.paid_until, now)


def _take_back(session: Session, actor: Actor, change: Change, service: Service, before: Mapping[str, Any]) -> None:
    match change.kind:
        case "plan":
            change_plan_of(session, actor, service, before["plan_id"], utc_now())
        case "suspend":
            restore(session, actor, service)
            if before["state"] == "paused":
                pause(session, actor, service)
        case "restore":
            # From the same instant on as before: by it a cut-off by date is told from one by a person.
            since = datetime.fromisoformat(before["suspended_at"])
            suspend(session, actor, service, before["cause"] or "staff", before["detail"], since)
        case "management":
            _set_management(session, actor, service, before["management"])
        case _:
            until = before["paid_until"]
            _set_paid_until(session, actor, service, date.fromisoformat(until) if until else None, utc_now())


def _untouched(change: Change, service: Service) -> bool:
    """Tell whether a service still is what the change made of it."""
    match change.kind:
        case "plan":
            return service.plan_id == change.plan_id and service.state != "terminated"
        case "suspend":
            return (service.state, service.suspension_cause, service.suspension_detail) == (
                "suspended", change.cause, change.detail.strip(),
            )  # fmt: skip
        case "restore":
            return service.state == "active"
        case "management":
            return service.management == change.management
    return service.paid_until == change.paid_until and service.state != "terminated"


def _before(service: Service) -> dict[str, Any]:
    return {
        "plan_id": service.plan_id,
        "state": service.state,
        "suspended_at": service.suspended_at.isoformat() if service.suspended_at else None,
        "cause": service.suspension_cause,
        "detail": service.suspension_detail,
        "management": service.management,
        "paid_until": service.paid_until.isoformat() if service.paid_until else None,
    }


def _set_management(session: Session, actor: Actor, service: Service, management: str) -> None:
    before = {"management": service.management}
    service.management = management
    session.flush()
    record(session, actor, "service.change", "service", service.id, before, {"management": management})


def _set_paid_until(session: Session, actor: Actor, service: Service, until: date | None, now: datetime) -> None:
    operator = session.get_one(Operator, service.operator_id)
    today = local_date(now, ZoneInfo(operator.timezone))
    set_paid_until(session, actor, service, until, today, timedelta(days=operator.grace_days))


def _count(change_id: int, state: str) -> Select[Any]:
    return (
        select(func.count())
        .select_from(MassChangeRow)
        .where(MassChangeRow.mass_change_id == change_id, MassChangeRow.state == state)
    )


def _actor_of(job: RunningJob, session: Session) -> Actor:
    person = session.get(Staff, job.staff_id) if job.staff_id else None
    return Actor(job.operator_id, person.email if person else "jobs", job.staff_id)
