"""Testing the line of a work order, for its page and for the technicians' phones."""

from sqlalchemy import select

from core.clock import utc_now
from crm.jobs import OPEN as JOB_OPEN
from crm.jobs import start_job
from crm.problems import FieldProblem, Invalid, Problem
from crm.work_steps import note_link_test
from db.models import CircuitTest, Job, Service, WorkOrder
from network.circuit_test import TEST
from portal import context


def begin_link_test(order: WorkOrder) -> None:
    """Begin a circuit test of the order's service, unless one is under way. Raises Invalid and WrongOrderState."""
    session, actor = context.db(), context.actor()
    service = session.get(Service, order.service_id) if order.service_id is not None else None
    if service is None:
        raise Invalid(FieldProblem("service_id", Problem.NO_SERVICE))
    running = session.scalar(
        select(CircuitTest.id)
        .join(Job, Job.id == CircuitTest.job_id)
        .where(CircuitTest.service_id == service.id, CircuitTest.verdict.is_(None), Job.state.in_(JOB_OPEN))
        .limit(1)
    )
    if running is None:
        test = CircuitTest(operator_id=service.operator_id, service_id=service.id, staff_id=actor.staff_id)
        session.add(test)
        session.flush()
        test.job_id = start_job(session, actor, TEST, {"test_id": test.id, "rate": True}, service.name).id
        session.flush()
        running = test.id
    note_link_test(session, actor, order, running, utc_now())
