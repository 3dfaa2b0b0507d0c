"""Services: the access lines of subscribers."""

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.nas import Nas
from db.models.plan import RatePlan
from db.models.site import Sector
from db.models.subscriber import Subscriber
from db.types import Base, BigInt, Cidr, Created, Id, Inet, Instant, Json, Mac, Tenanted, Updated

if TYPE_CHECKING:
    from db.models.custom_field import CustomValue


class Service(Tenanted, Base):
    """One access line. `name` is the exact user name, the canonical MAC address, or the folded voucher code."""

    __tablename__ = "service"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscriber.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("rate_plan.id"))
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id"))  # only at this router
    sector_id: Mapped[int | None] = mapped_column(ForeignKey("sector.id"))  # which antenna its device looks at
    line_of_sight: Mapped[str | None]  # as who installed it saw it: clear, partial, blocked
    access_method: Mapped[str]
    name: Mapped[str]
    password: Mapped[bytes | None]  # sealed, purpose "service.password"
    state: Mapped[str] = mapped_column(server_default="active")
    suspended_at: Mapped[Instant | None]
    suspension_cause: Mapped[str | None]
    suspension_detail: Mapped[str] = mapped_column(server_default="")
    management: Mapped[str] = mapped_column(server_default="automatic")
    paid_until: Mapped[date | None]  # last day paid for, in the operator's zone
    prepaid: Mapped[bool] = mapped_column(server_default=text("false"))  # its periods are bought before they begin
    promised_until: Mapped[date | None]  # not cut before this day is over: a promise to pay
    held_until: Mapped[date | None]  # nor before this one: staff said so
    framed_ip: Mapped[Inet | None]
    framed_routes: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    framed_ipv6_prefix: Mapped[Cidr | None]
    delegated_ipv6_prefix: Mapped[Cidr | None]
    pool: Mapped[str | None]
    rate_download: Mapped[BigInt | None]  # instead of the plan's
    rate_upload: Mapped[BigInt | None]
    boost_download: Mapped[BigInt | None]  # faster for a while: what was bought, until when
    boost_upload: Mapped[BigInt | None]
    boost_until: Mapped[Instant | None]
    paying_until: Mapped[Instant | None]  # though overdue, reaches everything until then, slowly: it is being paid
    top_up_octets: Mapped[BigInt | None]  # bought on top of the cap, until the billing period ends
    top_up_until: Mapped[Instant | None]
    top_ups_automatic: Mapped[int] = mapped_column(server_default="0")  # of those, bought by themselves
    session_limit: Mapped[int] = mapped_column(server_default="1")
    mac_binding: Mapped[str] = mapped_column(server_default="any")
    max_macs: Mapped[int] = mapped_column(server_default="1")
    octets_left: Mapped[BigInt | None]
    extra: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    activated_at: Mapped[Instant | None]
    terminated_at: Mapped[Instant | None]
    leave_reason: Mapped[str] = mapped_column(server_default="")  # of the operator's list, as it was worded then
    leave_note: Mapped[str] = mapped_column(server_default="")

    subscriber: Mapped[Subscriber] = relationship(lazy="raise")
    plan: Mapped[RatePlan] = relationship(lazy="raise")
    nas: Mapped[Nas | None] = relationship(lazy="raise")
    sector: Mapped[Sector | None] = relationship(lazy="raise")
    own_values: Mapped[list["CustomValue"]] = relationship(lazy="raise", viewonly=True)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
    __table_args__ = (
        Index("uq_service_name", "operator_id", "name", unique=True, postgresql_where=text("state <> 'terminated'")),
        Index("ix_service_name", "operator_id", "name", "id"),
        Index(
            "uq_service_queue_address",
            "nas_id",
            "framed_ip",
            unique=True,
            postgresql_where=text("access_method = 'queue' AND state <> 'terminated'"),
        ),
        Index(
            "ix_service_name_trigrams",
            func.lower(text("name")).label("trigrams"),
            postgresql_using="gin",
            postgresql_ops={"trigrams": "gin_trgm_ops"},
        ),
        Index("ix_service_created_at", "operator_id", "created_at", "id"),
        Index("ix_service_subscriber_id", "subscriber_id"),
        Index("ix_service_lines", "operator_id", "subscriber_id", postgresql_where=text("access_method <> 'voucher'")),
        Index("ix_service_activated_at", "activated_at"),
        Index("ix_service_plan_id", "plan_id"),
        Index("ix_service_prepaid", "operator_id", "id", postgresql_where=text("prepaid")),
        Index("ix_service_sector_id", "sector_id", postgresql_where=text("sector_id IS NOT NULL")),
        Index("ix_service_state", "operator_id", "state", "id"),
        Index("ix_service_paid_until", "paid_until", postgresql_where=text("management = 'automatic'")),
        CheckConstraint("access_method IN ('pppoe', 'mac', 'line', 'hotspot', 'voucher', 'queue')", "access_method"),
        CheckConstraint("state IN ('pending', 'active', 'suspended', 'paused', 'terminated')", "state"),
        CheckConstraint("state <> 'suspended' OR suspended_at IS NOT NULL", "suspended_since"),
        CheckConstraint("management IN ('automatic', 'manual')", "management"),
        CheckConstraint("mac_binding IN ('any', 'learn', 'fixed')", "mac_binding"),
        CheckConstraint("line_of_sight IN ('clear', 'partial', 'blocked')", "line_of_sight"),
        CheckConstraint("session_limit BETWEEN 0 AND 1000", "session_limit"),
        CheckConstraint("max_macs BETWEEN 1 AND 100", "max_macs"),
        CheckConstraint("name <> '' AND octet_length(name) <= 253", "name_length"),
        CheckConstraint("(rate_download IS NULL) = (rate_upload IS NULL)", "rate_whole"),
        CheckConstraint("num_nulls(top_up_octets, top_up_until) IN (0, 2)", "top_up_whole"),
        CheckConstraint("num_nulls(boost_download, boost_upload, boost_until) IN (0, 3)", "boost_whole"),
        CheckConstraint("password IS NOT NULL OR access_method NOT IN ('pppoe', 'hotspot')", "has_password"),
    )


class ServiceMac(Tenanted, Base):
    """A device that may use a service with MAC binding."""

    __tablename__ = "service_mac"
    __table_args__ = (Index("ix_service_mac_mac", "operator_id", "mac"),)

    service_id: Mapped[int] = mapped_column(ForeignKey("service.id"), primary_key=True)
    mac: Mapped[Mac] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    learned: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Created]


class LeaveReason(Tenanted, Base):
    """One of the reasons for leaving that an operator lets its people choose from."""

    __tablename__ = "leave_reason"
    __table_args__ = (Index("uq_leave_reason_title", "operator_id", text("lower(title)"), unique=True),)

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    title: Mapped[str]
    position: Mapped[int] = mapped_column(server_default="0")


class SeenDevice(Tenanted, Base):
    """A MAC address that asked for access and is not registered: the CPE a technician picks from a list."""

    __tablename__ = "seen_device"

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    mac: Mapped[Mac] = mapped_column(primary_key=True)
    nas_id: Mapped[BigInt]
    kind: Mapped[str]
    called_station_id: Mapped[str] = mapped_column(server_default="")
    nas_port_id: Mapped[str] = mapped_column(server_default="")
    times: Mapped[BigInt] = mapped_column(server_default="1")
    first_seen_at: Mapped[Created]
    last_seen_at: Mapped[Created]
