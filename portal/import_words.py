"""What an import says about its rows, in sentences: what was found, what it resembles, why it cannot be written."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_
from core.numbers import plain_number
from crm.problems import FieldProblem, Problem
from db.models import ImportBatch, ImportRow
from network.importing.candidate import BARRIERS, Finding
from network.importing.matching import Double, Likeness, double_of
from network.importing.staging import BARRED
from network.importing.undo import Hindrance, Obstacle
from network.shadow import PROBLEMS
from portal.audit_words import field_text
from portal.errors import problem_text
from portal.formats import money
from portal.i18n import number_locale
from portal.router_words import CAUSES

FINDINGS: Mapping[Finding, str] = {
    Finding.NO_NAME: N_("It has no user name."),
    Finding.NO_PASSWORD: N_("It has no password."),
    Finding.MASKED_PASSWORD: N_("The router hides the password: its API user's group lacks the policy “sensitive”."),
    Finding.HASHED_PASSWORD: N_("The password is kept as a hash (%(attribute)s), from which it cannot be got back."),
    Finding.BAD_PASSWORD: N_("The password is longer than RADIUS carries, or has signs that cannot be typed."),
    Finding.NO_ADDRESS: N_("It has no IP address."),
    Finding.NO_MAC: N_("It has no MAC address."),
    Finding.BAD_ADDRESS: N_("“%(value)s” is not an IPv4 address."),
    Finding.BAD_MAC: N_("“%(value)s” is not a MAC address."),
    Finding.NETWORK: N_("It is for a whole network (%(value)s), not for one subscriber."),
    Finding.SEVERAL_ADDRESSES: N_("It is for several addresses (%(value)s)."),
    Finding.INTERFACE: N_("It is for an interface (%(value)s), not for an address."),
    Finding.PARENT: N_("It holds %(count)s other queues: a limit for a group."),
    Finding.TOO_FEW_FIELDS: N_("The line has %(found)s fields of %(expected)s."),
    Finding.BAD_RATE: N_("“%(value)s” is not a rate."),
    Finding.BAD_DATE: N_("“%(value)s” is not a date."),
    Finding.BAD_PRICE: N_("“%(value)s” is not a price."),
    Finding.PRICE: N_("It costs %(value)s a month there. Here the price is that of its plan."),
    Finding.UNLIMITED: N_("It has no limit."),
    Finding.DISABLED: N_("It is disabled there."),
    Finding.BLOCKED: N_("Its access is blocked there."),
    Finding.DYNAMIC: N_("A dynamic lease (%(address)s): perhaps just a visitor's telephone."),
    Finding.OTHER_SERVICE: N_("It is for %(service)s, not for PPPoE."),
    Finding.RATE_FROM_TEXT: N_("The rate was read from “%(value)s”."),
    Finding.NO_SERVICE: N_("It names no line, only a person: a subscriber without a service."),
    Finding.FOREIGN_TEXT: N_("Its text was stored in an old character set; look whether it reads well."),
}

WITHIN: Mapping[Likeness, str] = {
    Likeness.NAME: N_("Line %(line)s has the same user name."),
    Likeness.ADDRESS: N_("Line %(line)s (%(subscriber)s) has the same address %(value)s."),
    Likeness.MAC: N_("Line %(line)s (%(subscriber)s) has the same MAC address %(value)s."),
    Likeness.SIMILAR: N_("Line %(line)s has a similar name: %(subscriber)s."),
}
STORED: Mapping[Likeness, str] = {
    Likeness.NAME: N_("%(subscriber)s has a service of this name."),
    Likeness.ADDRESS: N_("%(subscriber)s has the same address %(value)s."),
    Likeness.MAC: N_("%(subscriber)s has the same MAC address %(value)s."),
    Likeness.SIMILAR: N_("There is a subscriber with a similar name: %(subscriber)s."),
}

HINDRANCES: Mapping[Obstacle, str] = {
    Obstacle.CHANGED: N_("%(rows)s were edited since the import, for example %(examples)s."),
    Obstacle.SESSIONS: N_("%(rows)s have been online since, for example %(examples)s."),
    Obstacle.USAGE: N_("%(rows)s have used data since, for example %(examples)s."),
    Obstacle.MORE_SERVICES: N_("%(rows)s have been given another service, for example %(examples)s."),
    Obstacle.REFERENCED: N_("%(rows)s have entries that depend on them, for example %(examples)s (%(table)s)."),
    Obstacle.TAKEN_OVER: N_(
        "%(rows)s were taken over from their router, for example %(examples)s. Give them back first."
    ),
}

SOURCES: Mapping[str, str] = {
    "queues": N_("Simple queues"),
    "secrets": N_("PPPoE secrets"),
    "leases": N_("DHCP leases"),
    "hotspot": N_("Hotspot users"),
    "csv": N_("CSV file"),
    "user_manager": N_("User Manager"),
    "rlm_sql": N_("FreeRADIUS tables"),
}
ABOUT_SOURCES: Mapping[str, str] = {
    "queues": N_(
        "One subscriber for each queue with a single address. They become static addresses that Portico limits."
    ),
    "secrets": N_("User names with their passwords. They go on working while you check what Portico would answer."),
    "leases": N_("One subscriber for each static lease, told by the MAC address."),
    "hotspot": N_("Users of the hotspot with their passwords, also those that Mikhmon made."),
}


def prices_text(prices: Sequence[tuple[Decimal, int]]) -> str:
    """Return what the rows of a proposed plan cost where they come from: `$350.00 (12), $300.00 (2)`, with how many."""
    return ", ".join(f"{money(price)} ({count})" for price, count in prices)


def findings_of(row: ImportRow) -> list[tuple[bool, str]]:
    """Return what was found about a row: whether it keeps the row from being written, and the sentence."""
    return [(finding in BARRIERS, _(FINDINGS[Finding(finding)], **detail)) for finding, detail in row.findings]


def doubles_of(row: ImportRow) -> list[tuple[Double, str]]:
    """Return what a row resembles, each with its sentence."""
    found = []
    for document in row.duplicates:
        double = double_of(document)
        words = (WITHIN if double.line is not None else STORED)[double.likeness]
        found.append((double, _(words, line=double.line, subscriber=double.subscriber, value=double.value)))
    return found


def problems_of(row: ImportRow) -> list[str]:
    """Return why a row cannot be written as it is decided now."""
    return [text for document in row.problems for text in _problem(row, document)]


def _problem(row: ImportRow, document: Mapping[str, Any]) -> Sequence[str]:
    if document["problem"] == BARRED:
        return [text for bars, text in findings_of(row) if bars]
    problem = FieldProblem(document["field"], Problem(document["problem"]), document["detail"])
    if problem.field == "plan_id" and problem.problem is Problem.REQUIRED:
        return [_("It has no rate plan yet.")]
    if row.action == "update" and problem.field == "name":
        if problem.problem is Problem.REQUIRED:
            return [_("There is no service that it could update.")]
        return [_("An earlier line updates the same service.")]
    if problem.problem in (Problem.NAME_TAKEN, Problem.MAC_TAKEN, Problem.ADDRESS_TAKEN):
        return [problem_text(problem)]
    return [f"{field_text(problem.field)}: {problem_text(problem)}"]


def hindrance_text(hindrance: Hindrance) -> str:
    return str(
        _(
            HINDRANCES[hindrance.obstacle],
            rows=hindrance.rows,
            examples=", ".join(hindrance.examples),
            table=hindrance.table,
        )
    )


def failure_of(batch: ImportBatch) -> tuple[str, str]:
    """Return why reading failed, and what to do."""
    if batch.problem in CAUSES:
        words = CAUSES[batch.problem]
        return _(words.title), _(words.advice)
    if batch.problem == "no_router":
        return _("This NAS has no API"), _("Say first, under Routers, how its API is reached.")
    return _("It could not be read"), batch.detail


def shadow_problem(problem: str, detail: str) -> str:
    """Return why a secret could not be taken over or given back."""
    if problem in PROBLEMS:
        return str(_(PROBLEMS[problem]))
    return f"{_(CAUSES[problem].title)} {detail}" if problem in CAUSES else detail or problem


def source_text(source: str) -> str:
    return str(_(SOURCES[source])) if source in SOURCES else source


def install(app: Flask) -> None:
    app.jinja_env.globals.update(
        import_findings=findings_of,
        import_doubles=doubles_of,
        import_problems=problems_of,
        import_failure=failure_of,
        import_source=source_text,
        import_prices=prices_text,
        import_price=lambda price: plain_number(price, number_locale()),
        import_about=lambda source: _(ABOUT_SOURCES[source]),
        hindrance_text=hindrance_text,
        shadow_problem=shadow_problem,
    )
