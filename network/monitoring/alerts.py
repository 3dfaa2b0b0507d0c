"""Alerts and incidents: opened when something is wrong, closed when it is well again, and told of once each.

A router that is offline is told of after `GATHER`, so that others that fall with it have shown by then: when several
of an operator's routers fall together, or when an outage took the subscribers of a router, that is one incident, and
the alerts of its routers are part of it and not told by themselves. What was never told of is not told to be over.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, text, true, update
from sqlalchemy.orm import Session

from core.crypto import Keyring, SecretUnreadable
from crm.incidents import place_of
from crm.notices import Message, deliver
from db.models import Alert, AlertRecipient, Incident, IncidentMember, Nas, Operator, Router, RouterState, Ticket
from network.monitoring.outage import GATHERED_LEAST, Ended, Gathering, Outage, is_over, network_is_down
from network.monitoring.states import OFFLINE, ONLINE, worth_telling
from network.monitoring.words import Said, alert_said, incident_said

RECIPIENT_PURPOSE = "alert_recipient.address"
KINDS = ("router_down", "wan_congested", "radius_silent", "incident")
"""What a recipient may want to hear of."""
GATHER = timedelta(seconds=60)
TOGETHER = timedelta(minutes=3)
"""Routers that went offline within this time fell together."""
CONGESTED, CLEAR = 0.85, 0.75
"""A WAN is congested at this share of its capacity, and is again clear below the other."""
SUSTAINED = timedelta(minutes=10)
SUSTAINED_SAMPLES = 8
SILENT = timedelta(minutes=15)
GIVEN_UP = timedelta(hours=24)
"""An incident that has not ended by then is closed: who is not back has other reasons."""

_WAN = text("""
SELECT s.nas_id, count(*) AS samples,
       avg(greatest(s.wan_download / r.wan_download, s.wan_upload / coalesce(r.wan_upload, r.wan_download))) AS share
FROM router_sample s JOIN router r USING (nas_id)
WHERE s.at > :since AND s.wan_download IS NOT NULL AND r.wan_download IS NOT NULL AND r.watched
GROUP BY s.nas_id
""")
_BACK = text("""
UPDATE incident_member m SET back_at = :now FROM incident i
WHERE i.id = m.incident_id AND i.closed_at IS NULL AND m.back_at IS NULL AND EXISTS (
    SELECT FROM session s WHERE s.operator_id = m.operator_id AND s.ended_at IS NULL
    AND (s.service_id = m.service_id OR m.service_id IS NULL AND s.user_name = m.user_name))
""")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A router with what is known of it."""

    router: Router
    nas: Nas
    state: RouterState


def evaluate(session: Session, keyring: Keyring, now: datetime) -> None:
    """Open, tell of and close what the last polls say. The caller commits."""
    seen = [
        _Seen(*row)
        for row in session.execute(
            select(Router, Nas, RouterState)
            .join(Nas, Nas.id == Router.nas_id)
            .join(RouterState, RouterState.nas_id == Router.nas_id)
            .where(Router.watched, Nas.enabled)
        )
    ]
    open_alerts = {
        (alert.nas_id, alert.kind): alert for alert in session.scalars(select(Alert).where(Alert.closed_at.is_(None)))
    }
    open_incidents = session.scalars(
        select(Incident).where(Incident.closed_at.is_(None), ~(Incident.by_hand & (Incident.scope == "network")))
    ).all()  # what a person said of the whole network ends with that person
    wan = {row.nas_id: row for row in session.execute(_WAN, {"since": now - SUSTAINED})}
    silent = _silent(session, now)
    telling = _Telling(session, keyring, now)
    for one in seen:
        for kind, wrong in (
            ("router_down", _down(one, now)),
            ("wan_congested", _congested(wan.get(one.nas.id), (one.nas.id, "wan_congested") in open_alerts)),
            ("radius_silent", silent.get(one.nas.id) if one.state.status == ONLINE else None),
        ):
            alert = open_alerts.pop((one.nas.id, kind), None)
            if wrong is not None and alert is None:
                alert = Alert(
                    operator_id=one.nas.operator_id, nas_id=one.nas.id, kind=kind, detail=wrong, opened_at=now
                )
                session.add(alert)
                open_alerts[one.nas.id, kind] = alert
            elif alert is not None and wrong is None:
                _close(alert, one.nas, telling, now)
            elif alert is not None:
                open_alerts[one.nas.id, kind] = alert
    for (nas_id, _kind), alert in open_alerts.items():
        if nas_id not in {one.nas.id for one in seen}:
            alert.closed_at = now  # no longer watched: neither well nor wrong
    session.flush()
    _group(session, seen, open_alerts, open_incidents, telling, now)
    for one in seen:
        for kind in ("router_down", "wan_congested", "radius_silent"):
            alert = open_alerts.get((one.nas.id, kind))
            if alert is None or alert.closed_at is not None or alert.told or alert.incident_id is not None:
                continue
            if kind != "router_down" or now - alert.opened_at >= GATHER:
                alert.told = True
                telling.tell(alert.operator_id, kind, alert_said(kind, one.nas.name, alert.detail, over=False))


