"""Writing an import: all of it in one transaction, in a few statements for thousands of rows, or nothing of it.

Rows that cannot be written are kept with the reason, and do not stop the others. What was written is noted in each
row, with the version that the service had then, so that undoing it later can tell whether anybody changed it since.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from aaa.facts import AccessMethod, ServiceState
from core.i18n import N_, translator
from crm.licences import standing_of
from crm.problems import FieldProblem, Problem
from db.audit import Actor, record
from db.models import (
    CustomField,
    CustomValue,
    ImportBatch,
    ImportRow,
    Operator,
    Service,
    ServiceMac,
    ShadowSecret,
    Subscriber,
)
from network.importing.matching import Action
from network.importing.staging import BARRED, STEP, Checked, barred, examine

Progress = Callable[[int, int], None]
"""Called with how many rows more are done, and how many could not be. May raise to stop: nothing is written then."""

SUSPENDED_THERE = N_("It was disabled where it was imported from.")


def write(session: Session, actor: Actor, batch: ImportBatch, now: datetime, progress: Progress) -> Mapping[str, int]:
    """Make subscribers and services of a batch's rows, and return what it came to. The caller commits, or does not.

    Harmless when run twice: a batch that is written stays as it is.
    """
    session.refresh(batch, with_for_update=True)
    if batch.state == "written":
        return dict(batch.counts)
    checked = examine(session, batch)
    new = [one for one in checked if one.details is not None and one.action in (Action.NEW, Action.ADD)]
    new, waiting = _that_fit(session, batch.operator_id, new)
    changed = [one for one in checked if one.details is not None and one.action is Action.UPDATE]
    ignored = [one for one in checked if one.action is Action.IGNORE]
    refused = [one for one in checked if one.details is None and one.action is not Action.IGNORE]
    outcomes = [{"id": one.row.id, "state": "ignored"} for one in ignored]
    outcomes += [{"id": one.row.id, "state": "bad"} for one in refused]
    _note(session, outcomes)
    progress(len(ignored), len(refused))
    created = 0
    for begin in range(0, len(new), STEP):
        step = new[begin : begin + STEP]
        written = _create(session, batch, step, now)
        created += written
        progress(written, len(step) - written)
    for begin in range(0, len(changed), STEP):
        step = changed[begin : begin + STEP]
        _update(session, batch, step)
        progress(len(step), 0)
    counts = {
        "created": created,
        "updated": len(changed),
        "ignored": len(ignored),
        "bad": len(refused) + len(new) - created,
    }
    if waiting:
        counts["waiting"] = len(waiting)
        counts["waiting_in"] = _put_aside(session, batch, waiting)
    batch.state, batch.counts, batch.written_at = "written", counts, now
    batch.problem = batch.detail = ""
    session.flush()
    record(session, actor, "import.write", "import", batch.id, None, {"source": batch.title, **counts})
    return counts


def _that_fit(session: Session, operator_id: int, new: list[Checked]) -> tuple[list[Checked], list[Checked]]:
    """Part the new ones into those that the licence has places for, and the rest."""
    room = standing_of(session, operator_id, hold=True).room if new else None
    return (new, []) if room is None else (new[:room], new[room:])


def _put_aside(session: Session, batch: ImportBatch, waiting: Sequence[Checked]) -> int:
    """Move rows, with all that was decided about them, into an import of their own, to be written when they fit."""
    rest = ImportBatch(
        operator_id=batch.operator_id,
        staff_id=batch.staff_id,
        nas_id=batch.nas_id,
        source=batch.source,
        title=batch.title,
        state="found",
        options=batch.options,
        tie=batch.tie,
        paid_until=batch.paid_until,
    )
    session.add(rest)
    session.flush()
    moved = update(ImportRow).where(ImportRow.id.in_([one.row.id for one in waiting])).values(batch_id=rest.id)
    session.execute(moved.execution_options(synchronize_session=False))
    return rest.id


def problem_document(problem: FieldProblem) -> dict[str, object]:
    return {"field": problem.field, "problem": problem.problem.value, "detail": dict(problem.detail)}


def is_bad(row: ImportRow) -> bool:
    """Tell whether a row that was to be written was not, or could not be."""
    return row.state == "bad" or (row.action != Action.IGNORE and (barred(row) or bool(row.problems)))


def _note(session: Session, outcomes: Sequence[dict[str, Any]]) -> None:
    """Write what came of rows, and take out their passwords: those stand in the services now, or nowhere."""
    if outcomes:
        session.execute(update(ImportRow), [{**outcome, "password": None} for outcome in outcomes])


def _create(session: Session, batch: ImportBatch, step: Sequence[Checked], now: datetime) -> int:
    subscribers = session.scalars(
        insert(Subscriber).returning(Subscriber.id, sort_by_parameter_order=True),
        [{"operator_id": batch.operator_id, **_details(one)} for one in step],
    ).all()
    lines = [(one, number) for one, number in zip(step, subscribers, strict=True) if one.terms is not None]
    suspension = translator(session.get_one(Operator, batch.operator_id).locale)(SUSPENDED_THERE)
    made: Sequence[Any] = ()
    if lines:
        made = session.execute(
            upsert(Service)
            .on_conflict_do_nothing(index_elements=["operator_id", "name"], index_where=text("state <> 'terminated'"))
            .returning(Service.id, Service.name, Service.version),
            [_service(one, batch, subscriber_id, suspension, now) for one, subscriber_id in lines],
        ).all()
    services = {row.name: row for row in made}
    outcomes: list[dict[str, Any]] = [
        {"id": one.row.id, "state": "created", "service_id": None, "subscriber_id": number, "service_version": None,
         "subscriber_version": 1}
        for one, number in zip(step, subscribers, strict=True) if one.terms is None
    ]  # fmt: skip
    macs: list[dict[str, Any]] = []
    shadows: list[dict[str, Any]] = []
    orphans: list[int] = []
    for one, subscriber_id in lines:
        assert one.terms is not None
        service = services.get(one.terms.name)
        if service is None:  # somebody took the name while this was being written
            orphans.append(subscriber_id)
            taken = problem_document(FieldProblem("name", Problem.TAKEN))
            outcomes.append({"id": one.row.id, "state": "bad", "problems": [taken]})
            continue
        outcomes.append(
            {
                "id": one.row.id,
                "state": "created",
                "service_id": service.id,
                "subscriber_id": subscriber_id,
                "service_version": service.version,
                "subscriber_version": 1,
            }
        )
        macs += [{"service_id": service.id, "operator_id": batch.operator_id, "mac": mac} for mac in one.terms.macs]
        shadows += _shadow(batch, one.row, service.id)
    if orphans:
        session.execute(delete(Subscriber).where(Subscriber.id.in_(orphans)))
    if macs:
        session.execute(insert(ServiceMac), macs)
    written = {outcome["id"]: outcome for outcome in outcomes if outcome["state"] == "created"}
    for one in step:
        if one.row.custom and (of := written.get(one.row.id)) is not None:
            _keep_own(session, one.row, of["subscriber_id"], of["service_id"])
    _keep_shadows(session, shadows)
    for state in ("created", "bad"):
        _note(session, [outcome for outcome in outcomes if outcome["state"] == state])
    return len(written)


def _details(one: Checked) -> dict[str, Any]:
    assert one.details is not None
    return {name: getattr(one.details, name) for name in type(one.details).__slots__}


def _service(one: Checked, batch: ImportBatch, subscriber_id: int, suspension: str, now: datetime) -> dict[str, Any]:
    terms = one.terms
    assert terms is not None
    # Who was disabled in the router's own list was cut off by somebody; taking over must not let them back in.
    cut = one.row.disabled and terms.access_method in (AccessMethod.PPPOE, AccessMethod.HOTSPOT)
    return {
        "operator_id": batch.operator_id,
        "subscriber_id": subscriber_id,
        "plan_id": terms.plan_id,
        "nas_id": terms.nas_id,
        "access_method": terms.access_method,
        "name": terms.name,
        "password": one.row.password,
        "state": (ServiceState.SUSPENDED if cut else ServiceState.ACTIVE).value,
        "suspended_at": now if cut else None,
        "suspension_cause": "staff" if cut else None,
        "suspension_detail": suspension if cut else "",
        "activated_at": now,
        "paid_until": one.row.paid_until or batch.paid_until,
        "framed_ip": terms.framed_ip,
        "mac_binding": terms.mac_binding,
    }


def _update(session: Session, batch: ImportBatch, step: Sequence[Checked]) -> None:
    targets = [one.row.target_id for one in step]
    services = {
        service.id: service
        for service in session.scalars(
            select(Service).where(Service.id.in_(targets), Service.operator_id == batch.operator_id).with_for_update()
        )
    }
    people = {
        person.id: person
        for person in session.scalars(
            select(Subscriber).where(Subscriber.id.in_({service.subscriber_id for service in services.values()}))
        )
    }
    pending = []
    for one in step:
        service = services[one.row.target_id or 0]
        person = people[service.subscriber_id]
        password = service.password
        before = {**_overwrite(one, service, person), "own": _keep_own(session, one.row, person.id, service.id)}
        pending.append((one, service, person, password, before))
    session.flush()
    shadows: list[dict[str, Any]] = []
    outcomes = []
    for one, service, person, password, before in pending:
        outcomes.append(
            {
                "id": one.row.id,
                "state": "updated",
                "service_id": service.id,
                "subscriber_id": person.id,
                "service_version": service.version,
                "subscriber_version": person.version,
                "before": before,
                "previous_password": password if one.row.password is not None else None,
            }
        )
        shadows += _shadow(batch, one.row, service.id)
    _note(session, outcomes)
    _keep_shadows(session, shadows)


def replaced_by(row: ImportRow, service: Service, person: Subscriber) -> dict[str, dict[str, object]]:
    """Return what an update would put where: fields of the service, and those of the subscriber that are empty."""
    wanted = {"plan_id": row.plan_id, "framed_ip": row.framed_ip, "paid_until": row.paid_until}
    lines = {name: value for name, value in wanted.items() if value is not None and value != getattr(service, name)}
    filled = {
        name: getattr(row, name)
        for name in ("email", "phone", "tax_id", "address", "latitude", "longitude")
        if getattr(row, name) is not None and getattr(person, name) is None
    }
    return {"service": lines, "subscriber": filled}


def _overwrite(one: Checked, service: Service, person: Subscriber) -> dict[str, object]:
    """Put a row into the service that it updates, and return what stood there."""
    wanted = replaced_by(one.row, service, person)
    before = {name: _plain(getattr(service, name)) for name in wanted["service"]}
    for name, value in wanted["service"].items():
        setattr(service, name, value)
    for name, value in wanted["subscriber"].items():
        setattr(person, name, value)
    if one.row.password is not None and service.access_method in (AccessMethod.PPPOE, AccessMethod.HOTSPOT):
        service.password = one.row.password
    return {"service": before, "subscriber": sorted(wanted["subscriber"])}


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int) else str(value)


def _keep_own(session: Session, row: ImportRow, subscriber_id: int, service_id: int | None) -> list[int]:
    """Put what a row has of the operator's own fields where nothing stands yet, and return the ids of what was put."""
    if not row.custom:
        return []
    fields = session.execute(
        select(CustomField.id, CustomField.subject).where(
            CustomField.operator_id == row.operator_id, CustomField.id.in_([int(field_id) for field_id in row.custom])
        )
    )
    values = [
        {
            "operator_id": row.operator_id,
            "field_id": field.id,
            "subscriber_id": subscriber_id if field.subject == "subscriber" else None,
            "service_id": service_id if field.subject == "service" else None,
            "value": row.custom[str(field.id)],
        }
        for field in fields
        if field.subject == "subscriber" or service_id is not None
    ]
    if not values:
        return []
    return list(session.scalars(upsert(CustomValue).on_conflict_do_nothing().returning(CustomValue.id), values))


def _shadow(batch: ImportBatch, row: ImportRow, service_id: int) -> list[dict[str, Any]]:
    if batch.source != "secrets" or batch.nas_id is None:
        return []
    return [{"service_id": service_id, "operator_id": batch.operator_id, "nas_id": batch.nas_id, "secret": row.name}]


def _keep_shadows(session: Session, shadows: Sequence[dict[str, Any]]) -> None:
    if shadows:
        statement = upsert(ShadowSecret)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["service_id"],
                set_={"nas_id": statement.excluded.nas_id, "secret": statement.excluded.secret, "state": "local"},
            ),
            [*shadows],
        )


__all__ = ["BARRED", "Progress", "is_bad", "problem_document", "replaced_by", "write"]
