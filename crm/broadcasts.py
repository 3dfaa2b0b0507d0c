"""Broadcasts: one message to all whom a selection finds, in each reader's language.

The form that sends carries a token, so the same form sent twice makes one broadcast; and each subscriber has at most
one message of a broadcast on a channel, by a rule of the database, so a job that is begun again goes on where it was.
What is not about the account does not go to who has unsubscribed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.clock import local_date, utc_now
from core.crypto import Keyring
from core.i18n import LANGUAGES, N_
from crm.incidents import services_at
from crm.jobs import JobFunction, RunningJob, start_job
from crm.message_events import COMMON
from crm.message_settings import check_words
from crm.messages import Told, Voice, preferences_of
from crm.notices import deliver
from crm.problems import FieldProblem, Invalid, Problem
from crm.texts import Words
from db.audit import Actor, record
from db.models import Broadcast, Invoice, Job, MessagePreference, Notification, Operator, Sector, Service, Subscriber

KIND = "broadcast"
SEND = "messages.broadcast"
BATCH = 200
STATES = ("active", "suspended", "paused", "pending")


@dataclass(frozen=True, slots=True)
class Selection:
    """Who is meant: everybody with a service that all of this is true of. Terminated services count for nothing."""

    plan_id: int | None = None
    nas_id: int | None = None
    sector: str = ""
    state: str = ""
    overdue: bool = False  # an invoice is open after its due day
    area: str = ""  # stands in the address
    site_id: int | None = None  # of a tower, all whose services hang on one of its sectors
    sector_id: int | None = None


@dataclass(frozen=True, slots=True)
class BroadcastTerms:
    """What is entered. `texts` by language; a reader whose language is missing gets the first."""

    title: str
    selection: Selection
    texts: Mapping[str, Words]
    about_account: bool = False
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """Whom a broadcast would reach."""

    subscribers: int
    reached: int
    unsubscribed: int
    by_channel: Mapping[str, int]

    @property
    def unreached(self) -> int:
        """How many have no address."""
        return self.subscribers - self.reached - self.unsubscribed


def selected(session: Session, operator_id: int, selection: Selection, today: date) -> Select[Any]:
    """Return the ids of the subscribers of a selection."""
    of_service: list[ColumnElement[bool]] = [
        Service.subscriber_id == Subscriber.id,
        Service.state == selection.state if selection.state else Service.state != "terminated",
    ]
    if selection.plan_id is not None:
        of_service.append(Service.plan_id == selection.plan_id)
    if selection.nas_id is not None:
        of_service.append(Service.id.in_(services_at(session, operator_id, [selection.nas_id], selection.sector)))
    if selection.sector_id is not None:
        of_service.append(Service.sector_id == selection.sector_id)
    elif selection.site_id is not None:
        of_service.append(Service.sector_id.in_(select(Sector.id).where(Sector.site_id == selection.site_id)))
    query = select(Subscriber.id).where(
        Subscriber.operator_id == operator_id, Subscriber.removed_at.is_(None), exists().where(and_(*of_service))
    )
    if selection.overdue:
        query = query.where(
            exists().where(Invoice.subscriber_id == Subscriber.id, Invoice.open > 0, Invoice.due_on < today)
        )
    if selection.area:
        query = query.where(func.strpos(func.portico_fold(Subscriber.address), func.portico_fold(selection.area)) > 0)
    return query


def preview(session: Session, keyring: Keyring, operator_id: int, terms: BroadcastTerms, now: datetime) -> Preview:
    """Return whom a broadcast would reach now."""
    voice = Voice(session, keyring, operator_id)
    ids = selected(session, operator_id, terms.selection, _today(voice.operator, now))
    # Columns and not entities: a selection may be everybody.
    people: Any = session.execute(
        select(Subscriber.id, Subscriber.email, Subscriber.phone).where(Subscriber.id.in_(ids))
    ).all()
    voice.read_browsers()
    wishes = {
        row.subscriber_id: row
        for row in session.scalars(select(MessagePreference).where(MessagePreference.operator_id == operator_id))
    }
    reached = unsubscribed = 0
    by_channel: dict[str, int] = dict.fromkeys(voice.channels.order, 0)
    for person in people:
        wish = wishes.get(person.id)
        if not terms.about_account and wish is not None and wish.unsubscribed_at is not None:
            unsubscribed += 1
            continue
        found = voice.addresses(person, wish, urgent=terms.urgent)
        reached += bool(found)
        for channel, _address in found:
            by_channel[channel] = by_channel.get(channel, 0) + 1
    return Preview(len(people), reached, unsubscribed, by_channel)


def check_broadcast(session: Session, operator_id: int, terms: BroadcastTerms) -> None:
    """Raise Invalid for what cannot be sent."""
    problems = []
    if not terms.title.strip():
        problems.append(FieldProblem("title", Problem.REQUIRED))
    elif len(terms.title) > 200:
        problems.append(FieldProblem("title", Problem.TOO_LONG, {"limit": "200"}))
    if terms.selection.state and terms.selection.state not in STATES:
        problems.append(FieldProblem("state", Problem.UNKNOWN_CHOICE))
    if terms.selection.sector and terms.selection.nas_id is None:
        problems.append(FieldProblem("nas_id", Problem.REQUIRED))
    if not terms.texts:
        locale = session.get_one(Operator, operator_id).locale[:2]
        problems.append(FieldProblem(f"{locale if locale in LANGUAGES else 'en'}_body", Problem.REQUIRED))
    for language, words in terms.texts.items():
        try:
            check_words(words, COMMON, subject=True, prefix=f"{language}_")
        except Invalid as invalid:
            problems += invalid.problems
    if problems:
        raise Invalid(*problems)


def start_broadcast(session: Session, actor: Actor, terms: BroadcastTerms, token: str) -> tuple[Broadcast, bool]:
    """Have a broadcast sent by a job. Raises Invalid.

    False: the same form was sent before, and this is what it made.
    """
    check_broadcast(session, actor.operator_id, terms)
    if not token or len(token) > 64:
        raise Invalid(FieldProblem("token", Problem.REQUIRED))
    made = session.execute(
        insert(Broadcast)
        .values(
            operator_id=actor.operator_id,
            title=terms.title.strip(),
            selection=asdict(terms.selection),
            texts={language: asdict(words) for language, words in terms.texts.items()},
            about_account=terms.about_account,
            urgent=terms.urgent,
            token=token,
            staff_id=actor.staff_id,
        )
        .on_conflict_do_nothing()
        .returning(Broadcast.id)
    ).scalar()
    if made is None:
        query = select(Broadcast).where(Broadcast.operator_id == actor.operator_id, Broadcast.token == token)
        return session.scalars(query).one(), False
    broadcast = session.get_one(Broadcast, made)
    broadcast.job_id = start_job(session, actor, SEND, {"broadcast_id": made}, broadcast.title).id
    session.flush()
    record(session, actor, "broadcast.send", "broadcast", made, None, {
        "title": broadcast.title, "selection": broadcast.selection,
    })  # fmt: skip
    return broadcast, True


def terms_of_broadcast(broadcast: Broadcast) -> BroadcastTerms:
    return BroadcastTerms(
        broadcast.title,
        Selection(**broadcast.selection),
        {language: Words(**words) for language, words in broadcast.texts.items()},
        broadcast.about_account,
        broadcast.urgent,
    )


def stop_broadcast(session: Session, actor: Actor, broadcast: Broadcast, now: datetime) -> int:
    """Take back what has not left yet, and return how many messages that were."""
    if broadcast.job_id is not None:
        session.execute(
            update(Job)
            .where(Job.id == broadcast.job_id, Job.state.in_(("queued", "running")))
            .values(cancel_asked=True)
        )
    dropped = session.scalars(
        update(Notification)
        .where(
            Notification.broadcast_id == broadcast.id,
            Notification.state.in_(("waiting", "by_hand")),
            Notification.attempts == 0,
        )
        .values(state="dropped", finished_at=now)
        .returning(Notification.id)
        .execution_options(synchronize_session=False)
    ).all()
    record(session, actor, "broadcast.stop", "broadcast", broadcast.id, None, {"dropped": len(dropped)})
    return len(dropped)


def send_broadcast(job: RunningJob) -> dict[str, object]:
    """Write the messages of a broadcast, batch by batch; what another worker wrote before is not written again."""
    number = int(job.parameters["broadcast_id"])
    with job.session() as session:
        broadcast = session.get_one(Broadcast, number)
        operator = session.get_one(Operator, job.operator_id)
        ids = session.scalars(
            selected(session, job.operator_id, terms_of_broadcast(broadcast).selection, _today(operator, utc_now()))
            .order_by(Subscriber.id)
        ).all()  # fmt: skip
        done = set(
            session.scalars(select(Notification.subscriber_id).where(Notification.broadcast_id == number).distinct())
        )
    job.plan(len(ids))
    told = unreached = 0
    for first in range(0, len(ids), BATCH):
        job.check_cancelled()
        some = [each for each in ids[first : first + BATCH] if each not in done]
        with job.session() as session:
            reached = _write(session, job.keyring, session.get_one(Broadcast, number), some)
            session.commit()
        told += reached
        unreached += len(some) - reached
        job.advance(len(ids[first : first + BATCH]), 0)
    counts: dict[str, object] = {"told": told, "unreached": unreached}
    job.log("info", "", N_("%(told)s subscribers are told, %(unreached)s cannot be or do not want to be."), **counts)
    return counts


def _write(session: Session, keyring: Keyring, broadcast: Broadcast, subscribers: Sequence[int]) -> int:
    """Write the messages of some subscribers and return how many of them have one."""
    terms = terms_of_broadcast(broadcast)
    voice = Voice(session, keyring, broadcast.operator_id)
    wishes = preferences_of(session, subscribers)
    told = Told(terms.urgent, terms.about_account, broadcast_id=broadcast.id)
    messages = []
    people = session.scalars(
        select(Subscriber).where(Subscriber.id.in_(subscribers), Subscriber.operator_id == broadcast.operator_id)
    )
    for person in people:
        words = words_for(terms, voice.language_of(person))
        messages += voice.compose(person, wishes.get(person.id), KIND, {}, told, lambda *_, said=words: said)
    deliver(session, keyring, broadcast.operator_id, messages)
    return len({message.subscriber_id for message in messages})


def words_for(terms: BroadcastTerms, language: str) -> Words:
    """Return a broadcast's words in a language, or in the first that it has."""
    return terms.texts.get(language) or next(iter(terms.texts.values()))


def _today(operator: Operator, now: datetime) -> date:
    return local_date(now, ZoneInfo(operator.timezone))


JOBS: Mapping[str, JobFunction] = {SEND: send_broadcast}


def results_of(session: Session, broadcast: Broadcast) -> dict[str, int]:
    """Return how many messages of a broadcast are in each state."""
    query = select(Notification.state, func.count()).where(Notification.broadcast_id == broadcast.id)
    rows: Any = session.execute(query.group_by(Notification.state)).all()
    return dict(rows)
