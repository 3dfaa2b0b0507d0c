"""An operator with very many subscribers, written straight into the tables with COPY.

The values are those of the baselines: the same names, passwords, addresses and rates.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address

import psycopg
from psycopg import sql

from bench.generator import SECRET
from core.crypto import Keyring
from core.settings import Settings

OPERATOR = 1
PLANS = 20
LOOPBACK = (("127.0.0.1", 3799),)
_FIRST_ADDRESS = IPv4Address("10.0.0.0")


def seed(
    settings: Settings,
    users: Sequence[tuple[str, str]],
    nas: Sequence[tuple[str, int]] = LOOPBACK,
    *,
    session_limit: int = 0,
) -> None:
    """Fill an empty, migrated database: one operator, `nas` (address and CoA port), plans, a service for each user.

    Sessions are not limited unless told, since a load presents the same name many times. NAS, subscriber and service
    ids count from 1 in the order given, as their sequences do in a database that nothing was written to.
    """
    keyring = settings.keyring
    with psycopg.connect(system_url(settings)) as connection:
        connection.execute("INSERT INTO operator (slug, name) VALUES ('bench', 'Bench')")
        connection.cursor().executemany(
            "INSERT INTO nas (operator_id, name, address, secret, coa_port) VALUES (%s, %s, %s, %s, %s)",
            [
                (OPERATOR, f"nas-{number}", address, keyring.seal("nas.secret", SECRET), port)
                for number, (address, port) in enumerate(nas, 1)
            ],
        )
        connection.cursor().executemany(
            "INSERT INTO rate_plan (operator_id, name, download, upload, session_timeout, idle_timeout)"
            " VALUES (%s, %s, 20000000, 5000000, %s, %s)",
            [(OPERATOR, f"Plan {number}", timedelta(days=1), timedelta(minutes=10)) for number in range(1, PLANS + 1)],
        )
        _copy(
            connection,
            "subscriber (operator_id, name)",
            ((OPERATOR, f"Subscriber {number}") for number in range(1, len(users) + 1)),
        )
        _copy(
            connection,
            "service (operator_id, subscriber_id, plan_id, access_method, name, password, framed_ip, session_limit,"
            " activated_at)",
            (
                (
                    OPERATOR,
                    number,
                    (number - 1) % PLANS + 1,
                    "pppoe",
                    name,
                    keyring.seal("service.password", password),
                    str(_FIRST_ADDRESS + number - 1),
                    session_limit,
                    "2026-01-01 00:00:00+00",
                )
                for number, (name, password) in enumerate(users, 1)
            ),
        )
    owner = settings.owner_database_url
    assert owner is not None
    with psycopg.connect(owner.get_secret_value(), autocommit=True) as connection:
        connection.execute("ANALYZE")


def system_url(settings: Settings) -> str:
    """Return the libpq URL of the role that row-level security does not bind. The settings must be complete."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def reseal(keyring: Keyring, password: str) -> bytes:
    """Return a sealed service password, as a change by staff would write it."""
    return keyring.seal("service.password", password)


def _copy(connection: psycopg.Connection, target: str, rows: Iterable[tuple[object, ...]]) -> None:
    with connection.cursor().copy(f"COPY {target} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def without_indexes(connection: psycopg.Connection, table: str, statement: str, values: dict[str, int]) -> None:
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
