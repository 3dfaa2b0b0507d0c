"""Logins with vouchers by the captive page and RADIUS together, and what the page costs beside a plain one."""

import asyncio
import time
from contextlib import ExitStack
from datetime import timedelta
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session

from bench.browser import Browser, quantile
from bench.machine import processor_seconds
from bench.phones import LOGIN, Crowd, Seen
from bench.portico import portico
from bench.report import Section, Table, Target, at_least, under
from bench.sections import Options
from bench.seed import OPERATOR
from bench.site import Site, free_port, make_users, open_site
from billing.links import LinkFor, link_key, signed
from core.clock import utc_now
from crm.captive import change_hosts
from crm.vouchers import CODE_PURPOSE, BatchTerms, create_batch
from db.audit import Actor
from db.models import RatePlan, Voucher
from db.session import make_engine
from stack.accounts import piece_account
from stack.installation import PROJECT, programs_directory
from stack.pieces import Piece, RunningPiece
from stack.programs import portal_piece
from stack.redis import redis_piece

RATE = 200.0
PAIRS = 50
_SETTLE = 3.0
_GIVEN = {"mac": "02:55:00:00:00:01", "ip": "10.5.50.7", "login": LOGIN, "id": r"\371", "challenge": r"\357" * 16}


def measure(options: Options) -> Section:
    """Measure the page alone, then a crowd, then pairs of phones with one code."""
    seconds = options.scaled(20, 2)
    with open_site() as site, portico(site, make_users(10)) as running, ExitStack() as stack:
        stack.enter_context(RunningPiece(redis_piece(site.settings), site.settings.log_dir / "redis.log"))
        path, codes = _sell(site, int(RATE * seconds) + PAIRS)
        page = stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        plain_port = free_port()
        plain = stack.enter_context(RunningPiece(_plain_piece(site, plain_port), site.settings.log_dir / "plain.log"))
        assert running.radiusd.running
        ours, theirs = Browser(site.settings.portal_port), Browser(plain_port)
        assert page.running, page.last_lines()
        ours.wait(path_of := f"{path}?{urlencode(_GIVEN)}")
        theirs.wait("/")
        count = options.scaled(300, 20)
        alone: dict[str, tuple[list[float], float]] = {}
        both = (("captive page", ours, path_of, page), ("plain Flask page", theirs, "/", plain))
        for name, browser, asked, piece in both:
            before = processor_seconds(piece.pid)
            times = browser.time(asked, count)
            alone[name] = (times, (processor_seconds(piece.pid) - before) / (count + 1) * 1e3)
        time.sleep(_SETTLE)  # the publisher has the vouchers
        seen, took, pairs = asyncio.run(_crowd(site, path, codes))
    slow, cost = alone["captive page"]
    plain_times, plain_cost = alone["plain Flask page"]
    failed = seen.refused + seen.lost
    per_second = seen.let_in / took
    rows = [
        (name, f"{quantile(times, 0.5):.2f}", f"{quantile(times, 0.95):.2f}", f"{used:.2f}")
        for name, (times, used) in alone.items()
    ]
    rows.append(
        ("ratio", f"{quantile(slow, 0.5) / quantile(plain_times, 0.5):.1f}",
         f"{quantile(slow, 0.95) / quantile(plain_times, 0.95):.1f}", f"{cost / max(plain_cost, 1e-6):.1f}")
    )  # fmt: skip
    return Section(
        "captive",
        f"Captive page: {RATE:.0f} voucher logins each second",
        (
            under("p95 of the captive page, one at a time", 50, quantile(slow, 0.95), "ms"),
            at_least("voucher logins by page and RADIUS", RATE * 0.95, per_second, "/s"),
            Target("phones that were refused or lost", "none", f"{failed}", not failed),
            Target("one code, two phones at once", "one is let in", f"{pairs} of {PAIRS} times", pairs == PAIRS),
        ),
        (
            Table(("one at a time", "p50 ms", "p95 ms", "processor ms a request"), tuple(rows)),
            Table(
                ("in the crowd", "p50 ms", "p95 ms", "longest ms"),
                tuple(
                    (name, *(f"{quantile(sorted(times), share):.0f}" for share in (0.5, 0.95, 1.0)))
                    for name, times in (("page", seen.pages), ("code sent", seen.forms), ("whole login", seen.logins))
                ),
            ),
        ),
        (
            f"An open loop: {len(codes) - PAIRS:,} phones, each with a code of its own, come {RATE:.0f} in a second."
            " Each asks for the page, sends its code, takes the answer to the challenge from the redirect, and has"
            " RADIUS decide on it; a login's time counts from when the phone should have come. PostgreSQL, radiusd,"
            f" publisher and loader run on the same cores. The crowd was served in {took:.1f} s.",
        ),
    )


async def _crowd(site: Site, path: str, codes: list[str]) -> tuple[Seen, float, int]:
    settings = site.settings
    crowd = Crowd(settings.portal_port, settings.auth_port, path)
    try:
        took = await crowd.come(codes[PAIRS:], RATE)
        seen, crowd.seen = crowd.seen, Seen()
        once = 0
        for number, code in enumerate(codes[:PAIRS]):
            first = 1_000_000 + number * 2
            both = await asyncio.gather(crowd.log_in(code, first), crowd.log_in(code, first + 1))
            once += sum(both) == 1
        return seen, took, once
    finally:
        crowd.close()


def _sell(site: Site, count: int) -> tuple[str, list[str]]:
    """Make so many codes that are good at once; return the path of the captive page, and the codes."""
    keyring, actor = site.settings.keyring, Actor(OPERATOR, "bench")
    assert site.settings.database_url is not None
    engine = make_engine(site.settings.database_url.get_secret_value())
    try:
        with Session(engine) as session:
            change_hosts(session, actor, 1, ("10.5.50.1",))
            token = signed(link_key(session, keyring, OPERATOR), LinkFor.HOTSPOT, OPERATOR, 1)
            plan = session.scalars(select(RatePlan.id).limit(1)).one()
            terms = BatchTerms("bench", count, plan, lasts=timedelta(hours=1), activation="now")
            batch = create_batch(session, actor, keyring, terms, utc_now())
            rows = session.scalars(select(Voucher).where(Voucher.batch_id == batch.id).order_by(Voucher.number))
            codes = [keyring.open(CODE_PURPOSE, row.code) for row in rows if row.code is not None]
            session.commit()
    finally:
        engine.dispose()
    return f"/captive/{token}", codes


def _plain_piece(site: Site, port: int) -> Piece:
    """The plain page, served as the portal is."""
    command = (
        str(programs_directory() / "gunicorn"), "--worker-class=gthread", "--workers=1",
        f"--threads={site.settings.portal_threads}", f"--bind=127.0.0.1:{port}",
        f"--worker-tmp-dir={site.settings.run_dir}", "--no-control-socket", "--error-logfile=-", "bench.plain_page:app",
    )  # fmt: skip
    return Piece("plain page", command, {}, piece_account(site.settings), PROJECT)
