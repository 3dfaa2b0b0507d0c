"""Subscribers: the people and companies who have services.

Two people may have the same subscriber open; who saves second without having seen the first one's change is told so
(`ChangedMeanwhile`) and chooses. Every change is audited with what it was before.
"""

import re
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.licences import require_room
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Service, SignInLink, Subscriber

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}(?: ?(?:x|ext\.?) ?[0-9]{1,6})?\Z", re.IGNORECASE)
_LIMITS = {"name": 200, "email": 254, "phone": 40, "tax_id": 40, "address": 500, "notes": 5000}


@dataclass(frozen=True, slots=True)
class SubscriberDetails:
    """What somebody enters for a subscriber."""

    name: str
    email: str | None = None
    phone: str | None = None
    tax_id: str | None = None
    address: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    language: str | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Namesake:
    """Another subscriber who may be the same person."""

    id: int
    name: str
    phone: str | None


def details_of(subscriber: Subscriber) -> SubscriberDetails:
    return SubscriberDetails(**{name: getattr(subscriber, name) for name in SubscriberDetails.__slots__})


def create_subscriber(session: Session, actor: Actor, details: SubscriberDetails) -> Subscriber:
    """Enter a subscriber. Raises Invalid, also where the licence has no place left."""
    details = checked(details)
    require_room(session, actor.operator_id)
    subscriber = Subscriber(operator_id=actor.operator_id, **asdict(details))
    session.add(subscriber)
    session.flush()
    record(session, actor, "subscriber.create", "subscriber", subscriber.id, None, _audited(details))
    return subscriber


def change_subscriber(
    session: Session, actor: Actor, subscriber: Subscriber, details: SubscriberDetails, seen: int
) -> None:
    """Change a subscriber of whom version `seen` was shown. Raises Invalid and ChangedMeanwhile.

    With another e-mail address the links to a password end that were sent to the one before.
    """
    session.refresh(subscriber, with_for_update=True)
    if subscriber.version != seen:
        raise ChangedMeanwhile
    details = checked(details)
    before = _audited(details_of(subscriber))
    if details.email != subscriber.email:  # whoever has the mails that went to the other address
        unused = update(SignInLink).where(SignInLink.subscriber_id == subscriber.id, SignInLink.used_at.is_(None))
        session.execute(unused.values(used_at=func.now()).execution_options(synchronize_session=False))
    for name, value in asdict(details).items():
        if getattr(subscriber, name) != value:
            setattr(subscriber, name, value)
    session.flush()
    record(session, actor, "subscriber.change", "subscriber", subscriber.id, before, _audited(details))


def move_subscriber(
    session: Session, actor: Actor, subscriber: Subscriber, place: tuple[Decimal, Decimal], seen: int
) -> None:
    """Put a subscriber of whom version `seen` was shown at a latitude and longitude. Raises Invalid, ChangedMeanwhile.

    Nothing else of them is looked at: what an import brought may be checked when somebody edits it.
    """
    session.refresh(subscriber, with_for_update=True)
    if subscriber.version != seen:
        raise ChangedMeanwhile
    problems = _position_problems(*place)
    if problems:
        raise Invalid(*problems)
    before = {"latitude": subscriber.latitude, "longitude": subscriber.longitude}
    after = {"latitude": _six_decimals(place[0]), "longitude": _six_decimals(place[1])}
    subscriber.latitude, subscriber.longitude = after["latitude"], after["longitude"]
    session.flush()
    record(session, actor, "subscriber.move", "subscriber", subscriber.id, before, after)


def namesakes(session: Session, details: SubscriberDetails) -> list[Namesake]:
    """Return subscribers of the same name or phone number: the person may have been entered already."""
    same = [func.portico_fold(Subscriber.name) == func.portico_fold(details.name)]
    searches = [details.name]
    digits = "".join(character for character in details.phone or "" if character.isdigit())
    if len(digits) >= 7:
        same.append(func.regexp_replace(Subscriber.phone, "[^0-9]", "", "g") == digits)
        searches.append(digits)
    found: dict[int, Namesake] = {}
    for words, condition in zip(searches, same, strict=True):
        ids = select(func.search_subscribers(words, None))
        query = select(Subscriber.id, Subscriber.name, Subscriber.phone).where(Subscriber.id.in_(ids), condition)
        for row in session.execute(query.limit(5)):
            found[row.id] = Namesake(row.id, row.name, row.phone)
    return list(found.values())


def delete_subscriber(session: Session, actor: Actor, subscriber: Subscriber) -> bool:
    """Remove a subscriber who never had a service, such as a double entry. False: there are services."""
    if session.scalar(select(func.count()).where(Service.subscriber_id == subscriber.id)):
        return False
    before = _audited(details_of(subscriber))
    record(session, actor, "subscriber.delete", "subscriber", subscriber.id, before, None)
    session.delete(subscriber)
    session.flush()
    return True


def _audited(details: SubscriberDetails) -> dict[str, object]:
    return asdict(details)


def checked(details: SubscriberDetails) -> SubscriberDetails:
    """Return the details as they are stored. Raises Invalid with everything that is wrong."""
    problems = []
    details = replace(details, name=" ".join(details.name.split()), notes=details.notes.replace("\0", "").strip())
    if not details.name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    for name, limit in _LIMITS.items():
        if len(getattr(details, name) or "") > limit:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
        elif name != "notes" and not (getattr(details, name) or "").isprintable():
            problems.append(FieldProblem(name, Problem.NAME_CHARACTERS))
    if details.email is not None and not _EMAIL.match(details.email):
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    if details.phone is not None and not _PHONE.match(details.phone):
        problems.append(FieldProblem("phone", Problem.NOT_A_PHONE))
    if details.language is not None and details.language not in LANGUAGES:
        problems.append(FieldProblem("language", Problem.UNKNOWN_CHOICE))
    problems += _position_problems(details.latitude, details.longitude)
    if problems:
        raise Invalid(*problems)
    # As many decimals as are stored (0.1 m), so that saving a form unchanged changes nothing.
    return replace(details, latitude=_six_decimals(details.latitude), longitude=_six_decimals(details.longitude))


def _position_problems(latitude: Decimal | None, longitude: Decimal | None) -> list[FieldProblem]:
    if latitude is None and longitude is None:
        return []
    if latitude is None or longitude is None:
        return [FieldProblem("latitude" if latitude is None else "longitude", Problem.BOTH_OR_NEITHER)]
    if not latitude.is_finite() or abs(latitude) > 90:
        return [FieldProblem("latitude", Problem.NOT_A_POSITION)]
    if not longitude.is_finite() or abs(longitude) > 180:
        return [FieldProblem("longitude", Problem.NOT_A_POSITION)]
    return []


def _six_decimals(degrees: Decimal | None) -> Decimal | None:
    return None if degrees is None else degrees.quantize(Decimal("0.000001"))
