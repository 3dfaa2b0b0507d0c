"""Why somebody is not online as they should be, in the words that a subscriber understands, and what helps.

One sentence says what is so, the next what to do. Staff read other words for the same reasons (`portal.radius_words`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aaa.decision import Reason
from core.i18n import N_


@dataclass(frozen=True, slots=True)
class Trouble:
    """`helps` names what the page offers beside it: pay, promise, resume, boost, ask; `grave` is without service."""

    title: str
    text: str
    helps: tuple[str, ...] = ("ask",)
    grave: bool = True


TROUBLES: Mapping[Reason, Trouble] = {
    Reason.OPERATOR_SUSPENDED: Trouble(
        N_("The service is not available"), N_("The fault is ours. Please get in touch.")
    ),
    Reason.PENDING: Trouble(
        N_("Your line is not installed yet"), N_("It is switched on when it has been installed. Ask us when that is.")
    ),
    Reason.PAUSED: Trouble(
        N_("Your service is paused"), N_("You wished so. It can be resumed at any time."), ("resume", "ask")
    ),
    Reason.SUSPENDED_OVERDUE: Trouble(
        N_("Your service is suspended: a payment is overdue"),
        N_("When you have paid, it is back within seconds, by itself."),
        ("pay", "promise", "ask"),
    ),
    Reason.OVERDUE: Trouble(
        N_("Your service is suspended: a payment is overdue"),
        N_("When you have paid, it is back within seconds, by itself."),
        ("pay", "promise", "ask"),
    ),
    Reason.PAYING: Trouble(
        N_("You are on line to pay"),
        N_("For some minutes everything opens, slowly, so that your bank can ask you. Your line follows the payment."),
        ("pay", "promise", "ask"),
        grave=False,
    ),
    Reason.SUSPENDED_BY_STAFF: Trouble(
        N_("Your service is suspended"), N_("This was done by a person. Please get in touch.")
    ),
    Reason.CAP_REACHED: Trouble(
        N_("Your data for this period is used up"),
        N_("The line is closed until the next period begins. More data or a larger plan opens it at once."),
        ("top_up", "plan", "ask"),
    ),
    Reason.FAIR_USE: Trouble(
        N_("You have used much data"),
        N_("You are online at a lower speed until the day, week or period ends that the plan names."),
        ("plan", "ask"),
        grave=False,
    ),
    Reason.CAP_THROTTLED: Trouble(
        N_("Your data for this period is used up"),
        N_("You are online at a lower speed until the next period begins."),
        ("boost", "top_up", "plan", "ask"),
        grave=False,
    ),
    Reason.VOLUME_USED_UP: Trouble(N_("The data that you bought is used up"), N_("Get in touch to buy more.")),
    Reason.MAC_NOT_ALLOWED: Trouble(
        N_("Another device is registered for this line"), N_("Forget the old one under Devices, or get in touch.")
    ),
}
