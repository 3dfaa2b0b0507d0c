"""Words for what routers and their orders say: causes, kinds, answers. All of it in English and Spanish."""

from collections.abc import Mapping

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_
from portal.reasons import short_reason
from radius.explain import known_reason

KINDS: Mapping[str, str] = {
    "ppp": N_("PPPoE"),
    "hotspot": N_("Hotspot"),
    "dhcp": N_("DHCP"),
    "wireless": N_("Wireless"),
    "login": N_("Router login"),
}

METHODS: Mapping[str, str] = {
    "pap": "PAP",
    "chap": "CHAP",
    "mschap": "MS-CHAP",
    "mschapv2": "MS-CHAPv2",
    "mac": N_("MAC address"),
}

ORDER_KINDS: Mapping[str, str] = {
    "coa": N_("Change terms (CoA)"),
    "disconnect": N_("Disconnect"),
    "api": N_("Remove through the router's API"),
}

ORDER_CAUSES: Mapping[str, str] = {
    "staff": N_("Asked for by staff"),
    "plan": N_("Other terms by plan or service"),
    "restored": N_("Restored"),
}

OUTCOMES: Mapping[str, str] = {
    "ack": N_("The router acknowledged it"),
    "nak": N_("The router refused it"),
    "timeout": N_("No answer: the router is unreachable, or its secret is another"),
    "unreachable": N_("The router cannot be reached; it is tried again until it answers"),
    "gone": N_("The session was over already"),
    "no session": N_("The session has ended by itself"),
    "no nas": N_("The NAS was deleted"),
    "granted anew": N_("The subscriber connected again with the new terms"),
    "no effect": N_("Acknowledged, but accounting shows no effect"),
    "not verified": N_("Acknowledged, but accounting never showed it"),
}

# RFC 5176 §3.5
ERROR_CAUSES: Mapping[int, str] = {
    201: N_("Residual session context removed"),
    202: N_("Invalid EAP packet"),
    401: N_("The router does not support an attribute of the request"),
    402: N_("The router misses an attribute"),
    403: N_("The request names another router"),
    404: N_("The router takes the request for invalid"),
    405: N_("The router does not support this service type"),
    406: N_("The router does not support this extension"),
    407: N_("The router takes a value for invalid"),
    501: N_("Administratively prohibited on the router"),
    502: N_("The request cannot be routed"),
    503: N_("The router knows no such session"),
    504: N_("The session cannot be removed"),
    505: N_("Another proxy error"),
    506: N_("The router lacks resources for it"),
    507: N_("The router wants to ask for authorization first"),
    508: N_("Several sessions match, and the router cannot choose"),
}

# RFC 2866 §5.10 with the names of FreeRADIUS's dictionary, which RouterOS uses too.
TERMINATE_CAUSES: Mapping[str, str] = {
    "User-Request": N_("The device hung up"),
    "Lost-Carrier": N_("The line was lost"),
    "Lost-Service": N_("The device left"),
    "Idle-Timeout": N_("Idle for too long"),
    "Session-Timeout": N_("Its time was over"),
    "Admin-Reset": N_("Disconnected by an order"),
    "Admin-Reboot": N_("The router was restarted"),
    "Port-Error": N_("An error of the port"),
    "NAS-Error": N_("An error of the router"),
    "NAS-Request": N_("The router ended it"),
    "NAS-Reboot": N_("The router restarted by itself"),
}

ENDED_BY: Mapping[str, str] = {
    "stop": N_("The router said so"),
    "superseded": N_("Replaced by a newer session"),
    "reboot": N_("The router rebooted"),
    "accounting-on": N_("The router restarted accounting"),
    "accounting-off": N_("The router stopped accounting"),
    "stale": N_("Nothing was heard of it any more"),
    "gone": N_("The router did not know it any more"),
    "staff": N_("Closed by staff"),
}

_KINDS_OF_WORDS: Mapping[str, Mapping[str, str]] = {
    "kind": KINDS,
    "method": METHODS,
    "order_kind": ORDER_KINDS,
    "outcome": OUTCOMES,
    "terminate_cause": TERMINATE_CAUSES,
    "ended_by": ENDED_BY,
}


def word(kind: str, value: str | None) -> str:
    """Return a stored value in words; one that is not known stays as it is."""
    if not value:
        return "–"
    text = _KINDS_OF_WORDS[kind].get(value)
    return str(_(text)) if text else value


def order_cause(cause: str, language: str) -> str:
    """Return why an order was made: a reason of the decision, or one of its own."""
    reason = known_reason(cause)
    if reason is not None:
        return short_reason(reason, language)
    return str(_(ORDER_CAUSES[cause])) if cause in ORDER_CAUSES else cause


def error_cause(number: int | None) -> str:
    """Return an Error-Cause with its number, which is what a search of the web needs."""
    if number is None:
        return ""
    return f"{_(ERROR_CAUSES[number])} ({number})" if number in ERROR_CAUSES else f"Error-Cause {number}"


def install(app: Flask) -> None:
    app.jinja_env.globals.update(word=word, order_cause=order_cause, error_cause=error_cause)
