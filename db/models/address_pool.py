"""Pools: which addresses and prefixes an operator gives out, and what its routers had at the last look."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.nas import Nas
from db.types import Base, BigInt, Cidr, Created, Id, Inet, Instant, Json, Tenanted


class AddressPool(Tenanted, Base):
    """A network of which addresses (IPv4) or prefixes of `prefix_length` (IPv6) are given out.

    `assignment` says who gives them: `fixed` is Portico, one to each service; `dynamic` is the router, from its own
    pool of this name. A pool is of one router, or with None of all. Two pools may overlap only where they are of two
    different routers: a range without an end stands for "all" in the constraint.
    """

    __tablename__ = "address_pool"
    __table_args__ = (
        CheckConstraint("kind IN ('ipv4', 'ipv6_line', 'ipv6_delegated')", "kind"),
        CheckConstraint("assignment IN ('fixed', 'dynamic')", "assignment"),
        CheckConstraint("(kind = 'ipv4') = (family(network) = 4)", "family"),
        CheckConstraint(
            "CASE WHEN kind = 'ipv4' THEN prefix_length = 32 ELSE prefix_length BETWEEN masklen(network) AND 64 END",
            "prefix_length",
        ),
        CheckConstraint(
            "(first_address IS NULL OR first_address <<= network)"
            " AND (last_address IS NULL OR last_address <<= network)"
            " AND (kind = 'ipv4' OR first_address IS NULL AND last_address IS NULL)"
            " AND (first_address IS NULL OR last_address IS NULL OR first_address <= last_address)",
            "span",
        ),
        CheckConstraint("name <> '' AND octet_length(name) <= 63", "name"),
        ExcludeConstraint(
            (func.int8range(text("operator_id"), text("operator_id"), text("'[]'")), "&&"),
            (text("network inet_ops"), "&&"),
            (func.int8range(text("nas_id"), text("nas_id"), text("'[]'")), "&&"),
            name="ex_address_pool_overlap",
        ),
        Index("uq_address_pool_name", "operator_id", text("coalesce(nas_id, 0)"), "kind", "name", unique=True),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]  # a dynamic one has this name on its routers
    kind: Mapped[str]
    assignment: Mapped[str]
    network: Mapped[Cidr]
    first_address: Mapped[Inet | None]  # of those given out; None: the first that can be a device's
    last_address: Mapped[Inet | None]
    prefix_length: Mapped[int]
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    notes: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]

    nas: Mapped[Nas | None] = relationship(lazy="raise")


class RouterPools(Tenanted, Base):
    """The pools that a router had when it was last looked at; `cause` says why it could not be, else it is empty.

    `pools` are `{"name": …, "family": 4 or 6, "ranges": …, "length": …, "ours": …}`, as text of RouterOS.
    """

    __tablename__ = "router_pools"
    __table_args__ = (Index("ix_router_pools_operator_id", "operator_id"),)

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("router.nas_id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    pools: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    looked_at: Mapped[Instant | None]  # when it last answered
    cause: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[str] = mapped_column(server_default="")
