"""The page of retention: proposals, what would go, saving, legal holds."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.retention import rules_of
from crm.retention_proposals import PROPOSALS
from db.models import RetentionHold
from tests.portal.conftest import add_service, add_subscriber, post
from tests.rows import add_session


@pytest.fixture
def old(system, isp, installation):
    """Ana, whose session ended two years ago; the id of the subscriber."""
    subscriber = add_subscriber(system, isp, "Ana")
    service_id = add_service(system, installation, isp, subscriber, "ana")
    ended = utc_now() - timedelta(days=730)
    with Session(system) as session:
        add_session(session, isp.operator_id, service_id, "a", started_at=ended, updated_at=ended, ended_at=ended)
        session.commit()
    return subscriber


def rules(system, isp):
    with Session(system) as session:
        return rules_of(session, isp.operator_id)


def test_what_would_go_is_shown_and_nothing_is_saved_by_looking(sign_in, system, isp, old):
    browser = sign_in("manager")
    page = post(browser, "/settings/retention", sessions="365", preview="1").text
    assert "1 row" in page
    assert "in 1 partition" in page
    assert rules(system, isp) == {}
    assert post(browser, "/settings/retention", sessions="365", messages="90").status_code == 302
    assert rules(system, isp) == {"sessions": 365, "messages": 90}
    post(browser, "/settings/retention", sessions="400")
    assert rules(system, isp) == {"sessions": 400}
    assert sign_in("technical").get("/settings/retention").status_code == 403


@pytest.mark.parametrize("days", ["5", "soon", "99999", "-1"])
def test_days_that_make_no_sense_are_refused_beside_the_field(sign_in, system, isp, days):
    refused = post(sign_in("manager"), "/settings/retention", sessions=days)
    assert (refused.status_code, rules(system, isp)) == (422, {})


@pytest.mark.parametrize("country", PROPOSALS)
def test_each_country_has_a_proposal_that_can_be_saved(sign_in, system, isp, country):
    browser = sign_in("manager")
    page = browser.get(f"/settings/retention?country={country}").text
    assert f'value="{PROPOSALS[country].days["sessions"]}"' in page
    assert "no legal advice" in page
    assert (
        post(browser, "/settings/retention", **{k: str(v) for k, v in PROPOSALS[country].days.items()}).status_code
        == 302
    )


def test_a_hold_is_put_on_seen_and_lifted(sign_in, system, isp, old):
    browser = sign_in("manager")
    post(browser, f"/subscribers/{old}/hold", reason="letter 12/2026")
    assert "letter 12/2026" in browser.get(f"/subscribers/{old}/record").text
    assert "letter 12/2026" in browser.get("/settings/retention").text
    assert "nothing" in post(browser, "/settings/retention", sessions="365", preview="1").text
    erased = post(browser, f"/subscribers/{old}/erase", name="Ana")
    assert "legal hold" in browser.get(erased.headers["Location"]).text
    with Session(system) as session:
        hold_id = session.scalar(select(RetentionHold.id).where(RetentionHold.subscriber_id == old))
    post(browser, f"/settings/retention/holds/{hold_id}/lift")
    assert "letter 12/2026" not in browser.get("/settings/retention").text
