"""Personal data: all that is kept about one subscriber, handed out, and erased on request.

What is handed out is found by walking the tables: each row that names the subscriber or one of the services, so a new
table counts by itself. Passwords, keys and hashes are left out.

Erasing takes the person out of the records and leaves the records: names, addresses, devices, messages, documents and
words go; amounts, days and numbers stay. Issued invoices, payments and the ledger stay as they are, because the law
wants books whole, and so does the audit log, whose entries are chained to each other. Nobody is erased who has a
service that is not ended, or owes something. `ERASED`, `REMOVED` and `KEPT` name every table that points at a
subscriber or a service; a test holds that none is missing.
"""

import csv
import io
import json
import secrets
import zipfile
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.i18n import N_
from crm.jobs import JobFunction, RunningJob
from crm.notices import ADDRESS_PURPOSE
from crm.services import PASSWORD_PURPOSE
from db.audit import Actor, record
from db.models import (
    Invoice,
    RetentionHold,
    Service,
    StoredFile,
    Subscriber,
    SubscriberDocument,
    SubscriberRemoval,
    Ticket,
    WorkOrder,
)
from db.types import Base

ERASE = "personal_data.erase"
MOST_ROWS = 50_000
"""Of one table in what is handed out: years of sessions."""
_SECRET = ("password", "token", "hash", "key", "terms_id")
_BLANK: Mapping[str, Mapping[str, Any]] = {
    "session": {"user_name": "erased", "mac": None, "calling_station_id": ""},
    "auth_event": {"user_name": "erased", "mac": None, "detail": {}},
    "incident_member": {"user_name": "erased"},
    "notification": {"subject": "", "body": "", "shown_address": "", "headers": {}},
    "dunning_done": {"address": "", "subject": "", "body": ""},
    "ticket": {"sender": "", "subject": "–", "satisfaction_words": ""},
    "lead": {
        "name": "–", "phone": None, "email": None, "address": None, "latitude": None, "longitude": None, "notes": "",
    },
    "work_order": {
        "title": "–", "description": "", "address": "", "latitude": None, "longitude": None, "contact_name": "",
        "contact_phone": None, "device_mac": None, "signature_id": None, "outcome": "",
    },
    "import_row": {
        "key": "", "name": "erased", "password": None, "framed_ip": None, "mac": None, "comment": "",
        "subscriber_name": "", "phone": None, "email": None, "tax_id": None, "address": None, "latitude": None,
        "longitude": None, "before": None, "previous_password": None, "duplicates": [], "custom": {},
    },
    "circuit_test": {"address": None, "steps": []},
    "equipment": {"notes": ""},
    "equipment_move": {"note": ""},
    "promise": {"note": ""},
    "subscriber_removal": {"reason": "", "services": []},
}  # fmt: skip
_BLANK_BELOW: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "ticket_entry": ("ticket", "ticket_id", {"body": "", "quoted": "", "detail": {}}),
    "received_mail": ("ticket", "ticket_id", {"sender": "", "subject": ""}),
    "work_order_event": ("work_order", "work_order_id", {"body": ""}),
    "quote": ("lead", "lead_id", {"note": ""}),
}
"""Words about a person in tables that name neither: by the table above, and the column that points there."""
ERASED = frozenset((*_BLANK, "service"))
REMOVED = frozenset(
    (
        "contact_change", "message_preference", "sign_in_link", "subscriber_login", "service_mac", "custom_value",
        "paying_pass", "push_browser", "subscriber_document",
        "shadow_event", "shadow_secret", "live_watch", "queue_drift", "webhook_event", "retention_hold",
    )
)  # fmt: skip
KEPT = frozenset(
    (
        "invoice", "credit_note", "payment", "ledger_line", "charge", "checkout", "discount", "service_billing",
        "service_period", "incident_credit", "voucher", "plan_request", "enforcement_order", "service_grant",
        "usage_hour", "usage_period", "usage_span", "mass_change_row", "router_queue",
    )
)  # fmt: skip
"""Books, and what holds amounts and octets but no words about anybody."""


