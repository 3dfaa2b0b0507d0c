"""What takes more than reading and entering: money given back, vouchers sold, visits completed, plans weighed."""

import base64
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.vouchers import BatchTerms, create_batch
from crm.work_orders import WorkOrderDetails, create_work_order
from db.audit import Actor
from db.models import (
    ApiAnswer,
    AuditEntry,
    CreditNote,
    RatePlan,
    Service,
    StoredFile,
    VoucherSale,
    WorkOrder,
    WorkSettings,
)
from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, start_billing, today
from tests.portal.conftest import add_service, add_subscriber, make_isp


@pytest.fixture
def books(system, installation):
    """An operator that bills: itself, its ways to pay, a subscriber with an invoice of 300, and the service."""
    isp = make_isp(system, installation)
    methods = start_billing(system, isp)
    subscriber_id, service_id = billed_line(system, installation, isp, "Ana", 0)
    bill(system, isp)
    return isp, methods, subscriber_id, service_id


def money(value):
    return {"value": value, "currency": "MXN"}


# Money.


def test_a_credit_note_lowers_what_is_open_and_is_found_again(program, system, books):
    isp, _methods, subscriber_id, _service_id = books
    erp, invoice = program(of=isp), invoices_of(system, subscriber_id)[0]
    path, given = f"/invoices/{invoice.id}/credit-notes", {"amount": money("20.50"), "reason": "A day of rain"}
    made = erp.post(path, given, Idempotency_Key="note")
    assert (made.status_code, made.json["total"]) == (201, money("20.50"))
    assert erp.get(f"/invoices/{invoice.id}").json["open"] == money("279.50")
    assert erp.get(made.headers["Location"].removeprefix("/api/v1")).json == made.json
    assert erp.get(f"/credit-notes?invoice_id={invoice.id}").json["items"] == [made.json]
    assert erp.get(f"/credit-notes?issued_from={today() + timedelta(days=1)}").json["items"] == []
    too_much = erp.post(path, {**given, "amount": money("900")}, Idempotency_Key="more")
    assert (too_much.status_code, too_much.json["errors"][0]["pointer"]) == (422, "#/amount")
    dollars = {**given, "amount": {"value": "1", "currency": "USD"}}
    refused = erp.post(path, dollars, Idempotency_Key="dollars")
    assert refused.json["errors"][0]["rule"] == "wrong_currency"


def test_an_invoice_is_taken_back_once(program, system, books):
    isp, _methods, subscriber_id, _service_id = books
    erp, invoice = program(of=isp), invoices_of(system, subscriber_id)[0]
    path, given = f"/invoices/{invoice.id}/void", {"reason": "The wrong plan", "bill_again": True}
    made = erp.post(path, given, Idempotency_Key="void")
    assert (made.status_code, Decimal(made.json["total"]["value"])) == (201, invoice.total)
    assert erp.post(path, given, Idempotency_Key="void").json == made.json
    again = erp.post(path, given, Idempotency_Key="again")
    assert (again.status_code, again.json["errors"]) == (
        422, [{"pointer": "#", "rule": "already_done", "detail": again.json["errors"][0]["detail"]}]
    )  # fmt: skip
    with Session(system) as session:
        assert (
            session.scalar(select(func.count()).select_from(CreditNote).where(CreditNote.invoice_id == invoice.id)) == 1
        )
    assert bill(system, isp) == 1


def test_a_refund_is_made_once_for_its_key_and_no_more_than_was_paid(program, system, books):
    isp, methods, subscriber_id, _service_id = books
    erp, payment_id = program(of=isp), pay(system, isp, subscriber_id, methods["Cash"], "100")
    path, given = f"/payments/{payment_id}/refunds", {"amount": money("40"), "reason": "Paid twice"}
    assert erp.post(path, given).json["type"] == "urn:portico:problem:idempotency-key-missing"
    made = erp.post(path, given, Idempotency_Key="back")
    assert (made.status_code, made.json["amount"]) == (201, money("40.00"))
    assert erp.post(path, given, Idempotency_Key="back").headers["Idempotency-Replayed"] == "true"
    over = erp.post(path, {**given, "amount": money("60.01")}, Idempotency_Key="over")
    assert (over.status_code, over.json["errors"][0]["rule"]) == (422, "amount_over")
    assert erp.get(path).json["items"] == [made.json]
    assert erp.get(f"/payments/{payment_id}").json["refunded"] == money("40.00")


