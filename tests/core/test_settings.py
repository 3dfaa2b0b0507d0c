import pytest

from core.crypto import Keyring
from core.settings import BadSettings, read_settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch):
    import os

    for name in list(os.environ):
        if name.startswith("PORTICO_"):
            monkeypatch.delenv(name)


def test_each_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORTICO_AUTH_PORT", "70000")
    monkeypatch.setenv("PORTICO_RADIUS_ADDRESS", "everywhere")
    with pytest.raises(BadSettings) as problem:
        read_settings()
    lines = str(problem.value).splitlines()
    assert len(lines) == 2
    assert {line.split(":")[0] for line in lines} == {"PORTICO_AUTH_PORT", "PORTICO_RADIUS_ADDRESS"}
    assert "'everywhere' is not an IPv4 or IPv6 address" in str(problem.value)


def test_a_bad_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORTICO_SECRET_KEYS", "1:hunter2")
    with pytest.raises(BadSettings) as problem:
        read_settings()
    assert "PORTICO_SECRET_KEYS" in str(problem.value)
    assert "hunter2" not in str(problem.value)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch):
    key = Keyring.generate()
    monkeypatch.setenv("PORTICO_SECRET_KEYS", key)
    monkeypatch.setenv("PORTICO_DATABASE_URL", "postgresql://u:topsecret@h/d")
    settings = read_settings()
    assert "topsecret" not in repr(settings)
    assert key not in repr(settings)
    assert settings.keyring.sealing_id == 1


def test_missing_keys_say_what_to_do():
    with pytest.raises(BadSettings, match="PORTICO_SECRET_KEYS is not set"):
        _ = read_settings().keyring
