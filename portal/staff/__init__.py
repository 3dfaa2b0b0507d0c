"""The pages of an operator's staff, a module for each area, each with a Blueprint called `blueprint`."""

from importlib import import_module

from flask import Flask

AREAS = (
    "home",
    "dashboard",
    "search",
    "subscribers",
    "services",
    "mass_change",
    "boosts",
    "plans",
    "sessions",
    "nas",
    "routers",
    "monitoring",
    "clients",
    "provisioning",
    "backups",
    "vpn",
    "circuit",
    "pools",
    "explain",
    "imports",
    "shadow",
    "billing.reports",
    "billing.statement",
    "documents",
    "gateways",
    "billing.payments",
    "promotions",
    "billing.invoices",
    "billing.desk",
    "billing.collectors",
    "billing.settings",
    "dunning",
    "bank",
    "auth_events",
    "enforcement",
    "addresses",
    "policy",
    "jobs",
    "audit",
    "router_logins",
    "account",
    "people",
    "roles",
    "welcome",
)


def install(app: Flask) -> None:
    for area in AREAS:
        app.register_blueprint(import_module(f"portal.staff.{area}").blueprint)
