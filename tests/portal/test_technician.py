"""What a technician's phone takes along and brings back."""

import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import Equipment, Material, Service, Staff, StoredFile, WorkOrder, WorkOrderEvent, WorkOrderPhoto
from tests.portal.conftest import add_subscriber, csrf_token, make_isp

CPE = "4c:5e:0c:00:00:77"


class Phone:
    """A browser that speaks as the page does."""

    def __init__(self, browser) -> None:
        self.browser = browser
        self.day = browser.get("/t/day").get_json()
        self.token = csrf_token(browser)

    def order(self, number: int) -> dict:
        return next(order for order in self.day["orders"] if order["id"] == number)

    def step(self, number: int, kind: str, *, key: str = "", plan: str = "", at: str = "", **values) -> dict:
        return {
            "key": key or str(uuid.uuid4()),
            "order": number,
            "kind": kind,
            "at": at or utc_now().isoformat(),
            "plan": plan or self.order(number)["plan"],
            "values": values,
        }

    def send(self, *steps: dict, files: dict[str, bytes] | None = None, owner: str = ""):
        form: dict = {"owner": owner or self.day["owner"], "steps": json.dumps(steps)}
        for key, content in (files or {}).items():
            form[f"file-{key}"] = (io.BytesIO(content), "file")
        return self.browser.post("/t/sync", data=form, headers={"X-CSRFToken": self.token})

    def results(self, *steps: dict, **more) -> list[str]:
        return [result["result"] for result in self.send(*steps, **more).get_json()["results"]]


def picture(kind="JPEG", size=(640, 480), **values) -> bytes:
    octets = io.BytesIO()
    Image.new("RGB", size, "white").save(octets, kind, **values)
    return octets.getvalue()


@pytest.fixture
def order(sign_in, isp, system) -> int:
    ana = add_subscriber(system, isp, "Ana López", email="ana@example.com", phone="+52 55 1234 5678", address="Calle 5")
    seller = sign_in("sales")
    data = {"csrf_token": csrf_token(seller), "plan_id": isp.plan_id, "access_method": "pppoe", "begins": "workflow"}
    number = int(seller.post(f"/sales/{ana}", data=data).headers["Location"].rsplit("/", 1)[1])
    change(system, number, technician_id=technician(system, isp))
    return number


@pytest.fixture
def phone(sign_in, order) -> Phone:
    return Phone(sign_in("technical"))


def technician(system, isp) -> int:
    with Session(system) as session:
        return session.scalars(select(Staff.id).where(Staff.email == isp.staff["technical"])).one()


def change(system, number, **values) -> None:
    with Session(system) as session:
        session.execute(update(WorkOrder).where(WorkOrder.id == number).values(**values))
        session.commit()


def stored(system, model, number):
    with Session(system) as session:
        return session.get_one(model, number)


def events(system, number, step) -> list[WorkOrderEvent]:
    with Session(system) as session:
        query = select(WorkOrderEvent).where(WorkOrderEvent.work_order_id == number, WorkOrderEvent.step == step)
        return list(session.scalars(query))


def test_an_installation_done_without_coverage_is_in_force_when_it_arrives(phone, order, system, isp):
    with Session(system) as session:
        cable = Material(operator_id=isp.operator_id, name="Cable", unit="m", stock=100)
        session.add(cable)
        session.commit()
        cable_id = cable.id
    hours_ago = (utc_now() - timedelta(hours=5)).isoformat()
    photo, signature = phone.step(order, "photo", subject="device"), phone.step(order, "sign", signed_name="Ana López")
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    files = {photo["key"]: picture(exif=exif), signature["key"]: picture("PNG", (60, 20))}
    steps = [
        phone.step(order, "begin", at=hours_ago),
        phone.step(order, "device", label="4C-5E-0C-00-00-77"),
        phone.step(order, "material", material_id=cable_id, quantity="12,5"),
        phone.step(order, "locate", position=[19.432600, -99.133200]),
        phone.step(order, "note", text="Key at the neighbour's"),
        photo,
        signature,
        phone.step(order, "complete"),
    ]
    assert phone.results(*steps, files=files) == ["taken"] * 8
    done = stored(system, WorkOrder, order)
    service = stored(system, Service, done.service_id)
    assert (done.state, done.device_mac, done.signed_name, service.state) == ("done", CPE, "Ana López", "active")
    assert done.started_at == datetime.fromisoformat(hours_ago)
    assert done.login_given_at is not None
    assert stored(system, Material, cable_id).stock == pytest.approx(87.5)
    with Session(system) as session:
        kept = session.scalars(
            select(StoredFile.content).join(WorkOrderPhoto, WorkOrderPhoto.file_id == StoredFile.id).where(
                WorkOrderPhoto.work_order_id == order
            )
        ).one()  # fmt: skip
        assert session.scalars(select(Equipment.state).where(Equipment.mac == CPE)).all() == ["installed"]
    assert b"where I live" not in kept
    # The answer was lost on the way: the phone brings all of it once more.
    assert phone.results(*steps, files=files) == ["taken"] * 8
    assert [len(events(system, order, step)) for step in ("begin", "material", "photo", "complete")] == [1, 1, 1, 1]
    assert stored(system, Material, cable_id).stock == pytest.approx(87.5)


