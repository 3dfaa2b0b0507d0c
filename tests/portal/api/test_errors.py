"""Whatever goes wrong is a problem that a program can tell, and other operators' rows are not there."""

import base64
import io
import re

import pytest
from flask import Flask
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import text

from portal.api.document import document
from portal.api.operations import OPERATIONS
from portal.api.resources import subscribers as api_subscribers
from portal.application import create_app
from tests.portal.api.conftest import Program, make_token
from tests.portal.billing_isp import bill, billed_line, pay, start_billing
from tests.portal.conftest import add_service, add_subscriber, make_isp

SECRETS = ("a-secret-of-radius", "a-word-for-the-api", "a-newer-secret-of-it")


def png():
    octets = io.BytesIO()
    Image.new("RGB", (4, 3), "white").save(octets, "PNG")
    return base64.b64encode(octets.getvalue()).decode()


def is_problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.json["type"] == f"urn:portico:problem:{kind}"
    assert answer.json["status"] == status
    return answer.json


def test_requests_that_cannot_be_taken_say_why(program, app):
    erp = program()
    client = app.test_client()
    signed = {"Authorization": f"Bearer {erp.token}"}
    is_problem(erp.get("/nothing"), 404, "not-found")
    is_problem(client.get("/api/v2/subscribers"), 404, "not-found")
    is_problem(erp.get("/subscribers/99999999999999999999999"), 404, "not-found")
    is_problem(erp.get("/subscribers/999999999"), 404, "not-found")
    answer = erp.ask("PUT", "/subscribers", {})
    is_problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    is_problem(client.post("/api/v1/subscribers", data={"name": "Ana"}, headers=signed), 415, "media-type")
    broken = client.post(
        "/api/v1/subscribers", data=b'{"name": ', headers={**signed, "Content-Type": "application/json"}
    )
    is_problem(broken, 400, "malformed")
    huge = client.post("/api/v1/subscribers", json={"name": "A", "notes": "x" * 300_000}, headers=signed)
    is_problem(huge, 413, "too-large")
    nul = is_problem(erp.post("/subscribers", {"name": "A\0na"}), 422, "invalid")
    assert nul["errors"][0]["pointer"] == "#/name"
    wrong = is_problem(erp.post("/subscribers", {"name": 5, "x/y": 1}), 422, "invalid")
    assert {each["pointer"] for each in wrong["errors"]} == {"#/name", "#/x~1y"}
    spanish = erp.post("/subscribers", {"name": "Ana", "email": "nowhere"}, Accept_Language="es")
    found = is_problem(spanish, 422, "invalid")
    assert found["errors"][0]["rule"] == "not_an_email"
    assert "correo" in found["errors"][0]["detail"]
    assert spanish.headers["Content-Language"] == "es"
    is_problem(erp.ask("PATCH", "/subscribers/999999999", {}, If_Match='"x"'), 404, "not-found")
    is_problem(
        erp.post("/subscribers", {"name": "Ana"}, Idempotency_Key="ñ".encode().decode("latin1")), 400, "malformed"
    )


def test_what_goes_wrong_here_is_a_problem_and_tells_nothing_of_how(program, app, monkeypatch):
    def trip(*_arguments, **_named):
        raise RuntimeError("a secret")

    erp = program()
    monkeypatch.setattr(app, "testing", False)
    monkeypatch.setattr(api_subscribers, "create_subscriber", trip)
    answer = erp.post("/subscribers", {"name": "Ana"}, Idempotency_Key="k")
    is_problem(answer, 500, "error")
    assert "secret" not in answer.text
    monkeypatch.undo()
    again = erp.post("/subscribers", {"name": "Ana"}, Idempotency_Key="k")  # what failed did nothing
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, None)


