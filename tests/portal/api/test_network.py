"""NAS, routers, rate plans and photos entered, changed and retired by programs, as the pages do it."""

import base64
import io
from dataclasses import replace
from threading import Thread

import pytest
from PIL import Image
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import AuditEntry, Nas, NasHeard, RatePlan, Router, RouterState, Service
from network.access import PASSWORD_PURPOSE
from portal.api.resources import network
from tests.portal.conftest import add_service, add_subscriber

SECRET = "kT4vW9qLzX2mB7nR"


def tower(isp, **values):
    return {"name": "Torre Norte", "address": f"198.51.100.{isp.operator_id % 250 + 1}", "secret": SECRET, **values}


def trail(system, isp, entity):
    """The audited actions of what programs did to such things."""
    query = select(AuditEntry.action).where(
        AuditEntry.operator_id == isp.operator_id, AuditEntry.entity == entity, AuditEntry.actor.startswith("API: ")
    )
    with Session(system) as session:
        return list(session.scalars(query.order_by(AuditEntry.id)))


def pointers(answer):
    assert answer.status_code == 422, answer.text
    return {each["pointer"] for each in answer.json["errors"]}


# NAS and routers.


@pytest.fixture
def entered(program, isp):
    """A program, and a NAS with a router that it has entered."""
    erp = program()
    made = erp.post("/nas", tower(isp), Idempotency_Key="nas")
    assert made.status_code == 201, made.text
    given = {"nas_id": made.json["id"], "api_user": "portico", "api_password": "Ñandú 1 "}
    router = erp.post("/routers", given)
    assert router.headers["Location"] == f"/api/v1/routers/{made.json['id']}"
    return erp, made.json["id"]


def test_a_nas_is_entered_once_changed_and_deleted(entered, system, installation, isp):
    erp, nas_id = entered
    path = f"/nas/{nas_id}"
    assert erp.post("/nas", tower(isp), Idempotency_Key="nas").json["id"] == nas_id
    assert pointers(erp.post("/nas", tower(isp, name="Other"))) == {"#/address"}
    assert pointers(erp.post("/nas", tower(isp, secret="short"))) == {"#/secret"}
    assert pointers(erp.post("/nas", tower(isp, address="router.lan", coa_address="x"))) == {
        "#/name", "#/address", "#/coa_address",
    }  # fmt: skip
    seen = erp.get(path)
    changed = erp.ask("PATCH", path, {"notes": "Mast 3", "coa_port": 1700}, If_Match=seen.headers["ETag"])
    assert (changed.json["notes"], changed.json["coa_port"], changed.json["coa_window"]) == ("Mast 3", 1700, 32)
    assert erp.ask("PATCH", path, {"notes": ""}, If_Match=seen.headers["ETag"]).status_code == 412
    with Session(system) as session:
        nas = session.get_one(Nas, nas_id)
        assert installation.keyring.open("nas.secret", nas.secret) == SECRET
    assert erp.ask("DELETE", f"{path}?move_to=999999999").status_code == 422
    service = add_service(
        system, installation, isp, add_subscriber(system, isp, "Ana"), f"nas{nas_id}", nas_id=nas_id
    )  # fmt: skip
    assert erp.ask("DELETE", f"{path}?move_to={isp.nas_id}").status_code == 204
    assert erp.get(path).status_code == 404
    assert erp.get(f"/routers/{nas_id}").status_code == 404
    with Session(system) as session:
        assert session.get_one(Service, service).nas_id == isp.nas_id
    assert trail(system, isp, "nas") == ["nas.create", "nas.change", "nas.delete"]
    assert trail(system, isp, "router") == ["router.create", "router.delete"]


