"""Documents of a subscriber: contracts, identity cards, bills that prove an address. Who brought each stays with it."""

from sqlalchemy.orm import Session

from crm.files import DOCUMENTS, PICTURES, store_file
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import StoredFile, Subscriber, SubscriberDocument

KINDS = ("identity", "contract", "address", "photo", "other")
LONGEST_NOTE = 500


def add_document(
    session: Session, actor: Actor, subscriber: Subscriber, kind: str, note: str, name: str, content: bytes
) -> SubscriberDocument:
    """Keep a document. Raises Invalid: what `crm.files` says of the file, and an unknown kind."""
    if kind not in KINDS:
        raise Invalid(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    if len(note) > LONGEST_NOTE:
        raise Invalid(FieldProblem("note", Problem.TOO_LONG, {"limit": str(LONGEST_NOTE)}))
    allowed = PICTURES if kind == "photo" else DOCUMENTS
    file = store_file(session, actor.operator_id, name, content, allowed)
    row = SubscriberDocument(
        operator_id=actor.operator_id,
        subscriber_id=subscriber.id,
        file_id=file.id,
        kind=kind,
        note=note.replace("\0", "").strip(),
        author=actor.name,
    )
    session.add(row)
    session.flush()
    after = {"kind": kind, "name": file.name, "sha256": file.sha256, "document": row.id}
    record(session, actor, "document.create", "subscriber", subscriber.id, None, after)
    return row


def remove_document(session: Session, actor: Actor, document: SubscriberDocument) -> None:
    """Remove a document and its file for good."""
    file = session.get_one(StoredFile, document.file_id)
    before = {"kind": document.kind, "name": file.name, "sha256": file.sha256, "document": document.id}
    record(session, actor, "document.delete", "subscriber", document.subscriber_id, before, None)
    session.delete(document)
    session.flush()
    session.delete(file)
    session.flush()
