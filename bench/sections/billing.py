"""The billing run: switching billing on for very many services, and whole cycles of invoices, as the worker does it."""

import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from bench.report import Section, Table, Target, under
from bench.sections import Options
from bench.seed import OPERATOR, seed, system_url
from bench.site import make_users, open_site
from billing.following import different_services, follow_services
from billing.ledger import broken_entries, discrepancies
from billing.rules import rules_of
from billing.run import run_billing
from db.audit import Actor
from db.migrate import migrate
from db.session import make_engine, make_sessions

_STARTED = "2027-01-01"
_SWITCHED_ON = datetime(2026, 12, 20, 18, tzinfo=UTC)
_FIRST_RUN = datetime(2027, 1, 1, 18, tzinfo=UTC)
_SECOND_RUN = datetime(2027, 1, 27, 18, tzinfo=UTC)
_MOST_GROWTH = 64.0
"""MiB that the process may grow by while it bills everything: batches must not pile up."""


def measure(options: Options) -> Section:
    """Switch billing on for 100,000 services and bill them twice, one month on top of the other; verify the books."""
    count = options.scaled(100_000, 2_000)
    users = make_users(count)
    with open_site() as site:
        migrate(site.settings)
        seed(site.settings, users)
        _switch_on(system_url(site.settings))
        sessions = make_sessions(make_engine(system_url(site.settings)))
        before = _resident()
        begun, followed = _timed(lambda: run_billing(sessions, OPERATOR, _SWITCHED_ON).followed)
        first, invoices = _timed(lambda: run_billing(sessions, OPERATOR, _FIRST_RUN).invoices)
        second, again = _timed(lambda: run_billing(sessions, OPERATOR, _SECOND_RUN).invoices)
        idle, nothing = _timed(lambda: run_billing(sessions, OPERATOR, _SECOND_RUN).invoices)
        grown = _resident() - before
        with sessions() as session:
            verify, broken = _timed(lambda: len(broken_entries(session, OPERATOR)))
            agree = not discrepancies(session, OPERATOR)
        plans = _change_plans(sessions, options.scaled(1_000, 100))
    return Section(
        "billing",
        f"Billing run, {count:,} services",
        (
            under("a whole cycle's invoices", 60, max(first, second), "s"),
            under("switching billing on", 60, begun, "s"),
            Target("cycles begun", f"{count:,}", f"{followed:,}", followed == count),
            under("memory that the run takes on top", _MOST_GROWTH, grown, "MiB"),
            Target("invoices", f"{count:,} each", f"{invoices:,} and {again:,}", invoices == again == count),
            Target("a run again", "0", f"{nothing:,}", nothing == 0),
            Target("the books are sound", "yes", "yes" if agree and not broken else "no", agree and not broken),
        ),
        (
            Table(
                ("", "seconds", "a second"),
                (
                    ("switching on", f"{begun:.1f}", f"{count / begun:,.0f}"),
                    ("first month", f"{first:.1f}", f"{count / first:,.0f}"),
                    ("second month", f"{second:.1f}", f"{count / second:,.0f}"),
                    ("nothing to do", f"{idle:.2f}", ""),
                    ("verifying the ledger", f"{verify:.1f}", f"{2 * count / verify:,.0f}"),
                    ("plan changes billed", f"{plans[0]:.1f}", f"{plans[1] / plans[0]:,.0f}"),
                ),
            ),
        ),
        (
            "Each invoice has one line and one tax and is booked as an entry of three postings; 500 services a"
            " transaction, 1,000 where cycles begin, on a durable PostgreSQL on the same machine.",
        ),
    )


def _switch_on(url: str) -> None:
    """Switch billing on from a day on which every service's month begins."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE rate_plan SET price = 349")
        connection.execute("UPDATE operator SET currency = 'MXN', timezone = 'America/Mexico_City', cut_off_day = 1")
        connection.execute(
            "INSERT INTO billing_settings (operator_id, enabled, starts_on) VALUES (%s, true, %s)", (OPERATOR, _STARTED)
        )
        connection.execute("INSERT INTO tax_rate (operator_id, name, rate) VALUES (%s, 'IVA', 16)", (OPERATOR,))


def _change_plans(sessions: sessionmaker[Session], count: int) -> tuple[float, int]:
    """Move so many services to the next plan; return the seconds that billing them took, and how many it billed."""
    with sessions() as session:
        session.execute(
            text(
                "UPDATE service SET plan_id = plan_id % 20 + 1, version = version + 1"
                " WHERE id IN (SELECT id FROM service ORDER BY id LIMIT :count)"
            ),
            {"count": count},
        )
        session.commit()
        rules = rules_of(session, OPERATOR)
        begun = time.monotonic()
        done = 0
        while found := different_services(session, rules, 0, 100):
            done += follow_services(session, Actor(OPERATOR, "billing"), rules, found, _SECOND_RUN)
            session.commit()
    return time.monotonic() - begun, done


def _timed(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.monotonic()
    outcome = work()
    return time.monotonic() - begun, outcome


def _resident() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
