"""List pages of the portal with very many rows behind them."""

import os
import time
from contextlib import ExitStack
from urllib.parse import quote

import psycopg

from bench.browser import Browser, quantile
from bench.machine import descendants, prefer
from bench.report import Section, Table, Target, under
from bench.sections import Options
from bench.seed import OPERATOR, seed, without_indexes
from bench.site import Site, make_users, open_site
from db.migrate import migrate
from portal.auth import hasher
from stack.pieces import RunningPiece
from stack.programs import portal_piece

EMAIL, PASSWORD = "manager@bench.example", "correct horse battery staple"
NAS = 50
OPEN_SHARE = 0.005  # of all sessions; the others are over
DAYS = 55
"""Sessions are spread over so many days, which fall into the partitions of three months."""
SHARED = 100
"""Addresses that every twentieth session has one of: a hotspot gives the same ones away all day."""

PORTS = 1000
"""Of each line, in a plan that lets 64 of them share a public address."""


def measure(options: Options) -> Section:
    """Ask for pages of lists over 100,000 subscribers and 10,000,000 sessions, one after the other."""
    users = make_users(options.scaled(100_000, 2_000))
    sessions = options.scaled(10_000_000, 20_000)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        seed(site.settings, users, [(f"127.1.0.{number}", 3799) for number in range(1, NAS + 1)])
        seconds = fill(site, len(users), sessions)
        stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        if options.preferred:
            prefer(descendants(os.getpid()))
        browser = Browser(site.settings.portal_port)
        browser.sign_in(EMAIL, PASSWORD)
        count = options.scaled(40, 5)
        measured = {name: browser.time(path, count) for name, path in _pages(len(users)).items()}
    return Section(
        "pages",
        f"List pages, {len(users):,} subscribers and {sessions:,} sessions",
        (slowest("list page", measured),),
        (times_table("page", measured),),
        (
            "Milliseconds from sending the request to the last octet of the page, over loopback, through gunicorn, one"
            f" request at a time, {count} of each after one that is not counted. As many Access-Requests are kept as"
            f" sessions divided by ten. Filling the tables took {seconds:.0f} s.",
        ),
    )


def slowest(what: str, measured: dict[str, list[float]]) -> Target:
    """Return the target of what took longest."""
    name = max(measured, key=lambda each: quantile(measured[each], 0.95))
    return under(f"p95 of the slowest {what} ({name})", 150, quantile(measured[name], 0.95), "ms")


def times_table(head: str, measured: dict[str, list[float]]) -> Table:
    """Return a line for each of what was asked for."""
    return Table(
        (head, "p50 ms", "p95 ms", "longest ms"),
        tuple(
            (name, *(f"{quantile(times, share):.0f}" for share in (0.5, 0.95, 1.0))) for name, times in measured.items()
        ),
    )


def _pages(subscribers: int) -> dict[str, str]:
    last = subscribers - 7
    return {
        "home": "/",
        "network now": "/dashboard/",
        "subscribers": "/subscribers/",
        "subscribers, in the middle": f"/subscribers/?page={subscribers // 100}",
        "subscribers, newest first": "/subscribers/?sort=-created",
        "subscribers, found by name": f"/subscribers/?q={quote(f'Subscriber {last}')}",
        "one subscriber": f"/subscribers/{last}",
        "services": "/services/",
        "services, found by user name": f"/services/?q=user{last:07d}",
        "live sessions": "/sessions/",
        "live sessions, most download": "/sessions/?sort=-download",
        "sessions that are over": "/sessions/history",
        "sessions that are over, page 50": "/sessions/history?page=50",
        "sessions of one user name": f"/sessions/history?q=user{last:07d}",
        "sessions of one address": "/sessions/history?q=10.0.1.17",
    }