def test_the_price_of_a_change_of_plan_is_what_the_change_then_costs_and_asking_changes_nothing(program, system, books):
    isp, _methods, subscriber_id, service_id = books
    erp = program(of=isp)
    with Session(system) as session:
        dearer = RatePlan(operator_id=isp.operator_id, name="Fast", download=50_000_000, upload=9_000_000, price=600)
        session.add(dearer)
        session.commit()
        plan_id = dearer.id
    before = invoices_of(system, subscriber_id)
    offer = erp.get(f"/services/{service_id}/plan-offer?plan_id={plan_id}").json
    assert (offer["now"], offer["then"]) == (money("300.00"), money("600.00"))
    assert Decimal(offer["today"]["value"]) > 0
    assert erp.get(f"/services/{service_id}").json["plan_id"] == isp.plan_id
    assert len(invoices_of(system, subscriber_id)) == len(before)
    unknown = erp.get(f"/services/{service_id}/plan-offer?plan_id={10**12}")
    assert (unknown.status_code, unknown.json["errors"][0]["parameter"]) == (422, "plan_id")
    assert erp.post(f"/services/{service_id}/plan", {"plan_id": plan_id}).json["plan_id"] == plan_id


# Vouchers.


@pytest.fixture
def batch(system, installation, isp):
    with Session(system) as session:
        terms = BatchTerms("Beach", 3, isp.plan_id, lasts=timedelta(hours=24))
        made = create_batch(session, Actor(isp.operator_id, "test"), installation.keyring, terms, utc_now())
        session.commit()
        return made.id


def test_a_voucher_is_sold_once_for_its_key_and_its_code_is_read_by_who_sold_it(program, system, isp, batch):
    kiosk, other = program("vouchers:sell"), program("vouchers:sell", "vouchers:read")
    sold = kiosk.post("/voucher-sales", {"batch_id": batch}, Idempotency_Key="guest-1")
    assert sold.status_code == 201
    assert kiosk.post("/voucher-sales", {"batch_id": batch}, Idempotency_Key="guest-1").json == sold.json
    path = f"/vouchers/{sold.json['voucher_id']}"
    code = kiosk.post(f"{path}/code")
    assert code.status_code == 200
    refused = other.post(f"{path}/code")
    assert (refused.status_code, refused.json["scope"]) == (403, "vouchers:codes")
    found = other.post("/vouchers/find", {"code": code.json["code"]}).json
    assert (found["id"], found["state"]) == (sold.json["voucher_id"], "unused")
    assert program("vouchers:codes").post(f"{path}/code").json == code.json
    with Session(system) as session:
        assert session.scalar(select(func.count()).where(VoucherSale.batch_id == batch)) == 1
        kept = session.scalars(select(ApiAnswer.body).where(ApiAnswer.operator_id == isp.operator_id)).all()
        plain = code.json["code"].replace("-", "")
        assert kept
        assert not any(plain in body.replace("-", "") for body in kept)
        read = select(func.count()).where(
            AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "voucher_batch.reveal"
        )
        assert session.scalar(read) == 2


def test_of_a_batch_that_is_sold_out_nothing_is_sold_and_all_of_it_can_be_activated(program, batch):
    kiosk = program()
    assert kiosk.get(f"/voucher-batches/{batch}").json["states"]["stock"] == 3
    assert kiosk.post(f"/voucher-batches/{batch}/activate").json["states"]["unused"] == 3
    for number in range(3):
        assert kiosk.post("/voucher-sales", {"batch_id": batch}, Idempotency_Key=f"g{number}").status_code == 201
    over = kiosk.post("/voucher-sales", {"batch_id": batch}, Idempotency_Key="g3")
    assert (over.status_code, over.json["errors"][0]["pointer"]) == (422, "#/batch_id")


# Visits.


@pytest.fixture
def visit(system, installation, isp):
    """An installation that waits, with a point to tick off; the order and its service."""
    subscriber_id = add_subscriber(system, isp, "Eva")
    service_id = add_service(system, installation, isp, subscriber_id, "eva", state="pending")
    with Session(system) as session:
        settings = WorkSettings(operator_id=isp.operator_id, needs_device=True, needs_signature=True)
        session.merge(settings)
        details = WorkOrderDetails("installation", subscriber_id=subscriber_id, service_id=service_id)
        order = create_work_order(session, Actor(isp.operator_id, "test"), details, utc_now())
        order.checklist = [{"text": "Earth the mast", "required": True, "done_at": None, "done_by": ""}]
        session.commit()
        return order.id, service_id


def signature():
    octets = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(octets, "PNG")
    return {"name": "Eva Ruiz", "picture": base64.b64encode(octets.getvalue()).decode()}


