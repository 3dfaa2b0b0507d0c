"""What subscribers and staff are told of: a registry of events, each with its variables and first words.

An operator may write the words anew for each channel and language (`crm.message_texts`). Every text may use
`{name}`, `{operator}` and `{phone}` beside the event's own variables. The words here are English; their translations
stand in the catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.i18n import N_, translator
from crm.texts import Words
from db.models.message import CHANNELS

COMMON: Mapping[str, str] = {
    "name": N_("the reader's name"),
    "operator": N_("your company's name"),
    "phone": N_("your phone number"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people are told of.

    `body` is for e-mail, `short` for channels that are read on a phone. What is `urgent` goes in quiet hours too and
    by every channel; what is not `about_account` goes only to who has not unsubscribed.
    """

    title: str
    subject: str
    body: str
    short: str
    variables: Mapping[str, str] = field(default_factory=dict)
    audience: str = "subscriber"
    urgent: bool = False
    about_account: bool = True

    @property
    def allowed(self) -> Mapping[str, str]:
        """Return all variables, with what each is."""
        return {**COMMON, **self.variables}


_INCIDENT = {
    "what": N_("what it is about, in a few words"),
    "began": N_("when it began or will begin"),
    "expected": N_("when it should be over"),
}

_SIGN_IN = {
    "browser": N_("the browser, as it calls itself"),
    "address": N_("its address"),
    "when": N_("when it was"),
    "sessions": N_("where all browsers are listed"),
}

_TICKET = {
    "number": N_("number of the ticket"),
    "title": N_("what it is about, in a few words"),
    "subscriber": N_("whose ticket it is"),
    "when": N_("until when it was promised"),
    "who": N_("who works on it"),
}

_WORK_ORDER = {
    "number": N_("number of the work order"),
    "title": N_("what it is about, in a few words"),
    "address": N_("where it is"),
    "when": N_("when it is planned for"),
}

_PLAN = {"plan": N_("name of the plan")}

