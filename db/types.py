"""Column types that several models share."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, DateTime, FetchedValue, Identity, Index, MetaData, func
from sqlalchemy.dialects.postgresql import CIDR, INET, JSONB, MACADDR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Updated = Annotated[  # set by a trigger, whoever changes the row and however
    datetime, mapped_column(DateTime(timezone=True), server_default=func.now(), server_onupdate=FetchedValue())
]
BigInt = Annotated[int, mapped_column(BigInteger)]
Json = Annotated[Any, mapped_column(JSONB)]
Inet = Annotated[Any, mapped_column(INET)]  # ipaddress objects
Cidr = Annotated[Any, mapped_column(CIDR)]  # ipaddress networks
Mac = Annotated[str, mapped_column(MACADDR)]  # comes back as aa:bb:cc:dd:ee:ff


class Base(DeclarativeBase):
    metadata = NAMES


class Tenanted:
    """A row of one operator; row-level security compares `operator_id` (see db.session)."""

    operator_id: Mapped[BigInt]


__all__ = [
    "NAMES",
    "Base",
    "BigInt",
    "Cidr",
    "Created",
    "Id",
    "Index",
    "Inet",
    "Instant",
    "Json",
    "Mac",
    "Tenanted",
    "Updated",
]
