"""The navigation: areas and their pages, of which each person sees what their roles allow."""

from dataclasses import dataclass, replace

from flask import current_app, request, url_for
from flask_babel import gettext as _

from core.i18n import N_
from portal.context import account, may, staff
from portal.permissions import Openness, Permission, Requirement, requirement_of


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the navigation; `on_phone` is its short title in the bar at the bottom of small screens."""

    endpoint: str
    title: str
    icon: str
    permission: Requirement
    on_phone: str = ""


SETTINGS = N_("Settings")
"""The area whose pages are opened seldom: the navigation has one entry for them, which leads to a page with all."""

_ALL_SETTINGS = Entry("settings.index", N_("All settings"), "settings", Openness.SIGNED_IN)
_BESIDE = ("people.index", "jobs.index", "audit.index")
"""Those of them that are opened often enough to stand in the navigation as well."""

AREAS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    ("", (Entry("home.index", N_("Home"), "home", Openness.SIGNED_IN, N_("Home")),)),
    (
        N_("Subscribers"),
        (
            Entry("subscribers.index", N_("Subscribers"), "users", Permission.SUBSCRIBERS_VIEW, N_("Subscribers")),
            Entry("services.index", N_("Services"), "plug-connected", Permission.SUBSCRIBERS_VIEW),
            Entry("plans.index", N_("Rate plans"), "gauge", Permission.PLANS_VIEW),
            Entry("imports.index", N_("Import"), "database-import", Permission.IMPORTS),
            Entry("messages.index", N_("Messages"), "message", Permission.MESSAGES_VIEW),
            Entry("broadcasts.index", N_("Broadcasts"), "speakerphone", Permission.MESSAGES_SEND),
            Entry("explain.index", N_("Explain"), "stethoscope", Permission.EXPLAIN, N_("Explain")),
        ),
    ),
    (
        N_("Work orders"),
        (
            Entry("work_orders.index", N_("Work orders"), "tools", Permission.WORK_ORDERS_VIEW, N_("Work")),
            Entry("technician.page", N_("On the road"), "device-mobile", Permission.WORK_ORDERS_OWN, N_("On the road")),
            Entry("work_orders.calendar", N_("Calendar"), "calendar", Permission.WORK_ORDERS_VIEW),
            Entry("leads.index", N_("Leads"), "user-plus", Permission.LEADS_VIEW, N_("Leads")),
            Entry("sales.plans", N_("Compare plans"), "scale", Permission.PLANS_VIEW),
            Entry("equipment.index", N_("Equipment"), "router", Permission.EQUIPMENT_VIEW),
            Entry("work_orders.reports", N_("Sales and installations"), "chart-bar", Permission.WORK_ORDERS_VIEW),
        ),
    ),
    (
        N_("Billing"),
        (
            Entry("reports.index", N_("Finance today"), "report-money", Permission.BILLING_REPORTS),
            Entry("payments.index", N_("Payments"), "cash", Permission.BILLING_VIEW, N_("Payments")),
            Entry("invoices.index", N_("Invoices"), "file-invoice", Permission.BILLING_VIEW),
            Entry("promotions.index", N_("Promotions and extras"), "discount", Permission.BILLING_VIEW),
            Entry("dunning.index", N_("Dunning"), "bell-dollar", Permission.BILLING_VIEW),
            Entry("bank.index", N_("Bank statements"), "building-bank", Permission.PAYMENTS_EDIT),
            Entry("desk.index", N_("Cash desk"), "cash-register", Permission.DESK),
            Entry("voucher_sales.index", N_("Sell vouchers"), "ticket", Permission.VOUCHERS_SELL),
            Entry("vouchers.index", N_("Vouchers"), "wifi", Permission.VOUCHERS_VIEW),
            Entry("collectors.index", N_("Collectors"), "user-dollar", Permission.BILLING_REPORTS),
            Entry("reports.months", N_("Reports"), "chart-bar", Permission.BILLING_REPORTS),
        ),
    ),
    (
        N_("Help desk"),
        (
            Entry("tickets.index", N_("Tickets"), "lifebuoy", Permission.TICKETS_VIEW, N_("Tickets")),
            Entry("ticket_reports.index", N_("Reports of tickets"), "chart-dots", Permission.TICKETS_VIEW),
        ),
    ),
    (N_("Reports"), (Entry("operations.index", N_("All reports"), "report-analytics", Openness.SIGNED_IN),)),
    (
        N_("Network"),
        (
            Entry("dashboard.index", N_("Network now"), "layout-dashboard", Permission.DASHBOARD_VIEW),
            Entry("sessions.index", N_("Live sessions"), "activity", Permission.SESSIONS_VIEW, N_("Sessions")),
            Entry("auth_events.index", N_("Access requests"), "key", Permission.AUTH_EVENTS_VIEW),
            Entry("auth_events.seen", N_("Unknown devices"), "device-unknown", Permission.DEVICES_VIEW),
            Entry("enforcement.index", N_("Orders to routers"), "send", Permission.ORDERS_VIEW),
            Entry("monitoring.index", N_("Monitoring"), "chart-line", Permission.ROUTERS_VIEW),
            Entry("incidents.index", N_("Incidents"), "urgent", Permission.ROUTERS_VIEW),
            Entry("map.index", N_("Map"), "map", Permission.MAP_VIEW),
            Entry("sites.index", N_("Sites and sectors"), "building-broadcast-tower", Permission.SITES_VIEW),
            Entry("routers.index", N_("Routers"), "router", Permission.ROUTERS_VIEW),
            Entry("nas.index", N_("NAS"), "server", Permission.NAS_VIEW),
            Entry("vpn.index", N_("VPN"), "shield-lock", Permission.ROUTERS_VIEW),
            Entry("pools.index", N_("Address pools"), "address-book", Permission.POOLS_VIEW),
            Entry("cgnat.index", N_("Port plans (CGNAT)"), "arrows-split-2", Permission.POOLS_VIEW),
            Entry("circuit.index", N_("Circuit tests"), "activity-heartbeat", Permission.SESSIONS_VIEW),
            Entry("addresses.index", N_("Address lookup"), "map-search", Permission.ADDRESSES_LOOKUP),
        ),
    ),
    (
        SETTINGS,
        (
            Entry("billing_settings.index", N_("Billing rules"), "receipt-tax", Permission.BILLING_SETTINGS),
            Entry("currencies.index", N_("Currencies"), "currency-dollar", Permission.BILLING_SETTINGS),
            Entry("documents.letterhead", N_("Letterhead"), "heading", Permission.BILLING_SETTINGS),
            Entry("gateways.index", N_("Online payments"), "credit-card", Permission.BILLING_SETTINGS),
            Entry("einvoices.account", N_("Electronic invoices"), "file-certificate", Permission.BILLING_SETTINGS),
            Entry("help_desk.index", N_("Help desk rules"), "headset", Permission.HELP_DESK_SETTINGS),
            Entry("brand.index", N_("Subscriber portal"), "device-mobile", Permission.SETTINGS_EDIT),
            Entry("captive_settings.index", N_("Captive portal"), "access-point", Permission.SETTINGS_EDIT),
            Entry("policy.index", N_("Cut-off and walled garden"), "fence", Permission.SETTINGS_EDIT),
            Entry("message_texts.index", N_("Texts and channels"), "message-cog", Permission.MESSAGES_EDIT),
            Entry("records.fields_page", N_("Own fields"), "forms", Permission.SETTINGS_EDIT),
            Entry("router_logins.index", N_("Router logins"), "user-key", Permission.SETTINGS_EDIT),
            Entry("webhooks.index", N_("Webhooks"), "webhook", Permission.WEBHOOKS),
            Entry("first_steps.index", N_("First steps"), "list-check", Permission.SETTINGS_EDIT),
            Entry("resellers.index", N_("Resellers"), "users-plus", Permission.ACCOUNT_EDIT),
            Entry("licence.index", N_("Licence and account"), "license", Openness.SIGNED_IN),
            Entry("people.index", N_("Staff"), "users-group", Permission.STAFF_EDIT),
            Entry("roles.index", N_("Roles"), "lock-access", Permission.ROLES_EDIT),
            Entry("api_tokens.index", N_("API"), "api", Permission.API_TOKENS),
            Entry("security.index", N_("Signing in"), "shield-check", Permission.STAFF_EDIT),
            Entry("leave_reasons.reasons", N_("Reasons for leaving"), "door-exit", Permission.SETTINGS_EDIT),
            Entry("work_settings.index", N_("Sales and work orders"), "checklist", Permission.SETTINGS_EDIT),
            Entry("retention.index", N_("Retention"), "trash-x", Permission.RETENTION),
            Entry("jobs.index", N_("Jobs"), "progress", Permission.JOBS_VIEW),
            Entry("audit.index", N_("Audit log"), "history", Permission.AUDIT_VIEW),
        ),
    ),
    ("", (Entry("help.index", N_("Help"), "help", Openness.SIGNED_IN),)),
)

PLATFORM_AREAS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry("platform.index", N_("Operators"), "building-store", Openness.PLATFORM, N_("Operators")),
            Entry("platform.sign_ups", N_("Sign-ups"), "user-plus", Openness.PLATFORM, N_("Sign-ups")),
            Entry("platform.requests", N_("Requests"), "message-question", Openness.PLATFORM, N_("Requests")),
            Entry("platform.settings", N_("How we are reached"), "address-book", Openness.PLATFORM_OWNER),
            Entry("people.index", N_("Staff"), "users-group", Permission.STAFF_EDIT),
            Entry("audit.index", N_("Audit log"), "history", Permission.AUDIT_VIEW),
        ),
    ),
)
"""What the staff of the platform see instead."""


WITHIN = {
    "provisioning": "routers.index",
    "backups": "routers.index",
    "einvoices": "einvoices.account",
    "shadow": "imports.index",
    "sectors": "sites.index",
    "chart": "reports.months",
    "reports": "reports.months",  # but for the page of today, which has an entry
    "strangers": "gateways.index",
    "mismatches": "gateways.index",
    "removed": "subscribers.index",
}
"""Blueprints without an entry of their own, and the entry that their pages belong to."""


def may_open(endpoint: str) -> bool:
    """Tell whether a page is part of this portal and open to this person, so that a link to it makes sense."""
    view = current_app.view_functions.get(endpoint)
    requirement = requirement_of(view) if view is not None else None
    return requirement is not None and _open(requirement)


def _open(requirement: Requirement) -> bool:
    if requirement is Openness.PLATFORM_OWNER:
        return "manager" in staff().roles
    return isinstance(requirement, Openness) or may(requirement)


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it is drawn."""

    title: str
    icon: str
    url: str
    current: bool
    on_phone: str


