"""Leads, sales, work orders and equipment as the staff see them."""

import base64
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import (
    CircuitTest,
    Equipment,
    Job,
    Lead,
    Material,
    Notification,
    RatePlan,
    SeenDevice,
    Service,
    Staff,
    StoredFile,
    Subscriber,
    WorkOrder,
    WorkOrderPhoto,
    WorkSettings,
)
from tests.portal.conftest import add_service, add_subscriber, csrf_token, make_isp

CPE = "4c:5e:0c:00:00:77"


@pytest.fixture
def ana(system, isp) -> int:
    return add_subscriber(
        system, isp, "Ana López", email="ana@example.com", phone="+52 55 1234 5678", address="Calle 5"
    )


@pytest.fixture
def order(sign_in, isp, system, ana) -> int:
    """The installation that a sale has ordered."""
    answer = post(sign_in("sales"), f"/sales/{ana}", plan_id=isp.plan_id, access_method="pppoe", begins="workflow")
    assert answer.status_code == 302, answer.text
    return int(answer.headers["Location"].rsplit("/", 1)[1])


def stored(system, model, number):
    with Session(system) as session:
        return session.get_one(model, number)


def picture(kind="PNG", size=(60, 20)) -> bytes:
    octets = io.BytesIO()
    Image.new("RGB", size, "white").save(octets, kind)
    return octets.getvalue()


def drawn() -> str:
    return "data:image/png;base64," + base64.b64encode(picture()).decode()


def _token(browser) -> str:
    """Return the browser's token, which stays the same while somebody is signed in; asking for it costs a page."""
    if not hasattr(browser, "token"):
        browser.token = csrf_token(browser)
    return browser.token


def post(browser, url, **fields):
    return browser.post(url, data={"csrf_token": _token(browser), **fields})


def said(browser, url) -> str:
    page = browser.get(url)
    assert page.status_code == 200, page.text
    return re.sub(r"\s+", " ", page.text)


def test_from_a_lead_to_a_line_in_use(sign_in, isp, system, installation):
    seller, technician = sign_in("sales"), sign_in("technical")
    made = post(
        seller, "/leads/new", name="Eva Ruiz", phone="+52 55 7654 3210", source="phone", email="eva@example.com",
        plan_id=isp.plan_id, address="Calle 9", next_step="Call back", next_step_on="2027-05-09",
    )  # fmt: skip
    lead = made.headers["Location"]
    assert "Eva Ruiz" in said(seller, "/leads/")
    assert "Call back" in said(seller, "/leads/board")
    assert "<dt>Rate plan</dt> <dd><ins>Home 20</ins></dd>" in said(seller, lead)  # by its name, not by its number
    won = post(seller, f"{lead}/win")
    assert f"plan={isp.plan_id}" in won.headers["Location"]
    sale_page = said(seller, won.headers["Location"])
    assert f'<option selected value="{isp.plan_id}">' in sale_page
    sale = post(
        seller, won.headers["Location"], plan_id=isp.plan_id, access_method="pppoe", begins="workflow",
        lead_id=lead.rsplit("/", 1)[1], day="2027-06-01", begin="09:00", until="11:00", description="Dog in the yard",
    )  # fmt: skip
    order_url = sale.headers["Location"]
    number = int(order_url.rsplit("/", 1)[1])
    order = stored(system, WorkOrder, number)
    assert order.window_start == datetime(2027, 6, 1, 15, 0, tzinfo=UTC)  # nine o'clock in Mexico City
    assert "Dog in the yard" in said(technician, order_url)
    with Session(system) as session:
        told = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).all()
    assert isp.staff["technical"] in [notice.shown_address for notice in told]

    post(technician, f"{order_url}/begin")
    refused = technician.post(f"{order_url}/complete", data={"csrf_token": _token(technician)}, follow_redirects=True)
    assert "It is not complete yet: Bind the device; Let the subscriber sign." in refused.text
    post(technician, f"{order_url}/device", label="4C-5E-0C-00-00-77")
    post(technician, f"{order_url}/sign", signed_name="Eva Ruiz", signature=drawn())
    completed = technician.post(f"{order_url}/complete", data={"csrf_token": _token(technician)}, follow_redirects=True)
    assert "What was sold is in force now" in completed.text
    order, service = stored(system, WorkOrder, number), stored(system, Service, order.service_id)
    assert (order.state, service.state, service.name, order.signed_name) == ("done", "active", "eva.ruiz", "Eva Ruiz")
    assert order.login_given_at is not None
    assert "What was sold" not in said(technician, order_url)
    assert stored(system, Lead, order.lead_id).state == "won"
    tab = said(technician, f"/work-orders/of/{order.subscriber_id}")
    assert CPE in tab
    assert f'href="{order_url}"' in tab


