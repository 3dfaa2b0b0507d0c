"""A technician's phone: an installation where there is no coverage, and a visit that was cancelled meanwhile."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.work_orders import WorkOrderDetails, cancel, create_work_order
from db.audit import Actor
from db.models import Invoice, Service, Staff, WorkChecklist, WorkOrder, WorkOrderEvent, WorkOrderPhoto
from tests.portal.billing_isp import bill, service_of, start_billing
from tests.portal.conftest import PASSWORD, Isp, add_service, add_subscriber, app, make_isp, system  # noqa: F401
from tests.portal.online import listening

pytestmark = pytest.mark.browser

CPE = "4c:5e:0c:00:00:77"
WORDS = {
    "en": ("Sign in", "Begin", "Sign", "Ended today", "Bring mine all the same", "Cancelled", "Add"),
    "es": (
        "Ingresar",
        "Empezar",
        "Firmar",
        "Terminadas hoy",
        "Enviar lo mío de todos modos",
        "Cancelada",
        "Agregar",
    ),
}


@pytest.fixture
def phone(chromium: Browser, language: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, locale=language, has_touch=True)
    window = context.new_page()
    window.set_default_timeout(15_000)
    yield window
    context.close()


def visit(system: Engine, installation: Settings, isp: Isp, name: str) -> tuple[int, int]:  # noqa: F811
    """Order an installation for the technician, now; return the order and its service, which is pending."""
    subscriber = add_subscriber(system, isp, name, email="ana@example.com", phone="+52 55 1234 5678", address="Calle 5")
    line = add_service(system, installation, isp, subscriber, name.lower(), state="pending")
    with Session(system) as session:
        technician = session.scalars(select(Staff).where(Staff.email == isp.staff["technical"])).one()
        now = utc_now()
        details = WorkOrderDetails(
            "installation", service_id=line, technician_id=technician.id, window_start=now - timedelta(minutes=5),
            window_end=now + timedelta(hours=2),
        )  # fmt: skip
        order = create_work_order(session, Actor(isp.operator_id, "test"), details, now)
        session.commit()
        return order.id, line


def waiting(phone: Page) -> int:
    return phone.evaluate("PorticoStore.all().then((steps) => steps.length)")


def enter(phone: Page, email: str, sign_in: str) -> None:
    phone.fill("[name=email]", email)
    phone.fill("[name=password]", PASSWORD)
    phone.get_by_role("button", name=sign_in).click()


@pytest.mark.parametrize("language", ["en", "es"])
def test_an_installation_without_coverage(
    phone: Page,
    language: str,
    app: Flask,  # noqa: F811
    system: Engine,  # noqa: F811
    installation: Settings,
    tmp_path,
) -> None:
    sign_in, begin, sign, ended, mine, cancelled, add = WORDS[language]
    isp = make_isp(system, installation)
    start_billing(system, isp)
    with Session(system) as session:
        items = [{"text": "Mast is earthed", "required": True}]
        session.add(WorkChecklist(operator_id=isp.operator_id, kind="installation", items=items))
        session.execute(update(Staff).where(Staff.operator_id == isp.operator_id).values(language=language))
        session.commit()
    first, line = visit(system, installation, isp, "Ana")
    second, other_line = visit(system, installation, isp, "Eva")
    Image.new("RGB", (4000, 3000), "teal").save(tmp_path / "roof.jpg")
    complaints: list[str] = []
    phone.on("pageerror", lambda problem: complaints.append(str(problem)))
    phone.on("dialog", lambda dialog: dialog.accept())
    with listening(app, installation.portal_port) as address:
        phone.goto(f"{address}/t/")
        enter(phone, isp.staff["technical"], sign_in)
        expect(phone.locator(".visit")).to_have_count(2)
        phone.evaluate("navigator.serviceWorker.ready.then(() => true)")
        # The page was opened once: the worker came with it, and has its frame all the same.
        kept = "caches.open('portico-technician-frame').then((c) => c.keys()).then((k) => k.length)"
        assert phone.evaluate(kept) == 1
    # The server is gone, and so is the coverage.
    phone.context.set_offline(True)
    phone.reload()
    phone.locator(f"a[href='#o{first}']").click()
    phone.get_by_role("button", name=begin, exact=True).click()
    expect(phone.locator("#complete")).to_be_disabled()
    phone.locator(".check").click()
    phone.locator("[name=label]").fill(CPE)
    phone.locator("#bind").click()
    phone.locator("[name=photo]").set_input_files(tmp_path / "roof.jpg")
    phone.locator("[name=note]").fill("<b>Dog</b> in the yard")
    phone.get_by_role("button", name=add, exact=True).last.click()
    pad = phone.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    phone.mouse.move(box["x"] + 20, box["y"] + 20)
    phone.mouse.down()
    phone.mouse.move(box["x"] + 200, box["y"] + 80, steps=5)
    phone.mouse.up()
    phone.get_by_role("button", name=sign, exact=True).click()
    expect(phone.locator("#signed")).to_contain_text("Ana")
    phone.reload()  # the phone was in a pocket
    expect(phone.locator("#device")).to_have_text(CPE)
    phone.locator("#complete").click()
    expect(phone.locator("#end")).to_have_count(0)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.goto(f"{address}/t/#o{second}")
    phone.get_by_role("button", name=begin, exact=True).click()
    expect(phone.get_by_role("button", name=begin, exact=True)).to_have_count(0)
    assert waiting(phone) == 8
    assert service_of(system, line).state == "pending"
    # Meanwhile, in the office.
    with Session(system) as session:
        order = session.get_one(WorkOrder, second)
        cancel(session, Actor(isp.operator_id, "sales@isp.example"), order, "Moved away", utc_now())
        session.commit()
    with listening(app, installation.portal_port):
        phone.context.set_offline(False)
        expect(phone.locator("#conflict")).to_contain_text(cancelled)
        assert waiting(phone) == 1
        assert service_of(system, line).state == "active"
        assert bill(system, isp) == 1
        phone.get_by_role("button", name=mine).click()
        expect(phone.locator("#conflict")).to_have_count(0)
        expect(phone.locator("#complete")).to_be_visible()
        phone.goto(f"{address}/t/#")
        expect(phone.get_by_role("heading", name=ended)).to_be_visible()
        assert waiting(phone) == 0
    with Session(system) as session:
        assert session.get_one(WorkOrder, second).state == "in_work"
        assert session.get_one(Service, other_line).state == "pending"
        done = session.get_one(WorkOrder, first)
        assert (done.state, done.signed_name, done.device_mac) == ("done", "Ana", CPE)
        assert len(session.scalars(select(Invoice).where(Invoice.operator_id == isp.operator_id)).all()) == 1
        assert len(session.scalars(select(WorkOrderPhoto).where(WorkOrderPhoto.work_order_id == first)).all()) == 1
        notes = select(WorkOrderEvent.body).where(WorkOrderEvent.work_order_id == first, WorkOrderEvent.step == "note")
        assert session.scalars(notes).all() == ["<b>Dog</b> in the yard"]
    assert complaints == []


@pytest.mark.parametrize("language", ["en"])
def test_a_phone_that_comes_back_after_a_day_loses_nothing_and_gives_nothing_to_another(
    phone: Page,
    app: Flask,  # noqa: F811
    system: Engine,  # noqa: F811
    installation: Settings,
) -> None:
    isp = make_isp(system, installation)
    order, _line = visit(system, installation, isp, "Ana")
    phone.on("dialog", lambda dialog: dialog.accept())
    with listening(app, installation.portal_port) as address:
        phone.goto(f"{address}/t/")
        enter(phone, isp.staff["technical"], "Sign in")
        expect(phone.locator(".visit")).to_have_count(1)
        phone.evaluate("navigator.serviceWorker.ready.then(() => true)")
        phone.reload()
        phone.context.set_offline(True)
        phone.locator(".visit").click()
        phone.get_by_role("button", name="Begin", exact=True).click()
        expect(phone.locator("#state")).to_contain_text("waiting to be brought: 1")
        phone.context.clear_cookies()  # the sign-in ran out
        phone.context.set_offline(False)
        expect(phone.get_by_role("alert")).to_contain_text("Nothing is lost")
        expect(phone.locator("#head")).to_have_count(0)  # whoever holds the phone now sees nobody's address
        phone.reload()
        phone.get_by_role("alert").get_by_role("link").click()
        enter(phone, isp.staff["manager"], "Sign in")
        expect(phone.locator("#app")).to_contain_text("Steps of another login wait on this phone")
        assert waiting(phone) == 1
        phone.get_by_role("button", name="Sign out").click()
        phone.wait_for_url(re.compile("/sign-in"))
        enter(phone, isp.staff["technical"], "Sign in")
        expect(phone.locator(".visit")).to_contain_text("In work")
        expect(phone.locator("#state")).to_have_text("There is coverage")
        assert waiting(phone) == 0
    with Session(system) as session:
        assert session.get_one(WorkOrder, order).state == "in_work"
        steps = select(WorkOrderEvent.author).where(
            WorkOrderEvent.work_order_id == order, WorkOrderEvent.step == "begin"
        )
        assert session.scalars(steps).all() == [isp.staff["technical"]]
