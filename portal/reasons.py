"""The decision in words for staff: every reason, every rule, in English and Spanish.

This is the one place that turns `aaa.decision.Reason` and the rules of `aaa.authorize` into sentences. What a
subscriber reads (Reply-Message) is another audience's text and stands in `radius.messages`. Nothing here needs
Flask, so the command line says the same words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_decimal

from aaa.decision import Accept, Decision, Finding, Reason, Reject, Terms, WalledGarden
from aaa.facts import AccessMethod, CapAction, MacBinding
from core.i18n import N_, translator
from core.rates import format_rate
from radius.explain import NameExplanation

REASONS: Mapping[Reason, str] = {
    Reason.UNKNOWN_SUBSCRIBER: N_("Nobody is registered under this user name"),
    Reason.MAC_NOT_REGISTERED: N_("This MAC address is not registered"),
    Reason.WRONG_PASSWORD: N_("Wrong password"),
    Reason.NO_PASSWORD: N_("The request carried no password"),
    Reason.TOO_MANY_ATTEMPTS: N_("Too many wrong passwords: refused for a while"),
    Reason.OPERATOR_SUSPENDED: N_("The whole operator is suspended by the platform"),
    Reason.NOT_VIA_RADIUS: N_("This service is a simple queue on its router and does not use RADIUS"),
    Reason.OTHER_ROUTER: N_("The request came from %(nas)s, but the service belongs to another router"),
    Reason.TERMINATED: N_("The service is terminated"),
    Reason.PENDING: N_("The service is not active yet: its installation is pending"),
    Reason.PAUSED: N_("The service is paused at the subscriber's wish"),
    Reason.SUSPENDED_OVERDUE: N_("Suspended since %(since)s: payment overdue"),
    Reason.SUSPENDED_BY_STAFF: N_("Suspended since %(since)s by staff"),
    Reason.OVERDUE: N_("Not paid: paid time and grace ended on %(since)s"),
    Reason.PAYING: N_("Overdue, and being paid: on line slowly for some minutes, so that a bank can ask"),
    Reason.MAC_NOT_ALLOWED: N_("The device %(mac)s is not one of this service's"),
    Reason.SESSION_LIMIT: N_("Session limit %(limit)s reached: already connected on %(nas)s"),
    Reason.CAP_REACHED: N_("Data cap of %(cap)s reached: blocked until the period ends"),
    Reason.CAP_THROTTLED: N_("Data cap reached: slowed down until the period ends"),
    Reason.FAIR_USE: N_("A step of fair use is reached: slowed down until its day, week or period ends"),
    Reason.TIME_WINDOW: N_("A time window of the plan sets the rate"),
    Reason.BOOSTED: N_("A boost makes it faster for a while"),
    Reason.VOLUME_USED_UP: N_("The prepaid volume is used up"),
    Reason.TIME_USED_UP: N_("The time online of the voucher is used up"),
    Reason.CODE_EXPIRED: N_("The voucher has expired"),
    Reason.CODE_IN_USE: N_("The voucher is in use: %(limit)s at once, now at %(nas)s"),
    Reason.CODE_VOID: N_("The voucher was cancelled"),
    Reason.OUT_OF_DATE: N_("The RADIUS server had no news since %(since)s, and lets nobody in by what it knew then"),
}

# The same without their particulars: for filters, chips and counts.
SHORT: Mapping[Reason, str] = {
    Reason.UNKNOWN_SUBSCRIBER: N_("Unknown user name"),
    Reason.MAC_NOT_REGISTERED: N_("MAC not registered"),
    Reason.WRONG_PASSWORD: N_("Wrong password"),
    Reason.NO_PASSWORD: N_("No password"),
    Reason.TOO_MANY_ATTEMPTS: N_("Too many attempts"),
    Reason.OPERATOR_SUSPENDED: N_("Operator suspended"),
    Reason.NOT_VIA_RADIUS: N_("Not via RADIUS"),
    Reason.OTHER_ROUTER: N_("Other router"),
    Reason.TERMINATED: N_("Terminated"),
    Reason.PENDING: N_("Pending"),
    Reason.PAUSED: N_("Paused"),
    Reason.SUSPENDED_OVERDUE: N_("Suspended: overdue"),
    Reason.SUSPENDED_BY_STAFF: N_("Suspended by staff"),
    Reason.OVERDUE: N_("Not paid"),
    Reason.PAYING: N_("Being paid"),
    Reason.MAC_NOT_ALLOWED: N_("Device not allowed"),
    Reason.SESSION_LIMIT: N_("Session limit"),
    Reason.CAP_REACHED: N_("Data cap reached"),
    Reason.CAP_THROTTLED: N_("Slowed down by data cap"),
    Reason.FAIR_USE: N_("Slowed down by fair use"),
    Reason.TIME_WINDOW: N_("Time window"),
    Reason.BOOSTED: N_("Boosted"),
    Reason.VOLUME_USED_UP: N_("Volume used up"),
    Reason.TIME_USED_UP: N_("Time used up"),
    Reason.CODE_EXPIRED: N_("Voucher expired"),
    Reason.CODE_IN_USE: N_("Voucher in use"),
    Reason.CODE_VOID: N_("Voucher cancelled"),
    Reason.OUT_OF_DATE: N_("Server without news"),
}

# What a rule found where it had nothing against the access. Rules that are missing here say nothing then.
PASSED: Mapping[str, str] = {
    "registered": N_("Registered: %(subscriber)s"),
    "password": N_("The password of the last request was correct"),
    "operator_active": N_("The operator is active"),
    "in_service": N_("The service is installed"),
    "router": N_("The last request came from its router, %(nas)s"),
    "something_left": N_("Something of the voucher is left"),
    "device": N_("The device is one of this service's"),
    "session_limit": N_("Below the session limit of %(limit)s"),
    "not_paused": N_("Not paused"),
    "not_suspended": N_("Not suspended"),
    "paid": N_("Paid: not cut off before %(until)s"),
    "volume_left": N_("Prepaid volume left: %(left)s"),
    "below_cap": N_("Used %(used)s of %(cap)s in this period"),
    "terms": N_("Gets %(rate)s"),
}

# Rules about the packet: without a request to play through they were not asked.
OF_THE_PACKET = frozenset({"not_guessing", "password", "router", "device", "session_limit"})


class Mark(StrEnum):
    """How a line of an explanation is marked."""

    PASSED = "passed"
    STOPPED = "stopped"
    CHANGED = "changed"  # granted, but not simply the plan


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence of an explanation: what was checked, in which order, and what came of it."""

    rule: str
    mark: Mark
    sentence: str
    reason: Reason | None = None


