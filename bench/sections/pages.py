"""List pages of the portal with very many rows behind them."""

import http.client
import re
import time
from contextlib import ExitStack
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from bench.report import Section, Table, under
from bench.sections import Options
from bench.seed import OPERATOR, seed
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


def measure(options: Options) -> Section:
    """Ask for pages of lists over 100,000 subscribers and 10,000,000 sessions, one after the other."""
    users = make_users(options.scaled(100_000, 2_000))
    sessions = options.scaled(10_000_000, 20_000)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        seed(site.settings, users, [(f"127.1.0.{number}", 3799) for number in range(1, NAS + 1)])
        seconds = _fill(site, len(users), sessions)
        stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        browser = _Browser(site.settings.portal_port)
        browser.sign_in()
        measured = {name: browser.time(path, options.scaled(40, 5)) for name, path in _pages(len(users)).items()}
    slowest = max(measured, key=lambda name: _quantile(measured[name], 0.95))
    return Section(
        "pages",
        f"List pages, {len(users):,} subscribers and {sessions:,} sessions",
        (under(f"p95 of the slowest list page ({slowest})", 150, _quantile(measured[slowest], 0.95), "ms"),),
        (
            Table(
                ("page", "p50 ms", "p95 ms", "longest ms"),
                tuple(
                    (name, *(f"{_quantile(times, share):.0f}" for share in (0.5, 0.95, 1.0)))
                    for name, times in measured.items()
                ),
            ),
        ),
        (
            "Milliseconds from sending the request to the last octet of the page, over loopback, through gunicorn, one"
            f" request at a time, {len(next(iter(measured.values())))} of each after one that is not counted. As many"
            f" Access-Requests are kept as sessions divided by ten. Filling the tables took {seconds:.0f} s.",
        ),
    )


def _pages(subscribers: int) -> dict[str, str]:
    last = subscribers - 7
    return {
        "dashboard": "/",
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


def _fill(site: Site, subscribers: int, sessions: int) -> float:
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
        for table, statement, count in (
            ("session", _SESSIONS, sessions),
            ("auth_event", _EVENTS, sessions // 10),
            ("usage_hour", _USAGE, sessions // 10),
        ):
            _without_indexes(
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
                },
            )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return time.monotonic() - begun


_SESSIONS = """
INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind, mac, framed_ip,
    calling_station_id, updated_at, ended_at, session_time, octets_in, octets_out, terminate_cause, ended_by)
SELECT started, %(operator)s, 1 + n %% %(nas)s, 1 + line, to_hex(n), 'user' || lpad(line::text, 7, '0'), 'ppp',
    ('02' || lpad(to_hex(line), 10, '0'))::macaddr, '10.0.0.0'::inet + line, '',
    least(now(), started + lasted), CASE WHEN n > %(open)s THEN started + lasted END,
    extract(epoch FROM lasted)::bigint, n * 1000 %% 1000000007, n * 7000 %% 10000000019,
    CASE WHEN n > %(open)s THEN 'User-Request' END, CASE WHEN n > %(open)s THEN 'stop' END
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


def _without_indexes(connection: psycopg.Connection, table: str, statement: str, values: dict[str, int]) -> None:
    """Execute a statement while a table has no indexes but its key, then make them again: quicker than keeping them."""
    definitions = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisprimary",
        (table,),
    ).fetchall()
    for name, _ in definitions:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    connection.execute(statement.encode(), values)
    for _, definition in definitions:
        connection.execute(definition.replace(" ON ONLY ", " ON ").encode())


class _Browser:
    """A signed-in browser that keeps its connection and its cookies."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookies: dict[str, str] = {}

    def sign_in(self) -> None:
        page = self._first_page()
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None, page[:500]
        body = urlencode({"csrf_token": token[1], "email": EMAIL, "password": PASSWORD})
        self._request("POST", "/sign-in", body, status=302)

    def _first_page(self) -> str:
        """Return the page to sign in, once gunicorn, which listens at once, has loaded the portal."""
        for _ in range(50):
            try:
                return self._request("GET", "/sign-in")
            except OSError:
                self._connection.close()
                time.sleep(0.2)
        return self._request("GET", "/sign-in")

    def time(self, path: str, count: int) -> list[float]:
        """Return the milliseconds that each of `count` requests took, shortest first."""
        self._request("GET", path)
        times = []
        for _ in range(count):
            begun = time.monotonic()
            self._request("GET", path)
            times.append((time.monotonic() - begun) * 1e3)
        return sorted(times)

    def _request(self, method: str, path: str, body: str | None = None, status: int = 200) -> str:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        assert response.status == status, f"{method} {path}: {response.status}\n{text[:2000]}"
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return text


def _quantile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]
