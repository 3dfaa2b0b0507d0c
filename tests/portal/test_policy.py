from datetime import timedelta

from sqlalchemy.orm import Session

from db.models import Operator
from tests.portal.conftest import post

TYPED = {
    "suspended_action": "garden",
    "cut_off_day": "5",
    "grace_days": "3",
    "garden_download": ["1", "M"],
    "garden_upload": ["512", "k"],
    "garden_address_list": "portico-suspended",
    "active_address_list": "portico-active",
    "garden_pool": "",
    "garden_timeout": "15",
    "dhcp_timeout": "10",
    "outage_action": "refuse",
    "outage_after": "120",
    "overdue_address_list": "morosos",
    "overdue_pool": "jardin",
}


def stored(system, isp) -> Operator:
    with Session(system) as session:
        return session.get_one(Operator, isp.operator_id)


def test_a_manager_sets_cut_off_and_garden(system, isp, sign_in):
    browser = sign_in("manager")
    assert post(browser, "/settings/policy/", **TYPED).status_code == 302
    operator = stored(system, isp)
    assert (operator.cut_off_day, operator.grace_days) == (5, 3)
    assert (operator.garden_download, operator.garden_upload) == (1_000_000, 512_000)
    assert operator.gardens == {"overdue": {"address_list": "morosos", "pool": "jardin"}}
    assert (operator.outage_action, operator.outage_after) == ("refuse", timedelta(hours=2))
    page = browser.get("/settings/policy/").text
    assert 'value="morosos"' in page
    assert "Cut-off and walled garden changed" in browser.get("/audit/").text


def test_what_cannot_be_is_said_beside_its_field_and_nothing_is_saved(system, isp, sign_in):
    wrong = {
        "cut_off_day": "32",
        "grace_days": "-1",
        "garden_timeout": "0",
        "outage_after": "4",
        "overdue_address_list": "portico-active",
        "garden_pool": "x" * 64,
    }
    answer = post(sign_in("manager"), "/settings/policy/", **{**TYPED, **wrong})
    assert answer.status_code == 422
    for name in wrong:
        assert f'id="{name}-error"' in answer.text, name
    assert stored(system, isp).cut_off_day == 1


def test_only_who_may_change_settings_sees_the_page(isp, sign_in):
    for role in ("sales", "support", "finance", "technical"):
        assert sign_in(role).get("/settings/policy/").status_code == 403
