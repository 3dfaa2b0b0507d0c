"""What an operator's documents look like, what was made of many of them at once, and what was sent to whom."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Tenanted


class Letterhead(Tenanted, Base):
    """What stands on an operator's documents beside what the rules of billing say.

    `link_key` signs the links on documents. It is the operator's own and outlives the keys of the installation, since
    a receipt on paper is checked years later.
    """

    __tablename__ = "letterhead"
    __table_args__ = (
        CheckConstraint("paper IN ('a4', 'ticket')", "paper"),
        CheckConstraint("octet_length(logo) <= 300000", "logo"),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    link_key: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "document.link"
    logo: Mapped[bytes | None] = mapped_column(LargeBinary)  # PNG
    paper: Mapped[str] = mapped_column(server_default="a4")  # of receipts, unless asked otherwise
    email_receipts: Mapped[bool] = mapped_column(server_default=text("false"))  # each, without being asked
    attach_pdf: Mapped[bool] = mapped_column(server_default=text("false"))  # to mails of documents, beside the link
    created_at: Mapped[Created]


class DocumentBatch(Tenanted, Base):
    """Many documents in one file; a job makes one, or several of a long month, and the newest are kept."""

    __tablename__ = "document_batch"
    __table_args__ = (
        Index("ix_document_batch_operator_id", "operator_id", "id"),
        Index("ix_document_batch_job_id", "job_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    job_id: Mapped[BigInt] = mapped_column(ForeignKey("job.id"))
    name: Mapped[str]
    documents: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[Created]


class DocumentMail(Tenanted, Base):
    """That a document was sent by e-mail. `staff_id` is who sent it again; None: it went by itself."""

    __tablename__ = "document_mail"
    __table_args__ = (
        Index("ix_document_mail_subject", "operator_id", "kind", "subject_id"),
        CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", "kind"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]
    subject_id: Mapped[BigInt]
    address: Mapped[str]
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
