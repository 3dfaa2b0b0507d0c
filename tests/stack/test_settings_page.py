import pytest

from core.settings import BadSettings, Settings, read_settings
from stack.installation import PROJECT, complete
from stack.settings_page import settings_page


def test_the_page_of_settings_is_what_portico_settings_prints():
    """If this fails: `.venv/bin/portico settings > docs/settings.md`."""
    assert (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page()


def test_every_setting_says_what_it_is_for():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_wrong_setting_gets_one_line_that_names_it(monkeypatch):
    monkeypatch.setenv("PORTICO_AUTH_PORT", "70000")
    monkeypatch.setenv("PORTICO_RADIUS_ADDRESS", "radius.example")
    with pytest.raises(BadSettings) as caught:
        read_settings()
    assert str(caught.value).splitlines() == [
        "PORTICO_RADIUS_ADDRESS: 'radius.example' is not an IPv4 or IPv6 address",
        "PORTICO_AUTH_PORT: Input should be less than or equal to 65535",
    ]


def test_a_command_before_the_first_start_says_what_to_run(tmp_path):
    with pytest.raises(BadSettings, match="has no private PostgreSQL yet; `portico run` makes one"):
        complete(Settings.model_construct(data_dir=tmp_path, user="portico"))


def test_naming_one_database_without_the_others_is_an_error(installation):
    half = installation.model_copy(update={"database_url": None, "owner_database_url": None})
    with pytest.raises(BadSettings, match="PORTICO_PORTAL_DATABASE_URL is set, so PORTICO_DATABASE_URL must be too"):
        complete(half)
