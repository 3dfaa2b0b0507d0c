import io
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from PIL import Image
from sqlalchemy import select

from core.crypto import Keyring
from crm.equipment import EquipmentDetails, create_equipment, find_equipment, installed_at
from crm.files import PICTURES, store_file
from crm.leads import LeadDetails, WrongLeadState, change_lead, create_lead, details_of_lead, move_lead, win
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem, WrongState
from crm.services import suspend
from crm.work_orders import WorkOrderDetails, WrongOrderState, begin, create_work_order, events_of
from crm.work_reports import Sales, installs, outstanding, sales
from crm.work_steps import (
    Missing,
    StepsMissing,
    add_photo,
    bind_device,
    complete,
    has_no_device,
    locate,
    missing_steps,
    note_link_test,
    recover_device,
    sign,
    tick,
)
from crm.workflow import Sale, WorkflowTerms, change_checklist, change_workflow, checklists, sell, set_enabled
from db.audit import Actor
from db.models import AuditEntry, CircuitTest, Notification, SeenDevice, ServiceMac, Subscriber
from tests.billing.isp import BillingIsp, noon
from tests.crm.test_work_orders import add_staff
from tests.rows import add_operator, add_plan, add_service, add_subscriber

NOW = datetime(2027, 5, 4, 15, 0, tzinfo=UTC)
KEYRING = Keyring.parse(Keyring.generate())
URL = "https://portico.example"
CPE = "4c:5e:0c:00:00:77"


@pytest.fixture
def actor(rows):
    return Actor(add_operator(rows), "rosa@example.com")


@pytest.fixture
def luis(rows, actor):
    return add_staff(rows, actor.operator_id, "luis")


@pytest.fixture
def ana(rows, actor):
    return rows.get_one(Subscriber, add_subscriber(rows, actor.operator_id, name="Ana López", email="ana@example.com"))


@pytest.fixture
def plan(rows, actor):
    return add_plan(rows, actor.operator_id)


@pytest.fixture
def sold(rows, actor, ana, plan):
    return sell(rows, actor, KEYRING, ana, Sale(plan), NOW)


def picture(rows, actor, kind="PNG"):
    octets = io.BytesIO()
    Image.new("RGB", (30, 20), "white").save(octets, kind)
    return store_file(rows, actor.operator_id, "p", octets.getvalue(), PICTURES)


def test_a_sale_gives_a_pending_service_with_its_plan_and_orders_the_installation(sold, plan):
    assert (sold.service.state, sold.service.plan_id, sold.service.name) == ("pending", plan, "ana.lopez")
    assert len(KEYRING.open("service.password", sold.service.password)) == 12
    assert (sold.order.kind, sold.order.state, sold.order.service_id) == ("installation", "open", sold.service.id)


def test_the_role_that_the_operator_named_is_told_of_a_sale(rows, actor, luis, ana, plan):
    sell(rows, actor, KEYRING, ana, Sale(plan), NOW)
    notice = rows.scalars(select(Notification).where(Notification.operator_id == actor.operator_id)).one()
    assert (notice.shown_address, "Ana López" in notice.subject) == (luis.name, True)


def test_a_second_service_of_the_same_person_has_a_name_of_its_own(rows, actor, sold, ana, plan):
    assert sell(rows, actor, KEYRING, ana, Sale(plan), NOW).service.name == "ana.lopez2"


@pytest.mark.parametrize(("begins", "state"), [("pending", "pending"), ("active", "active")])
def test_without_the_workflow_nothing_is_ordered(rows, actor, ana, plan, begins, state):
    sold = sell(rows, actor, KEYRING, ana, Sale(plan, begins=begins), NOW)
    assert (sold.service.state, sold.order) == (state, None)


@pytest.mark.parametrize(
    "change",
    [
        {"plan_id": 10**9},
        {"access_method": "queue"},
        {"begins": "later"},
        {"access_method": "mac", "begins": "active"},
        {"window": (NOW, NOW)},
    ],
)
def test_what_cannot_be_sold_is_not(rows, actor, ana, plan, change):
    with pytest.raises(Invalid):
        sell(rows, actor, KEYRING, ana, replace(Sale(plan), **change), NOW)


