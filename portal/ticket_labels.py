"""Words and badges of the help desk; `portal.labels` joins them to the others."""

from collections.abc import Mapping

from core.i18n import N_

# Word, colour and icon of each state.
BADGES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "ticket_state": {
        "new": (N_("New"), "blue", "sparkles"),
        "open": (N_("In work"), "cyan", "tools"),
        "waiting_subscriber": (N_("Waiting for the subscriber"), "yellow", "hourglass"),
        "waiting_others": (N_("Waiting for others"), "orange", "users"),
        "solved": (N_("Solved"), "green", "check"),
        "closed": (N_("Closed"), "secondary", "archive"),
    },
    "ticket_priority": {
        "urgent": (N_("Urgent"), "red", "flame"),
        "high": (N_("High"), "orange", "arrow-up"),
        "normal": (N_("Normal"), "blue", "minus"),
        "low": (N_("Low"), "secondary", "arrow-down"),
    },
}

LABELS: Mapping[str, Mapping[str, str]] = {
    "ticket_source": {
        "staff": N_("Entered by staff"),
        "portal": N_("Subscriber portal"),
        "email": N_("E-mail"),
        "captive": N_("Walled garden page"),
        "incident": N_("Incident"),
    },
    "mail_reason": {
        "bounce": N_("A mail that came back"),
        "automatic": N_("An automatic answer"),
        "list": N_("A mailing list"),
        "own": N_("From an address of ours"),
        "flood": N_("Too many from one sender within an hour"),
    },
    "mailbox_trouble": {
        "login": N_("The server refuses the user name or the password."),
        "folder": N_("There is no such folder."),
        "connection": N_("Nothing answers there."),
        "tls": N_("The connection cannot be encrypted, or the certificate is not good."),
        "server": N_("The server refuses."),
        "host": N_("There is no such host, or it is not at a public address."),
        "password_unreadable": N_("The password that is kept cannot be read. Enter it again."),
    },
}

ACTIONS: Mapping[str, str] = {
    "ticket.open": N_("Ticket opened"),
    "ticket.answer": N_("Ticket answered"),
    "ticket.note": N_("Note in a ticket"),
    "ticket.call": N_("Call logged in a ticket"),
    "ticket.change": N_("Ticket changed"),
    "ticket.escalate": N_("Ticket handed on"),
    "ticket.solve": N_("Ticket solved"),
    "ticket.close": N_("Ticket closed"),
    "ticket.reopen": N_("Ticket reopened"),
    "ticket.merge": N_("Ticket merged"),
    "ticket.rate": N_("Satisfaction noted"),
    "help_desk.change": N_("Rules of the help desk changed"),
    "ticket_category.create": N_("Category of tickets entered"),
    "ticket_category.change": N_("Category of tickets changed"),
    "canned_answer.create": N_("Canned answer entered"),
    "canned_answer.change": N_("Canned answer changed"),
    "canned_answer.delete": N_("Canned answer removed"),
    "mailbox.change": N_("Mailbox of the help desk changed"),
    "mailbox.delete": N_("Mailbox of the help desk removed"),
}

FIELDS: Mapping[str, str] = {
    "subject": N_("Subject"),
    "category_id": N_("Category"),
    "priority": N_("Priority"),
    "queue": N_("Queue"),
    "assigned_id": N_("Assigned to"),
    "incident_id": N_("Incident"),
    "subscriber_id": N_("Subscriber"),
    "reason": N_("Reason"),
    "satisfaction": N_("Satisfaction"),
    "hours": N_("Hours"),
    "targets": N_("Promises"),
}

KINDS: Mapping[str, str] = {"queue": "role", "priority": "ticket_priority"}
