"""Telling subscribers of incidents: who is told when, of the beginning and of the end, and in which words.

A person's word goes before the settings: `tell` of an incident says whether subscribers are told, and only where it is
None does the operator's choice decide, for outages that last longer than the delay and concern enough people.

Who was told that there is a fault is told when it is solved, and nobody else. A message that did not leave before the
end is dropped: nobody learns of an outage after it is over. Several monitors may call `tell_due()`: an incident is
locked while its subscribers are told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_, translator
from crm.incidents import concerned_services
from crm.messages import Told, Value, Voice, preferences_of, shown
from crm.notices import deliver
from db.models import Incident, IncidentMember, MessageSettings, Notification, Operator, Service, Subscriber

if TYPE_CHECKING:
    from sqlalchemy.orm import sessionmaker

AT_ONCE = 500
"""Subscribers whose messages are written together."""
GROWING = timedelta(hours=1)
"""So long after the first were told, those who lose their connection to the same incident are told too."""
GIVEN_UP = timedelta(hours=24)
"""An outage that is noticed later than this is not told of any more."""

_FAULT = N_("a fault of the network")
_WORK = N_("work on the network")
_EXPECTED = N_("It should be over by %(when)s.")
_CAUSE = N_("The cause: %(cause)s.")


@dataclass(frozen=True, slots=True)
class Reach:
    """How many subscribers an incident or a selection concerns, and how many of them can be told."""

    subscribers: int
    reached: int

    @property
    def unreached(self) -> int:
        return self.subscribers - self.reached


def reach_of(session: Session, keyring: Keyring, incident: Incident) -> Reach:
    """Return how many would be told now, without telling anybody."""
    voice = Voice(session, keyring, incident.operator_id)
    subscribers = reached = 0
    for some in _subscribers(session, concerned_services(session, incident)):
        wishes = preferences_of(session, [each.id for each in some])
        subscribers += len(some)
        reached += sum(bool(voice.addresses(each, wishes.get(each.id), urgent=True)) for each in some)
    return Reach(subscribers, reached)


def tell_due(sessions: "sessionmaker[Session]", keyring: Keyring, now: datetime) -> int:
    """Tell subscribers of what has begun and ended, and return how many messages were written.

    Opens and commits its own sessions, one for each incident.
    """
    with sessions() as session:
        due = [*_due_opened(session, now), *_due_over(session)]
    written = 0
    for incident_id in due:
        with sessions() as session:
            incident = session.scalar(
                select(Incident).where(Incident.id == incident_id).with_for_update(skip_locked=True)
            )
            if incident is None:
                continue
            if incident.closed_at is None:
                written += _tell_opened(session, keyring, incident, now)
            elif incident.told_over_at is None:
                written += _tell_over(session, keyring, incident, now)
            session.commit()
    return written


def _due_opened(session: Session, now: datetime) -> list[int]:
    asked = Incident.tell.is_(True) & (Incident.planned | (Incident.opened_at <= now))
    delay = func.make_interval(0, 0, 0, 0, 0, func.coalesce(MessageSettings.incident_delay, 10))
    by_itself = (
        Incident.tell.is_(None)
        & ~Incident.by_hand
        & MessageSettings.incident_tell
        & (Incident.lost >= MessageSettings.incident_least)
        & (Incident.opened_at + delay <= now)
        & (Incident.opened_at > now - GIVEN_UP)
    )
    grown = exists().where(
        IncidentMember.incident_id == Incident.id,
        IncidentMember.ended_at > Incident.told_at - timedelta(minutes=1),
        IncidentMember.back_at.is_(None),
    )
    query = (
        select(Incident.id)
        .outerjoin(MessageSettings, MessageSettings.operator_id == Incident.operator_id)
        .where(
            Incident.closed_at.is_(None),
            ~Incident.proposed,
            or_(
                Incident.told_at.is_(None) & (asked | by_itself),
                (Incident.told_at > now - GROWING) & ~Incident.by_hand & grown,
            ),
        )
    )
    return list(session.scalars(query.order_by(Incident.id)))


def _due_over(session: Session) -> list[int]:
    query = select(Incident.id).where(
        Incident.closed_at.is_not(None), Incident.told_at.is_not(None), Incident.told_over_at.is_(None)
    )
    return list(session.scalars(query.order_by(Incident.id).limit(100)))


def _tell_opened(session: Session, keyring: Keyring, incident: Incident, now: datetime) -> int:
    event = "incident_planned" if incident.planned and incident.opened_at > now else "incident"
    told = set(session.scalars(_told(incident)))
    services = concerned_services(session, incident)
    incident.told_at = incident.told_at or now
    return _tell(session, keyring, incident, event, services, told)


def _tell_over(session: Session, keyring: Keyring, incident: Incident, now: datetime) -> int:
    assert incident.closed_at is not None
    incident.told_over_at = now
    dropped = session.scalars(
        update(Notification)
        .where(Notification.incident_id == incident.id, Notification.state == "waiting", Notification.attempts == 0)
        .values(state="dropped", finished_at=now)
        .returning(Notification.subscriber_id)
        .execution_options(synchronize_session=False)
    ).all()
    told = set(session.scalars(_told(incident))) - set(dropped)
    if incident.planned:
        event = "incident_cancelled" if incident.closed_at < incident.opened_at else ""
    else:
        event = "incident_over"
        if incident.closed_by is None:  # nobody is told that it is solved for whom it is not
            told &= set(session.scalars(_back(incident)))
    if not event or not told:
        return 0
    return _tell_subscribers(session, keyring, incident, event, sorted(told))


def _told(incident: Incident) -> Any:
    return select(Notification.subscriber_id).where(
        Notification.incident_id == incident.id,
        Notification.kind.in_(("incident", "incident_planned")),
        Notification.subscriber_id.is_not(None),
        Notification.state != "dropped",
    )


def _back(incident: Incident) -> Any:
    if incident.scope == "network":
        return _told(incident)
    return (
        select(Service.subscriber_id)
        .join(IncidentMember, IncidentMember.service_id == Service.id)
        .where(IncidentMember.incident_id == incident.id, IncidentMember.back_at.is_not(None))
    )


def _tell(
    session: Session, keyring: Keyring, incident: Incident, event: str, services: set[int], told: set[int]
) -> int:
    owners: set[int] = set()
    for some in _parts(sorted(services)):
        owners.update(session.scalars(select(Service.subscriber_id).where(Service.id.in_(some))))
    return _tell_subscribers(session, keyring, incident, event, sorted(owners - told))


def _tell_subscribers(
    session: Session, keyring: Keyring, incident: Incident, event: str, subscribers: Sequence[int]
) -> int:
    voice = Voice(session, keyring, incident.operator_id)
    values = incident_values(session, incident)
    told = Told(urgent=event in ("incident", "incident_over"), incident_id=incident.id)
    written = 0
    for some in _parts(subscribers):
        wishes = preferences_of(session, some)
        people = session.scalars(
            select(Subscriber).where(Subscriber.id.in_(some), Subscriber.operator_id == incident.operator_id)
        ).all()
        messages = [
            message
            for person in people
            for message in voice.compose(person, wishes.get(person.id), event, values, told)
        ]
        written += len(deliver(session, keyring, incident.operator_id, messages))
    return written


def incident_values(session: Session, incident: Incident) -> dict[str, Value]:
    """Return what the texts about an incident are filled in with."""
    zone = ZoneInfo(session.get_one(Operator, incident.operator_id).timezone)
    default = _WORK if incident.planned else _FAULT

    def what(language: str) -> str:
        return incident.title or translator(language)(default)

    def expected(language: str) -> str:
        if incident.expected_until is None:
            return ""
        return translator(language)(_EXPECTED) % {"when": shown(incident.expected_until, language, zone)}

    def cause(language: str) -> str:
        if not incident.cause:
            return ""
        return translator(language)(_CAUSE) % {"cause": incident.cause.rstrip(".")}

    ended = incident.closed_at or incident.opened_at
    return {
        "what": what,
        "began": incident.opened_at,
        "expected": expected,
        "cause": cause,
        "lasted": max(ended - incident.opened_at, timedelta(minutes=1)),
    }


def _subscribers(session: Session, services: set[int]) -> Iterator[Sequence[Subscriber]]:
    owners: set[int] = set()
    for some in _parts(sorted(services)):
        owners.update(session.scalars(select(Service.subscriber_id).where(Service.id.in_(some))))
    for some in _parts(sorted(owners)):
        yield session.scalars(select(Subscriber).where(Subscriber.id.in_(some))).all()


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(ids), AT_ONCE):
        yield ids[first : first + AT_ONCE]