def test_an_installation_is_completed_by_its_steps_and_activates_the_service(rows, actor, luis, sold, ana):
    order, service = sold.order, sold.service
    rows.add(SeenDevice(operator_id=actor.operator_id, mac=CPE, nas_id=1, kind="dhcp"))
    rows.flush()
    begin(rows, luis, order, NOW)
    with pytest.raises(StepsMissing) as refused:
        complete(rows, luis, KEYRING, order, URL, NOW)
    assert refused.value.missing == (Missing("device"), Missing("signature"))
    assert service.state == "pending"
    assert bind_device(rows, luis, order, "4C-5E-0C-00-00-77", NOW) == CPE
    sign(rows, luis, order, "Ana López", picture(rows, actor), NOW)
    assert complete(rows, luis, KEYRING, order, URL, NOW, key="phone-9")
    assert not complete(rows, luis, KEYRING, order, URL, NOW, key="phone-9")
    assert (service.state, service.activated_at, order.state) == ("active", NOW, "done")
    assert (order.signed_name, order.signed_at, order.login_given_at) == ("Ana López", NOW, NOW)
    assert rows.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == service.id)).all() == [CPE]
    assert [(device.mac, device.subscriber_id) for device in installed_at(rows, service)] == [(CPE, ana.id)]
    assert rows.scalars(select(SeenDevice).where(SeenDevice.operator_id == actor.operator_id)).all() == []
    login = rows.scalars(select(Notification).where(Notification.kind == "login.first")).all()
    assert [notice.shown_address for notice in login] == ["ana@example.com"]
    assert rows.scalars(select(AuditEntry.action).where(AuditEntry.entity_id == order.id)).all()[-1] == (
        "work_order.complete"
    )


def test_a_service_by_mac_address_gets_the_device_as_its_name(rows, actor, luis, ana, plan):
    sold = sell(rows, actor, KEYRING, ana, Sale(plan, access_method="mac"), NOW)
    assert has_no_device(sold.service)
    with pytest.raises(StepsMissing):  # no reason makes up for a device that is not known
        complete(rows, luis, KEYRING, sold.order, URL, NOW, override_reason="In a hurry")
    bind_device(rows, luis, sold.order, CPE, NOW)
    assert sold.service.name == CPE
    assert not has_no_device(sold.service)


def test_a_device_bound_by_mistake_goes_back_to_the_technician(rows, actor, luis, sold):
    wrong = create_equipment(rows, actor, EquipmentDetails(serial="A1", mac="4c:5e:0c:00:00:01"), NOW)
    bind_device(rows, luis, sold.order, "a1", NOW)
    bind_device(rows, luis, sold.order, CPE, NOW)
    assert (wrong.state, wrong.staff_id) == ("technician", luis.staff_id)
    macs = rows.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == sold.service.id)).all()
    assert macs == [CPE]


def test_a_device_of_somebody_else_is_refused_and_nothing_is_changed(rows, actor, luis, sold, plan):
    add_service(rows, actor.operator_id, plan, CPE, access_method="mac", password=None)
    other = sell(rows, actor, KEYRING, rows.get_one(Subscriber, add_subscriber(rows, actor.operator_id)),
                 Sale(plan, access_method="mac"), NOW)  # fmt: skip
    with pytest.raises(Invalid) as invalid:
        bind_device(rows, luis, other.order, CPE, NOW)
    assert invalid.value.problems[0].field == "device"
    with pytest.raises(Invalid):
        bind_device(rows, luis, sold.order, "no label at all", NOW)
    assert sold.order.device_mac is None


def test_a_missing_step_can_be_passed_over_with_a_reason_that_stays(rows, luis, sold):
    complete(rows, luis, KEYRING, sold.order, URL, NOW, override_reason="Signed on paper")
    assert (sold.order.missing, sold.order.override_reason) == (["device", "signature"], "Signed on paper")
    assert sold.service.state == "active"


