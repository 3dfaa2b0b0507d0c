"""NAS, sessions, access requests, orders, address lookup and the audit log, as staff see them."""

from datetime import timedelta
from ipaddress import ip_address
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from aaa.decision import Terms
from aaa.documents import terms_document, terms_from_document
from core.clock import utc_now
from core.rates import RateLimit
from db.models import (
    AccountingSession,
    AuditEntry,
    EnforcementAttempt,
    EnforcementOrder,
    Nas,
    SeenDevice,
    Service,
    TermsRecord,
)
from radius.terms import terms_id
from tests.portal.conftest import add_service, add_subscriber, make_isp, post
from tests.rows import add_auth_event, add_session

GRANTED = Terms(rate=RateLimit(20_000_000, 5_000_000), address_list="portico-active")
MEXICO = ZoneInfo("America/Mexico_City")


@pytest.fixture
def live(system, isp, installation):
    """A live session of Ana, with the terms it was granted; its id."""
    service_id = add_service(system, installation, isp, add_subscriber(system, isp, "Ana Núñez"), "ana.nunez")
    with Session(system) as session:
        session.add(TermsRecord(operator_id=isp.operator_id, id=terms_id(GRANTED), content=terms_document(GRANTED)))
        made = add_session(
            session,
            isp.operator_id,
            service_id,
            "81c00001",
            nas_id=isp.nas_id,
            user_name="ana.nunez",
            mac="4c:5e:0c:12:34:56",
            framed_ip=ip_address("10.64.0.9"),
            delegated_ipv6_prefix="2001:db8:70:100::/56",
            terms_id=terms_id(GRANTED),
            octets_out=5_000_000_000,
        )
        session.commit()
        return made.id


def rows_of(system, model, isp):
    with Session(system) as session:
        return session.scalars(select(model).where(model.operator_id == isp.operator_id).order_by(model.id)).all()


def actions(system, isp):
    return [entry.action for entry in rows_of(system, AuditEntry, isp) if entry.action != "staff.sign_in"]


# NAS


def test_a_new_nas_shows_its_secret_once_with_commands_for_the_router(sign_in, isp, system, installation):
    browser = sign_in("technical")
    form = {
        "name": "Torre Sur",
        "address": f"10.98.{isp.operator_id}.1",
        "coa_port": 3799,
        "coa_window": 32,
        "enabled": "y",
        "coa_session_id": "y",
    }
    created = post(browser, "/nas/new", **form)
    nas = rows_of(system, Nas, isp)[-1]
    secret = installation.keyring.open("nas.secret", nas.secret)
    assert created.status_code == 200
    assert secret in created.text
    assert f"src-address={nas.address}" in created.text
    later = browser.get(f"/nas/{nas.id}")
    assert secret not in later.text
    assert "SECRET" in later.text
    assert secret not in created.headers.get("Set-Cookie", "")


def test_a_secret_is_shown_to_who_may_see_it_and_that_is_written_down(sign_in, isp, system):
    assert post(sign_in("support"), f"/nas/{isp.nas_id}/secret").status_code == 403
    assert "testing123" in post(sign_in("technical"), f"/nas/{isp.nas_id}/secret").text
    assert actions(system, isp) == ["nas.reveal_secret"]


def test_an_address_of_another_operators_nas_is_refused_without_saying_whose(sign_in, isp, system, installation):
    other = make_isp(system, installation)
    with Session(system) as session:
        taken = session.get(Nas, other.nas_id)
        address, name = str(taken.address), taken.name
    form = {"name": "Mine", "address": address, "coa_port": 3799, "coa_window": 32}
    answer = post(sign_in("technical"), "/nas/new", **form)
    assert answer.status_code == 422
    assert "This is in use already" in answer.text
    assert f">{name}<" not in answer.text.split('id="content"')[1]


def test_deleting_a_nas_asks_what_becomes_of_its_services(sign_in, isp, system, live):
    with Session(system) as session:
        session.execute(
            Service.__table__.update().values(nas_id=isp.nas_id).where(Service.operator_id == isp.operator_id)
        )
        session.commit()
    browser = sign_in("technical")
    question = browser.get(f"/nas/{isp.nas_id}/delete").text
    assert "1 live session is closed here" in question
    assert "1 service is tied to this router" in question
    assert post(browser, f"/nas/{isp.nas_id}/delete", move_to="").status_code == 302
    assert rows_of(system, Nas, isp) == []
    (service,) = rows_of(system, Service, isp)
    assert service.nas_id is None


