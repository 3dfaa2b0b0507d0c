"""Staging: candidates become rows of an import, each with a proposal, and are looked at again before they are written.

What a row would make is checked by the same rules as what somebody enters by hand (crm.services, crm.subscribers),
without asking the database once for each of thousands. A phone number or an e-mail address that the rules do not take
is moved into the notes: nothing that was found is lost, and nothing trivial stops a row.
"""

from calendar import monthrange
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, cast

from sqlalchemy import Numeric, delete, func, insert, literal_column, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session

from aaa.facts import AccessMethod, MacBinding
from core.crypto import Keyring
from core.rates import Burst, RateLimit
from crm.fields import SUBJECTS, fields_of, read_value
from crm.problems import FieldProblem, Invalid, Problem
from crm.service_terms import LONGEST_PASSWORD, ServiceTerms, problems_alone
from crm.services import PASSWORD_PURPOSE
from crm.subscribers import SubscriberDetails
from crm.subscribers import checked as checked_subscriber
from db.models import CustomField, ImportBatch, ImportRow, RatePlan, Service, ServiceMac, Subscriber
from network.importing.candidate import BARRIERS, WITHOUT_SERVICE, Candidate, Finding, one_line
from network.importing.matching import Action, Known, NewPlan, PlanOffer, Plans, new_plans, propose

STEP = 1000
"""Rows written with one statement."""
BARRED = "barred"
"""The problem of a row that what was found keeps from being written: its findings say why."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A row as it would be written. `details` is None for one that is left out or cannot be written.

    `terms` are of its service; of a person without one, they are None too.
    """

    row: ImportRow
    action: Action
    details: SubscriberDetails | None
    terms: ServiceTerms | None
    problems: tuple[FieldProblem, ...]


def first_cut_off(today: date, cut_off_day: int) -> date:
    """Return the operator's cut-off day of next month; in months that are too short for it, their last day."""
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
    return date(year, month, min(cut_off_day, monthrange(year, month)[1]))


def plan_offers(session: Session, operator_id: int) -> list[PlanOffer]:
    """Return the plans on sale, the oldest first."""
    plans = session.scalars(
        select(RatePlan).where(RatePlan.operator_id == operator_id, RatePlan.archived.is_(False)).order_by(RatePlan.id)
    )
    return [PlanOffer(plan.id, plan.name, _rate_of(plan), plan.cap_octets is not None) for plan in plans]


def known_services(session: Session, operator_id: int) -> list[Known]:
    """Return every service of the operator that is not terminated, and every subscriber who never had one."""
    macs: dict[int, list[str]] = {}
    for service_id, mac in session.execute(
        select(ServiceMac.service_id, ServiceMac.mac).where(ServiceMac.operator_id == operator_id)
    ):
        macs.setdefault(service_id, []).append(mac)
    rows = session.execute(
        select(
            Service.id.label("service_id"), Service.subscriber_id, Subscriber.name.label("subscriber"),
            Service.access_method, Service.name, func.host(Service.framed_ip).label("framed_ip"), Service.nas_id,
        )
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(Service.operator_id == operator_id, Service.state != "terminated")
        .order_by(Service.id)
    )  # fmt: skip
    without = session.execute(
        select(Subscriber.id, Subscriber.name)
        .where(
            Subscriber.operator_id == operator_id,
            Subscriber.removed_at.is_(None),
            ~select(Service.id).where(Service.subscriber_id == Subscriber.id).exists(),
        )
        .order_by(Subscriber.id)
    )
    return [
        *(Known(**row, macs=tuple(macs.get(row["service_id"], ()))) for row in rows.mappings()),
        *(Known(0, row.id, row.name, WITHOUT_SERVICE, "", None, None) for row in without),
    ]


