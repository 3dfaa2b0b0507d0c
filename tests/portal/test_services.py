import re
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.crypto import Keyring
from db.models import AuditEntry, ChangeLog, RatePlan, Service
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def ana(system, isp) -> int:
    return add_subscriber(system, isp, "Ana")


@pytest.fixture
def line(system, installation, isp, ana) -> int:
    return add_service(system, installation, isp, ana, "ana")


def stored(system, number: int) -> Service:
    with Session(system) as session:
        return session.get_one(Service, number)


def actions(system, number: int) -> list[str]:
    with Session(system) as session:
        query = select(AuditEntry.action).where(AuditEntry.entity == "service", AuditEntry.entity_id == number)
        return list(session.scalars(query.order_by(AuditEntry.id)))


NEW = {
    "access_method": "pppoe", "name": "Ana@Valle", "password": "s3cret pass", "state": "active", "paid_until": "",
    "management": "automatic", "nas_id": "", "mac_binding": "any", "session_limit": "1", "max_macs": "1",
}  # fmt: skip


def test_a_service_is_entered_with_its_password_sealed(sign_in, isp, system, ana, installation):
    answer = post(sign_in("technical"), f"/services/new/{ana}", plan_id=isp.plan_id, **NEW)
    assert answer.status_code == 302, answer.text
    with Session(system) as session:
        service = session.scalars(select(Service).where(Service.subscriber_id == ana)).one()
        entry = session.scalars(select(AuditEntry).where(AuditEntry.entity_id == service.id)).all()[-1]
        change = session.scalars(select(ChangeLog).where(ChangeLog.kind == "service")).all()[-1]
    assert (service.name, service.state) == ("Ana@Valle", "active")
    assert installation.keyring.open("service.password", service.password) == "s3cret pass"
    assert "s3cret pass" not in str(entry.after)
    assert change.ids == [service.id]  # what publisher and worker follow