def test_what_a_router_does_by_itself_is_no_change_of_it(entered, system, isp):
    erp, nas_id = entered
    router, nas = (erp.get(f"/{name}/{nas_id}").headers["ETag"] for name in ("routers", "nas"))
    with Session(system) as session:
        session.add(RouterState(nas_id=nas_id, operator_id=isp.operator_id, status="online", checked_at=utc_now()))
        session.add(NasHeard(nas_id=nas_id, operator_id=isp.operator_id, last_packet_at=utc_now()))
        session.commit()
    assert erp.get(f"/routers/{nas_id}", If_None_Match=router).json["status"] == "online"  # and not 304
    assert erp.ask("PATCH", f"/routers/{nas_id}", {"watched": False}, If_Match=router).json["watched"] is False
    assert erp.ask("PATCH", f"/routers/{nas_id}", {"watched": True}, If_Match=router).status_code == 412
    assert erp.ask("PATCH", f"/nas/{nas_id}", {"enabled": False}, If_Match=nas).json["enabled"] is False


def test_a_routers_password_goes_nowhere_else_than_it_was_entered_for(entered, system, installation, app):
    erp, nas_id = entered
    router, nas = f"/routers/{nas_id}", f"/nas/{nas_id}"

    def patch(path, given):
        return erp.ask("PATCH", path, given, If_Match=erp.get(path).headers["ETag"])

    assert pointers(patch(router, {"api_address": "203.0.113.9"})) == {"#/api_password"}
    assert pointers(patch(nas, {"address": "203.0.113.9"})) == {"#/address"}
    assert pointers(patch(router, {"api_user": " ", "wan_interface": "sfp1"})) == {"#/api_user"}
    shared = app.extensions["portico"]
    app.extensions["portico"] = replace(shared, settings=shared.settings.model_copy(update={"local_routers": False}))
    given = {"api_address": "127.0.0.1", "api_password": "x"}
    assert pointers(patch(router, given)) == {"#/api_address"}
    app.extensions["portico"] = shared
    moved = patch(router, {"api_address": "203.0.113.9", "api_password": "another"})
    assert moved.json["api_address"] == "203.0.113.9"
    with Session(system) as session:
        kept = session.get_one(Router, nas_id).api_password
        assert installation.keyring.open(PASSWORD_PURPOSE, kept) == "another"
    again = {"nas_id": nas_id, "api_user": "p", "api_password": "p"}
    assert pointers(erp.post("/routers", again)) == {"#/nas_id"}
    assert pointers(erp.post("/routers", {**again, "nas_id": 10**12})) == {"#/nas_id"}
    assert erp.ask("DELETE", router).status_code == 204
    assert erp.get(nas).json["has_router"] is False


def test_a_nas_that_changes_after_the_comparison_is_not_overwritten(entered, system, monkeypatch):
    erp, nas_id = entered
    path, hold = f"/nas/{nas_id}", network.held

    def overtaken(nas):
        def other():
            with Session(system) as session:
                session.execute(update(Nas).where(Nas.id == nas_id).values(notes="first"))
                session.commit()

        thread = Thread(target=other)
        thread.start()
        thread.join()
        return hold(nas)

    monkeypatch.setattr(network, "held", overtaken)
    late = erp.ask("PATCH", path, {"notes": "second"}, If_Match=erp.get(path).headers["ETag"])
    assert (late.status_code, late.json["type"]) == (412, "urn:portico:problem:changed-meanwhile")
    assert erp.get(path).json["notes"] == "first"


def test_secrets_are_set_by_a_scope_of_their_own(entered, program, system, installation):
    _erp, nas_id = entered
    given = {"secret": "another-secret-of-it"}
    refused = program("network:read", "network:write").post(f"/nas/{nas_id}/secret", given)
    assert (refused.status_code, refused.json["scope"]) == (403, "network:secrets")
    assert program("network:secrets").post(f"/nas/{nas_id}/secret", given).status_code == 204
    with Session(system) as session:
        kept = session.get_one(Nas, nas_id).secret
        assert installation.keyring.open("nas.secret", kept) == given["secret"]


# Rate plans.

