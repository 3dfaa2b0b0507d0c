from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text

from billing.cycles import Timing
from billing.preview import Proposal, next_invoices
from billing.run import preview_run
from billing.simulation import simulate
from billing.taxes import Tax
from db.models import Invoice, LedgerEntry, ServicePeriod
from tests.billing.isp import BillingIsp

BEGIN = date(2027, 1, 5)


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=5, taxes=[("IVA", "16", False)])


def summary(drafts):
    return [(draft.period.first, draft.period.last, draft.total) for draft in drafts]


def test_the_preview_of_a_batch_is_what_the_run_issues(isp):
    services = [isp.service(BEGIN, price) for price in ("300", "0", "777.77")]
    isp.run(BEGIN)
    day = date(2027, 3, 31)  # February was missed, so each comes twice
    foreseen = list(preview_run(isp.session, isp.rules, day))
    assert isp.session.scalar(select(func.count()).select_from(Invoice)) == 2
    assert isp.run(day) == len([draft for draft in foreseen if draft.total > 0])
    made = {
        (invoice.service_id, invoice.period_first, invoice.period_last, invoice.total, invoice.due_on)
        for service in services
        for invoice in isp.invoices(service)[1:]
    }
    assert made == {
        (draft.service_id, draft.period.first, draft.period.last, draft.total, draft.due_on)
        for draft in foreseen
        if draft.total > 0
    }


def test_the_next_three_invoices_are_those_that_come(isp):
    service = isp.service(date(2027, 1, 18))
    isp.run(date(2027, 1, 18))
    foreseen = next_invoices(isp.session, isp.rules, service.id, date(2027, 1, 18))
    isp.run_until(date(2027, 1, 19), date(2027, 4, 1))
    assert summary(foreseen) == [
        (invoice.period_first, invoice.period_last, invoice.total) for invoice in isp.invoices(service)[1:]
    ]


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        pytest.param(Proposal(), [(2, 5, "348.00"), (3, 5, "348.00")], id="as things are"),
        pytest.param(Proposal(taxes=(Tax("IVA", Decimal(8)),)), [(2, 5, "324.00"), (3, 5, "324.00")], id="another tax"),
        pytest.param(Proposal(price_percent=Decimal(10)), [(2, 5, "382.80"), (3, 5, "382.80")], id="dearer"),
        pytest.param(Proposal(cut_off_day=15), [(2, 5, "112.25"), (2, 15, "348.00")], id="another cut-off day"),
        pytest.param(Proposal(months=3), [(2, 5, "1044.00"), (5, 5, "1044.00")], id="three months at once"),
    ],
)
def test_a_proposal_shows_what_would_be_billed(isp, proposal, expected):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    found = next_invoices(isp.session, isp.rules, service.id, BEGIN, 2, proposal)
    assert [(draft.period.first.month, draft.period.first.day, str(draft.total)) for draft in found] == expected


def test_another_plan_is_previewed(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    found = next_invoices(isp.session, isp.rules, service.id, BEGIN, 1, Proposal(plan_id=isp.plan("500")))
    assert [draft.total for draft in found] == [Decimal("580.00")]


def test_a_service_that_is_not_billed_has_no_next_invoices(isp):
    service = isp.service(BEGIN, state="pending", activated_at=None)
    assert next_invoices(isp.session, isp.rules, service.id, BEGIN) == []


def test_a_simulated_year_is_the_year_that_comes(isp):
    for day, price in ((5, "300"), (18, "450"), (31, "777.77")):
        isp.service(date(2027, 1, day), price)
    isp.run_until(BEGIN, date(2027, 1, 31))
    before = isp.session.scalar(select(func.count()).select_from(LedgerEntry))
    foreseen = simulate(isp.session, isp.rules, 11, date(2027, 2, 1))
    assert isp.session.scalar(select(func.count()).select_from(LedgerEntry)) == before
    isp.run_until(date(2027, 2, 1), date(2027, 12, 31))
    rows = isp.session.execute(
        text(
            "SELECT date_trunc('month', issued_on)::date AS month, count(*) AS count, sum(net) AS net, sum(tax) AS tax"
            " FROM invoice WHERE operator_id = :id AND issued_on >= '2027-02-01' GROUP BY 1 ORDER BY 1"
        ),
        {"id": isp.operator_id},
    ).all()
    assert [(sums.month, sums.invoices, sums.net, sums.tax) for sums in foreseen] == [tuple(row) for row in rows]


def test_a_simulation_shows_what_a_proposal_changes(isp):
    isp.service(BEGIN)
    isp.run(BEGIN)
    today = date(2027, 1, 6)
    now = simulate(isp.session, isp.rules, 3, today)
    then = simulate(isp.session, isp.rules, 3, today, Proposal(price_percent=Decimal(10)))
    assert [sums.total for sums in now] == [Decimal("348.00"), Decimal("348.00"), Decimal("348.00")]
    assert [sums.total for sums in then] == [Decimal("382.80"), Decimal("382.80"), Decimal("382.80")]


def test_a_proposal_of_arrears_moves_the_invoices_behind_their_months(isp):
    service = isp.service(BEGIN)
    isp.run(BEGIN)
    found = next_invoices(isp.session, isp.rules, service.id, BEGIN, 1, Proposal(timing=Timing.ARREARS))
    assert (found[0].issue_on, found[0].due_on) == (date(2027, 3, 5), date(2027, 3, 5))


def test_a_batch_that_was_previewed_leaves_no_trace(isp):
    isp.service(BEGIN)
    rules = replace(isp.rules)
    list(preview_run(isp.session, rules, BEGIN))
    assert isp.session.scalar(select(func.count()).select_from(ServicePeriod)) == 0
