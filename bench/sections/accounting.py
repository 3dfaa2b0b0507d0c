"""Accounting-Requests: acknowledged, and in PostgreSQL as sessions and usage."""

import os
import signal
import time
from contextlib import ExitStack

import psycopg

from bench import baselines
from bench.baselines import DETAIL, SQL_BARE, SQL_STOCK
from bench.generator import run_load, write_users
from bench.portico import PORTICO_LOADING, Portico, first_login, portico
from bench.report import Section, at_least, rounds_table
from bench.rounds import Measured, compare, ratio
from bench.sections import Options
from bench.seed import system_url
from bench.site import make_users, open_site


def measure(options: Options) -> Section:
    """Measure Start, three Interim-Updates and Stop of session after session."""
    users = make_users(options.scaled(100_000, 2_000))
    with open_site() as site, ExitStack() as stack:
        users_file = write_users(site.directory / "users.csv", users)
        ours = stack.enter_context(portico(site, users))
        first_login(ours, users_file)
        baselines.fill_radius_database(site, users)
        contenders = [
            stack.enter_context(baselines.detail(site, users_file)),
            ours.contenders(users_file)[1],
            stack.enter_context(baselines.sql_bare(site, users_file)),
            stack.enter_context(baselines.sql_stock(site, users_file)),
        ]
        rounds = compare(contenders, options.plan("acct"))
        packets = options.scaled(1_000_000, 20_000)
        loaded_per_second, note = _backlog(ours, packets)
    return Section(
        "accounting",
        f"Accounting-Request, {len(users):,} services",
        (
            at_least("acknowledged and stored, of detail file only", 0.7, _stored_of(rounds, DETAIL)),
            at_least("acknowledged and stored, times stock rlm_sql", 4.5, _stored_of(rounds, SQL_STOCK)),
            at_least("acknowledged and stored, times bare rlm_sql", 4.5, _stored_of(rounds, SQL_BARE)),
            at_least(f"backlog of {packets:,} packets loaded", 30_000, loaded_per_second, "packets/s"),
        ),
        (rounds_table(rounds, DETAIL),),
        (
            "`stored/s` counts the time until the last packet is in PostgreSQL, with its session and its usage; the"
            " detail file and rlm_sql store before they answer.",
            note,
        ),
    )


def _stored_of(rounds: dict[str, list[Measured]], other: str) -> float:
    return ratio(rounds[PORTICO_LOADING], rounds[other], lambda measured: measured.settled_per_second)


def _backlog(ours: Portico, packets: int) -> tuple[float, str]:
    """Let a backlog grow while the loader stands still, then time how quickly it is loaded."""
    settings = ours.site.settings
    users_file = ours.site.directory / "users.csv"
    before = _stored_sessions(ours)
    os.kill(ours.loader.pid, signal.SIGSTOP)
    try:
        load = run_load("acct", settings.acct_port, users_file, "-n", packets, "-d", 300)
        octets = ours.backlog()
    finally:
        os.kill(ours.loader.pid, signal.SIGCONT)
    started = time.monotonic()
    while ours.backlog():
        time.sleep(0.05)
    seconds = time.monotonic() - started
    sessions = _stored_sessions(ours) - before
    return load.acknowledged / seconds, (
        f"Backlog: {load.acknowledged:,} packets acknowledged in {load.seconds:.1f} s ({octets / 2**20:.0f} MiB of"
        f" journal), loaded in {seconds:.1f} s as {sessions:,} sessions."
    )


def _stored_sessions(ours: Portico) -> int:
    with psycopg.connect(system_url(ours.site.settings)) as connection:
        row = connection.execute("SELECT count(*) FROM session").fetchone()
    assert row is not None
    return int(row[0])
