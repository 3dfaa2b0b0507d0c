"""What the doctor says about who could get in, on machines that we do not have and on one that we do."""

from pathlib import Path

import psycopg
import pytest

from core.settings import Settings
from stack.doctor_security import (
    check_https,
    check_key_age,
    check_known_secrets,
    check_open_files,
    check_openness,
    check_portal_role,
    check_second_factors,
    examine_security,
    look,
    open_files,
)
from stack.finding import Level
from stack.rotation import SEALED_COLUMNS, sealed_values
from tests.factories import Isp

QUIET = {"demo": False, "local_routers": False, "sign_up": False}


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        pytest.param(check_known_secrets(0, 0), Level.OK, "no NAS", id="secrets of their own"),
        pytest.param(check_known_secrets(2, 1), Level.FAIL, "2 NAS and 1 routers", id="testing123"),
        pytest.param(check_second_factors(3, 0), Level.OK, "all 3", id="all have one"),
        pytest.param(check_second_factors(3, 2), Level.WARN, "2 of 3", id="some have none"),
        pytest.param(check_portal_role(unbound=False, unprotected=()), Level.OK, "bound", id="bound"),
        pytest.param(check_portal_role(unbound=True, unprotected=()), Level.FAIL, "does not bind", id="superuser"),
        pytest.param(check_portal_role(unbound=False, unprotected=["nas"]), Level.FAIL, "nas", id="open table"),
        pytest.param(check_https("127.0.0.1", None, https=False), Level.OK, "this machine", id="only here"),
        pytest.param(check_https("0.0.0.0", None, https=False), Level.FAIL, "in clear", id="everywhere in clear"),
        pytest.param(
            check_https("127.0.0.1", "https://p.example", https=False), Level.FAIL, "not marked Secure", id="cookies"
        ),
        pytest.param(check_https("127.0.0.1", "http://p.example", https=True), Level.FAIL, "links begin", id="links"),
        pytest.param(check_https("127.0.0.1", "https://p.example", https=True), Level.OK, "Secure", id="HTTPS"),
        pytest.param(check_key_age(None), Level.OK, "not known", id="kept elsewhere"),
        pytest.param(check_key_age(366), Level.WARN, "366 days", id="old key"),
        pytest.param(check_key_age(12.4), Level.OK, "12 days", id="new key"),
        pytest.param(check_open_files([]), Level.OK, "closed", id="closed files"),
        pytest.param(check_open_files([Path("/x/a.key")]), Level.FAIL, "/x/a.key", id="an open file"),
    ],
)
def test_each_check_tells_good_from_bad(finding, level, words):
    assert finding.level is level
    assert words in finding.text
    assert bool(finding.advice) is (level is not Level.OK)


def test_settings_for_trying_things_out_are_named(tmp_path):
    assert check_openness(Settings(data_dir=tmp_path, **QUIET)).level is Level.OK
    open_ones = Settings(data_dir=tmp_path, **{**QUIET, "local_routers": True, "log_level": "DEBUG"})
    finding = check_openness(open_ones)
    assert finding.level is Level.WARN
    assert "PORTICO_LOG_LEVEL=DEBUG, PORTICO_LOCAL_ROUTERS are on" in finding.text


def test_a_key_that_others_may_read_is_found_unless_its_directory_is_closed(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", **QUIET)
    settings.data_dir.mkdir()
    key = settings.data_dir / "portal.key"
    key.write_text("secret")
    for directory, mode in ((tmp_path, 0o755), (settings.data_dir, 0o755)):
        directory.chmod(mode)
    above = [each for each in tmp_path.parents if not each.stat().st_mode & 0o001]
    key.chmod(0o644)
    assert open_files(settings) == ([] if above else [key])
    key.chmod(0o600)
    assert open_files(settings) == []
    key.chmod(0o644)
    settings.data_dir.chmod(0o700)
    assert open_files(settings) == []


def test_this_installation_is_looked_at(database: Settings):
    isp = Isp.create(database)  # its NAS has the secret of every manual
    for number, roles in enumerate((["manager"], ["manager"], ["sales"])):
        isp.insert(
            "staff", operator_id=isp.operator_id, email=f"{number}@x.example", name="n", password_hash="x", roles=roles,
        )  # fmt: skip
    first = isp.fetch("SELECT min(id) FROM staff")[0][0]
    isp.insert(
        "authenticator",
        "staff_id",
        staff_id=first,
        operator_id=isp.operator_id,
        secret=b"s",
        confirmed_at="2027-01-01Z",
    )
    isp.connection.close()
    seen = look(database)
    assert seen is not None
    assert (seen.known_nas_secrets, seen.known_router_passwords) == (1, 0)
    assert (seen.managers, seen.managers_without_factor) == (2, 1)
    assert not seen.portal_role_unbound
    assert seen.unprotected_tables == ()
    found = {finding.subject: finding.level for finding in examine_security(database)}
    assert found["Known secrets"] is Level.FAIL
    assert found["Portal's database role"] is Level.OK
    unbound = database.model_copy(update={"portal_database_url": database.owner_database_url})
    seen = look(unbound)
    assert seen is not None
    assert seen.portal_role_unbound


def test_every_sealed_column_is_listed_with_its_keys(database: Settings):
    isp = Isp.create(database)
    isp.service("ana")
    isp.connection.close()
    assert database.database_url is not None
    with psycopg.connect(database.database_url.get_secret_value()) as connection:
        listed = dict(sealed_values(connection))
    key = database.keyring.sealing_id
    assert set(listed) == set(SEALED_COLUMNS)
    counts = {(column.table, column.column): by_key for column, by_key in listed.items()}
    assert counts["nas", "secret"] == {key: 1}
    assert counts["service", "password"] == {key: 1}
    assert counts["router", "api_password"] == {}
