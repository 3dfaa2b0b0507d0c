"""The page of a router's backups: what is shown, what is compared, and who gets the passwords."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from db.models import AuditEntry, Job, Router
from network.backups import keep, note_try
from network.problems import Cause, RouterProblem
from tests.portal.conftest import make_isp, post

FIRST = '/ppp secret\nadd name="ana <b>" password="secreta"\n'
SECOND = FIRST + 'add name="beto" password="tercera"\n'


@pytest.fixture
def router(system, isp) -> int:
    with Session(system) as session:
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="portico", api_password=b"sealed"))
        session.commit()
    return isp.nas_id


@pytest.fixture
def backups(system, installation, isp, router) -> list[int]:
    made = []
    with Session(system) as session:
        for days, text in ((2, FIRST), (1, SECOND)):
            when = utc_now() - timedelta(days=days)
            made.append(keep(session, installation.keyring, isp.operator_id, router, "7.20", text, when).id)
        session.commit()
    return made


def test_a_router_without_backups_says_when_they_come(sign_in, router):
    page = sign_in("support").get(f"/routers/{router}/backups").text
    assert "No backups yet" in page
    assert "Back up now" not in page


def test_two_backups_are_compared_without_their_secrets(sign_in, router, backups):
    browser = sign_in("support")
    assert "+1" in browser.get(f"/routers/{router}/backups").text
    page = browser.get(f"/routers/{router}/backups?older={backups[1]}&newer={backups[0]}").text
    assert '<span class="came">+add name=&#34;beto&#34; password=&#34;&lt;hidden' in page
    assert "ana &lt;b&gt;" in page
    assert "secreta" not in page
    assert "tercera" not in page
    assert "Both are the same" in browser.get(f"/routers/{router}/backups?older={backups[0]}&newer={backups[0]}").text


def test_passwords_are_handed_out_to_few_and_it_is_written_down(sign_in, system, isp, router, backups):
    where = f"/routers/{router}/backups/{backups[1]}"
    assert "tercera" not in sign_in("technical").get(where).text
    assert post(sign_in("support"), f"{where}/whole").status_code == 403
    answer = post(sign_in("technical"), f"{where}/whole")
    assert "tercera" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    with Session(system) as session:
        taken = session.scalars(
            select(AuditEntry).where(
                AuditEntry.operator_id == isp.operator_id, AuditEntry.action == "router.backup_taken"
            )
        ).all()
    assert [entry.after for entry in taken] == [{"backup": backups[1]}]


def test_a_failure_is_shown_with_its_cause(sign_in, system, isp, router, backups):
    with Session(system) as session:
        note_try(session, isp.operator_id, router, utc_now(), RouterProblem(Cause.TIMEOUT, "<no> answer"))
        session.commit()
    page = sign_in("support").get(f"/routers/{router}/backups").text
    assert "The last backup failed" in page
    assert "VPN down" in page
    assert "&lt;no&gt; answer" in page


def test_a_backup_that_no_key_opens_is_said_to_be_so(sign_in, system, isp, router):
    with Session(system) as session:
        lost = keep(session, Keyring.parse(Keyring.generate(9)), isp.operator_id, router, "7", FIRST, utc_now()).id
        session.commit()
    browser = sign_in("technical")
    assert "cannot be opened" in browser.get(f"/routers/{router}/backups/{lost}").text
    assert "cannot be opened" in browser.get(f"/routers/{router}/backups?older={lost}&newer={lost}").text
    answer = post(browser, f"/routers/{router}/backups/{lost}/whole")
    assert "cannot be opened" in browser.get(answer.location).text


def test_a_backup_now_is_a_job(sign_in, system, isp, router):
    answer = post(sign_in("technical"), f"/routers/{router}/backups/now")
    with Session(system) as session:
        job = session.scalars(select(Job).where(Job.operator_id == isp.operator_id)).one()
        assert (job.kind, job.parameters) == ("backups.take", {"nas_id": router})
        assert answer.location.endswith(f"/jobs/{job.id}")


def test_another_operator_sees_none_of_it(system, installation, sign_in, router, backups):
    browser = sign_in("technical", make_isp(system, installation))
    for where in (f"/routers/{router}/backups", f"/routers/{router}/backups/{backups[0]}"):
        assert browser.get(where).status_code == 404
    assert post(browser, f"/routers/{router}/backups/{backups[0]}/whole").status_code == 404
    assert post(browser, f"/routers/{router}/backups/now").status_code == 404
