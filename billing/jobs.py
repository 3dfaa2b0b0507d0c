"""The jobs of this package, by kind; a worker looks here for what a queued job is done by."""

from collections.abc import Mapping

from sqlalchemy import func, select

from billing import fair_use_preview, samples, voucher_cards
from billing.batches import BATCH, make_batch
from billing.rules import rules_of
from billing.run import Batch, run_billing
from core.clock import utc_now
from core.i18n import N_
from crm import broadcasts, leaving, mass_change, personal_data
from crm.jobs import JobFunction, RunningJob
from db.models import ServiceBilling

ISSUE = "billing.issue"


def issue_invoices(job: RunningJob) -> dict[str, object]:
    """Do the billing run of one operator now, batch by batch; what is issued stays when it is cancelled."""
    now = utc_now()
    with job.session() as session:
        day = rules_of(session, job.operator_id).billing_day(now)
        due = select(func.count()).where(
            ServiceBilling.operator_id == job.operator_id,
            ServiceBilling.stopped_on.is_(None),
            ServiceBilling.next_issue_on <= day,
        )
        job.plan(session.scalar(due) or 0)

    def told(batch: Batch) -> None:
        job.advance(batch.services)
        job.check_cancelled()

    result = run_billing(job.session, job.operator_id, now, told=told)
    counts: dict[str, object] = {"invoices": result.invoices, "followed": result.followed}
    job.log("info", "", N_("%(invoices)s invoices issued, %(followed)s services followed."), **counts)
    if result.waiting:
        job.log("warning", "", N_("%(waiting)s invoices wait for a recent exchange rate."), waiting=result.waiting)
    return counts


JOBS: Mapping[str, JobFunction] = {
    ISSUE: issue_invoices,
    **mass_change.JOBS,
    **personal_data.JOBS,
    **leaving.JOBS,
    **samples.JOBS,
    **broadcasts.JOBS,
    BATCH: make_batch,
    **voucher_cards.JOBS,
    **fair_use_preview.JOBS,
}
