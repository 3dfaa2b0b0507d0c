"""What each permission allows, in words: as Settings > Roles shows it, and `docs/permissions.md`."""

from collections.abc import Iterator, Mapping

from core.i18n import N_
from portal.permissions import Permission

AREAS: Mapping[str, Mapping[Permission, str]] = {
    N_("Subscribers"): {
        Permission.SUBSCRIBERS_VIEW: N_("See subscribers and their services"),
        Permission.SUBSCRIBERS_EDIT: N_("Enter and edit subscribers"),
        Permission.SERVICES_EDIT: N_("Enter and edit services, change their plan"),
        Permission.SERVICES_SUSPEND: N_("Suspend, restore and pause services"),
        Permission.SERVICES_TERMINATE: N_("Terminate services"),
        Permission.SERVICES_MASS: N_("Change many services at once"),
        Permission.SERVICES_PAID: N_("Set by hand until when a service is paid"),
        Permission.SERVICES_PASSWORD: N_("Set and see passwords of services"),
        Permission.PLANS_VIEW: N_("See rate plans"),
        Permission.PLANS_EDIT: N_("Edit rate plans"),
        Permission.EXPLAIN: N_("See why a subscriber can connect or cannot"),
        Permission.IMPORTS: N_("Import subscribers from routers and files"),
        Permission.DOCUMENTS_VIEW: N_("See documents of subscribers, such as contracts and identity cards"),
        Permission.DOCUMENTS_EDIT: N_("Add and remove documents of subscribers"),
        Permission.SUBSCRIBERS_REMOVE: N_("Remove subscribers, and bring them back within 30 days"),
        Permission.RETENTION: N_("Say how long what is kept, and put subscribers under a legal hold"),
        Permission.PERSONAL_DATA: N_("Hand out all that is known of a subscriber, and erase it"),
        Permission.EXPORT: N_("Take lists out as CSV and Excel"),
        Permission.MESSAGES_VIEW: N_("See what was sent to subscribers"),
        Permission.MESSAGES_SEND: N_("Send broadcasts, and messages by hand or again"),
        Permission.MESSAGES_EDIT: N_("Edit the texts of messages, and the channels"),
    },
    N_("Sales and work orders"): {
        Permission.LEADS_VIEW: N_("See leads"),
        Permission.LEADS_EDIT: N_("Enter leads and follow them up"),
        Permission.WORK_ORDERS_VIEW: N_("See work orders"),
        Permission.WORK_ORDERS_EDIT: N_("Enter and plan work orders, and do anybody's"),
        Permission.WORK_ORDERS_OWN: N_("Do one's own work orders, and take those that are nobody's"),
        Permission.WORK_ORDERS_OVERRIDE: N_("Complete a work order without a step, for a reason"),
        Permission.SERVICES_ENABLE: N_("Let a service on line or not by the box on the record"),
        Permission.EQUIPMENT_VIEW: N_("See equipment"),
        Permission.EQUIPMENT_EDIT: N_("Enter and move equipment, count materials"),
    },
    N_("Help desk"): {
        Permission.TICKETS_VIEW: N_("See tickets"),
        Permission.TICKETS_EDIT: N_("Open, answer and escalate tickets"),
        Permission.HELP_DESK_SETTINGS: N_("Say the help desk's hours, targets, categories and mailboxes"),
    },
    N_("Billing"): {
        Permission.BILLING_VIEW: N_("See balances, invoices and payments"),
        Permission.BILLING_EDIT: N_("Enter charges, discounts, credit notes and promises"),
        Permission.PAYMENTS_EDIT: N_("Register payments"),
        Permission.PAYMENTS_UNDO: N_("Void and refund payments"),
        Permission.DESK: N_("Keep a cash desk"),
        Permission.VOUCHERS_VIEW: N_("See vouchers"),
        Permission.VOUCHERS_SELL: N_("Sell vouchers"),
        Permission.VOUCHERS_EDIT: N_("Make vouchers, give them to sellers, cancel them"),
        Permission.VOUCHERS_CODES: N_("Print, export and see the codes of vouchers"),
        Permission.BILLING_REPORTS: N_("See the reports of finance and everybody's cash desks"),
        Permission.BILLING_SETTINGS: N_("Say how is billed: days, taxes, ways to pay, numbers"),
    },
    N_("Network"): {
        Permission.DASHBOARD_VIEW: N_("See how the network is"),
        Permission.SESSIONS_VIEW: N_("See sessions"),
        Permission.SESSIONS_ACT: N_("Disconnect sessions and change their rate"),
        Permission.AUTH_EVENTS_VIEW: N_("See access requests"),
        Permission.DEVICES_VIEW: N_("See unknown devices"),
        Permission.ORDERS_VIEW: N_("See orders to routers"),
        Permission.CIRCUIT_TEST: N_("Test the way to a subscriber"),
        Permission.NAS_VIEW: N_("See NAS"),
        Permission.NAS_EDIT: N_("Enter and edit NAS"),
        Permission.NAS_SECRET: N_("See and change RADIUS secrets"),
        Permission.ROUTERS_VIEW: N_("See routers and their graphs"),
        Permission.ROUTERS_EDIT: N_("Enter, test and edit routers"),
        Permission.VPN_EDIT: N_("Make tunnels for routers, and the scripts with their keys"),
        Permission.MAP_VIEW: N_("See the map"),
        Permission.SITES_VIEW: N_("See sites and sectors"),
        Permission.SITES_EDIT: N_("Enter and edit sites and sectors, say where maps come from"),
        Permission.POOLS_VIEW: N_("See address pools"),
        Permission.POOLS_EDIT: N_("Edit address pools and put them on routers"),
        Permission.ADDRESSES_LOOKUP: N_("Look up who had an address"),
        Permission.INCIDENTS_EDIT: N_("Open and close incidents, and have subscribers told"),
        Permission.ALERTS_EDIT: N_("Say who is told of alerts and outages"),
    },
    N_("Settings"): {
        Permission.SETTINGS_EDIT: N_("Change what holds for all subscribers: cut-off, walled garden, router logins"),
        Permission.JOBS_VIEW: N_("See long work and its outcome"),
        Permission.JOBS_ALL: N_("Cancel and repeat long work of others"),
        Permission.AUDIT_VIEW: N_("See the audit log"),
        Permission.ACCOUNT_EDIT: N_(
            "Let the platform act here, manage resellers, take everything out, have it removed"
        ),
        Permission.STAFF_EDIT: N_("Invite staff, give roles, switch people off"),
        Permission.WEBHOOKS: N_("Say which programs are told of what happens, and see what they were told"),
        Permission.ROLES_EDIT: N_("Narrow and widen roles"),
        Permission.API_TOKENS: N_("Make and revoke tokens of the API, for what one may do oneself"),
    },
}


def areas() -> Iterator[tuple[str, list[tuple[Permission, str]]]]:
    """Yield each area with its permissions and their words (message ids); last those that have no words."""
    for area, words in AREAS.items():
        yield area, list(words.items())
    told = {permission for words in AREAS.values() for permission in words}
    rest = [(permission, permission.value) for permission in Permission if permission not in told]
    if rest:
        yield N_("Others"), rest