def stage(session: Session, keyring: Keyring, batch: ImportBatch, found: Iterable[Candidate]) -> int:
    """Put candidates into a batch, in place of those it has, each with a proposal. Returns how many there are.

    The caller commits. The batch is then `found`.
    """
    known = known_services(session, batch.operator_id)
    kept = {service.service_id for service in known}
    own = {field.id: field for subject in SUBJECTS for field in fields_of(session, batch.operator_id, subject)}
    candidates = [fitting(candidate, own) for candidate in found if candidate.ours not in kept]
    plans = Plans(plan_offers(session, batch.operator_id))
    proposals = propose(candidates, known, batch.nas_id if batch.tie else None)
    session.execute(delete(ImportRow).where(ImportRow.batch_id == batch.id))
    values = [
        {
            **_columns(candidate, keyring),
            "operator_id": batch.operator_id,
            "batch_id": batch.id,
            "plan_id": plans.guess(candidate),
            "action": proposal.action.value,
            "target_id": proposal.target_id,
            "duplicates": [double.document() for double in proposal.doubles],
        }
        for candidate, proposal in zip(candidates, proposals, strict=True)
    ]
    for begin in range(0, len(values), STEP):
        session.execute(insert(ImportRow), values[begin : begin + STEP])
    batch.state, batch.content, batch.problem, batch.detail = "found", None, "", ""
    session.flush()
    examine(session, batch)
    return len(values)


def fitting(candidate: Candidate, own: Mapping[int, CustomField] | None = None) -> Candidate:
    """Return a candidate whose details the rules for subscribers take; what they do not goes into the comment.

    `own` are the operator's own fields by their id.
    """
    moved = []
    custom: dict[int, str] = {}
    for field_id, typed in candidate.custom.items():
        field = (own or {}).get(field_id)
        try:
            if field is not None and (value := read_value(field, typed)):
                custom[field_id] = value
        except Invalid:
            moved.append(f"{field.title}: {typed}" if field is not None else typed)
    candidate = replace(candidate, custom=custom)
    for name in ("phone", "email", "tax_id", "address"):
        value = getattr(candidate, name)
        if value is None:
            continue
        try:
            checked_subscriber(SubscriberDetails(name="x", **{name: value}))
        except Invalid:
            moved.append(value)
            candidate = replace(candidate, **cast(Any, {name: None}))
    name = one_line(candidate.subscriber)[:200] or one_line(candidate.name) or f"#{candidate.line}"
    comment = " · ".join(part for part in (candidate.comment.replace("\0", ""), *moved) if part)
    return replace(candidate, subscriber=name, comment=comment[:5000], name=candidate.name.replace("\0", ""))


def examine(session: Session, batch: ImportBatch) -> list[Checked]:
    """Look at all rows of a batch as they would be written now, and keep what is wrong with each.

    Rules that concern several are asked in the order of the lines: of two rows with one name, the second is refused.
    """
    checked = check(
        session.scalars(select(ImportRow).where(ImportRow.batch_id == batch.id).order_by(ImportRow.line)).all(),
        batch,
        known_services(session, batch.operator_id),
        set(session.scalars(select(RatePlan.id).where(RatePlan.operator_id == batch.operator_id))),
    )
    changed = []
    for one in checked:
        documents = [
            {"field": problem.field, "problem": problem.problem.value, "detail": dict(problem.detail)}
            for problem in one.problems
        ]
        if one.action is not Action.IGNORE and barred(one.row):
            documents = [{"field": "", "problem": BARRED, "detail": {}}]
        if documents != one.row.problems:
            changed.append({"id": one.row.id, "problems": documents})
    if changed:
        session.execute(update(ImportRow), changed)
    return checked


def barred(row: ImportRow) -> bool:
    """Tell whether what was found keeps a row from being written, whatever is decided."""
    return any(finding in BARRIERS for finding, _detail in row.findings)


def check(rows: Sequence[ImportRow], batch: ImportBatch, known: Iterable[Known], plan_ids: set[int]) -> list[Checked]:
    """Return each row as it would be written."""
    taken = _Taken(known)
    return [_checked(row, batch, taken, plan_ids) for row in rows]


_PRICE_PATH = sql_cast(f'strict $[*] ? (@[0] == "{Finding.PRICE}")[1].amount', JSONPATH)
_TOLD_PRICE = func.jsonb_path_query_first(ImportRow.findings, _PRICE_PATH)
PRICE = sql_cast(_TOLD_PRICE.op("#>>")(literal_column("'{}'")), Numeric)
"""What a row costs a month where it comes from, as an expression; null where that is not told."""


