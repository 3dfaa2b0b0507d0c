import psycopg
import pytest
from psycopg import sql

from stack.installation import SUPERUSER, private_url
from tests.conftest import Servers


def test_the_portal_role_cannot_pass_row_level_security_by(owner_dsn, portal_dsn, system_dsn):
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("CREATE TABLE guarded (operator_id int)")
        owner.execute("INSERT INTO guarded VALUES (1)")
        owner.execute("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
        owner.execute("GRANT SELECT ON guarded TO portico_portal, portico_system")
    with psycopg.connect(portal_dsn) as portal, psycopg.connect(system_dsn) as system:
        assert portal.execute("SELECT count(*) FROM guarded").fetchone() == (0,)
        assert system.execute("SELECT count(*) FROM guarded").fetchone() == (1,)


def test_a_wrong_password_is_refused(servers: Servers):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(private_url(servers.settings, SUPERUSER, "postgres"), password="guessed")


def test_nothing_listens_outside_the_socket(servers: Servers):
    with psycopg.connect(private_url(servers.settings, SUPERUSER, "postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert (servers.settings.run_dir.stat().st_mode & 0o777) == 0o700


def test_what_one_installation_writes_no_other_sees(new_installation):
    first, second = new_installation(), new_installation()
    with psycopg.connect(first.owner_database_url.get_secret_value()) as connection:
        connection.execute("CREATE TABLE mine (a int)")
    with psycopg.connect(second.owner_database_url.get_secret_value()) as connection:
        assert connection.execute(sql.SQL("SELECT to_regclass('mine')")).fetchone() == (None,)
