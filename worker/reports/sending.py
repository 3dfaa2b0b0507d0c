"""Reports by a schedule: each day, week or month at an hour of the operator's zone, as a file in a mail.

A period of a schedule is a unique row, written in the transaction that writes the mail: of two workers the second finds
it and does nothing, and when anything fails both are undone and the next round tries again. A period that nobody dealt
with for two days (the worker was away) is left out; the next one is not.

Nobody is sent what they may not read: a schedule ends when its person has left, or has lost the roles that let them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog
from celery import shared_task
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from billing.pdf import NotRendered
from core.clock import utc_now
from core.crypto import Keyring
from core.i18n import LANGUAGES, N_, translator
from core.settings import read_settings
from crm.files import store_bytes
from crm.notices import EMAIL, Message, deliver
from crm.problems import FieldProblem, Invalid, Problem
from crm.roles import changed_permissions
from db.audit import Actor, record
from db.models import Operator, ReportSchedule, ReportSending, Staff
from db.session import system_sessions
from worker.reports import REPORTS
from worker.reports.base import Report, Scope
from worker.reports.files import Reader, as_pdf, as_xlsx, days_text

log = structlog.get_logger()
PERIODS: Mapping[str, str] = {"day": N_("Each day"), "week": N_("Each week"), "month": N_("Each month")}
FORMATS: Mapping[str, str] = {"xlsx": "Excel", "pdf": "PDF"}
MOST_SCHEDULES = 50
"""Of one operator."""
TOO_LATE = timedelta(days=2)
LARGEST = 15_000_000
"""Octets of an attachment; mail servers refuse more."""
_MEDIA_TYPES = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
_SUBJECT = N_("%(report)s – %(operator)s")
_BODY = N_("%(report)s: %(days)s.\n%(about)s\n\nThe report is attached. It has %(rows)s rows.")
_TOO_LARGE = N_("%(report)s: %(days)s.\n%(about)s\n\nIt is too large for a mail. Open it in Portico under Reports.")


@dataclass(frozen=True, slots=True)
class ScheduleDetails:
    """What somebody chooses for a report that they are to be sent."""

    report: str
    format: str = "xlsx"
    every: str = "week"
    day: int = 1
    hour: int = 7


def schedule_report(
    session: Session, actor: Actor, staff: Staff, details: ScheduleDetails, granted_by: list[str]
) -> ReportSchedule:
    """Have a report sent to somebody from now on. `granted_by` are the roles that let them read it. Raises Invalid."""
    report = REPORTS.get(details.report)
    problems = []
    if report is None:
        problems.append(FieldProblem("report", Problem.UNKNOWN_CHOICE))
    if details.format not in FORMATS:
        problems.append(FieldProblem("format", Problem.UNKNOWN_CHOICE))
    if details.every not in PERIODS:
        problems.append(FieldProblem("every", Problem.UNKNOWN_CHOICE))
    most = {"week": 7, "month": 28}.get(details.every, 1)
    if details.every != "day" and not 1 <= details.day <= most:
        problems.append(FieldProblem("day", Problem.OUT_OF_RANGE, {"low": "1", "high": str(most)}))
    if not 0 <= details.hour <= 23:
        problems.append(FieldProblem("hour", Problem.OUT_OF_RANGE, {"low": "0", "high": "23"}))
    mine = select(ReportSchedule.id).where(ReportSchedule.operator_id == actor.operator_id)
    if len(session.scalars(mine).all()) >= MOST_SCHEDULES:
        problems.append(FieldProblem("report", Problem.LIMIT_REACHED, {"limit": str(MOST_SCHEDULES)}))
    if problems or report is None:
        raise Invalid(*problems)
    row = ReportSchedule(
        operator_id=actor.operator_id,
        staff_id=staff.id,
        report=report.key,
        format=details.format,
        every=details.every,
        day=1 if details.every == "day" else details.day,
        hour=details.hour,
        permission=report.permission,
        granted_by=granted_by,
    )
    session.add(row)
    session.flush()
    after = {"report": report.key, "every": details.every, "day": row.day, "hour": row.hour, "to": staff.email}
    record(session, actor, "report.schedule", "report_schedule", row.id, None, after)
    return row


def cancel_schedule(session: Session, actor: Actor, schedule: ReportSchedule) -> None:
    before = {"report": schedule.report, "every": schedule.every, "day": schedule.day, "hour": schedule.hour}
    record(session, actor, "report.unschedule", "report_schedule", schedule.id, before, None)
    session.delete(schedule)
    session.flush()


def last_due(every: str, day: int, hour: int, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the latest instant, not after `now`, at which something of this schedule was due."""
    local = now.astimezone(zone)
    on = local.date()
    if every == "week":
        on -= timedelta(days=(on.isoweekday() - day) % 7)
    elif every == "month":
        on = on.replace(day=day)
    due = _at(on, hour, zone)
    if due > now:
        if every == "month":
            before = on.replace(day=1) - timedelta(days=1)
            on = before.replace(day=day)
        else:
            on -= timedelta(days=7 if every == "week" else 1)
        due = _at(on, hour, zone)
    return due


