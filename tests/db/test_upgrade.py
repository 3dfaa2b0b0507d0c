"""A database of an earlier version, with an ISP in it, becomes one of this version; a newer one is left alone."""

from collections.abc import Callable

import psycopg
import pytest
from alembic import command
from psycopg import sql
from pydantic import SecretStr

from core.settings import BadSettings, Settings
from db.migrate import alembic_config, migrate
from db.session import signed_operator, tenancy_key
from stack.installation import OWNER_ROLE, PORTAL_ROLE, SYSTEM_ROLE, private_url
from tests.conftest import Servers

EARLIER = "0016"  # with billing and dunning; tickets, vouchers, captive pages and reports came later


@pytest.fixture
def earlier(servers: Servers, new_installation: Callable[[], Settings]) -> Settings:
    """An installation whose database was left at an earlier version."""
    servers.administer(
        sql.SQL("DROP DATABASE IF EXISTS earlier"),
        sql.SQL("CREATE DATABASE earlier OWNER {}").format(sql.Identifier(OWNER_ROLE)),
    )
    urls = {
        name: SecretStr(private_url(servers.settings, role, "earlier"))
        for name, role in (
            ("database_url", SYSTEM_ROLE),
            ("portal_database_url", PORTAL_ROLE),
            ("owner_database_url", OWNER_ROLE),
        )
    }
    settings = new_installation().model_copy(update=urls)
    command.upgrade(alembic_config(urls["owner_database_url"].get_secret_value()), EARLIER)
    return settings


def url(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


ROWS = """
INSERT INTO operator (slug, name, timezone, currency) VALUES ('valle', 'Valle Net', 'America/Bogota', 'COP');
INSERT INTO rate_plan (operator_id, name, download, upload, price)
    SELECT id, 'Hogar', 20000000, 5000000, 80000 FROM operator;
INSERT INTO subscriber (operator_id, name, phone) SELECT id, 'Juana Peña ' || n, '300' || n
    FROM operator, generate_series(1, 40) n;
INSERT INTO service (operator_id, subscriber_id, plan_id, name, password, access_method, state, activated_at)
    SELECT s.operator_id, s.id, p.id, 'juana' || s.id, 'sealed', 'pppoe', 'active', now()
    FROM subscriber s, rate_plan p;
INSERT INTO staff (operator_id, email, name, password_hash, roles)
    SELECT id, 'ana@valle.example', 'Ana', 'x', '{manager}' FROM operator;
"""


def test_rows_of_an_earlier_version_live_on(earlier: Settings) -> None:
    with psycopg.connect(url(earlier.database_url)) as system:
        system.execute(ROWS)
    migrate(earlier)
    migrate(earlier)  # a second start finds nothing to do
    with psycopg.connect(url(earlier.database_url)) as system:
        assert system.execute("SELECT count(*), min(state), max(state) FROM service").fetchone() == (
            40,
            "active",
            "active",
        )
        assert system.execute("SELECT name, roles FROM staff").fetchone() == ("Ana", ["manager"])
        row = system.execute("SELECT id FROM operator").fetchone()
        assert row is not None
        system.execute("UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'staff'")
    with psycopg.connect(url(earlier.portal_database_url)) as portal:
        assert portal.execute("SELECT count(*) FROM subscriber").fetchone() == (0,)
        signed = signed_operator(tenancy_key(earlier.keyring), row[0])
        portal.execute("SELECT set_config('portico.operator', %s, true)", (signed,))
        assert portal.execute("SELECT count(*) FROM subscriber WHERE name LIKE 'Juana Peña%'").fetchone() == (40,)


def test_a_newer_schema_is_left_alone_and_said(database: Settings) -> None:
    with psycopg.connect(url(database.owner_database_url)) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadSettings, match=r"schema 9999.*newer version"):
        migrate(database)
