"""Words and badges for the values that are stored: states, access methods, roles. One colour each, everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_
from portal import site_labels, ticket_labels, voucher_labels, work_labels


@dataclass(frozen=True, slots=True)
class Badge:
    """How a state looks: a colour of the theme, an icon, and its word, so that colour never stands alone."""

    text: str
    colour: str
    icon: str


BADGES: Mapping[str, Mapping[str, Badge]] = {
    "service_state": {
        "pending": Badge(N_("Pending"), "blue", "clock"),
        "active": Badge(N_("Active"), "teal", "circle-check"),
        "suspended": Badge(N_("Suspended"), "red", "ban"),
        "paused": Badge(N_("Paused"), "purple", "player-pause"),
        "terminated": Badge(N_("Terminated"), "dark", "circle-x"),
    },
    "line": {
        "online": Badge(N_("Online"), "green", "wifi"),
        "offline": Badge(N_("Offline"), "secondary", "wifi-off"),
        "garden": Badge(N_("Walled garden"), "orange", "fence"),
    },
    "staff_state": {
        "active": Badge(N_("Active"), "green", "circle-check"),
        "invited": Badge(N_("Invited"), "blue", "mail"),
        "off": Badge(N_("Switched off"), "secondary", "user-off"),
    },
    "api_token_state": {
        "active": Badge(N_("Active"), "green", "circle-check"),
        "stopped": Badge(N_("Stopped"), "orange", "user-off"),
        "expired": Badge(N_("Expired"), "secondary", "clock-off"),
        "revoked": Badge(N_("Revoked"), "red", "ban"),
    },
    "account_state": {
        "active": Badge(N_("With a licence"), "green", "license"),
        "demo": Badge(N_("Demo"), "blue", "flask"),
        "lapsed": Badge(N_("Licence ended"), "orange", "license-off"),
        "suspended": Badge(N_("Suspended"), "red", "lock-pause"),
        "leaving": Badge(N_("Will be removed"), "dark", "trash"),
    },
    "router_status": {
        "unknown": Badge(N_("Not checked yet"), "secondary", "help-circle"),
        "online": Badge(N_("Online"), "green", "plug-connected"),
        "offline": Badge(N_("Offline"), "red", "plug-connected-x"),
    },
    "notification_state": {
        "waiting": Badge(N_("Waiting"), "blue", "clock"),
        "sent": Badge(N_("Sent"), "green", "check"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
        "by_hand": Badge(N_("To be sent by hand"), "orange", "hand-stop"),
        "dropped": Badge(N_("Taken back"), "secondary", "circle-x"),
    },
    "webhook_state": {
        "well": Badge(N_("Well"), "green", "circle-check"),
        "failing": Badge(N_("Failing"), "red", "alert-triangle"),
        "off": Badge(N_("Switched off"), "secondary", "power"),
    },
    "delivery_state": {
        "waiting": Badge(N_("Waiting"), "blue", "clock"),
        "delivered": Badge(N_("Delivered"), "green", "check"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
    },
    "message_channel": {
        "email": Badge(N_("E-mail"), "blue", "mail"),
        "sms": Badge(N_("SMS"), "azure", "message"),
        "whatsapp": Badge(N_("WhatsApp"), "green", "brand-whatsapp"),
        "telegram": Badge(N_("Telegram"), "cyan", "brand-telegram"),
        "push": Badge(N_("Browser"), "purple", "device-mobile-message"),
        "apprise": Badge(N_("Other channel"), "secondary", "broadcast"),
    },
    "dunning_channel": {
        "email": Badge(N_("E-mail"), "blue", "mail"),
        "whatsapp": Badge(N_("WhatsApp"), "green", "brand-whatsapp"),
        "sms": Badge(N_("SMS"), "azure", "message"),
    },
    "dunning_outcome": {
        "sent": Badge(N_("Sent"), "green", "check"),
        "listed": Badge(N_("To be sent by hand"), "orange", "hand-stop"),
        "done": Badge(N_("Sent by hand"), "green", "checks"),
        "passed": Badge(N_("Left out: a later one was due"), "secondary", "player-skip-forward"),
        "unreachable": Badge(N_("No address"), "red", "mail-off"),
    },
    "bank_line_state": {
        "waiting": Badge(N_("Waiting"), "blue", "clock"),
        "booked": Badge(N_("Booked"), "green", "check"),
        "ignored": Badge(N_("Put aside"), "secondary", "x"),
    },
    "circuit_verdict": {
        "none": Badge(N_("In order"), "green", "circle-check"),
        "account": Badge(N_("Account"), "blue", "cash-off"),
        "network": Badge(N_("Network"), "red", "topology-star"),
        "router": Badge(N_("Router"), "red", "router"),
        "sector": Badge(N_("Sector"), "orange", "broadcast"),
        "premises": Badge(N_("Premises"), "purple", "home"),
        "unsure": Badge(N_("Not clear"), "secondary", "help-circle"),
        "running": Badge(N_("Under way"), "azure", "loader"),
        "broken": Badge(N_("Not finished"), "secondary", "circle-x"),
    },
    "pool_difference": {
        "equal": Badge(N_("As it should be"), "green", "check"),
        "missing": Badge(N_("Not on the router"), "orange", "alert-triangle"),
        "different": Badge(N_("Differs"), "orange", "alert-triangle"),
        "foreign": Badge(N_("Made by your own people"), "secondary", "user"),
        "left_over": Badge(N_("No longer wanted"), "secondary", "trash"),
    },
    "alert_kind": {
        "router_down": Badge(N_("Router offline"), "red", "plug-connected-x"),
        "wan_congested": Badge(N_("WAN nearly full"), "orange", "gauge"),
        "radius_silent": Badge(N_("No RADIUS"), "purple", "ear-off"),
        "incident": Badge(N_("Outage"), "red", "urgent"),
    },
    "incident_state": {
        "proposed": Badge(N_("To be confirmed"), "yellow", "help-hexagon"),
        "open": Badge(N_("Open"), "red", "urgent"),
        "to_come": Badge(N_("To come"), "blue", "calendar-clock"),
        "over": Badge(N_("Over"), "green", "check"),
    },
    "incident_scope": {
        "network": Badge(N_("Several routers"), "red", "topology-star"),
        "router": Badge(N_("A router"), "red", "router"),
        "site": Badge(N_("A site"), "orange", "building-broadcast-tower"),
        "sector": Badge(N_("A sector"), "orange", "broadcast"),
    },
    "outcome": {
        "accept": Badge(N_("Accepted"), "green", "check"),
        "garden": Badge(N_("Walled garden"), "orange", "fence"),
        "reject": Badge(N_("Rejected"), "red", "x"),
    },
    "order_state": {
        "pending": Badge(N_("Waiting"), "blue", "clock"),
        "sent": Badge(N_("Sent to the router"), "azure", "send"),
        "acked": Badge(N_("Acknowledged"), "cyan", "check"),
        "verified": Badge(N_("Verified"), "green", "checks"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
        "superseded": Badge(N_("Superseded"), "secondary", "replace"),
        "cancelled": Badge(N_("Cancelled"), "secondary", "circle-x"),
    },
    "invoice_state": {
        "open": Badge(N_("Open"), "blue", "clock"),
        "partly": Badge(N_("Partly paid"), "azure", "file-dots"),
        "overdue": Badge(N_("Overdue"), "red", "alert-triangle"),
        "paid": Badge(N_("Paid"), "green", "check"),
        "credited": Badge(N_("Credited"), "secondary", "arrow-back-up"),
        "unpaid": Badge(N_("Not wholly paid"), "orange", "cash-off"),
    },
    "payment_state": {
        "valid": Badge(N_("Valid"), "green", "check"),
        "refunded": Badge(N_("Refunded"), "orange", "receipt-refund"),
        "voided": Badge(N_("Voided"), "red", "circle-x"),
    },
    "checkout_state": {
        "new": Badge(N_("Begun"), "secondary", "clock"),
        "open": Badge(N_("Begun"), "blue", "clock"),
        "paid": Badge(N_("Paid"), "green", "check"),
        "mismatch": Badge(N_("Another amount was paid"), "red", "alert-triangle"),
        "refused": Badge(N_("Refused"), "orange", "circle-x"),
        "ended": Badge(N_("Not paid"), "secondary", "circle-off"),
    },
    "einvoice_state": {
        "waiting": Badge(N_("To be sent"), "secondary", "clock"),
        "sent": Badge(N_("Sent, no answer yet"), "blue", "send"),
        "accepted": Badge(N_("Accepted by the tax office"), "green", "circle-check"),
        "refused": Badge(N_("Refused by the tax office"), "red", "alert-triangle"),
        "cancelling": Badge(N_("Being cancelled"), "orange", "clock"),
        "cancelled": Badge(N_("Cancelled"), "dark", "circle-x"),
    },
    "document_kind": {
        "invoice": Badge(N_("Invoice"), "blue", "file-invoice"),
        "credit_note": Badge(N_("Credit note"), "orange", "arrow-back-up"),
    },
    "statement_line": {
        "invoice": Badge(N_("Invoice"), "blue", "file-invoice"),
        "credit_note": Badge(N_("Credit note"), "secondary", "arrow-back-up"),
        "payment": Badge(N_("Payment"), "green", "cash"),
        "void": Badge(N_("Payment voided"), "red", "circle-x"),
        "refund": Badge(N_("Refund"), "orange", "receipt-refund"),
    },
    "desk_state": {
        "open": Badge(N_("Open"), "green", "lock-open"),
        "closed": Badge(N_("Closed"), "secondary", "lock"),
    },
    "job_state": {
        "queued": Badge(N_("Waiting"), "blue", "clock"),
        "running": Badge(N_("Under way"), "azure", "loader"),
        "done": Badge(N_("Done"), "green", "check"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
        "cancelled": Badge(N_("Cancelled"), "secondary", "circle-x"),
    },
    "job_line": {
        "info": Badge(N_("Note"), "secondary", "info-circle"),
        "warning": Badge(N_("Warning"), "yellow", "alert-triangle"),
        "error": Badge(N_("Error"), "red", "alert-circle"),
    },
    "coupon_state": {
        "valid": Badge(N_("Valid"), "green", "check"),
        "used_up": Badge(N_("Used up"), "secondary", "battery-off"),
        "expired": Badge(N_("Expired"), "red", "calendar-x"),
    },
    "mass_row": {
        "waiting": Badge(N_("Waiting"), "blue", "clock"),
        "done": Badge(N_("Changed"), "green", "check"),
        "kept": Badge(N_("Left as it is"), "secondary", "equal"),
        "refused": Badge(N_("Refused"), "red", "alert-triangle"),
        "undone": Badge(N_("Taken back"), "purple", "arrow-back-up"),
    },
    "import_state": {
        "columns": Badge(N_("Columns to name"), "blue", "columns"),
        "reading": Badge(N_("Reading"), "azure", "loader"),
        "found": Badge(N_("To be decided"), "blue", "clock"),
        "writing": Badge(N_("Writing"), "azure", "loader"),
        "written": Badge(N_("Written"), "green", "check"),
        "undone": Badge(N_("Undone"), "secondary", "arrow-back-up"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
    },
    "import_action": {
        "new": Badge(N_("New"), "green", "plus"),
        "update": Badge(N_("Update"), "azure", "refresh"),
        "ignore": Badge(N_("Ignore"), "secondary", "eye-off"),
        "add": Badge(N_("Add as new"), "teal", "copy-plus"),
    },
    "shadow_state": {
        "local": Badge(N_("Router decides"), "purple", "router"),
        "portico": Badge(N_("Portico decides"), "green", "check"),
    },
    "shadow_differs": {
        "outcome": Badge(N_("Other answer"), "red", "arrows-exchange"),
        "rate": Badge(N_("Other speed"), "yellow", "gauge"),
        "": Badge(N_("The same"), "green", "equal"),
    },
    "shadow_there": {
        "accept": Badge(N_("Lets in"), "green", "check"),
        "reject": Badge(N_("Disabled"), "red", "ban"),
        "ask": Badge(N_("Asks RADIUS"), "azure", "question-mark"),
    },
    **{
        kind: {value: Badge(*look) for value, look in looks.items()}
        for kind, looks in (
            *work_labels.BADGES.items(),
            *ticket_labels.BADGES.items(),
            *voucher_labels.BADGES.items(),
            *site_labels.BADGES.items(),
        )
    },
    "enabled": {
        "yes": Badge(N_("In use"), "green", "check"),
        "no": Badge(N_("Switched off"), "secondary", "power"),
    },
}

LABELS: Mapping[str, Mapping[str, str]] = {
    **ticket_labels.LABELS,
    **work_labels.LABELS,
    **voucher_labels.LABELS,
    "shadow_kind": {"answer": N_("Answer changed"), "login": N_("Login at the router")},
    "notice_channel": {"email": N_("E-mail"), "apprise": N_("Other channel (Telegram, Slack, SMS …)")},
    "live_problem": {
        "not_online": N_("Not connected just now"),
        "no_router": N_("The router's API is not registered, or it is not watched"),
        "not_found": N_("The router has no counter for this line"),
    },
    "device_source": {"hotspot": N_("Hotspot"), "dhcp": N_("DHCP")},
    "import_column": {
        "name": N_("Name of the subscriber"),
        "first_name": N_("First name"),
        "last_name": N_("Last name"),
        "login": N_("User name"),
        "password": N_("Password"),
        "framed_ip": N_("IP address"),
        "mac": N_("MAC address"),
        "plan": N_("Rate plan"),
        "rate": N_("Rate (download/upload)"),
        "download": N_("Download"),
        "upload": N_("Upload"),
        "comment": N_("Comment"),
        "phone": N_("Phone"),
        "email": N_("E-mail"),
        "tax_id": N_("Tax number"),
        "address": N_("Address"),
        "latitude": N_("Latitude"),
        "longitude": N_("Longitude"),
        "position": N_("Position (latitude, longitude)"),
        "paid_until": N_("Paid until"),
        "state": N_("State"),
        "price": N_("Price a month, proposed for new plans"),
    },
    "cash_kind": {
        "deposit": N_("Taken to the bank"),
        "expense": N_("Spent"),
        "handover": N_("Handed over by a collector"),
        "added": N_("Added from the bank"),
    },
    "money_account": {
        "cash": N_("Cash desk"),
        "bank": N_("Bank account"),
        "card": N_("Card terminal or provider"),
    },
    "cut_off": {
        "operator": N_("All on the company's cut-off day"),
        "anchor": N_("Each on the day on which it began"),
    },
    "timing": {
        "advance": N_("In advance: due when the month begins"),
        "arrears": N_("In arrears: due when the month is over"),
    },
    "first_period": {
        "prorated": N_("Charged for the days that are left"),
        "free": N_("Free until the cut-off day"),
        "full": N_("Charged as a whole month"),
    },
    "job_kind": {
        "billing.issue": N_("Issue invoices"),
        "fair_use.try": N_("Try the rules of a plan"),
        "samples.remove": N_("Remove the samples"),
        "account.export": N_("Take everything out"),
        "personal_data.erase": N_("Erase a person"),
        "cgnat.write": N_("Put the rules of a port plan on a router"),
        "cgnat.take_off": N_("Take the rules of a port plan off a router"),
        "documents.batch": N_("Make documents"),
        "vouchers.print": N_("Print vouchers"),
        "services.change": N_("Change services"),
        "services.undo": N_("Take a change of services back"),
        "imports.read": N_("Read a router for an import"),
        "imports.write": N_("Write an import"),
        "imports.undo": N_("Undo an import"),
        "shadow.look": N_("Look who is online by the router's own secrets"),
        "shadow.take_over": N_("Take over secrets"),
        "shadow.give_back": N_("Give secrets back"),
        "provisioning.sync": N_("Make a router right"),
        "circuit.test": N_("Test a circuit"),
        "pools.look": N_("Compare the pools of a router"),
        "pools.write": N_("Put pools on a router"),
        "backups.take": N_("Back up a router"),
        "messages.broadcast": N_("Send a broadcast"),
        "incidents.credit": N_("Credit an outage"),
    },
    "mass_change": {
        "plan": N_("Change the plan"),
        "suspend": N_("Suspend"),
        "restore": N_("Restore"),
        "management": N_("Cut off by hand or automatically"),
        "paid_until": N_("Set paid until"),
    },
    "charge_kind": {
        "recurring": N_("Every month"),
        "one_off": N_("Once, on the next invoice"),
        "late_fee": N_("Late fee"),
        "plan": N_("Change of plan"),
    },
    "mass_verdict": {
        "terminated": N_("Terminated"),
        "same": N_("So already"),
        "state": N_("Not in a state for it"),
        "manual": N_("Managed by hand"),
        "abuse": N_("Suspended for abuse"),
        "changed": N_("Somebody changed it since"),
        "rate_too_old": N_("The exchange rate is too old"),
        "no_rate": N_("There is no exchange rate"),
    },
    "queue_field": {
        "queue": N_("Queue"),
        "address": N_("Address"),
        "rate": N_("Speed"),
        "burst": N_("Burst"),
        "minimum": N_("Guaranteed speed"),
        "priority": N_("Priority"),
        "switched_off": N_("Switched off on the router"),
        "copy": N_("Second queue of the same service"),
        "list": N_("Address list"),
        "held": N_("Kept on the list of the suspended by your own people"),
        "covered": N_("A broader queue above it takes its traffic"),
        "unknown": N_("Queue of no service of this router"),
    },
    "pool_kind": {
        "ipv4": N_("IPv4 addresses"),
        "ipv6_line": N_("IPv6 prefixes of lines"),
        "ipv6_delegated": N_("IPv6 prefixes delegated to subscribers"),
    },
    "pool_assignment": {
        "fixed": N_("By Portico, one fixed to each service"),
        "dynamic": N_("By the router, from its pool of this name"),
    },
    "access_method": {
        "pppoe": N_("PPPoE"),
        "mac": N_("MAC address"),
        "line": N_("Line of a DHCP relay (option 82)"),
        "hotspot": N_("Hotspot login"),
        "voucher": N_("Voucher"),
        "queue": N_("Static address"),
    },
    "management": {
        "automatic": N_("Automatic: cut off when unpaid"),
        "manual": N_("By hand: never cut off automatically"),
    },
    "mac_binding": {
        "any": N_("Any device"),
        "learn": N_("The first devices seen, then no others"),
        "fixed": N_("Only the devices listed"),
    },
    "suspended_action": {
        "garden": N_("Let in, but only as far as the walled garden"),
        "reject": N_("Refuse them"),
    },
    "outage_action": {
        "keep": N_("As it was known last, for as long as it lasts; dates go on cutting"),
        "spare": N_("As it was known last; after a while nobody is cut by a date that runs out"),
        "refuse": N_("As it was known last; after a while nobody is let in"),
    },
    "garden_cause": {
        "overdue": N_("Not paid"),
        "staff": N_("Suspended by staff"),
        "paused": N_("Paused at their wish"),
        "used_up": N_("Data used up"),
    },
    "suspension_cause": {
        "overdue": N_("Overdue"),
        "staff": N_("By staff"),
        "abuse": N_("Abuse"),
    },
    "sms_kind": {
        "none": N_("No SMS"),
        "http": N_("A gateway by HTTP"),
        "apprise": N_("A service that apprise knows"),
    },
    "incident_reach": {
        "network": N_("Every subscriber"),
        "router": N_("Subscribers of a router"),
        "sector": N_("Subscribers of a sector (port) of a router"),
    },
    "role": {
        "manager": N_("Manager"),
        "sales": N_("Sales"),
        "support": N_("Support"),
        "finance": N_("Finance"),
        "technical": N_("Technical"),
    },
}


def badge(kind: str, value: str) -> Badge:
    """Return the badge of a value, its word translated; a value that is not known is shown as it is."""
    found = BADGES[kind].get(value)
    return Badge(_(found.text), found.colour, found.icon) if found else Badge(value, "secondary", "help-circle")


def label(kind: str, value: str) -> str:
    """Return the word for a stored value in the reader's language."""
    if kind in BADGES:
        return badge(kind, value).text
    found = LABELS[kind].get(value)
    return _(found) if found else value


def choices(kind: str) -> list[tuple[str, str]]:
    """Return the values of a kind with their words, as select fields and filters want them."""
    return [(value, label(kind, value)) for value in (BADGES.get(kind) or LABELS[kind])]


def install(app: Flask) -> None:
    app.jinja_env.globals.update(badge=badge, label=label, choices=choices)