def open_incident(session: Session, keyring: Keyring, outage: Outage, now: datetime) -> Incident:
    """Keep an outage as an incident, or add it to one that is open at the same place. The caller commits."""
    incident = session.scalar(
        select(Incident).where(
            Incident.operator_id == outage.operator_id,
            Incident.nas_id == outage.nas_id,
            Incident.sector.in_(("", outage.sector)),
            Incident.site_id.is_(None),
            Incident.closed_at.is_(None),
            Incident.opened_at <= now,  # planned work may be still to come
        )
    )
    if incident is None:
        incident = Incident(
            operator_id=outage.operator_id,
            scope="sector" if outage.sector else "router",
            nas_id=outage.nas_id,
            sector=outage.sector,
            before=outage.before,
            lost=0,
            opened_at=outage.at,
        )
        session.add(incident)
        session.flush()
        nas = session.get_one(Nas, outage.nas_id)
        said = incident_said(
            incident.scope, nas.name, outage.sector, len(outage.members), outage.before, outage.at, over=False
        )
        _Telling(session, keyring, now).tell(outage.operator_id, "incident", said)
    _take_in_proposals(session, outage, incident)
    _add_members(session, incident, outage.members)
    return incident


def propose_incident(session: Session, gathering: Gathering, now: datetime) -> Incident | None:
    """Keep what a site or sector lost as a proposal, or let the one that is open there grow. The caller commits.

    Who belongs to an incident already is none of it; nor is what a person said is no outage. Returns the proposal.
    """
    ids = [member.session_id for member in gathering.members]
    of_others = select(IncidentMember.session_id).join(Incident, Incident.id == IncidentMember.incident_id)
    known = set(
        session.scalars(
            of_others.where(
                IncidentMember.session_id.in_(ids), or_(~Incident.proposed, Incident.closed_at.is_not(None))
            )
        )
    )
    members = [member for member in gathering.members if member.session_id not in known]
    if not members:
        return None
    open_there = select(Incident).where(
        Incident.operator_id == gathering.operator_id, Incident.closed_at.is_(None), Incident.opened_at <= now
    )
    there = Incident.nas_id.in_({member.nas_id for member in members})
    told_of = or_(
        Incident.by_hand & or_(Incident.scope == "network", there),
        # A router that is certainly out explains who was lost at it a little before.
        ~Incident.by_hand & ~Incident.proposed & (Incident.scope == "router") & there,
    )
    if session.scalar(open_there.where(told_of).limit(1)) is not None:
        return None
    here = or_(Incident.sector_id.is_(None), Incident.sector_id == gathering.sector_id)
    if gathering.sector_id is None:
        here = true()
    incident = session.scalar(
        open_there.where(Incident.site_id == gathering.site_id, ~Incident.by_hand, here).order_by(Incident.id).limit(1)
    )
    if incident is None:
        if len(members) < GATHERED_LEAST:
            return None
        incident = Incident(
            operator_id=gathering.operator_id,
            scope="sector",
            nas_id=members[0].nas_id,
            site_id=gathering.site_id,
            sector_id=gathering.sector_id,
            proposed=True,
            before=gathering.before,
            lost=0,
            opened_at=gathering.at,
        )
        session.add(incident)
        session.flush()
    if gathering.sector_id is None:
        incident.scope, incident.sector_id = "site", None
    incident.before = max(incident.before, gathering.before)
    _add_members(session, incident, members)
    return incident