def test_a_sale_without_plans_is_warned_of(sign_in, system, installation):
    other = make_isp(system, installation)
    with Session(system) as session:
        session.get_one(RatePlan, other.plan_id).archived = True
        session.commit()
    eva = add_subscriber(system, other, "Eva")
    browser = sign_in("sales", of=other)
    assert "There are no plans to sell yet" in said(browser, f"/sales/{eva}")
    assert "There are no plans to sell yet" in said(browser, "/sales/plans")


def test_plans_are_compared_by_price_or_by_speed(sign_in, isp, system, ana):
    with Session(system) as session:
        night = {"days": [1, 2], "begin": "23:00", "until": "06:00", "download": 40 * 10**6, "upload": 10**7}
        session.add(
            RatePlan(
                operator_id=isp.operator_id, name="Slow and dear", price=900, download=10**6, upload=10**6,
                windows=[night], cap_octets=50 * 10**9, cap_action="throttle", throttle_download=512_000,
                throttle_upload=512_000,
            )
        )  # fmt: skip
        session.commit()
    browser = sign_in("sales")
    for by, first, second in (("price", "Home 20", "Slow and dear"), ("speed", "Slow and dear", "Home 20")):
        page = said(browser, f"/sales/plans?by={by}&subscriber={ana}")
        assert page.index(f"<strong>{first}") < page.index(f"<strong>{second}")
    assert f"/sales/{ana}?plan={isp.plan_id}" in page
    assert "23:00 to 06:00: 40 Mbit/s / 10 Mbit/s" in page
    assert "then 512 kbit/s" in page


def test_the_workflow_switched_off_sells_without_ordering(sign_in, isp, system, ana):
    answer = post(sign_in("manager"), "/settings/work-orders/", needs_device="y", minutes="90", told="support")
    assert answer.status_code == 302, answer.text
    settings = stored(system, WorkSettings, isp.operator_id)
    assert (settings.enabled, settings.needs_signature, settings.minutes, settings.told) == (
        False, False, 90, ["support"],
    )  # fmt: skip
    seller = sign_in("sales")
    assert '<option selected value="pending">' in said(seller, f"/sales/{ana}")
    post(seller, f"/sales/{ana}", plan_id=isp.plan_id, access_method="pppoe", begins="pending")
    with Session(system) as session:
        service = session.scalars(select(Service).where(Service.subscriber_id == ana)).one()
        assert session.scalars(select(WorkOrder).where(WorkOrder.operator_id == isp.operator_id)).all() == []
    assert service.state == "pending"
    technician = sign_in("technical")
    assert 'name="enabled"' in said(technician, f"/subscribers/{ana}")
    post(technician, f"/services/{service.id}/enabled", enabled="yes")
    assert stored(system, Service, service.id).state == "active"
    post(technician, f"/services/{service.id}/enabled")
    assert stored(system, Service, service.id).state == "suspended"
    assert post(seller, f"/services/{service.id}/enabled", enabled="yes").status_code == 403


