"""Outcomes of Access-Requests. Partitioned by month."""

from sqlalchemy import BigInteger, Index, Sequence, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from db.types import NAMES, Base, BigInt, Instant, Json, Mac, Tenanted

auth_event_id_seq = Sequence("auth_event_id_seq", metadata=NAMES)


class AuthEvent(Tenanted, Base):
    """One Access-Request and what became of it. `reason` is an aaa.decision.Reason, empty for a plain accept."""

    __tablename__ = "auth_event"
    __table_args__ = (
        Index("ix_auth_event_operator_id", "operator_id", text("at DESC"), "id"),
        Index("ix_auth_event_service_id", "service_id", text("at DESC")),
        Index("ix_auth_event_user_name", "operator_id", "user_name", text("at DESC")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, auth_event_id_seq, primary_key=True, server_default=auth_event_id_seq.next_value()
    )
    at: Mapped[Instant] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]
    nas_id: Mapped[BigInt]
    service_id: Mapped[BigInt | None]
    user_name: Mapped[str]  # as received
    mac: Mapped[Mac | None]
    kind: Mapped[str]
    method: Mapped[str]  # pap, chap, mschap, mschapv2, mac
    outcome: Mapped[str]  # accept, garden, reject
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    acct_session_id: Mapped[str] = mapped_column(server_default="")
    terms_id: Mapped[bytes | None] = mapped_column(BYTEA)