def title_of(endpoint: str | None) -> str:
    """Return what the navigation calls a page, nothing where it does not name it."""
    titles = [entry.title for _area, entries in AREAS for entry in entries if entry.endpoint == endpoint]
    return _(titles[0]) if titles else ""


def navigation() -> list[tuple[str, list[Link]]]:
    """Return the areas with the pages that this person may see."""
    areas = []
    for title, entries in PLATFORM_AREAS if account().platform else AREAS:
        links = [_link(entry) for entry in entries if _is_open(entry)]
        if title == SETTINGS and links:
            beside = [_link(entry) for entry in entries if entry.endpoint in _BESIDE and _is_open(entry)]
            within = any(link.current for link in links) and not any(link.current for link in beside)
            links = [replace(_link(_ALL_SETTINGS), current=within or request.endpoint == "settings.index"), *beside]
        if links:
            areas.append((_(title) if title else "", links))
    return areas


def settings_of_person() -> dict[str, Link]:
    """Return the pages of settings that this person may open, by endpoint."""
    entries = next(entries for title, entries in AREAS if title == SETTINGS)
    return {entry.endpoint: _link(entry) for entry in entries if _is_open(entry)}


def _is_open(entry: Entry) -> bool:
    return entry.endpoint in current_app.view_functions and _open(entry.permission)


def _link(entry: Entry) -> Link:
    on_phone = _(entry.on_phone) if entry.on_phone else ""
    return Link(_(entry.title), entry.icon, url_for(entry.endpoint), _is_current(entry), on_phone)


def _is_current(entry: Entry) -> bool:
    """Tell whether the page shown belongs to an entry: it is its page, or one of its area without an entry."""
    if request.endpoint == entry.endpoint:
        return True
    if any(request.endpoint == other.endpoint for _title, entries in (*AREAS, *PLATFORM_AREAS) for other in entries):
        return False
    blueprint = request.blueprint or ""
    return entry.endpoint == WITHIN.get(blueprint, f"{blueprint}.index")
