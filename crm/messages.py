"""Messages to subscribers and staff: in their language, by the channels they want, in the operator's words.

Who is told says what happened (`EVENTS`) and with which values; words, language, channels and addresses are found
here, and the message is a row of the outgoing queue (`crm.notices`), so it stands or falls with what it is about.

By which channels: those that the subscriber chose, all of them; else the operator's, the first by which the
subscriber can be reached, or, when it is urgent, each of them. To browsers in which the subscriber turned messages on
they go in any case, beside these (`crm.push`). Without any address nobody is told, and nothing fails:
`tell_subscriber()` returns an empty list.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_skeleton, format_timedelta
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES
from crm.brands import brand_of
from crm.channels import Channels, channels_of, international
from crm.message_events import EVENTS, default_words
from crm.notices import EMAIL, Message, deliver
from crm.push import PUSH, anybody_signed_up, signed_up
from crm.texts import BadText, Words, fill, one_line
from crm.unsubscribing import link_key, unsubscribe_text
from db.models import (
    BillingSettings,
    MessagePreference,
    MessageText,
    Notification,
    Operator,
    Staff,
    Subscriber,
)

__all__ = ["EVENTS", "Told", "Value", "Voice", "tell_staff", "tell_subscriber"]

Value = str | int | date | datetime | timedelta | Callable[[str], str]
"""What a variable is filled in with; a function is asked with the reader's language."""


@dataclass(frozen=True, slots=True)
class Told:
    """What goes along with a message: what it belongs to, and what changes how it goes."""

    urgent: bool = False
    about_account: bool = True
    incident_id: int | None = None
    broadcast_id: int | None = None


class Voice:
    """An operator's way of speaking, read once for however many are told."""

    def __init__(self, session: Session, keyring: Keyring, operator_id: int) -> None:
        self._session = session
        self._keyring = keyring
        self.operator = session.get_one(Operator, operator_id)
        self.channels: Channels = channels_of(session, operator_id)
        self._texts = {
            (row.event, row.channel, row.language): Words(row.subject, row.body)
            for row in session.scalars(select(MessageText).where(MessageText.operator_id == operator_id))
        }
        phone = session.scalar(select(BillingSettings.phone).where(BillingSettings.operator_id == operator_id))
        brand = brand_of(session, self.operator)
        self._name = brand.name
        self._phone = brand.phone or phone or ""
        self._link_key: bytes | None = None
        self._browsers: dict[int, str] = {}
        self._knows_browsers = not anybody_signed_up(session, operator_id)

    def words(self, event: str, channel: str, language: str) -> Words:
        """Return the operator's words for an event, or those that come with Portico."""
        channel = "sms" if channel == PUSH else channel  # both are read at a glance
        return self._texts.get((event, channel, language)) or default_words(event, channel, language)

    def language_of(self, reader: Subscriber | Staff) -> str:
        for wanted in (reader.language, self.operator.locale[:2]):
            if wanted is not None and wanted in LANGUAGES:
                return wanted
        return DEFAULT_LANGUAGE

    def addresses(
        self, subscriber: Subscriber, preference: MessagePreference | None, *, urgent: bool
    ) -> list[tuple[str, str]]:
        """Return by which channels, and at which addresses, a subscriber is told."""
        phone = international(subscriber.phone or "", self.channels.dial_prefix)
        at = {
            "email": subscriber.email or "",
            "sms": phone,
            "whatsapp": phone,
            "telegram": preference.telegram_chat if preference else "",
        }
        chosen = preference.channels if preference else None
        reached = [(each, at[each]) for each in self.channels.order if at[each] and (not chosen or each in chosen)]
        reached = reached if chosen or urgent else reached[:1]
        if names := self._browsers_of(subscriber.id):
            reached.append((PUSH, names))
        return reached

    def read_browsers(self) -> None:
        """Read in which browsers anybody is told, for who is about to ask for everybody's addresses."""
        self._browsers, self._knows_browsers = signed_up(self._session, self.operator.id), True

    def _browsers_of(self, subscriber_id: int) -> str:
        if not self._knows_browsers and subscriber_id not in self._browsers:
            self._browsers |= {subscriber_id: ""} | signed_up(self._session, self.operator.id, subscriber_id)
        return self._browsers.get(subscriber_id, "")

    def compose(
        self,
        subscriber: Subscriber,
        preference: MessagePreference | None,
        event: str,
        values: Mapping[str, Value],
        told: Told | None = None,
        words_of: Callable[[str, str], Words] | None = None,
    ) -> list[Message]:
        """Return the messages that tell one subscriber, not yet sent; none where there is no address or no wish.

        `words_of` gives the words for a channel and language where they are not those of an event.
        """
        known = EVENTS.get(event)
        told = told or Told(known.urgent if known else False, known.about_account if known else True)
        if not told.about_account and preference is not None and preference.unsubscribed_at is not None:
            return []
        language = self.language_of(subscriber)
        filled = self.filled(subscriber.name, language, values)
        unsubscribe = "" if told.about_account else self._unsubscribe(subscriber.id)
        messages = []
        for channel, address in self.addresses(subscriber, preference, urgent=told.urgent):
            words = words_of(channel, language) if words_of else self.words(event, channel, language)
            subject, body = self.written(event, words, filled)
            if channel == PUSH:  # it shows who speaks in a line of its own
                subject, body = subject or self._name, body.removeprefix(f"{self._name}: ")
            messages.append(
                Message(
                    event, channel, address, language, subject or one_line(body)[:80], body,
                    subscriber_id=subscriber.id, broadcast_id=told.broadcast_id, incident_id=told.incident_id,
                    urgent=told.urgent, unsubscribe=unsubscribe,
                    by_hand=channel == "whatsapp" and not self.channels.whatsapp_api,
                )
            )  # fmt: skip
        return messages

    def written(self, event: str, words: Words, filled: Mapping[str, str]) -> tuple[str, str]:
        """Return subject and body with the variables in them. What the caller has not given is left out."""
        known = EVENTS.get(event)
        values = {**dict.fromkeys(known.allowed if known else (), ""), **filled}
        try:
            return fill(words.subject, values), fill(words.body, values)
        except BadText:  # a variable that an earlier version had: the words that come with Portico are always right
            if known is None:
                raise
            language = filled.get("language", DEFAULT_LANGUAGE)
            words = default_words(event, EMAIL if words.subject else "sms", language)
            return fill(words.subject, values), fill(words.body, values)

    def filled(self, name: str, language: str, values: Mapping[str, Value]) -> dict[str, str]:
        """Return the values of variables as the reader's language has them, each on one line."""
        zone = ZoneInfo(self.operator.timezone)
        every: dict[str, Value] = {"name": name, "operator": self._name, "phone": self._phone, **values}
        return {key: one_line(shown(value, language, zone)) for key, value in every.items()}

    def _unsubscribe(self, subscriber_id: int) -> str:
        if self._link_key is None:
            self._link_key = link_key(self._session, self._keyring, self.operator.id)
        return unsubscribe_text(self._link_key, self.operator.id, subscriber_id)


