"""Files that people hand in: photos, attachments, documents, logos. `crm.files` says what is taken."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, Created, Id, Tenanted


class StoredFile(Tenanted, Base):
    """A file as it is kept: its type was found from its content, and pictures were decoded and written anew.

    `name` is what people read and is safe as a file name; nothing on disk is called so. `size` is in octets, of what
    is kept; `sha256` is its digest in hexadecimal digits.
    """

    __tablename__ = "stored_file"
    __table_args__ = (
        Index("ix_stored_file_operator_id", "operator_id", "id"),
        CheckConstraint("size = octet_length(content)", "size"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[Created]
