"""Incidents as subscribers meet them: who is concerned, what they see meanwhile, and how an incident ends.

The monitor opens an incident when many sessions are lost together, and closes it when they are back
(`network.monitoring`); a person opens one for what no router shows, or for planned work, and closes it again. Telling
those who are concerned is `crm.incident_messages`.

What the monitor only guesses, from a few subscribers of one sector or site that went off line within minutes, is
`proposed`: it stands before the staff and nobody else, until a person says that it is an outage, or that it is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import (
    AccountingSession,
    Alert,
    Incident,
    IncidentMember,
    Nas,
    Sector,
    Service,
    Site,
)

SCOPES = ("network", "router", "sector")
LONGEST = {"title": 200, "cause": 500, "notes": 5000}
AHEAD = timedelta(days=90)

# Where a service is: at the NAS and port of its newest session, or where it is bound to when it never had one.
_AT_PLACE = """
SELECT s.id FROM service s LEFT JOIN LATERAL (
    SELECT nas_id, nas_port_id FROM session WHERE session.service_id = s.id ORDER BY started_at DESC LIMIT 1
) AS newest ON true
WHERE s.operator_id = :operator_id AND s.state NOT IN ('terminated', 'pending')
  AND coalesce(newest.nas_id, s.nas_id) = ANY(:nas_ids) AND (:sector = '' OR newest.nas_port_id = :sector)
"""


@dataclass(frozen=True, slots=True)
class IncidentDetails:
    """What a person enters. With scope network it concerns every subscriber; `sector` is a port of the router."""

    scope: str
    title: str
    nas_id: int | None = None
    sector: str = ""
    begins: datetime | None = None  # now
    expected_until: datetime | None = None
    planned: bool = False
    tell: bool = False
    notes: str = ""


def open_by_hand(session: Session, actor: Actor, details: IncidentDetails, now: datetime) -> Incident:
    """Open an incident, or announce planned work. Raises Invalid."""
    _check(session, actor, details, now)
    incident = Incident(
        operator_id=actor.operator_id,
        scope=details.scope,
        nas_id=details.nas_id if details.scope != "network" else None,
        sector=details.sector.strip() if details.scope == "sector" else "",
        before=0,
        lost=0,
        by_hand=True,
        planned=details.planned,
        title=details.title.strip(),
        notes=details.notes.strip(),
        expected_until=details.expected_until,
        tell=details.tell,
        opened_by=actor.staff_id,
        opened_at=details.begins or now,
    )
    session.add(incident)
    session.flush()
    record(session, actor, "incident.open", "incident", incident.id, None, {
        "title": incident.title, "scope": incident.scope, "at": incident.opened_at, "tell": details.tell,
    })  # fmt: skip
    return incident


def change_incident(
    session: Session, actor: Actor, incident: Incident, *, title: str, cause: str, notes: str,
    expected_until: datetime | None,
) -> None:  # fmt: skip
    """Change what is said of an incident. Raises Invalid."""
    new = {"title": title.strip(), "cause": cause.strip(), "notes": notes.strip(), "expected_until": expected_until}
    problems = _too_long(new)
    if expected_until is not None and expected_until <= incident.opened_at:
        problems.append(FieldProblem("expected_until", Problem.WRONG_SPAN))
    if problems:
        raise Invalid(*problems)
    before = {name: getattr(incident, name) for name in new}
    for name, value in new.items():
        setattr(incident, name, value)
    session.flush()
    record(session, actor, "incident.change", "incident", incident.id, before, new)


def place_of(session: Session, incident: Incident) -> tuple[str, str]:
    """Return where an incident is: the name of a site or router, and of what there, a sector or port; or ""."""
    if incident.site_id is not None:
        sector = session.get(Sector, incident.sector_id) if incident.sector_id is not None else None
        return session.get_one(Site, incident.site_id).name, sector.name if sector is not None else ""
    nas = session.get(Nas, incident.nas_id) if incident.nas_id is not None else None
    return nas.name if nas is not None else "", incident.sector


def confirm_incident(session: Session, actor: Actor, incident: Incident) -> None:
    """Say that what was proposed is an outage: from now on it is one like any other. Raises Invalid."""
    session.refresh(incident, with_for_update=True)
    if not incident.proposed or incident.closed_at is not None:
        raise Invalid(FieldProblem("proposed", Problem.ALREADY_DONE))
    incident.proposed = False
    session.flush()
    record(session, actor, "incident.confirm", "incident", incident.id, {"proposed": True}, {"proposed": False})


def ask_to_tell(session: Session, actor: Actor, incident: Incident, *, tell: bool) -> None:
    """Have the subscribers told within seconds, or have them not told. Raises Invalid once they were."""
    if incident.told_at is not None:
        raise Invalid(FieldProblem("tell", Problem.ALREADY_DONE))
    before, incident.tell = incident.tell, tell
    if tell and incident.proposed:
        confirm_incident(session, actor, incident)
        incident.tell = True
    session.flush()
    record(session, actor, "incident.tell", "incident", incident.id, {"tell": before}, {"tell": tell})


def close_incident(session: Session, actor: Actor, incident: Incident, cause: str, now: datetime) -> None:
    """End an incident; planned work that has not begun is called off. Raises Invalid when it is closed already."""
    session.refresh(incident, with_for_update=True)
    if incident.closed_at is not None:
        raise Invalid(FieldProblem("closed_at", Problem.ALREADY_DONE))
    problems = _too_long({"cause": cause})
    if problems:
        raise Invalid(*problems)
    incident.closed_at, incident.closed_by = now, actor.staff_id
    incident.cause = cause.strip() or incident.cause
    session.flush()
    record(session, actor, "incident.close", "incident", incident.id, None, {"cause": incident.cause})


def incident_for(session: Session, service: Service, now: datetime) -> Incident | None:
    """Return the open incident that takes a service's connection, the newest; None where there is none to show."""
    query = select(Incident).where(
        Incident.operator_id == service.operator_id,
        Incident.closed_at.is_(None),
        Incident.opened_at <= now,
        ~Incident.proposed,
        or_(Incident.tell.is_(None), Incident.tell.is_(True)),
    )
    found = session.scalars(query.order_by(Incident.opened_at.desc()).limit(50)).all()
    if not found:
        return None
    newest = session.execute(
        select(AccountingSession.nas_id, AccountingSession.nas_port_id)
        .where(AccountingSession.service_id == service.id)
        .order_by(AccountingSession.started_at.desc())
        .limit(1)
    ).one_or_none()
    place = (newest.nas_id, newest.nas_port_id) if newest else (service.nas_id, "")
    return next((incident for incident in found if _concerns(session, incident, service, place)), None)