def test_pages_that_do_not_exist_stay_pages(app):
    answer = app.test_client().get("/nothing")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_a_step_that_the_state_does_not_allow_is_refused_by_name(program, system, installation, isp):
    service = add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana")
    erp = program()
    assert erp.post(f"/services/{service}/suspend", {"cause": "abuse"}).json["suspension_cause"] == "abuse"
    refused = is_problem(erp.post(f"/services/{service}/suspend"), 409, "wrong-state")
    assert refused["state"] == "suspended"
    for step in ("restore", "pause", "resume", "terminate", "reinstate"):
        assert erp.post(f"/services/{service}/{step}").status_code == 200, step
    erp.app.test_client()  # an empty body is enough
    bare = erp.app.test_client().post(
        f"/api/v1/services/{service}/pause", headers={"Authorization": f"Bearer {erp.token}"}
    )
    assert bare.json["state"] == "paused"


def test_money_of_an_operator_that_does_not_bill_is_refused(program, system, isp):
    given = {
        "subscriber_id": add_subscriber(system, isp, "A"),
        "method_id": 1,
        "amount": {"value": "1", "currency": "MXN"},
    }
    is_problem(program().post("/payments", given, Idempotency_Key="1"), 409, "billing-off")


def test_no_password_is_ever_answered(program, system, isp):
    erp = program()
    given = {
        "subscriber_id": add_subscriber(system, isp, "Ana"), "plan_id": isp.plan_id, "access_method": "pppoe",
        "name": "ana", "password": "s3cret-word",
    }  # fmt: skip
    made = erp.post("/services", given, Idempotency_Key="s")
    assert made.status_code == 201, made.text
    service = made.json["id"]
    assert erp.post(f"/services/{service}/password", {"password": "an0ther-word"}).status_code == 204
    nas = erp.post("/nas", {"name": "Mast", "address": "198.51.100.7", "secret": SECRETS[0]}, Idempotency_Key="n")
    router = {"nas_id": nas.json["id"], "api_user": "portico", "api_password": SECRETS[1]}
    entered = erp.post("/routers", router, Idempotency_Key="r")
    assert entered.status_code == 201, entered.text
    assert erp.post(f"/nas/{router['nas_id']}/secret", {"secret": SECRETS[2]}, Idempotency_Key="s2").status_code == 204
    told = made.text + erp.get(f"/services/{service}").text + nas.text + entered.text
    told += erp.get("/nas").text + erp.get("/routers").text
    with system.connect() as connection:
        kept = connection.scalar(text("SELECT string_agg(t::text, '') FROM api_answer t"))
        trail = connection.scalar(text("SELECT string_agg(t::text, '') FROM audit_entry t"))
    for word in ("s3cret-word", "an0ther-word", "testing123", *SECRETS):
        assert word not in told + kept + trail