def reason_sentence(reason: Reason, detail: Mapping[str, Any], language: str) -> str:
    """Return what a reason says to staff; where an event does not tell its particulars, the short form."""
    values = dict(detail)
    if "since" in detail:
        values["since"] = local_day(str(detail["since"]), language)
    if "cap" in detail:
        values["cap"] = volume(int(detail["cap"]), language)
    try:
        sentence = translator(language)(REASONS[reason]) % values
    except KeyError:
        return short_reason(reason, language)
    free = str(detail.get("detail") or "")
    return f"{sentence} ({free})" if free else sentence


def short_reason(reason: Reason, language: str) -> str:
    """Return a reason in a few words, without its particulars."""
    return translator(language)(SHORT[reason])


def event_sentence(outcome: str, reason: Reason | None, detail: Mapping[str, Any], language: str) -> str:
    """Return what an authentication event says: its reason, or that all was well."""
    if reason is not None:
        return reason_sentence(reason, detail, language)
    return translator(language)(PLAIN.get(outcome, outcome))


PLAIN: Mapping[str, str] = {
    "accept": N_("Let in with the terms of its plan"),
    "garden": N_("Let into the walled garden"),
    "reject": N_("Refused"),
}


def decision_outcome(decision: Decision) -> str:
    """Return `accept`, `garden` or `reject`, as events and grants are stored."""
    match decision:
        case Accept():
            return "accept"
        case WalledGarden():
            return "garden"
        case Reject():
            return "reject"


def decision_sentence(found: NameExplanation, language: str) -> str:
    """Return what would happen, in one sentence."""
    say = translator(language)
    match found.explanation.decision:
        case Accept(terms=terms):
            return say(N_("Would be accepted with %(rate)s")) % {"rate": rate_words(terms, language)}
        case WalledGarden():
            return say(N_("Would be let into the walled garden only"))
        case Reject():
            return say(N_("Would be rejected"))