def test_what_the_operator_asks_for_is_asked_for(rows, actor, luis, ana, plan):
    wanted = WorkflowTerms(needs_device=False, needs_signature=False, needs_photo=True, needs_link_test=True)
    change_workflow(rows, actor, wanted)
    change_checklist(rows, actor, "installation", "* Cable fixed\nRouter explained\n\n")
    order = sell(rows, actor, KEYRING, ana, Sale(plan), NOW).order
    assert missing_steps(rows, order) == [Missing("checklist", "Cable fixed"), Missing("link_test"), Missing("photo")]
    tick(rows, luis, order, 0, done=True, now=NOW)
    for nowhere in ("nan", "1e30", "91"):
        file = picture(rows, actor, "JPEG")
        with pytest.raises(Invalid):
            add_photo(rows, luis, order, file, "site", NOW, position=(Decimal(nowhere), Decimal(-99)))
    add_photo(rows, luis, order, picture(rows, actor, "JPEG"), "site", NOW, position=(Decimal("19.4"), Decimal(-99)))
    test = CircuitTest(operator_id=actor.operator_id, service_id=order.service_id)
    rows.add(test)
    rows.flush()
    note_link_test(rows, luis, order, test.id, NOW)
    assert missing_steps(rows, order) == [Missing("link_test")]  # it is under way
    test.verdict, test.finished_at = "router", NOW
    assert missing_steps(rows, order) == [Missing("link_test")]
    test.verdict = "none"
    assert missing_steps(rows, order) == []
    tick(rows, luis, order, 0, done=False, now=NOW)
    assert missing_steps(rows, order) == [Missing("checklist", "Cable fixed")]


def test_a_checklist_is_written_as_it_was_typed_and_gone_when_emptied(rows, actor):
    change_checklist(rows, actor, "repair", "*  Cable   fixed\n - ask\n")
    assert checklists(rows, actor.operator_id)["repair"] == [
        {"text": "Cable fixed", "required": True}, {"text": "- ask", "required": False},
    ]  # fmt: skip
    change_checklist(rows, actor, "repair", "")
    assert checklists(rows, actor.operator_id) == {}
    with pytest.raises(Invalid):
        change_checklist(rows, actor, "repair", "x\n" * 41)


def test_where_the_phone_stands_is_where_the_subscriber_is(rows, luis, sold, ana):
    locate(rows, luis, sold.order, Decimal("19.4326077"), Decimal("-99.1332080"), NOW)
    assert (ana.latitude, sold.order.longitude) == (Decimal("19.432608"), Decimal("-99.133208"))
    with pytest.raises(Invalid):
        locate(rows, luis, sold.order, Decimal("NaN"), Decimal(0), NOW)


def test_a_phone_that_comes_back_after_a_day_activates_from_now_on(rows, luis, sold):
    yesterday = NOW - timedelta(days=1)
    complete(rows, luis, KEYRING, sold.order, URL, NOW, override_reason="x", done_at=yesterday)
    assert (sold.order.ended_at, sold.service.activated_at) == (yesterday, NOW)


def test_a_signature_is_a_picture_with_a_name(rows, actor, luis, sold):
    with pytest.raises(Invalid):
        sign(rows, luis, sold.order, " ", picture(rows, actor), NOW)
    with pytest.raises(Invalid):
        sign(rows, luis, sold.order, "Ana", picture(rows, actor, "JPEG"), NOW)
    theirs = Actor(add_operator(rows), "x")
    with pytest.raises(Invalid):
        sign(rows, luis, sold.order, "Ana", picture(rows, theirs), NOW)
    assert sold.order.signed_at is None


