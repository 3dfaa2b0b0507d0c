from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from billing.incident_credit import credited, credits_for, days_lost, give_credits, total_of
from billing.ledger import discrepancies
from db.models import Alert, Incident, IncidentMember, InvoiceLine
from tests.billing.isp import BillingIsp, noon
from tests.rows import add_nas

BEGIN = date(2027, 1, 5)
OUTAGE = date(2027, 1, 20)
FEBRUARY, MARCH = date(2027, 2, 5), date(2027, 3, 5)


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=0, first_due_days=0)


def outage(isp, members, **values):
    """Close an incident after three days; `members` are services with how long each was without."""
    begun = noon(OUTAGE)
    incident = Incident(**{
        "operator_id": isp.operator_id, "scope": "router", "nas_id": add_nas(isp.session, isp.operator_id),
        "before": 9, "lost": len(members), "opened_at": begun, "closed_at": begun + timedelta(days=3), **values,
    })  # fmt: skip
    isp.session.add(incident)
    isp.session.flush()
    for number, (service, lost) in enumerate(members, 1):
        isp.session.add(
            IncidentMember(
                incident_id=incident.id, session_id=number, operator_id=isp.operator_id, nas_id=incident.nas_id,
                service_id=service.id, user_name=service.name, ended_at=begun,
                back_at=begun + lost if lost is not None else None,
            )
        )  # fmt: skip
    isp.session.flush()
    return incident


@pytest.mark.parametrize(
    ("lost", "days"),
    [
        (timedelta(hours=3, minutes=59), 0),
        (timedelta(hours=4), 1),
        (timedelta(hours=24), 1),
        (timedelta(hours=24, seconds=1), 2),
        (timedelta(days=90), 30),
    ],
)
def test_a_day_that_was_begun_counts_after_four_hours(lost, days):
    assert days_lost(lost) == days


def test_a_credit_comes_off_the_next_invoice_once(isp):
    long, short, gone = (isp.service(BEGIN) for _ in range(3))
    isp.run(BEGIN)
    incident = outage(isp, [(long, timedelta(hours=30)), (short, timedelta(hours=1)), (gone, None)])
    rows = credits_for(isp.session, isp.rules, incident)
    assert sorted((row.service_id, row.days, row.amount) for row in rows) == [
        (long.id, 2, Decimal(20)), (gone.id, 3, Decimal(30)),
    ]  # fmt: skip
    assert total_of(rows) == 50
    for expected in (2, 0):  # a job that is begun again gives nothing twice
        assert give_credits(isp.session, isp.actor, isp.rules, incident, rows, noon(OUTAGE)) == expected
    assert credits_for(isp.session, isp.rules, incident) == []
    assert credited(isp.session, incident.id) == (2, Decimal(50))
    isp.run(FEBRUARY)
    isp.run(MARCH)
    _january, february, march = isp.invoices(long)
    assert (february.total, march.total) == (Decimal(280), Decimal(300))
    lines = isp.session.scalars(select(InvoiceLine.description).where(InvoiceLine.invoice_id == february.id)).all()
    assert "Bonificación por la falla del 2027-01-20" in " ".join(lines)
    assert [invoice.total for invoice in isp.invoices(short)] == [Decimal(300)] * 3
    assert discrepancies(isp.session, isp.operator_id) == []


def test_an_incident_that_a_person_opened_credits_all_whom_it_concerned(isp):
    there, elsewhere = isp.service(BEGIN), isp.service(BEGIN)
    isp.run(BEGIN)
    incident = outage(isp, [], by_hand=True)
    there.nas_id = incident.nas_id
    isp.session.flush()
    assert [(row.service_id, row.days) for row in credits_for(isp.session, isp.rules, incident)] == [(there.id, 3)]
    assert elsewhere.nas_id is None


def test_an_outage_of_several_routers_credits_each_for_how_long_its_own_was_down(isp):
    there, shortly, later = isp.service(BEGIN), isp.service(BEGIN), isp.service(OUTAGE + timedelta(days=9))
    isp.run(BEGIN)
    incident = outage(isp, [], scope="network")
    other = add_nas(isp.session, isp.operator_id)
    for nas_id, lost in ((incident.nas_id, timedelta(days=3)), (other, timedelta(hours=5))):
        isp.session.add(
            Alert(
                operator_id=isp.operator_id, nas_id=nas_id, kind="router_down", incident_id=incident.id,
                opened_at=incident.opened_at, closed_at=incident.opened_at + lost,
            )
        )  # fmt: skip
    there.nas_id, shortly.nas_id, later.nas_id = incident.nas_id, other, other
    isp.session.flush()
    rows = credits_for(isp.session, isp.rules, incident)
    assert sorted((row.service_id, row.days) for row in rows) == [(there.id, 3), (shortly.id, 1)]
