"""Opening an account: the mail, the link, the form, the operator that comes of it; and who tries it otherwise."""

import re
from collections.abc import Iterator
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.accounts import make_platform
from crm.countries import COUNTRIES, is_tax_id, tax_id_label
from db.migrate import migrate
from db.models import (
    Account,
    BillingSettings,
    Licence,
    MessageSettings,
    Notification,
    Operator,
    SignUp,
    Staff,
    TaxRate,
)
from portal.application import create_app
from portal.auth import limiter
from tests.portal.conftest import PASSWORD, post

STRONG = "tres antenas sobre el granero azul"


@pytest.fixture(scope="module")
def app(installation: Settings) -> Iterator[Flask]:
    """The portal of an installation that lets ISPs sign up."""
    migrate(installation)
    made = create_app(installation.model_copy(update={"sign_up": True}), testing=True)
    limiter.enabled = False  # the tests below ask more often in a second than people do in an hour
    yield made
    limiter.enabled = True
    made.extensions["portico"].close()


@pytest.fixture(scope="module", autouse=True)
def platform(system, app):
    with Session(system) as session:
        made = make_platform(session, "test", "Portico Cloud").id
        session.commit()
    return made


@pytest.fixture
def stranger(app):
    return app.test_client()


def ask(browser, email: str, name: str = "Inés Peña", **fields: str):
    return post(browser, "/sign-up", name=name, email=email, **fields)


def mails_to(system, email: str) -> list[Notification]:
    with Session(system) as session:
        query = select(Notification).where(Notification.shown_address == email).order_by(Notification.id)
        return list(session.scalars(query))


def test_no_mail_carries_an_address_in_the_name_of_who_asks(stranger, system):
    for name in ("You won https://evil.example/", "Claim at www.evil.example", "a@evil.example"):
        assert ask(stranger, "prize@valle.example", name=name).status_code == 422
    assert ask(stranger, "ing@valle.example", name="Ing. J.P. O'Neill-Díaz").status_code == 200
    assert mails_to(system, "prize@valle.example") == []


def test_a_link_leads_here_whatever_the_request_calls_this_host(stranger, system, app):
    email, evil = "host@valle.example", "http://evil.example"
    token = stranger.get("/sign-up", base_url=evil).text.split('name="csrf_token" value="')[1].split('"')[0]
    told = {"csrf_token": token, "name": "Inés Peña", "email": email}
    assert stranger.post("/sign-up", data=told, base_url=evil).status_code < 400
    (mail,) = mails_to(system, email)
    assert f"{app.extensions['portico'].settings.public_url}/sign-up/" in mail.body


def link_in(mail: Notification) -> str:
    return re.search(r"https?://[^/]+(/sign-up/\S+)", mail.body)[1]


def link_for(browser, system, email: str) -> str:
    ask(browser, email)
    return link_in(mails_to(system, email)[-1])


def fill(browser, link: str, **fields: str):
    values = {"company": "Red del Valle", "country": "MX", "zone": "", "tax_id": "", "password": STRONG,
              "again": STRONG, **fields}  # fmt: skip
    return post(browser, link, **values)


def test_an_isp_opens_a_demo_account_and_is_signed_in_as_its_manager(stranger, system, platform):
    assert "Look into your mail" in ask(stranger, "ines@valle.example").text
    (mail,) = mails_to(system, "ines@valle.example")
    assert (mail.operator_id, mail.state, mail.kind) == (platform, "waiting", "account.link")
    page = stranger.get(link_in(mail))
    assert "ines@valle.example" in page.text
    answer = fill(stranger, link_in(mail), country="MX", zone="America/Tijuana", tax_id="GODE561231GR8")
    assert answer.location == "/first-steps"
    assert "0 of 8 done" in stranger.get("/first-steps").text
    assert "Enter a rate plan" in stranger.get("/").text
    with Session(system) as session:
        person = session.scalars(select(Staff).where(Staff.email == "ines@valle.example")).one()
        operator = session.get_one(Operator, person.operator_id)
        assert person.roles == ["manager"]
        assert (operator.name, operator.slug, operator.currency, operator.timezone, operator.locale) == (
            "Red del Valle", "red-del-valle", "MXN", "America/Tijuana", "es",
        )  # fmt: skip
        licence = session.scalars(select(Licence).where(Licence.operator_id == operator.id)).one()
        assert (licence.period, licence.subscriber_limit, licence.until) == ("demo", 10, None)
        tax = session.scalars(select(TaxRate).where(TaxRate.operator_id == operator.id)).one()
        assert (tax.name, tax.rate, tax.included) == ("IVA", 16, True)
        rules = session.get_one(BillingSettings, operator.id)
        assert (rules.enabled, rules.tax_id, rules.email) == (False, "GODE561231GR8", "ines@valle.example")
        assert session.get_one(MessageSettings, operator.id).dial_prefix == "+52"
        assert session.get_one(Account, operator.id).country == "MX"
        assert session.scalars(select(SignUp.made_operator_id).where(SignUp.email == person.email)).one() == operator.id
    assert post(stranger, "/sign-out").status_code == 302
    assert post(stranger, "/sign-in", email="ines@valle.example", password=STRONG).status_code == 302


@pytest.mark.parametrize(
    ("code", "currency", "tax"),
    [("MX", "MXN", "IVA"), ("CO", "COP", "IVA"), ("AR", "ARS", "IVA"), ("PE", "PEN", "IGV"), ("GT", "GTQ", "IVA"),
     ("US", "USD", None), ("ES", "EUR", "IVA")],
)  # fmt: skip
def test_each_country_proposes_its_currency_and_tax(stranger, system, code, currency, tax):
    email = f"{code.lower()}@pack.example"
    assert fill(stranger, link_for(stranger, system, email), country=code).status_code == 302
    with Session(system) as session:
        operator = session.scalars(select(Operator).join(Staff).where(Staff.email == email)).one()
        assert operator.currency == currency
        names = session.scalars(select(TaxRate.name).where(TaxRate.operator_id == operator.id)).all()
        assert names == ([tax] if tax else [])