def test_the_day_has_what_the_steps_need_and_says_when_the_line_is_up(phone, order):
    mine = phone.order(order)
    assert mine["group"] == "unplanned"
    assert mine["dialled"] == "+525512345678"
    assert mine["needs"] == {"device": True, "link_test": False, "photo": False, "signature": True}
    assert mine["link"] == {"up": False, "address": "", "since": "", "test": None}
    asked = phone.browser.post(f"/t/orders/{order}/link", headers={"X-CSRFToken": phone.token}).get_json()
    assert asked["test"]["running"] is True
    assert phone.browser.get(f"/t/orders/{order}/link").get_json()["test"]["running"] is True


@pytest.mark.parametrize(
    ("values", "how", "possible"),
    [
        pytest.param({"address": "Calle 9"}, "changed", True, id="another address"),
        pytest.param(
            {"state": "cancelled", "ended_at": datetime(2027, 5, 1, tzinfo=UTC), "outcome": "Moved away"},
            "ended", True, id="cancelled",
        ),
        pytest.param({"state": "done", "ended_at": datetime(2027, 5, 1, tzinfo=UTC)}, "ended", False, id="done"),
    ],
)  # fmt: skip
def test_what_was_changed_meanwhile_is_a_conflict_that_holds_the_rest(phone, order, system, values, how, possible):
    change(system, order, **values)
    begin, note, bind = (
        phone.step(order, "begin"),
        phone.step(order, "note", text="hi"),
        phone.step(order, "device", label=CPE),
    )
    conflict, taken, held = phone.send(begin, note, bind).get_json()["results"]
    assert (conflict["result"], conflict["how"], taken["result"], held["result"]) == ("conflict", how, "taken", "held")
    now = conflict["now"]
    assert (now["open"] or now["may_reopen"]) is possible
    assert stored(system, WorkOrder, order).device_mac is None
    if not possible:
        return
    # "Bring mine all the same", of the plan as it is now; a cancelled one is opened again first.
    if not now["open"]:
        reopened = phone.send(phone.step(order, "open_again", plan=now["plan"])).get_json()["results"][0]
        assert reopened["result"] == "taken"
        now = reopened
    assert phone.results({**begin, "plan": now["plan"]}, {**bind, "plan": now["plan"]}) == ["taken", "taken"]
    assert (stored(system, WorkOrder, order).state, stored(system, WorkOrder, order).device_mac) == ("in_work", CPE)


def test_an_order_given_to_somebody_else_is_left_and_what_was_done_stays_as_a_note(phone, order, system, isp):
    with Session(system) as session:
        email = f"eva@{isp.operator_id}.example"
        other = Staff(operator_id=isp.operator_id, email=email, name="Eva", password_hash="-", roles=["technical"])
        session.add(other)
        session.commit()
        other_id = other.id
    change(system, order, technician_id=other_id)
    result = phone.send(phone.step(order, "begin")).get_json()["results"][0]
    assert (result["result"], result["how"], result["now"]["technician"]) == ("conflict", "reassigned", "Eva")
    assert phone.results(phone.step(order, "note", text="I was there")) == ["taken"]
    assert [event.body for event in events(system, order, "note")] == ["I was there"]
    assert stored(system, WorkOrder, order).technician_id == other_id


def test_ones_own_steps_are_no_conflict(phone, order, system):
    change(system, order, technician_id=None)
    phone.day = phone.browser.get("/t/day").get_json()
    seen = plan_seen(phone, order, system)
    assert phone.results(phone.step(order, "begin", plan=seen)) == ["taken"]
    place = phone.step(order, "locate", plan=seen, position=[19.4, -99.1])
    assert phone.results(place, phone.step(order, "device", plan=seen, label=CPE)) == ["taken", "taken"]