def proposed_plans(session: Session, batch: ImportBatch) -> list[NewPlan]:
    """Return a plan for each rate of rows that are to be written and have none."""
    rows = session.execute(
        select(ImportRow.download, ImportRow.upload, ImportRow.profile, PRICE.label("price")).where(
            ImportRow.batch_id == batch.id,
            ImportRow.plan_id.is_(None),
            ImportRow.download.is_not(None),
            ImportRow.action != Action.IGNORE.value,
        )
    )
    names = session.scalars(select(RatePlan.name).where(RatePlan.operator_id == batch.operator_id))
    return new_plans(((row.download, row.upload, row.profile, row.price) for row in rows), names)


def give_plan(session: Session, batch: ImportBatch, rate: tuple[int, int] | None, plan_id: int) -> int:
    """Give a plan to all rows without one: those of a rate (download, upload), or with None those without a rate.

    Returns how many there were.
    """
    rows = update(ImportRow).where(ImportRow.batch_id == batch.id, ImportRow.plan_id.is_(None))
    if rate is None:
        rows = rows.where(ImportRow.download.is_(None))
    else:
        rows = rows.where(ImportRow.download == rate[0], ImportRow.upload == rate[1])
    return len(session.execute(rows.values(plan_id=plan_id).returning(ImportRow.id)).all())


def candidate_name(row: ImportRow, taken: Container[str]) -> str:
    """Return the name of a service that is added although there is a double: of a queue, one that is free."""
    name, number = row.name, 2
    while row.access_method == AccessMethod.QUEUE and name in taken:
        name, number = f"{row.name} ({number})", number + 1
    return name


# Below here: what the above is made of.


class _Taken:
    """Names and addresses that services have, and that earlier rows of the import take."""

    def __init__(self, known: Iterable[Known]) -> None:
        self.services = {service.service_id: service for service in known if service.service_id}
        self.names = {service.name: service.subscriber for service in self.services.values()}
        self.targets: set[int] = set()
        self._addresses: dict[str, list[Known]] = {}
        for service in self.services.values():
            if service.framed_ip is not None:
                self._addresses.setdefault(service.framed_ip, []).append(service)

    def owner_of(self, address: str, nas_id: int | None, but: int | None) -> Known | None:
        """Return who has an address: the same one may live behind two routers, when both are tied to theirs."""
        for service in self._addresses.get(address, ()):
            if service.service_id != but and (nas_id is None or service.nas_id in (None, nas_id)):
                return service
        return None

    def take(self, subscriber: str, terms: ServiceTerms, target_id: int | None) -> None:
        self.names.setdefault(terms.name, subscriber)
        if terms.framed_ip is not None:
            mine = Known(target_id or 0, 0, subscriber, terms.access_method, terms.name, terms.framed_ip, terms.nas_id)
            self._addresses.setdefault(terms.framed_ip, []).append(mine)
        if target_id is not None:
            self.targets.add(target_id)


