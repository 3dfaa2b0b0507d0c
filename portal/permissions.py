"""Who may do what. Every route says which permission it needs; a route that says nothing is closed.

A staff member has roles, a role has permissions, a route names one. `@requires(…)` stands under the route's decorator;
`@public` opens a route to those who have not signed in, `@signed_in` to all who have.

ROLE_PERMISSIONS is what each role may do everywhere. An operator's manager narrows or widens the four other roles
(`crm.roles` keeps the differences); what is in MANAGERS_ALONE cannot be given away. Each permission has its words in
`portal.permission_words`, and `docs/permissions.md` is made of all this by `portico docs permissions`.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Permission(StrEnum):
    """One thing that a role may do."""

    DASHBOARD_VIEW = "dashboard.view"
    SUBSCRIBERS_VIEW = "subscribers.view"
    SUBSCRIBERS_EDIT = "subscribers.edit"
    SERVICES_EDIT = "services.edit"  # create, edit, change of plan
    SERVICES_SUSPEND = "services.suspend"  # suspend, restore, pause, resume
    SERVICES_MASS = "services.mass"  # change many at once, in ways that one may be changed
    SERVICES_TERMINATE = "services.terminate"
    SERVICES_PAID = "services.paid"  # mark paid until
    SERVICES_PASSWORD = "services.password"  # noqa: S105 - set and reveal a service's password
    PLANS_VIEW = "plans.view"
    PLANS_EDIT = "plans.edit"
    NAS_VIEW = "nas.view"
    NAS_EDIT = "nas.edit"
    NAS_SECRET = "nas.secret"  # noqa: S105 - reveal a RADIUS secret
    ROUTERS_VIEW = "routers.view"
    ALERTS_EDIT = "alerts.edit"  # who is told of alerts and incidents
    ROUTERS_EDIT = "routers.edit"  # enter, test, edit and delete routers
    VPN_EDIT = "vpn.edit"  # tunnels of routers, and the scripts with their secrets
    CIRCUIT_TEST = "circuit.test"  # test the way to a subscriber's device
    MAP_VIEW = "map.view"
    SITES_VIEW = "sites.view"
    SITES_EDIT = "sites.edit"  # sites, sectors, and what maps show as ground
    POOLS_VIEW = "pools.view"
    POOLS_EDIT = "pools.edit"  # address pools, and putting them on routers
    SESSIONS_VIEW = "sessions.view"
    SESSIONS_ACT = "sessions.act"  # disconnect, change the rate, close a zombie
    AUTH_EVENTS_VIEW = "auth_events.view"
    DEVICES_VIEW = "devices.view"  # seen, not registered
    EXPLAIN = "explain"
    ORDERS_VIEW = "orders.view"
    ADDRESSES_LOOKUP = "addresses.lookup"
    AUDIT_VIEW = "audit.view"
    SETTINGS_EDIT = "settings.edit"  # what the operator decides for all of its subscribers
    EXPORT = "export"
    IMPORTS = "imports"  # import subscribers, undo it, and take over their secrets
    BILLING_VIEW = "billing.view"  # balances, invoices and payments
    BILLING_EDIT = "billing.edit"  # charges, discounts, credit notes, promises, issuing now
    PAYMENTS_EDIT = "payments.edit"  # register payments
    PAYMENTS_UNDO = "payments.undo"  # void and refund them
    DESK = "desk"  # a cash desk of one's own
    BILLING_REPORTS = "billing.reports"  # reports of finance, everybody's desks, collectors
    BILLING_SETTINGS = "billing.settings"  # how is billed: days, taxes, ways to pay, numbers
    VOUCHERS_VIEW = "vouchers.view"
    VOUCHERS_EDIT = "vouchers.edit"  # make, assign and cancel them
    VOUCHERS_CODES = "vouchers.codes"  # print, export and see their codes
    VOUCHERS_SELL = "vouchers.sell"
    SERVICES_ENABLE = "services.enable"  # the box on the record: on line or not, by hand
    LEADS_VIEW = "leads.view"
    LEADS_EDIT = "leads.edit"
    WORK_ORDERS_VIEW = "work_orders.view"
    WORK_ORDERS_EDIT = "work_orders.edit"  # enter, plan and do anybody's
    WORK_ORDERS_OWN = "work_orders.own"  # do one's own, and take those that are nobody's
    WORK_ORDERS_OVERRIDE = "work_orders.override"  # complete without a step, for a reason
    EQUIPMENT_VIEW = "equipment.view"
    EQUIPMENT_EDIT = "equipment.edit"  # enter and move devices, count materials
    TICKETS_VIEW = "tickets.view"
    TICKETS_EDIT = "tickets.edit"  # open, answer, hand on and solve tickets
    HELP_DESK_SETTINGS = "help_desk.settings"  # hours, promises, categories, canned answers, the mailbox
    MESSAGES_VIEW = "messages.view"  # what was sent to subscribers, and what became of it
    MESSAGES_SEND = "messages.send"  # send again, send by hand, and broadcasts
    MESSAGES_EDIT = "messages.edit"  # texts and channels
    INCIDENTS_EDIT = "incidents.edit"  # open, explain and close incidents, and have subscribers told
    DOCUMENTS_VIEW = "documents.view"  # of subscribers: contracts, identity cards
    DOCUMENTS_EDIT = "documents.edit"  # add and remove them
    SUBSCRIBERS_REMOVE = "subscribers.remove"  # remove a subscriber with the services, and bring one back
    RETENTION = "retention"  # how long what is kept, and legal holds
    PERSONAL_DATA = "personal_data"  # hand out all that is known of a subscriber, and erase it
    JOBS_VIEW = "jobs.view"
    JOBS_ALL = "jobs.all"  # cancel and repeat what others started
    ACCOUNT_EDIT = "account.edit"  # consent, export of everything, resellers and the operator's removal
    STAFF_EDIT = "staff.edit"  # invite staff, give roles, switch off
    WEBHOOKS = "webhooks"  # which programs are told of what happens, with what signs it
    ROLES_EDIT = "roles.edit"  # narrow and widen roles
    API_TOKENS = "api.tokens"  # make and revoke tokens of the API, within one's own permissions


_EVERYBODY = {
    Permission.DASHBOARD_VIEW,
    Permission.SUBSCRIBERS_VIEW,
    Permission.PLANS_VIEW,
    Permission.SESSIONS_VIEW,
    Permission.MAP_VIEW,
    Permission.SITES_VIEW,
    Permission.EXPLAIN,
    Permission.JOBS_VIEW,
    Permission.TICKETS_VIEW,
    Permission.TICKETS_EDIT,
}

ROLE_PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    "manager": frozenset(Permission),
    "sales": frozenset(
        _EVERYBODY
        | {
            Permission.DOCUMENTS_VIEW,
            Permission.DOCUMENTS_EDIT,
            Permission.VOUCHERS_VIEW,
            Permission.VOUCHERS_SELL,
            Permission.SUBSCRIBERS_EDIT,
            Permission.SERVICES_EDIT,
            Permission.EXPORT,
            Permission.DEVICES_VIEW,
            Permission.BILLING_VIEW,
            Permission.LEADS_VIEW,
            Permission.LEADS_EDIT,
            Permission.WORK_ORDERS_VIEW,
            Permission.WORK_ORDERS_EDIT,
            Permission.MESSAGES_VIEW,
        }
    ),
    "support": frozenset(
        _EVERYBODY
        | {
            Permission.DOCUMENTS_VIEW,
            Permission.DOCUMENTS_EDIT,
            Permission.VOUCHERS_VIEW,
            Permission.VOUCHERS_SELL,
            Permission.SUBSCRIBERS_EDIT,
            Permission.SERVICES_EDIT,
            Permission.SERVICES_SUSPEND,
            Permission.SERVICES_PASSWORD,
            Permission.NAS_VIEW,
            Permission.ROUTERS_VIEW,
            Permission.CIRCUIT_TEST,
            Permission.POOLS_VIEW,
            Permission.SESSIONS_ACT,
            Permission.AUTH_EVENTS_VIEW,
            Permission.DEVICES_VIEW,
            Permission.ORDERS_VIEW,
            Permission.BILLING_VIEW,
            Permission.SERVICES_ENABLE,
            Permission.LEADS_VIEW,
            Permission.LEADS_EDIT,
            Permission.WORK_ORDERS_VIEW,
            Permission.WORK_ORDERS_EDIT,
            Permission.EQUIPMENT_VIEW,
            Permission.MESSAGES_VIEW,
            Permission.MESSAGES_SEND,
            Permission.INCIDENTS_EDIT,
        }
    ),
    "finance": frozenset(
        _EVERYBODY
        | {
            Permission.DOCUMENTS_VIEW,
            Permission.VOUCHERS_VIEW,
            Permission.VOUCHERS_EDIT,
            Permission.VOUCHERS_CODES,
            Permission.VOUCHERS_SELL,
            Permission.SERVICES_SUSPEND,
            Permission.SERVICES_MASS,
            Permission.SERVICES_PAID,
            Permission.SERVICES_TERMINATE,
            Permission.ORDERS_VIEW,
            Permission.EXPORT,
            Permission.BILLING_VIEW,
            Permission.BILLING_EDIT,
            Permission.PAYMENTS_EDIT,
            Permission.PAYMENTS_UNDO,
            Permission.DESK,
            Permission.BILLING_REPORTS,
            Permission.BILLING_SETTINGS,
            Permission.MESSAGES_VIEW,
            Permission.MESSAGES_SEND,
        }
    ),
    "technical": frozenset(
        _EVERYBODY
        | {
            Permission.VOUCHERS_VIEW,
            Permission.SERVICES_EDIT,
            Permission.SERVICES_MASS,
            Permission.SERVICES_PASSWORD,
            Permission.PLANS_EDIT,
            Permission.NAS_VIEW,
            Permission.NAS_EDIT,
            Permission.NAS_SECRET,
            Permission.ROUTERS_VIEW,
            Permission.IMPORTS,
            Permission.ROUTERS_EDIT,
            Permission.VPN_EDIT,
            Permission.CIRCUIT_TEST,
            Permission.SITES_EDIT,
            Permission.POOLS_VIEW,
            Permission.POOLS_EDIT,
            Permission.SESSIONS_ACT,
            Permission.AUTH_EVENTS_VIEW,
            Permission.DEVICES_VIEW,
            Permission.ORDERS_VIEW,
            Permission.SERVICES_ENABLE,
            Permission.WORK_ORDERS_VIEW,
            Permission.WORK_ORDERS_EDIT,
            Permission.WORK_ORDERS_OWN,
            Permission.EQUIPMENT_VIEW,
            Permission.EQUIPMENT_EDIT,
            Permission.MESSAGES_VIEW,
            Permission.INCIDENTS_EDIT,
        }
    ),
}


MANAGER = "manager"
MANAGERS_ALONE = frozenset({Permission.ACCOUNT_EDIT, Permission.STAFF_EDIT, Permission.ROLES_EDIT})
"""With one of these, a role could give itself everything else."""

PLATFORMS_OWN = frozenset({Permission.STAFF_EDIT, Permission.AUDIT_VIEW, Permission.EXPORT})
"""What the staff of the platform may do beside its own pages: it has no subscribers, plans or routers."""


class Openness(StrEnum):
    """What a route may ask instead of a permission."""

    PUBLIC = "public"
    SIGNED_IN = "signed in"
    SUBSCRIBER = "subscriber"  # for subscribers who have signed in to their own pages, and for no staff
    PLATFORM = "platform"  # for those who run the installation, and for no operator's staff
    PLATFORM_OWNER = "platform owner"  # for those of them who decide over licences: its managers
    TOKEN = "token"  # noqa: S105 - for programs with a token of the API, whose scopes say more; for nobody else


Requirement = Permission | Openness


def permissions_of(
    roles: Iterable[str], changed: Mapping[str, Mapping[str, bool]] | None = None
) -> frozenset[Permission]:
    """Return what the roles allow together; a role that is not known allows nothing.

    `changed` is where an operator's roles differ (`crm.roles.changed_permissions`).
    """
    return frozenset().union(*(role_permissions(role, (changed or {}).get(role, {})) for role in roles))


def role_permissions(role: str, changed: Mapping[str, bool]) -> frozenset[Permission]:
    """Return what one role allows where it differs by `changed`; the manager's never does."""
    usual = ROLE_PERMISSIONS.get(role)
    if usual is None:
        return frozenset()
    if role == MANAGER:
        return usual
    given = {each for each in Permission if changed.get(each.value, each in usual)}
    return frozenset(given - MANAGERS_ALONE)


