from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.jobs import start_job
from db.audit import Actor
from db.models import Job, JobLine, Staff
from tests.portal.conftest import make_isp, post


def add_job(system, isp, role: str, state: str = "running", **values: object) -> int:
    with Session(system) as session:
        person = session.scalars(select(Staff).where(Staff.email == isp.staff[role])).one()
        job = start_job(session, Actor(isp.operator_id, person.email, person.id), "test", {}, "Torre Norte")
        job.state = state
        for name, value in values.items():
            setattr(job, name, value)
        session.commit()
        return job.id


def state_of(system, job_id: int) -> Job:
    with Session(system) as session:
        return session.get_one(Job, job_id)


def test_the_page_of_a_job_shows_progress_and_log(system, isp, sign_in):
    job_id = add_job(system, isp, "technical", total=40, done=10, failed=1)
    with Session(system) as session:
        session.add(
            JobLine(
                operator_id=isp.operator_id, job_id=job_id, level="error", item="<b>Peña</b>", message="Failed",
                values={"x": "1"},
            )
        )  # fmt: skip
        session.commit()
    page = sign_in("technical").get(f"/jobs/{job_id}").text
    assert 'value="11" max="40"' in page
    assert "&lt;b&gt;Peña&lt;/b&gt;" in page
    assert "every 1s" in page


def test_who_started_a_job_cancels_it_and_others_do_not(system, isp, sign_in):
    job_id = add_job(system, isp, "technical")
    assert post(sign_in("sales"), f"/jobs/{job_id}/cancel").status_code == 403
    assert post(sign_in("technical"), f"/jobs/{job_id}/cancel").status_code == 302
    assert state_of(system, job_id).cancel_asked


def test_a_manager_repeats_what_somebody_else_started(system, isp, sign_in):
    job_id = add_job(system, isp, "technical", "failed")
    answer = post(sign_in("manager"), f"/jobs/{job_id}/again")
    repeated = state_of(system, int(answer.location.rsplit("/", 1)[1]))
    assert (repeated.kind, repeated.state, repeated.subject) == ("test", "queued", "Torre Norte")


def test_a_job_under_way_is_not_repeated(system, isp, sign_in):
    job_id = add_job(system, isp, "technical")
    assert post(sign_in("technical"), f"/jobs/{job_id}/again").location.endswith(f"/jobs/{job_id}")


def test_who_started_a_job_is_told_on_the_next_page_until_they_looked(system, isp, sign_in):
    job_id = add_job(system, isp, "technical", "done")
    browser = sign_in("technical")
    link = f'href="/jobs/{job_id}"'
    assert link in browser.get("/subscribers/").text
    assert link not in sign_in("manager").get("/subscribers/").text
    browser.get(f"/jobs/{job_id}")
    assert link not in browser.get("/subscribers/").text


def test_the_jobs_of_another_operator_are_not_there(system, installation, isp, sign_in):
    job_id = add_job(system, make_isp(system, installation), "manager")
    browser = sign_in("manager")
    assert browser.get(f"/jobs/{job_id}").status_code == 404
    assert post(browser, f"/jobs/{job_id}/cancel").status_code == 404
