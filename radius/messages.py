"""What a subscriber is told when turned away: the Reply-Message of an Access-Reject (RFC 2865 §5.18)."""

from collections.abc import Mapping
from functools import cache

from aaa.decision import Reason
from core.i18n import LANGUAGES, N_, translator

_TEXTS: Mapping[Reason, str] = {
    Reason.UNKNOWN_SUBSCRIBER: N_("User name or password is wrong."),
    Reason.WRONG_PASSWORD: N_("User name or password is wrong."),
    Reason.NO_PASSWORD: N_("User name or password is wrong."),
    Reason.MAC_NOT_REGISTERED: N_("This device is not registered."),
    Reason.TOO_MANY_ATTEMPTS: N_("Too many wrong passwords. Wait a few minutes."),
    Reason.OPERATOR_SUSPENDED: N_("The service is not available. Call your provider."),
    Reason.NOT_VIA_RADIUS: N_("This connection needs no login. Call your provider."),
    Reason.OTHER_ROUTER: N_("This account does not belong to this place."),
    Reason.TERMINATED: N_("This account was closed. Call your provider."),
    Reason.PENDING: N_("This account is not active yet."),
    Reason.PAUSED: N_("Your service is paused. Call your provider to resume it."),
    Reason.SUSPENDED_OVERDUE: N_("Your service is suspended: a payment is overdue."),
    Reason.SUSPENDED_BY_STAFF: N_("Your service is suspended. Call your provider."),
    Reason.OVERDUE: N_("Your service is suspended: a payment is overdue."),
    Reason.PAYING: N_("You are on line for some minutes, to pay."),
    Reason.MAC_NOT_ALLOWED: N_("This device may not use this account."),
    Reason.SESSION_LIMIT: N_("This account is already in use."),
    Reason.CAP_REACHED: N_("Your data for this month is used up."),
    Reason.CAP_THROTTLED: N_("Your data for this month is used up; you are online at a lower speed."),
    Reason.FAIR_USE: N_("You have used much data; you are online at a lower speed for a while."),
    Reason.TIME_WINDOW: N_("A special rate holds at this hour."),
    Reason.BOOSTED: N_("Your line is faster for a while."),
    Reason.VOLUME_USED_UP: N_("The data of this code is used up."),
    Reason.TIME_USED_UP: N_("The time of this code is used up."),
    Reason.CODE_EXPIRED: N_("This code has expired."),
    Reason.CODE_IN_USE: N_("This code is already in use on another device."),
    Reason.CODE_VOID: N_("This code was cancelled. Ask where you bought it."),
    Reason.OUT_OF_DATE: N_("The service is not available at the moment. Try again later."),
}

# Whoever types a code from a card has no user name, no password and no account. What is not known may be mistyped, be
# of another place, or be a guess: all of them read the same.
_CODE_TEXTS: Mapping[Reason, str] = {
    Reason.UNKNOWN_SUBSCRIBER: N_("This code is not valid here. Compare it letter by letter with your card."),
    Reason.TOO_MANY_ATTEMPTS: N_("Too many wrong codes. Wait five minutes, and compare it with your card meanwhile."),
    Reason.PENDING: N_("This code is not active yet. Ask where you got it."),
    Reason.OTHER_ROUTER: N_("This code is for another place. Ask where you got it."),
}


def reply_message(reason: Reason, language: str, *, to_code: bool = False) -> str:
    """Return the text for the subscriber, in the language of the subscriber or else of the operator.

    `to_code` when an access code was typed, or what may be meant as one.
    """
    return translator(language)(_CODE_TEXTS.get(reason, _TEXTS[reason]) if to_code else _TEXTS[reason])


def source_of(message: str) -> str | None:
    """Return the English source of a text of ours in whatever language it was sent, nothing of anybody else's."""
    return _sources().get(message)


@cache
def _sources() -> Mapping[str, str]:
    texts = (*_TEXTS.values(), *_CODE_TEXTS.values())
    return {translator(language)(text): text for language in LANGUAGES for text in texts}
