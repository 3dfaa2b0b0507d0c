"""A program enters a subscriber, changes it, and registers a payment, as the pages would."""

import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry, Payment
from tests.portal.billing_isp import bill, billed_line, cut_off, service_of, start_billing


def test_a_subscriber_is_entered_read_changed_and_removed(program):
    erp = program()
    made = erp.post(
        "/subscribers", {"name": "Ana  Gómez", "email": "ana@example.com", "latitude": 19.43, "longitude": -99.1}
    )
    assert made.status_code == 201, made.text
    assert made.json["name"] == "Ana Gómez"
    at = made.headers["Location"].removeprefix("/api/v1")
    read = erp.get(at)
    assert read.json == made.json
    assert erp.get(at, If_None_Match=read.headers["ETag"]).status_code == 304
    assert erp.ask("PATCH", at, {"phone": "+52 55 1234 5678"}).status_code == 428
    changed = erp.ask("PATCH", at, {"phone": "+52 55 1234 5678"}, If_Match=read.headers["ETag"])
    assert (changed.status_code, changed.json["phone"]) == (200, "+52 55 1234 5678"), changed.text
    assert changed.json["email"] == "ana@example.com"
    assert erp.ask("PATCH", at, {"phone": None}, If_Match=read.headers["ETag"]).status_code == 412
    assert erp.ask("PATCH", at, {"phone": None}, If_Match=changed.headers["ETag"]).json["phone"] is None
    assert erp.ask("DELETE", at).status_code == 204
    assert erp.get(at).status_code == 404


def test_a_payment_pays_the_invoice_restores_the_service_and_is_voided(program, isp, system, installation):
    methods = start_billing(system, isp)
    subscriber_id, service_id = billed_line(system, installation, isp, "Luis", 10)
    bill(system, isp)
    cut_off(system, isp, service_id)
    erp = program()
    assert erp.get(f"/subscribers/{subscriber_id}/balance").json["balance"] == {"value": "300.00", "currency": "MXN"}
    given = {
        "subscriber_id": subscriber_id,
        "method_id": methods["Transfer"],
        "amount": {"value": "300.00", "currency": "MXN"},
        "reference": "SPEI 4711",
    }
    assert erp.post("/payments", given).json["type"] == "urn:portico:problem:idempotency-key-missing"
    paid = erp.post("/payments", given, Idempotency_Key="order-1")
    assert paid.status_code == 201, paid.text
    assert paid.json["paid"][0]["whole"] is True
    assert paid.json["services"][0]["restored"] is True
    assert service_of(system, service_id).state == "active"
    again = erp.post("/payments", given, Idempotency_Key="order-1")
    assert (again.status_code, again.json) == (201, paid.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    with Session(system) as session:
        payment = session.scalars(select(Payment).where(Payment.subscriber_id == subscriber_id)).one()
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.entity_id == payment.id, AuditEntry.action == "payment.register")
        ).one()
    assert entry.actor.startswith("API: ERP (portico_")
    voided = erp.post(f"/payments/{paid.json['id']}/void", {"reason": "Recalled"}, Idempotency_Key="void-1")
    assert voided.json["state"] == "voided", voided.text
    assert erp.get(f"/subscribers/{subscriber_id}/balance").json["balance"]["value"] == "300.00"
    assert json.loads(erp.post(f"/payments/{paid.json['id']}/void", {"reason": "Again"}).text)["errors"][0] == {
        "pointer": "#",
        "rule": "already_done",
        "detail": "This was done already.",
    }