@pytest.mark.parametrize("step", ["secret", "new-secret", "edit", "delete"])
def test_a_nas_of_another_operator_does_not_exist_here(sign_in, system, installation, step):
    other = make_isp(system, installation)
    browser = sign_in("manager")
    assert browser.get(f"/nas/{other.nas_id}").status_code == 404
    assert post(browser, f"/nas/{other.nas_id}/{step}").status_code == 404
    assert len(rows_of(system, Nas, other)) == 1


# Sessions


@pytest.mark.parametrize("typed", ["ana", "NÚÑEZ", "ana.nunez", "4C-5E-0C-12-34-56", "10.64.0.9", "2001:db8:70:1ff::5"])
def test_a_live_session_is_found_by_what_people_know(sign_in, live, typed):
    found = sign_in("support").get("/sessions/", query_string={"q": typed}).text
    assert f"/sessions/{live}" in found
    assert "Ana Núñez" in found


@pytest.mark.parametrize("typed", ["eva", "10.64.0.8", "4c:5e:0c:12:34:57", "2001:db8:71::1", "' OR 1=1 --", "%"])
def test_what_does_not_match_finds_no_session(sign_in, live, typed):
    assert f"/sessions/{live}" not in sign_in("support").get("/sessions/", query_string={"q": typed}).text


def test_a_disconnect_is_an_order_in_the_name_of_who_asked(sign_in, isp, system, live):
    browser = sign_in("support")
    assert post(browser, f"/sessions/{live}/disconnect").status_code == 302
    (order,) = rows_of(system, EnforcementOrder, isp)
    assert (order.kind, order.cause, order.terms_id, order.state) == ("disconnect", "staff", None, "pending")
    assert order.requested_by == isp.staff["support"]
    assert actions(system, isp) == ["session.disconnect"]
    assert "Disconnect" in browser.get(f"/sessions/{live}/now").text


def test_a_new_rate_keeps_the_other_terms_and_takes_the_place_of_an_open_order(sign_in, isp, system, live):
    browser = sign_in("support")
    post(browser, f"/sessions/{live}/disconnect")
    assert post(browser, f"/sessions/{live}/rate", download=["7", "M"], upload=["512", "k"]).status_code == 302
    first, second = rows_of(system, EnforcementOrder, isp)
    assert (first.state, second.kind, second.state) == ("superseded", "coa", "pending")
    with Session(system) as session:
        wanted = session.get(TermsRecord, (isp.operator_id, second.terms_id))
        assert terms_from_document(wanted.content) == Terms(
            rate=RateLimit(7_000_000, 512_000), address_list="portico-active"
        )


def test_the_answer_of_the_router_appears_in_words(sign_in, isp, system, live):
    browser = sign_in("support")
    post(browser, f"/sessions/{live}/disconnect")
    with Session(system) as session:
        order = session.scalars(select(EnforcementOrder).where(EnforcementOrder.session_id == live)).one()
        order.state, order.outcome, order.error_cause = "failed", "nak", 503
        session.add(
            EnforcementAttempt(
                operator_id=isp.operator_id,
                order_id=order.id,
                kind="disconnect",
                result="nak",
                error_cause=503,
                milliseconds=12,
            )
        )
        session.commit()
    shown = browser.get(f"/sessions/{live}/now").text
    assert "The router refused it: The router knows no such session (503)" in shown
    assert "12 ms" in shown
    assert "The router knows no such session (503)" in browser.get("/orders/").text


def test_an_ended_session_is_not_disconnected(sign_in, isp, system, live):
    with Session(system) as session:
        session.execute(AccountingSession.__table__.update().values(ended_at=utc_now()))
        session.commit()
    browser = sign_in("support")
    post(browser, f"/sessions/{live}/disconnect")
    assert rows_of(system, EnforcementOrder, isp) == []
    assert "has ended by now" in browser.get(f"/sessions/{live}").text


