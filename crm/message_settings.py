"""Changing how an operator speaks to its subscribers: channels, quiet hours, words, and each subscriber's wishes.

Channels have a version, words a mark of what they say (`mark_of`): who saves second is told of it (ChangedMeanwhile).
"""

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from datetime import datetime, time
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from core.settings import Settings
from crm.channels import GATEWAY_PURPOSE, placed
from crm.message_events import EVENTS, default_words
from crm.notices import APPRISE, checked_address
from crm.outbound import needs_https
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.texts import BadText, Words, check_text
from crm.unsubscribing import set_subscribed
from db.audit import Actor, record
from db.models import MessagePreference, MessageSettings, MessageText, Subscriber
from db.models.message import CHANNELS

LONGEST_SUBJECT, LONGEST_BODY = 200, 4000
WORDS_LOCK = 7487
"""Of PostgreSQL's advisory locks, with the operator beside it: for who writes the words of an event."""
SECRETS = ("sms_url", "sms_secret", "whatsapp_token", "telegram_url")
SMS_KINDS = ("none", "http", "apprise")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}\Z")
_PREFIX = re.compile(r"\+[1-9][0-9]{0,4}\Z")
_DIGITS = re.compile(r"[0-9]{5,20}\Z")
_TEMPLATE = re.compile(r"[a-z0-9_]{1,512}\Z")
_BOT = re.compile(r"[0-9]{5,15}:[A-Za-z0-9_-]{20,80}\Z")
_CHAT = re.compile(r"@?[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """What is entered. Of the secrets, None keeps the one that is there and an empty text takes it away."""

    channels: tuple[str, ...] = ("email",)
    dial_prefix: str = ""
    quiet_from: time | None = None
    quiet_until: time | None = None
    sms_kind: str = "none"
    sms_url: str | None = None
    sms_body: str = ""
    sms_header: str = ""
    sms_secret: str | None = None
    whatsapp_phone: str = ""
    whatsapp_token: str | None = None
    whatsapp_template: str = ""
    telegram_url: str | None = None
    incident_tell: bool = False
    incident_delay: int = 10
    incident_least: int = 5


def terms_of_channels(session: Session, operator_id: int) -> ChannelTerms:
    """Return an operator's channels without their secrets."""
    kept = session.get(MessageSettings, operator_id)
    if kept is None:
        return ChannelTerms()
    values = {each.name: getattr(kept, each.name) for each in fields(ChannelTerms) if each.name not in SECRETS}
    return ChannelTerms(**{**values, "channels": tuple(kept.channels)})


def change_channels(
    session: Session, settings: Settings, actor: Actor, terms: ChannelTerms, seen: int | None = None
) -> None:
    """Take over an operator's channels, of which version `seen` was shown (0: there were none; None: to nobody).

    Of a bot of Telegram its token alone is enough. Raises Invalid and ChangedMeanwhile.
    """
    if terms.telegram_url and _BOT.match(terms.telegram_url.strip()):
        terms = replace(terms, telegram_url=f"tgram://{terms.telegram_url.strip()}/{{chat}}")
    kept = session.get(MessageSettings, actor.operator_id, with_for_update=True)
    _check(settings, terms, kept)
    if seen is not None and (kept.version if kept is not None else 0) != seen:
        raise ChangedMeanwhile
    if kept is None:
        kept = MessageSettings(operator_id=actor.operator_id)
        session.add(kept)
        session.flush()
        session.refresh(kept)
    before, after = _audited(kept), {}
    for each in fields(ChannelTerms):
        value = getattr(terms, each.name)
        if each.name not in SECRETS:
            setattr(kept, each.name, list(value) if each.name == "channels" else value)
        elif value is not None:
            setattr(kept, each.name, settings.keyring.seal(GATEWAY_PURPOSE, value.strip()) if value.strip() else None)
            after[each.name] = "changed" if value.strip() else "removed"
    session.flush()
    record(session, actor, "message.settings", "operator", actor.operator_id, before, {**_audited(kept), **after})


def words_as_kept(session: Session, operator_id: int, event: str, channel: str, language: str) -> tuple[Words, bool]:
    """Return what an event says, and whether these are the operator's own words. Raises KeyError."""
    row = session.get(MessageText, (operator_id, event, channel, language))
    return (Words(row.subject, row.body), True) if row else (default_words(event, channel, language), False)


def mark_of(words: Words) -> str:
    """Return what tells words from others: who saves second shows by it which ones they were shown."""
    return hashlib.sha256(f"{words.subject.strip()}\0{words.body.strip()}".encode()).hexdigest()[:16]


def changed_texts(session: Session, operator_id: int) -> set[tuple[str, str, str]]:
    """Return which texts the operator wrote anew: event, channel, language."""
    query = select(MessageText.event, MessageText.channel, MessageText.language)
    return {(event, channel, language) for event, channel, language in session.execute(
        query.where(MessageText.operator_id == operator_id)
    )}  # fmt: skip


def change_words(
    session: Session, actor: Actor, event: str, channel: str, language: str, words: Words, seen: str
) -> None:
    """Have an event say something else; `seen` is the mark of the words that were shown.

    Raises Invalid (unknown variables with their line, or nothing said) and ChangedMeanwhile.
    """
    if event not in EVENTS or channel not in CHANNELS or language not in LANGUAGES:
        raise Invalid(FieldProblem("event", Problem.UNKNOWN_CHOICE))
    check_words(words, EVENTS[event].allowed, subject=channel == "email")
    session.execute(select(func.pg_advisory_xact_lock(WORDS_LOCK, actor.operator_id)))  # a row may not be there yet
    before, _own = words_as_kept(session, actor.operator_id, event, channel, language)
    if mark_of(before) != seen:
        raise ChangedMeanwhile
    key = {"operator_id": actor.operator_id, "event": event, "channel": channel, "language": language}
    values = {"subject": words.subject.strip(), "body": words.body.strip()}
    session.execute(
        insert(MessageText).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
    )
    session.expire_all()
    what = {"event": event, "channel": channel, "language": language}
    record(session, actor, "message.text", "operator", actor.operator_id, {**what, "body": before.body}, {
        **what, "body": values["body"],
    })  # fmt: skip


def restore_words(session: Session, actor: Actor, event: str, channel: str, language: str) -> None:
    """Have an event say again what comes with Portico."""
    row = session.get(MessageText, (actor.operator_id, event, channel, language))
    if row is None:
        return
    before = {"event": event, "channel": channel, "language": language, "body": row.body}
    session.execute(
        delete(MessageText).where(
            MessageText.operator_id == actor.operator_id, MessageText.event == event,
            MessageText.channel == channel, MessageText.language == language,
        )
    )  # fmt: skip
    session.expire_all()
    record(session, actor, "message.text", "operator", actor.operator_id, before, None)


def check_words(words: Words, variables: Any, *, subject: bool, prefix: str = "") -> None:
    """Raise Invalid where a text says nothing, is too long, or names a variable that does not exist."""
    problems = []
    for name, limit in (("subject", LONGEST_SUBJECT), ("body", LONGEST_BODY)):
        said, field = getattr(words, name), prefix + name
        if not said.strip():
            if subject or name == "body":
                problems.append(FieldProblem(field, Problem.REQUIRED))
        elif len(said) > limit:
            problems.append(FieldProblem(field, Problem.TOO_LONG, {"limit": str(limit)}))
        else:
            try:
                check_text(said, variables)
            except BadText as bad:
                detail = {"variable": f"{{{bad.variable}}}", "line": str(bad.line)}
                problems.append(FieldProblem(field, Problem.UNKNOWN_VARIABLE_AT, detail))
    if problems:
        raise Invalid(*problems)


@dataclass(frozen=True, slots=True)
class Wishes:
    """By which channels a subscriber wants messages (empty: as the operator has it), and whether news too."""

    channels: tuple[str, ...] = ()
    telegram_chat: str = ""
    news: bool = True


def wishes_of(session: Session, subscriber: Subscriber) -> Wishes:
    kept = session.get(MessagePreference, subscriber.id)
    if kept is None:
        return Wishes()
    return Wishes(tuple(kept.channels or ()), kept.telegram_chat, kept.unsubscribed_at is None)


def change_wishes(session: Session, actor: Actor, subscriber: Subscriber, wishes: Wishes, now: datetime) -> None:
    """Note what a subscriber wants. Raises Invalid."""
    problems = []
    if not set(wishes.channels) <= set(CHANNELS):
        problems.append(FieldProblem("channels", Problem.UNKNOWN_CHOICE))
    chat = wishes.telegram_chat.strip()
    if chat and not _CHAT.match(chat):
        problems.append(FieldProblem("telegram_chat", Problem.NOT_A_CHANNEL))
    if problems:
        raise Invalid(*problems)
    before = wishes_of(session, subscriber)
    values = {"channels": list(wishes.channels) or None, "telegram_chat": chat}
    session.execute(
        insert(MessagePreference)
        .values(subscriber_id=subscriber.id, operator_id=subscriber.operator_id, **values)
        .on_conflict_do_update(index_elements=["subscriber_id"], set_=values)
    )
    session.expire_all()
    record(
        session, actor, "message.wish", "subscriber", subscriber.id,
        {"channels": list(before.channels), "telegram_chat": before.telegram_chat},
        {"channels": list(wishes.channels), "telegram_chat": chat},
    )  # fmt: skip
    set_subscribed(session, actor, subscriber, wanted=wishes.news, now=now)


def _audited(kept: MessageSettings) -> dict[str, Any]:
    values = {each.name: getattr(kept, each.name) for each in fields(ChannelTerms) if each.name not in SECRETS}
    return {name: f"{value:%H:%M}" if isinstance(value, time) else value for name, value in values.items()}


def _check(settings: Settings, terms: ChannelTerms, kept: MessageSettings | None) -> None:
    problems = []

    def has(name: str) -> bool:
        entered = getattr(terms, name)
        return bool(entered.strip()) if entered is not None else bool(kept is not None and getattr(kept, name))

    if not terms.channels or not set(terms.channels) <= set(CHANNELS):
        problems.append(FieldProblem("channels", Problem.REQUIRED))
    if len(set(terms.channels)) != len(terms.channels):
        problems.append(FieldProblem("channels", Problem.TAKEN))
    if terms.dial_prefix and not _PREFIX.match(terms.dial_prefix):
        problems.append(FieldProblem("dial_prefix", Problem.NOT_A_PHONE))
    if (terms.quiet_from is None) != (terms.quiet_until is None) or (
        terms.quiet_from is not None and terms.quiet_from == terms.quiet_until
    ):
        problems.append(FieldProblem("quiet_until", Problem.BOTH_OR_NEITHER))
    problems += _sms_problems(settings, terms, wanted=has("sms_url"))
    if "whatsapp" in terms.channels and has("whatsapp_token") != bool(terms.whatsapp_phone):
        problems.append(FieldProblem("whatsapp_phone", Problem.BOTH_OR_NEITHER))
    if terms.whatsapp_phone and not _DIGITS.match(terms.whatsapp_phone):
        problems.append(FieldProblem("whatsapp_phone", Problem.NOT_A_PHONE_ID))
    if terms.whatsapp_phone and not _TEMPLATE.match(terms.whatsapp_template):
        problems.append(FieldProblem("whatsapp_template", Problem.NOT_A_TEMPLATE))
    if terms.telegram_url and not _apprise_takes(terms.telegram_url, "chat", "123456"):
        problems.append(FieldProblem("telegram_url", Problem.NOT_A_CHANNEL))
    if "telegram" in terms.channels and not has("telegram_url"):
        problems.append(FieldProblem("telegram_url", Problem.REQUIRED))
    for name, low, high in (("incident_delay", 0, 1440), ("incident_least", 1, 100_000)):
        if not low <= getattr(terms, name) <= high:
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)}))
    if problems:
        raise Invalid(*problems)