def explanation_lines(found: NameExplanation, language: str) -> list[Line]:
    """Return the rules in the order of the decision; those that do not concern this service are left out."""
    lines = []
    for finding in found.explanation.findings:
        if finding.passed and finding.reason is None:
            sentence = _passed(finding, found, language)
            if sentence is not None:
                lines.append(Line(finding.rule, Mark.PASSED, sentence))
        elif finding.passed and finding.reason is not None:
            granted = _passed(finding, found, language) or ""
            sentence = f"{reason_sentence(finding.reason, finding.detail, language)}. {granted}"
            lines.append(Line(finding.rule, Mark.CHANGED, sentence, finding.reason))
        elif finding.reason is not None:
            sentence = reason_sentence(finding.reason, finding.detail, language)
            lines.append(Line(finding.rule, Mark.STOPPED, sentence, finding.reason))
    return lines


def _passed(finding: Finding, found: NameExplanation, language: str) -> str | None:
    service, say = found.service, translator(language)
    if service is None or finding.rule not in PASSED:
        return None
    has_password = service.access_method in (AccessMethod.PPPOE, AccessMethod.HOTSPOT)
    if finding.rule in OF_THE_PACKET and found.replayed is None:
        if finding.rule == "password" and has_password:
            return say(N_("No request has come yet, so its password is not known"))
        return None
    cap, decision = service.plan.cap, found.explanation.decision
    concerns = {
        "password": has_password,
        "operator_active": False,
        "something_left": service.voucher is not None,
        "router": service.router_id is not None,
        "device": service.mac_binding is not MacBinding.ANY,
        "session_limit": service.session_limit > 0,
        "not_paused": False,
        "volume_left": service.octets_left is not None,
        # Else the terms say what follows.
        "below_cap": cap is not None and service.used_octets < cap.octets + service.extra_octets,
    }
    if not concerns.get(finding.rule, True):
        return None
    if finding.rule == "paid" and service.paid_until is None:
        return say(N_("No automatic cut-off"))
    return say(PASSED[finding.rule]) % {
        "subscriber": found.owner.subscriber_name if found.owner else service.name,
        "nas": found.replayed.nas_name if found.replayed else "",
        "limit": service.session_limit,
        "until": format_date(service.paid_until.astimezone(found.policy.zone).date(), "medium", language)
        if service.paid_until
        else "",
        "left": volume(service.octets_left or 0, language),
        "used": volume(service.used_octets, language),
        "cap": volume(cap.octets + service.extra_octets, language) if cap else "",
        "rate": rate_words(decision.terms, language) if isinstance(decision, Accept | WalledGarden) else "",
    }


def change_sentence(found: NameExplanation, language: str) -> str | None:
    """Return when the passing of time alone will change the decision, or None."""
    instant = found.explanation.changes_at
    if instant is None:
        return None
    local = instant.astimezone(found.policy.zone)
    return translator(language)(N_("By itself this changes on %(day)s at %(time)s")) % {
        "day": format_date(local.date(), "medium", language),
        "time": format_time(local.time(), "short", locale=language),
    }


CAP_ACTIONS: Mapping[CapAction, str] = {
    CapAction.NOTHING: N_("Nothing happens"),
    CapAction.THROTTLE: N_("Slow down"),
    CapAction.BLOCK: N_("Block"),
}


def rate_words(terms: Terms, language: str) -> str:
    """Return the rate of terms in words: download, then upload."""
    if terms.rate is None:
        return translator(language)(N_("the router's own rate"))
    return f"↓ {format_rate(terms.rate.download)} ↑ {format_rate(terms.rate.upload)}"


def volume(octets: int, language: str) -> str:
    """Return a volume in decimal units, as data caps are sold: `1.5 GB`."""
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if abs(octets) >= size:
            return f"{format_decimal(round(octets / size, 2), locale=language)} {unit}"
    return f"{octets} B"


def local_day(text: str, language: str) -> str:
    """Return a stored day (`2026-04-05`) as the reader writes it; what is not a day stays as it is."""
    try:
        return format_date(date.fromisoformat(text), "medium", language)
    except ValueError:
        return text


def local_instant(instant: datetime, found: NameExplanation, language: str) -> str:
    """Return an instant in the operator's zone."""
    return format_datetime(instant, "medium", found.policy.zone, language)
