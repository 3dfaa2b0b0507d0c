"""Another operator's rows, by every id in every address and every form; and another subscriber's.

Two operators have a row in every table. Their ids are far apart, the same in all tables, so that a number says whose
row it is whatever the route means by it. What belongs to the other is compared before and after, column by column: a
route that answered 404 and wrote nevertheless would be found.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg import sql
from werkzeug.exceptions import HTTPException

from core.settings import Settings
from db.migrate import migrate
from portal.application import create_app
from portal.auth import hasher, limiter
from portal.permissions import Openness, requirement_of
from portal.subscriber.frame import COOKIE, _serializer
from tests.db.test_tenancy import fill
from tests.factories import Isp
from tests.portal.conftest import PASSWORD

OURS, THEIRS, LATER = 1_000_001, 9_000_001, 20_000_001
NEAR = 500  # so many rows of one table at most
MARK = "Zzyzx"  # stands in what is theirs
REFUSED = (403, 404, 405)
OTHERWISE = {
    "bank.confirm": 302,  # back to the list, which says that the line is settled already
    "documents.file": 302,  # back to where it is made, in words
    "dunning.sent": 302,
    "factors.remove_key": 422,  # asks for the password before it looks
    "strangers.assign": 302,  # back to the payment, which is still nobody's
    "webhooks.replay_all": 400,  # asks since when before it looks
    "work_orders.tick_now": 302,  # a place in a list of ours, which has no such place
}
"""How a few routes say no; that nothing is shown or changed is tested for them, too."""
_CHANGES = frozenset(("audit_entry", "node", "change_log"))  # written by others than the portal, or of nobody


@dataclass(frozen=True)
class World:
    app: Flask
    dsn: str
    ours: Isp
    theirs: Isp

    def browser(self) -> FlaskClient:
        browser = self.app.test_client()
        answer = browser.post("/sign-in", data={"email": "boss@ours.example", "password": PASSWORD})
        assert answer.status_code == 302
        return browser


def begin_ids_at(connection: psycopg.Connection, number: int) -> None:
    rows = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'S' AND n.nspname = 'public' AND c.relname <> 'operator_id_seq'"
    ).fetchall()
    for (name,) in rows:
        connection.execute("SELECT setval(%s::regclass, %s, false)", (name, number))


@pytest.fixture(scope="module")
def world(installation: Settings, owner_dsn: str, system_dsn: str) -> Iterator[World]:
    migrate(installation)
    made = []
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        for first, address in ((OURS, "10.1.0.1"), (THEIRS, "10.2.0.1")):
            begin_ids_at(owner, first)
            isp = Isp.create(installation, address)
            with psycopg.connect(system_dsn) as connection:
                fill(connection, isp)
            made.append(isp)
        begin_ids_at(owner, LATER)
    ours, theirs = made
    ours.insert(
        "staff", operator_id=ours.operator_id, email="boss@ours.example", name="Boss",
        password_hash=hasher.hash(PASSWORD), roles=["manager"],
    )  # fmt: skip
    for isp in made:
        isp.connection.execute("UPDATE billing_settings SET enabled = true WHERE operator_id = %s", (isp.operator_id,))
    for table, column in (("subscriber", "name"), ("rate_plan", "name"), ("nas", "name"), ("operator", "name")):
        isp_column = "id" if table == "operator" else "operator_id"
        theirs.connection.execute(
            sql.SQL("UPDATE {} SET {} = {} || %s WHERE {} = %s").format(
                sql.Identifier(table), sql.Identifier(column), sql.Identifier(column), sql.Identifier(isp_column)
            ),
            (MARK, theirs.operator_id),
        )
    app = create_app(installation)
    app.config["WTF_CSRF_ENABLED"] = False
    # Pages that say no are drawn with all around them, and errors told at length; here their number will do.
    app.register_error_handler(HTTPException, lambda problem: ("", problem.code))
    app.register_error_handler(Exception, lambda _problem: ("", 500))
    was, limiter.enabled = limiter.enabled, False
    yield World(app, system_dsn, ours, theirs)
    limiter.enabled = was
    app.extensions["portico"].close()
    for isp in made:
        isp.connection.close()


def tables(connection: psycopg.Connection) -> list[str]:
    """Every table with rows of operators."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'operator_id'"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows if name not in _CHANGES]