def test_a_device_is_picked_from_those_that_asked(sign_in, isp, system, order):
    with Session(system) as session:
        session.add(
            SeenDevice(operator_id=isp.operator_id, mac=CPE, nas_id=isp.nas_id, kind="dhcp", nas_port_id="ether7")
        )
        session.commit()
    technician = sign_in("technical")
    page = said(technician, f"/work-orders/{order}")
    assert f'name="label" value="{CPE}"' in page
    assert "ether7" in page
    post(technician, f"/work-orders/{order}/device", label=CPE)
    with Session(system) as session:
        assert session.scalars(select(SeenDevice).where(SeenDevice.operator_id == isp.operator_id)).all() == []
        device = session.scalars(select(Equipment).where(Equipment.operator_id == isp.operator_id)).one()
    assert (device.mac, device.state) == (CPE, "installed")


def test_who_may_passes_over_a_missing_step_with_a_reason(sign_in, system, order):
    technician, manager = sign_in("technical"), sign_in("manager")
    assert post(technician, f"/work-orders/{order}/complete", reason="In a hurry").status_code == 403
    post(manager, f"/work-orders/{order}/complete", reason="Signed on paper")
    assert stored(system, WorkOrder, order).override_reason == "Signed on paper"
    assert "Signed on paper" in said(technician, f"/work-orders/{order}")


def test_a_photo_is_kept_with_where_it_was_taken_and_nothing_but_its_pixels(sign_in, isp, system, order):
    technician = sign_in("technical")
    exif = Image.Exif()
    exif[0x010E] = "secret words"
    octets = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(octets, "JPEG", exif=exif)
    answer = technician.post(
        f"/work-orders/{order}/photo",
        data={
            "csrf_token": _token(technician), "subject": "identity", "position": "19.4326, -99.1332",
            "photos": (io.BytesIO(octets.getvalue()), "../../id.php"),
        },
    )  # fmt: skip
    assert answer.status_code == 302
    with Session(system) as session:
        photo = session.scalars(select(WorkOrderPhoto).where(WorkOrderPhoto.work_order_id == order)).one()
        file = session.get_one(StoredFile, photo.file_id)
        assert b"secret words" not in file.content
    assert (photo.subject, str(photo.latitude), file.name) == ("identity", "19.432600", "id.jpg")
    shown = technician.get(f"/work-orders/{order}/photos/{photo.file_id}")
    assert (shown.mimetype, shown.headers["X-Content-Type-Options"]) == ("image/jpeg", "nosniff")
    other = _other_order(system, isp)
    assert technician.get(f"/work-orders/{other}/photos/{photo.file_id}").status_code == 404


def _other_order(system, isp) -> int:
    with Session(system) as session:
        order = WorkOrder(
            operator_id=isp.operator_id, number=900, kind="expansion", title="Torre Norte", created_by="x",
            created_at=datetime.now(UTC) - timedelta(days=9),
        )  # fmt: skip
        session.add(order)
        session.commit()
        return order.id


