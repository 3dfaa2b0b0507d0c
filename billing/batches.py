"""Many documents at once: the PDFs of a month's invoices or receipts in one ZIP file, made by a job."""

import io
import zipfile
from datetime import date, timedelta

from sqlalchemy import delete, select

from billing.documents import file_name, pdf_of
from billing.pdf import NotRendered
from core.i18n import N_
from crm.jobs import RunningJob
from db.models import DocumentBatch, Invoice, Payment

BATCH = "documents.batch"
MOST = 1000
"""Documents of one file: some 70 MB. A longer month is made in parts."""
KEPT = 5


def make_batch(job: RunningJob) -> dict[str, object]:
    """Render what `parameters` name: kind (invoice, receipt), month (2027-01), paper, after (the last id before)."""
    kind, month = str(job.parameters["kind"]), str(job.parameters["month"])
    first = date.fromisoformat(f"{month}-01")
    following = (first + timedelta(days=32)).replace(day=1)
    model, day = (Invoice, Invoice.issued_on) if kind == "invoice" else (Payment, Payment.paid_on)
    with job.session() as session:
        ids = session.scalars(
            select(model.id)
            .where(
                model.operator_id == job.operator_id,
                day >= first,
                day < following,
                model.id > int(job.parameters.get("after", 0)),
            )
            .order_by(model.id)
            .limit(MOST + 1)
        ).all()
    more, ids = len(ids) > MOST, ids[:MOST]
    job.plan(len(ids))
    packed, made = io.BytesIO(), 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for number in ids:
            job.check_cancelled()
            with job.session() as session:
                try:
                    document, content = pdf_of(
                        session,
                        job.keyring,
                        job.operator_id,
                        kind,
                        number,
                        job.settings.public_url,
                        paper=str(job.parameters.get("paper", "a4")),
                    )
                    session.commit()
                except NotRendered as problem:
                    job.log("error", str(number), N_("It could not be rendered: %(why)s"), why=str(problem))
                    job.advance(failed=1)
                    continue
            archive.writestr(f"{number}-{file_name(document)}", content)
            made += 1
            job.advance()
    if more:
        job.log(
            "warning", "", N_("This file has the first %(count)s documents; start another for the rest."), count=MOST
        )
    with job.session() as session:
        session.execute(delete(DocumentBatch).where(DocumentBatch.job_id == job.id))  # of a worker that died
        kept = select(DocumentBatch.id).where(DocumentBatch.operator_id == job.operator_id)
        kept = kept.order_by(DocumentBatch.id.desc()).limit(KEPT - 1)
        session.execute(
            delete(DocumentBatch).where(
                DocumentBatch.operator_id == job.operator_id, DocumentBatch.id.not_in(kept.scalar_subquery())
            )
        )
        batch = DocumentBatch(
            operator_id=job.operator_id,
            job_id=job.id,
            name=f"{kind}-{month}.zip",
            documents=made,
            content=packed.getvalue(),
        )
        session.add(batch)
        session.flush()
        outcome: dict[str, object] = {"documents": made, "url": f"/documents/files/{batch.id}"}
        if more:
            outcome["after"] = ids[-1]
        session.commit()
    return outcome
