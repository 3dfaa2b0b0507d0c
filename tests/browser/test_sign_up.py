"""An ISP opens its account on a telephone, in Spanish, by a mail that went over SMTP."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.accounts import make_platform
from crm.notices import send_due
from db.migrate import migrate
from db.session import make_engine, make_sessions
from lab.mail import Mailbox
from stack.pieces import RunningPiece
from stack.programs import portal_piece
from tests.browser.test_homes import answers
from tests.system.conftest import wait_until

PASSWORD = "tres antenas sobre el granero azul"


@pytest.fixture(scope="module")
def system(installation: Settings) -> Iterator[Engine]:
    migrate(installation)
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        make_platform(session, "test", "Portico Cloud")
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with Mailbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def mailing(installation: Settings, box: Mailbox) -> Settings:
    values = {"sign_up": True, "smtp_host": "127.0.0.1", "smtp_port": box.port, "smtp_security": "none"}
    return installation.model_copy(update=values)


@pytest.fixture
def phone(mailing: Settings, system: Engine, chromium: Browser) -> Iterator[Page]:
    with RunningPiece(portal_piece(mailing), mailing.log_dir / "portal.log"):
        url = f"http://127.0.0.1:{mailing.portal_port}"
        context = chromium.new_context(
            viewport={"width": 390, "height": 844}, locale="es-MX", base_url=url, has_touch=True
        )
        window = context.new_page()
        wait_until(lambda: answers(window, url), 30, "the portal to start")
        yield window
        context.close()


def test_an_account_is_opened_on_a_phone_in_spanish(phone, mailing, system, box):
    phone.goto("/sign-up")
    phone.get_by_label("Su nombre completo").fill("Inés Peña")
    phone.get_by_label("Correo electrónico").fill("ines@valle.example")
    phone.get_by_role("button", name="Enviarme el enlace").click()
    expect(phone.get_by_role("heading", name="Revise su correo")).to_be_visible()
    box.refuses = "451 4.3.0 later"  # a mail server in trouble: the mail waits
    send_due(make_sessions(system), mailing, utc_now())
    assert not box.mails
    box.refuses = None
    send_due(make_sessions(system), mailing, utc_now().replace(year=utc_now().year + 1))
    phone.goto(box.url)
    phone.locator("article a").first.click()
    phone.get_by_label("Nombre de su empresa").fill("Internet del Valle")
    expect(phone.get_by_label("País")).to_have_value("MX")  # as the browser's language says
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.get_by_label("Su contraseña").fill(PASSWORD)
    phone.get_by_label("La misma otra vez").fill(PASSWORD)
    phone.get_by_role("button", name="Abrir la cuenta").click()
    expect(phone.get_by_role("heading", name="Primeros pasos")).to_be_visible()
    expect(phone.get_by_text("0 de 8 hechos")).to_be_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
