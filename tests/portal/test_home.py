"""The homes: what each role finds there, and the search that begins most of their work."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import Router, RouterState, SeenDevice, ServiceMac, Staff
from portal.home_tiles import TILES, tile
from portal.permissions import Permission
from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, start_billing
from tests.portal.conftest import PASSWORD, Isp, add_service, add_subscriber, make_isp, post
from tests.portal.test_billing_payments import text_of


@dataclass(frozen=True)
class Shop:
    """An operator with a day's work, and three of its subscribers."""

    isp: Isp
    ana: int
    nora: int


@pytest.fixture(scope="module")
def shop(app, system, installation) -> Shop:
    """Ana owes since 45 days; Luis has just paid; Nora waits for her connection; a device nobody knows is about."""
    isp = make_isp(system, installation)
    methods = start_billing(system, isp)
    ana, _line = billed_line(system, installation, isp, "Ana Peña", 45)
    luis, _line = billed_line(system, installation, isp, "Luis Ávila", 3)
    bill(system, isp)
    pay(system, isp, luis, methods["Cash"], "300")
    nora = add_subscriber(system, isp, "Nora Núñez", phone="+52 55 1234 5678", address="Calle Morelos 17, Centro")
    pending = add_service(system, installation, isp, nora, "nora", state="pending", framed_ip="10.9.8.70")
    with Session(system) as session:
        session.add(ServiceMac(service_id=pending, operator_id=isp.operator_id, mac="4c:5e:0c:12:34:56"))
        device = {"operator_id": isp.operator_id, "nas_id": isp.nas_id, "kind": "dhcp"}
        session.add(SeenDevice(mac="02:00:00:00:00:99", last_seen_at=utc_now(), **device))
        session.commit()
    return Shop(isp, ana, nora)


@pytest.fixture(scope="module")
def at(app, shop) -> Callable[[str], FlaskClient]:
    """A function that returns the browser of somebody of the shop, signed in once."""

    @cache
    def browser(role: str) -> FlaskClient:
        made = app.test_client()
        assert post(made, "/sign-in", email=shop.isp.staff[role], password=PASSWORD).status_code == 302
        return made

    return browser


@pytest.mark.parametrize(
    ("role", "there", "not_there"),
    [
        pytest.param(
            "manager",
            ["online now", "$300.00 came in today 1 payment", "$600.00 overdue 1 subscriber", "Who owes most"],
            ["Who is calling?", "Who pays?"],
            id="manager",
        ),
        pytest.param(
            "finance",
            ["Register a payment", "in your cash desk", "Payments today", "Luis Ávila", "Due today"],
            ["silent NAS", "Unknown devices"],
            id="finance",
        ),
        pytest.param("support", ["Who is calling?", "Turned away lately"], ["came in today"], id="support"),
        pytest.param(
            "sales",
            ["new subscribers this month", "Sold and not connected yet", "Nora Núñez"],
            ["overdue", "silent NAS"],
            id="sales",
        ),
        pytest.param(
            "technical",
            ["online now", "Routers offline", "Unknown devices", "02:00:00:00:00:99"],
            ["came in today", "Ana Peña"],
            id="technical",
        ),
    ],
)
def test_each_role_finds_its_own_day(at, role, there, not_there):
    page = at(role).get("/")
    said = text_of(page.text)
    assert [each for each in there if each not in said and f'placeholder="{each}' not in page.text] == []
    assert [each for each in not_there if each in said] == []


def test_before_billing_is_on_no_home_asks_for_money(sign_in):
    for role in ("manager", "finance"):
        page = sign_in(role).get("/")
        assert page.status_code == 200
        assert "came in today" not in page.text


def test_who_has_two_roles_has_a_home_for_each(sign_in, isp, system):
    with Session(system) as session:
        person = session.scalars(select(Staff).where(Staff.email == isp.staff["support"])).one()
        person.roles = ["finance", "support"]
        session.commit()
    browser = sign_in("support")
    assert "Who is calling?" in browser.get("/").text
    assert "Register a payment" in browser.get("/?role=finance").text
    # A role that is not theirs is not shown, whoever asks.
    assert "Who is calling?" in browser.get("/?role=manager").text


def test_a_home_shows_no_other_operators_rows(sign_in, shop, system, installation):
    other = make_isp(system, installation)
    for role in ("manager", "finance", "sales", "technical"):
        page = sign_in(role, of=other).get("/").text
        for name in ("Ana Peña", "Luis Ávila", "Nora Núñez", "02:00:00:00:00:99"):
            assert name not in page


def test_a_tile_goes_with_its_permission(sign_in):
    manager = sign_in("manager")
    seller = sign_in("sales")
    assert "Unknown devices" in seller.get("/").text
    page = manager.get("/roles/").text
    seen = page.split('name="seen" value="')[1].split('"')[0]
    kept = [part.split('"')[0] for part in page.split('name="allowed" value="')[1:] if "checked" in part.split(">")[0]]
    post(manager, "/roles/", seen=seen, allowed=[each for each in kept if each != f"sales:{Permission.DEVICES_VIEW}"])
    assert "Unknown devices" not in seller.get("/").text


