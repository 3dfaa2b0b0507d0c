"""Lists: pages by cursor, and what they are narrowed by."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import Service
from tests.portal.billing_isp import bill, billed_line, start_billing
from tests.portal.conftest import add_service, add_subscriber
from tests.rows import add_session


def test_what_is_entered_meanwhile_moves_nothing(program, system, isp):
    there = [add_subscriber(system, isp, f"Person {number:02}") for number in range(10)]
    erp, seen, path = program(), [], "/subscribers?limit=3"
    while path:
        page = erp.get(path)
        seen += [each["id"] for each in page.json["items"]]
        add_subscriber(system, isp, f"Newcomer {len(seen)}")
        with Session(system) as session:
            if len(seen) == 3:  # what was shown already may go without moving what was not
                session.execute(text("DELETE FROM subscriber WHERE id = :id"), {"id": there[0]})
                session.commit()
        link = page.headers.get("Link", "")
        assert (page.json["next"] is None) == (link == "")
        path = link.removeprefix("<").partition(">")[0].removeprefix("/api/v1")
        if len(seen) > 12:
            break
    assert seen[:10] == there
    assert len(seen) == len(set(seen))


def test_sessions_come_newest_first_and_page_on_though_two_began_at_once(program, system, installation, isp):
    service = add_service(system, installation, isp, add_subscriber(system, isp, "Ana"), "ana")
    began = utc_now() - timedelta(hours=5)
    with Session(system) as session:
        made = [
            add_session(session, isp.operator_id, service, str(number), started_at=began + timedelta(hours=number // 2))
            for number in range(7)
        ]
        wanted = [each.id for each in sorted(made, key=lambda each: (each.started_at, each.id), reverse=True)]
        session.commit()
    erp, seen, cursor = program(), [], ""
    while cursor is not None:
        page = erp.get(f"/sessions?limit=2&service_id={service}" + (f"&cursor={cursor}" if cursor else "")).json
        seen, cursor = seen + [each["id"] for each in page["items"]], page["next"]
    assert seen == wanted


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("limit=0", 422, "invalid"),
        ("limit=201", 422, "invalid"),
        ("limit=x", 422, "invalid"),
        ("limit=5&limit=6", 422, "invalid"),
        ("page=2", 422, "invalid"),
        ("cursor=nonsense", 400, "bad-cursor"),
        ("cursor=WzEsIC0xXQ", 400, "bad-cursor"),
        ("cursor=WzEsIDEsIDJd", 400, "bad-cursor"),
        ("updated_since=yesterday", 422, "invalid"),
        ("updated_since=1234567", 422, "invalid"),
        ("name=%00", 400, "malformed"),
    ],
)
def test_parameters_that_say_nothing_are_refused(program, query, status, kind):
    answer = program("subscribers:read").get(f"/subscribers?{query}")
    assert (answer.status_code, answer.json["type"]) == (status, f"urn:portico:problem:{kind}"), answer.text
    assert answer.mimetype == "application/problem+json"


def test_lists_are_narrowed(program, system, installation, isp):
    start_billing(system, isp)
    ana = add_subscriber(system, isp, "Ana Gómez", email="Ana@example.com")
    luis, service = billed_line(system, installation, isp, "Luis", 3)
    bill(system, isp)
    erp = program()

    def ids(path):
        return [each["id"] for each in erp.get(path).json["items"]]

    assert ids("/subscribers?name=gomez") == [ana]
    assert ids("/subscribers?email=ana@EXAMPLE.com") == [ana]
    assert ids("/subscribers?service_state=active") == [luis]
    assert ids("/subscribers?name=%25") == []
    gone = add_subscriber(system, isp, "Gone", removed_at=utc_now())
    assert gone not in ids("/subscribers")
    assert erp.get(f"/subscribers/{gone}").status_code == 404
    line = {"subscriber_id": gone, "plan_id": isp.plan_id, "access_method": "line", "name": "x"}
    assert erp.post("/services", line).status_code == 422
    before = erp.get(f"/services/{service}").json["updated_at"]
    with Session(system) as session:
        session.execute(update(Service).where(Service.id == service).values(pool="p"))
        session.commit()
    after = erp.get(f"/services/{service}").json["updated_at"]
    assert after > before
    assert ids(f"/services?updated_since={after}") == [service]
    assert ids("/services?updated_since=2100-01-01T00:00:00Z") == []
    assert ids("/services?state=suspended") == []
    assert len(ids(f"/invoices?subscriber_id={luis}&state=unpaid")) == 1
    assert ids(f"/invoices?subscriber_id={luis}&state=paid") == []
    assert ids("/plans?archived=true") == []
    assert erp.get("/reports/invoices").json["items"][0]["subscriber"] == "Luis"
    assert {each["key"] for each in erp.get("/reports").json["items"]} >= {"invoices", "subscribers", "churn"}
