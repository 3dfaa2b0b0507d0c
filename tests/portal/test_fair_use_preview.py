"""Rules tried on last month, before anybody feels them."""

import re

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.jobs import JOBS
from db.models import Job, JobLine, RatePlan
from tests.portal.conftest import add_service, add_subscriber
from worker.jobs import run_job

GB = 10**9

USE = text("""
WITH period AS (SELECT date_trunc('month', now(), 'UTC') - interval '1 month' AS begins),
hours AS (
    INSERT INTO usage_hour (service_id, hour, operator_id, octets_out)
    SELECT s.id, h, s.operator_id, CAST(:octets AS bigint) FROM service s, period p,
         generate_series(p.begins + interval '12 hours', date_trunc('month', now(), 'UTC') - interval '1 hour',
                         interval '1 day') h
    WHERE s.id = ANY(:ids) RETURNING service_id, operator_id, octets_out
)
INSERT INTO usage_period (service_id, period_start, period_end, operator_id, octets_out)
SELECT service_id, p.begins, date_trunc('month', now(), 'UTC'), operator_id, sum(octets_out)
FROM hours, period p GROUP BY 1, 2, 3, 4
""")


def test_a_step_is_tried_on_last_month_and_nothing_is_saved(system, installation, isp, sign_in):
    with Session(system) as session:
        session.execute(text("UPDATE operator SET timezone = 'UTC', cut_off_day = 1"))
        ids = [
            add_service(system, installation, isp, add_subscriber(system, isp, f"Nr {n}"), f"nr{n}") for n in range(3)
        ]
        session.execute(USE, {"ids": ids[:2], "octets": GB})
        session.execute(USE, {"ids": ids[2:], "octets": 4 * GB})
        session.commit()
    browser = sign_in("manager")
    url = f"/plans/{isp.plan_id}"
    page = browser.get(f"{url}/edit").text
    fields = {
        name: value
        for name, value in re.findall(r'<input[^>]*name="([^"]+)" value="([^"]*)"', page)
        if "days" not in name
    }
    form = {
        **fields,
        "name": "Tried",
        "download": ["20", "M"],
        "upload": ["5", "M"],
        "interim_interval": "5",
        "cap_action": "nothing",
        "priority": "",
        **{f"steps-{number}-span": "month" for number in range(5)},
        "steps-0-octets": "40",
        "steps-0-span": "month",
        "steps-0-download": ["4", "M"],
        "steps-0-upload": ["1", "M"],
        "steps-1-octets": "4",
        "steps-1-span": "day",
        "steps-1-download": ["8", "M"],
        "steps-1-upload": ["2", "M"],
    }
    answer = browser.post(f"{url}/try", data=form)
    assert answer.status_code == 200, re.findall(
        r"(?s)Please look at this.*?</ul>|invalid-feedback.*?</div>", answer.text
    )
    assert 'value="Tried"' in answer.text  # what was typed is still there
    trial = re.search(rf"{url}/tried/(\d+)", answer.text)
    waiting = browser.get(trial[0]).text
    assert "every 1s" in waiting
    run_job(system, installation, int(trial[1]), JOBS)
    found = browser.get(trial[0]).text
    assert "every 1s" not in found
    assert "1 of 3 services" in found
    assert "Nr 2" in found
    assert f'href="{trial[0]}"' in browser.get(f"/jobs/{trial[1]}").text
    assert browser.get(trial[0].replace(f"/{isp.plan_id}/", f"/{isp.plan_id + 10**6}/")).status_code == 404
    with Session(system) as session:
        job = session.get_one(Job, int(trial[1]))
        assert (job.state, job.done, job.total) == ("done", 3, 3)
        assert session.scalars(select(JobLine.message).where(JobLine.job_id == job.id)).all()
        assert session.get_one(RatePlan, isp.plan_id).steps == []
    worse = browser.post(f"{url}/try", data={**form, "steps-0-download": ["40", "M"]})
    assert worse.status_code == 422
