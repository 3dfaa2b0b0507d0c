"""The page of settings: every page of the area is on it once, with a sentence, for who may open it."""

import re
from collections.abc import Callable

from flask.testing import FlaskClient

from portal.navigation import AREAS, SETTINGS
from portal.settings_areas import GROUPS


def entries() -> set[str]:
    return {entry.endpoint for title, entries in AREAS if title == SETTINGS for entry in entries}


def test_each_page_of_settings_has_a_sentence_in_one_group() -> None:
    described = [endpoint for group in GROUPS.values() for endpoint in group]
    assert sorted(described) == sorted(entries())


def test_a_person_sees_what_they_may_open_and_the_navigation_one_entry(sign_in: Callable[..., FlaskClient]) -> None:
    page = sign_in("manager").get("/settings/").text
    for group in GROUPS:
        assert f">{group}</h2>" in page
    assert page.count('<a class="card card-link') == len(entries())
    assert 'aria-current="page"' in page
    rules = sign_in("manager").get("/settings/billing/").text
    assert re.search(r'href="/settings/" title="All settings" aria-current="page"', rules)
    page = sign_in("technical").get("/settings/").text
    assert "Billing rules" not in page
    assert "Licence and account" in page
