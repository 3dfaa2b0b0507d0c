"""Two people edit one record whose row counts no versions: the second is told what changed, and nothing is lost."""

from html.parser import HTMLParser

import pytest
from sqlalchemy import text

from tests.portal.conftest import add_subscriber, post
from tests.portal.test_incidents import newest, open_one
from tests.portal.test_records import add, fields

SOMEBODY = "Somebody else changed this while you were typing"


class Filled(HTMLParser):
    """What a browser sends of the form that asks for a field, as the page filled it."""

    def __init__(self, page, asked_for):
        super().__init__()
        self.forms, self._select, self._area = [], None, None
        self.feed(page)
        self.values = next(form for form in self.forms if asked_for in form)

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        if tag == "form":
            self.forms.append({})
        name = of.get("name")
        if tag == "input" and name and self.forms:
            if of.get("type") not in ("checkbox", "radio"):
                self.forms[-1][name] = of.get("value") or ""
            elif "checked" in of:
                self.forms[-1].setdefault(name, []).append(of.get("value", "y"))
        elif tag == "select" and name and self.forms:
            self._select = name
            self.forms[-1].setdefault(name, "")
        elif tag == "option" and self._select and "selected" in of:
            self.forms[-1][self._select] = of.get("value", "")
        elif tag == "textarea" and name and self.forms:
            self._area = name
            self.forms[-1][name] = ""

    def handle_endtag(self, tag):
        self._select = None if tag == "select" else self._select
        self._area = None if tag == "textarea" else self._area

    def handle_data(self, data):
        if self._area:
            self.forms[-1][self._area] += data.lstrip("\r\n")


@pytest.fixture
def records(sign_in, isp, system):
    """Pages with a form of each kind: the address, the field, and the query that shows what is stored."""
    manager = sign_in("manager")
    open_one(manager, isp)
    incident = newest(system, isp).id
    assert add(manager, title="Mast", kind="text").status_code == 302
    ana, field = add_subscriber(system, isp, "Ana"), fields(system, isp)["Mast"]
    post(manager, f"/subscribers/{ana}/record", **{f"custom-{field}": "old"})
    post(manager, "/settings/work-orders/materials/new", name="Cable", unit="m", stock="100", active="y")
    post(
        manager, "/pools/new", name="Norte", kind="ipv4", network=f"10.77.{isp.operator_id % 200}.0/24",
        assignment="fixed",
    )  # fmt: skip

    def id_of(table):
        with system.connect() as connection:
            query = f"SELECT max(id) FROM {table} WHERE operator_id = :of"
            return connection.scalar(text(query), {"of": isp.operator_id})

    person, pool, material = id_of("staff"), id_of("address_pool"), id_of("material")
    seen = "SELECT value FROM custom_value WHERE field_id = :id"
    return {
        "incident": (f"/monitoring/incidents/{incident}", "notes", ("SELECT notes FROM incident", incident)),
        "material": (
            f"/settings/work-orders/materials/{material}", "stock", ("SELECT stock::int FROM material", material)
        ),
        "person": (f"/staff/{person}", "name", ("SELECT name FROM staff", person)),
        "nas": (f"/nas/{isp.nas_id}/edit", "notes", ("SELECT notes FROM nas", isp.nas_id)),
        "pool": (f"/pools/{pool}/edit", "notes", ("SELECT notes FROM address_pool", pool)),
        "own fields": (f"/subscribers/{ana}/record", f"custom-{field}", (seen, field)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["incident", "material", "person", "nas", "pool", "own fields"])
def test_who_saves_second_is_told_what_changed_and_may_save_all_the_same(kind, records, sign_in, system):
    page, field, (query, row_id) = records[kind]
    first, second = sign_in("manager"), sign_in("manager")

    def stored():
        asked = query if "WHERE" in query else f"{query} WHERE id = :id"
        with system.connect() as connection:
            return str(connection.scalar(text(asked), {"id": row_id}))

    one, other = (Filled(browser.get(page).text, field).values for browser in (first, second))
    assert post(first, page, **{**one, field: "77"}).status_code == 302
    answer = post(second, page, **{**other, field: "55"})
    assert (answer.status_code, stored()) == (409, "77")
    told = answer.text.partition(SOMEBODY)[2].partition("</dl>")[0]
    assert "77" in told
    assert "55" in told
    again = Filled(answer.text, field).values
    assert again[field] == "55", "nothing typed is lost"
    assert post(second, page, **again).status_code == 302
    assert stored() == "55"