def fill(site: Site, subscribers: int, sessions: int) -> float:
    """Write sessions and events behind the subscribers; indexes are dropped meanwhile. Returns the seconds it took."""
    begun = time.monotonic()
    with psycopg.connect(site.database_url("portico"), autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO staff (operator_id, email, name, password_hash, roles)"
            " VALUES (%s, %s, 'Manager', %s, '{manager}')",
            (OPERATOR, EMAIL, hasher.hash(PASSWORD)),
        )
        connection.execute(_PORT_PLAN, {"operator": OPERATOR, "ports": PORTS, "days": DAYS})
        for table, statement, count in (
            ("session", _SESSIONS, sessions),
            ("auth_event", _EVENTS, sessions // 10),
            ("usage_hour", _USAGE, sessions // 10),
        ):
            without_indexes(
                connection,
                table,
                statement,
                {
                    "operator": OPERATOR,
                    "count": count,
                    "subscribers": subscribers,
                    "nas": NAS,
                    "open": max(50, int(count * OPEN_SHARE)),
                    "days": DAYS,
                    "shared": SHARED,
                },
            )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return time.monotonic() - begun


_PORT_PLAN = """
INSERT INTO cgnat_plan (operator_id, name, private, public_first, public_last, first_port, last_port, ports, valid_from,
    author)
VALUES (%(operator)s, 'Lines', '10.0.0.0/16', '198.18.0.0', '198.18.4.255', 1024, 65535, %(ports)s,
    now() - interval '1 day' * (%(days)s + 5), 'bench')
"""
_SESSIONS = """
INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind, mac, framed_ip,
    calling_station_id, updated_at, ended_at, session_time, octets_in, octets_out, terminate_cause, ended_by,
    delegated_ipv6_prefix)
SELECT started, %(operator)s, 1 + n %% %(nas)s, 1 + line, to_hex(n), 'user' || lpad(line::text, 7, '0'), 'ppp',
    ('02' || lpad(to_hex(line), 10, '0'))::macaddr,
    CASE WHEN n %% 20 = 0 THEN '100.64.0.0'::inet + n / 20 %% %(shared)s ELSE '10.0.0.0'::inet + line END, '',
    least(now(), started + lasted), CASE WHEN n > %(open)s THEN started + lasted END,
    extract(epoch FROM lasted)::bigint, n * 1000 %% 1000000007, n * 7000 %% 10000000019,
    CASE WHEN n > %(open)s THEN 'User-Request' END, CASE WHEN n > %(open)s THEN 'stop' END,
    ('2001:db8:' || to_hex(line >> 8) || ':' || to_hex((line & 255) << 8) || '::/56')::cidr
FROM (
    SELECT n, (n * 7919) %% %(subscribers)s AS line,
        now() - interval '5 hours' - n * (interval '1 day' * %(days)s / %(count)s) AS started,
        interval '1 minute' * (1 + n %% 240) AS lasted
    FROM generate_series(1, %(count)s::bigint) AS n
) AS made
"""
_EVENTS = """
INSERT INTO auth_event (at, operator_id, nas_id, service_id, user_name, kind, method, outcome, reason)
SELECT now() - n * (interval '1 day' * %(days)s / %(count)s), %(operator)s, 1 + n %% %(nas)s,
    1 + (n * 7919) %% %(subscribers)s, 'user' || lpad(((n * 7919) %% %(subscribers)s)::text, 7, '0'), 'ppp', 'chap',
    CASE WHEN n %% 10 = 0 THEN 'reject' ELSE 'accept' END, CASE WHEN n %% 10 = 0 THEN 'wrong_password' ELSE '' END
FROM generate_series(1, %(count)s::bigint) AS n
"""
_USAGE = """
INSERT INTO usage_hour (service_id, hour, operator_id, octets_in, octets_out)
SELECT 1 + n %% %(subscribers)s, date_trunc('hour', now()) - interval '1 hour' * (n / %(subscribers)s), %(operator)s,
    n %% 1000003 * 1000, n %% 1000003 * 7000
FROM generate_series(0, %(count)s::bigint - 1) AS n
"""