def tell_subscriber(
    session: Session,
    keyring: Keyring,
    subscriber: Subscriber,
    event: str,
    values: Mapping[str, Value],
    *,
    urgent: bool | None = None,
) -> list[Notification]:
    """Tell a subscriber of an event once the caller has committed; `urgent` overrides what the event says.

    Who was removed is told nothing. Raises KeyError for an event that is not in `EVENTS`.
    """
    known = EVENTS[event]
    if subscriber.removed_at is not None:
        return []
    voice = Voice(session, keyring, subscriber.operator_id)
    preference = session.get(MessagePreference, subscriber.id)
    told = Told(known.urgent if urgent is None else urgent, known.about_account)
    return deliver(
        session, keyring, subscriber.operator_id, voice.compose(subscriber, preference, event, values, told)
    )  # fmt: skip


def tell_staff(
    session: Session, keyring: Keyring, operator_id: int, role_or_email: str, event: str, values: Mapping[str, Value]
) -> list[Notification]:
    """Tell the active staff of a role, or the one with an e-mail address, each in their language, by e-mail."""
    voice = Voice(session, keyring, operator_id)
    query = select(Staff).where(Staff.operator_id == operator_id, Staff.active).order_by(Staff.id)
    if "@" in role_or_email:
        query = query.where(func.lower(Staff.email) == role_or_email.lower())
    else:
        query = query.where(Staff.roles.contains([role_or_email]))
    messages = []
    for person in session.scalars(query):
        language = voice.language_of(person)
        filled = voice.filled(person.name, language, values)
        subject, body = voice.written(event, voice.words(event, EMAIL, language), filled)
        messages.append(Message(event, EMAIL, person.email, language, subject, body))
    return deliver(session, keyring, operator_id, messages)


def preferences_of(session: Session, subscriber_ids: Iterable[int]) -> dict[int, MessagePreference]:
    """Return the wishes of those of the subscribers who have any."""
    query = select(MessagePreference).where(MessagePreference.subscriber_id.in_(list(subscriber_ids)))
    return {row.subscriber_id: row for row in session.scalars(query)}


def shown(value: Any, language: str, zone: ZoneInfo) -> str:
    """Return a value as people of a language write it."""
    match value:
        case str():
            return value
        case datetime():
            day = format_skeleton("MMMMd", value, tzinfo=zone, locale=language)
            return f"{day}, {format_datetime(value, 'HH:mm', tzinfo=zone, locale=language)}"
        case date():
            return str(format_date(value, "long", locale=language))
        case timedelta():
            return str(format_timedelta(value, threshold=2, locale=language))
        case int():
            return str(value)
    return str(value(language))
