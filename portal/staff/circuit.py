"""Circuit tests: started from a service, shown step by step, kept on its record, and reported.

The test is a job. Its page asks again each second until the verdict is there, and can be left and come back to.
"""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from sqlalchemy import Select, case, func, select, update

from crm.jobs import OPEN, start_job
from db.models import CircuitTest, Job, Service, Staff, Subscriber
from network.circuit import Step
from network.circuit_test import TEST
from portal import context
from portal.auth import limiter
from portal.circuit_words import install, verdict_title
from portal.labels import choices, label
from portal.permissions import Permission, requires
from portal.staff.services import find as find_service
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("circuit", __name__)
blueprint.record_once(install)

SHOWN = 5
"""Tests of a service that its card shows."""

_STANDING = case(
    (CircuitTest.verdict.is_not(None), CircuitTest.verdict),
    (Job.state.in_(OPEN), "running"),
    else_="broken",
)
"""The verdict; or that the test is under way, or was broken off."""


def _verdicts() -> Sequence[tuple[str, Any]]:
    return choices("circuit_verdict")


def _newest(value: str) -> Any:
    newest = select(func.max(CircuitTest.id)).group_by(CircuitTest.service_id)
    return CircuitTest.id.in_(newest) if value == "newest" else CircuitTest.id.is_not(None)


def _stands(value: str) -> Any:
    return _STANDING.in_((value,))


TABLE = Table(
    name="circuit-tests",
    columns=(
        Column("at", _l("When"), lambda row: row.CircuitTest.started_at, CircuitTest.started_at),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber, Subscriber.name),
        Column("service", _l("Service"), lambda row: row.service, Service.name, wide=True),
        Column("verdict", _l("Fault"), lambda row: label("circuit_verdict", row.standing), CircuitTest.verdict),
        Column("why", _l("Why"), lambda row: verdict_title(row.CircuitTest.why), wide=True),
        Column("router", _l("Router"), lambda row: row.CircuitTest.nas_name, CircuitTest.nas_name, wide=True),
        Column("sector", _l("Sector"), lambda row: row.CircuitTest.sector, CircuitTest.sector, wide=True),
        Column("address", _l("Address"), lambda row: row.CircuitTest.address, exported_only=True),
        Column("by", _l("Started by"), lambda row: row.by or "", wide=True),
    ),
    order="-at",
    tie=CircuitTest.id,
    filters=(
        Filter("verdict", _l("Any fault"), _verdicts, _stands),
        Filter(
            "tests", _l("All tests"), lambda: [("newest", _l("The newest of each service"))], _newest
        ),
    ),
    search=lambda words: Subscriber.name.icontains(words, autoescape=True)
    | Service.name.icontains(words, autoescape=True)
    | CircuitTest.nas_name.icontains(words, autoescape=True),
    search_hint=_l("Subscriber, service or router"),
)  # fmt: skip


@blueprint.get("/circuits/")
@requires(Permission.SESSIONS_VIEW)
def index() -> ResponseReturnValue:
    """The report: what the tests found, most of all the newest of each service."""
    return show(context.db(), TABLE, _tests(), "staff/circuit/index.html")


def _tests() -> Select[Any]:
    return (
        select(
            CircuitTest,
            Service.name.label("service"),
            Subscriber.id.label("subscriber_id"),
            Subscriber.name.label("subscriber"),
            Staff.name.label("by"),
            _STANDING.label("standing"),
        )
        .join(Service, Service.id == CircuitTest.service_id)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .outerjoin(Staff, Staff.id == CircuitTest.staff_id)
        .outerjoin(Job, Job.id == CircuitTest.job_id)
    )


@blueprint.get("/services/<int:service_id>/circuits")
@requires(Permission.SESSIONS_VIEW)
def panel(service_id: int) -> ResponseReturnValue:
    """Return the last tests of one service as a part of another page."""
    service = find_service(service_id)
    tests = context.db().execute(
        _tests().where(CircuitTest.service_id == service.id).order_by(CircuitTest.started_at.desc()).limit(SHOWN)
    )
    return render_template("staff/circuit/panel.html", service=service, tests=tests.all())


@blueprint.post("/services/<int:service_id>/circuit")
@requires(Permission.CIRCUIT_TEST)
@limiter.limit("30 per minute")
def start(service_id: int) -> ResponseReturnValue:
    """Begin a test, or go to the one that is under way."""
    service = find_service(service_id)
    session, actor = context.db(), context.actor()
    running = session.scalar(
        select(CircuitTest.id)
        .join(Job, Job.id == CircuitTest.job_id)
        .where(CircuitTest.service_id == service.id, CircuitTest.verdict.is_(None), Job.state.in_(OPEN))
        .limit(1)
    )
    if running is None:
        test = CircuitTest(operator_id=service.operator_id, service_id=service.id, staff_id=actor.staff_id)
        session.add(test)
        session.flush()
        test.job_id = start_job(session, actor, TEST, {"test_id": test.id}, service.name).id
        running = test.id
        session.commit()
    return redirect(url_for("circuit.page", test_id=running))


@blueprint.get("/circuits/<int:test_id>")
@requires(Permission.SESSIONS_VIEW)
def page(test_id: int) -> ResponseReturnValue:
    session = context.db()
    row = session.execute(_tests().where(CircuitTest.id == test_id)).one_or_none() or abort(404)
    if row.CircuitTest.verdict is not None and row.CircuitTest.staff_id == context.staff().id:
        # Whoever sees the verdict needs not be told on the next page that the job has ended.
        session.execute(update(Job).where(Job.id == row.CircuitTest.job_id, ~Job.told).values(told=True))
        session.commit()
    done = {step["step"] for step in row.CircuitTest.steps}
    job = session.get(Job, row.CircuitTest.job_id) if row.CircuitTest.job_id is not None else None
    if job is None or not job.parameters.get("rate"):
        done.add(Step.RATE.value)
    return render_template(
        "staff/circuit/page.html",
        row=row,
        test=row.CircuitTest,
        under_way=row.standing == "running",
        coming=[step.value for step in Step if step.value not in done],
    )
