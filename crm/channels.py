"""The channels of an operator beside e-mail: SMS, WhatsApp, Telegram; and its quiet hours.

- SMS goes to a gateway of the operator's choice: by HTTP, as a POST with the body that the gateway wants and a secret
  in a header, or by whatever apprise knows (`twilio://…/{phone}`).
- WhatsApp goes through the Cloud API, which lets a business write first only by a template that Meta has approved; ours
  has the text as its one parameter. Without the API a message waits for a person, who sends it with a click.
- Telegram goes through apprise, to the chat that the subscriber gave.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from urllib.parse import quote, quote_plus
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.settings import Settings
from crm.by_apprise import send_by_apprise
from crm.delivery import Refused, TryAgain
from crm.outbound import Network, NoAnswer, NotAllowed, needs_https, post
from crm.texts import one_line
from db.models import MessageSettings
from db.models.message import CHANNELS

GATEWAY_PURPOSE = "message.gateway"
LONGEST_SMS = 480  # three parts of 160
LONGEST_TELEGRAM = 4096
_PLACE = re.compile(r"\{(phone|text|chat)\}")
_LANGUAGES = {"en": "en", "es": "es"}


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels in use, in the order in which they are tried, and what says when and where they go."""

    order: tuple[str, ...] = ("email",)
    dial_prefix: str = ""
    whatsapp_api: bool = False

    def sends(self, channel: str) -> bool:
        """Tell whether messages leave by a channel without a person."""
        return channel in self.order and (channel != "whatsapp" or self.whatsapp_api)


def channels_of(session: Session, operator_id: int) -> Channels:
    """Return an operator's channels; e-mail alone where nothing was set."""
    kept = session.get(MessageSettings, operator_id)
    if kept is None:
        return Channels()
    order = tuple(each for each in kept.channels if each in CHANNELS)
    return Channels(order, kept.dial_prefix, bool(kept.whatsapp_phone and kept.whatsapp_token))


def international(phone: str, prefix: str) -> str:
    """Return a number as the world dials it, `+525512345678`; empty where that cannot be told.

    One without its country gets the operator's prefix, without the 0 that stands in front inside the country.
    """
    phone = re.split(r"(?i)x|ext", phone)[0]
    digits = "".join(each for each in phone if each.isdigit() and each.isascii())
    if not 6 <= len(digits) <= 17:
        return ""
    if phone.strip().startswith("+"):
        return f"+{digits}"
    if digits.startswith("00"):
        return f"+{digits[2:]}"
    return f"{prefix}{digits.lstrip('0')}" if prefix else ""


def quiet_until(now: datetime, zone: ZoneInfo, begins: time | None, ends: time | None) -> datetime | None:
    """Return when the quiet hours end in which an instant falls, None where it falls in none. May span midnight."""
    if begins is None or ends is None:
        return None
    local = now.astimezone(zone)
    clock = local.time()
    quiet = begins <= clock < ends if begins < ends else clock >= begins or clock < ends
    if not quiet:
        return None
    day = local.date() + timedelta(days=int(clock >= ends))
    return datetime.combine(day, ends, zone).astimezone(UTC)


# Sending. Each function raises TryAgain or Refused; neither quotes a secret.