def _take_in_proposals(session: Session, outage: Outage, incident: Incident) -> None:
    """Remove the guesses that an outage makes certain; tickets that hang on one hang on its incident then."""
    ids = [member.session_id for member in outage.members]
    guessed = (
        select(IncidentMember.incident_id)
        .join(Incident, Incident.id == IncidentMember.incident_id)
        .where(IncidentMember.session_id.in_(ids), Incident.proposed, Incident.closed_at.is_(None))
    )
    found = session.scalars(guessed.distinct()).all()
    if found:
        session.execute(update(Ticket).where(Ticket.incident_id.in_(found)).values(incident_id=incident.id))
        session.execute(delete(Incident).where(Incident.id.in_(found)))


def _add_members(session: Session, incident: Incident, members: Sequence[Ended]) -> None:
    there = set(
        session.scalars(select(IncidentMember.session_id).where(IncidentMember.incident_id == incident.id)).all()
    )
    session.add_all(
        IncidentMember(
            incident_id=incident.id,
            session_id=member.session_id,
            operator_id=member.operator_id,
            nas_id=member.nas_id,
            service_id=member.service_id,
            user_name=member.user_name,
            ended_at=member.ended_at,
            cause=member.cause,
        )
        for member in members
        if member.session_id not in there
    )
    session.flush()
    incident.lost = len(there | {member.session_id for member in members})


def follow_incidents(session: Session, keyring: Keyring, now: datetime) -> None:
    """Note who is back, and close the incidents that are over. The caller commits."""
    session.execute(_BACK, {"now": now})
    for incident in session.scalars(
        select(Incident).where(Incident.closed_at.is_(None), Incident.scope != "network", ~Incident.by_hand)
    ).all():
        back = (
            session.scalar(
                select(func.count())
                .select_from(IncidentMember)
                .where(IncidentMember.incident_id == incident.id, IncidentMember.back_at.is_not(None))
            )
            or 0
        )
        if is_over(incident.lost, back) or now - incident.opened_at > GIVEN_UP:
            incident.closed_at = now
            if incident.proposed:  # nobody was told of it
                continue
            place, sector = place_of(session, incident)
            said = incident_said(incident.scope, place, sector, incident.lost, incident.before, now, over=True)
            _Telling(session, keyring, now).tell(incident.operator_id, "incident", said)


class _Telling:
    """Writes messages to those who want to hear of a kind, each in their language."""

    def __init__(self, session: Session, keyring: Keyring, now: datetime) -> None:
        self._session = session
        self._keyring = keyring
        self._now = now

    def tell(self, operator_id: int, kind: str, said: Said) -> None:
        operator = self._session.get_one(Operator, operator_id)
        recipients = self._session.scalars(
            select(AlertRecipient).where(
                AlertRecipient.operator_id == operator_id,
                AlertRecipient.active,
                AlertRecipient.kinds.contains([kind]),
            )
        ).all()
        messages = []
        for recipient in recipients:
            try:
                address = self._keyring.open(RECIPIENT_PURPOSE, recipient.address)
            except SecretUnreadable:
                continue
            subject, body = said.written(recipient.language, operator.timezone, operator.name, self._now)
            messages.append(Message(kind, recipient.channel, address, recipient.language, subject, body))
        deliver(self._session, self._keyring, operator_id, messages)