def test_a_zombie_is_closed_and_leaves_the_list(sign_in, isp, system, live):
    browser = sign_in("technical")
    post(browser, f"/sessions/{live}/close")
    assert f"/sessions/{live}" not in browser.get("/sessions/").text
    assert "Closed by staff" in browser.get("/sessions/history").text
    assert actions(system, isp) == ["session.close"]


def test_who_may_only_look_gets_no_buttons_and_no_way_around_them(sign_in, live):
    browser = sign_in("sales")
    assert "/disconnect" not in browser.get(f"/sessions/{live}").text
    for step in ("disconnect", "rate", "close"):
        assert post(browser, f"/sessions/{live}/{step}").status_code == 403


def test_a_session_of_another_operator_does_not_exist_here(sign_in, isp, system, installation, live):
    other = make_isp(system, installation)
    browser = sign_in("manager", of=other)
    assert browser.get(f"/sessions/{live}").status_code == 404
    assert post(browser, f"/sessions/{live}/disconnect").status_code == 404
    assert f"/sessions/{live}" not in browser.get("/sessions/").text


# Access requests and unknown devices


def test_requests_are_filtered_by_outcome_reason_and_name(sign_in, isp, system):
    with Session(system) as session:
        add_auth_event(
            session,
            isp.operator_id,
            None,
            nas_id=isp.nas_id,
            user_name="eva",
            outcome="reject",
            reason="session_limit",
            detail={"limit": "1", "nas": "tower-1"},
        )
        add_auth_event(session, isp.operator_id, None, nas_id=isp.nas_id, user_name="leo")
        session.commit()
    browser = sign_in("support")
    rejected = browser.get("/access-requests/?outcome=reject").text
    assert "Session limit 1 reached: already connected on tower-1" in rejected
    assert "?name=leo" not in rejected
    assert "?name=eva" not in browser.get("/access-requests/?reason=wrong_password").text
    assert "?name=leo" in browser.get("/access-requests/?q=leo").text
    assert "?name=eva" in browser.get(f"/access-requests/?nas={isp.nas_id}&since=1h").text


