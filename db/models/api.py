"""The API: its tokens, and answers that are remembered so that a request sent twice is done once."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Json, Tenanted


class ApiToken(Tenanted, Base):
    """What a program signs in with. It may do what its scopes say and its maker may still do.

    `secret_hash` is the SHA-256 of the secret, sealed: neither reading the table nor writing it makes a token.
    """

    __tablename__ = "api_token"
    __table_args__ = (
        Index("uq_api_token_prefix", "operator_id", "prefix", unique=True),
        Index("ix_api_token_staff_id", "staff_id"),
        CheckConstraint("cardinality(scopes) > 0", "scopes"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id"))  # whose permissions bound it
    name: Mapped[str]
    prefix: Mapped[str]  # the part of the token that is no secret: found by it, and shown in lists
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, purpose "api.token"
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    expires_at: Mapped[Instant | None]
    last_used_at: Mapped[Instant | None]  # no finer than a minute
    last_used_from: Mapped[str | None]  # address
    revoked_at: Mapped[Instant | None]
    created_at: Mapped[Created]


class ApiAnswer(Tenanted, Base):
    """The answer to a request with an Idempotency-Key, written in the transaction of what the request did."""

    __tablename__ = "api_answer"
    __table_args__ = (
        Index("ix_api_answer_created_at", "created_at"),
        Index("ix_api_answer_operator_id", "operator_id"),
    )

    token_id: Mapped[BigInt] = mapped_column(ForeignKey("api_token.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)  # of method, address and body, under a key
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[Json]
    body: Mapped[str]
    created_at: Mapped[Created]
