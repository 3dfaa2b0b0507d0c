"""Circuit tests in the portal: started from the subscriber's page, shown as they come in, kept and reported."""

import pytest
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.jobs import RunningJob
from db.models import CircuitTest, Job
from network.circuit import Finding, Why
from network.circuit_test import run_circuit_test
from network.problems import Cause
from portal.circuit_words import FINDINGS, VERDICTS
from portal.labels import BADGES
from portal.router_words import CAUSES
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def line(system, installation, isp) -> int:
    ana = add_subscriber(system, isp, "Ana Peña")
    return add_service(system, installation, isp, ana, "casa-ana")


def add_test(system, isp, line: int, **values) -> int:
    with Session(system) as session:
        test = CircuitTest(operator_id=isp.operator_id, service_id=line, **values)
        session.add(test)
        session.commit()
        return test.id


def test_a_test_is_started_from_the_service_and_has_a_page_at_once(system, installation, isp, sign_in, line):
    browser = sign_in("support")
    panel = browser.get(f"/services/{line}/circuits").text
    assert "Test the circuit" in panel
    answer = post(browser, f"/services/{line}/circuit")
    page = browser.get(answer.location).text
    assert 'hx-trigger="every 1s"' in page
    assert "Ping from the router" in page
    with Session(system) as session:
        test = session.query(CircuitTest).where(CircuitTest.service_id == line).one()
        job = session.get_one(Job, test.job_id)
        assert (job.kind, job.parameters, job.subject) == ("circuit.test", {"test_id": test.id}, "casa-ana")
    run_circuit_test(RunningJob(system, installation, job))
    page = browser.get(answer.location).text
    assert 'hx-trigger="every 1s"' not in page
    assert "Too little is known to tell" in page
    assert "It was never connected." in page


def test_a_second_click_leads_to_the_test_that_is_under_way(sign_in, line):
    browser = sign_in("support")
    first, second = (post(browser, f"/services/{line}/circuit").location for _ in range(2))
    assert first == second


def test_what_a_router_says_is_text(system, isp, sign_in, line):
    steps = [
        {"step": "session", "mark": "failed", "finding": "offline", "words": "",
         "values": {"ended": utc_now().isoformat(), "cause": "<i>x</i>"}},
        {"step": "router", "mark": "failed", "finding": "timeout", "values": {}, "words": "<script>1</script>"},
        {"step": "link", "mark": "ok", "finding": "seen", "words": "",
         "values": {"where": "radio", "interface": "<b>wlan1</b>", "signal": "-60"}},
    ]  # fmt: skip
    test = add_test(
        system, isp, line, steps=steps, verdict="router", why="router_out", finished_at=utc_now(), nas_name="<u>n</u>"
    )
    page = sign_in("support").get(f"/circuits/{test}").text
    for hostile in ("<script>1", "<b>wlan1", "<i>x", "<u>n"):
        assert hostile not in page
    assert "&lt;b&gt;wlan1&lt;/b&gt;" in page
    assert "Its router is out of reach" in page


def test_the_report_shows_the_newest_of_each_service_by_fault(system, installation, isp, sign_in, line):
    add_test(system, isp, line, verdict="sector", why="sector_dark", finished_at=utc_now())
    add_test(system, isp, line, verdict="premises", why="not_seen", finished_at=utc_now())
    browser = sign_in("manager")
    assert "Most of the same sector is gone" in browser.get("/circuits/").text
    newest = browser.get("/circuits/?tests=newest").text
    assert "The device is not there" in newest
    assert "Most of the same sector is gone" not in newest
    assert "The device is not there" not in browser.get("/circuits/?verdict=sector").text
    exported = browser.get("/circuits/?format=csv").text
    assert "Ana Peña" in exported
    assert "Premises" in exported


def test_who_saw_the_verdict_is_not_told_of_the_job_again(system, isp, sign_in, line):
    browser = sign_in("support")
    at = post(browser, f"/services/{line}/circuit").location
    with Session(system) as session:
        session.query(Job).where(Job.operator_id == isp.operator_id).update({"state": "done"})
        session.query(CircuitTest).where(CircuitTest.service_id == line).update(
            {"verdict": "none", "why": "all_well", "finished_at": utc_now()}
        )
        session.commit()
    assert "Test a circuit" in browser.get("/services/").text
    assert "The line works" in browser.get(at).text
    assert "Test a circuit" not in browser.get("/services/").text


def test_a_verdict_is_read_in_spanish(system, isp, sign_in, line):
    ping = {"address": "10.0.0.1", "sent": 10, "received": 5, "loss": 50, "milliseconds": 3.1}
    steps = [{"step": "ping", "mark": "warning", "finding": "loses", "words": "", "values": ping}]
    test = add_test(system, isp, line, steps=steps, verdict="premises", why="loses", finished_at=utc_now())
    browser = sign_in("support")
    post(browser, "/language", language="es", next="/")
    page = browser.get(f"/circuits/{test}").text
    assert "Solo esta línea pierde paquetes" in page
    assert "se pierde el 50 % (3.1 ms)" in page


def test_a_test_whose_worker_gave_up_says_so(system, isp, sign_in, line):
    browser = sign_in("support")
    at = post(browser, f"/services/{line}/circuit").location
    with Session(system) as session:
        session.query(Job).where(Job.operator_id == isp.operator_id).update({"state": "failed"})
        session.commit()
    page = browser.get(at).text
    assert "broken off" in page
    assert 'hx-trigger="every 1s"' not in page
    assert post(browser, f"/services/{line}/circuit").location != at


def test_who_may_not_is_refused_and_others_operators_see_nothing(system, installation, isp, sign_in, line):
    assert post(sign_in("finance"), f"/services/{line}/circuit").status_code == 403
    test = add_test(system, isp, line)
    other = sign_in("technical", make_isp(system, installation))
    assert other.get(f"/circuits/{test}").status_code == 404
    assert post(other, f"/services/{line}/circuit").status_code == 404


def test_everything_that_can_be_found_has_words():
    assert set(VERDICTS) == set(Why)
    assert set(FINDINGS) | {Finding.SEEN, Finding.DEAF} == set(Finding)
    assert set(CAUSES) >= set(Cause)
    assert {"none", "account", "network", "router", "sector", "premises", "unsure"} < set(BADGES["circuit_verdict"])
