"""Leaving: all that an operator owns as a file, and its removal.

What is taken out is found by walking the tables, so a table that is added later counts by itself: a CSV for each, and
the files that people handed in. Secrets stay behind: whatever is sealed or hashed, keys, tokens, and messages that hold
a link to sign in by.

Removal is done by a function of the database (`remove_operator`), which goes through the tables in the same way and
does it in one transaction, and only for an operator whose days of grace are over. radiusd hears of it as of any other
change and forgets the operator's NAS and subscribers within a second.
"""

import csv
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import LargeBinary, Table, delete, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from core.cells import defused
from core.i18n import N_
from crm.jobs import JobFunction, RunningJob
from db.audit import Actor, record
from db.models import Account, Operator, StoredFile
from db.types import Base

log = structlog.get_logger()

EXPORT = "account.export"
ZIP = "application/zip"
EXPORT_NAME = "portico-export-"
KEPT_EXPORTS = 2
LARGEST = 500_000_000
"""Octets of an export that a row can reasonably hold."""
STEP = 5_000
_SECRET = ("password", "token", "hash", "secret", "key", "terms_id", "code_")
_LINKS = ("staff.link", "account.link")
FILES: Mapping[str, tuple[str, str]] = {
    "stored_file": ("content", "name"),
    "einvoice": ("stamped", ""),
}
"""Tables with a file in each row: its column, and the one with its name."""


class TooLarge(Exception):
    """An export that no row can hold."""


def tables_of_operators() -> list[Table]:
    """Return every table with rows of operators."""
    return [table for table in Base.metadata.sorted_tables if "operator_id" in table.c]


def export_everything(job: RunningJob) -> Mapping[str, object]:
    """Make the ZIP of all that the job's operator owns, and keep it as a file that its managers fetch."""
    tables = tables_of_operators()
    job.plan(len(tables))
    rows = files = 0
    with tempfile.TemporaryFile() as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, job.session() as session:
            operator = session.get_one(Operator, job.operator_id)
            slug = operator.slug
            archive.writestr("README.txt", _README % operator.name)
            own = {name: getattr(operator, name) for name in (column.name for column in Operator.__table__.c)}
            _write_table(archive, "operator", list(own), [tuple(own.values())])
            for table in tables:
                job.check_cancelled()
                rows += _export_table(session, archive, table, job.operator_id)
                if table.name in FILES:
                    files += _export_files(session, archive, table, job.operator_id)
                job.advance(1)
        size = target.tell()
        if size > LARGEST:
            raise TooLarge(f"{size} octets")
        target.seek(0)
        content = target.read()
    with job.session() as session:
        file_id = _keep(session, job.operator_id, slug, content)
        session.commit()
    job.log("info", "", N_("%(rows)s rows and %(files)s files are in the export."), rows=rows, files=files)
    return {"rows": rows, "files": files, "file_id": file_id}


def exports_of(session: Session, operator_id: int) -> Sequence[StoredFile]:
    """Return the exports that are kept, the newest first."""
    query = select(StoredFile).where(
        StoredFile.operator_id == operator_id, StoredFile.media_type == ZIP, StoredFile.name.startswith(EXPORT_NAME)
    )
    return session.scalars(query.order_by(StoredFile.id.desc())).all()


def remove_due(sessions: sessionmaker[Session], now: datetime) -> list[str]:
    """Remove every operator whose grace is over, each in a transaction of its own, and return their names.

    One that cannot be removed now (other writers hold a table) is tried again with the next round.
    """
    with sessions() as session:
        due = session.scalars(select(Account.operator_id).where(Account.removes_at <= now, ~Account.platform)).all()
    removed = []
    for operator_id in due:
        with sessions() as session:
            name = session.get_one(Operator, operator_id).name
            try:
                session.execute(text("SELECT remove_operator(:id)"), {"id": operator_id})
                platform = session.scalar(select(Account.operator_id).where(Account.platform))
                if platform is not None:
                    actor = Actor(platform, "accounts")
                    record(session, actor, "operator.removed", "operator", operator_id, {"name": name}, None)
                session.commit()
            except DBAPIError as problem:
                session.rollback()
                log.warning("operator_not_removed", operator_id=operator_id, problem=str(problem.orig).strip())
                continue
        log.info("operator_removed", operator_id=operator_id)
        removed.append(name)
    return removed


_README = """Everything that %s owns in Portico.

tables/  a CSV (UTF-8) for each kind of thing; columns named ..._id point at the column id of another table
files/   what people handed in, named by the id of its row in stored_file

Left out: passwords, keys, tokens, hashes, and messages that hold a link to sign in by.
Text that a spreadsheet would take for a formula (it begins with = + - @) has an apostrophe before it.
"""


def _shown(table: Table) -> list[str]:
    return [
        column.name
        for column in table.c
        if not isinstance(column.type, LargeBinary) and not any(word in column.name for word in _SECRET)
    ]


def _export_table(session: Session, archive: zipfile.ZipFile, table: Table, operator_id: int) -> int:
    """Write the rows of a table, in steps, so that a million of them need no memory; return how many there were."""
    names = _shown(table)
    where = [table.c.operator_id == operator_id]
    if table.name == "notification":
        where += [table.c.kind.not_in(_LINKS), table.c.kind.not_like("login.%")]
    query = select(*(table.c[name] for name in names)).where(*where)
    result = session.execute(query.execution_options(yield_per=STEP))
    first = result.fetchmany(STEP)
    if not first:
        return 0

    def batches() -> Iterator[Sequence[Any]]:
        batch: Sequence[Any] = first
        while batch:
            yield from batch
            batch = result.fetchmany(STEP)

    return _write_table(archive, table.name, names, batches())


def _write_table(archive: zipfile.ZipFile, name: str, columns: Sequence[str], rows: Any) -> int:
    count = 0
    with archive.open(f"tables/{name}.csv", "w", force_zip64=True) as raw:
        words = io.TextIOWrapper(raw, "utf-8", newline="")
        writer = csv.writer(words)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if value is None else defused(value) for value in row])
            count += 1
        words.flush()
        words.detach()
    return count


def _export_files(session: Session, archive: zipfile.ZipFile, table: Table, operator_id: int) -> int:
    content, name = FILES[table.name]
    where = [table.c.operator_id == operator_id, table.c[content].is_not(None)]
    if table.name == "stored_file":
        where.append(~table.c.name.startswith(EXPORT_NAME))  # an export within an export
    key = next(iter(table.primary_key)).name
    found = 0
    for number in session.scalars(select(table.c[key]).where(*where)).all():
        row = session.execute(select(table).where(table.c[key] == number)).mappings().one()
        called = f"{number}-{row[name]}" if name else f"{number}"
        archive.writestr(f"files/{table.name}/{called.replace('/', '_')}", bytes(row[content]))
        found += 1
    return found


def _keep(session: Session, operator_id: int, slug: str, content: bytes) -> int:
    """Keep an export and drop all but the newest ones; return its id."""
    today = session.scalar(select(func.to_char(func.now(), "YYYY-MM-DD")))
    made = StoredFile(
        operator_id=operator_id,
        name=f"{EXPORT_NAME}{slug}-{today}.zip",
        media_type=ZIP,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
    )
    session.add(made)
    session.flush()
    old = [file.id for file in exports_of(session, operator_id)[KEPT_EXPORTS:]]
    session.execute(delete(StoredFile).where(StoredFile.id.in_(old)))
    return made.id


JOBS: Mapping[str, JobFunction] = {EXPORT: export_everything}
