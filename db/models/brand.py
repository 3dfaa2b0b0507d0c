"""What an operator's subscribers see of it, and what they may do by themselves."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Instant, Tenanted

PLAN_CHANGES = ("no", "ask", "at_once")


class Brand(Tenanted, Base):
    """The face of an operator on the pages of its subscribers. What is empty comes from the operator itself.

    `host` is a name of the operator's own under which its subscribers reach their pages, such as `my.valle.example`.
    `version` grows with each change, so that browsers fetch what they keep of the logo and the colours anew.
    """

    __tablename__ = "brand"
    __table_args__ = (
        CheckConstraint("colour ~ '^#[0-9a-f]{6}$'", "colour"),
        CheckConstraint("octet_length(logo) <= 300000", "logo"),
        CheckConstraint("host = lower(host)", "host"),
        Index("uq_brand_host", "host", unique=True),
    )

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    name: Mapped[str | None]
    colour: Mapped[str] = mapped_column(server_default="#0f6e84")
    logo: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # PNG
    host: Mapped[str | None]
    phone: Mapped[str | None]
    whatsapp: Mapped[str | None]  # digits with the country's code, as WhatsApp's links need them
    email: Mapped[str | None]
    terms: Mapped[str] = mapped_column(server_default="")  # of use, as plain text
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[Created]


class SelfService(Tenanted, Base):
    """What an operator lets its subscribers do. No row: as the defaults say."""

    __tablename__ = "self_service"
    __table_args__ = (CheckConstraint("plan_change IN ('no', 'ask', 'at_once')", "plan_change"),)

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    send_logins: Mapped[bool] = mapped_column(server_default=text("true"))  # when a service becomes active
    plan_change: Mapped[str] = mapped_column(server_default="ask")  # whether staff confirm a change of plan
    offered_plans: Mapped[list[int]] = mapped_column(ARRAY(BIGINT), server_default=text("'{}'"))
    may_boost: Mapped[bool] = mapped_column(server_default=text("true"))
    may_promise: Mapped[bool] = mapped_column(server_default=text("true"))
    may_pause: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class PlanRequest(Tenanted, Base):
    """A subscriber's wish for another rate plan, which waits for staff; one at a time for each service."""

    __tablename__ = "plan_request"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'done', 'refused', 'withdrawn')", "state"),
        CheckConstraint("(state = 'open') = (decided_at IS NULL)", "decided"),
        Index("uq_plan_request_open", "service_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_plan_request_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id"))
    service_id: Mapped[int] = mapped_column(ForeignKey("service.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("rate_plan.id"))
    state: Mapped[str] = mapped_column(server_default="open")
    staff_id: Mapped[BigInt | None]
    created_at: Mapped[Created]
    decided_at: Mapped[Instant | None]