def requires(permission: Permission) -> Callable[[View], View]:
    """Declare which permission a route needs."""

    def declare(view: View) -> View:
        view.__dict__["requirement"] = permission
        return view

    return declare


def public(view: View) -> View:
    """Declare that a route is open to those who have not signed in."""
    view.__dict__["requirement"] = Openness.PUBLIC
    return view


def signed_in(view: View) -> View:
    """Declare that a route is open to everybody who has signed in."""
    view.__dict__["requirement"] = Openness.SIGNED_IN
    return view


def for_subscribers(view: View) -> View:
    """Declare that a route is a subscriber's own; `portal.subscriber.frame` lets nobody else in."""
    view.__dict__["requirement"] = Openness.SUBSCRIBER
    return view


def for_platform(view: View) -> View:
    """Declare that a route is for those who run the installation; nobody else learns that it exists."""
    view.__dict__["requirement"] = Openness.PLATFORM
    return view


def for_platform_owner(view: View) -> View:
    """Declare that a route is for those of the platform who decide: over licences and suspension."""
    view.__dict__["requirement"] = Openness.PLATFORM_OWNER
    return view


def requirement_of(view: Callable[..., Any]) -> Requirement | None:
    """Return what a route asks, or None where nothing was declared, which means: closed."""
    return getattr(view, "requirement", None)
