import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry, Subscriber
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


def version_on(page) -> str:
    return re.search(r'name="version"[^>]*value="(\d+)"', page.text)[1]


TYPED = {"language": "", "notes": ""}


def test_a_subscriber_is_entered_and_audited(sign_in, isp, system):
    browser = sign_in("sales")
    answer = post(
        browser, "/subscribers/new", **TYPED, name="  Ana   Núñez ", phone="+52 55 1234 5678", email="ana@example.com"
    )
    assert answer.status_code == 302
    with Session(system) as session:
        person = session.scalars(select(Subscriber).where(Subscriber.operator_id == isp.operator_id)).one()
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "subscriber.create")).all()[-1]
    assert (person.name, person.phone) == ("Ana Núñez", "+52 55 1234 5678")
    assert (entry.actor, entry.entity_id, entry.after["name"]) == (isp.staff["sales"], person.id, "Ana Núñez")
    assert str(entry.address) == "127.0.0.1"


def test_what_cannot_be_right_is_said_beside_its_field_and_nothing_typed_is_lost(sign_in):
    page = post(
        sign_in("sales"), "/subscribers/new", language="", name="Ana", phone="call me", email="ana(at)example",
        latitude="91", longitude="10", notes="behind the church",
    )  # fmt: skip
    assert page.status_code == 200
    for said in ("not a phone number", "not an e-mail address", "Latitude goes from"):
        assert page.text.count(said) == 2, said  # beside the field, and on top
    assert 'value="call me"' in page.text
    assert "behind the church</textarea>" in page.text


def test_somebody_who_seems_to_be_entered_already_is_shown_first(sign_in, isp, system):
    known = add_subscriber(system, isp, "José Núñez", phone="+52 55 1111 2222")
    browser = sign_in("sales")
    page = post(browser, "/subscribers/new", **TYPED, name="jose nunez")
    assert f'href="/subscribers/{known}"' in page.text
    assert "Is it one of these?" in page.text
    assert post(browser, "/subscribers/new", **TYPED, name="jose nunez", confirmed="yes").status_code == 302


def test_of_two_people_editing_the_second_sees_the_firsts_change(sign_in, isp, system):
    number = add_subscriber(system, isp, "Ana", phone="+52 55 1111 2222")
    first, second = sign_in("sales"), sign_in("support")
    url = f"/subscribers/{number}/edit"
    seen_by_first, seen_by_second = version_on(first.get(url)), version_on(second.get(url))
    assert post(first, url, **TYPED, name="Ana", phone="+52 55 9999 0000", version=seen_by_first).status_code == 302
    page = post(second, url, **TYPED, name="Ana María", phone="+52 55 1111 2222", version=seen_by_second)
    assert page.status_code == 409
    assert "Somebody else changed this" in page.text
    assert "+52 55 9999 0000" in page.text
    assert 'value="Ana María"' in page.text
    with Session(system) as session:
        assert session.get_one(Subscriber, number).name == "Ana"
    assert (
        post(second, url, **TYPED, name="Ana María", phone="+52 55 9999 0000", version=version_on(page)).status_code
        == 302
    )


XSS = '<img src=x onerror="alert(1)">{{7*7}}'


def test_what_subscribers_are_called_is_text_on_every_page(sign_in, isp, system, installation):
    number = add_subscriber(system, isp, XSS, phone="5512345678", notes=XSS, address=XSS)
    service = add_service(system, installation, isp, number, XSS)
    browser = sign_in("manager")
    post(browser, f"/services/{service}/suspend", cause="staff", detail=XSS)
    for path in ("/subscribers/", f"/subscribers/{number}", f"/subscribers/{number}/history", "/services/",
                 f"/subscribers/{number}/edit", f"/services/{service}/edit", "/search/suggest?q=img"):  # fmt: skip
        page = browser.get(path)
        assert page.status_code == 200, path
        assert "<img src=x" not in page.text, path
        assert "&lt;img src=x" in page.text, path
        assert "{{7*7}}" in page.text, path


def csrf(browser) -> str:
    return browser.get("/account/").text.split('name="csrf_token" value="')[1].split('"')[0]


@pytest.mark.parametrize("page", ["", "/edit", "/usage", "/sessions", "/history"])
def test_another_operators_subscriber_is_not_there(sign_in, system, installation, page):
    other = make_isp(system, installation)
    number = add_subscriber(system, other, "Of the other")
    browser = sign_in("manager")
    assert browser.get(f"/subscribers/{number}{page}").status_code == 404
    assert "Of the other" not in browser.get("/subscribers/").text
    assert "Of the other" not in browser.get("/search/suggest?q=other").text
