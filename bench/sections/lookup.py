"""The lookup of who had an address at an instant, among very many sessions."""

import os
from contextlib import ExitStack
from ipaddress import ip_address

import psycopg

from bench.browser import Browser
from bench.machine import descendants, prefer
from bench.report import Section
from bench.sections import Options
from bench.sections.pages import EMAIL, NAS, PASSWORD, PORTS, SHARED, fill, slowest, times_table
from bench.seed import seed
from bench.site import Site, make_users, open_site
from db.migrate import migrate
from stack.pieces import RunningPiece
from stack.programs import portal_piece

PER_ADDRESS = (65_535 - 1024 + 1) // PORTS


def measure(options: Options) -> Section:
    """Ask who had an address, a port of a public one, and an IPv6 address, on the last and the oldest of 55 days."""
    users = make_users(options.scaled(100_000, 2_000))
    sessions = options.scaled(10_000_000, 20_000)
    count = options.scaled(40, 5)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        seed(site.settings, users, [(f"127.1.0.{number}", 3799) for number in range(1, NAS + 1)])
        fill(site, len(users), sessions)
        stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        if options.preferred:
            prefer(descendants(os.getpid()))
        browser = Browser(site.settings.portal_port)
        browser.sign_in(EMAIL, PASSWORD)
        measured = {name: browser.time("/addresses/", count, typed) for name, typed in _lookups(site).items()}
    return Section(
        "lookup",
        f"Who had an address, {sessions:,} sessions",
        (slowest("lookup", measured),),
        (times_table("asked for", measured),),
        (
            "Milliseconds from sending the form to the last octet of the answer, over loopback, through gunicorn, one"
            f" request at a time, {count} of each after one that is not counted. The sessions are of 55 days and"
            f" {len(users):,} lines; every twentieth had one of {SHARED} addresses that a hotspot gives away all day."
            " `At first` is the oldest day. A lookup is written into the audit log before it is answered, which is in"
            " the figure.",
        ),
    )


def _lookups(site: Site) -> dict[str, dict[str, str]]:
    """Return forms of the lookup: addresses that somebody had at the instant, of the last and the oldest days."""
    forms: dict[str, dict[str, str]] = {}
    with psycopg.connect(site.database_url("portico")) as connection:
        for when, order in (("lately", "DESC"), ("at first", "")):
            for whose, condition in (
                ("a line", "framed_ip << '10.0.0.0/16'"),
                ("a hotspot", "framed_ip << '100.64.0.0/24'"),
            ):
                row = connection.execute(
                    "SELECT host(framed_ip), (started_at + interval '30 seconds') AT TIME ZONE 'UTC',"
                    f" framed_ip - '10.0.0.0', host(delegated_ipv6_prefix) FROM session WHERE {condition}"
                    f" ORDER BY started_at {order} OFFSET 100 LIMIT 1".encode()
                ).fetchone()
                assert row is not None
                address, instant, number, prefix = row
                typed = {"at": instant.isoformat(), "margin": "60", "reason": "Letter 1"}
                forms[f"address of {whose}, {when}"] = {"address": address, **typed}
                if whose == "a line":
                    public = ip_address("198.18.0.0") + number // PER_ADDRESS
                    port = str(1024 + number % PER_ADDRESS * PORTS)
                    forms[f"port of a public address, {when}"] = {"address": str(public), "port": port, **typed}
                    forms[f"IPv6 address, {when}"] = {"address": prefix, **typed}
    nobody = {"at": typed["at"], "margin": "60", "reason": "Letter 1"}
    forms["address that nobody had"] = {"address": "10.99.0.1", **nobody}
    return forms
