from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.mass_change import JOBS
from db.models import Job, MassChange, RatePlan, Service
from tests.portal.billing_isp import start_billing
from tests.portal.conftest import add_service, add_subscriber, csrf_token, make_isp, post
from worker.jobs import run_job


def add_lines(system, installation, isp, **states: dict[str, object]) -> dict[str, int]:
    """Enter a subscriber with a service of each name."""
    subscriber_id = add_subscriber(system, isp, "José María Fernández-Villalobos de la Torre")
    return {
        name: add_service(system, installation, isp, subscriber_id, name, **values) for name, values in states.items()
    }


def add_plan(system, isp, name: str) -> int:
    with Session(system) as session:
        plan = RatePlan(operator_id=isp.operator_id, name=name, download=50_000_000, upload=10_000_000)
        session.add(plan)
        session.commit()
        return plan.id


def work(system, installation, answer) -> Job:
    """Do the job that an answer leads to."""
    job_id = int(answer.location.rsplit("/", 1)[1])
    run_job(system, installation, job_id, JOBS)
    with Session(system) as session:
        return session.get_one(Job, job_id)


def test_a_filtered_list_gets_another_plan_after_a_preview(system, installation, isp, sign_in):
    ids = add_lines(system, installation, isp, ana={}, beto={}, carla={"state": "paused"})
    fast = add_plan(system, isp, "Home 50")
    browser = sign_in("manager")
    listed = browser.get("/services/?state=active").text
    assert 'href="/mass-changes/new?state=active"' in listed
    url = f"/mass-changes/new?state=active&kind=plan&plan_id={fast}"
    page = browser.get(url).text
    assert "2 services will change." in page
    assert "Change 2 services" in page
    answer = post(browser, url, seen=2)
    job = work(system, installation, answer)
    assert (job.state, job.subject, job.done) == ("done", "Plan: Home 50", 2)
    with Session(system) as session:
        plans = {
            service.name: service.plan_id
            for service in session.scalars(select(Service).where(Service.id.in_(ids.values())))
        }
    assert plans == {"ana": fast, "beto": fast, "carla": isp.plan_id}
    result = browser.get(job.outcome["url"]).text
    assert "Take 2 changes back" in result
    assert "Home 20" in result
    undone = work(system, installation, post(browser, f"{job.outcome['url']}/undo"))
    assert undone.outcome["done"] == 2
    with Session(system) as session:
        assert session.get_one(Service, ids["ana"]).plan_id == isp.plan_id
    assert "Taken back" in browser.get(job.outcome["url"]).text


def test_ticked_rows_alone_are_suspended_and_the_preview_says_who_is_left_out(system, installation, isp, sign_in):
    ids = add_lines(system, installation, isp, ana={}, beto={"management": "manual"}, carla={})
    browser = sign_in("finance")
    url = f"/mass-changes/new?id={ids['ana']}&id={ids['beto']}&kind=suspend&cause=overdue"
    page = browser.get(url).text
    assert "1 service will change." in page
    assert "1 stays as it is: managed by hand" in page
    work(system, installation, post(browser, url, seen=1))
    with Session(system) as session:
        states = {name: session.get_one(Service, service_id).state for name, service_id in ids.items()}
    assert states == {"ana": "suspended", "beto": "active", "carla": "active"}


def test_ticking_nothing_does_not_choose_everything(isp, sign_in):
    answer = sign_in("manager").get("/mass-changes/new?ticked=y")
    assert answer.location == "/services/"


def test_a_list_that_changed_since_the_preview_is_shown_again(system, installation, isp, sign_in):
    add_lines(system, installation, isp, ana={}, beto={})
    browser = sign_in("manager")
    answer = post(browser, "/mass-changes/new?kind=suspend&cause=staff", seen=1)
    assert answer.status_code == 200
    assert "changed since you looked" in answer.text
    assert "Change 2 services" in answer.text
    with Session(system) as session:
        assert session.scalars(select(MassChange).where(MassChange.operator_id == isp.operator_id)).all() == []


def test_each_role_changes_only_what_it_may_change_on_one_service(system, installation, isp, sign_in):
    add_lines(system, installation, isp, ana={})
    technical = sign_in("technical").get("/mass-changes/new").text
    assert ('value="plan"' in technical, 'value="suspend"' in technical) == (True, False)
    finance = sign_in("finance").get("/mass-changes/new").text
    assert ('value="plan"' in finance, 'value="paid_until"' in finance) == (False, True)
    answer = post(sign_in("technical"), "/mass-changes/new?kind=suspend&cause=staff", seen=1)
    assert "will change" not in answer.text
    assert sign_in("support").get("/mass-changes/new").status_code == 403


def test_who_bills_does_not_set_the_day_by_hand(system, isp, sign_in):
    start_billing(system, isp)
    assert 'value="paid_until"' not in sign_in("manager").get("/mass-changes/new").text


def test_nobody_sees_or_takes_back_the_change_of_another_operator(system, installation, isp, sign_in):
    other = make_isp(system, installation)
    add_lines(system, installation, isp, ana={})
    theirs = add_lines(system, installation, other, eva={})
    job = work(system, installation, post(sign_in("manager"), "/mass-changes/new?kind=suspend&cause=staff", seen=1))
    stranger = sign_in("manager", other)
    assert stranger.get(job.outcome["url"]).status_code == 404
    assert post(stranger, f"{job.outcome['url']}/undo").status_code == 404
    answer = sign_in("manager").post(
        f"/mass-changes/new?id={theirs['eva']}&kind=suspend&cause=staff",
        data={"csrf_token": csrf_token(stranger), "seen": 1},
    )
    assert answer.status_code == 400
    page = sign_in("manager").get(f"/mass-changes/new?id={theirs['eva']}&kind=suspend&cause=staff").text
    assert "0 services are chosen." in page
