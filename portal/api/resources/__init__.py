"""The operations, a module for each thing. Each calls the function below the portal that the page calls."""

from portal.api.resources import (
    completing,
    credit_notes,
    explain,
    invoices,
    network,
    operators,
    payments,
    reports,
    services,
    sessions,
    subscribers,
    tickets,
    voucher_sales,
    vouchers,
    work_orders,
)

__all__ = [
    "completing",
    "credit_notes",
    "explain",
    "invoices",
    "network",
    "operators",
    "payments",
    "reports",
    "services",
    "sessions",
    "subscribers",
    "tickets",
    "voucher_sales",
    "vouchers",
    "work_orders",
]
