"""The words of the audit log: what was done, and what the fields are called that it changed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask, g
from flask_babel import gettext as _
from sqlalchemy import select

from core.i18n import N_
from db.models import AuditEntry, Nas, RatePlan, Sector, Service, Staff, Subscriber, TicketCategory
from portal import brand_labels, context, site_labels, ticket_labels, voucher_labels, work_labels
from portal.labels import label

# What the audit log says was done, `entity.verb`.
ACTIONS: Mapping[str, str] = {
    **ticket_labels.ACTIONS,
    **work_labels.ACTIONS,
    **voucher_labels.ACTIONS,
    **brand_labels.ACTIONS,
    **site_labels.ACTIONS,
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
    "staff.must_change": N_("New password demanded"),
    "staff.session_end": N_("Browsers signed out"),
    "staff.factor_on": N_("Second factor set up"),
    "staff.factor_off": N_("Second factor removed"),
    "staff.factor_reset": N_("Second factor taken away"),
    "staff.recovery_codes": N_("New recovery codes"),
    "staff.recovery": N_("Signed in with a recovery code"),
    "sign_in_rule.change": N_("Rules for signing in changed"),
    "staff.link": N_("Link to choose a password made"),
    "api_token.create": N_("Token of the API made"),
    "api_token.revoke": N_("Token of the API revoked"),
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
    "service.pass": N_("On line for some minutes to pay"),
    "service.top_up": N_("Data top-up bought"),
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
    "plan.item": N_("Sold with a plan"),
    "plan.item_end": N_("No longer sold with a plan"),
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
    "retention.rules": N_("Retention changed"),
    "retention.run": N_("Old rows deleted"),
    "subscriber.hold": N_("Put under a legal hold"),
    "subscriber.hold_lifted": N_("Legal hold lifted"),
    "subscriber.remove": N_("Subscriber removed"),
    "subscriber.bring_back": N_("Subscriber brought back"),
    "cgnat_plan.create": N_("Port plan entered"),
    "cgnat_plan.change": N_("Port plan changed"),
    "cgnat_plan.end": N_("Port plan ended"),
    "order.hurry": N_("Order sent again at once"),
    "operator.policy": N_("Cut-off and walled garden changed"),
    "payment.register": N_("Payment registered"),
    "checkout.mismatch": N_("Another amount came online"),
    "checkout.booked": N_("Money that did not match booked"),
    "checkout.returned": N_("Money that did not match given back"),
    "gateway_event.assigned": N_("Online payment assigned to a subscriber"),
    "checkout.closed": N_("Money that did not match closed with a note"),
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
    "service.prepaid": N_("Prepaid or by invoice"),
    "service.promise": N_("Promise to pay"),
    "cash_desk.open": N_("Cash desk opened"),
    "cash_desk.close": N_("Cash desk closed"),
    "cash_desk.deposit": N_("Cash taken to the bank"),
    "cash_desk.expense": N_("Cash spent"),
    "cash_desk.handover": N_("Cash handed over by a collector"),
    "cash_desk.added": N_("Cash added"),
    "cash_desk.exchange": N_("Cash exchanged"),
    "currency.on": N_("Currency taken from now on"),
    "currency.off": N_("Currency taken no more"),
    "currency.days": N_("Age of exchange rates changed"),
    "currency.rates": N_("Exchange rates entered"),
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
    "message.settings": N_("Channels to subscribers changed"),
    "message.text": N_("Text of a message changed"),
    "message.push_off": N_("Messages in a browser turned off"),
    "message.push_on": N_("Messages in a browser turned on"),
    "message.wish": N_("Wishes about messages changed"),
    "message.again": N_("Message sent again"),
    "broadcast.send": N_("Broadcast sent"),
    "broadcast.stop": N_("Broadcast stopped"),
    "incident.open": N_("Incident opened"),
    "incident.change": N_("Incident changed"),
    "incident.tell": N_("Telling of an incident changed"),
    "incident.close": N_("Incident closed"),
    "incident.credit": N_("Outage credited"),
    "job.start": N_("Job started"),
    "job.cancel": N_("Job cancelled"),
}

# What fields are called where a change is shown.
FIELDS: Mapping[str, str] = {
    **ticket_labels.FIELDS,
    **work_labels.FIELDS,
    **brand_labels.FIELDS,
    **site_labels.FIELDS,
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
    "price_currency": N_("Currency"),
    "roles": N_("Roles"),
    "role": N_("Role"),
    "given": N_("Given"),
    "taken": N_("Taken away"),
    "until": N_("Until"),
    "amount": N_("Amount"),
    "number": N_("Number"),
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
    "paying_until": N_("On line to pay until"),
    "paying_minutes": N_("Minutes on line while paying"),
    "steps": N_("Steps of fair use"),
    "bonus_hours": N_("Hours that count less"),
    "rollover_periods": N_("Periods in which what is left may be used"),
    "rollover_most": N_("What rolls over, at the most"),
    "top_up_octets": N_("Volume of a top-up"),
    "top_up_price": N_("Price of a top-up"),
    "top_ups_automatic": N_("Top-ups bought by themselves"),
    "top_up_until": N_("Topped up until"),
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
    "outage_action": N_("Without news from the database"),
    "outage_after": N_("That long after the last news"),
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
    **ticket_labels.KINDS,
    **work_labels.KINDS,
    **site_labels.KINDS,
    "role": "role",
    "state": "service_state",
    "cause": "suspension_cause",
    "access_method": "access_method",
    "management": "management",
    "mac_binding": "mac_binding",
    "suspended_action": "suspended_action",
    "outage_action": "outage_action",
}

# Fields that hold the id of a row, which people know by its name.
NAMED: Mapping[str, type[RatePlan | Nas | Sector | Service | Subscriber | Staff | TicketCategory]] = {
    "assigned_id": Staff,
    "category_id": TicketCategory,
    "plan_id": RatePlan,
    "nas_id": Nas,
    "sector_id": Sector,
    "service_id": Service,
    "subscriber_id": Subscriber,
    "seller_id": Staff,
    "technician_id": Staff,
    "staff_id": Staff,
}

_OURSELVES = frozenset(
    ("billing", "dunning", "incidents", "monitor", "receipts", "retention", "sign-up", "subscriber logins", "worker")
)
_SUBSCRIBER = " (subscriber)"


def actor_text(actor: str) -> str:
    """Return who did something: a person as the log names them, and Portico where nobody did."""
    if actor in _OURSELVES:
        return str(_("Portico, by itself"))
    if actor.endswith(_SUBSCRIBER):
        return str(_("%(name)s (subscriber)", name=actor.removesuffix(_SUBSCRIBER)))
    return actor


def action_text(action: str) -> str:
    """Return what an audit entry says was done."""
    return _(ACTIONS[action]) if action in ACTIONS else action


def field_text(name: str) -> str:
    """Return what a field is called."""
    return _(FIELDS[name]) if name in FIELDS else name.replace("_", " ")


def value_text(name: str, value: object) -> object:
    """Return the value of a field as people read it: a stored word in the reader's language, a row's name for its id.

    Others are as they are; so is the id of a row that is gone.
    """
    if name in NAMED and isinstance(value, int):
        known = _known_names()
        if (NAMED[name], value) not in known:
            _learn_names(NAMED[name], {value})
        return known.get((NAMED[name], value)) or value
    return label(KINDS[name], value) if name in KINDS and isinstance(value, str) and value else value


def load_names(entries: Iterable[AuditEntry]) -> None:
    """Learn the names that some entries need, with a query for each kind of row and not for each entry."""
    wanted: dict[Any, set[int]] = defaultdict(set)
    for entry in entries:
        for name, value in (*(entry.before or {}).items(), *(entry.after or {}).items()):
            if name in NAMED and isinstance(value, int):
                wanted[NAMED[name]].add(value)
    for model, ids in wanted.items():
        _learn_names(model, ids)


def _known_names() -> dict[tuple[Any, int], str | None]:
    """Return the names that this request has learnt by now, None for rows that are gone."""
    if "row_names" not in g:
        g.row_names = {}
    found: dict[tuple[Any, int], str | None] = g.row_names
    return found


def _learn_names(model: Any, ids: set[int]) -> None:
    known = _known_names()
    known.update(((model, number), None) for number in ids)
    rows = context.db().execute(select(model.id, model.name).where(model.id.in_(ids)))
    known.update(((model, row.id), row.name) for row in rows)


def install(app: Flask) -> None:
    app.jinja_env.globals.update(
        action_text=action_text,
        actor_text=actor_text,
        field_text=field_text,
        load_names=load_names,
        value_text=value_text,
    )