def test_the_answer_is_the_same_for_an_address_that_has_an_account(stranger, system, isp):
    known, unknown = isp.staff["manager"], "nobody-knows@isp.example"
    said = [ask(stranger, email).text.replace(email, "…") for email in (known, unknown)]
    assert re.sub(r'value="[^"]+"', "", said[0]) == re.sub(r'value="[^"]+"', "", said[1])
    assert "/sign-up/" not in mails_to(system, known)[-1].body
    assert "/sign-in" in mails_to(system, known)[-1].body


def test_a_mail_scanner_that_opens_the_link_spends_nothing_and_a_second_use_is_refused(app, system):
    scanner, person = app.test_client(), app.test_client()
    link = link_for(person, system, "scan@isp.example")
    for _time in range(3):
        assert scanner.get(link).status_code == 200
        assert scanner.head(link).status_code == 200
    assert fill(person, link).status_code == 302
    again = fill(app.test_client(), link)
    assert again.status_code == 404
    assert "does not work any more" in again.text
    assert app.test_client().get(link).status_code == 404


def test_sent_twice_at_once_the_form_opens_one_account(app, system):
    link = link_for(app.test_client(), system, "twice@isp.example")
    browsers = [app.test_client() for _each in range(2)]
    statuses: list[int] = []
    threads = [Thread(target=lambda each=each: statuses.append(fill(each, link).status_code)) for each in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302, 404]
    with Session(system) as session:
        assert session.scalar(select(func.count()).where(Staff.email == "twice@isp.example")) == 1


def test_a_link_that_ran_out_and_a_forged_one_open_nothing(stranger, system):
    link = link_for(stranger, system, "late@isp.example")
    forged = link[:-1] + ("A" if link[-1] != "A" else "B")
    assert stranger.get(forged).status_code == 404
    assert fill(stranger, forged).status_code == 404
    with Session(system) as session:
        session.execute(update(SignUp).where(SignUp.email == "late@isp.example").values(expires_at=func.now()))
        session.commit()
    assert stranger.get(link).status_code == 404
    assert fill(stranger, link).status_code == 404


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(stranger, system):
    link = link_for(stranger, system, "typo@isp.example")
    page = fill(stranger, link, company="Red <b>Sur</b>", country="AR", tax_id="20-05536168-3")
    assert page.status_code == 422
    assert "This cannot be a CUIT" in page.text
    assert "Red &lt;b&gt;Sur&lt;/b&gt;" in page.text
    assert fill(stranger, link, password="red del valle", again="red del valle").status_code == 422
    assert fill(stranger, link, again="another one altogether").status_code == 422
    assert fill(stranger, link, country="XX").status_code == 422
    assert fill(stranger, link, country="AR", tax_id="20-05536168-2").status_code == 302


def test_an_address_gets_three_mails_an_hour_and_the_page_does_not_say_so(stranger, system):
    said = {re.sub(r'value="[^"]+"', "", ask(stranger, "often@isp.example").text) for _time in range(5)}
    assert len(said) == 1
    assert len(mails_to(system, "often@isp.example")) == 3


def test_the_token_is_kept_as_a_hash_and_the_portal_cannot_read_the_mail(stranger, system, tenancy, platform):
    token = link_for(stranger, system, "hash@isp.example").rsplit("/", 1)[1]
    with Session(system) as session:
        rows = session.scalars(text("SELECT row_to_json(sign_up)::text FROM sign_up")).all()
        assert not any(token in row for row in rows)
    with tenancy.session(platform) as session:
        assert session.scalars(select(Notification).where(Notification.kind == "account.link")).all() == []


def test_two_companies_of_one_name_have_short_names_of_their_own(stranger, system):
    for number in range(2):
        fill(stranger, link_for(stranger, system, f"same{number}@isp.example"), company="Señal Ñuñoa, S.A.")
    with Session(system) as session:
        slugs = session.scalars(select(Operator.slug).where(Operator.slug.startswith("senal-nunoa"))).all()
    assert sorted(slugs) == ["senal-nunoa-s-a", "senal-nunoa-s-a-2"]


def test_sign_up_is_closed_where_the_platform_does_not_offer_it(installation):
    closed = create_app(installation.model_copy(update={"demo": False}), testing=True)
    assert closed.test_client().get("/sign-up").status_code == 404
    closed.extensions["portico"].close()


def test_somebody_who_has_a_login_by_now_is_told_so_after_the_link(stranger, system, isp):
    link = link_for(stranger, system, "soon@isp.example")
    with Session(system) as session:
        session.add(
            Staff(operator_id=isp.operator_id, email="soon@isp.example", name="S", password_hash="-", roles=["sales"])
        )
        session.commit()
    page = fill(stranger, link)
    assert page.status_code == 422
    assert "signs in with this e-mail address already" in page.text
    assert PASSWORD not in page.text


@pytest.mark.parametrize("country", COUNTRIES.values(), ids=COUNTRIES)
def test_each_pack_knows_its_zones_its_tax_number_and_is_whole(country):
    assert all(ZoneInfo(zone) for zone in country.zones)
    assert is_tax_id(country.code, country.tax_id_example)
    assert not is_tax_id(country.code, "123")
    assert tax_id_label(country.code) == country.tax_id
    assert country.invoice_note
    assert country.receipt_note
    assert country.phone_prefix.startswith("+")