def test_a_visit_is_completed_in_one_request_with_what_was_done_there(program, system, visit):
    order_id, service_id = visit
    erp, path = program(), f"/work-orders/{order_id}"
    assert erp.post(f"{path}/begin").json["state"] == "in_work"
    early = erp.post(f"{path}/complete", {"ticked": [0]})
    assert (early.status_code, early.json["type"]) == (409, "urn:portico:problem:steps-missing")
    assert [each["rule"] for each in early.json["errors"]] == ["device", "signature"]
    assert erp.get(path).json["checklist"][0]["done_at"] is None  # nothing of a refused request stays
    given = {"ticked": [0], "device": "AA-BB-CC-00-11-22", "signature": signature()}
    done = erp.post(f"{path}/complete", given, Idempotency_Key="visit")
    assert (done.status_code, done.json["state"], done.json["signed_name"]) == (200, "done", "Eva Ruiz")
    assert (done.json["device_mac"], done.json["missing"]) == ("aa:bb:cc:00:11:22", [])
    assert erp.post(f"{path}/complete", given, Idempotency_Key="visit").json == done.json
    assert erp.post(f"{path}/complete", {}).json["type"] == "urn:portico:problem:wrong-state"
    with Session(system) as session:
        service, order = session.get_one(Service, service_id), session.get_one(WorkOrder, order_id)
        assert service.state == "active"
        assert session.get_one(StoredFile, order.signature_id).media_type == "image/png"


def test_each_step_of_a_visit_may_come_by_itself_and_what_is_wrong_says_where(program, visit):
    order_id, _service_id = visit
    erp, path = program(), f"/work-orders/{order_id}"
    assert erp.post(f"{path}/set-out").json["state"] == "on_the_way"
    assert erp.post(f"{path}/checklist", {"place": 0}).json["checklist"][0]["done_by"].startswith("API: ")
    wrong = erp.post(f"{path}/checklist", {"place": 7})
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "#/place")
    wrong = erp.post(f"{path}/device", {"device": "dish"})
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "#/device")
    for nothing in ("!", base64.b64encode(b"GIF89a").decode()):
        wrong = erp.post(f"{path}/signature", {"name": "Eva", "picture": nothing})
        assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "#/picture")
    assert erp.post(f"{path}/signature", signature()).json["signed_at"] is not None
    assert [each["step"] for each in erp.get(path).json["missing"]] == ["device"]
    assert erp.post(f"{path}/fail", {"reason": "No line of sight"}).json["state"] == "failed"
    assert erp.post(f"{path}/open").json["state"] == "open"


def test_steps_are_left_out_only_by_a_token_that_may(program, visit):
    order_id, _service_id = visit
    path, given = f"/work-orders/{order_id}/complete", {"override_reason": "The dish is the neighbour's"}
    refused = program("work_orders:write").post(path, given)
    assert (refused.status_code, refused.json["scope"]) == (403, "work_orders:override")
    done = program("work_orders:write", "work_orders:override").post(path, given)
    assert (done.status_code, done.json["override_reason"]) == (200, given["override_reason"])


# What was used, and why.


def test_explain_says_what_the_page_says_in_the_readers_language(program, system, installation, isp):
    subscriber_id = add_subscriber(system, isp, "Ana")
    service_id = add_service(system, installation, isp, subscriber_id, "ana.why")
    erp = program()
    fine = erp.get("/explain?name=ana.why").json
    assert (fine["service_id"], fine["outcome"], fine["grant"]["rate_download"] > 0) == (service_id, "accept", True)
    assert erp.post(f"/services/{service_id}/suspend", {"cause": "abuse", "detail": "Open relay"}).status_code == 200
    cut = erp.get(f"/services/{service_id}/explain", Accept_Language="es").json
    assert (cut["outcome"], cut["reason"]) == ("garden", "suspended_by_staff")
    assert cut["findings"][-1]["mark"] == "stopped"
    assert "Open relay" in cut["findings"][-1]["text"]
    assert cut["text"] != erp.get(f"/services/{service_id}/explain").json["text"]
    stranger = erp.get("/explain?name=nobody").json
    assert (stranger["service_id"], stranger["reason"]) == (None, "unknown_subscriber")
    assert erp.get("/services/999999999/explain").status_code == 404


def test_usage_of_a_subscriber_is_that_of_each_service(program, system, installation, isp):
    subscriber_id = add_subscriber(system, isp, "Ana")
    ids = [add_service(system, installation, isp, subscriber_id, f"use{number}") for number in range(2)]
    asked = f"/subscribers/{subscriber_id}/usage?first={today()}&last={today()}"
    found = program().get(asked).json
    assert [each["service_id"] for each in found["services"]] == ids
    wrong = program().get(f"/subscribers/{subscriber_id}/usage?first={today()}&last=2020-01-01")
    assert (wrong.status_code, wrong.json["errors"][0]["parameter"]) == (422, "last")
