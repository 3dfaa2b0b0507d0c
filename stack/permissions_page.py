"""The page of permissions, written from the portal itself so that it cannot say anything else."""

from flask import Flask
from pydantic import SecretStr

from core.crypto import Keyring
from core.settings import Settings
from db.models import ROLES
from portal import create_app
from portal.permission_words import areas
from portal.permissions import ROLE_PERMISSIONS, Permission, requirement_of

_HEAD = """\
# Permissions

This page is what `portico docs permissions` prints; do not edit it by hand.

Staff have one role or several, and may do what any of them may. Below is what each role may do everywhere. An
operator's manager narrows or widens the four other roles under *Settings > Roles*; inviting staff and changing roles
stay the manager's. Every route says what it needs, and one that says nothing is closed to everybody.
"""


def permissions_page() -> str:
    """Return the page as Markdown."""
    matrix = ["## Roles"]
    for area, listed in areas():
        matrix.append(f"### {area}")
        rows = [f"| {words} | `{permission}` | {_ticks(permission)} |" for permission, words in listed]
        matrix.append("\n".join([_head("may", "permission"), *rows]))
    routes = "\n".join([_head("page", "needs"), *_routes(_portal())])
    return "\n\n".join([_HEAD.rstrip(), *matrix, "## Routes", routes]) + "\n"


def _head(*columns: str) -> str:
    names = (*columns, *ROLES)
    return f"| {' | '.join(names)} |\n|{'|'.join(['---'] * len(columns) + [':-:'] * len(ROLES))}|"


def _ticks(permission: Permission) -> str:
    return " | ".join("✓" if permission in ROLE_PERMISSIONS[role] else "" for role in ROLES)


def _routes(app: Flask) -> list[str]:
    rows = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint)):
        if rule.endpoint == "static":
            continue
        methods = " ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        needs = requirement_of(app.view_functions[rule.endpoint])
        if isinstance(needs, Permission):
            ticks, needed = _ticks(needs), f"`{needs}`"
        else:
            ticks, needed = " | ".join([""] * len(ROLES)), f"*{needs.value if needs else 'closed'}*"
        rows.append(f"| {methods} `{rule.rule}` | {needed} | {ticks} |")
    return rows


def _portal() -> Flask:
    """Return the portal as it is anywhere; nothing of it connects to a database before a request comes."""
    settings = Settings(
        portal_database_url=SecretStr("postgresql:///nowhere"),
        secret_keys=SecretStr(Keyring.generate()),
        redis_url=None,
    )
    app = create_app(settings)
    app.extensions["portico"].close()
    return app
