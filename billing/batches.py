"""Many documents at once, made by a job: a month's invoices or receipts as one PDF to print, or in ZIP files."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from sqlalchemy import delete, select

from billing.documents import file_name, pdf_of
from billing.pdf import NotRendered
from billing.pdf_pages import joined
from core.i18n import N_
from crm.jobs import RunningJob
from db.models import DocumentBatch, Invoice, Payment

BATCH = "documents.batch"
MOST = 1000
"""Documents of one file: some 70 MB. A longer month is made in several."""
KEPT = 5
"""Jobs whose files are kept."""


def make_batch(job: RunningJob) -> dict[str, object]:
    """Render what `parameters` name: kind (invoice, receipt), month (2027-01), paper, and the file: pdf or zip."""
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
    if not ids:
        job.log("warning", month, N_("There are no such documents in this month."))
        return {"documents": 0, "files": 0}
    files: list[int] = []
    made = 0
    for part, first_of in enumerate(range(0, len(ids), MOST), 1):
        content, count = _packed(job, kind, ids[first_of : first_of + MOST])
        number = f"-{part}" if len(ids) > MOST else ""
        with job.session() as session:
            batch = DocumentBatch(
                operator_id=job.operator_id,
                job_id=job.id,
                name=f"{kind}-{month}{number}.{_file(job)}",
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


def _file(job: RunningJob) -> str:
    """Return what the documents are put into: `pdf`, one after the other, or `zip`, a file for each."""
    return "pdf" if job.parameters.get("file") == "pdf" else "zip"


def _packed(job: RunningJob, kind: str, ids: Sequence[int]) -> tuple[bytes, int]:
    """Return one file of documents, and how many are in it."""
    made = 0

    def rendered() -> Iterator[tuple[str, bytes]]:
        nonlocal made
        for each in _rendered(job, kind, ids):
            yield each
            made += 1

    if _file(job) == "pdf":
        contents = [content for _name, content in rendered()]
        return joined(contents), made
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in rendered():
            archive.writestr(name, content)
    return packed.getvalue(), made


def _rendered(job: RunningJob, kind: str, ids: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield name and PDF of each document; one that cannot be rendered is logged and left out."""
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
        yield f"{number}-{file_name(document)}", content
        job.advance()