def test_a_name_from_the_air_is_shown_as_text(sign_in, isp, system):
    with Session(system) as session:
        add_auth_event(
            session,
            isp.operator_id,
            None,
            nas_id=isp.nas_id,
            user_name="<script>alert(1)</script>",
            outcome="reject",
            reason="unknown_subscriber",
        )
        session.commit()
    page = sign_in("support").get("/access-requests/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_an_unknown_device_is_registered_by_picking_its_owner(sign_in, isp, system):
    with Session(system) as session:
        session.add(SeenDevice(operator_id=isp.operator_id, mac="4c:5e:0c:77:00:01", nas_id=isp.nas_id, kind="dhcp"))
        session.commit()
    owner = add_subscriber(system, isp, "Rancho San Isidro")
    browser = sign_in("technical")
    assert "4c:5e:0c:77:00:01" in browser.get("/access-requests/unknown-devices?q=77-00").text
    found = browser.get("/access-requests/unknown-devices/4c:5e:0c:77:00:01/register?q=isidro").text
    assert f"/services/new/{owner}?mac=4c:5e:0c:77:00:01" in found
    post(browser, "/access-requests/unknown-devices/4c:5e:0c:77:00:01/forget")
    assert "4c:5e:0c:77:00:01" not in browser.get("/access-requests/unknown-devices").text.split('id="rows"')[1]


# Explain


def test_explain_offers_the_button_that_changes_the_finding_to_who_may_press_it(sign_in, isp, system, installation):
    service_id = add_service(
        system,
        installation,
        isp,
        add_subscriber(system, isp, "Ana"),
        "ana",
        state="suspended",
        suspended_at=utc_now(),
        suspension_cause="overdue",
        suspension_detail="invoice 1041",
    )
    manager = sign_in("manager").get("/explain/?name=ana").text
    assert "Would be let into the walled garden only" in manager
    assert "payment overdue (invoice 1041)" in manager
    assert f'action="/services/{service_id}/restore"' in manager
    assert f'href="/services/{service_id}/paid-until"' in manager
    sales = sign_in("sales").get("/explain/?name=ana").text
    assert "payment overdue" in sales
    assert "/restore" not in sales
    assert "Registered: Ana" in sign_in("support").get(f"/explain/service/{service_id}").text


def test_explain_of_a_name_that_is_nearly_right_says_which_there_are(sign_in, isp, system, installation):
    add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana.nunez")
    page = sign_in("support").get("/explain/?name=ANA.nunez").text
    assert "Nobody is registered under this user name" in page
    assert "/explain/?name=ana.nunez" in page


def test_explain_speaks_spanish(sign_in, isp, system, installation):
    add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana")
    browser = sign_in("support")
    post(browser, "/language", language="es", next="/")
    assert "Registrado: Ana" in browser.get("/explain/?name=ana").text


# Address lookup


def look_up(browser, address, at):
    return post(
        browser, "/addresses/", address=address, at=at.astimezone(MEXICO).strftime("%Y-%m-%dT%H:%M:%S"), reason="file 7"
    )


@pytest.mark.parametrize("asked", ["10.64.0.9", "2001:db8:70:1ff::5", "2001:db8:70:100::/56", "2001:db8:70:180::/60"])
def test_who_had_an_address_at_a_time_in_the_operators_zone(sign_in, live, asked):
    page = look_up(sign_in("manager"), asked, utc_now() - timedelta(minutes=30)).text
    assert "Who had" in page
    assert "Ana Núñez" in page


def test_nobody_had_it_before_the_session_began_and_the_first_after_is_shown(sign_in, live):
    page = look_up(sign_in("manager"), "10.64.0.9", utc_now() - timedelta(hours=3)).text
    assert "Nobody had" in page
    assert "The first after" in page
    assert "Ana Núñez" in page


@pytest.mark.parametrize("asked", ["10.64.0.10", "2001:db8:70:200::1", "2001:db8::/32"])
def test_an_address_that_nobody_had_finds_nobody(sign_in, live, asked):
    page = look_up(sign_in("manager"), asked, utc_now()).text
    assert "Nobody had" in page
    assert "Ana Núñez" not in page


def test_a_lookup_is_written_down_and_not_for_everybody(sign_in, isp, system, live):
    look_up(sign_in("manager"), "10.64.0.9", utc_now())
    (entry,) = [entry for entry in rows_of(system, AuditEntry, isp) if entry.action == "address.lookup"]
    assert (entry.after["asked"], entry.after["reason"]) == ("10.64.0.9", "file 7")
    assert sign_in("technical").get("/addresses/").status_code == 403
    assert entry.after["found"] == [
        {"subscriber": entry.after["found"][0]["subscriber"], "session": live, "certainty": "certain"}
    ]


@pytest.mark.parametrize(
    ("address", "at"), [("everywhere", "2026-01-01T00:00"), ("10.0.0.0/8", "2026-01-01T00:00"), ("10.0.0.1", "noon")]
)
def test_a_lookup_that_cannot_be_read_says_so_and_asks_nothing(sign_in, isp, system, address, at):
    answer = post(sign_in("manager"), "/addresses/", address=address, at=at, reason="file 7")
    assert answer.status_code == 422
    assert actions(system, isp) == []


# Audit


def test_the_audit_log_shows_before_and_after_and_its_chain_is_whole(sign_in, isp):
    browser = sign_in("manager")
    post(browser, f"/plans/{isp.plan_id}/archive")
    page = browser.get("/audit/?entity=plan").text
    assert "Rate plan archived" in page
    assert isp.staff["manager"] in page
    assert "Signed in" not in page.split("<tbody>")[1]
    assert "entries is whole" in browser.get("/audit/chain").text
    assert sign_in("technical").get("/audit/").status_code == 403


def test_lists_are_exported_whole(sign_in, isp, live):
    browser = sign_in("manager")
    for url in (
        "/sessions/",
        "/nas/",
        "/plans/",
        "/audit/",
        "/orders/",
        "/access-requests/",
        "/access-requests/unknown-devices",
    ):
        for kind in ("csv", "xlsx"):
            answer = browser.get(url, query_string={"format": kind})
            assert answer.status_code == 200, url
            assert answer.data
    exported = browser.get("/sessions/?format=csv").text
    assert "ana.nunez" in exported
    assert "Ana Núñez" in exported
    assert "4c:5e:0c:12:34:56" in exported
