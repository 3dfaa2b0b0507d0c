"""Words and badges for the values that are stored: states, access methods, roles. One colour each, everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_


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
    "router_status": {
        "unknown": Badge(N_("Not checked yet"), "secondary", "help-circle"),
        "online": Badge(N_("Online"), "green", "plug-connected"),
        "offline": Badge(N_("Offline"), "red", "plug-connected-x"),
    },
    "notification_state": {
        "waiting": Badge(N_("Waiting"), "blue", "clock"),
        "sent": Badge(N_("Sent"), "green", "check"),
        "failed": Badge(N_("Failed"), "red", "alert-triangle"),
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
    "incident_scope": {
        "network": Badge(N_("Several routers"), "red", "topology-star"),
        "router": Badge(N_("A router"), "red", "router"),
        "sector": Badge(N_("A sector"), "orange", "broadcast"),
    },
    "outcome": {
        "accept": Badge(N_("Accepted"), "green", "check"),
        "garden": Badge(N_("Walled garden"), "orange", "fence"),
        "reject": Badge(N_("Rejected"), "red", "x"),
    },
    "order_state": {
        "pending": Badge(N_("Waiting"), "blue", "clock"),
        "sent": Badge(N_("Sent"), "azure", "send"),
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
    "enabled": {
        "yes": Badge(N_("In use"), "green", "check"),
        "no": Badge(N_("Switched off"), "secondary", "power"),
    },
}

LABELS: Mapping[str, Mapping[str, str]] = {
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
        "documents.batch": N_("Make documents"),
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
    "role": {
        "manager": N_("Manager"),
        "sales": N_("Sales"),
        "support": N_("Support"),
        "finance": N_("Finance"),
        "technical": N_("Technical"),
    },
}

# What the audit log says was done, `entity.verb`.
ACTIONS: Mapping[str, str] = {
    "staff.sign_in": N_("Signed in"),
    "recipient.create": N_("Recipient of alerts entered"),
    "recipient.change": N_("Recipient of alerts changed"),
    "recipient.delete": N_("Recipient of alerts removed"),
    "staff.create": N_("Staff member entered"),
    "staff.password": N_("Own password changed"),
    "staff.invite": N_("Staff member invited"),
    "staff.change": N_("Staff member changed"),
    "staff.switch_on": N_("Staff member let in again"),
    "staff.switch_off": N_("Staff member switched off"),
    "staff.reset": N_("Password reset"),
    "staff.link": N_("Link to choose a password made"),
    "role.change": N_("Role narrowed or widened"),
    "operator.create": N_("Operator entered"),
    "subscriber.create": N_("Subscriber entered"),
    "subscriber.change": N_("Subscriber changed"),
    "subscriber.delete": N_("Subscriber removed"),
    "service.create": N_("Service entered"),
    "service.change": N_("Service changed"),
    "service.plan": N_("Plan of the service changed"),
    "service.suspend": N_("Service suspended"),
    "service.boost": N_("Service boosted"),
    "service.boost_end": N_("Boost ended"),
    "service.mass_change": N_("Services changed together"),
    "service.mass_undo": N_("A change of services taken back"),
    "service.restore": N_("Service restored"),
    "service.pause": N_("Service paused"),
    "service.resume": N_("Service resumed"),
    "service.activate": N_("Service activated"),
    "service.terminate": N_("Service terminated"),
    "service.reinstate": N_("Service reinstated"),
    "service.paid_until": N_("Marked as paid"),
    "service.password": N_("Password of the service changed"),
    "service.password_shown": N_("Password of the service shown"),
    "vpn.create": N_("Tunnel of a router made"),
    "vpn.change_keys": N_("Keys of a tunnel changed"),
    "vpn.take_key": N_("Router's own key taken"),
    "vpn.script": N_("Script with secrets shown"),
    "vpn.use": N_("Tunnel taken into use"),
    "vpn.remove": N_("Tunnel of a router removed"),
    "plan.create": N_("Rate plan entered"),
    "plan.change": N_("Rate plan changed"),
    "plan.archive": N_("Rate plan archived"),
    "plan.restore": N_("Rate plan brought back"),
    "import.write": N_("Import written"),
    "import.undo": N_("Import undone"),
    "import.discard": N_("Import discarded"),
    "shadow.portico": N_("Secret taken over"),
    "shadow.local": N_("Secret given back to the router"),
    "nas.create": N_("NAS entered"),
    "nas.change": N_("NAS changed"),
    "nas.delete": N_("NAS removed"),
    "nas.change_secret": N_("RADIUS secret changed"),
    "nas.reveal_secret": N_("RADIUS secret shown"),
    "router.create": N_("Access to a router's API entered"),
    "router.change": N_("Access to a router's API changed"),
    "router.delete": N_("Access to a router's API removed"),
    "router.certificate": N_("Certificate of a router forgotten"),
    "session.disconnect": N_("Session disconnected"),
    "session.rate": N_("Rate of a session changed"),
    "session.close": N_("Stale session closed"),
    "address.lookup": N_("Address looked up"),
    "order.hurry": N_("Order sent again at once"),
    "operator.policy": N_("Cut-off and walled garden changed"),
    "payment.register": N_("Payment registered"),
    "payment.void": N_("Payment voided"),
    "payment.refund": N_("Payment refunded"),
    "invoice.credit": N_("Credit note issued"),
    "invoice.issue": N_("Invoice issued"),
    "charge.create": N_("Charge entered"),
    "charge.cancel": N_("Charge cancelled"),
    "charge.late_fee": N_("Late fee charged"),
    "discount.create": N_("Discount given"),
    "discount.end": N_("Discount ended"),
    "coupon.create": N_("Coupon made"),
    "coupon.expire": N_("Coupon ended"),
    "service.hold": N_("Held from dunning"),
    "dunning.settings": N_("Ladder changed"),
    "dunning.step": N_("Reminders changed"),
    "dunning.text": N_("Text of a reminder changed"),
    "dunning.alert": N_("Told that books and network disagree"),
    "bank_line.import": N_("Bank statement read"),
    "bank_line.book": N_("Line of a bank statement booked"),
    "bank_line.ignore": N_("Line of a bank statement put aside"),
    "service.promise": N_("Promise to pay"),
    "cash_desk.open": N_("Cash desk opened"),
    "cash_desk.close": N_("Cash desk closed"),
    "cash_desk.deposit": N_("Cash taken to the bank"),
    "cash_desk.expense": N_("Cash spent"),
    "cash_desk.handover": N_("Cash handed over by a collector"),
    "cash_desk.added": N_("Cash added"),
    "billing.settings": N_("Billing rules changed"),
    "tax.create": N_("Tax entered"),
    "tax.end": N_("Tax ended"),
    "document_series.prefix": N_("Prefix of numbers changed"),
    "payment_method.create": N_("Way to pay entered"),
    "payment_method.change": N_("Way to pay changed"),
    "collector.create": N_("Collector entered"),
    "collector.change": N_("Collector changed"),
    "pool.create": N_("Pool entered"),
    "pool.change": N_("Pool changed"),
    "pool.delete": N_("Pool removed"),
    "router_login.set": N_("Router login set"),
    "router_login.remove": N_("Router login removed"),
    "router_login.routers": N_("Routers of a login changed"),
    "router_login.groups": N_("Groups on routers changed"),
    "router.backup_taken": N_("Backup of a router downloaded with passwords"),
    "job.start": N_("Job started"),
    "job.cancel": N_("Job cancelled"),
}

# What fields are called where a change is shown.
FIELDS: Mapping[str, str] = {
    "name": N_("Name"),
    "email": N_("E-mail"),
    "phone": N_("Phone"),
    "tax_id": N_("Tax number"),
    "address": N_("Address"),
    "latitude": N_("Latitude"),
    "longitude": N_("Longitude"),
    "language": N_("Language"),
    "notes": N_("Notes"),
    "subscriber": N_("Subscriber"),
    "state": N_("State"),
    "cause": N_("Cause"),
    "detail": N_("Note"),
    "paid_until": N_("Paid until"),
    "plan": N_("Rate plan"),
    "plan_id": N_("Rate plan"),
    "nas_id": N_("NAS"),
    "password": N_("Password"),
    "access_method": N_("Access by"),
    "management": N_("Cut-off"),
    "framed_ip": N_("Fixed IPv4 address"),
    "framed_routes": N_("Routes"),
    "framed_ipv6_prefix": N_("IPv6 prefix of the line"),
    "delegated_ipv6_prefix": N_("Delegated IPv6 prefix"),
    "pool": N_("Address pool"),
    "network": N_("Network"),
    "assignment": N_("Given out"),
    "first_address": N_("First address"),
    "last_address": N_("Last address"),
    "prefix_length": N_("Length of each prefix"),
    "rate_download": N_("Download"),
    "rate_upload": N_("Upload"),
    "session_limit": N_("Sessions at the same time"),
    "mac_binding": N_("Devices"),
    "macs": N_("MAC addresses"),
    "max_macs": N_("How many devices are learnt"),
    "extra": N_("Further RADIUS attributes"),
    "download": N_("Download"),
    "upload": N_("Upload"),
    "price": N_("Price"),
    "roles": N_("Roles"),
    "role": N_("Role"),
    "given": N_("Given"),
    "taken": N_("Taken away"),
    "until": N_("Until"),
    "burst": N_("Burst"),
    "priority": N_("Priority"),
    "minimum_download": N_("Guaranteed download"),
    "minimum_upload": N_("Guaranteed upload"),
    "cap_octets": N_("Data cap"),
    "cap_action": N_("When it is reached"),
    "throttle_download": N_("Then download"),
    "throttle_upload": N_("Then upload"),
    "windows": N_("Time windows"),
    "boost_download": N_("Download while boosted"),
    "boost_upload": N_("Upload while boosted"),
    "boost_hours": N_("For so many hours"),
    "boost_price": N_("Price of a boost"),
    "boost_until": N_("Boosted until"),
    "ipv6_pool": N_("IPv6 pool"),
    "delegated_ipv6_pool": N_("Delegated IPv6 pool"),
    "address_list": N_("Address list"),
    "session_timeout": N_("Session timeout"),
    "idle_timeout": N_("Idle timeout"),
    "interim_interval": N_("Interim updates every"),
    "archived": N_("Archived"),
    "suspended_action": N_("Who may not go on line"),
    "cut_off_day": N_("Cut-off day"),
    "grace_days": N_("Days of grace"),
    "garden_download": N_("Download in the garden"),
    "garden_upload": N_("Upload in the garden"),
    "garden_address_list": N_("Address list of the garden"),
    "active_address_list": N_("Address list of everybody else"),
    "garden_pool": N_("Address pool of the garden"),
    "garden_timeout": N_("Ask again after"),
    "dhcp_timeout": N_("DHCP lease at most"),
    "gardens": N_("Gardens of their own"),
    "secret": N_("Shared secret"),
    "coa_address": N_("CoA address"),
    "coa_port": N_("CoA port"),
    "coa_window": N_("CoA requests at once"),
    "coa_message_authenticator": N_("Send Message-Authenticator in CoA"),
    "coa_session_id": N_("Send Acct-Session-Id in CoA"),
    "require_message_authenticator": N_("Demand Message-Authenticator on requests"),
    "swap_directions": N_("Swap download and upload in accounting"),
    "enabled": N_("In use"),
    "nas": N_("NAS"),
    "api_user": N_("API user"),
    "api_password": N_("API password"),
    "api_address": N_("API address"),
    "api_port": N_("API port"),
    "api_tls": N_("Speak TLS"),
    "api_fingerprint": N_("Remembered certificate"),
    "wan_interface": N_("WAN interface"),
    "wan_download": N_("WAN capacity, download"),
    "wan_upload": N_("WAN capacity, upload"),
    "watched": N_("Watch this router"),
    "services": N_("Services"),
    "source": N_("Source"),
    "created": N_("Created"),
    "updated": N_("Updated"),
    "ignored": N_("Ignored"),
    "bad": N_("Not written"),
    "removed": N_("Removed"),
    "put_back": N_("Put back"),
    "moved_to": N_("Moved to"),
    "user_name": N_("User name"),
    "acct_session_id": N_("Acct-Session-Id"),
    "asked": N_("Address"),
    "at": N_("At this time"),
    "reason": N_("Why"),
}

# Fields whose stored values have words of their own.
KINDS: Mapping[str, str] = {
    "role": "role",
    "state": "service_state",
    "cause": "suspension_cause",
    "access_method": "access_method",
    "management": "management",
    "mac_binding": "mac_binding",
    "suspended_action": "suspended_action",
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


def action_text(action: str) -> str:
    """Return what an audit entry says was done."""
    return _(ACTIONS[action]) if action in ACTIONS else action


def field_text(name: str) -> str:
    """Return what a field is called."""
    return _(FIELDS[name]) if name in FIELDS else name.replace("_", " ")


def value_text(name: str, value: object) -> object:
    """Return the value of a field as people read it: a stored word in the reader's language, others as they are."""
    return label(KINDS[name], value) if name in KINDS and isinstance(value, str) and value else value


def install(app: Flask) -> None:
    app.jinja_env.globals.update(
        badge=badge, label=label, choices=choices, action_text=action_text, field_text=field_text, value_text=value_text
    )
