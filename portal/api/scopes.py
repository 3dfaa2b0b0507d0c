"""Scopes: what a token may be given, in the words of the page where tokens are made.

A scope stands for permissions of the portal. A token may use it while its maker has all of them, so a token never
reaches further than the person, and shrinks with them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.i18n import N_
from portal.permissions import Permission


class Scope(StrEnum):
    """One thing that a token may do."""

    OPERATOR_READ = "operator:read"
    SUBSCRIBERS_READ = "subscribers:read"
    SUBSCRIBERS_WRITE = "subscribers:write"
    SERVICES_READ = "services:read"
    SERVICES_WRITE = "services:write"
    SERVICES_SUSPEND = "services:suspend"
    SERVICES_TERMINATE = "services:terminate"
    SERVICES_EXPLAIN = "services:explain"
    SERVICES_PASSWORD = "services:password"  # noqa: S105 - the name of a scope
    PLANS_READ = "plans:read"
    PLANS_WRITE = "plans:write"
    NETWORK_READ = "network:read"
    NETWORK_WRITE = "network:write"
    NETWORK_SECRETS = "network:secrets"
    SESSIONS_READ = "sessions:read"
    SESSIONS_ACT = "sessions:act"
    INVOICES_READ = "invoices:read"
    INVOICES_CREDIT = "invoices:credit"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    PAYMENTS_VOID = "payments:void"
    PAYMENTS_REFUND = "payments:refund"
    VOUCHERS_READ = "vouchers:read"
    VOUCHERS_WRITE = "vouchers:write"
    VOUCHERS_SELL = "vouchers:sell"
    VOUCHERS_CODES = "vouchers:codes"
    TICKETS_READ = "tickets:read"
    TICKETS_WRITE = "tickets:write"
    WORK_ORDERS_READ = "work_orders:read"
    WORK_ORDERS_WRITE = "work_orders:write"
    WORK_ORDERS_OVERRIDE = "work_orders:override"
    REPORTS_READ = "reports:read"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a scope allows, as a sentence (a message id), and the permissions that its use takes."""

    words: str
    needs: frozenset[Permission]


def _means(words: str, *needs: Permission) -> Meaning:
    return Meaning(words, frozenset(needs))


SCOPES: Mapping[Scope, Meaning] = {
    Scope.OPERATOR_READ: _means(N_("Read the company's name, currency and time zone"), Permission.SUBSCRIBERS_VIEW),
    Scope.SUBSCRIBERS_READ: _means(N_("Read subscribers"), Permission.SUBSCRIBERS_VIEW),
    Scope.SUBSCRIBERS_WRITE: _means(N_("Enter, edit and remove subscribers"), Permission.SUBSCRIBERS_EDIT),
    Scope.SERVICES_READ: _means(N_("Read services and their usage"), Permission.SUBSCRIBERS_VIEW),
    Scope.SERVICES_WRITE: _means(N_("Enter, edit and activate services, change their plan"), Permission.SERVICES_EDIT),
    Scope.SERVICES_SUSPEND: _means(N_("Suspend, restore, pause and resume services"), Permission.SERVICES_SUSPEND),
    Scope.SERVICES_TERMINATE: _means(N_("Terminate and reinstate services"), Permission.SERVICES_TERMINATE),
    Scope.SERVICES_EXPLAIN: _means(N_("Explain why a name is let in or refused"), Permission.EXPLAIN),
    Scope.SERVICES_PASSWORD: _means(
        N_("Set passwords of services, without reading them"), Permission.SERVICES_PASSWORD
    ),
    Scope.PLANS_READ: _means(N_("Read rate plans"), Permission.PLANS_VIEW),
    Scope.PLANS_WRITE: _means(N_("Enter, edit and archive rate plans"), Permission.PLANS_EDIT),
    Scope.NETWORK_READ: _means(
        N_("Read NAS and routers, without their secrets"), Permission.NAS_VIEW, Permission.ROUTERS_VIEW
    ),
    Scope.NETWORK_WRITE: _means(
        N_("Enter, edit and delete NAS and routers"), Permission.NAS_EDIT, Permission.ROUTERS_EDIT
    ),
    Scope.NETWORK_SECRETS: _means(N_("Set shared secrets of NAS, without reading them"), Permission.NAS_SECRET),
    Scope.SESSIONS_READ: _means(N_("Read sessions"), Permission.SESSIONS_VIEW),
    Scope.SESSIONS_ACT: _means(N_("Disconnect sessions"), Permission.SESSIONS_ACT),
    Scope.INVOICES_READ: _means(N_("Read invoices and balances"), Permission.BILLING_VIEW),
    Scope.INVOICES_CREDIT: _means(N_("Issue credit notes and take invoices back"), Permission.BILLING_EDIT),
    Scope.PAYMENTS_READ: _means(N_("Read payments and ways to pay"), Permission.BILLING_VIEW),
    Scope.PAYMENTS_WRITE: _means(N_("Register payments"), Permission.PAYMENTS_EDIT),
    Scope.PAYMENTS_VOID: _means(N_("Void payments"), Permission.PAYMENTS_UNDO),
    Scope.PAYMENTS_REFUND: _means(N_("Refund payments, also through their provider"), Permission.PAYMENTS_UNDO),
    Scope.VOUCHERS_READ: _means(N_("Read batches of vouchers, and what became of a code"), Permission.VOUCHERS_VIEW),
    Scope.VOUCHERS_WRITE: _means(N_("Make batches of vouchers and cancel vouchers"), Permission.VOUCHERS_EDIT),
    Scope.VOUCHERS_SELL: _means(
        N_("Sell vouchers, and read the codes of those that it sold"), Permission.VOUCHERS_SELL
    ),
    Scope.VOUCHERS_CODES: _means(N_("Read the code of any voucher"), Permission.VOUCHERS_CODES),
    Scope.TICKETS_READ: _means(N_("Read tickets"), Permission.TICKETS_VIEW),
    Scope.TICKETS_WRITE: _means(N_("Open, answer, solve and close tickets"), Permission.TICKETS_EDIT),
    Scope.WORK_ORDERS_READ: _means(N_("Read work orders"), Permission.WORK_ORDERS_VIEW),
    Scope.WORK_ORDERS_WRITE: _means(N_("Enter, plan, do and cancel work orders"), Permission.WORK_ORDERS_EDIT),
    Scope.WORK_ORDERS_OVERRIDE: _means(
        N_("Complete work orders without a step, for a reason"), Permission.WORK_ORDERS_OVERRIDE
    ),
    Scope.REPORTS_READ: _means(N_("Run those reports that you may read"), Permission.EXPORT),
}


def usable(scopes: Collection[str], permissions: Collection[Permission]) -> frozenset[Scope]:
    """Return which scopes somebody with these permissions can use; texts that are no scope are left out."""
    held = set(permissions)
    return frozenset(scope for scope, meaning in SCOPES.items() if scope in scopes and meaning.needs <= held)