def _close(alert: Alert, nas: Nas, telling: _Telling, now: datetime) -> None:
    alert.closed_at = now
    if alert.told:
        detail = {**alert.detail, "minutes": round((now - alert.opened_at).total_seconds() / 60)}
        telling.tell(alert.operator_id, alert.kind, alert_said(alert.kind, nas.name, detail, over=True))


def _group(
    session: Session,
    seen: Sequence[_Seen],
    open_alerts: dict[tuple[int, str], Alert],
    open_incidents: Iterable[Incident],
    telling: _Telling,
    now: datetime,
) -> None:
    """Put the alerts of routers that fell together, or whose outage is an incident already, under one incident."""
    watched: dict[int, list[_Seen]] = defaultdict(list)
    for one in seen:
        watched[one.nas.operator_id].append(one)
    by_nas = {
        incident.nas_id: incident
        for incident in open_incidents
        if incident.scope == "router" and incident.opened_at <= now
    }
    network = {incident.operator_id: incident for incident in open_incidents if incident.scope == "network"}
    for operator_id, routers in watched.items():
        down = [
            alert
            for one in routers
            if (alert := open_alerts.get((one.nas.id, "router_down"))) is not None and alert.closed_at is None
        ]
        for alert in down:
            if alert.incident_id is None and not alert.told and alert.nas_id in by_nas:
                alert.incident_id = by_nas[alert.nas_id].id
        incident = network.get(operator_id)
        fell = [alert for alert in down if not alert.told and alert.opened_at > now - TOGETHER]
        if incident is None and network_is_down(len(fell), len(routers)):
            incident = Incident(
                operator_id=operator_id, scope="network", before=len(routers), lost=len(fell),
                opened_at=min(alert.opened_at for alert in fell),
            )  # fmt: skip
            session.add(incident)
            session.flush()
            said = incident_said("network", "", "", len(fell), len(routers), incident.opened_at, over=False)
            telling.tell(operator_id, "incident", said)
        if incident is None:
            continue
        for alert in fell:
            if alert.incident_id is None:
                alert.incident_id = incident.id
        members = [alert for alert in down if alert.incident_id == incident.id]
        incident.lost = max(incident.lost, len(members))
        if not members:
            incident.closed_at = now
            said = incident_said("network", "", "", incident.lost, incident.before, now, over=True)
            telling.tell(operator_id, "incident", said)


def _down(one: _Seen, now: datetime) -> dict[str, Any] | None:
    state = one.state
    if state.status != OFFLINE:
        return None
    if not worth_telling(state.status_since, int(state.facts.get("times_down", 0)), now):
        return None
    return {"cause": state.cause, "since": state.status_since.isoformat()}


def _congested(row: Any, is_open: bool) -> dict[str, Any] | None:
    if row is None or (row.samples < SUSTAINED_SAMPLES and not is_open):
        return None
    return {"percent": round(row.share * 100)} if row.share >= (CLEAR if is_open else CONGESTED) else None


def _silent(session: Session, now: datetime) -> dict[int, dict[str, Any]]:
    """Return the NAS with subscribers on them from which RADIUS has not been heard for a while."""
    rows = session.execute(
        text(
            "SELECT h.nas_id, h.last_packet_at FROM nas_heard h JOIN router_state s USING (nas_id)"
            " WHERE h.last_packet_at < :silent AND ((s.facts ->> 'authenticated')::float > 0 OR EXISTS ("
            "  SELECT FROM session WHERE session.nas_id = h.nas_id AND session.ended_at IS NULL))"
        ),
        {"silent": now - SILENT},
    )
    return {row.nas_id: {"since": row.last_packet_at.isoformat()} for row in rows}