class NotErasable(Exception):
    """`why`: `services` that are not ended, `debt`, or `hold`, a legal one."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def tables_about() -> list[Table]:
    """Return every table that names a subscriber or a service."""
    about = [table for table in Base.metadata.sorted_tables if {"subscriber_id", "service_id"} & set(table.c.keys())]
    return sorted(about, key=lambda table: table.name)


def export_person(session: Session, actor: Actor, subscriber: Subscriber) -> bytes:
    """Return a ZIP of all that is kept about a subscriber: JSON, a CSV for each table, and the documents. Audited."""
    found: dict[str, list[dict[str, Any]]] = {"subscriber": _rows(session, Subscriber.__table__, [subscriber.id], "id")}
    services = list(session.scalars(select(Service.id).where(Service.subscriber_id == subscriber.id)))
    for table in tables_about():
        if _readable(session, table.name):
            found[table.name] = _rows(session, table, [subscriber.id], "subscriber_id", services)
    below = [(parent, child, key) for child, (parent, key, _blank) in _BLANK_BELOW.items()]
    for parent, child, key in (*below, ("invoice", "invoice_line", "invoice_id")):
        if not _readable(session, child):
            continue
        ids = [row["id"] for row in found.get(parent, ())]
        found[child] = _rows(session, Base.metadata.tables[child], ids, key)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        kept = {name: rows for name, rows in found.items() if rows}
        archive.writestr("personal-data.json", json.dumps(kept, ensure_ascii=False, indent=1, default=str))
        for name, rows in kept.items():
            archive.writestr(f"tables/{name}.csv", _csv(rows))
        for document in session.scalars(
            select(SubscriberDocument).where(SubscriberDocument.subscriber_id == subscriber.id)
        ):
            file = session.get_one(StoredFile, document.file_id)
            archive.writestr(f"documents/{document.id}-{file.name}", file.content)
    record(session, actor, "personal_data.export", "subscriber", subscriber.id, None, {"tables": sorted(kept)})
    return buffer.getvalue()


def check_erasable(session: Session, subscriber: Subscriber) -> None:
    """Raises NotErasable."""
    held = (RetentionHold.subscriber_id == subscriber.id, RetentionHold.lifted_at.is_(None))
    if session.scalar(select(func.count()).select_from(RetentionHold).where(*held)):
        raise NotErasable("hold")
    mine = (Service.subscriber_id == subscriber.id, Service.state != "terminated")
    if session.scalar(select(func.count()).select_from(Service).where(*mine)):
        raise NotErasable("services")
    if session.scalar(select(func.coalesce(func.sum(Invoice.open), 0)).where(Invoice.subscriber_id == subscriber.id)):
        raise NotErasable("debt")


def erase_person(session: Session, keyring: Keyring, actor: Actor, subscriber: Subscriber) -> None:
    """Take a person out of the records. For a session that may write everywhere. Raises NotErasable."""
    session.refresh(subscriber, with_for_update=True)
    check_erasable(session, subscriber)
    services = list(session.scalars(select(Service.id).where(Service.subscriber_id == subscriber.id)))
    files = _files_of(session, subscriber.id)
    for table in tables_about():
        where = _about(table, [subscriber.id], "subscriber_id", services)
        if table.name in REMOVED:
            session.execute(delete(table).where(where))
        elif table.name in _BLANK:
            session.execute(update(table).where(where).values(_fitting(table, _BLANK[table.name])))
    tickets = select(Ticket.id).where(Ticket.subscriber_id == subscriber.id)
    orders = select(WorkOrder.id).where(WorkOrder.subscriber_id == subscriber.id)
    entry, ticket_file = Base.metadata.tables["ticket_entry"], Base.metadata.tables["ticket_file"]
    photo, notification = Base.metadata.tables["work_order_photo"], Base.metadata.tables["notification"]
    entries = select(entry.c.id).where(entry.c.ticket_id.in_(tickets))
    session.execute(delete(ticket_file).where(ticket_file.c.entry_id.in_(entries)))
    for child, (parent, key, blank) in _BLANK_BELOW.items():
        below, above = Base.metadata.tables[child], Base.metadata.tables[parent]
        mine = select(above.c.id).where(above.c.subscriber_id == subscriber.id)
        session.execute(update(below).where(below.c[key].in_(mine)).values(**blank))
    session.execute(delete(photo).where(photo.c.work_order_id.in_(orders)))
    session.execute(
        update(WorkOrder).where(WorkOrder.subscriber_id == subscriber.id, WorkOrder.signed_at.is_not(None))
        .values(signed_name="–")
    )  # fmt: skip
    addressed = notification.c.subscriber_id == subscriber.id
    session.execute(update(notification).where(addressed).values(address=keyring.seal(ADDRESS_PURPOSE, "-")))
    waiting = (addressed, notification.c.state.in_(("waiting", "by_hand")))
    session.execute(update(notification).where(*waiting).values(state="dropped"))
    for service in session.scalars(select(Service).where(Service.id.in_(services))):
        service.name = f"erased-{service.id}"
        service.framed_ip, service.framed_routes = None, []
        service.framed_ipv6_prefix = service.delegated_ipv6_prefix = None
        service.suspension_detail = service.leave_note = ""
        if service.password is not None:
            service.password = keyring.seal(PASSWORD_PURPOSE, secrets.token_urlsafe(16))
    session.flush()
    session.execute(delete(StoredFile).where(StoredFile.id.in_(files)))
    subscriber.name, subscriber.notes = f"– {subscriber.id}", ""
    subscriber.email = subscriber.phone = subscriber.tax_id = subscriber.address = None
    subscriber.latitude = subscriber.longitude = None
    gone = update(SubscriberRemoval).where(SubscriberRemoval.subscriber_id == subscriber.id)
    session.execute(gone.values(erased_at=func.now(), trouble=""))
    session.flush()
    record(session, actor, "personal_data.erase", "subscriber", subscriber.id, None, {"services": len(services)})


def run_erase(job: RunningJob) -> Mapping[str, object]:
    """Erase one person. Harmless when run twice."""
    with job.session() as session:
        subscriber = session.get_one(Subscriber, int(job.parameters["subscriber_id"]))
        if subscriber.operator_id != job.operator_id:
            raise LookupError("the subscriber is another operator's")
        actor = Actor(job.operator_id, str(job.parameters["actor"]), job.staff_id)
        try:
            erase_person(session, job.keyring, actor, subscriber)
        except NotErasable as problem:
            job.log(
                "error",
                "",
                N_("Nothing was erased: a service is not ended, something is owed, or there is a legal hold."),
            )
            return {"erased": 0, "why": problem.why}
        session.commit()
    job.log("info", "", N_("The person is taken out of the records; invoices, payments and the audit log stay."))
    return {"erased": 1}


JOBS: Mapping[str, JobFunction] = {ERASE: run_erase}


def _fitting(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in table.c}


def _about(table: Table, ids: list[int], key: str, services: list[int]) -> Any:
    conditions = []
    if key in table.c:
        conditions.append(table.c[key].in_(ids))
    if "service_id" in table.c and services:
        conditions.append(table.c.service_id.in_(services))
    return or_(*conditions) if conditions else text("false")


def _rows(
    session: Session, table: Any, ids: list[int], key: str, services: list[int] | None = None
) -> list[dict[str, Any]]:
    columns = [column for column in table.c if _shown(column)]
    where = _about(table, ids, key, services or [])
    return [dict(row) for row in session.execute(select(*columns).where(where).limit(MOST_ROWS)).mappings()]


def _shown(column: "Column[Any]") -> bool:
    return not isinstance(column.type, LargeBinary) and not any(word in column.name for word in _SECRET)


def _readable(session: Session, table: str) -> bool:
    return bool(session.scalar(select(func.has_table_privilege(table, "SELECT"))))


def _files_of(session: Session, subscriber_id: int) -> list[int]:
    """Return the files that hang on a person alone: documents, attachments of tickets and mails, photos, signatures."""
    queries = (
        "SELECT file_id FROM subscriber_document WHERE subscriber_id = :id",
        "SELECT file_id FROM ticket_file JOIN ticket_entry ON ticket_entry.id = entry_id"
        " JOIN ticket ON ticket.id = ticket_id WHERE subscriber_id = :id",
        "SELECT file_id FROM work_order_photo JOIN work_order ON work_order.id = work_order_id"
        " WHERE subscriber_id = :id",
        "SELECT signature_id FROM work_order WHERE subscriber_id = :id AND signature_id IS NOT NULL",
        "SELECT file_id FROM notification WHERE subscriber_id = :id AND file_id IS NOT NULL",
    )
    return [row[0] for query in queries for row in session.execute(text(query), {"id": subscriber_id})]


def _csv(rows: list[dict[str, Any]]) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(rows[0])
    for row in rows:
        cells = ["" if value is None else str(value) for value in row.values()]
        writer.writerow([f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells])
    return "\ufeff" + lines.getvalue()
