"""Reports by mail: on the hour of the operator's zone, once for each period, and never to who may not read them."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.notices import send_due
from db.audit import Actor
from db.migrate import migrate
from db.models import (
    Notification,
    Operator,
    RatePlan,
    ReportSchedule,
    ReportSending,
    RolePermission,
    Service,
    Staff,
    StoredFile,
    Subscriber,
)
from db.session import make_engine, make_sessions
from tests.crm.test_notices import MailServer
from worker.reports.sending import ScheduleDetails, days_of, last_due, schedule_report, send_due_reports

MEXICO = ZoneInfo("America/Mexico_City")
MONDAY = datetime(2027, 3, 1, 13, 30, tzinfo=UTC)  # 07:30 in Mexico


@pytest.mark.parametrize(
    ("every", "day", "hour", "now", "due"),
    [
        pytest.param("day", 1, 7, MONDAY, datetime(2027, 3, 1, 13, tzinfo=UTC), id="this morning"),
        pytest.param("day", 1, 8, MONDAY, datetime(2027, 2, 28, 14, tzinfo=UTC), id="not yet, so yesterday's"),
        pytest.param("week", 1, 7, MONDAY, datetime(2027, 3, 1, 13, tzinfo=UTC), id="Monday"),
        pytest.param("week", 2, 7, MONDAY, datetime(2027, 2, 23, 13, tzinfo=UTC), id="last Tuesday"),
        pytest.param("month", 1, 7, MONDAY, datetime(2027, 3, 1, 13, tzinfo=UTC), id="the first"),
        pytest.param("month", 28, 7, MONDAY, datetime(2027, 2, 28, 13, tzinfo=UTC), id="28 February"),
    ],
)
def test_a_schedule_is_due_by_the_operators_clock(every, day, hour, now, due):
    assert last_due(every, day, hour, MEXICO, now) == due


def test_a_report_is_about_the_period_before():
    assert days_of("day", date(2027, 3, 1)) == (date(2027, 2, 28), date(2027, 2, 28))
    assert days_of("week", date(2027, 3, 1)) == (date(2027, 2, 22), date(2027, 2, 28))
    assert days_of("month", date(2027, 3, 5)) == (date(2027, 2, 1), date(2027, 2, 28))


@pytest.fixture(scope="module")
def sessions(installation: Settings):
    migrate(installation)
    engine = make_engine(installation.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def schedule(sessions):
    """A schedule of a Spanish-speaking manager, each day at seven, made on the day before MONDAY."""
    with sessions() as session:
        session.execute(delete(ReportSchedule))
        session.execute(delete(Notification))
        operator = Operator(
            slug=f"isp-{datetime.now(UTC).timestamp()}",
            name="Ondas",
            timezone=MEXICO.key,
            currency="MXN",
            locale="es_MX",
        )
        session.add(operator)
        session.flush()
        person = Staff(
            operator_id=operator.id, email=f"jefa@isp-{operator.id}.example", name="Jefa", password_hash="x",
            roles=["manager", "sales"], language="es",
        )  # fmt: skip
        plan = RatePlan(operator_id=operator.id, name="Hogar", download=1_000_000, upload=1_000_000)
        ana = Subscriber(operator_id=operator.id, name="=1+1 Ana")
        session.add_all([person, plan, ana])
        session.flush()
        session.add(
            Service(
                operator_id=operator.id, subscriber_id=ana.id, plan_id=plan.id, access_method="mac",
                name="aa:bb:cc:00:00:01",
            )
        )  # fmt: skip
        actor = Actor(operator.id, person.email, person.id)
        made = schedule_report(
            session, actor, person, ScheduleDetails("subscribers", every="day", hour=7), ["manager", "sales"]
        )
        made.created_at = MONDAY - timedelta(days=1)
        session.commit()
        return made.id


def test_two_workers_send_a_report_once_and_the_next_day_again(sessions, schedule, installation):
    with ThreadPoolExecutor(2) as both:
        rounds = [both.submit(send_due_reports, sessions, installation.keyring, MONDAY) for _worker in range(2)]
        assert sum(each.result() for each in rounds) == 1
    assert send_due_reports(sessions, installation.keyring, MONDAY + timedelta(hours=1)) == 0
    assert send_due_reports(sessions, installation.keyring, MONDAY + timedelta(days=1)) == 1
    with sessions() as session:
        assert len(session.scalars(select(ReportSending)).all()) == 2


def test_what_arrives_is_a_worksheet_in_the_readers_language(sessions, schedule, installation):
    assert send_due_reports(sessions, installation.keyring, MONDAY) == 1
    with sessions() as session:
        session.execute(update(Notification).values(next_attempt_at=MONDAY))
        session.commit()
    with MailServer() as server:
        address = {"smtp_host": "127.0.0.1", "smtp_port": server.server_address[1], "smtp_security": "none"}
        send_due(sessions, installation.model_copy(update=address), MONDAY)
        [mail] = server.mails
    [attached] = list(mail.iter_attachments())
    assert attached.get_filename() == "subscribers-2027-03-01.xlsx"  # about now, not about the day before
    sheet = openpyxl.load_workbook(io.BytesIO(attached.get_content())).active
    titles, row = ([cell.value for cell in line] for line in sheet.iter_rows(max_row=2))
    assert titles[0] == "Cliente"
    assert row[0] == "=1+1 Ana"
    assert sheet["A2"].data_type == "s"
    assert row[4] == "Activo"


def test_a_pdf_is_sent_where_a_pdf_was_asked_for(sessions, schedule, installation):
    with sessions() as session:
        session.execute(update(ReportSchedule).values(format="pdf"))
        session.commit()
    assert send_due_reports(sessions, installation.keyring, MONDAY) == 1
    with sessions() as session:
        kept = session.execute(select(StoredFile.content).order_by(StoredFile.id.desc()).limit(1)).scalar_one()
    assert kept.startswith(b"%PDF-")


def test_what_fails_is_undone_and_sent_by_a_later_round(sessions, schedule, installation, monkeypatch):
    with sessions() as session:
        session.execute(update(ReportSchedule).values(format="pdf"))
        session.commit()
    with monkeypatch.context() as away:
        away.setenv("PATH", "/nowhere")  # there is no wkhtmltopdf
        assert send_due_reports(sessions, installation.keyring, MONDAY) == 0
    with sessions() as session:
        assert session.scalars(select(ReportSending)).all() == []
    assert send_due_reports(sessions, installation.keyring, MONDAY) == 1


@pytest.mark.parametrize("lost", ["role", "permission", "account"])
def test_nobody_is_sent_what_they_may_no_longer_read(sessions, schedule, installation, lost):
    with sessions() as session:
        made = session.get_one(ReportSchedule, schedule)
        person = session.get_one(Staff, made.staff_id)
        if lost == "role":
            person.roles = ["technical"]
        elif lost == "account":
            person.active = False
        else:
            person.roles = ["sales"]
            session.add(
                RolePermission(operator_id=made.operator_id, role="sales", permission=made.permission, allowed=False)
            )
        session.commit()
    assert send_due_reports(sessions, installation.keyring, MONDAY) == 0
    with sessions() as session:
        assert session.get_one(ReportSchedule, schedule).stopped == ("gone" if lost == "account" else "permission")
        assert session.scalars(select(Notification)).all() == []


def test_what_was_due_long_ago_or_before_it_was_asked_for_is_left_out(sessions, schedule, installation):
    with Session(sessions.kw["bind"]) as session:
        session.execute(update(ReportSchedule).values(every="week", day=4))
        session.commit()
    assert send_due_reports(sessions, installation.keyring, MONDAY) == 0