EVENTS: dict[str, Event] = {
    "incident": Event(
        N_("Outage: told to those concerned"),
        N_("We have a fault in your area"),
        N_(
            "Hello {name},\n\nsince {began} there is a fault in our network that cuts off your connection: {what}."
            " We are at work on it and tell you as soon as it is solved. {expected}\n\n"
            "You need not do anything, and need not restart your equipment.\n\n{operator}\n{phone}"
        ),
        N_("{operator}: since {began} a fault in our network cuts off your connection ({what}). We are at work on it."
           " {expected}"),
        _INCIDENT,
        urgent=True,
    ),
    "incident_planned": Event(
        N_("Planned work: told before"),
        N_("Planned work on {began}"),
        N_(
            "Hello {name},\n\nwe will work on our network from {began}: {what}. Your connection may be interrupted"
            " meanwhile. {expected}\n\nThank you for your patience.\n\n{operator}\n{phone}"
        ),
        N_("{operator}: planned work from {began} ({what}). Your connection may be interrupted. {expected}"),
        _INCIDENT,
    ),
    "incident_cancelled": Event(
        N_("Planned work: called off"),
        N_("The planned work of {began} is called off"),
        N_(
            "Hello {name},\n\nthe work on our network that we told you of for {began} ({what}) will not take place."
            " Your connection stays as it is.\n\n{operator}\n{phone}"
        ),
        N_("{operator}: the work planned for {began} is called off. Your connection stays as it is."),
        _INCIDENT,
    ),
    "incident_over": Event(
        N_("Outage: it is solved"),
        N_("Your connection is back"),
        N_(
            "Hello {name},\n\nthe fault of {began} is solved; it lasted {lasted}. {cause}\n\nIf you still have no"
            " connection, restart your equipment, or call us.\n\nWe are sorry for the trouble.\n\n{operator}\n{phone}"
        ),
        N_("{operator}: the fault of {began} is solved. If you have no connection, restart your equipment or call"
           " {phone}."),
        {**_INCIDENT, "lasted": N_("how long it lasted"), "cause": N_("what it was")},
    ),
    "document": Event(
        N_("Invoice, receipt or credit note sent by mail"),
        N_("{title} {number} · {operator}"),
        N_(
            "Hello {name},\n\nhere is your document: {title} {number}, {amount}.\nOpen or print it: {url}\n{pay}\n\n"
            "{issuer}"
        ),
        N_("{operator}: {title} {number}, {amount}: {url}"),
        {
            "title": N_("what it is: an invoice, a receipt"),
            "number": N_("number of the document"),
            "amount": N_("its amount"),
            "url": N_("link to the document"),
            "pay": N_("a line with the link to pay, where something is open"),
            "issuer": N_("your company as it stands on documents"),
        },
    ),
    "work_order": Event(
        N_("Work order: told to who is to go"),
        N_("Work order {number}: {title}"),
        N_("Work order {number}: {title}\n{address}\nWhen: {when}\n\nIt stands in your list of work orders."),
        N_("Work order {number}: {title}, {address}, {when}"),
        _WORK_ORDER,
        audience="staff",
    ),
    "work_order_off": Event(
        N_("Work order taken back: told to who was to go"),
        N_("Work order {number} is not yours any more: {title}"),
        N_(
            "Work order {number}: {title}\n{address}\nIt was planned for: {when}\n\nIt was given to somebody else or"
            " called off, so you need not go."
        ),
        N_("Work order {number}: {title}, {address}, {when}: you need not go any more."),
        {**_WORK_ORDER, "when": N_("when it was planned for")},
        audience="staff",
    ),
    "webhook_off": Event(
        N_("Webhook switched off: told to the managers"),
        N_("The webhook to {address} is switched off"),
        N_(
            "Hello {name},\n\nthe webhook to {address} is told nothing any more: it has taken nothing since {since},"
            " or said that it is gone.\n\nUnder Settings, Webhooks, you see what it answered, switch it on again,"
            " and send again what it missed."
        ),
        N_("The webhook to {address} is switched off; it has taken nothing since {since}."),
        {"address": N_("the machine that was told"), "since": N_("since when nothing was taken")},
        audience="staff",
    ),
    "sign_in_device": Event(
        N_("Signed in from a new browser: told to who it was"),
        N_("A new browser has signed in to your account"),
        N_(
            "Hello {name},\n\nsomebody has signed in to your account at the portal of {operator}, from a browser that"
            " was not known before:\n\n{browser}\n{address}\n{when}\n\nIf it was you, there is nothing to do. If"
            " not, change your password at once and sign out that browser: {sessions}"
        ),
        N_("{operator}: a new browser has signed in to your account ({browser}, {address}, {when})."
           " Not you? Change your password: {sessions}"),
        _SIGN_IN,
        audience="staff",
        urgent=True,
    ),
    "sign_in_place": Event(
        N_("Signed in from a new place: told to who it was"),
        N_("Your account was signed in to from a new place"),
        N_(
            "Hello {name},\n\nsomebody has signed in to your account at the portal of {operator}, from a network that"
            " you have not used before:\n\n{browser}\n{address}\n{when}\n\nIf it was you, there is nothing to do. If"
            " not, change your password at once and sign out that browser: {sessions}"
        ),
        N_("{operator}: your account was signed in to from a new place ({browser}, {address}, {when})."
           " Not you? Change your password: {sessions}"),
        _SIGN_IN,
        audience="staff",
        urgent=True,
    ),
    "sign_in_recovery": Event(
        N_("Signed in with a recovery code: told to who it was"),
        N_("A recovery code of yours was used"),
        N_(
            "Hello {name},\n\nsomebody has signed in to your account at the portal of {operator} with one of your"
            " recovery codes. {left} are left.\n\nIf it was not you, change your password at once and make new codes."
        ),
        N_("{operator}: a recovery code of yours was used; {left} are left. Not you? Change your password."),
        {"left": N_("how many codes are left")},
        audience="staff",
        urgent=True,
    ),
    "sign_in_reset": Event(
        N_("Second factor taken away: told to whose it was"),
        N_("Your second factor was removed"),
        N_(
            "Hello {name},\n\n{who} has removed the second factor of your account at the portal of {operator}. You sign"
            " in with your password alone until you set up another.\n\nIf you did not ask for this, tell your manager."
        ),
        N_("{operator}: {who} has removed your second factor. Did you not ask for it? Tell your manager."),
        {"who": N_("who did it")},
        audience="staff",
        urgent=True,
    ),
    "ticket_given": Event(
        N_("Ticket: told to who is to work on it"),
        N_("Ticket {number}: {title}"),
        N_("Ticket {number} of {subscriber} waits for you: {title}\nPromised by: {when}\n\nIt stands on your home."),
        N_("Ticket {number} of {subscriber} waits for you: {title}"),
        _TICKET,
        audience="staff",
    ),
    "ticket_due": Event(
        N_("Ticket: its promise ends soon"),
        N_("Ticket {number} is due by {when}"),
        N_("Ticket {number} of {subscriber} is due by {when}: {title}\nWho has it: {who}"),
        N_("Ticket {number} of {subscriber} is due by {when}: {title}"),
        _TICKET,
        audience="staff",
    ),
    "ticket_late": Event(
        N_("Ticket: its promise was broken"),
        N_("Ticket {number} is late"),
        N_("Ticket {number} of {subscriber} was due by {when} and is not done: {title}\nWho has it: {who}"),
        N_("Ticket {number} of {subscriber} is late: {title}"),
        _TICKET,
        audience="staff",
    ),
    "plan_granted": Event(
        N_("Another plan granted: told to who asked for it"),
        N_("You have the plan {plan} now"),
        N_("Hello {name},\n\nyou asked for the plan {plan}, and have it from now on.\n\n{operator}\n{phone}"),
        N_("{operator}: you have the plan {plan} from now on."),
        _PLAN,
    ),
    "plan_refused": Event(
        N_("Another plan refused: told to who asked for it"),
        N_("About the plan {plan}"),
        N_(
            "Hello {name},\n\nyou asked for the plan {plan}. We cannot give it to you at the moment;"
            " nothing has changed. Please get in touch if you want to know more.\n\n{operator}\n{phone}"
        ),
        N_("{operator}: we cannot give you the plan {plan} at the moment; nothing has changed."),
        _PLAN,
    ),
    "wallet_low": Event(
        N_("Prepaid: the service is about to end"),
        N_("Your service ends on {last_day}"),
        N_(
            "Hello {name},\n\nyour prepaid service is paid up to and including {last_day}. The next period costs"
            " {price}, and you have {wallet} with us. As soon as you top it up, the service goes on by itself.\n"
            "{pay}\n\n{operator}\n{phone}"
        ),
        N_("{operator}: your service is paid up to {last_day}. The next period costs {price}; you have {wallet} with"
           " us. {pay}"),
        {
            "last_day": N_("the last day on which the service is on"),
            "price": N_("what the next period costs"),
            "wallet": N_("what the subscriber has with you"),
            "pay": N_("a line with the link to pay, where you take payments online"),
        },
    ),
}  # fmt: skip


def default_words(event: str, channel: str, language: str) -> Words:
    """Return what an event says where the operator has not written it anew. Raises KeyError for one unknown."""
    found = EVENTS[event]
    translate = translator(language)
    if channel == CHANNELS[0]:
        return Words(translate(found.subject), translate(found.body))
    return Words("", translate(found.short))
