"""The captive pages by themselves: what anybody may write into their addresses, and what staff decide."""

import hashlib
import html
import re
from dataclasses import dataclass
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from limits.storage import MemoryStorage, RedisStorage
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from crm.captive import CaptiveTerms, captive_terms, change_hosts, hosts_of
from db.audit import Actor
from db.models import Brand, CaptiveHotspot, Nas, Operator
from portal.auth import limiter
from portal.captive import attempts
from portal.captive import place as places
from portal.captive.place import hotspot_token
from portal.captive.variables import LONGEST, NAMES, BadVariables, Flaw, host_of, octets, visit_of
from tests.portal.conftest import Isp, make_isp, post

MAC, LOGIN = "02:00:00:00:00:01", "http://10.5.50.1/login"
CHALLENGE = r"\357\015\330\013\021\234\145\245\303\253\142\246\133\175\375\316"
GIVEN = {"mac": MAC, "ip": "10.5.50.7", "login": LOGIN, "id": r"\371", "challenge": CHALLENGE, "trial": "no"}
_numbers = count(9_000_000)
HOSTS = ("10.5.50.1", "wifi.valle.example:8080")


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "KEPT", 0.0)


@dataclass(frozen=True)
class Hotspot:
    isp: Isp
    path: str


@pytest.fixture
def hotspot(app: Flask, system: Engine, isp: Isp) -> Hotspot:
    return make_hotspot(app, system, isp)


def make_hotspot(app: Flask, system: Engine, isp: Isp) -> Hotspot:
    with Session(system) as session, app.test_request_context():
        change_hosts(session, Actor(isp.operator_id, "test"), isp.nas_id, HOSTS)
        token = hotspot_token(session, isp.operator_id, isp.nas_id)
        session.commit()
    return Hotspot(isp, f"/captive/{token}")


def test_the_answer_to_a_challenge_is_the_one_that_radius_accepts():
    visit = visit_of(GIVEN, HOSTS)
    assert visit.proof("demo") == "ed92c3cb60d7bfcc640fed522852d78e"
    url = visit.login_url("ABC", "", "http://portal/status")
    empty = hashlib.md5(octets(r"\371") + octets(CHALLENGE)).hexdigest()
    assert url == f"{LOGIN}?username=ABC&password={empty}&dst=http%3A%2F%2Fportal%2Fstatus"