WHOLE = {
    "burst": {
        "download": 80_000_000, "upload": 20_000_000, "threshold_download": 40_000_000,
        "threshold_upload": 8_000_000, "seconds": 16,
    },
    "priority": 5, "minimum_download": 10_000_000, "minimum_upload": 2_000_000,
    "cap_octets": 10**12, "cap_action": "throttle", "throttle_download": 2_000_000, "throttle_upload": 1_000_000,
    "windows": [{"days": [1, 2], "begin": "22:00", "until": "06:00", "download": 90_000_000, "upload": 9_000_000}],
    "steps": [{"span": "day", "octets": 10**10, "download": 20_000_000, "upload": 5_000_000}],
    "bonus_hours": [{"days": [7], "begin": 0, "until": 6, "percent": 50}],
    "rollover_periods": 1, "rollover_most": 10**11, "top_up_octets": 10**10,
    "top_up_price": {"value": "50.00", "currency": "MXN"}, "top_ups_automatic": 2, "boost_download": 100_000_000,
    "boost_upload": 30_000_000, "boost_hours": 24, "boost_price": {"value": "20.00", "currency": "MXN"},
    "pool": "home", "ipv6_pool": None, "delegated_ipv6_pool": "pd", "address_list": None, "session_timeout": 86_400,
    "idle_timeout": None, "interim_interval": 600, "extra": [{"name": "Filter-Id", "operator": "=", "value": "home"}],
}  # fmt: skip
PLAN = {
    "name": "Home 50", "price": {"value": "350.00", "currency": "MXN"}, "download": 50_000_000, "upload": 10_000_000,
}  # fmt: skip


def test_all_of_a_plan_goes_in_and_comes_out_again(program, system, isp):
    erp = program("plans:read", "plans:write")
    made = erp.post("/plans", {**PLAN, **WHOLE})
    assert made.status_code == 201, made.text
    path = made.headers["Location"].removeprefix("/api/v1")
    assert {name: made.json[name] for name in (*PLAN, *WHOLE)} == {**PLAN, **WHOLE}
    seen = erp.get(path)
    assert seen.json == made.json
    changed = erp.ask("PATCH", path, {"download": 60_000_000, "steps": []}, If_Match=seen.headers["ETag"])
    assert {**seen.json, "download": 60_000_000, "steps": []} == changed.json
    assert erp.ask("PATCH", path, {"upload": 1}, If_Match=seen.headers["ETag"]).status_code == 412
    assert erp.post(f"{path}/archive").json["archived"] is True
    assert erp.post(f"{path}/archive").status_code == 200
    assert erp.post(f"{path}/restore").json["archived"] is False
    assert trail(system, isp, "plan") == ["plan.create", "plan.change", "plan.archive", "plan.restore"]
    refused = program("plans:read").post("/plans", PLAN)
    assert (refused.status_code, refused.json["scope"]) == (403, "plans:write")


def test_what_is_wrong_with_a_plan_is_said_where_it_stands(program, isp):
    erp = program()
    dear = {"value": "99999999999", "currency": "MXN"}
    wrong = {
        "burst": {**WHOLE["burst"], "threshold_upload": 1}, "cap_action": "block",
        "steps": [{**WHOLE["steps"][0], "download": 60_000_000}], "boost_hours": 3, "top_up_octets": 10**9,
        "top_up_price": dear, "extra": [{"name": "User-Password", "value": "x"}],
    }  # fmt: skip
    assert pointers(erp.post("/plans", {**PLAN, "price": dear, **wrong})) == {
        "#/price", "#/burst/threshold_upload", "#/cap_octets", "#/steps/0/download", "#/boost_download",
        "#/boost_upload", "#/boost_price", "#/top_up_price", "#/extra",
    }  # fmt: skip
    for price in ({"value": "1.005", "currency": "MXN"}, {"value": "1", "currency": "USD"}):
        assert pointers(erp.post("/plans", {**PLAN, "price": price})) == {"#/price"}
    assert pointers(erp.post("/plans", {**PLAN, "windows": [{**WHOLE["windows"][0], "begin": "24:00"}]})) == {
        "#/windows/0/begin"
    }


