"""Services: the access lines of subscribers, what may be entered for them, and the steps of their life.

    pending → active ⇄ suspended        a suspended service is led into the walled garden, or refused
              active ⇄ paused           the subscriber's own wish
              any    → terminated       the name is free again; can be reinstated while it still is

Each step is audited. None of them speaks to a router: triggers log the changed row, and what follows the log makes
radiusd and the live sessions agree with it.
"""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from aaa.facts import AccessMethod, ServiceState
from core.crypto import Keyring
from crm.currencies import check_rates_of_change
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.service_terms import WITH_PASSWORD, ServiceTerms, checked_alone, is_address, password_problems
from db.audit import Actor, record
from db.models import Nas, RatePlan, Sector, Service, ServiceMac, Subscriber

PASSWORD_PURPOSE = "service.password"  # noqa: S105 - the name of a purpose
CAUSES = ("staff", "overdue", "abuse")


def terms_of_service(session: Session, service: Service) -> ServiceTerms:
    """Return what is stored as it would be entered."""
    values = {field.name: getattr(service, field.name) for field in fields(ServiceTerms) if field.name != "macs"}
    macs = session.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == service.id).order_by(ServiceMac.mac))
    for name in ("framed_ip", "framed_ipv6_prefix", "delegated_ipv6_prefix"):
        values[name] = None if values[name] is None else str(values[name])
    values["framed_routes"] = tuple(values["framed_routes"])
    values["extra"] = tuple((name, operator, value) for name, operator, value in values["extra"])
    return ServiceTerms(**values, macs=tuple(macs))


def create_service(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    subscriber: Subscriber,
    terms: ServiceTerms,
    password: str | None,
    *,
    state: str = "active",
    paid_until: date | None = None,
    now: datetime,
) -> Service:
    """Give a subscriber a service, active or pending (ordered, not yet installed). Raises Invalid."""
    problems = password_problems(terms.access_method, password)
    if subscriber.removed_at is not None:
        raise Invalid(FieldProblem("name", Problem.SUBSCRIBER_REMOVED))
    checked = _checked(session, actor.operator_id, terms, None, problems)
    service = Service(
        operator_id=actor.operator_id,
        subscriber_id=subscriber.id,
        password=keyring.seal(PASSWORD_PURPOSE, password) if password else None,
        state=state,
        paid_until=paid_until,
        activated_at=now if state == "active" else None,
    )
    with _name_of_its_own(session):
        _apply(session, service, checked)
    after = {**asdict(checked), "subscriber": subscriber.name, "state": state, "paid_until": paid_until}
    record(session, actor, "service.create", "service", service.id, None, after)
    return service


def change_service(
    session: Session, actor: Actor, service: Service, terms: ServiceTerms, seen: int, now: datetime | None = None
) -> None:
    """Change a service of which version `seen` was shown. Raises Invalid, ChangedMeanwhile and WrongState.

    With `now` a change of plan that could not be billed from today on is refused (`check_rates_of_change`).
    """
    _lock(session, service)
    if service.version != seen:
        raise ChangedMeanwhile
    _expect(service, "change", *(set(ServiceState) - {ServiceState.TERMINATED}))
    if now is not None:
        check_rates_of_change(session, service, terms.plan_id, now)
    before = asdict(terms_of_service(session, service))
    problems = []
    if service.password is None and terms.access_method in WITH_PASSWORD:
        problems.append(FieldProblem("password", Problem.REQUIRED))
    checked = _checked(session, actor.operator_id, terms, service.id, problems)
    with _name_of_its_own(session):
        _apply(session, service, checked)
    record(session, actor, "service.change", "service", service.id, before, asdict(checked))


