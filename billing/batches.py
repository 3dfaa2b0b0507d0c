"""Many documents at once: the PDFs of a month's invoices or receipts in ZIP files, made by a job."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import delete, select

from billing.documents import file_name, pdf_of
from billing.pdf import NotRendered
from core.i18n import N_
from crm.jobs import RunningJob
from db.models import DocumentBatch, Invoice, Payment

BATCH = "documents.batch"
MOST = 1000
"""Documents of one file: some 70 MB. A longer month is made in several."""
KEPT = 5
"""Jobs whose files are kept."""


def make_batch(job: RunningJob) -> dict[str, object]:
    """Render what `parameters` name: kind (invoice, receipt), month (2027-01), paper."""
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
            )
            .order_by(model.id)
        ).all()
    job.plan(len(ids))
    with job.session() as session:
        session.execute(delete(DocumentBatch).where(DocumentBatch.job_id == job.id))  # of a worker that died
        session.commit()
    files: list[int] = []
    made = 0
    for part, first_of in enumerate(range(0, len(ids), MOST) or (0,), 1):
        content, count = _packed(job, kind, ids[first_of : first_of + MOST])
        number = f"-{part}" if len(ids) > MOST else ""
        with job.session() as session:
            batch = DocumentBatch(
                operator_id=job.operator_id,
                job_id=job.id,
                name=f"{kind}-{month}{number}.zip",
                documents=count,
                content=content,
            )
            session.add(batch)
            session.flush()
            files.append(batch.id)
            session.commit()
        made += count
    with job.session() as session:
        jobs = select(DocumentBatch.job_id).where(DocumentBatch.operator_id == job.operator_id)
        jobs = jobs.group_by(DocumentBatch.job_id).order_by(DocumentBatch.job_id.desc()).limit(KEPT)
        session.execute(
            delete(DocumentBatch).where(
                DocumentBatch.operator_id == job.operator_id, DocumentBatch.job_id.not_in(jobs.scalar_subquery())
            )
        )
        session.commit()
    url = f"/documents/files/{files[0]}" if len(files) == 1 else "/documents/many"
    return {"documents": made, "files": len(files), "url": url}


def _packed(job: RunningJob, kind: str, ids: Sequence[int]) -> tuple[bytes, int]:
    """Return a ZIP file of documents, and how many are in it; one that cannot be rendered is logged and left out."""
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
    return packed.getvalue(), made