def test_what_is_sold_with_a_plan_is_added_and_taken_out(program, system, isp):
    erp, path = program(), f"/plans/{isp.plan_id}"
    price = {"value": "40.00", "currency": "MXN"}
    made = erp.post(f"{path}/items", {"name": "Router", "price": price})
    assert (made.status_code, made.json["price"], made.json["once"]) == (201, price, False)
    assert pointers(erp.post(f"{path}/items", {"name": "router"})) == {"#/name"}
    assert erp.get(path).json["items"] == [made.json]
    other = erp.post("/plans", PLAN).json["id"]
    assert erp.ask("DELETE", f"/plans/{other}/items/{made.json['id']}").status_code == 404
    assert erp.ask("DELETE", f"{path}/items/{made.json['id']}").status_code == 204
    assert erp.ask("DELETE", f"{path}/items/{made.json['id']}").status_code == 404
    assert erp.get(path).json["items"] == []


def test_a_plan_that_the_page_changes_meanwhile_is_not_overwritten(program, system, isp):
    erp, path = program(), f"/plans/{isp.plan_id}"
    seen = erp.get(path).headers["ETag"]
    with Session(system) as session:
        session.execute(update(RatePlan).where(RatePlan.id == isp.plan_id).values(pool="other"))
        session.commit()
    assert erp.ask("PATCH", path, {"pool": "mine"}, If_Match=seen).status_code == 412


# Photos.


def picture(side, kind="JPEG"):
    octets = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(octets, kind, quality=95)
    return octets.getvalue()


def test_photos_of_a_visit_are_sent_and_read(program, system, isp):
    erp, visit = program(), {"kind": "repair", "subscriber_id": add_subscriber(system, isp, "Ana")}
    path = f"/work-orders/{erp.post('/work-orders', visit).json['id']}"
    assert erp.get(f"{path}/photos").json == {"items": []}
    large = picture(1000)
    assert len(large) > 300_000  # more than any other operation takes
    given = {"picture": base64.b64encode(large).decode(), "subject": "device", "caption": "Dish", "latitude": 19.4}
    assert pointers(erp.post(f"{path}/photos", given)) == {"#/longitude"}
    made = erp.post(f"{path}/photos", {**given, "longitude": -99.1}, Idempotency_Key="photo")
    assert (made.status_code, made.json["subject"], made.json["longitude"]) == (201, "device", -99.1)
    assert erp.post(f"{path}/photos", {**given, "longitude": -99.1}, Idempotency_Key="photo").json == made.json
    assert erp.get(f"{path}/photos").json == {"items": [made.json]}
    read = erp.get(f"{path}/photos/{made.json['id']}")
    assert (read.mimetype, len(read.data)) == ("image/jpeg", made.json["size"])
    assert Image.open(io.BytesIO(read.data)).size == (1000, 1000)
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    for nothing in ("!", base64.b64encode(b"%PDF-1.7").decode()):
        assert pointers(erp.post(f"{path}/photos", {"picture": nothing})) == {"#/picture"}
    too_much = erp.post(f"{path}/photos", {"picture": "A" * 14_000_000})
    assert (too_much.status_code, too_much.json["type"]) == (413, "urn:portico:problem:too-large")
    other = f"/work-orders/{erp.post('/work-orders', visit).json['id']}"
    assert erp.get(f"{other}/photos/{made.json['id']}").status_code == 404
    assert erp.get(f"{path}/signature").status_code == 404
    signed = {"name": "Eva", "picture": base64.b64encode(picture(30, "PNG")).decode()}
    assert erp.post(f"{path}/signature", signed).status_code == 200
    assert erp.get(f"{path}/signature").mimetype == "image/png"
    reader = program("work_orders:read")
    assert reader.get(f"{path}/photos/{made.json['id']}").status_code == 200
    assert reader.post(f"{path}/photos", given).json["scope"] == "work_orders:write"