def test_two_tiles_do_not_share_a_name():
    with pytest.raises(ValueError, match="two tiles"):
        tile(next(iter(TILES)), "Another", ("sales",), Permission.EXPLAIN)(lambda: None)


def test_a_router_that_is_away_is_named(sign_in, isp, system):
    browser = sign_in("technical")
    assert "All routers with an API answer" in browser.get("/").text
    with Session(system) as session:
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="u", api_password=b"sealed"))
        session.flush()
        session.add(RouterState(nas_id=isp.nas_id, operator_id=isp.operator_id, status="offline"))
        session.commit()
    assert f'<a href="/routers/{isp.nas_id}" class="text-reset">tower-1</a>' in browser.get("/").text


# The search.


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("nora nun", id="the beginning, without accent"),
        pytest.param("núñez nora", id="the wrong way round"),
        pytest.param("no", id="two letters"),
        pytest.param("+52 (55) 1234-5678", id="phone as written"),
        pytest.param("0052 55 12 34 56 78", id="phone as dialled from abroad"),
        pytest.param("345678", id="last digits"),
        pytest.param("morelos 17", id="street"),
        pytest.param("4c:5e:0c", id="beginning of a MAC"),
        pytest.param("4C-5E-0C-12-3", id="more of a MAC"),
        pytest.param("4c5e.0c12.3456", id="MAC as Cisco writes it"),
        pytest.param("10.9.8.70", id="fixed address"),
        pytest.param("10.9.8.", id="three octets of an address"),
        pytest.param("10.9.8", id="three octets, before the dot"),
        pytest.param("10.9.", id="two octets of an address"),
    ],
)
def test_while_typing_the_field_finds_people_by_what_they_say(at, shop, words):
    found = at("support").get("/search/suggest", query_string={"q": words}).text
    assert f'href="/subscribers/{shop.nora}"' in found
    assert "Ana" not in found


def test_the_beginning_of_an_address_finds_who_is_online_with_one_of_these(at, shop, system):
    row = {"operator": shop.isp.operator_id, "nas": shop.isp.nas_id, "subscriber": shop.ana}
    with system.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind,"
                " mac, framed_ip, calling_station_id, updated_at) SELECT now(), :operator, :nas, id, 'a1', name, 'ppp',"
                " '02:00:00:00:00:01', '10.31.7.200', '', now() FROM service WHERE subscriber_id = :subscriber"
            ),
            row,
        )
    for words in ("10.31.7.200", "10.31.7", "10.31."):
        found = at("support").get("/search/suggest", query_string={"q": words}).text
        assert f'href="/subscribers/{shop.ana}"' in found
        assert "online now" in found
    assert "Ana" not in at("support").get("/search/suggest?q=10.31.8").text


def test_the_number_of_an_invoice_finds_it_and_a_payment_is_one_key_away(at, shop, system):
    invoice = invoices_of(system, shop.ana)[0]
    number, url = f"{invoice.prefix}{invoice.number}", f"/invoices/{invoice.id}"
    browser = at("finance")
    found = browser.get("/search/suggest", query_string={"q": number}).text
    assert f'href="{url}"' in found
    assert f'data-pay="/payments/new/{shop.ana}"' in found
    # The field of finance's home leads straight to the payment: one hit, one Enter.
    assert f'href="/payments/new/{shop.nora}"' in browser.get("/search/suggest?pay=1&q=nora").text
    assert browser.get("/search/?pay=1&q=nora").location == f"/payments/new/{shop.nora}"
    # Support sees neither, since it takes no payments.
    assert "data-pay" not in at("support").get("/search/suggest?q=nora").text
    assert at("support").get("/search/?pay=1&q=nora").location == f"/subscribers/{shop.nora}"


@pytest.mark.parametrize(
    "words",
    [
        "%",
        "_",
        "\\",
        "'",
        '"; DROP TABLE staff; --',
        "a" * 500,
        "::",
        "1:",
        "é" * 50,
        "#",
        "999.1.2.",
        "10.9",
        "1.2.9.4.5",
    ],
)
def test_odd_words_find_nobody_and_break_nothing(at, words):
    for path in ("/search/suggest", "/search/"):
        page = at("support").get(path, query_string={"q": words})
        assert page.status_code == 200
        assert "Nora" not in page.text


def test_the_search_ends_at_the_operators_border(sign_in, shop, system, installation):
    other = make_isp(system, installation)
    browser = sign_in("manager", of=other)
    numbers = [f"{one.prefix}{one.number}" for one in invoices_of(system, shop.ana)]
    for words in ("nora", "4c:5e:0c:12:34:56", "345678", *numbers):
        for path in ("/search/suggest", "/search/"):
            page = browser.get(path, query_string={"q": words}, follow_redirects=True)
            assert page.status_code == 200
            assert "Nora" not in page.text
            assert "Ana" not in page.text


def test_only_this_months_subscribers_are_new(sign_in, isp, system):
    add_subscriber(system, isp, "Long ago", created_at=utc_now() - timedelta(days=400))
    add_subscriber(system, isp, "Just now")
    assert "1 new subscribers this month" in text_of(sign_in("sales").get("/").text)