def send_sms(settings: Settings, keyring: Keyring, kept: MessageSettings | None, phone: str, text: str) -> None:
    if kept is None or kept.sms_kind == "none" or kept.sms_url is None:
        raise TryAgain("no SMS gateway is set up")
    url = keyring.open(GATEWAY_PURPOSE, kept.sms_url)
    if kept.sms_kind == "apprise":
        send_by_apprise(
            placed(url, phone=quote(phone, safe="")), "", text[:LONGEST_SMS],
            local=settings.local_gateways, networks=settings.private_networks,
        )  # fmt: skip
        return
    values = {"phone": phone, "text": text[:LONGEST_SMS]}
    body = kept.sms_body.strip()
    if not body:
        content, kind = f"to={quote_plus(phone)}&text={quote_plus(values['text'])}", "application/x-www-form-urlencoded"
    elif body.startswith(("{", "[")):
        content, kind = (
            placed(body, **{name: json.dumps(value)[1:-1] for name, value in values.items()}),
            "application/json",
        )
    else:
        content = placed(body, **{name: quote_plus(value) for name, value in values.items()})
        kind = "application/x-www-form-urlencoded"
    headers = {"Content-Type": f"{kind}; charset=utf-8"}
    if kept.sms_header and kept.sms_secret is not None:
        headers[kept.sms_header] = keyring.open(GATEWAY_PURPOSE, kept.sms_secret)
    _post(
        placed(url, **{name: quote(value, safe="") for name, value in values.items()}), content, headers,
        local=settings.local_gateways, networks=settings.private_networks,
    )  # fmt: skip


def send_whatsapp(
    settings: Settings, keyring: Keyring, kept: MessageSettings | None, phone: str, text: str, language: str
) -> None:
    if kept is None or kept.whatsapp_token is None or not kept.whatsapp_phone:
        raise TryAgain("the WhatsApp API is not set up")
    digits = phone.lstrip("+")
    # A parameter of a template may hold no line break, and no more than four blanks in a row.
    said = {"type": "body", "parameters": [{"type": "text", "text": one_line(text)[:1000]}]}
    document = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": digits,
        "type": "template",
        "template": {
            "name": kept.whatsapp_template,
            "language": {"code": _LANGUAGES.get(language, "en")},
            "components": [said],
        },
    }
    token = keyring.open(GATEWAY_PURPOSE, kept.whatsapp_token)
    url = f"{settings.whatsapp_url.rstrip('/')}/{quote(kept.whatsapp_phone, safe='')}/messages"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    # The address is the installation's and not the operator's, so it may be anywhere.
    _post(url, json.dumps(document), headers, local=True)


def send_telegram(settings: Settings, keyring: Keyring, kept: MessageSettings | None, chat: str, text: str) -> None:
    if kept is None or kept.telegram_url is None:
        raise TryAgain("Telegram is not set up")
    url = placed(keyring.open(GATEWAY_PURPOSE, kept.telegram_url), chat=quote(chat, safe=""))
    send_by_apprise(
        url, "", text[:LONGEST_TELEGRAM], local=settings.local_gateways, networks=settings.private_networks,
        final=(403,),  # the subscriber blocked the bot
    )  # fmt: skip


def placed(template: str, **values: str) -> str:
    """Return a template of a gateway with the places in it filled in; other braces stay, as JSON needs them."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), template)


def _post(
    url: str, content: str, headers: Mapping[str, str], *, local: bool, networks: Sequence[Network] = ()
) -> None:  # fmt: skip
    try:
        secure = needs_https(url, local=local, networks=networks)
        answer = post(url, content.encode(), headers, local=local, networks=networks, secure=secure)
    except NotAllowed as problem:
        raise Refused(str(problem)) from None
    except NoAnswer as problem:
        raise TryAgain(str(problem)) from None
    if 200 <= answer.status < 300:
        return
    words = f"{answer.status} {_reason(answer.text)}".strip()
    # 401 and 403 are ours to mend, 408 and 429 say "later"; what else is 4xx is about this very message.
    if 400 <= answer.status < 500 and answer.status not in (401, 403, 408, 429):
        raise Refused(words)
    raise TryAgain(words)


def _reason(text: str) -> str:
    """Return what a gateway says went wrong, from the places where they put it."""
    try:
        found = json.loads(text)
    except ValueError:
        return one_line(re.sub(r"<[^>]*>", " ", text))[:200]
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
            if isinstance(found, dict):
                found = found.get("message", found)
            break
    return one_line(found if isinstance(found, str) else json.dumps(found))[:200]