def test_what_was_installed_is_recovered_by_an_order(rows, actor, luis, sold, ana):
    bind_device(rows, luis, sold.order, CPE, NOW)
    complete(rows, luis, KEYRING, sold.order, URL, NOW, override_reason="x")
    details = WorkOrderDetails("recovery", service_id=sold.service.id)
    order = create_work_order(rows, actor, details, NOW)
    with pytest.raises(StepsMissing) as refused:
        complete(rows, luis, KEYRING, order, URL, NOW)
    assert refused.value.missing == (Missing("recover"),)
    device = find_equipment(rows, actor.operator_id, CPE)
    recover_device(rows, luis, order, device, "technician", NOW)
    assert (device.state, device.staff_id, device.subscriber_id) == ("technician", luis.staff_id, None)
    assert rows.scalars(select(ServiceMac).where(ServiceMac.service_id == sold.service.id)).all() == []
    assert complete(rows, luis, KEYRING, order, URL, NOW)


def test_an_order_that_is_over_takes_no_more_steps(rows, actor, luis, sold):
    complete(rows, luis, KEYRING, sold.order, URL, NOW, override_reason="x")
    for step in (
        lambda: bind_device(rows, luis, sold.order, CPE, NOW),
        lambda: sign(rows, luis, sold.order, "Ana", picture(rows, actor), NOW),
        lambda: complete(rows, luis, KEYRING, sold.order, URL, NOW),
    ):
        with pytest.raises(WrongOrderState):
            step()
    assert next(event.step for event in events_of(rows, sold.order)) == "complete"


def test_the_box_on_the_record_enables_and_disables(rows, actor, sold):
    set_enabled(rows, actor, sold.service, enabled=True, now=NOW)
    assert (sold.service.state, sold.service.activated_at) == ("active", NOW)
    set_enabled(rows, actor, sold.service, enabled=False, now=NOW)
    assert (sold.service.state, sold.service.suspension_cause) == ("suspended", "staff")
    set_enabled(rows, actor, sold.service, enabled=True, now=NOW)
    assert sold.service.state == "active"
    with pytest.raises(WrongState):
        set_enabled(rows, actor, sold.service, enabled=True, now=NOW)


def test_the_box_lets_in_nobody_who_owes_and_no_unknown_device(rows, actor, ana, plan):
    active = sell(rows, actor, KEYRING, ana, Sale(plan, begins="active"), NOW).service
    suspend(rows, actor, active, "overdue", "", NOW)
    unknown = sell(rows, actor, KEYRING, ana, Sale(plan, access_method="mac", begins="pending"), NOW).service
    for service in (active, unknown):
        with pytest.raises(Invalid):
            set_enabled(rows, actor, service, enabled=True, now=NOW)
    assert (active.state, unknown.state) == ("suspended", "pending")


# Leads.


EVA = LeadDetails("Eva Ruiz", phone="+52 55 1234 5678", source="referral", next_step_on=date(2027, 5, 9))


def test_a_lead_is_won_and_becomes_a_subscriber_once(rows, luis, plan):
    lead = create_lead(rows, luis, replace(EVA, plan_id=plan))
    assert (lead.state, lead.seller_id) == ("new", luis.staff_id)
    move_lead(rows, luis, lead, "quoted", NOW)
    subscriber = win(rows, luis, lead, None, NOW)
    assert (subscriber.name, subscriber.phone, lead.state, lead.subscriber_id) == (
        "Eva Ruiz", "+52 55 1234 5678", "won", subscriber.id,
    )  # fmt: skip
    with pytest.raises(WrongLeadState):
        win(rows, luis, lead, None, NOW)
    with pytest.raises(WrongLeadState):
        move_lead(rows, luis, lead, "lost", NOW, "x")


def test_a_lead_who_is_a_subscriber_already_is_tied_to_them(rows, actor, ana):
    lead = create_lead(rows, actor, EVA)
    assert win(rows, actor, lead, ana, NOW) is ana
    theirs = rows.get_one(Subscriber, add_subscriber(rows, add_operator(rows)))
    with pytest.raises(Invalid):
        win(rows, actor, create_lead(rows, actor, EVA), theirs, NOW)


