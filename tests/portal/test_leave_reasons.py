"""Why people leave: asked when a service ends, counted in a report, in the words of the operator's own list."""

from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.leave_reasons import FIRST
from crm.services import terminate
from db.audit import Actor
from db.models import Service
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


def service(system, number):
    with Session(system) as session:
        return session.get_one(Service, number)


def test_who_ends_a_service_says_why_and_the_report_counts_it(sign_in, isp, system, installation):
    manager = sign_in("manager")
    lines = [add_service(system, installation, isp, add_subscriber(system, isp, f"P{n}"), f"p{n}") for n in range(4)]
    page = manager.get(f"/services/{lines[0]}/terminate").text
    assert all(f">{title}</option>" in page for title in FIRST)
    refused = post(manager, f"/services/{lines[0]}/terminate", reason="No idea")
    assert (refused.status_code, service(system, lines[0]).state) == (422, "active")
    assert "Choose one of the list." in refused.text
    post(manager, f"/services/{lines[0]}/terminate", reason="Moved away", note="<b>to Lima</b>")
    post(manager, f"/services/{lines[1]}/terminate", reason="Moved away")
    post(manager, f"/services/{lines[2]}/terminate", reason="Too expensive", note="x" * 501)
    with Session(system) as session:  # a job asks nobody
        cut = session.get_one(Service, lines[3])
        cut.state, cut.suspension_cause, cut.suspended_at = "suspended", "overdue", utc_now()
        session.flush()
        terminate(session, Actor(isp.operator_id, "dunning"), cut, utc_now())
        session.commit()
    assert (service(system, lines[0]).leave_reason, service(system, lines[0]).leave_note) == (
        "Moved away",
        "<b>to Lima</b>",
    )
    assert service(system, lines[2]).state == "active"  # the note was too long to keep
    report = manager.get("/reports/all/leaving?format=csv").text
    assert [line.split(",")[:3] for line in report.splitlines()[1:]] == [
        ["Moved away", "2", "66.7"], ["Ended for debt", "1", "33.3"],
    ]  # fmt: skip
    assert "&lt;b&gt;to Lima" in manager.get("/reports/all/leavers").text
    assert post(manager, f"/services/{lines[0]}/reinstate").status_code == 302
    assert service(system, lines[0]).leave_reason == ""


def test_an_operator_writes_its_own_list_and_old_words_stay_in_the_books(sign_in, isp, system, installation):
    manager = sign_in("manager")
    line = add_service(system, installation, isp, add_subscriber(system, isp, "Eva"), "eva")
    post(manager, f"/services/{line}/terminate", reason="Moved away")
    assert post(sign_in("sales"), "/settings/leaving/", reasons="Mine").status_code == 403
    too_long = post(manager, "/settings/leaving/", reasons="x" * 81)
    assert too_long.status_code == 422
    assert "x" * 81 in too_long.text
    assert post(manager, "/settings/leaving/", reasons="Se mudó\n\n se  mudó \nMuy caro").status_code == 302
    assert "Se mudó\nMuy caro</textarea>" in manager.get("/settings/leaving/").text
    assert service(system, line).leave_reason == "Moved away"
    other = make_isp(system, installation)
    with Session(system) as session:
        assert not session.query(Service).filter_by(operator_id=other.operator_id).count()
    post(manager, "/settings/leaving/", reasons="")
    assert "Moved away" in manager.get("/settings/leaving/").text