def _checked(row: ImportRow, batch: ImportBatch, taken: _Taken, plan_ids: set[int]) -> Checked:
    action = Action(row.action)
    if action is Action.IGNORE:
        return Checked(row, action, None, None, ())
    if barred(row):
        return Checked(row, action, None, None, ())
    if row.access_method == WITHOUT_SERVICE:
        return _checked_person(row, action)
    target = taken.services.get(row.target_id or 0)
    terms = _terms(row, batch, taken, action)
    # An update without a password keeps the one that is stored; "kept" stands for it where one is asked for.
    password = "kept" if row.password is not None or action is Action.UPDATE else None
    try:
        terms, problems = problems_alone(terms, password)
    except Invalid as invalid:
        problems = list(invalid.problems)
    if row.plan_id is None and action is not Action.UPDATE:
        problems.append(FieldProblem("plan_id", Problem.REQUIRED))
    elif row.plan_id is not None and row.plan_id not in plan_ids:
        problems.append(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    if action is Action.UPDATE:
        if target is None:
            problems.append(FieldProblem("name", Problem.REQUIRED))
        elif target.service_id in taken.targets:
            problems.append(FieldProblem("name", Problem.TAKEN))
    elif (owner := taken.names.get(terms.name)) is not None:
        problem = Problem.MAC_TAKEN if terms.access_method == AccessMethod.MAC else Problem.NAME_TAKEN
        problems.append(FieldProblem("name", problem, {"subscriber": owner}))
    if terms.framed_ip is not None:
        holder = taken.owner_of(terms.framed_ip, terms.nas_id, target.service_id if target else None)
        if holder is not None:
            problems.append(FieldProblem("framed_ip", Problem.ADDRESS_TAKEN, {"subscriber": holder.subscriber}))
    details, found = _details(row)
    problems += found
    if problems or details is None:
        return Checked(row, action, None, None, tuple(problems))
    taken.take(details.name, terms, target.service_id if target else None)
    return Checked(row, action, details, terms, ())


def _checked_person(row: ImportRow, action: Action) -> Checked:
    """Return a person without a service as they would be written. There is no service that they could update."""
    details, problems = _details(row)
    if action is Action.UPDATE:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    return Checked(row, action, None if problems else details, None, tuple(problems))


def _details(row: ImportRow) -> tuple[SubscriberDetails | None, list[FieldProblem]]:
    details = SubscriberDetails(
        name=row.subscriber_name,
        email=row.email,
        phone=row.phone,
        tax_id=row.tax_id,
        address=row.address,
        latitude=row.latitude,
        longitude=row.longitude,
        notes=row.comment,
    )
    try:
        return checked_subscriber(details), []
    except Invalid as invalid:
        return None, [
            replace(problem, field="subscriber" if problem.field == "name" else problem.field)
            for problem in invalid.problems
        ]


def _terms(row: ImportRow, batch: ImportBatch, taken: _Taken, action: Action) -> ServiceTerms:
    name = candidate_name(row, taken.names) if action is Action.ADD and row.name in taken.names else row.name
    bound = row.mac is not None and row.access_method != AccessMethod.MAC
    return ServiceTerms(
        access_method=row.access_method,
        name=name,
        plan_id=row.plan_id or 0,
        nas_id=batch.nas_id if batch.tie else None,
        framed_ip=str(row.framed_ip) if row.framed_ip is not None else None,
        mac_binding=(MacBinding.FIXED if bound else MacBinding.ANY).value,
        macs=(row.mac,) if bound and row.mac is not None else (),
    )


def _columns(candidate: Candidate, keyring: Keyring) -> dict[str, Any]:
    password = candidate.password
    return {
        "line": candidate.line,
        "key": candidate.key,
        "access_method": str(candidate.access_method),
        "name": candidate.name,
        "password": keyring.seal(PASSWORD_PURPOSE, password) if password else None,
        "framed_ip": candidate.framed_ip,
        "mac": candidate.mac,
        "download": candidate.rate.download if candidate.rate else None,
        "upload": candidate.rate.upload if candidate.rate else None,
        "profile": candidate.profile,
        "comment": candidate.comment,
        "disabled": candidate.disabled,
        "subscriber_name": candidate.subscriber,
        "phone": candidate.phone,
        "email": candidate.email,
        "tax_id": candidate.tax_id,
        "address": candidate.address,
        "latitude": candidate.latitude,
        "longitude": candidate.longitude,
        "paid_until": candidate.paid_until,
        "custom": {str(field_id): value for field_id, value in candidate.custom.items()},
        "findings": [*_findings(candidate)],
    }


def _findings(candidate: Candidate) -> Iterable[tuple[str, Mapping[str, str]]]:
    for finding, detail in candidate.findings:
        yield finding.value, dict(detail)
    password = candidate.password or ""
    if not password.isprintable() or len(password.encode()) > LONGEST_PASSWORD:
        yield Finding.BAD_PASSWORD.value, {}


def _rate_of(plan: RatePlan) -> RateLimit:
    burst = None
    if plan.burst_download is not None:
        burst = Burst(
            plan.burst_download,
            plan.burst_upload or 0,
            plan.burst_threshold_download or 0,
            plan.burst_threshold_upload or 0,
            plan.burst_seconds or 0,
        )
    return RateLimit(plan.download, plan.upload, burst)
