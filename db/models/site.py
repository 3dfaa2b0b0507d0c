"""Sites and sectors: where the network stands, and which way its antennas look."""

from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.nas import Nas
from db.types import Base, BigInt, Created, Id, Tenanted


class Site(Tenanted, Base):
    """A place with equipment of the network: a tower, a roof, a cabinet. `nas_id` is the router that stands there."""

    __tablename__ = "site"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="tower")
    latitude: Mapped[Decimal] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal] = mapped_column(Numeric(9, 6))
    address: Mapped[str] = mapped_column(server_default="")
    height: Mapped[int | None]  # metres above the ground
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id", ondelete="SET NULL"))
    notes: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]

    nas: Mapped[Nas | None] = relationship(lazy="raise")
    sectors: Mapped[list["Sector"]] = relationship(lazy="raise", viewonly=True, order_by="Sector.name")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
    __table_args__ = (
        Index("uq_site_name", "operator_id", func.lower(text("name")), unique=True),
        Index("ix_site_nas_id", "nas_id"),
        CheckConstraint("kind IN ('tower', 'roof', 'cabinet', 'office', 'other')", "kind"),
        CheckConstraint("latitude BETWEEN -90 AND 90", "latitude"),
        CheckConstraint("longitude BETWEEN -180 AND 180", "longitude"),
        CheckConstraint("height BETWEEN 0 AND 1000", "height"),
    )


class Sector(Tenanted, Base):
    """An antenna of a site, or what else subscribers hang on there. `port` is what NAS-Port-Id says of its sessions."""

    __tablename__ = "sector"

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    name: Mapped[str]
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id", ondelete="SET NULL"))
    port: Mapped[str] = mapped_column(server_default="")
    azimuth: Mapped[int] = mapped_column(server_default="0")  # degrees from north, clockwise
    beam_width: Mapped[int] = mapped_column(server_default="90")  # degrees; 360 is all around
    reach: Mapped[int] = mapped_column(server_default="3000")  # metres
    frequency: Mapped[int | None]  # MHz
    capacity: Mapped[BigInt | None]  # bit/s towards subscribers
    most_services: Mapped[int | None]
    in_use: Mapped[bool] = mapped_column(server_default=text("true"))
    notes: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[Created]

    site: Mapped[Site] = relationship(lazy="raise")
    nas: Mapped[Nas | None] = relationship(lazy="raise")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
    __table_args__ = (
        Index("uq_sector_name", "site_id", func.lower(text("name")), unique=True),
        Index("ix_sector_operator_id", "operator_id", "site_id"),
        Index("uq_sector_port", "nas_id", "port", unique=True, postgresql_where=text("port <> ''")),
        CheckConstraint("azimuth BETWEEN 0 AND 359", "azimuth"),
        CheckConstraint("beam_width BETWEEN 1 AND 360", "beam_width"),
        CheckConstraint("reach BETWEEN 10 AND 100000", "reach"),
        CheckConstraint("frequency BETWEEN 1 AND 300000", "frequency"),
        CheckConstraint("capacity > 0", "capacity"),
        CheckConstraint("most_services > 0", "most_services"),
    )


class MapSettings(Tenanted, Base):
    """Where an operator's maps take their picture of the ground from; without an address they are a plain grid."""

    __tablename__ = "map_settings"

    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    tiles: Mapped[str] = mapped_column(server_default="")  # https://…/{z}/{x}/{y}.png
    attribution: Mapped[str] = mapped_column(server_default="")