def test_no_operation_reaches_a_row_of_another_operator(program, system, installation, isp):
    """Walks the document: every address with a number, with numbers of rows that another operator has."""
    theirs = make_isp(system, installation)
    methods = start_billing(system, theirs)
    subscriber, service = billed_line(system, installation, theirs, "Secret Name", 20)
    bill(system, theirs)
    payment = pay(system, theirs, subscriber, methods["Cash"], "10")
    owner = Program(program().app, make_token(system, installation, theirs)[1])
    batch = owner.post(
        "/voucher-batches", {"name": "b", "count": 1, "plan_id": theirs.plan_id, "lasts": 3600}, Idempotency_Key="b"
    )
    known = {
        "subscriber_id": subscriber, "service_id": service, "payment_id": payment, "plan_id": theirs.plan_id,
        "nas_id": theirs.nas_id, "batch_id": batch.json["id"],
        "invoice_id": owner.get("/invoices").json["items"][0]["id"],
        "ticket_id": owner.post("/tickets", {"subject": "s", "text": "t"}).json["id"],
        "order_id": owner.post("/work-orders", {"kind": "repair", "subscriber_id": subscriber}).json["id"],
        "voucher_id": owner.get(f"/voucher-batches/{batch.json['id']}/vouchers").json["items"][0]["id"],
        "session_id": 1,
    }  # fmt: skip
    order, picture = f"/work-orders/{known['order_id']}", png()
    known["photo_id"] = owner.post(f"{order}/photos", {"picture": picture}).json["id"]
    assert owner.post(f"{order}/signature", {"name": "Ana", "picture": picture}).status_code == 200
    known["item_id"] = owner.post(f"/plans/{theirs.plan_id}/items", {"name": "Static address"}).json["id"]
    taken_off = {"amount": {"value": "1", "currency": "MXN"}, "reason": "r"}
    noted = owner.post(f"/invoices/{known['invoice_id']}/credit-notes", taken_off, Idempotency_Key="n")
    known["note_id"] = noted.json["id"]
    start_billing(system, isp)
    foreign = program()
    tried = 0
    for path, methods_of in document()["paths"].items():
        for method, operation in methods_of.items():
            names = re.findall(r"{(\w+_id)}", path)
            if not names:
                continue
            address = re.sub(r"{(\w+)}", lambda found: str(known[found[1]]), path)
            if "usage" in address:
                address += "?first=2027-01-01&last=2027-01-02"
            if "plan-offer" in address:
                address += f"?plan_id={theirs.plan_id}"
            body = _least_body(operation)
            headers = {"Idempotency_Key": f"w{tried}", "If_Match": '"x"'}
            answer = foreign.ask(method.upper(), address, body, **headers)
            assert answer.status_code == 404, (method, path, answer.status_code, answer.text)
            if method == "get" and "session" not in path and "router" not in path:
                assert owner.get(address).status_code == 200, (path, owner.get(address).text)
            tried += 1
    assert tried > 35
    for made in OPERATIONS:
        if made.method == "GET" and "<" not in made.path:
            assert "Secret Name" not in foreign.get(made.path).text, made.path
    given = {"subscriber_id": subscriber, "method_id": methods["Cash"], "amount": {"value": "1", "currency": "MXN"}}
    for path, body in (
        ("/payments", given),
        ("/services", {"subscriber_id": subscriber, "plan_id": theirs.plan_id, "access_method": "line", "name": "x"}),
        ("/tickets", {"subscriber_id": subscriber, "subject": "s", "text": "t"}),
        ("/routers", {"nas_id": theirs.nas_id, "api_user": "u", "api_password": "p"}),
        ("/work-orders", {"kind": "repair", "subscriber_id": subscriber}),
    ):
        is_problem(foreign.post(path, body, Idempotency_Key="x"), 422, "invalid")
    is_problem(foreign.post("/vouchers/find", {"code": "AAAA"}), 404, "not-found")


_WORDS = {
    "reason": "r", "text": "t", "password": "p", "plan_id": 1, "place": 0, "device": "d", "name": "n", "picture": "p",
    "amount": {"value": "1", "currency": "MXN"}, "secret": "0123456789abcdef",
}  # fmt: skip


def _least_body(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = document()["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return {name: _WORDS[name] for name in schema.get("required", ())}


def test_without_redis_requests_go_on(installation, system, isp):
    settings = installation.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    app: Flask = create_app(settings, testing=True)
    erp = Program(app, make_token(system, installation, isp)[1])
    assert erp.get("/subscribers").status_code == 200
    app.extensions["portico"].close()


@pytest.fixture
def narrow_app(installation):
    app = create_app(installation.model_copy(update={"api_requests_per_minute": 3}), testing=True)
    yield app
    app.extensions["portico"].close()


def test_a_token_that_asks_too_often_is_told_when_to_come_back(narrow_app, system, installation, isp):
    first, second = (Program(narrow_app, make_token(system, installation, isp)[1]) for _number in range(2))
    left = [first.get("/subscribers").headers["RateLimit-Remaining"] for _number in range(3)]
    assert left == ["2", "1", "0"]
    refused = first.get("/subscribers")
    is_problem(refused, 429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert second.get("/subscribers").status_code == 200


def test_who_tries_tokens_is_slowed_down(app):
    client = app.test_client()
    statuses = [
        client.get("/api/v1/plans", headers={"Authorization": f"Bearer x{number}"},
                   environ_base={"REMOTE_ADDR": "203.0.113.77"}).status_code
        for number in range(32)
    ]  # fmt: skip
    assert statuses[:30] == [401] * 30
    assert statuses[30:] == [429] * 2