def incident_at(session: Session, operator_id: int, nas_id: int, now: datetime) -> Incident | None:
    """Return the open incident that takes all of a NAS, the newest that may be told; None where there is none."""
    query = select(Incident).where(
        Incident.operator_id == operator_id,
        Incident.closed_at.is_(None),
        Incident.opened_at <= now,
        ~Incident.proposed,
        or_(Incident.tell.is_(None), Incident.tell.is_(True)),
        Incident.scope != "sector",
    )
    for incident in session.scalars(query.order_by(Incident.opened_at.desc()).limit(50)):
        everywhere = incident.by_hand and incident.scope == "network"
        if everywhere or nas_id in _nas_ids(session, incident):
            return incident
    return None


def _concerns(session: Session, incident: Incident, service: Service, place: tuple[int | None, str]) -> bool:
    if not incident.by_hand and incident.scope != "network":
        return _is_member(session, incident, service)
    if incident.by_hand and incident.scope == "network":
        return True
    nas_id, sector = place
    return nas_id in _nas_ids(session, incident) and incident.sector in ("", sector)


def concerned_services(session: Session, incident: Incident) -> set[int]:
    """Return the services that an incident takes the connection of, as far as is known now."""
    if not incident.by_hand and incident.scope != "network":
        members = select(IncidentMember.service_id).where(
            IncidentMember.incident_id == incident.id, IncidentMember.service_id.is_not(None)
        )
        if incident.closed_at is None:
            members = members.where(IncidentMember.back_at.is_(None))
        return {each for each in session.scalars(members) if each is not None}
    if incident.by_hand and incident.scope == "network":
        every = select(Service.id).where(
            Service.operator_id == incident.operator_id, Service.state.not_in(("terminated", "pending"))
        )
        return set(session.scalars(every))
    return services_at(session, incident.operator_id, _nas_ids(session, incident), incident.sector)


def services_at(session: Session, operator_id: int, nas_ids: Sequence[int], sector: str = "") -> set[int]:
    """Return the services whose newest session is at one of some NAS, and at a port of it where one is named."""
    place = {"operator_id": operator_id, "nas_ids": list(nas_ids), "sector": sector}
    return set(session.scalars(text(_AT_PLACE), place))


def _nas_ids(session: Session, incident: Incident) -> list[int]:
    if incident.scope != "network":
        return [incident.nas_id] if incident.nas_id is not None else []
    return list(
        session.scalars(select(Alert.nas_id).where(Alert.incident_id == incident.id, Alert.closed_at.is_(None)))
    )


def _is_member(session: Session, incident: Incident, service: Service) -> bool:
    """Tell whether an incident ended a session of a service that is not back."""
    member = select(IncidentMember.session_id).where(
        IncidentMember.incident_id == incident.id,
        IncidentMember.service_id == service.id,
        IncidentMember.back_at.is_(None),
    )
    return session.scalar(member.limit(1)) is not None


def _check(session: Session, actor: Actor, details: IncidentDetails, now: datetime) -> None:
    problems = _too_long({"title": details.title, "notes": details.notes})
    if details.scope not in SCOPES:
        problems.append(FieldProblem("scope", Problem.UNKNOWN_CHOICE))
    elif details.scope != "network":
        nas = session.get(Nas, details.nas_id) if details.nas_id is not None else None
        if nas is None or nas.operator_id != actor.operator_id:
            problems.append(FieldProblem("nas_id", Problem.UNKNOWN_NAS if details.nas_id else Problem.REQUIRED))
        if details.scope == "sector" and not details.sector.strip():
            problems.append(FieldProblem("sector", Problem.REQUIRED))
    if not details.title.strip():
        problems.append(FieldProblem("title", Problem.REQUIRED))
    begins = details.begins or now
    if details.planned and details.begins is None:
        problems.append(FieldProblem("begins", Problem.REQUIRED))
    elif begins > now + AHEAD:
        problems.append(FieldProblem("begins", Problem.TOO_FAR_AHEAD, {"latest": f"{now + AHEAD:%Y-%m-%d}"}))
    elif not details.planned and begins > now:
        problems.append(FieldProblem("begins", Problem.IN_THE_FUTURE))
    elif begins < now - timedelta(days=31):
        problems.append(FieldProblem("begins", Problem.TOO_LONG_AGO))
    if details.expected_until is not None and details.expected_until <= begins:
        problems.append(FieldProblem("expected_until", Problem.WRONG_SPAN))
    if problems:
        raise Invalid(*problems)


def _too_long(values: dict[str, Any]) -> list[FieldProblem]:
    return [
        FieldProblem(name, Problem.TOO_LONG, {"limit": str(LONGEST[name])})
        for name, value in values.items()
        if name in LONGEST and len(value) > LONGEST[name]
    ]