def test_a_lead_is_lost_for_a_reason_and_taken_up_again(rows, actor):
    lead = create_lead(rows, actor, EVA)
    with pytest.raises(Invalid):
        move_lead(rows, actor, lead, "lost", NOW)
    move_lead(rows, actor, lead, "lost", NOW, "Too dear")
    assert (lead.lost_reason, lead.closed_at) == ("Too dear", NOW)
    move_lead(rows, actor, lead, "contacted", NOW)
    assert (lead.lost_reason, lead.closed_at) == ("", None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, FieldProblem("name", Problem.REQUIRED)),
        ({"phone": None}, FieldProblem("phone", Problem.REQUIRED)),
        ({"phone": "call me"}, FieldProblem("phone", Problem.NOT_A_PHONE)),
        ({"source": "tv"}, FieldProblem("source", Problem.UNKNOWN_CHOICE)),
        ({"plan_id": 10**9}, FieldProblem("plan_id", Problem.UNKNOWN_CHOICE)),
        ({"latitude": Decimal(1)}, FieldProblem("longitude", Problem.BOTH_OR_NEITHER)),
    ],
)
def test_a_lead_that_cannot_be_is_refused(rows, actor, change, problem):
    with pytest.raises(Invalid) as invalid:
        create_lead(rows, actor, replace(EVA, **change))
    assert problem in invalid.value.problems


def test_the_second_of_two_who_change_a_lead_is_told(rows, actor):
    lead = create_lead(rows, actor, EVA)
    seen = lead.version
    change_lead(rows, actor, lead, replace(details_of_lead(lead), next_step="Call"), seen)
    with pytest.raises(ChangedMeanwhile):
        change_lead(rows, actor, lead, EVA, seen)


# Reports.


def test_reports_count_sales_by_seller_and_how_long_installing_took(rows, luis, ana, plan):
    zone = ZoneInfo("America/Mexico_City")
    for number, days in enumerate((1, 2, 9)):
        order = sell(rows, luis, KEYRING, ana, Sale(plan, name=f"ana{number}"), NOW).order
        done = NOW + timedelta(days=days)
        complete(rows, luis, KEYRING, order, URL, done, override_reason="x" if days == 9 else "On paper")
    waiting = sell(rows, luis, KEYRING, ana, Sale(plan, name="ana9"), NOW - timedelta(days=40)).order
    month, earlier = date(2027, 5, 1), date(2027, 3, 1)
    assert sales(rows, luis.operator_id, zone, earlier) == [
        Sales(month, "Luis", sold=3, installed=3, won=0, lost=0),
        Sales(earlier, "Luis", sold=1, installed=0, won=0, lost=0),
    ]
    (found,) = installs(rows, luis.operator_id, zone, earlier)
    assert (found.month, found.technician, found.installed, found.failed, found.overridden) == (month, "Luis", 3, 0, 3)
    assert found.median == timedelta(days=2)
    ages = outstanding(rows, luis.operator_id, NOW)
    assert [age.count for age in ages] == [0, 0, 0, 0, 0, 1]
    assert waiting.state == "open"


def test_billing_begins_with_the_day_on_which_the_installation_is_completed(rows):
    isp = BillingIsp.create(rows, issue_days=0, first_due_days=0)
    luis = add_staff(rows, isp.operator_id, "luis")
    eva = rows.get_one(Subscriber, add_subscriber(rows, isp.operator_id, name="Eva"))
    sold = sell(rows, luis, KEYRING, eva, Sale(isp.plan("300")), noon(date(2027, 3, 10)))
    assert isp.run(date(2027, 3, 17)) == 0
    complete(rows, luis, KEYRING, sold.order, URL, noon(date(2027, 3, 18)), override_reason="On paper")
    assert isp.run(date(2027, 3, 18)) == 1
    (invoice,) = isp.invoices(sold.service)
    assert (invoice.period_last, invoice.total) == (date(2027, 4, 4), Decimal("174.19"))  # 18 of 31 days
