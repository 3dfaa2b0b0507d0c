"""Notices: messages to people outside the portal, by e-mail, by the operator's channels, and by whatever apprise knows.

`deliver()` only writes a row, in the transaction of what the message is about: if that is undone, nobody is told, and
if it stands, the message goes out though the mail server is away. `send_due()` sends what is due. A mail server that
is away or says "later" (4xx, RFC 5321 §4.2.1) is tried again for a day with growing pauses; one that refuses for good
(5xx) is believed. A row is claimed before it is sent, so two senders do not send it twice; after a crash in between
it is sent again, under the same Message-ID, by which mail programs know a copy.

What is not urgent waits for the end of the operator's quiet hours, and what is, is sent first. A gateway that is away
is asked once in a round, and the rest of what is for it waits. Operators are served side by side (`Outbox`): what is
slow is slow for one of them.

Addresses are sealed, because the URL of an apprise channel holds its password; `shown_address` is for people.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from typing import Any
from zoneinfo import ZoneInfo

import prometheus_client
import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from core.settings import Settings
from crm.by_apprise import send_by_apprise, service_of, understands
from crm.by_mail import send_by_mail
from crm.channels import quiet_until, send_sms, send_telegram, send_whatsapp
from crm.delivery import Refused, TryAgain
from crm.problems import FieldProblem, Invalid, Problem
from crm.push import send_push
from db.models import MessageSettings, Notification, Operator, StoredFile

ADDRESS_PURPOSE = "notification.address"
EMAIL, APPRISE = "email", "apprise"
CLAIM = timedelta(minutes=5)
"""After this a claimed message counts as not sent: whoever claimed it is gone."""
AT_ONCE = 8
"""Operators whose messages are sent at the same time; also the connections to the mail server."""
AT_A_TIME = 10
TURN = 30.0
"""Seconds after which a thread looks who else waits, although its operator has more."""
_GATEWAYS = frozenset(("sms", "whatsapp", "telegram"))
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60, 120, 240, 480, 480))
LONGEST_SUBJECT = 200

ATTEMPTS = prometheus_client.Counter(
    "portico_message_attempts", "Attempts to send a message, by channel and by what came of them", ["channel", "state"]
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Message:
    """What is said to one address, in the language that it is written in. `kind` says what it is about."""

    kind: str
    channel: str
    address: str
    language: str
    subject: str
    body: str
    subscriber_id: int | None = None
    broadcast_id: int | None = None
    incident_id: int | None = None
    urgent: bool = True  # goes in quiet hours too
    unsubscribe: str = ""  # crm.unsubscribing.unsubscribe_text, for what is not about the account
    by_hand: bool = False  # a person sends it
    headers: Mapping[str, str] = field(default_factory=dict)  # of an e-mail, in place of those that each has
    file_id: int | None = None  # a StoredFile that goes with an e-mail


def deliver(session: Session, keyring: Keyring, operator_id: int, messages: Iterable[Message]) -> list[Notification]:
    """Have messages sent once the caller has committed, and return their rows."""
    rows = [Notification(**values_of(keyring, operator_id, message)) for message in messages]
    session.add_all(rows)
    session.flush()
    return rows


def values_of(keyring: Keyring, operator_id: int, message: Message) -> dict[str, Any]:
    """Return a message as the columns of its row, for those who write very many rows at once."""
    return {
        "operator_id": operator_id,
        "kind": message.kind,
        "channel": message.channel,
        "shown_address": shown_address(message.channel, message.address),
        "address": keyring.seal(ADDRESS_PURPOSE, message.address),
        "language": message.language,
        "subject": " ".join(message.subject.split())[:LONGEST_SUBJECT],
        "body": message.body,
        "state": "by_hand" if message.by_hand else "waiting",
        "subscriber_id": message.subscriber_id,
        "broadcast_id": message.broadcast_id,
        "incident_id": message.incident_id,
        "urgent": message.urgent,
        "unsubscribe": message.unsubscribe,
        "headers": dict(message.headers),
        "file_id": message.file_id,
    }


def checked_address(channel: str, address: str) -> str:
    """Return an address as it is kept. Raises Invalid (field `address`) when nothing could be sent to it."""
    address = address.strip()
    if channel == EMAIL:
        try:
            parsed = Address(addr_spec=address)
        except (ValueError, IndexError, MessageError):
            parsed = None
        if parsed is None or not parsed.username or "." not in parsed.domain or not address.isascii():
            raise Invalid(FieldProblem("address", Problem.NOT_AN_EMAIL))
        return address
    if not understands(address):
        raise Invalid(FieldProblem("address", Problem.NOT_A_CHANNEL))
    return address


def shown_address(channel: str, address: str) -> str:
    """Return an address as people may read it: of an apprise URL, the service and the host without any password."""
    if channel != APPRISE:
        return address
    return service_of(address)


def send_again(session: Session, notification: Notification, staff_id: int | None, now: datetime) -> bool:
    """Try a message once more that was given up, or waits for its next turn. False: it is sent, or waits for nobody."""
    done = session.execute(
        update(Notification)
        .where(Notification.id == notification.id, Notification.state.in_(("failed", "waiting")))
        .values(state="waiting", attempts=0, next_attempt_at=now, finished_at=None, staff_id=staff_id)
        .returning(Notification.id)
    ).scalar()
    session.refresh(notification)
    return done is not None


def sent_by_hand(session: Session, notification: Notification, staff_id: int | None, now: datetime) -> bool:
    """Note that a person sent a message from their own WhatsApp; False where it was noted already."""
    done = session.execute(
        update(Notification)
        .where(Notification.id == notification.id, Notification.state == "by_hand")
        .values(state="sent", attempts=1, staff_id=staff_id, finished_at=now)
        .returning(Notification.id)
    ).scalar()
    session.refresh(notification)
    return done is not None


def send_due(sessions: sessionmaker[Session], settings: Settings, now: datetime, most: int = 50) -> int:
    """Send what is due, at most `most` of each operator, and return how many messages were tried.

    Operators are served side by side. Opens and commits its own sessions.
    """
    operators = _operators_with_due(sessions, now)
    if not operators:
        return 0

    def turn(operator_id: int) -> int:
        claimed = _claim(sessions, operator_id, now, most)
        _send_all(sessions, settings, claimed, now)
        return len(claimed)

    with ThreadPoolExecutor(min(AT_ONCE, len(operators)), "notices") as threads:
        return sum(threads.map(turn, operators))


class Outbox:
    """Sends what is due between its first `look()` and `close()`, so that no operator waits for another's gateway.

    Each operator has a thread of its own while something of it is due, for `TURN` seconds and then again at the end
    of the line.
    """

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self._sessions = sessions
        self._settings = settings
        self._threads = ThreadPoolExecutor(AT_ONCE, "notices")
        self._busy: set[int] = set()
        self._guard = threading.Lock()
        self._closed = threading.Event()

    def look(self) -> int:
        """See to it that all operators with something due are served; return how many had not been. Does not wait."""
        due = _operators_with_due(self._sessions, utc_now())
        with self._guard:
            taken = [operator_id for operator_id in due if operator_id not in self._busy]
            self._busy.update(taken)
        for operator_id in taken:
            self._threads.submit(self._serve, operator_id)
        return len(taken)

    def close(self, *, wait: bool = False) -> None:
        """Take up no more. What is under way goes on to its end, for which this can `wait`; what is not stays due."""
        self._closed.set()
        self._threads.shutdown(wait=wait, cancel_futures=True)

    def _serve(self, operator_id: int) -> None:
        ends = time.monotonic() + TURN
        try:
            while not self._closed.is_set() and time.monotonic() < ends:
                now = utc_now()
                claimed = _claim(self._sessions, operator_id, now, AT_A_TIME)
                if not claimed:
                    break
                _send_all(self._sessions, self._settings, claimed, now)
        except Exception:  # on a thread whose result nobody asks for; what was not sent stays due
            log.exception("notices_failed", operator_id=operator_id)
        finally:
            with self._guard:
                self._busy.discard(operator_id)


def _send_all(
    sessions: sessionmaker[Session], settings: Settings, claimed: Sequence[Notification], now: datetime
) -> None:
    """Send what was claimed of one operator, one after the other, and write down what came of each."""
    away: dict[tuple[int, str], str] = {}
    channels: dict[int, MessageSettings | None] = {}
    for notification in claimed:
        state, error = "sent", ""
        gateway = (notification.operator_id, notification.channel)
        try:
            if gateway in away:
                raise TryAgain(away[gateway])
            address = settings.keyring.open(ADDRESS_PURPOSE, notification.address)
            if notification.operator_id not in channels:
                with sessions() as session:
                    channels[notification.operator_id] = session.get(MessageSettings, notification.operator_id)
            _send(sessions, settings, channels[notification.operator_id], notification, address)
        except TryAgain as problem:
            state = "waiting" if notification.attempts <= len(PAUSES) else "failed"
            error = str(problem)
            if notification.channel in _GATEWAYS:
                away.setdefault(gateway, error)
        except Refused as problem:
            state, error = "failed", str(problem)
        except SecretUnreadable:
            state, error = "failed", "the address cannot be read: its key is unknown"
        except Exception as problem:  # noqa: BLE001 - what nobody thought of about one is no other message's business
            log.warning("message_not_sent", notification_id=notification.id, error=type(problem).__name__)
            state, error = "failed", f"it cannot be sent as it is ({type(problem).__name__})"
        ATTEMPTS.labels(notification.channel, state).inc()
        with sessions() as session:
            session.execute(
                update(Notification)
                .where(Notification.id == notification.id, Notification.state == "waiting")
                .values(
                    state=state,
                    error=error[:500],
                    next_attempt_at=now + PAUSES[min(notification.attempts, len(PAUSES)) - 1],
                    finished_at=None if state == "waiting" else now,
                )
            )
            session.commit()


def _operators_with_due(sessions: sessionmaker[Session], now: datetime) -> list[int]:
    """Return the operators that something is due of, after putting off what is not urgent in their quiet hours."""
    due = (Notification.state == "waiting", Notification.next_attempt_at <= now)
    with sessions() as session:
        if session.scalar(select(Notification.id).where(*due).limit(1)) is None:
            return []
        for operator_id, until in _quiet(session, now):
            session.execute(
                update(Notification)
                .where(*due, Notification.operator_id == operator_id, ~Notification.urgent)
                .values(next_attempt_at=until)
                .execution_options(synchronize_session=False)
            )
        session.commit()
        something = select(Notification.id).where(*due, Notification.operator_id == Operator.id).limit(1)
        return list(session.scalars(select(Operator.id).where(something.exists()).order_by(Operator.id)))


def _claim(sessions: sessionmaker[Session], operator_id: int, now: datetime, most: int) -> list[Notification]:
    """Take messages of an operator that are due, so that no other sender does, and return them."""
    with sessions() as session:
        found = session.scalars(
            select(Notification)
            .where(
                Notification.operator_id == operator_id,
                Notification.state == "waiting",
                Notification.next_attempt_at <= now,
            )
            .order_by(Notification.urgent.desc(), Notification.next_attempt_at, Notification.id)
            .limit(most)
            .with_for_update(skip_locked=True)
        ).all()
        for notification in found:
            notification.attempts += 1
            notification.next_attempt_at = now + CLAIM
        session.commit()
        return list(found)


def _quiet(session: Session, now: datetime) -> list[tuple[int, datetime]]:
    """Return the operators whose quiet hours it is, and when these end."""
    rows = session.execute(
        select(MessageSettings.operator_id, MessageSettings.quiet_from, MessageSettings.quiet_until, Operator.timezone)
        .join(Operator, Operator.id == MessageSettings.operator_id)
        .where(MessageSettings.quiet_from.is_not(None))
    )
    ends = [
        (row.operator_id, quiet_until(now, ZoneInfo(row.timezone), row.quiet_from, row.quiet_until)) for row in rows
    ]
    return [(operator_id, end) for operator_id, end in ends if end is not None]


def _attached(sessions: sessionmaker[Session], notification: Notification) -> tuple[str, str, bytes] | None:
    """Return the name, type and content of the file that goes with a message."""
    if notification.file_id is None:
        return None
    with sessions() as session:
        kept = select(StoredFile.name, StoredFile.media_type, StoredFile.content)
        row = session.execute(kept.where(StoredFile.id == notification.file_id)).one_or_none()
    return (row.name, row.media_type, row.content) if row is not None else None


def _send(
    sessions: sessionmaker[Session],
    settings: Settings,
    kept: MessageSettings | None,
    notification: Notification,
    address: str,
) -> None:
    match notification.channel:
        case "email":
            send_by_mail(settings, notification, address, _attached(sessions, notification))
        case "apprise":
            send_by_apprise(
                address, notification.subject, notification.body,
                local=settings.local_gateways, networks=settings.private_networks,
            )  # fmt: skip
        case "sms":
            send_sms(settings, settings.keyring, kept, address, notification.body)
        case "whatsapp":
            send_whatsapp(settings, settings.keyring, kept, address, notification.body, notification.language)
        case "telegram":
            send_telegram(settings, settings.keyring, kept, address, notification.body)
        case "push":
            send_push(sessions, settings, kept, notification)
