"""Paying online by a signed link: from the link to the restored service, and everything that goes wrong between."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from billing.gateways.checkouts import refund_at_provider
from billing.gateways.tasks import look
from billing.links import LinkFor, link_key, signed
from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from core.clock import utc_now
from core.settings import Settings
from crm.currencies import NewRate, enter_rates, switch_on
from db.audit import Actor
from db.models import AuditEntry, Brand, Checkout, Gateway, GatewayEvent, Payment, PaymentMethod, Subscriber
from db.session import make_sessions
from lab.gateways import REFUSED_CARD, Providers, Sale
from tests.portal.api.conftest import Program, make_token
from tests.portal.billing_isp import bill, billed_line, cut_off, invoices_of, pay, service_of, start_billing
from tests.portal.conftest import Isp, add_service, make_isp, post
from tests.portal.online import enter_accounts, listening, pay_path, providers_of

KINDS = ("stripe", "mercadopago")


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    """An installation of the demo: accounts with emulated providers are good there alone."""
    return new_installation().model_copy(update={"demo": True})


@pytest.fixture(scope="module")
def address(app: Flask, installation: Settings) -> Iterator[str]:
    with listening(app, installation.portal_port) as url:
        yield url


@dataclass
class Line:
    """A subscriber who was cut for owing 300, and the providers that they may pay with."""

    system: Engine
    settings: Settings
    isp: Isp
    providers: Providers
    address: str
    subscriber_id: int
    service_id: int
    path: str

    def begin(self, kind: str, browser: requests.Session | None = None, **typed: str) -> Sale:
        """Open the link, press the button, and return the provider's checkout."""
        browser = browser or requests.Session()
        page = browser.get(self.address + self.path, timeout=10)
        assert page.status_code == 200, page.text
        token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
        answer = browser.post(f"{self.address}{self.path}/with/{kind}", data={"csrf_token": token, **typed}, timeout=20)
        assert answer.status_code == 200, answer.text
        url = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
        assert url is not None, answer.text
        return self.providers.sales[url[1].rsplit("/", 1)[1]]

    def payments(self) -> list[Payment]:
        with Session(self.system) as session:
            query = select(Payment).where(Payment.subscriber_id == self.subscriber_id).order_by(Payment.id)
            return list(session.scalars(query))

    def checkout(self, sale: Sale) -> Checkout:
        with Session(self.system) as session:
            return session.scalars(select(Checkout).where(Checkout.reference == sale.reference)).one()

    def state(self) -> str:
        return service_of(self.system, self.service_id).state


