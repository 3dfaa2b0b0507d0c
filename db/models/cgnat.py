"""Carrier-grade NAT: which private address comes out of which public address and ports, from when until when."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Cidr, Created, Id, Inet, Instant, Tenanted


class CgnatPlan(Tenanted, Base):
    """One version of a plan (`network.cgnat`): `ports` to each address of `private`, from `valid_from` on.

    A changed plan is a new row, and the one before ends in the same instant: what it said about its own time stays
    true. Neither a public address nor, behind one router, a private one has two plans at a time; a range without an
    end stands for "all routers" in the constraint.
    """

    __tablename__ = "cgnat_plan"
    __table_args__ = (
        CheckConstraint("family(private) = 4 AND family(public_first) = 4 AND family(public_last) = 4", "family"),
        CheckConstraint("public_first <= public_last", "public"),
        CheckConstraint("first_port BETWEEN 1 AND 65535 AND last_port BETWEEN first_port AND 65535", "span"),
        CheckConstraint("ports BETWEEN 1 AND last_port - first_port + 1", "ports"),
        CheckConstraint("valid_until IS NULL OR valid_until >= valid_from", "valid"),
        CheckConstraint("name <> ''", "name"),
        ExcludeConstraint(
            (func.int8range(text("operator_id"), text("operator_id"), text("'[]'")), "&&"),
            (text("int8range(public_first - '0.0.0.0'::inet, public_last - '0.0.0.0'::inet, '[]')"), "&&"),
            (func.tstzrange(text("valid_from"), text("valid_until")), "&&"),
            name="ex_cgnat_plan_public",
        ),
        ExcludeConstraint(
            (func.int8range(text("operator_id"), text("operator_id"), text("'[]'")), "&&"),
            (text("private inet_ops"), "&&"),
            (func.int8range(text("nas_id"), text("nas_id"), text("'[]'")), "&&"),
            (func.tstzrange(text("valid_from"), text("valid_until")), "&&"),
            name="ex_cgnat_plan_private",
        ),
        Index("ix_cgnat_plan_operator_id", "operator_id", text("valid_from DESC"), "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    nas_id: Mapped[BigInt | None]  # whose subscribers; None: of all. Not a key: answers outlive a NAS
    private: Mapped[Cidr]
    public_first: Mapped[Inet]
    public_last: Mapped[Inet]
    first_port: Mapped[int] = mapped_column(server_default="1024")
    last_port: Mapped[int] = mapped_column(server_default="65535")
    ports: Mapped[int]  # of each subscriber
    valid_from: Mapped[Instant]
    valid_until: Mapped[Instant | None]  # the instant itself belongs to what came after
    follows_id: Mapped[BigInt | None] = mapped_column(ForeignKey("cgnat_plan.id"))  # the version before
    author: Mapped[str]
    created_at: Mapped[Created]