@pytest.mark.parametrize(
    ("changed", "flaw"),
    [
        pytest.param({"mac": ""}, Flaw.MISSING, id="no device"),
        pytest.param({"login": ""}, Flaw.MISSING, id="no login"),
        pytest.param({"mac": "02:00:00:00:00"}, Flaw.MALFORMED, id="half a MAC address"),
        pytest.param({"ip": "10.5.50"}, Flaw.MALFORMED, id="half an address"),
        pytest.param({"challenge": CHALLENGE[:-4]}, Flaw.MALFORMED, id="fifteen octets"),
        pytest.param({"id": "x"}, Flaw.MALFORMED, id="an id that is no octet"),
        pytest.param({"id": r"\777"}, Flaw.MALFORMED, id="an octet above 255"),
        pytest.param({"challenge": CHALLENGE + "a" * 100}, Flaw.OVERSIZED, id="a long challenge"),
        pytest.param({"login": "http://10.5.50.1/login?" + "a" * 300}, Flaw.OVERSIZED, id="a long login"),
        pytest.param({"error": "e" * 301}, Flaw.OVERSIZED, id="a long error"),
        pytest.param({"login": "http://evil.example/login"}, Flaw.FOREIGN, id="another host"),
        pytest.param({"login": "http://10.5.50.1:8080/login"}, Flaw.FOREIGN, id="another port"),
        pytest.param({"login": "http://10.5.50.1@evil.example/login"}, Flaw.MALFORMED, id="a host as user name"),
        pytest.param({"login": "http://10.5.50.1.evil.example/login"}, Flaw.FOREIGN, id="a host that begins like ours"),
        pytest.param({"login": "http://10.5.50.1/other"}, Flaw.MALFORMED, id="another page"),
        pytest.param({"login": "javascript://10.5.50.1/login"}, Flaw.MALFORMED, id="a script"),
        pytest.param({"login": "//10.5.50.1/login"}, Flaw.MALFORMED, id="no scheme"),
        pytest.param({"login": "http://10.5.50.1/login#x"}, Flaw.MALFORMED, id="a fragment"),
        pytest.param({"login": "http://[::1/login"}, Flaw.MALFORMED, id="not an address"),
        pytest.param({"login": "http://10.5.50.1:99999/login"}, Flaw.MALFORMED, id="not a port"),
    ],
)
def test_forged_variables_are_told_apart_on_a_page(app, hotspot, changed, flaw):
    with pytest.raises(BadVariables) as problem:
        visit_of(GIVEN | changed, HOSTS)
    assert problem.value.flaw is flaw
    for answer in (
        app.test_client().get(hotspot.path, query_string=GIVEN | changed),
        app.test_client().post(hotspot.path, data=GIVEN | changed | {"code": "ABC"}),
    ):
        assert answer.status_code == 400
        assert "evil.example" not in answer.headers.get("Location", "")
        assert "<form" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_no_variable_is_taken_that_is_too_long_or_missed_without_a_page(app, hotspot, name):
    browser = app.test_client()
    long = browser.get(hotspot.path, query_string=GIVEN | {name: "1" * (LONGEST[name] + 1)})
    assert long.status_code == 400
    without = {key: value for key, value in GIVEN.items() if key != name}
    for values in (without, GIVEN | {name: "\0"}, GIVEN | {name: "%00\r\nLocation: //evil.example"}):
        answer = browser.get(hotspot.path, query_string=values)
        assert answer.status_code in (200, 400)
        assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("typed", ["ABC011", "abcO11", "a b c 0 1 1", "ABC-Oil", " abco1I ", "ABC0LL"])
def test_a_code_is_read_as_people_copy_it_from_paper(app, hotspot, typed):
    answer = app.test_client().post(hotspot.path, data=GIVEN | {"code": typed})
    assert answer.headers["Location"].startswith(f"{LOGIN}?username=ABC011&password=")


def test_hosts_are_read_as_people_type_them():
    assert [host_of(text) for text in ("http://10.5.50.1/", "WiFi.Valle.example", "10.5.50.1:8080", "a b", "")] == [
        "10.5.50.1", "wifi.valle.example", "10.5.50.1:8080", None, None,
    ]  # fmt: skip


def test_what_the_router_says_is_escaped_and_the_page_is_small_and_loads_nothing_from_elsewhere(app, system, hotspot):
    browser = app.test_client()
    nasty = "<script>alert(1)</script>"
    answer = browser.get(hotspot.path, query_string=GIVEN | {"error": nasty, "var": '"><b>'})
    assert nasty not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert '"><b>' not in answer.text
    assert "form-action 'self' http://10.5.50.1" in answer.headers["Content-Security-Policy"]
    size = len(answer.data)
    for part in answer.text.split('="')[1:]:
        address = part.split('"')[0].replace("&amp;", "&")
        assert not address.startswith(("http", "//")) or address.startswith("http://10.5.50.1/")
        if address.startswith("/") and (".css" in address or ".png" in address or ".js" in address):
            with browser.get(address) as part_of_it:
                size += len(part_of_it.data)
    assert size < 60_000


