"""The operations, a module for each thing. Each calls the function below the portal that the page calls."""

from portal.api.resources import (
    invoices,
    network,
    operators,
    payments,
    reports,
    services,
    sessions,
    subscribers,
    tickets,
    vouchers,
    work_orders,
)

__all__ = [
    "invoices",
    "network",
    "operators",
    "payments",
    "reports",
    "services",
    "sessions",
    "subscribers",
    "tickets",
    "vouchers",
    "work_orders",
]
