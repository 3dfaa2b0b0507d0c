"""What was found while routers still decide about imported secrets: each change of an answer, and each login."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Json, Mac, Tenanted


class ShadowEvent(Tenanted, Base):
    """One thing that happened to a secret in shadow mode.

    `kind` is `answer` where what the router or Portico would say has changed since, `login` where the router let
    somebody in by its own secret. `there` is what the router says: `accept`, `reject` (the secret is disabled) or `ask`
    (it has none, so RADIUS is asked); `outcome` what Portico would have said then, with its reason. `differs` is
    `outcome` where one lets surf and the other does not, `rate` where both do at different speeds. A speed of None is
    no limit.
    """

    __tablename__ = "shadow_event"
    __table_args__ = (
        CheckConstraint("kind IN ('answer', 'login')", "kind"),
        CheckConstraint("there IN ('accept', 'reject', 'ask')", "there"),
        CheckConstraint("outcome IN ('accept', 'garden', 'reject')", "outcome"),
        CheckConstraint("differs IN ('', 'outcome', 'rate')", "differs"),
        Index("ix_shadow_event_operator_id", "operator_id", "nas_id", "at"),
        Index("ix_shadow_event_service_id", "service_id"),
        Index("ix_shadow_event_at", "at"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    at: Mapped[Created]
    kind: Mapped[str]
    secret: Mapped[str]
    there: Mapped[str]
    there_download: Mapped[BigInt | None]
    there_upload: Mapped[BigInt | None]
    outcome: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    download: Mapped[BigInt | None]
    upload: Mapped[BigInt | None]
    differs: Mapped[str] = mapped_column(server_default="")
    mac: Mapped[Mac | None]
    address: Mapped[Inet | None]