def plan_seen(phone, order, system) -> str:
    """The plan that a phone saw of an order that is nobody's and has no day: it is not among those of the day."""
    conflict = phone.send(phone.step(order, "begin", plan="none")).get_json()["results"][0]
    return conflict["now"]["plan"]


def test_what_cannot_be_is_refused_in_words_and_holds_what_follows(phone, order, system):
    wrong, end = phone.step(order, "device", label="no such thing"), phone.step(order, "complete")
    refused, held = phone.send(wrong, end).get_json()["results"]
    assert (refused["result"], held["result"]) == ("refused", "held")
    assert "MAC" in refused["why"]
    refused = phone.send(end).get_json()["results"][0]
    assert refused["why"] == "It is not complete yet: Bind the device; Let the subscriber sign."
    program, huge = phone.step(order, "photo"), phone.step(order, "photo")
    files = {program["key"]: b"MZ\x90\x00" * 99, huge["key"]: picture("PNG", (9000, 9000))}
    assert phone.results(program, huge, files=files) == ["refused", "refused"]
    assert stored(system, WorkOrder, order).state == "open"


def test_a_queue_is_never_taken_under_another_login(phone, order, sign_in, isp, system, installation):
    colleague = Phone(sign_in("manager"))
    step = phone.step(order, "begin")
    assert colleague.send(step, owner=phone.day["owner"]).status_code == 409
    other = make_isp(system, installation)
    stranger = Phone(sign_in("technical", of=other))
    result = stranger.send({**step, "key": str(uuid.uuid4())}).get_json()["results"][0]
    assert (result["result"], result["how"], result["now"]) == ("conflict", "gone", None)
    assert stranger.day["orders"] == []
    assert stored(system, WorkOrder, order).state == "open"


def test_a_phone_whose_sign_in_ran_out_is_told_and_loses_nothing(app, phone, order, sign_in, system):
    late = app.test_client()
    assert late.get("/t/day", headers={"HX-Request": "true"}).status_code == 204
    assert late.get("/t/").location.startswith("/sign-in?next=/t/")
    assert late.get("/t/worker.js").status_code == late.get("/t/manifest.webmanifest").status_code == 200
    step = phone.step(order, "begin", at=(utc_now() - timedelta(days=1)).isoformat())
    late.post("/t/sync", data={"owner": phone.day["owner"], "steps": json.dumps([step])})
    assert stored(system, WorkOrder, order).state == "open"
    again = Phone(sign_in("technical"))
    assert again.results(step) == ["taken"]
    assert stored(system, WorkOrder, order).started_at == datetime.fromisoformat(step["at"])


@pytest.mark.parametrize(
    "steps",
    ["", "{", "5", "[5]", '[{"key": "k"}]', '[{"key": "12345678", "order": "1", "kind": "begin", "at": "2027-01-01"}]',
     '[{"key": "12345678", "order": 1, "kind": "erase", "at": "2027-01-01T00:00:00Z"}]',
     '[{"key": "12345678", "order": 1, "kind": "note", "at": "2027-01-01T00:00:00Z", "values": {"text": "\\u0000"}}]'],
)  # fmt: skip
def test_what_no_phone_of_ours_sends_is_turned_away(phone, steps):
    form = {"owner": phone.day["owner"], "steps": steps}
    assert phone.browser.post("/t/sync", data=form, headers={"X-CSRFToken": phone.token}).status_code == 400


def test_a_clock_that_runs_ahead_or_stands_still_says_nothing(phone, order, system):
    future, ancient = (utc_now() + timedelta(days=9)).isoformat(), "2001-01-01T00:00:00Z"
    assert phone.results(phone.step(order, "begin", at=future), phone.step(order, "note", at=ancient, text="x")) == [
        "taken", "taken",
    ]  # fmt: skip
    for event in (*events(system, order, "begin"), *events(system, order, "note")):
        assert abs(event.at - utc_now()) < timedelta(minutes=1)


def test_the_frame_says_nothing_of_anybody_and_only_it_may_use_the_camera(phone):
    page = phone.browser.get("/t/")
    assert "Ana" not in page.text
    assert page.headers["Permissions-Policy"].startswith("camera=(self)")
    assert "camera=()" in phone.browser.get("/work-orders/").headers["Permissions-Policy"]
    worker = phone.browser.get("/t/worker.js")
    told = json.loads(worker.text.split("self.PORTICO = ", 1)[1].split(";\n", 1)[0])
    for file in told["files"]:
        with phone.browser.get(file) as answer:
            assert answer.status_code == 200, file