def change_plan_of(session: Session, actor: Actor, service: Service, plan_id: int, now: datetime | None = None) -> None:
    """Give a service another rate plan; live sessions follow at once. Raises Invalid and WrongState.

    With `now` a change that could not be billed from today on is refused (`check_rates_of_change`).
    """
    _lock(session, service)
    _expect(service, "change", *(set(ServiceState) - {ServiceState.TERMINATED}))
    plan = session.get(RatePlan, plan_id)
    if plan is None or (plan.archived and plan_id != service.plan_id):
        raise Invalid(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    if now is not None:
        check_rates_of_change(session, service, plan.id, now)
    before = session.get_one(RatePlan, service.plan_id)
    service.plan_id = plan.id
    session.flush()
    record(session, actor, "service.plan", "service", service.id, {"plan": before.name}, {"plan": plan.name})


# Steps.


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a service, and of one that is suspended since when and why."""

    state: str = ServiceState.ACTIVE.value
    suspended_at: datetime | None = None
    cause: str | None = None
    detail: str = ""


def suspend(session: Session, actor: Actor, service: Service, cause: str, detail: str, now: datetime) -> None:
    """Cut a service off: walled garden or refusal, as the operator chose. Raises Invalid and WrongState."""
    _lock(session, service)
    _expect(service, "suspend", ServiceState.ACTIVE, ServiceState.PAUSED)
    if cause not in CAUSES:
        raise Invalid(FieldProblem("cause", Problem.UNKNOWN_CHOICE))
    if len(detail) > 500 or not detail.isprintable():
        raise Invalid(FieldProblem("detail", Problem.TOO_LONG, {"limit": "500"}))
    before = _standing(service)
    service.state = ServiceState.SUSPENDED.value
    service.suspended_at, service.suspension_cause, service.suspension_detail = now, cause, detail.strip()
    _note(session, actor, "service.suspend", service, before)


def restore(session: Session, actor: Actor, service: Service) -> None:
    """Let a suspended service back. Raises WrongState."""
    _lock(session, service)
    _expect(service, "restore", ServiceState.SUSPENDED)
    before = _standing(service)
    _back_to_active(service)
    _note(session, actor, "service.restore", service, before)


def pause(session: Session, actor: Actor, service: Service) -> None:
    """Rest a service at the subscriber's wish. Raises WrongState."""
    _lock(session, service)
    _expect(service, "pause", ServiceState.ACTIVE)
    before = _standing(service)
    service.state = ServiceState.PAUSED.value
    _note(session, actor, "service.pause", service, before)


def resume(session: Session, actor: Actor, service: Service) -> None:
    """End a pause. Raises WrongState."""
    _lock(session, service)
    _expect(service, "resume", ServiceState.PAUSED)
    before = _standing(service)
    _back_to_active(service)
    _note(session, actor, "service.resume", service, before)


def activate(session: Session, actor: Actor, service: Service, now: datetime) -> None:
    """Put a pending service into use: it is installed. Raises WrongState."""
    _lock(session, service)
    _expect(service, "activate", ServiceState.PENDING)
    before = _standing(service)
    _back_to_active(service)
    service.activated_at = now
    _note(session, actor, "service.activate", service, before)


LONGEST_NOTE = 500
"""Characters of what is noted beside the reason for which somebody left."""


def terminate(
    session: Session, actor: Actor, service: Service, now: datetime, reason: str = "", note: str = ""
) -> None:
    """End a service. Its name and address are free for others. Raises WrongState, and Invalid (`note`).

    `reason` is why its subscriber leaves, one of crm.leave_reasons; "" where nobody asked, as when a job ends it.
    """
    if len(note) > LONGEST_NOTE:
        raise Invalid(FieldProblem("note", Problem.TOO_LONG, {"limit": str(LONGEST_NOTE)}))
    _lock(session, service)
    _expect(service, "terminate", *(set(ServiceState) - {ServiceState.TERMINATED}))
    before = _standing(service)
    service.state, service.terminated_at = ServiceState.TERMINATED.value, now
    service.leave_reason, service.leave_note = reason, note.strip()
    _note(session, actor, "service.terminate", service, before)


def reinstate(session: Session, actor: Actor, service: Service, standing: Standing = Standing()) -> None:
    """Take back a termination; the service is active, or as it was before where that is said.

    Raises WrongState, and Invalid when the name or an address went to somebody else.
    """
    _lock(session, service)
    _expect(service, "reinstate", ServiceState.TERMINATED)
    if session.get_one(Subscriber, service.subscriber_id).removed_at is not None:
        raise Invalid(FieldProblem("name", Problem.SUBSCRIBER_REMOVED))
    _checked(session, actor.operator_id, terms_of_service(session, service), service.id, [])
    before = _standing(service)
    service.state, service.suspended_at = standing.state, standing.suspended_at
    service.suspension_cause, service.suspension_detail = standing.cause, standing.detail
    service.terminated_at, service.leave_reason, service.leave_note = None, "", ""
    with _name_of_its_own(session):
        session.flush()
    _note(session, actor, "service.reinstate", service, before)


def set_paid_until(
    session: Session, actor: Actor, service: Service, paid_until: date | None, today: date, grace: timedelta
) -> bool:
    """Mark until which day, that day included, a service is paid; None is no cut-off by date.

    A service that was cut off for being overdue is restored when the day and the operator's grace reach today.
    Returns whether it was. Raises WrongState.
    """
    _lock(session, service)
    _expect(service, "pay", *(set(ServiceState) - {ServiceState.TERMINATED}))
    before = {**_standing(service), "paid_until": service.paid_until}
    service.paid_until = paid_until
    covers = paid_until is None or paid_until + grace >= today
    overdue = service.state == ServiceState.SUSPENDED and service.suspension_cause == "overdue"
    if covers and overdue:
        _back_to_active(service)
    session.flush()
    after = {**_standing(service), "paid_until": service.paid_until}
    record(session, actor, "service.paid_until", "service", service.id, before, after)
    return covers and overdue


# Passwords.


def set_password(session: Session, actor: Actor, keyring: Keyring, service: Service, password: str) -> None:
    """Give a service another password. Live sessions go on; the next login needs it. Raises Invalid."""
    _lock(session, service)
    problems = password_problems(service.access_method, password)
    if problems:
        raise Invalid(*problems)
    service.password = keyring.seal(PASSWORD_PURPOSE, password)
    session.flush()
    record(session, actor, "service.password", "service", service.id, None, {"password": "changed"})


def reveal_password(session: Session, actor: Actor, keyring: Keyring, service: Service) -> str | None:
    """Return the password in clear, and write down who saw it. None: the service has none."""
    if service.password is None:
        return None
    record(session, actor, "service.password_shown", "service", service.id, None, {"name": service.name})
    return keyring.open(PASSWORD_PURPOSE, service.password)


# Below here: what the above is made of.


def _lock(session: Session, service: Service) -> None:
    session.refresh(service, with_for_update=True)


def _expect(service: Service, step: str, *states: ServiceState) -> None:
    if service.state not in states:
        raise WrongState(service.state, step)


def _standing(service: Service) -> dict[str, object]:
    return {"state": service.state, "cause": service.suspension_cause, "detail": service.suspension_detail}


def _note(session: Session, actor: Actor, action: str, service: Service, before: dict[str, object]) -> None:
    session.flush()
    record(session, actor, action, "service", service.id, before, _standing(service))


def _back_to_active(service: Service) -> None:
    service.state = ServiceState.ACTIVE.value
    service.suspended_at, service.suspension_cause, service.suspension_detail = None, None, ""


def _apply(session: Session, service: Service, terms: ServiceTerms) -> None:
    for field in fields(ServiceTerms):
        if field.name != "macs":
            value = getattr(terms, field.name)
            value = [list(entry) for entry in value] if field.name == "extra" else value
            value = list(value) if isinstance(value, tuple) else value
            if _stored(getattr(service, field.name)) != value:
                setattr(service, field.name, value)
    session.add(service)
    session.flush()
    known = set(session.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == service.id)))
    gone = known - set(terms.macs)
    if gone:
        session.execute(delete(ServiceMac).where(ServiceMac.service_id == service.id, ServiceMac.mac.in_(gone)))
    session.add_all(
        ServiceMac(service_id=service.id, operator_id=service.operator_id, mac=mac)
        for mac in terms.macs
        if mac not in known
    )
    session.flush()


