"""The dunning pass: every subscriber of a large operator is due for a reminder on the same day, and then is cut."""

import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from bench.report import Section, Table, Target, under
from bench.sections import Options
from bench.seed import OPERATOR, seed, system_url
from bench.site import make_users, open_site
from billing.dunning import DunningResult, run_dunning
from billing.run import run_billing
from db.migrate import migrate
from db.session import make_engine, make_sessions
from radius.lifecycle import suspend_overdue

Outcome = TypeVar("Outcome")

_BILLED = datetime(2027, 1, 27, 18, tzinfo=UTC)
_REMINDED = datetime(2027, 2, 3, 18, tzinfo=UTC)
_CUT = datetime(2027, 2, 3, 18, tzinfo=UTC)
_MOST_GROWTH = 64.0
"""MiB that the process may grow by while it reminds everybody: batches must not pile up."""


def measure(options: Options) -> Section:
    """Remind 100,000 subscribers in one pass, charge each a late fee, and cut every service."""
    count = options.scaled(100_000, 2_000)
    with open_site() as site:
        migrate(site.settings)
        seed(site.settings, make_users(count))
        url = system_url(site.settings)
        _switch_on(url)
        sessions = make_sessions(make_engine(url))
        run_billing(sessions, OPERATOR, _BILLED, 500)
        keyring = site.settings.keyring
        before = _resident()
        reminding, reminded = _timed(lambda: run_dunning(sessions, keyring, OPERATOR, _REMINDED))
        grown = _resident() - before
        idle, nothing = _timed(lambda: run_dunning(sessions, keyring, OPERATOR, _REMINDED))
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE dunning_settings SET late_fees = true")
            connection.execute("UPDATE billing_settings SET late_fee_amount = 50, late_fee_days = 1")
        charging, charged = _timed(lambda: run_dunning(sessions, keyring, OPERATOR, _REMINDED))
        with psycopg.connect(url, autocommit=True) as connection:
            cutting, cut = _timed(lambda: suspend_overdue(connection, _CUT))
    return Section(
        "dunning",
        f"Dunning pass, {count:,} services",
        (
            under("everybody reminded on one day", 20, reminding, "s"),
            under("memory that the pass takes on top", _MOST_GROWTH, grown, "MiB"),
            Target("reminders", f"{count:,}", f"{reminded.sent:,}", reminded.sent == count),
            Target(
                "a pass again",
                "nothing",
                "nothing" if nothing == DunningResult() else "more",
                nothing == DunningResult(),
            ),
            Target("services cut", f"{count:,}", f"{cut:,}", cut == count),
        ),
        (
            Table(
                ("", "seconds", "a second"),
                (
                    ("reminders written", f"{reminding:.1f}", f"{count / reminding:,.0f}"),
                    ("nothing to do", f"{idle:.2f}", ""),
                    ("late fees charged", f"{charging:.1f}", f"{charged.late_fees / charging:,.0f}"),
                    ("services cut", f"{cutting:.1f}", f"{cut / cutting:,.0f}"),
                ),
            ),
        ),
        (
            "A reminder is a stage marked and a message written, sealed address and all, 1,000 a transaction, on a"
            " durable PostgreSQL on the same machine. Sending them is the mail server's pace.",
        ),
    )


def _switch_on(url: str) -> None:
    """Switch billing and the ladder on, with an e-mail address for everybody."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE rate_plan SET price = 349")
        connection.execute("UPDATE operator SET currency = 'MXN', timezone = 'America/Mexico_City', cut_off_day = 1")
        connection.execute("UPDATE subscriber SET email = 'subscriber' || id || '@example.com'")
        connection.execute(
            "INSERT INTO billing_settings (operator_id, enabled, starts_on, first_due_days)"
            " VALUES (%s, true, '2027-02-01', 0)",
            (OPERATOR,),
        )
        connection.execute("INSERT INTO dunning_settings (operator_id, enabled) VALUES (%s, true)", (OPERATOR,))
        connection.execute("INSERT INTO dunning_step (operator_id, days) VALUES (%s, 2)", (OPERATOR,))


def _timed(work: Callable[[], Outcome]) -> tuple[float, Outcome]:
    begun = time.monotonic()
    outcome = work()
    return time.monotonic() - begun, outcome


def _resident() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
