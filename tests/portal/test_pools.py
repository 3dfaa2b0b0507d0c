"""Address pools in the portal: entering them, who holds what, the next free address, and a router's own."""

import pytest
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import AccountingSession, AddressPool, Job, Router, RouterPools
from tests.portal.conftest import add_service, add_subscriber, make_isp, post

HOME = {"name": "casas", "kind": "ipv4", "network": "10.20.0.0/24", "assignment": "fixed"}


@pytest.fixture
def pool(system, isp, sign_in) -> int:
    answer = post(sign_in("technical"), "/pools/new", **HOME)
    assert answer.status_code == 302, answer.text
    return int(answer.location.rsplit("/", 1)[1])


def test_a_pool_is_entered_and_an_overlap_refused_with_its_name(isp, sign_in, pool):
    browser = sign_in("technical")
    assert "casas" in browser.get("/pools/").text
    answer = post(browser, "/pools/new", **{**HOME, "name": "otras", "network": "10.20.0.128/25"})
    assert answer.status_code == 422
    assert "It overlaps with 10.20.0.0/24 of the pool casas." in answer.text


def test_a_prefix_pool_has_its_usual_length(system, isp, sign_in):
    fields = {"name": "v6", "kind": "ipv6_delegated", "network": "2001:db8:1000::/40", "assignment": "dynamic"}
    answer = post(sign_in("technical"), "/pools/new", **fields)
    with Session(system) as session:
        assert session.get_one(AddressPool, int(answer.location.rsplit("/", 1)[1])).prefix_length == 56


def test_who_holds_what_is_shown_and_exported(system, installation, isp, sign_in, pool):
    ana = add_subscriber(system, isp, "Ana <b>Peña")
    line = add_service(system, installation, isp, ana, "casa-ana", framed_ip="10.20.0.1")
    now = utc_now()
    with Session(system) as session:
        for number, service, address in ((1, line, "10.20.0.1"), (2, None, "10.20.0.9")):
            session.add(
                AccountingSession(
                    operator_id=isp.operator_id, nas_id=isp.nas_id, service_id=service, acct_session_id=str(number),
                    user_name="somebody", kind="ppp", started_at=now, updated_at=now, framed_ip=address,
                )
            )  # fmt: skip
        session.commit()
    page = sign_in("technical").get(f"/pools/{pool}").text
    assert "Ana &lt;b&gt;Peña" in page
    assert "Fixed, connected" in page
    assert "Given by the router, connected" in page
    assert "2 / 254" in page
    assert "10.20.0.2" in page  # the next free
    exported = sign_in("manager").get(f"/pools/{pool}?format=csv").text
    assert "casa-ana" in exported
    assert "10.20.0.9" in exported
    assert "casas" in sign_in("manager").get("/pools/?format=csv").text


def test_the_next_free_address_is_put_into_the_form_of_a_service(system, installation, isp, sign_in, pool):
    ana = add_subscriber(system, isp, "Ana")
    add_service(system, installation, isp, ana, "casa-ana", framed_ip="10.20.0.1")
    browser = sign_in("sales")
    assert "Next free" in browser.get(f"/services/new/{ana}").text
    part = browser.get(f"/pools/next?kind=ipv4&nas_id={isp.nas_id}&framed_ip=").text
    assert 'value="10.20.0.2"' in part
    assert "From the pool casas." in part
    nothing = browser.get("/pools/next?kind=ipv6_line").text
    assert "No pool that Portico gives from has a free one." in nothing
    assert "hx-swap-oob" not in nothing
    assert browser.get("/pools/next?kind=<b>").status_code == 404


def test_a_pool_is_changed_and_removed(isp, sign_in, pool):
    browser = sign_in("technical")
    post(browser, f"/pools/{pool}/edit", **{**HOME, "network": "10.20.0.0/23", "first_address": "10.20.0.10"})
    page = browser.get(f"/pools/{pool}").text
    assert "10.20.0.0/23" in page
    assert "10.20.0.10" in page
    post(browser, f"/pools/{pool}/delete")
    assert browser.get(f"/pools/{pool}").status_code == 404


def test_a_routers_pools_stand_beside_ours(system, isp, sign_in):
    browser = sign_in("technical")
    post(browser, "/pools/new", **{**HOME, "assignment": "dynamic"})
    rows = [
        {"name": "casas", "family": 4, "ranges": "10.20.0.1-10.20.0.9", "length": "", "ours": True},
        {"name": "<i>hotspot", "family": 4, "ranges": "10.5.0.0/24", "length": "", "ours": False},
    ]
    with Session(system) as session:
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="u", api_password=b"sealed"))
        session.flush()
        session.add(RouterPools(nas_id=isp.nas_id, operator_id=isp.operator_id, pools=rows, looked_at=utc_now()))
        session.commit()
    page = browser.get(f"/routers/{isp.nas_id}/pools").text
    assert "10.20.0.1-10.20.0.254" in page
    assert "&lt;i&gt;hotspot" in page
    assert "Make the router right" in page
    for action, kind in (("look", "pools.look"), ("write", "pools.write")):
        job_id = int(post(browser, f"/routers/{isp.nas_id}/pools/{action}").location.rsplit("/", 1)[1])
        with Session(system) as session:
            job = session.get_one(Job, job_id)
            assert (job.kind, job.parameters) == (kind, {"nas_id": isp.nas_id})
    assert post(browser, f"/routers/{isp.nas_id}/pools/burn").status_code == 404


def test_who_may_not_is_refused_and_other_operators_see_nothing(system, installation, isp, sign_in, pool):
    assert sign_in("finance").get("/pools/").status_code == 403
    assert post(sign_in("support"), f"/pools/{pool}/delete").status_code == 403
    assert post(sign_in("support"), "/pools/new", **HOME).status_code == 403
    other = sign_in("technical", make_isp(system, installation))
    assert other.get(f"/pools/{pool}").status_code == 404
    assert "casas" not in other.get("/pools/").text