def test_each_phone_reads_its_own_in_a_page_that_was_made_for_all(app, hotspot, monkeypatch):
    monkeypatch.setattr(places, "KEPT", 60.0)
    visitor = app.test_client()
    odd = {"trial": "'\"><&%é"}
    phones = [
        GIVEN,
        GIVEN | {"mac": "02:00:00:00:00:02", "ip": "fd00::7"},
        GIVEN | odd,
        GIVEN | {"id": "", "challenge": ""},
    ]
    for given in phones:
        page = visitor.get(hotspot.path, query_string=given).text
        typed_in = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
        assert {name: html.unescape(value) for name, value in typed_in.items()} == given | {"lang": "en"}
        links = [html.unescape(link) for link in re.findall(r'href="([^"]*mac=[^"]*)"', page)]
        assert len(links) > 1
        for link in links:
            said = dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))
            assert {name: said[name] for name in given} == given
        assert "mark" not in page
        assert "<&" not in page
    refused = visitor.get(hotspot.path, query_string=GIVEN | {"error": "This code has expired."}).text
    assert "This code has expired." in refused
    assert 'role="alert"' not in visitor.get(hotspot.path, query_string=GIVEN).text
    spanish = visitor.get(hotspot.path, query_string=GIVEN, headers={"Accept-Language": "es"}).text
    assert '<html lang="es">' in spanish


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in Redis"])
def test_tries_are_counted_alike_wherever_limits_are_kept(app, hotspot, monkeypatch, memory):
    class Here:
        class operator:  # noqa: N801 - an attribute of a place
            id = 0

        nas_id = next(_numbers)

    with app.app_context():
        if memory:
            monkeypatch.setattr(limiter, "_storage", MemoryStorage())
        assert isinstance(limiter.storage, MemoryStorage if memory else RedisStorage)
        eager = [attempts.pause(Here, MAC, 1000.0) for _try in range(attempts.FREE + 3)]
        assert eager == [0] * (attempts.FREE + 1) + [3, 3], "who waits is not counted"
        assert attempts.pause(Here, "02:00:00:00:00:99", 1000.0) == 0
        assert attempts.pause(Here, MAC, 1003.0) == 0
        assert attempts.pause(Here, MAC, 1003.5) == 4, "the pause grows"
        attempts.forget(Here, MAC)
        assert attempts.pause(Here, MAC, 1004.0) == 0


def test_a_phones_clock_may_say_anything(app, hotspot):
    visitor = app.test_client()
    pages = [
        visitor.get(hotspot.path, query_string=GIVEN, headers={"If-Modified-Since": "Mon, 01 Jan 2095 00:00:00 GMT"}),
        visitor.get(f"{hotspot.path}/device", query_string=GIVEN),
        visitor.post(hotspot.path, data=GIVEN | {"code": "ABC"}),
    ]
    pages.append(visitor.get(status_of(pages[-1])))
    assert [page.status_code for page in pages] == [200, 200, 303, 200]
    for page in pages:
        assert "Set-Cookie" not in page.headers, "what a cookie says of its end is read by the phone's clock"
        assert "no-store" in page.headers["Cache-Control"], "so is how long a page is kept"
        assert "Expires" not in page.headers
        assert "<script" not in page.text, "nothing is counted there"


def status_of(sent: TestResponse) -> str:
    """Return the status page that a login leads to in the end."""
    return dict(parse_qsl(urlsplit(sent.headers["Location"]).query))["dst"]


@pytest.mark.parametrize("sent", ["This code has expired.", "Este código venció."])
def test_why_radius_refused_is_said_in_the_phones_language(app, hotspot, sent):
    shown = {
        language: app.test_client().get(
            hotspot.path, query_string=GIVEN | {"error": sent}, headers={"Accept-Language": language}
        )
        for language in ("en", "es")
    }
    assert "This code has expired." in shown["en"].text
    assert "This code has expired." not in shown["es"].text


def test_a_place_is_signed_and_goes_with_its_nas(app, system, installation, hotspot):
    browser, other = app.test_client(), make_hotspot(app, system, make_isp(system, installation))
    forged = hotspot.path.replace(f"-{hotspot.isp.nas_id}-", f"-{other.isp.nas_id}-")
    assert forged != hotspot.path
    for path in (forged, hotspot.path[:-1], "/captive/nobody", f"{hotspot.path}x"):
        answer = browser.get(path, query_string=GIVEN)
        assert (answer.status_code, "captive.css" in answer.text) == (404, True)
    assert browser.get(hotspot.path, query_string=GIVEN).status_code == 200
    with Session(system) as session:
        session.get_one(Nas, hotspot.isp.nas_id).enabled = False
        session.commit()
    assert browser.get(hotspot.path, query_string=GIVEN).status_code == 404


