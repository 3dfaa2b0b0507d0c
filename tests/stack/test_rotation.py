import re

import psycopg
import pytest

from core.crypto import BadKeyring, Keyring, SecretUnreadable
from core.settings import BadSettings
from stack.installation import PROJECT
from stack.rotation import (
    SEALED_COLUMNS,
    only_first_key,
    reseal,
    sealed_with_others,
    with_new_key,
    with_newest_key_first,
)
from tests.factories import Isp


@pytest.fixture
def isp(database):
    made = Isp.create(database)
    yield made
    made.connection.close()


@pytest.fixture
def connection(isp):
    with psycopg.connect(isp.settings.database_url.get_secret_value()) as connection:
        yield connection


def test_a_new_key_opens_before_it_seals():
    old = Keyring.generate(3)
    both = with_new_key(old)
    assert Keyring.parse(both).sealing_id == 3
    sealed_later = Keyring.parse(with_newest_key_first(both)).seal("nas.secret", "xyzzy")
    assert sealed_later[0] == 4
    assert Keyring.parse(both).open("nas.secret", sealed_later) == "xyzzy"


def test_putting_the_newest_key_first_twice_changes_nothing_more():
    once = with_newest_key_first(with_new_key(Keyring.generate()))
    assert with_newest_key_first(once) == once
    assert Keyring.parse(only_first_key(once)).sealing_id == 2


def test_key_ids_never_start_again():
    with pytest.raises(BadSettings):
        with_new_key(Keyring.generate(255))
    with pytest.raises(BadKeyring):
        Keyring.parse(Keyring.generate(256))


def test_every_sealed_value_is_sealed_again_and_means_the_same(isp, connection):
    old_text = isp.settings.secret_keys.get_secret_value()
    names = [f"line-{number}" for number in range(25)]
    for name in names:
        isp.service(name, f"password of {name}")
    newest = Keyring.parse(with_newest_key_first(with_new_key(old_text)))

    assert sealed_with_others(connection, newest) == 26
    assert reseal(connection, newest) == 26
    assert reseal(connection, newest) == 0
    assert sealed_with_others(connection, newest) == 0

    alone = Keyring.parse(only_first_key(with_newest_key_first(with_new_key(old_text))))
    with pytest.raises(SecretUnreadable):
        alone.open("nas.secret", connection.execute("SELECT secret FROM nas").fetchone()[0])
    opened = {
        name: newest.open("service.password", sealed)
        for name, sealed in connection.execute("SELECT name, password FROM service")
    }
    assert opened == {name: f"password of {name}" for name in names}
    assert newest.open("nas.secret", connection.execute("SELECT secret FROM nas").fetchone()[0]) == isp.secret


def test_a_service_without_a_password_is_left_alone(isp, connection):
    isp.service("a4:2b:b0:00:00:01", None, access_method="mac")
    newest = Keyring.parse(with_newest_key_first(with_new_key(isp.settings.secret_keys.get_secret_value())))
    assert reseal(connection, newest) == 1
    assert connection.execute("SELECT password FROM service").fetchone() == (None,)


def test_the_password_of_a_routers_api_is_sealed_again(isp, connection):
    old = isp.settings.keyring
    connection.execute(
        "INSERT INTO router (nas_id, operator_id, api_user, api_password) VALUES (%s, %s, 'portico', %s)",
        (isp.nas_id, isp.operator_id, old.seal("router.password", "xyzzy")),
    )
    newest = Keyring.parse(with_newest_key_first(with_new_key(isp.settings.secret_keys.get_secret_value())))
    assert reseal(connection, newest) == 2
    (sealed,) = connection.execute("SELECT api_password FROM router").fetchone()
    assert sealed[0] == newest.sealing_id
    assert newest.open("router.password", sealed) == "xyzzy"


def test_a_lost_key_stops_the_change_before_anything_is_lost(isp, connection):
    before = connection.execute("SELECT secret FROM nas").fetchone()
    with pytest.raises(SecretUnreadable):
        reseal(connection, Keyring.parse(Keyring.generate(9)))
    connection.rollback()
    assert connection.execute("SELECT secret FROM nas").fetchone() == before


def test_no_sealed_column_is_forgotten():
    """Models say `# sealed, purpose "…"` beside each such column."""
    said = {
        purpose
        for path in (PROJECT / "db" / "models").glob("*.py")
        for purpose in re.findall(r'# sealed, purpose "([a-z_.]+)"', path.read_text(encoding="utf-8"))
    }
    assert said == {column.purpose for column in SEALED_COLUMNS}