def _readable_on_the_way(settings: Settings, url: str) -> bool:
    secure = needs_https(url, local=settings.local_gateways, networks=settings.private_networks)
    return secure and urlsplit(url).scheme != "https"


def _sms_problems(settings: Settings, terms: ChannelTerms, *, wanted: bool) -> list[FieldProblem]:
    problems = []
    if terms.sms_kind not in SMS_KINDS:
        problems.append(FieldProblem("sms_kind", Problem.UNKNOWN_CHOICE))
    elif terms.sms_kind == "none":
        if "sms" in terms.channels:
            problems.append(FieldProblem("sms_kind", Problem.REQUIRED))
    elif not wanted:
        problems.append(FieldProblem("sms_url", Problem.REQUIRED))
    elif terms.sms_kind == "http" and terms.sms_url and not _is_web(terms.sms_url):
        problems.append(FieldProblem("sms_url", Problem.NOT_A_WEB_ADDRESS))
    elif terms.sms_kind == "http" and terms.sms_url and _readable_on_the_way(settings, terms.sms_url.strip()):
        problems.append(FieldProblem("sms_url", Problem.NOT_HTTPS))
    elif terms.sms_kind == "apprise" and terms.sms_url and not _apprise_takes(terms.sms_url, "phone", "+15551234567"):
        problems.append(FieldProblem("sms_url", Problem.NOT_A_CHANNEL))
    if terms.sms_header and not _HEADER.match(terms.sms_header):
        problems.append(FieldProblem("sms_header", Problem.NAME_CHARACTERS))
    body = terms.sms_body.strip()
    if len(body) > LONGEST_BODY:
        problems.append(FieldProblem("sms_body", Problem.TOO_LONG, {"limit": str(LONGEST_BODY)}))
    elif body and ("{phone}" not in body + (terms.sms_url or "{phone}") or "{text}" not in body):
        problems.append(FieldProblem("sms_body", Problem.PLACES_MISSING))
    elif body.startswith(("{", "[")):
        try:
            json.loads(placed(body, phone="1", text="x"))
        except ValueError:
            problems.append(FieldProblem("sms_body", Problem.NOT_JSON))
    return problems


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(placed(url.strip(), phone="1", text="x"))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        return False


def _apprise_takes(url: str, place: str, example: str) -> bool:
    if f"{{{place}}}" not in url:
        return False
    try:
        checked_address(APPRISE, placed(url.strip(), **{place: example}))
    except Invalid:
        return False
    return True