def _stored(value: object) -> object:
    """Return a stored address as the terms have it, so that an unchanged form changes no row."""
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network):
        return str(value)
    return value


@contextmanager
def _name_of_its_own(session: Session) -> Iterator[None]:
    """Write in a savepoint: two people may take the same name or address at once, and the index refuses the second."""
    try:
        with session.begin_nested():
            yield
    except IntegrityError as refused:
        if "uq_service_name" in str(refused.orig):
            raise Invalid(FieldProblem("name", Problem.TAKEN)) from None
        if "uq_service_queue_address" in str(refused.orig):
            raise Invalid(FieldProblem("framed_ip", Problem.TAKEN)) from None
        raise


def _checked(
    session: Session, operator_id: int, terms: ServiceTerms, service_id: int | None, problems: list[FieldProblem]
) -> ServiceTerms:
    """Return the terms as they are stored. Raises Invalid with these problems and everything else that is wrong."""
    problems = [*problems]
    terms = checked_alone(terms, problems)
    plan = session.get(RatePlan, terms.plan_id)
    if plan is None:
        problems.append(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    if terms.nas_id is not None and session.get(Nas, terms.nas_id) is None:
        problems.append(FieldProblem("nas_id", Problem.UNKNOWN_NAS))
    if terms.sector_id is not None and session.get(Sector, terms.sector_id) is None:
        problems.append(FieldProblem("sector_id", Problem.UNKNOWN_SECTOR))
    problems += _conflicts(session, operator_id, terms, service_id)
    if problems:
        raise Invalid(*problems)
    return terms


def _conflicts(
    session: Session, operator_id: int, terms: ServiceTerms, service_id: int | None
) -> Iterator[FieldProblem]:
    """Yield what another service of the operator has already, with whose it is."""
    others = (
        select(Subscriber.id, Subscriber.name)
        .join(Service, Service.subscriber_id == Subscriber.id)
        .where(
            Service.operator_id == operator_id,
            Service.state != ServiceState.TERMINATED.value,
            Service.id.is_distinct_from(service_id),
        )
        .limit(1)
    )
    # The same address may live behind two routers, when both services are tied to theirs.
    same_place = or_(Service.nas_id.is_(None), Service.nas_id == terms.nas_id) if terms.nas_id else None
    nearby = others if same_place is None else others.where(same_place)
    taken = Problem.MAC_TAKEN if terms.access_method == AccessMethod.MAC else Problem.NAME_TAKEN
    wanted = [(others.where(Service.name == terms.name.replace("\0", "")), "name", taken)]
    if is_address(terms.framed_ip):
        wanted.append((nearby.where(Service.framed_ip == terms.framed_ip), "framed_ip", Problem.ADDRESS_TAKEN))
    for name in ("framed_ipv6_prefix", "delegated_ipv6_prefix"):
        prefix = getattr(terms, name)
        if is_address(prefix):
            overlaps = or_(
                Service.framed_ipv6_prefix.op("&&")(func.cidr(prefix)),
                Service.delegated_ipv6_prefix.op("&&")(func.cidr(prefix)),
            )
            wanted.append((others.where(overlaps), name, Problem.ADDRESS_TAKEN))
    for query, name, problem in wanted:
        owner = session.execute(query).one_or_none()
        if owner is not None:
            yield FieldProblem(name, problem, {"subscriber": owner.name, "subscriber_id": str(owner.id)})
