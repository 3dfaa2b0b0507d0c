"""The search of the portal, asked while somebody types."""

import time
from contextlib import ExitStack
from urllib.parse import quote

import psycopg

from bench.browser import Browser, quantile
from bench.report import Section, Table, under
from bench.sections import Options
from bench.seed import OPERATOR, seed
from bench.site import Site, make_users, open_site
from db.migrate import migrate
from portal.auth import hasher
from stack.pieces import RunningPiece
from stack.programs import portal_piece

EMAIL, PASSWORD = "manager@bench.example", "correct horse battery staple"
NAMED = 4711
"""The number of the subscriber who is looked for; names repeat every few thousand, phone numbers do not."""


def measure(options: Options) -> Section:
    """Ask for what is shown under the field at each letter, over 100,000 subscribers, one request after the other."""
    subscribers = options.scaled(100_000, 6_000)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        seed(site.settings, make_users(subscribers), [("127.1.0.1", 3799)])
        _fill(site, subscribers)
        name, phone, street = _of(site, NAMED)
        stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        browser = Browser(site.settings.portal_port)
        browser.sign_in(EMAIL, PASSWORD)
        measured = {
            title: browser.time(f"/search/suggest?q={quote(words)}", options.scaled(40, 5))
            for title, words in _asked(name, phone, street).items()
        }
    slowest = max(measured, key=lambda title: quantile(measured[title], 0.95))
    return Section(
        "search",
        f"The search while typing, {subscribers:,} subscribers",
        (under(f"p95 of the slowest search ({slowest})", 100, quantile(measured[slowest], 0.95), "ms"),),
        (
            Table(
                ("typed", "p50 ms", "p95 ms", "longest ms"),
                tuple(
                    (title, *(f"{quantile(times, share):.0f}" for share in (0.5, 0.95, 1.0)))
                    for title, times in measured.items()
                ),
            ),
        ),
        (
            "Milliseconds from sending the request to the last octet of what is shown under the field, over loopback,"
            f" through gunicorn, one request at a time, {len(measured[slowest])} of each after one that is not counted."
            " The browser waits for 150 ms without a letter before it asks. Each subscriber has a service with a fixed"
            " address and a MAC address, and is online.",
        ),
    )


def _asked(name: str, phone: str, street: str) -> dict[str, str]:
    first = name.split()[0].lower()
    letters = {f"{length} letters of a first name": first[:length] for length in (2, 3, 4)}
    return {
        **letters,
        "a first name": first,
        "a whole name, without accents": name.lower().replace("ñ", "n").replace("é", "e").replace("á", "a"),
        "two surnames the wrong way round": " ".join(reversed(name.lower().split()[1:])),
        "a phone number as dialled": phone,
        "the last digits of a phone number": phone.replace(" ", "")[-6:],
        "a street": street,
        "a user name": f"user{NAMED:07d}",
        "a MAC address": f"02-00-00-00-{NAMED:04x}"[:14] + f"-{NAMED % 256:02x}",
        "the beginning of a MAC address": "02:00:00:00",
        "an IP address": "10.0.18.103",
        "a number": "104711",
        "nothing that is there": "zzyzx qqq",
        "two letters in no name": "xq",
    }


_FIRST = "José,María,Juan,Ana,Luis,Guadalupe,Miguel,Rosa,Carlos,Beatriz,Jesús,Verónica,Álvaro,Ximena,Íñigo,Zoé,Fabián"
_LAST = (
    "Hernández,García,Martínez,López,González,Pérez,Rodríguez,Sánchez,Ramírez,Cruz,Flores,Gómez,Núñez,Peña,Ibáñez,"
    "Fernández-Villalobos,de la Torre,Yáñez,Quiñones,Zúñiga,Ávila,Ortiz,Wong"
)
_STREETS = "Av. Hidalgo,Calle Morelos,Juárez,Insurgentes Sur,Camino Real,Las Flores,5 de Mayo,Constitución"
_NAMES = """
UPDATE subscriber SET
    name = first[1 + id %% array_length(first, 1)] || ' ' || last[1 + (id / 17) %% array_length(last, 1)] || ' '
        || last[1 + (id / 391) %% array_length(last, 1)],
    phone = '+52 55 ' || lpad((id * 7919 %% 10000)::text, 4, '0') || ' ' || lpad((id %% 10000)::text, 4, '0'),
    email = 'subscriber' || id || '@mail.example',
    address = street[1 + id %% array_length(street, 1)] || ' ' || id %% 400 || ', Col. Centro'
FROM (SELECT string_to_array(%s, ',') AS first, string_to_array(%s, ',') AS last, string_to_array(%s, ',') AS street)
    AS words
"""
_DEVICES = """
INSERT INTO service_mac (service_id, mac, operator_id)
SELECT id, ('02' || lpad(to_hex(id), 10, '0'))::macaddr, operator_id FROM service
"""
_ONLINE = """
INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind, mac, framed_ip,
    calling_station_id, updated_at)
SELECT now() - interval '1 hour', operator_id, 1, id, to_hex(id), name, 'ppp',
    ('02' || lpad(to_hex(id), 10, '0'))::macaddr, framed_ip, '', now() FROM service
"""


def _fill(site: Site, subscribers: int) -> None:
    """Give subscribers names as people have them, each service a device, and a session that is under way."""
    begun = time.monotonic()
    with psycopg.connect(site.database_url("portico"), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO staff (operator_id, email, name, password_hash, roles)"
            " VALUES (%s, %s, 'Manager', %s, '{manager}')",
            (OPERATOR, EMAIL, hasher.hash(PASSWORD)),
        )
        connection.execute(_NAMES, (_FIRST, _LAST, _STREETS))
        connection.execute(_DEVICES)
        connection.execute(_ONLINE)
        connection.execute("VACUUM FULL subscriber")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    print(f"filled for {subscribers:,} subscribers in {time.monotonic() - begun:.0f} s", flush=True)


def _of(site: Site, subscriber_id: int) -> tuple[str, str, str]:
    """Return name, phone number and street of a subscriber."""
    with psycopg.connect(site.database_url("portico")) as connection:
        found = connection.execute(
            "SELECT name, phone, split_part(address, ',', 1) FROM subscriber WHERE id = %s", (subscriber_id,)
        ).fetchone()
    assert found is not None
    return found