@pytest.mark.parametrize(
    ("step", "fields", "words"),
    [
        ("sign", {"signed_name": "Ana", "signature": "data:text/html;base64,AAAA"}, "This is needed"),
        ("sign", {"signed_name": "Ana", "signature": "data:image/png;base64,!!"}, "not a PNG or JPEG picture"),
        ("sign", {"signed_name": "Ana", "signature": "data:image/png;base64,PGh0bWw+"}, ""),
        ("device", {"label": "<script>alert(1)</script>"}, "not a MAC address"),
        ("fail", {"reason": ""}, "This is needed"),
        ("material", {"material_id": "999999", "quantity": "1"}, "Choose one of the list"),
        ("locate", {"position": "here"}, "Latitude goes from"),
        ("plan", {"day": "2027-05-05"}, "This is needed"),
        ("plan", {"day": "2027-05-05", "begin": "11:00", "until": "09:00"}, "The end must come after"),
        ("tick/7", {"done": "yes"}, "Choose one of the list"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(sign_in, system, order, step, fields, words):
    technician = sign_in("technical")
    before = stored(system, WorkOrder, order).version
    data = {"csrf_token": _token(technician), **fields}
    answer = technician.post(f"/work-orders/{order}/{step}", data=data, follow_redirects=True)
    assert words in answer.text
    assert "<script>alert" not in answer.text
    assert stored(system, WorkOrder, order).version == before


def test_a_checklist_materials_and_notes_are_kept(sign_in, isp, system, ana):
    manager, technician = sign_in("manager"), sign_in("technical")
    post(manager, "/settings/work-orders/checklists/repair", items="* Cable fixed\nRouter explained")
    assert "* Cable fixed" in said(manager, "/settings/work-orders/")
    post(
        technician,
        "/settings/work-orders/materials/new",
        name="Cable",
        unit="m",
        stock="100",
        reorder_at="20",
        active="y",
    )
    made = post(technician, f"/work-orders/new?subscriber={ana}", kind="repair", priority="urgent", title="No link")
    url = made.headers["Location"]
    post(technician, f"{url}/tick/0", done="yes")
    with Session(system) as session:
        cable = session.scalars(select(Material).where(Material.operator_id == isp.operator_id)).one()
    post(technician, f"{url}/material", material_id=cable.id, quantity="12,5")
    post(technician, f"{url}/note", text="Ladder <b>needed</b>", kind="call")
    post(technician, f"{url}/locate", position="19.4, -99.1")
    page = said(technician, url)
    assert "12.5 m Cable" in page
    assert "Ladder &lt;b&gt;needed" in page
    assert 'aria-pressed="true"' in page
    assert "87.5" in said(technician, "/settings/work-orders/materials")
    post(technician, f"{url}/complete")
    assert stored(system, WorkOrder, int(url.rsplit("/", 1)[1])).state == "done"


def test_a_link_test_belongs_to_its_order_and_is_begun_once(sign_in, isp, system, order):
    technician = sign_in("technical")
    for _ in range(2):
        post(technician, f"/work-orders/{order}/link-test")
    with Session(system) as session:
        test = session.scalars(select(CircuitTest).where(CircuitTest.operator_id == isp.operator_id)).one()
        assert session.get_one(Job, test.job_id).kind == "circuit.test"
    assert stored(system, WorkOrder, order).circuit_test_id == test.id
    assert 'hx-trigger="every 2s"' in said(technician, f"/work-orders/{order}")


def test_what_is_outstanding_comes_first_and_what_is_late_stands_out(sign_in, isp, system, order):
    old = _other_order(system, isp)
    support = sign_in("support")
    page = said(support, "/work-orders/")
    assert page.index("Torre Norte") < page.index("Ana López")
    assert page.count("Late</span>") == 1
    assert "Torre Norte" in said(support, "/work-orders/?show=late")
    post(support, f"/work-orders/{old}/cancel", reason="Sold")
    assert "Torre Norte" not in said(support, "/work-orders/")
    assert "Torre Norte" in said(support, "/work-orders/?show=cancelled")
    assert "Torre Norte" in said(support, "/work-orders/?show=all&q=Torre")
    exported = sign_in("manager").get("/work-orders/?show=all&format=csv")
    assert "Torre Norte" in exported.text


def test_the_calendar_shows_each_technicians_week_and_what_has_no_day(sign_in, isp, system, order):
    support = sign_in("support")
    assert "Ana López" in said(support, "/work-orders/calendar").split('id="unplanned"')[1].split("<table")[0]
    with Session(system) as session:
        technician = session.scalars(select(Staff.id).where(Staff.email == isp.staff["technical"])).one()
    post(
        support, f"/work-orders/{order}/plan", technician_id=technician, day="2027-06-01", begin="09:00", until="11:00"
    )
    planned = stored(system, WorkOrder, order)
    assert planned.window_end - planned.window_start == timedelta(hours=2)  # as long as visits are planned for
    week = said(support, "/work-orders/calendar?day=2027-06-03")
    assert 'id="unplanned"' not in week
    row = week.split("<table")[1].split("Technical</th>")[1].split("</tr>")[0]
    assert "Ana López" in row.split("</td>")[1]  # Tuesday
    assert "Ana López" not in said(support, "/work-orders/calendar?day=2027-06-02&span=day").split("<table")[1]
    assert "Ana López" in said(support, "/work-orders/calendar?day=2027-06-01&span=day").split("<table")[1]
    assert "Ana López" in said(sign_in("technical"), "/")


def test_who_goes_now_and_who_does_not_any_more_are_told_by_mail(sign_in, system, order, isp):
    with Session(system) as session:
        first = session.scalars(select(Staff).where(Staff.email == isp.staff["technical"])).one()
        second = Staff(
            operator_id=isp.operator_id, email=f"second.{isp.operator_id}@example.com", name="Second", active=True,
            roles=["technical"], password_hash=first.password_hash,
        )  # fmt: skip
        session.add(second)
        session.commit()
        first_id, second_id, names = first.id, second.id, {first.email: "first", second.email: "second"}

    def told() -> list[tuple[str, str]]:
        with Session(system) as session:
            new = session.scalars(
                select(Notification)
                .where(Notification.operator_id == isp.operator_id, Notification.kind.startswith("work_order"))
                .order_by(Notification.id)
            ).all()
            found = [(names.get(notice.shown_address, notice.shown_address), notice.kind) for notice in new]
            for notice in new:
                session.delete(notice)
            session.commit()
        return found

    manager, url = sign_in("manager"), f"/work-orders/{order}"
    with Session(system) as session:
        asked = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).all()
        assert all("When: not agreed yet" in mail.body for mail in asked if mail.kind == "work_order")
        assert "work_order" in {mail.kind for mail in asked}

    def plan(browser, technician_id, hour: str = "09:00"):
        version = stored(system, WorkOrder, order).version
        sent = {"technician_id": technician_id, "day": "2027-06-01", "begin": hour, "until": "", "version": version}
        return post(browser, f"{url}/plan", **sent)

    told()
    plan(manager, first_id)
    assert told() == [("first", "work_order")]
    plan(manager, first_id)  # nothing new
    assert told() == []
    plan(manager, first_id, "11:00")
    assert told() == [("first", "work_order")]
    plan(sign_in("technical"), first_id, "12:00")  # their own doing
    assert told() == []
    page = manager.get(f"{url}/edit").text
    sent = dict(
        re.findall(r'<input(?=[^>]*type="(?:text|hidden|date|time)")[^>]*name="(\w+)"[^>]*value="([^"]*)"', page)
    )
    sent |= {"kind": "installation", "priority": "normal", "service_id": "", "technician_id": second_id}
    sent |= {"description": "", "csrf_token": _token(manager)}
    assert manager.post(f"{url}/edit", data=sent).status_code == 302
    assert told() == [("second", "work_order"), ("first", "work_order_off")]
    post(manager, f"{url}/cancel", reason="Moved away")
    assert told() == [("second", "work_order_off")]
    post(manager, f"{url}/open-again")
    assert told() == [("second", "work_order")]


def test_the_second_of_two_who_edit_an_order_is_told(sign_in, system, order):
    first, second = sign_in("support"), sign_in("technical")
    version = stored(system, WorkOrder, order).version
    typed = {"kind": "installation", "title": "T", "version": version}
    service = stored(system, WorkOrder, order).service_id
    assert post(first, f"/work-orders/{order}/edit", **typed, priority="high", service_id=service).status_code == 302
    answer = post(second, f"/work-orders/{order}/edit", **typed, priority="low", service_id=service)
    assert answer.status_code == 409
    assert "Somebody else changed this" in answer.text
    assert stored(system, WorkOrder, order).priority == "high"


def test_ending_a_service_leads_to_the_recovery_of_what_hangs_there(sign_in, system, order):
    technician, manager = sign_in("technical"), sign_in("manager")
    post(technician, f"/work-orders/{order}/device", label=CPE)
    service = stored(system, WorkOrder, order).service_id
    answer = post(manager, f"/services/{service}/terminate", reason="Moved away")
    assert f"kind=recovery&service={service}" in answer.headers["Location"]
    assert "Equipment to recover" in said(manager, "/")
    page = said(manager, answer.headers["Location"])
    assert '<option selected value="recovery">' in page
    made = post(manager, answer.headers["Location"], kind="recovery", priority="normal", service_id=service)
    url = made.headers["Location"]
    with Session(system) as session:
        device = session.scalars(select(Equipment).where(Equipment.mac == CPE, Equipment.service_id == service)).one()
    post(technician, f"{url}/recover/{device.id}", state="technician")
    post(technician, f"{url}/complete")
    assert stored(system, WorkOrder, int(url.rsplit("/", 1)[1])).state == "done"
    assert stored(system, Equipment, device.id).state == "technician"


def test_equipment_is_entered_as_a_list_found_by_its_label_and_moved(sign_in, isp, system, installation, ana):
    technician = sign_in("technical")
    lines = "LiteBeam;A1;4C:5E:0C:00:01:01\nLiteBeam;A2;nonsense"
    looked = technician.post("/equipment/import", data={"csrf_token": _token(technician), "lines": lines})
    assert "not a MAC address" in looked.text
    with Session(system) as session:
        assert session.scalars(select(Equipment).where(Equipment.operator_id == isp.operator_id)).all() == []
    post(technician, "/equipment/import", lines=lines, enter="yes")
    found = technician.get("/equipment/scan?label=4c5e.0c00.0101")
    url = found.headers["Location"]
    line = add_service(system, installation, isp, ana, "ana")
    bad = post(technician, f"{url}/move", state="installed", service="nobody")
    assert bad.status_code == 422
    post(technician, f"{url}/move", state="installed", service="ana", note="North side")
    page = said(technician, url)
    assert "Ana López" in page
    assert "North side" in page
    assert stored(system, Equipment, int(url.rsplit("/", 1)[1])).service_id == line
    assert "Ana López" in said(technician, "/equipment/?state=installed")
    unknown = technician.get("/equipment/scan?label=ZZ-9")
    assert unknown.headers["Location"].endswith("/equipment/new?serial=ZZ-9")


def test_a_lead_who_may_be_a_subscriber_already_is_shown_them(sign_in, system, isp, ana):
    seller = sign_in("sales")
    made = post(seller, "/leads/new", name="Ana Lopez", phone="+52 55 1234 5678", source="referral")
    url = made.headers["Location"]
    page = said(seller, url)
    assert "Is it one of these?" in page
    won = post(seller, f"{url}/win", subscriber_id=ana)
    # No plan was wished for, so they are compared; the sale still knows whose lead it was.
    assert f"/sales/plans?subscriber={ana}&lead=" in won.headers["Location"]
    assert f"/sales/{ana}?plan={isp.plan_id}&amp;lead={url.rsplit('/', 1)[1]}" in said(seller, won.headers["Location"])
    with Session(system) as session:
        operator = session.get_one(Subscriber, ana).operator_id
        assert len(session.scalars(select(Subscriber).where(Subscriber.operator_id == operator)).all()) == 1


def test_a_lead_is_lost_with_a_reason_and_counted(sign_in, system, isp, order):
    seller = sign_in("sales")
    url = post(seller, "/leads/new", name="Leo", phone="+52 55 1111 2222", source="door").headers["Location"]
    post(seller, f"{url}/state", state="lost", reason="Too dear")
    assert "Too dear" in said(seller, url)
    assert "Leo" not in said(seller, "/leads/")
    row = (
        said(seller, "/work-orders/reports")
        .split("Sales per month and seller")[1]
        .split("<tbody>")[1]
        .split("</tr>")[0]
    )
    assert re.findall(r">(\d+)<", row) == ["1", "0", "0", "1"]  # sold, installed, won, lost
    exported = sign_in("manager").get("/work-orders/reports?report=sales&format=csv")
    assert "Sales" in exported.text


def test_nothing_of_another_operator_can_be_opened(sign_in, system, installation, order):
    other = make_isp(system, installation)
    manager = sign_in("manager", of=other)
    for path in (f"/work-orders/{order}", f"/work-orders/{order}/edit"):
        assert manager.get(path).status_code == 404
    assert post(manager, f"/work-orders/{order}/begin").status_code == 404