@pytest.fixture
def line(system: Engine, installation: Settings, isp: Isp, address: str) -> Iterator[Line]:
    start_billing(system, isp)
    subscriber_id, service_id = billed_line(system, installation, isp, "Ana Peña", 3)
    bill(system, isp)
    cut_off(system, isp, service_id)
    enter_accounts(system, installation, isp)
    path = pay_path(system, installation, isp, subscriber_id=subscriber_id)
    with providers_of(isp, installation) as providers:
        yield Line(system, installation, isp, providers, address, subscriber_id, service_id, path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_pays_what_is_owed_and_brings_the_service_back(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.pay(sale.id)
    (payment,) = line.payments()
    assert (payment.amount, payment.external_id, line.providers.told) == (Decimal(300), sale.payments[0]["id"], [200])
    assert line.state() == "active"
    page = requests.get(sale.back_url, headers={"Accept-Language": "es"}, timeout=20)
    assert payment.prefix + str(payment.number) in page.text or str(payment.number) in page.text
    receipt = re.search(r'href="(/documents/fr-[^"]+\.pdf)"', page.text)
    assert receipt is not None, page.text
    assert requests.get(line.address + receipt[1], timeout=20).content.startswith(b"%PDF-")
    assert "http-equiv" not in requests.get(line.address + line.path, timeout=10).text


def test_who_pays_the_newest_of_two_invoices_is_told_that_the_older_one_is_open(
    line: Line, system: Engine, installation: Settings, isp: Isp
) -> None:
    since = utc_now() - timedelta(days=2)
    add_service(system, installation, isp, line.subscriber_id, "second", activated_at=since)
    bill(system, isp)
    _older, newer = invoices_of(system, line.subscriber_id)
    line.path = pay_path(system, installation, isp, invoice_id=newer.id)
    first = requests.get(line.address + line.path, timeout=10).text
    assert "Pay all of it: $600.00" in unescape(first)
    sale = line.begin("stripe")
    line.providers.pay(sale.id)
    said = unescape(requests.get(sale.back_url, timeout=20).text)
    assert "$300.00 are still open." in said
    assert "Next cut-off" in said  # of the older line, which the money has paid
    rest = re.search(r'href="(/pay/pb-[^"]+)"', said)
    assert rest is not None
    line.path = rest[1]
    sale = line.begin("stripe")
    assert sale.amount == 30_000
    line.providers.pay(sale.id)
    said = unescape(requests.get(sale.back_url, timeout=20).text)
    assert "still open" not in said
    assert [invoice.open for invoice in invoices_of(system, line.subscriber_id)] == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_tried_before_a_subscriber_finds_out(
    line: Line, sign_in: Callable[..., FlaskClient], kind: str
) -> None:
    with Session(line.system) as session:
        mine = select(Gateway.id).where(Gateway.operator_id == line.isp.operator_id, Gateway.kind == kind)
        url = f"/gateways/{session.scalars(mine).one()}/try"
    browser = sign_in("manager")
    answers = ((None, "answers, and knows the key"), (401, "does not know the keys"), (500, "does not answer"))
    for status, words in answers:
        line.providers.answers = status
        assert post(browser, url).location == "/gateways/"
        assert words in browser.get("/gateways/").text
    line.providers.answers = None
    assert line.payments() == []
    assert post(sign_in("support"), url).status_code == 403


@pytest.mark.parametrize("kind", KINDS)
def test_a_webhook_told_five_times_at_once_registers_one_payment(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    tellers = [threading.Thread(target=line.providers.tell, args=(sale,)) for _number in range(5)]
    for teller in tellers:
        teller.start()
    requests.get(sale.back_url, timeout=20)  # and the browser comes back in the same moment
    for teller in tellers:
        teller.join(20)
    assert line.providers.told == [200] * 5
    assert len(line.payments()) == 1
    with Session(line.system) as session:
        told = session.scalars(select(GatewayEvent).where(GatewayEvent.operator_id == line.isp.operator_id)).all()
    assert [event.times for event in told] == [5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_double_click_leads_to_one_checkout(line: Line, kind: str) -> None:
    browser = requests.Session()
    assert line.begin(kind, browser) is line.begin(kind, browser)
    assert len(line.providers.sales) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_webhook_that_is_not_signed_by_the_provider_changes_nothing(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    assert line.providers.tell(sale, signed_with="somebody else") == 400
    assert line.payments() == []
    assert line.checkout(sale).state == "open"


def test_an_old_webhook_of_stripe_is_refused(line: Line) -> None:
    sale = line.begin("stripe")
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    assert line.providers.tell(sale, at=1_700_000_000) == 400


@pytest.mark.parametrize(("fault", "value"), [("short", 100), ("pays_in", "USD")])
@pytest.mark.parametrize("kind", KINDS)
def test_another_amount_or_currency_is_left_to_a_person(line: Line, kind: str, fault: str, value: object) -> None:
    sale = line.begin(kind)
    setattr(line.providers, fault, value)
    line.providers.pay(sale.id)
    assert line.checkout(sale).state == "mismatch"
    assert line.payments() == []
    assert line.state() == "suspended"


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_declined_card_another_one_pays(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.pay(sale.id, REFUSED_CARD)
    assert line.payments() == []
    line.providers.pay(sale.id)
    line.providers.tell(sale, event_id="late")
    assert len(line.payments()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_webhook_that_never_came_is_made_up_for(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    with Session(line.system) as session:
        session.execute(
            Checkout.__table__.update()
            .where(Checkout.reference == sale.reference)
            .values(created_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 10))
        )
        session.commit()
    assert look(make_sessions(line.system), line.settings) == 1
    assert line.state() == "active"
    assert look(make_sessions(line.system), line.settings) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_that_is_confirmed_an_hour_later_brings_the_service_back(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    with Session(line.system) as session:
        session.execute(
            Checkout.__table__.update()
            .where(Checkout.reference == sale.reference)
            .values(created_at=func.now() - timedelta(hours=1))
        )
        session.commit()
    assert (line.state(), line.payments()) == ("suspended", [])
    line.providers.tell(sale)
    assert (line.state(), len(line.payments())) == ("active", 1)


def grow_old(line: Line, sale: Sale, days: int) -> None:
    with Session(line.system) as session:
        moved = {"created_at": func.now() - timedelta(days=days), "looked_at": None}
        session.execute(Checkout.__table__.update().where(Checkout.reference == sale.reference).values(moved))
        session.commit()


@pytest.mark.parametrize("kind", KINDS)
def test_cash_that_arrives_days_later_is_booked_whether_the_provider_tells_or_not(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.pay(sale.id, in_cash=True)
    assert "looks again by itself" in requests.get(sale.back_url, timeout=20).text
    grow_old(line, sale, 4)
    assert look(make_sessions(line.system), line.settings) == 0
    assert line.checkout(sale).state == "open", "it is on its way"
    line.providers.webhooks = 0
    line.providers.arrive(sale)
    (payment,) = line.payments()
    assert (payment.amount, payment.external_id, line.state()) == (Decimal(300), sale.payments[0]["id"], "active")


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_given_up_is_booked_when_it_is_paid_after_all(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    grow_old(line, sale, 4)
    assert look(make_sessions(line.system), line.settings) == 0
    assert line.checkout(sale).state == "ended"
    line.providers.pay(sale.id)
    assert (len(line.payments()), line.checkout(sale).state, line.state()) == (1, "paid", "active")


def test_what_was_paid_twice_in_two_tabs_is_credit_and_not_lost(line: Line) -> None:
    sale = line.begin("mercadopago")
    line.providers.pay(sale.id)
    line.providers.pay(sale.id, again=True)
    line.providers.tell(sale, event_id="once more")
    paid = line.payments()
    assert [(one.amount, one.unapplied) for one in paid] == [(Decimal(300), 0), (Decimal(300), Decimal(300))]
    assert [one.external_id for one in paid] == [each["id"] for each in sale.payments]
    line.providers.pay(sale.id, REFUSED_CARD, again=True)
    assert len(line.payments()) == 2


def test_what_comes_after_another_amount_waits_for_a_person(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    sale, _url = mismatch(line, "short", 10_000, "mercadopago")
    line.providers.pay(sale.id, again=True)
    assert line.payments() == []
    assert f"{sale.payments[1]['id']}" in sign_in("manager").get("/gateways/").text


def test_the_back_button_after_a_payment_pays_nothing_twice(line: Line) -> None:
    browser = requests.Session()
    before = browser.get(line.address + line.path, timeout=10).text
    line.providers.pay(line.begin("stripe", browser).id)
    token = before.split('name="csrf_token" value="')[1].split('"')[0]
    answer = browser.post(f"{line.address}{line.path}/with/stripe", data={"csrf_token": token}, timeout=20)
    assert "http-equiv" not in answer.text
    assert len(line.providers.sales) == len(line.payments()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_that_is_out_of_order_is_told_as_such_and_asked_again(line: Line, kind: str) -> None:
    sale = line.begin(kind)
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    line.providers.answers = 500
    assert line.providers.tell(sale) == 503
    assert line.payments() == []
    line.providers.answers = None
    assert line.providers.tell(sale) == 200
    assert len(line.payments()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_that_does_not_know_the_key_is_no_page_of_errors(line: Line, kind: str) -> None:
    line.providers.accounts[kind].key = "another"
    browser = requests.Session()
    token = browser.get(line.address + line.path, timeout=10).text.split('name="csrf_token" value="')[1].split('"')[0]
    answer = browser.post(f"{line.address}{line.path}/with/{kind}", data={"csrf_token": token}, timeout=20)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
    assert "sk_test_lab" not in answer.text


def test_paid_at_the_counter_meanwhile_the_money_becomes_credit(line: Line) -> None:
    sale = line.begin("stripe")
    with Session(line.system) as session:
        cash_id = session.scalars(
            select(PaymentMethod.id).where(
                PaymentMethod.operator_id == line.isp.operator_id, PaymentMethod.name == "Cash"
            )
        ).one()
    pay(line.system, line.isp, line.subscriber_id, cash_id, "300")
    line.providers.pay(sale.id)
    assert [payment.unapplied for payment in line.payments()] == [Decimal(0), Decimal(300)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refund_by_staff_gives_the_money_back_at_the_provider(
    line: Line, kind: str, sign_in: Callable[..., FlaskClient]
) -> None:
    line.providers.pay(line.begin(kind).id)
    (payment,) = line.payments()
    browser, url = sign_in("finance"), f"/payments/{payment.id}/refund"
    line.providers.answers = 500
    fields = {"refund-amount": "100", "refund-reason": "paid twice"}
    assert post(browser, url, **fields).status_code == 422
    assert line.payments()[0].refunded == 0
    line.providers.answers = None
    assert post(browser, url, **fields).status_code == 302
    assert [refund["amount"] for refund in line.providers.refunds.values()] == [10_000]
    assert line.payments()[0].refunded == Decimal(100)


def test_a_refund_that_was_not_booked_before_a_crash_is_the_same_one_however_it_is_typed_again(line: Line) -> None:
    line.providers.pay(line.begin("stripe").id)
    payment_id = line.payments()[0].id
    actor = Actor(line.isp.operator_id, "test")
    for amount in ("5", "5.00", "5.0000"):
        with Session(line.system) as session:  # ends without a commit, as a crash does
            payment = session.get_one(Payment, payment_id)
            refund_at_provider(session, line.settings, actor, payment, Decimal(amount), "paid twice", utc_now())
    assert [refund["amount"] for refund in line.providers.refunds.values()] == [500]


def test_what_came_online_in_another_currency_is_given_back_in_its_own_units(
    line: Line, sign_in: Callable[..., FlaskClient]
) -> None:
    """Of Chilean pesos, 1000 are 1000; of Mexican ones they would be 100000 cents."""
    sale, _url = mismatch(line, "pays_in", "CLP")
    came, now = sale.payments[0], utc_now()
    with Session(line.system) as session:
        actor, rules = Actor(line.isp.operator_id, "test"), rules_of(session, line.isp.operator_id)
        today = rules.today(now)
        switch_on(session, actor, "CLP")
        enter_rates(session, actor, [NewRate("CLP", today, Decimal("0.0193"))], today)
        stripe = select(Gateway.method_id).where(Gateway.operator_id == line.isp.operator_id, Gateway.kind == "stripe")
        terms = PaymentTerms(
            line.subscriber_id, session.scalars(stripe).one(), Decimal(30_000), "CLP", today, external_id=came["id"]
        )
        payment_id = register_payment(session, actor, rules, terms, now).payment.id
        session.commit()
    fields = {"refund-amount": "1000", "refund-reason": "paid twice"}
    assert post(sign_in("finance"), f"/payments/{payment_id}/refund", **fields).status_code == 302
    assert [refund["amount"] for refund in line.providers.refunds.values()] == [1000]
    assert line.payments()[0].refunded == Decimal("19.30")


def test_a_refund_by_a_program_is_one_at_the_provider_however_often_it_is_sent(line: Line, app: Flask) -> None:
    line.providers.pay(line.begin("stripe").id)
    (payment,) = line.payments()
    program = Program(app, make_token(line.system, line.settings, line.isp)[1])
    path = f"/payments/{payment.id}/refunds"
    given = {"amount": {"value": "100", "currency": "MXN"}, "reason": "Paid twice"}
    line.providers.answers = 500
    refused = program.post(path, given, Idempotency_Key="back")
    assert (refused.status_code, refused.json["type"]) == (502, "urn:portico:problem:provider-refused")
    assert line.payments()[0].refunded == 0
    line.providers.answers = None
    for _time in range(2):
        assert program.post(path, given, Idempotency_Key="back").status_code == 201
    assert [refund["amount"] for refund in line.providers.refunds.values()] == [10_000]
    assert line.payments()[0].refunded == Decimal(100)


def test_who_pays_under_the_operators_own_host_name_comes_back_to_it(line: Line) -> None:
    with Session(line.system) as session:
        session.add(Brand(operator_id=line.isp.operator_id, host="portal.valle.example"))
        session.commit()
    browser = requests.Session()
    browser.headers["Host"] = f"portal.valle.example:{line.settings.portal_port}"
    sale = line.begin("stripe", browser)
    own = f"http://portal.valle.example:{line.settings.portal_port}/pay/"
    assert sale.back_url.startswith(own)
    assert line.begin("mercadopago").back_url.startswith(line.address), "elsewhere it goes back where it came from"
    forged = requests.Session()
    forged.headers["Host"] = "evil.example"
    with Session(line.system) as session:
        session.execute(Checkout.__table__.delete().where(Checkout.subscriber_id == line.subscriber_id))
        session.commit()
    assert line.begin("stripe", forged).back_url.startswith(line.address), "never where a header says"


def test_a_cancelled_invoice_is_paid_by_no_link(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    browser = sign_in("manager")
    (invoice,) = invoices_of(line.system, line.subscriber_id)
    path = pay_path(line.system, line.settings, line.isp, invoice_id=invoice.id)
    assert "300.00" in browser.get(path).text
    assert post(browser, f"/invoices/{invoice.id}/void", **{"void-reason": "wrong plan"}).status_code == 302
    for link in (path, line.path):
        page = browser.get(link).text
        assert ("Nothing is left to pay" in page, "Pay with" in page) == (True, False), link
        assert post(browser, f"{link}/with/stripe").location == link  # a page that was open since before
    assert line.providers.sales == {}


def test_a_wallet_is_filled_with_as_much_as_was_typed(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    assert line.begin("stripe", amount="1").amount == 30_000, "what is owed is owed"
    with Session(line.system) as session:
        cash = select(PaymentMethod.id).where(PaymentMethod.operator_id == line.isp.operator_id)
        method = session.scalars(cash.where(PaymentMethod.name == "Cash")).one()
    pay(line.system, line.isp, line.subscriber_id, method, "300")
    browser = sign_in("finance")
    post(browser, f"/subscribers/{line.subscriber_id}/billing/services/{line.service_id}/prepaid", prepaid="1")
    for typed, said in (("0", "above zero"), ("-5", "above zero"), ("1.2.3", "1234.56"), ("10801", "10,800.00")):
        page = post(browser, f"{line.path}/with/stripe", amount=typed)
        assert (page.status_code, f'value="{typed}"' in page.text) == (422, True), typed
        assert said in page.text, (typed, page.text)
    sale = line.begin("mercadopago", amount="900")
    assert (sale.amount, sale.description.endswith("into the wallet")) == (90_000, True)
    line.providers.pay(sale.id)
    assert [one.amount for one in line.payments()] == [Decimal(300), Decimal(900)]


def test_a_link_that_was_altered_opens_nothing(line: Line) -> None:
    purpose, operator, number, signature = line.path.removeprefix("/pay/").split("-")
    other = f"/pay/{purpose}-{operator}-{int(number) + 1}-{signature}"
    foreign = f"/pay/{purpose}-{int(operator) + 1}-{number}-{signature}"
    check = f"/check/vr-{operator}-{number}-{signature}"
    for path in (other, foreign, check, f"/documents/fr-{operator}-{number}-{signature}.pdf", "/pay/nonsense"):
        assert requests.get(line.address + path, timeout=10).status_code == 404


def test_a_receipt_is_checked_by_whoever_holds_it_and_says_when_it_is_void(line: Line) -> None:
    line.providers.pay(line.begin("stripe").id)
    (payment,) = line.payments()
    with Session(line.system) as session:
        key = link_key(session, line.settings.keyring, line.isp.operator_id)
    url = f"{line.address}/check/{signed(key, LinkFor.CHECK_RECEIPT, line.isp.operator_id, payment.id)}"
    page = requests.get(url, timeout=10).text
    assert "genuine" in page
    assert "Ana" not in page
    forged = requests.get(url[:-1] + ("a" if url[-1] != "a" else "b"), timeout=10)
    assert (forged.status_code, "Do not accept the document" in forged.text) == (404, True)
    assert "genuine" not in forged.text
    with Session(line.system) as session:
        session.execute(
            Payment.__table__.update()
            .where(Payment.id == payment.id)
            .values(voided_at=func.now(), void_reason="bounced", unapplied=0)
        )
        session.commit()
    assert "it is void" in requests.get(url, timeout=10).text


def test_an_operator_never_settles_the_checkout_of_another(line: Line, system: Engine, installation: Settings) -> None:
    sale = line.begin("stripe")
    line.providers.webhooks = 0
    line.providers.pay(sale.id)
    other = make_isp(system, installation)
    start_billing(system, other)
    enter_accounts(system, installation, other)
    line.providers.accounts["stripe"].webhook_url = f"{line.address}/webhooks/stripe/{other.operator_id}"
    assert line.providers.tell(sale) == 200
    assert line.payments() == []


def mismatch(line: Line, fault: str, value: object, kind: str = "stripe") -> tuple[Sale, str]:
    """Let another amount or currency be paid; return the sale and the page on which somebody decides."""
    sale = line.begin(kind)
    setattr(line.providers, fault, value)
    line.providers.pay(sale.id)
    return sale, f"/gateways/mismatches/{line.checkout(sale).id}"


def test_another_amount_is_booked_for_whom_a_person_names(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    sale, url = mismatch(line, "short", 10_000)
    browser = sign_in("finance")
    assert "200.00 MXN" in browser.get(url).text
    answer = post(browser, f"{url}/book", subscriber_id=line.subscriber_id, amount="300", note="")
    assert answer.status_code == 422  # not what came
    assert line.payments() == []
    answer = post(browser, f"{url}/book", subscriber_id=line.subscriber_id, amount="200", note="the rest comes")
    assert answer.status_code == 302
    (payment,) = line.payments()
    assert (payment.amount, payment.external_id) == (Decimal(200), sale.payments[0]["id"])
    assert (line.checkout(sale).state, line.checkout(sale).payment_id) == ("paid", payment.id)
    assert post(browser, f"{url}/return", note="").status_code == 422  # it is decided
    assert line.providers.refunds == {}


def test_another_currency_is_given_back_once(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    sale, url = mismatch(line, "pays_in", "USD")
    browser = sign_in("finance")
    line.providers.answers = 500
    answer = post(browser, f"{url}/return", note="dollars")
    assert answer.status_code == 302
    assert line.checkout(sale).state == "mismatch"  # the provider did not answer
    line.providers.answers = None
    assert post(browser, f"{url}/return", note="dollars").location == "/gateways/"
    assert post(browser, f"{url}/return", note="dollars").status_code == 422
    assert len(line.providers.refunds) == 1
    assert line.checkout(sale).state == "ended"
    assert line.payments() == []
    line.providers.tell(sale, event_id="late")
    assert line.payments() == []


def test_dollars_that_were_booked_as_pesos_are_not_given_back_as_many_dollars(
    line: Line, sign_in: Callable[..., FlaskClient]
) -> None:
    _sale, url = mismatch(line, "pays_in", "USD")
    browser = sign_in("finance")
    booked = post(browser, f"{url}/book", subscriber_id=line.subscriber_id, amount="5175", note="300 dollars")
    assert booked.status_code == 302
    (payment,) = line.payments()
    fields = {"refund-amount": "100", "refund-reason": "paid twice"}
    refused = post(browser, f"/payments/{payment.id}/refund", **fields)
    assert (refused.status_code, "must be in USD" in refused.text) == (422, True)
    assert (line.providers.refunds, line.payments()[0].refunded) == ({}, 0)


def test_what_the_provider_refuses_or_has_no_longer_is_said(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    sale, url = mismatch(line, "short", 10_000)
    browser = sign_in("finance")
    line.providers._refund(sale.payments[0]["id"], sale.payments[0]["amount"])  # by hand, on the provider's own pages
    assert post(browser, f"{url}/return", note="").location.endswith(url)
    assert "The provider refused it, and nothing was done" in browser.get(url).text
    sale.payments.clear()  # the bank took it back
    answer = post(browser, f"{url}/return", note="")
    assert answer.status_code == 422
    assert "Close it with a note" in answer.text
    assert line.checkout(sale).state == "mismatch"


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_began_here_is_assigned_once_to_whom_a_person_chooses(
    line: Line, sign_in: Callable[..., FlaskClient], kind: str
) -> None:
    sale = line.begin(kind)
    sale.reference = f"of another shop, {kind}"
    line.providers.short = 5_000
    line.providers.pay(sale.id)
    line.providers.tell(sale, event_id=f"evt_stranger_{kind}")
    assert line.payments() == []
    browser, manager = sign_in("finance"), sign_in("manager")
    page = manager.get("/gateways/").text
    assert f"evt_stranger_{kind}" in page
    with Session(line.system) as session:
        wanted = select(GatewayEvent.id, GatewayEvent.provider_payment).where(
            GatewayEvent.event_id == f"evt_stranger_{kind}"
        )
        event_id, provider_payment = session.execute(wanted).one()
        name = session.get_one(Subscriber, line.subscriber_id).name
    url = f"/gateways/told/{event_id}"
    assert f'{url}"' in page
    page = browser.get(f"{url}?q={name}").text
    assert f"{url}/assign/{line.subscriber_id}" in page
    assert "250.00" in page
    for status, words in ((500, "does not answer"), (401, "does not know the keys")):
        line.providers.answers = status
        assert post(browser, f"{url}/assign/{line.subscriber_id}").location == url
        page = browser.get(url).text
        assert words in page
        assert "has no money of this payment" not in page  # which nobody knows now
    assert line.payments() == []
    line.providers.answers = None
    other = make_isp(line.system, line.settings)
    assert post(sign_in("finance", of=other), f"{url}/assign/{line.subscriber_id}").status_code == 404
    assert post(browser, f"{url}/assign/999999999").location == url
    assert line.payments() == []
    assert post(browser, f"{url}/assign/{line.subscriber_id}").status_code == 302
    (payment,) = line.payments()
    assert (payment.amount, payment.external_id) == (Decimal(250), provider_payment)
    assert post(browser, f"{url}/assign/{line.subscriber_id}").location == url
    line.providers.tell(sale, event_id=f"evt_later_{kind}")
    assert len(line.payments()) == 1
    listed = manager.get("/gateways/").text
    assert f"evt_stranger_{kind}" not in listed
    assert f"evt_later_{kind}" not in listed
    with Session(line.system) as session:
        audited = session.scalars(select(AuditEntry.after).where(AuditEntry.action == "gateway_event.assigned",
                                                             AuditEntry.entity_id == event_id)).all()  # fmt: skip
    assert [each["payment_id"] for each in audited] == [payment.id]


def test_closing_needs_a_note_and_support_decides_nothing(line: Line, sign_in: Callable[..., FlaskClient]) -> None:
    sale, url = mismatch(line, "short", 10_000)
    assert sign_in("support").get(url).status_code == 403
    browser = sign_in("finance")
    assert post(browser, f"{url}/close", note=" ").status_code == 422
    assert post(browser, f"{url}/close", note="given back in cash").status_code == 302
    assert line.checkout(sale).state == "ended"
    other = make_isp(line.system, line.settings)
    assert sign_in("finance", of=other).get(url).status_code == 404