def test_a_code_is_sent_folded_and_nothing_else_is(app, hotspot):
    browser = app.test_client()
    answer = browser.post(hotspot.path, data=GIVEN | {"code": " ab-co 1l "})
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{LOGIN}?username=ABC011&password=")
    for typed in ({"code": ""}, {"code": "x" * 300}, {"code": "a\u200bb"}, {"user": "ana", "password": ""}):
        assert browser.post(hotspot.path, data=GIVEN | typed).status_code == 422
    plain = GIVEN | {"id": "", "challenge": ""}
    refused = browser.post(hotspot.path, data=plain | {"user": "ana", "password": "secret"})
    assert refused.status_code == 422
    assert "secret" not in refused.text
    secure = plain | {"login": "https://10.5.50.1/login", "user": "ana", "password": "secret"}
    form = browser.post(hotspot.path, data=secure)
    assert 'action="https://10.5.50.1/login"' in form.text
    assert 'name="password" value="secret"' in form.text


def test_a_status_is_shown_to_nobody_with_another_signature_or_place(app, system, installation, hotspot):
    browser, other = app.test_client(), make_hotspot(app, system, make_isp(system, installation))
    answer = browser.post(hotspot.path, data=GIVEN | {"code": "ABC"})
    signed = answer.headers["Location"].rpartition("s%3D")[2]
    for path, text, code in ((hotspot.path, signed, 200), (hotspot.path, signed + "x", 400), (other.path, signed, 400)):
        assert browser.get(f"{path}/status", query_string={"s": text}).status_code == code


def test_staff_enter_hosts_and_see_one_that_a_phone_named(app, system, hotspot, sign_in):
    app.test_client().get(hotspot.path, query_string=GIVEN | {"login": "http://strange.example/login"})
    manager = sign_in("manager")
    page = manager.get("/settings/captive/").text
    assert "strange.example" in page
    assert hotspot.path in page
    saved = post(manager, f"/settings/captive/{hotspot.isp.nas_id}/hosts", hosts="10.5.50.1, strange.example")
    assert saved.status_code == 302
    with Session(system) as session:
        assert hosts_of(session, hotspot.isp.nas_id) == ("10.5.50.1", "strange.example")
        assert session.get_one(CaptiveHotspot, hotspot.isp.nas_id).refused_host is None
        session.add(Brand(operator_id=hotspot.isp.operator_id, terms="Be kind.", phone="55 1234 5678"))
        session.commit()
    wrong = post(manager, f"/settings/captive/{hotspot.isp.nas_id}/hosts", hosts="a/b/c")
    assert "is no name or address" in manager.get(wrong.headers["Location"]).text
    for wrong in ({"remember_days": "99", "paying_minutes": "5"}, {"remember_days": "7", "paying_minutes": "16"}):
        assert post(manager, "/settings/captive/", **wrong).status_code == 422
    wanted = {"remember_days": "7", "ask_terms": "y", "paying_minutes": "0"}
    assert post(manager, "/settings/captive/", **wanted).status_code == 302
    with Session(system) as session:
        assert captive_terms(session, hotspot.isp.operator_id) == CaptiveTerms(
            ask_terms=True, remember_days=7, paying_minutes=0
        )
    page = app.test_client().get(hotspot.path, query_string=GIVEN).text
    assert "Be kind." in page
    assert "tel:5512345678" in page
    assert sign_in("support").get("/settings/captive/").status_code == 403


def test_a_printed_card_leads_to_the_hotspots_login_page_with_its_code(app, system, hotspot):
    with Session(system) as session:
        slug = session.get_one(Operator, hotspot.isp.operator_id).slug
    page = app.test_client().get(f"/captive/{slug}?code=pl-az a1").text
    assert 'href="http://10.5.50.1/login?var=P1AZA1"' in page
    assert app.test_client().get("/captive/nobody?code=x").status_code == 404
