"""The page of a router's queues: what waits, what differs, and both ways to end a difference."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import AuditEntry, Job, QueueDrift, Router, RouterQueue, RouterSync, Service
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def line(system, installation, isp) -> int:
    """A queue service at a router of the operator."""
    with Session(system) as session:
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="portico", api_password=b"sealed"))
        session.commit()
    ana = add_subscriber(system, isp, "Ana Peña")
    return add_service(
        system, installation, isp, ana, "casa-ana", access_method="queue", password=None, nas_id=isp.nas_id,
        framed_ip="10.20.0.5",
    )  # fmt: skip


def differs(system, isp, service_id: int, field: str, found: str, **values: str) -> None:
    with Session(system) as session:
        session.add(
            QueueDrift(
                nas_id=isp.nas_id, operator_id=isp.operator_id, service_id=service_id, field=field, found=found,
                **values,
            )
        )  # fmt: skip
        session.commit()


def stored(system, service_id: int) -> Service:
    with Session(system) as session:
        return session.get_one(Service, service_id)


def newest_job(system, isp) -> Job:
    with Session(system) as session:
        return session.scalars(select(Job).where(Job.operator_id == isp.operator_id).order_by(Job.id.desc())).first()


def test_what_differs_is_shown_on_both_sides(system, isp, sign_in, line):
    differs(system, isp, line, "rate", "9000000/10000000", wanted="5000000/20000000", item="<b>ana</b>")
    page = sign_in("technical").get(f"/routers/{isp.nas_id}/queues").text
    words = page.replace("\N{NO-BREAK SPACE}", " ")
    assert "↓ 20 Mbit/s ↑ 5 Mbit/s" in words
    assert "↓ 10 Mbit/s ↑ 9 Mbit/s" in words
    assert "&lt;b&gt;ana&lt;/b&gt;" in page
    assert page.count("Take the router's value") == 2  # beside the value, and under it on phones


def test_what_waits_is_shown_with_since_when_and_why(system, isp, sign_in, line):
    with Session(system) as session:
        session.add(
            RouterSync(
                nas_id=isp.nas_id, operator_id=isp.operator_id, cause="timeout", detail="no answer", attempts=3,
                next_attempt_at=utc_now(),
            )
        )  # fmt: skip
        row = session.get_one(RouterQueue, (isp.nas_id, line))
        row.problem = "failure: <already> have"
        session.commit()
    page = sign_in("support").get(f"/routers/{isp.nas_id}/queues").text
    assert "1 service waits for this router" in page
    assert "No answer: VPN down, router off, or a firewall in between" in page
    assert "failure: &lt;already&gt; have" in page
    assert "casa-ana" in page
    subscriber = sign_in("support").get(f"/subscribers/{stored(system, line).subscriber_id}").text
    assert "Waits for its router" in subscriber
    assert "No answer: VPN down" in subscriber


def test_a_static_address_that_is_on_its_router_waits_for_nothing(system, isp, sign_in, line):
    with Session(system) as session:
        session.get_one(RouterQueue, (isp.nas_id, line)).pending_since = None
        session.commit()
    page = sign_in("support").get(f"/subscribers/{stored(system, line).subscriber_id}").text
    assert "Waits for its router" not in page
    assert "Offline" not in page


def test_the_routers_rate_becomes_the_services_own(system, isp, sign_in, line):
    differs(system, isp, line, "rate", "9000000/10000000")
    answer = post(sign_in("technical"), f"/routers/{isp.nas_id}/queues/take", service=line, field="rate")
    assert answer.status_code == 302
    assert (stored(system, line).rate_download, stored(system, line).rate_upload) == (10_000_000, 9_000_000)
    with Session(system) as session:
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id.desc())
        ).first()
        assert session.scalars(select(QueueDrift.field).where(QueueDrift.service_id == line)).all() == []
    assert (entry.action, entry.after["rate_download"]) == ("service.change", 10_000_000)
    page = sign_in("technical").get(f"/routers/{isp.nas_id}/queues").text
    assert "No differences" in page or "Not compared yet" in page, "the row is gone at once"


def test_the_page_of_a_routers_queues_belongs_to_the_routers(isp, sign_in, line):
    page = sign_in("technical").get(f"/routers/{isp.nas_id}/queues").text
    assert re.search(r'<a class="nav-link" href="/routers/"[^>]*aria-current="page"', page)


def test_a_static_address_has_its_rate_one_click_away(system, sign_in, line):
    page = sign_in("support").get(f"/subscribers/{stored(system, line).subscriber_id}").text
    assert f'href="/services/{line}/live"' in page


def test_the_routers_address_becomes_the_services_own(system, isp, sign_in, line):
    differs(system, isp, line, "address", "10.20.0.77/32")
    post(sign_in("technical"), f"/routers/{isp.nas_id}/queues/take", service=line, field="address")
    assert str(stored(system, line).framed_ip) == "10.20.0.77"


@pytest.mark.parametrize(
    ("field", "found"), [("rate", "0/0"), ("rate", "much"), ("address", "ether1"), ("priority", "1/1")]
)
def test_what_cannot_be_a_services_own_is_not_taken(system, isp, sign_in, line, field, found):
    differs(system, isp, line, field, found)
    before = stored(system, line).version
    browser = sign_in("technical")
    answer = post(browser, f"/routers/{isp.nas_id}/queues/take", service=line, field=field)
    assert "cannot be taken over" in browser.get(answer.location).text
    assert stored(system, line).version == before


def test_an_address_that_somebody_else_has_is_not_taken(system, installation, isp, sign_in, line):
    ben = add_subscriber(system, isp, "Ben")
    add_service(
        system, installation, isp, ben, "casa-ben", access_method="queue", password=None, nas_id=isp.nas_id,
        framed_ip="10.20.0.6",
    )  # fmt: skip
    differs(system, isp, line, "address", "10.20.0.6/32")
    browser = sign_in("technical")
    answer = post(browser, f"/routers/{isp.nas_id}/queues/take", service=line, field="address")
    assert "belongs to Ben already" in browser.get(answer.location).text
    assert str(stored(system, line).framed_ip) == "10.20.0.5"


def test_making_right_and_syncing_are_jobs(system, isp, sign_in, line):
    browser = sign_in("technical")
    for action, fields, parameters in (
        ("right", {"service": line}, {"nas_id": isp.nas_id, "services": [line]}),
        ("right", {}, {"nas_id": isp.nas_id, "everything": True}),
        ("sync", {}, {"nas_id": isp.nas_id}),
    ):
        answer = post(browser, f"/routers/{isp.nas_id}/queues/{action}", **fields)
        job = newest_job(system, isp)
        assert answer.location.endswith(f"/jobs/{job.id}")
        assert (job.kind, job.subject, job.parameters) == ("provisioning.sync", "tower-1", parameters)


@pytest.mark.parametrize(("action", "role"), [("sync", "support"), ("right", "sales"), ("take", "finance")])
def test_who_may_not_is_refused(isp, sign_in, line, action, role):
    assert post(sign_in(role), f"/routers/{isp.nas_id}/queues/{action}").status_code == 403


def test_a_router_of_another_operator_is_none(system, installation, isp, sign_in, line):
    others = make_isp(system, installation)
    browser = sign_in("technical", others)
    assert browser.get(f"/routers/{isp.nas_id}/queues").status_code == 404
    assert post(browser, f"/routers/{isp.nas_id}/queues/sync").status_code == 404
