from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AccountingSession, RatePlan
from tests.portal.conftest import add_service, add_subscriber, post
from tests.rows import add_session

FORM = {
    "name": "Home 50",
    "price": "49,90",
    "download": ["50", "M"],
    "upload": ["1500", "k"],
    "interim_interval": "5",
    "cap_action": "nothing",
    "priority": "",
}


def plan_of(system, operator_id, name):
    with Session(system) as session:
        return session.scalars(select(RatePlan).where(RatePlan.operator_id == operator_id, RatePlan.name == name)).one()


def test_a_plan_is_entered_in_the_units_that_people_speak_in(sign_in, isp, system):
    browser = sign_in("technical")
    answer = post(browser, "/plans/new", **FORM, **{"cap_octets": "200", "windows-0-days": [6, 7],
        "windows-0-begin": "23:00", "windows-0-until": "06:00", "windows-0-download": ["80", "M"],
        "windows-0-upload": ["2.5", "M"], "extra": "filter-id := kids"})  # fmt: skip
    assert answer.status_code == 302, answer.text
    plan = plan_of(system, isp.operator_id, "Home 50")
    assert (plan.download, plan.upload, plan.cap_octets) == (50_000_000, 1_500_000, 200_000_000_000)
    assert plan.windows == [
        {"days": [6, 7], "begin": "23:00", "until": "06:00", "download": 80_000_000, "upload": 2_500_000}
    ]
    assert plan.extra == [["Filter-Id", ":=", "kids"]]
    assert "1500k/50M" in browser.get(f"/plans/{plan.id}").text


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(sign_in):
    wrong = {**FORM, "download": ["ten", "M"], "burst_download": ["60", "M"], "name": "Home <50>"}
    answer = post(sign_in("manager"), "/plans/new", **wrong)
    assert answer.status_code == 422
    assert 'id="download-error"' in answer.text
    assert 'value="ten"' in answer.text
    assert "Home &lt;50&gt;" in answer.text
    wrong["download"] = ["70", "M"]
    answer = post(sign_in("manager"), "/plans/new", **wrong)
    assert 'id="burst_seconds-error"' in answer.text


def test_limits_are_said_in_units_and_attributes_by_name(sign_in):
    answer = post(sign_in("manager"), "/plans/new", **{**FORM, "minimum_download": ["51", "M"]})
    assert "A number from 8 kbit/s to 50 Mbit/s is needed." in answer.text
    answer = post(sign_in("manager"), "/plans/new", **{**FORM, "extra": "Auth-Type := Accept"})
    assert "Auth-Type: this attribute would break the answer to the router" in answer.text


def test_a_change_that_reaches_live_sessions_is_said_first(sign_in, isp, system, installation):
    service_id = add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana")
    with Session(system) as session:
        add_session(session, isp.operator_id, service_id, "81c00001", nas_id=isp.nas_id)
        session.commit()
    browser = sign_in("technical")
    seen = browser.get(f"/plans/{isp.plan_id}/edit").text.split('name="seen" type="hidden" value="')[1].split('"')[0]
    form = {**FORM, "name": "Home 20", "seen": seen}

    first = post(browser, f"/plans/{isp.plan_id}/edit", **form)
    assert first.status_code == 200
    assert "This changes 1 live session" in first.text
    assert plan_of(system, isp.operator_id, "Home 20").download == 20_000_000

    second = post(browser, f"/plans/{isp.plan_id}/edit", **form, agreed="yes")
    assert second.status_code == 302
    assert plan_of(system, isp.operator_id, "Home 20").download == 50_000_000
    with Session(system) as session:
        assert session.scalar(select(AccountingSession.ended_at)) is None


def test_the_second_of_two_people_sees_that_the_plan_was_changed(sign_in, isp):
    browser = sign_in("technical")
    seen = browser.get(f"/plans/{isp.plan_id}/edit").text.split('name="seen" type="hidden" value="')[1].split('"')[0]
    assert post(browser, f"/plans/{isp.plan_id}/edit", **FORM, seen=seen).status_code == 302
    late = post(sign_in("manager"), f"/plans/{isp.plan_id}/edit", **{**FORM, "price": "1"}, seen=seen)
    assert late.status_code == 422
    assert "Somebody else has changed this plan" in late.text


def test_sales_reads_plans_and_changes_none(sign_in, isp):
    browser = sign_in("sales")
    assert browser.get("/plans/").status_code == 200
    assert "/plans/new" not in browser.get("/plans/").text
    assert post(browser, "/plans/new", **FORM).status_code == 403
    assert post(browser, f"/plans/{isp.plan_id}/archive").status_code == 403


def test_an_archived_plan_can_be_taken_back_from_the_message(sign_in, isp, system):
    browser = sign_in("manager")
    post(browser, f"/plans/{isp.plan_id}/archive")
    page = browser.get(f"/plans/{isp.plan_id}").text
    assert f'action="/plans/{isp.plan_id}/restore"' in page
    post(browser, f"/plans/{isp.plan_id}/restore")
    assert plan_of(system, isp.operator_id, "Home 20").archived is False


def test_a_plan_of_another_operator_does_not_exist_here(sign_in, isp, system, installation):
    from tests.portal.conftest import make_isp

    other = make_isp(system, installation)
    browser = sign_in("manager")
    assert browser.get(f"/plans/{other.plan_id}").status_code == 404
    assert post(browser, f"/plans/{other.plan_id}/archive").status_code == 404