def days_of(every: str, on: date) -> tuple[date, date]:
    """Return the first and last day that a report due on a day is about: those of the period before it."""
    last = on - timedelta(days=1)
    if every == "day":
        return last, last
    if every == "week":
        return on - timedelta(days=7), last
    first = (on.replace(day=1) - timedelta(days=1)).replace(day=1)
    return first, on.replace(day=1) - timedelta(days=1)


def _at(day: date, hour: int, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(hour), zone).astimezone(UTC)


@shared_task
def send_reports() -> None:
    """Send what is due."""
    settings = read_settings()
    send_due_reports(system_sessions(), settings.keyring, utc_now())


def send_due_reports(sessions: sessionmaker[Session], keyring: Keyring, now: datetime) -> int:
    """Do one round for every operator and return how many reports were put in the queue of mails."""
    with sessions() as session:
        schedules = session.execute(
            select(ReportSchedule.id, ReportSchedule.operator_id)
            .join(Operator, Operator.id == ReportSchedule.operator_id)
            .where(ReportSchedule.stopped == "", Operator.active)
            .order_by(ReportSchedule.id)
        ).all()
    sent = 0
    for schedule_id, operator_id in schedules:
        try:
            with sessions() as session:
                if _send(session, keyring, schedule_id, now):
                    sent += 1
                session.commit()
        except NotRendered:
            log.exception("report_not_rendered", operator_id=operator_id, schedule_id=schedule_id)
        except Exception:  # one report that fails must not keep the others
            log.exception("report_not_sent", operator_id=operator_id, schedule_id=schedule_id)
    return sent


def _send(session: Session, keyring: Keyring, schedule_id: int, now: datetime) -> bool:
    schedule = session.get(ReportSchedule, schedule_id)
    if schedule is None or schedule.stopped:
        return False
    operator = session.get_one(Operator, schedule.operator_id)
    zone = ZoneInfo(operator.timezone)
    due = last_due(schedule.every, schedule.day, schedule.hour, zone, now)
    if due <= schedule.created_at or now - due > TOO_LATE:
        return False
    period = due.astimezone(zone).date()
    sending_id = session.scalar(
        insert(ReportSending)
        .values(operator_id=operator.id, schedule_id=schedule.id, period=period, sent_at=now)
        .on_conflict_do_nothing(index_elements=["schedule_id", "period"])
        .returning(ReportSending.id)
    )
    if sending_id is None:
        return False
    report, person = REPORTS.get(schedule.report), session.get_one(Staff, schedule.staff_id)
    schedule.stopped = _why_not(session, schedule, report, person)
    if report is None or schedule.stopped:
        return False
    first, last = days_of(schedule.every, period)
    scope = Scope(operator.id, zone, first, last, now)
    language = person.language or operator.locale[:2]
    language = language if language in LANGUAGES else "en"
    locale = operator.locale.replace("-", "_") if operator.locale[:2] == language else language
    reader = Reader(language, locale, operator.name, operator.currency)
    rows = session.execute(_ordered(report, scope).execution_options(yield_per=1000))
    content, count = (as_pdf if schedule.format == "pdf" else as_xlsx)(report, scope, reader, rows)
    translate = translator(language)
    title = translate(report.title)
    fits = len(content) <= LARGEST
    name = f"{report.key}-{(last if report.spans else scope.today).isoformat()}.{schedule.format}"
    file = store_bytes(session, operator.id, name, _MEDIA_TYPES[schedule.format], content) if fits else None
    words = {
        "report": title, "days": days_text(report, scope, reader), "about": translate(report.answers), "rows": count,
    }  # fmt: skip
    message = Message(
        "report", EMAIL, person.email, language, translate(_SUBJECT) % {"report": title, "operator": operator.name},
        translate(_BODY if fits else _TOO_LARGE) % words, file_id=file.id if file else None,
    )  # fmt: skip
    [notification] = deliver(session, keyring, operator.id, [message])
    sending = session.get_one(ReportSending, sending_id)
    sending.notification_id, sending.rows = notification.id, count
    log.info("report_sent", operator_id=operator.id, report=report.key, rows=count)
    return True


def _ordered(report: Report, scope: Scope):  # type: ignore[no-untyped-def] # a Select of whatever the report selects
    rows = report.query(scope).subquery()
    column = rows.c[report.order.lstrip("-")]
    ordered = column.desc().nulls_last() if report.order.startswith("-") else column.asc().nulls_last()
    return select(rows).order_by(ordered, rows.c.id)


def _why_not(session: Session, schedule: ReportSchedule, report: Report | None, person: Staff) -> str:
    if report is None:
        return "report"
    if not person.active:
        return "gone"
    changed = changed_permissions(session, schedule.operator_id, person.roles)
    for role in schedule.granted_by:
        if role in person.roles and changed.get(role, {}).get(schedule.permission, True):
            return ""
    return "permission"