def test_a_mac_address_is_taken_in_any_spelling(sign_in, isp, system, ana):
    typed = {**NEW, "access_method": "mac", "name": "4C-5E-0C-12-34-56", "password": ""}
    assert post(sign_in("technical"), f"/services/new/{ana}", plan_id=isp.plan_id, **typed).status_code == 302
    with Session(system) as session:
        assert session.scalars(select(Service.name).where(Service.subscriber_id == ana)).one() == "4c:5e:0c:12:34:56"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        pytest.param({"name": "ana"}, "This name belongs to Ana already", id="name taken"),
        pytest.param({"name": "ñ" * 127}, "too long for RADIUS", id="254 octets"),
        pytest.param({"password": ""}, "This is needed", id="no password"),
        pytest.param({"access_method": "mac", "name": "4c:5e:0c:12:34"}, "not a MAC address", id="short mac"),
        pytest.param({"framed_ip": "10.0.0.256"}, "not an IP address", id="address"),
        pytest.param({"framed_ip": "2001:db8::1"}, "An IPv4 address is needed", id="IPv6 in the IPv4 field"),
        pytest.param({"framed_ip": "10.7.7.7"}, "This address belongs to Ana already", id="address taken"),
        pytest.param({"delegated_ipv6_prefix": "2001:db8::1/56"}, "Did you mean 2001:db8::/56?", id="host bits"),
        pytest.param({"delegated_ipv6_prefix": "2001:db8:7::/56"}, "belongs to Ana already", id="prefix inside theirs"),
        pytest.param({"framed_routes": "192.168.1.1/24"}, "This is not a route", id="route"),
        pytest.param({"session_limit": "1001"}, "A number from 0 to 1000", id="session limit"),
        pytest.param({"session_limit": "one"}, "Enter a whole number", id="not a number"),
        pytest.param({"mac_binding": "fixed"}, "This is needed", id="fixed without devices"),
        pytest.param({"rate_download": "20"}, "Enter both of the pair", id="half a rate"),
        pytest.param({"extra": "Filter-Idd := kids"}, "FreeRADIUS knows no attribute", id="unknown attribute"),
        pytest.param({"extra": "Cleartext-Password := x"}, "would break the answer", id="attribute that breaks"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_reason(sign_in, isp, system, installation, ana, typed, said):
    add_service(system, installation, isp, ana, "ana", framed_ip="10.7.7.7", delegated_ipv6_prefix="2001:db8:7::/48")
    page = post(sign_in("technical"), f"/services/new/{ana}", **{"plan_id": isp.plan_id, **NEW, **typed})
    assert page.status_code == 200
    assert said in page.text
    with Session(system) as session:
        assert len(session.scalars(select(Service).where(Service.subscriber_id == ana)).all()) == 1


def test_the_same_name_in_other_capitals_is_another_name(sign_in, isp, ana, line):
    assert (
        post(sign_in("manager"), f"/services/new/{ana}", **{"plan_id": isp.plan_id, **NEW, "name": "ANA"}).status_code
        == 302
    )


def test_another_operators_plan_cannot_be_taken(sign_in, system, installation, ana):
    other = make_isp(system, installation)
    page = post(sign_in("manager"), f"/services/new/{ana}", plan_id=other.plan_id, **NEW)
    assert page.status_code == 200
    with Session(system) as session:
        assert session.scalars(select(Service).where(Service.subscriber_id == ana)).all() == []


def test_suspending_says_what_will_happen_and_offers_undo(sign_in, system, line, ana):
    browser = sign_in("finance")
    assert "sees only the page that says why" in browser.get(f"/services/{line}/suspend").text
    answer = post(browser, f"/services/{line}/suspend", cause="overdue", detail="invoice 1041")
    assert answer.location == f"/subscribers/{ana}"
    service = stored(system, line)
    assert (service.state, service.suspension_cause, service.suspension_detail) == (
        "suspended", "overdue", "invoice 1041",
    )  # fmt: skip
    page = browser.get(f"/subscribers/{ana}")
    assert "ana is suspended." in page.text
    assert f'action="/services/{line}/restore"' in page.text
    assert post(browser, f"/services/{line}/restore").status_code == 302
    assert stored(system, line).state == "active"
    assert actions(system, line) == ["service.suspend", "service.restore"]


def test_a_step_that_came_too_late_changes_nothing_and_says_so(sign_in, system, line, ana):
    browser = sign_in("manager")
    post(browser, f"/services/{line}/terminate", reason="Moved away")
    post(browser, f"/services/{line}/suspend", cause="staff", detail="")
    assert stored(system, line).state == "terminated"
    assert "Nothing was changed: this service is terminated." in browser.get(f"/subscribers/{ana}").text


def test_a_terminated_service_is_reinstated_only_while_its_name_is_free(sign_in, system, installation, isp, line, ana):
    browser = sign_in("manager")
    post(browser, f"/services/{line}/terminate", reason="Moved away")
    successor = add_service(system, installation, isp, ana, "ana")
    post(browser, f"/services/{line}/reinstate")
    assert stored(system, line).state == "terminated"
    assert "This name belongs to Ana already" in browser.get(f"/subscribers/{ana}").text
    post(browser, f"/services/{successor}/terminate", reason="Moved away")
    post(browser, f"/services/{line}/reinstate")
    assert stored(system, line).state == "active"


def test_marking_paid_restores_who_was_cut_off_for_not_paying(sign_in, system, line):
    browser = sign_in("finance")
    post(browser, f"/services/{line}/suspend", cause="overdue", detail="")
    until = date.today() + timedelta(days=30)
    post(browser, f"/services/{line}/paid-until", paid_until=until.isoformat())
    service = stored(system, line)
    assert (service.state, service.paid_until) == ("active", until)


def test_marking_paid_restores_nobody_who_was_suspended_for_abuse(sign_in, system, line):
    browser = sign_in("finance")
    post(browser, f"/services/{line}/suspend", cause="abuse", detail="")
    post(browser, f"/services/{line}/paid-until", paid_until="2099-01-31")
    assert stored(system, line).state == "suspended"


def test_a_plan_is_changed_and_changed_back(sign_in, system, isp, line, ana):
    with Session(system, expire_on_commit=False) as session:
        faster = RatePlan(operator_id=isp.operator_id, name="Home 50", download=50_000_000, upload=10_000_000)
        session.add(faster)
        session.commit()
    browser = sign_in("sales")
    post(browser, f"/services/{line}/plan", plan_id=faster.id)
    assert stored(system, line).plan_id == faster.id
    undo = re.search(r'name="plan_id" value="(\d+)"', browser.get(f"/subscribers/{ana}").text)[1]
    post(browser, f"/services/{line}/plan", plan_id=undo)
    assert stored(system, line).plan_id == isp.plan_id


def test_pausing_and_resuming(sign_in, system, line):
    browser = sign_in("support")
    post(browser, f"/services/{line}/pause")
    assert stored(system, line).state == "paused"
    post(browser, f"/services/{line}/resume")
    assert stored(system, line).state == "active"


def test_whoever_sees_a_password_is_written_down(sign_in, system, line):
    browser = sign_in("support")
    assert 'value="secret"' not in browser.get(f"/services/{line}/password").text
    assert 'value="secret"' in post(browser, f"/services/{line}/password/show").text
    assert actions(system, line) == ["service.password_shown"]


def test_a_new_password_is_sealed_and_not_in_the_audit_log(sign_in, system, line, installation):
    post(sign_in("technical"), f"/services/{line}/password", password="brand new")
    keyring: Keyring = installation.keyring
    assert keyring.open("service.password", stored(system, line).password) == "brand new"
    with Session(system) as session:
        assert session.scalar(text("SELECT count(*) FROM audit_entry WHERE after::text LIKE '%brand new%'")) == 0


def test_saving_a_form_unchanged_changes_nothing(sign_in, system, installation, isp, ana):
    number = add_service(
        system, installation, isp, ana, "ana", framed_ip="10.7.7.7", delegated_ipv6_prefix="2001:db8:7::/56",
        framed_routes=["192.168.9.0/24"], rate_download=20_000_000, rate_upload=512_000,
        extra=[["Filter-Id", ":=", "kids"]], activated_at=datetime.now(UTC),
    )  # fmt: skip
    browser = sign_in("technical")
    page = browser.get(f"/services/{number}/edit").text
    fields = dict(re.findall(r'<input(?=[^>]*type="(?:text|hidden)")[^>]*name="(\w+)"[^>]*value="([^"]*)"', page))
    fields |= dict(re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>\s*([^<]*)</textarea>', page))
    for name, body in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option selected[^>]*value="([^"]*)"|value="([^"]*)" selected', body)
        value = (chosen[1] or chosen[2] or "") if chosen else ""
        fields[name] = [fields[name], value] if name.startswith("rate_") else value
    fields["version"] = re.search(r'name="version"[^>]*value="(\d+)"', page)[1]
    before = stored(system, number)
    answer = browser.post(f"/services/{number}/edit", data=fields)
    assert answer.status_code == 302, re.findall(r"<li>.*?</li>", answer.text)
    after = stored(system, number)
    columns = [column.key for column in Service.__table__.columns]
    assert {name: getattr(before, name) for name in columns} == {name: getattr(after, name) for name in columns}
    assert actions(system, number) == []


def test_vouchers_stand_in_the_list_only_where_they_are_asked_for(sign_in, system, line, installation, isp, ana):
    add_service(system, installation, isp, ana, "#1-1", access_method="voucher")
    browser = sign_in("manager")

    def names(path: str) -> list[str]:
        return re.findall(r'class="code" href="[^"]*">([^<]+)</a>', browser.get(path).text)

    assert names("/services/") == ["ana"]
    assert names("/services/?access=voucher") == ["#1-1"]
    # What is done to all of the list is done to what it shows.
    assert "1 service is chosen." in browser.get("/mass-changes/new?state=active").text
    page = browser.get("/dashboard/now").text
    assert "1 active service" in page


def test_what_is_mistyped_in_a_form_of_a_service_is_said_beside_the_field(sign_in, system, line, installation, isp):
    browser = sign_in("technical")
    typed = {
        "access_method": "pppoe", "name": "ana", "plan_id": isp.plan_id, "management": "automatic", "session_limit": 1,
        "mac_binding": "any", "framed_ip": "10.999.1.1", "version": stored(system, line).version,
    }  # fmt: skip
    page = post(browser, f"/services/{line}/edit", **typed)
    assert page.status_code == 200
    assert 'id="framed_ip-error"' in page.text
    assert 'value="10.999.1.1"' in page.text  # nothing that was typed is lost
    page = post(browser, f"/services/{line}/password", password="x" * 200)
    assert page.status_code == 200
    assert 'id="password-error"' in page.text
    assert actions(system, line) == []


def test_another_operators_service_cannot_be_touched(sign_in, system, installation):
    other = make_isp(system, installation)
    number = add_service(system, installation, other, add_subscriber(system, other, "Theirs"), "theirs")
    browser = sign_in("manager")
    for step in ("restore", "pause", "resume", "terminate", "reinstate", "suspend", "password/show"):
        assert post(browser, f"/services/{number}/{step}").status_code == 404, step
    assert stored(system, number).state == "active"


def test_a_static_address_is_changed_at_once_and_has_no_password_to_know(sign_in, system, installation, isp, ana):
    fixed = add_service(
        system, installation, isp, ana, "azotea", access_method="queue", nas_id=isp.nas_id, framed_ip="10.20.0.9",
        password=None,
    )  # fmt: skip
    browser = sign_in("support")
    for step in ("suspend", "plan"):
        text = sign_in("manager").get(f"/services/{fixed}/{step}").text
        assert "Its queue on the router changes within seconds" in text
        assert "from its next login" not in text
    assert "password is not known" not in browser.get(f"/explain/service/{fixed}").text