def fingerprint(world: World) -> dict[str, str]:
    """A hash of every row of theirs, by table."""
    found = {}
    with psycopg.connect(world.dsn) as connection:
        for name in tables(connection):
            query = sql.SQL(
                "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t WHERE operator_id = %s"
            ).format(sql.Identifier(name))
            found[name] = connection.execute(query, (world.theirs.operator_id,)).fetchone()[0]
    return found


def ours_that_name_theirs(world: World) -> list[tuple[str, str]]:
    """Columns of our rows that hold an id of theirs."""
    found = []
    with psycopg.connect(world.dsn) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type = 'bigint' AND column_name LIKE '%\\_id' AND column_name <> 'operator_id'"
        ).fetchall()
        known = set(tables(connection))
        for table, column in columns:
            if table not in known:
                continue
            query = sql.SQL("SELECT count(*) FROM {} WHERE operator_id = %s AND {} BETWEEN %s AND %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            if connection.execute(query, (world.ours.operator_id, THEIRS, THEIRS + NEAR)).fetchone()[0]:
                found.append((table, column))
    return found


def addresses(world: World, *numbers: int) -> Iterator[tuple[str, str, str]]:
    """Yield method, endpoint and address of each route of staff that names a row by its id: `numbers`, then theirs."""
    for rule in world.app.url_map.iter_rules():
        requirement = requirement_of(world.app.view_functions.get(rule.endpoint, lambda: None))
        if "<int:" not in rule.rule or requirement in (Openness.SUBSCRIBER, Openness.TOKEN, None):
            continue
        address = re.sub(r"<any\('([^']+)'[^>]*>", r"\1", rule.rule)
        address = address.replace("<int:operator_id>", str(world.theirs.operator_id))
        for number in [*numbers, *[THEIRS] * 9][: address.count("<int:")]:
            address = re.sub(r"<int:[^>]*>", str(number), address, count=1)
        address = re.sub(r"<[^>]+>", "x", address)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.endpoint, address


def test_no_address_with_an_id_of_theirs_shows_or_changes_anything(world: World):
    before, browser, wrong, tried = fingerprint(world), world.browser(), [], 0
    for method, endpoint, address in addresses(world):
        answer = browser.open(address, method=method)
        tried += 1
        if answer.status_code not in (*REFUSED, OTHERWISE.get(endpoint)) or MARK in answer.text:
            wrong.append((method, endpoint, address, answer.status_code, answer.location))
    assert wrong == [], "\n".join(map(str, wrong))
    assert tried > 200
    changed = fingerprint(world)
    assert {name for name in before if before[name] != changed[name]} == set()


def test_a_row_of_ours_opens_no_row_of_theirs_behind_it(world: World):
    before, browser, wrong = fingerprint(world), world.browser(), []
    for method, endpoint, address in addresses(world, OURS):
        if str(THEIRS) not in address:
            continue
        answer = browser.open(address, method=method)
        if answer.status_code not in (*REFUSED, OTHERWISE.get(endpoint)) or MARK in answer.text:
            wrong.append((method, endpoint, address, answer.status_code))
    assert wrong == [], "\n".join(map(str, wrong))
    assert ours_that_name_theirs(world) == []
    assert fingerprint(world) == before


class Forms(HTMLParser):
    """The forms of a page, with what would be sent."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, list[str]], dict[str, set[str]]]] = []
        self._select = ""
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._open = has.get("method", "get").lower() == "post"
            if self._open:
                self.found.append((has.get("action", ""), {}, {}))
        if not self._open:
            return
        _action, values, choices = self.found[-1]
        name = has.get("name", "")
        if tag == "input" and name and has.get("type") not in ("checkbox", "radio", "file", "submit"):
            values.setdefault(name, []).append(has.get("value", ""))
        elif tag == "input" and name and has.get("type") in ("checkbox", "radio"):
            choices.setdefault(name, set()).add(has.get("value", ""))
            if "checked" in has:
                values.setdefault(name, []).append(has.get("value", ""))
        elif tag == "button" and name:
            values.setdefault(name, []).append(has.get("value", ""))
        elif tag == "textarea" and name:
            values.setdefault(name, []).append("x")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            choices.setdefault(self._select, set()).add(has.get("value", ""))
            if "selected" in has:
                values.setdefault(self._select, []).append(has.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
        if tag == "select":
            self._select = ""


def is_id(value: str) -> bool:
    return value.isdigit() and (OURS <= int(value) <= OURS + NEAR or int(value) >= LATER)


def test_no_form_takes_an_id_of_theirs(world: World):
    before, browser, wrong, tried = fingerprint(world), world.browser(), [], set()
    pages = [address for method, _endpoint, address in addresses(world, *[OURS] * 9) if method == "GET"]
    pages += [
        rule.rule
        for rule in world.app.url_map.iter_rules()
        if not rule.arguments and "GET" in (rule.methods or set()) and rule.endpoint not in ("static", "my.root")
    ]
    for page in sorted(set(pages)):
        shown = browser.get(page)
        if shown.status_code != 200 or shown.mimetype != "text/html":
            continue
        for action, values, choices in Forms(shown.text).found:
            where = action or page
            for name in {*values, *choices}:
                options = choices.get(name, set()) | set(values.get(name, ()))
                if not (name.endswith("_id") or any(map(is_id, options))) or (where, name) in tried:
                    continue
                tried.add((where, name))
                answer = browser.post(where, data={**values, name: [str(THEIRS)]}, follow_redirects=False)
                if answer.status_code >= 500 or MARK in answer.text:
                    wrong.append((where, name, answer.status_code))
    assert wrong == [], "\n".join(map(str, wrong))
    assert len(tried) > 30
    assert ours_that_name_theirs(world) == []
    changed = fingerprint(world)
    assert {name for name in before if before[name] != changed[name]} == set()


def test_a_subscriber_reaches_nothing_of_another_subscriber_or_operator(world: World):
    isp = world.ours
    slug = isp.fetch("SELECT slug FROM operator WHERE id = %s", isp.operator_id)[0][0]
    me = isp.insert("subscriber", operator_id=isp.operator_id, name="Ana", email="ana@sub.example")
    isp.insert("subscriber_login", "subscriber_id", operator_id=isp.operator_id, subscriber_id=me, session_version=1)
    isp.connection.execute("UPDATE self_service SET enabled = true WHERE operator_id = %s", (isp.operator_id,))
    with world.app.test_request_context():
        cookie = _serializer().dumps([isp.operator_id, me, 1, None])
    browser = world.app.test_client()
    browser.set_cookie(COOKIE, cookie, path=f"/my/{slug}/")
    assert browser.get(f"/my/{slug}/").status_code == 200
    before, wrong, tried = fingerprint(world), [], 0
    for rule in world.app.url_map.iter_rules():
        if not rule.rule.startswith("/my/") or "<int:" not in rule.rule:
            continue
        for number in (OURS, THEIRS):
            address = re.sub(
                r"<[^>]+>", "x", re.sub(r"<(?:int|row)[^>]*>", str(number), rule.rule.replace("<slug>", slug))
            )
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                answer = browser.open(address, method=method)
                tried += 1
                if answer.status_code not in REFUSED:
                    wrong.append((method, address, answer.status_code))
    assert wrong == [], "\n".join(map(str, wrong))
    assert tried > 10
    assert fingerprint(world) == before


def test_nobody_gets_an_error_or_anything_of_anybody(world: World):
    before, browser, wrong = fingerprint(world), world.app.test_client(), []
    for rule in world.app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        address = re.sub(r"<[^>]+>", "x", re.sub(r"<(?:int|row)[^>]*>", str(THEIRS), rule.rule))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = browser.open(address, method=method, data={"email": "x"} if method == "POST" else None)
            public = requirement_of(world.app.view_functions[rule.endpoint]) is Openness.PUBLIC
            if answer.status_code >= 500 or MARK in answer.text or (answer.status_code == 200 and not public):
                wrong.append((method, address, answer.status_code))
    assert wrong == [], "\n".join(map(str, wrong))
    assert fingerprint(world) == before
