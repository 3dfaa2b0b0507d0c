"""Operators: the ISPs that share an installation."""

from datetime import date, timedelta

from sqlalchemy import CheckConstraint, Interval, text
from sqlalchemy.dialects.postgresql import ARRAY, DATE, SMALLINT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Json


class Operator(Base):
    """An ISP, with what it decided for all of its subscribers."""

    __tablename__ = "operator"
    __table_args__ = (
        CheckConstraint("suspended_action IN ('garden', 'reject')", "suspended_action"),
        CheckConstraint("cut_off_day BETWEEN 1 AND 31", "cut_off_day"),
        CheckConstraint("grace_days BETWEEN 0 AND 365", "grace_days"),
        CheckConstraint("cut_off_hour BETWEEN 0 AND 23", "cut_off_hour"),
        CheckConstraint("cardinality(cut_off_weekdays) > 0", "cut_off_weekdays"),
        CheckConstraint("outage_action IN ('keep', 'spare', 'refuse')", "outage_action"),
        CheckConstraint("outage_after > interval '0'", "outage_after"),
        CheckConstraint("garden_download > 0 AND garden_upload > 0", "garden_rate"),
    )

    id: Mapped[Id]
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    locale: Mapped[str] = mapped_column(server_default="en")
    currency: Mapped[str] = mapped_column(server_default="USD")
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    cut_off_day: Mapped[int] = mapped_column(server_default="1")
    grace_days: Mapped[int] = mapped_column(server_default="0")
    cut_off_hour: Mapped[int] = mapped_column(server_default="0")  # of the day, in the operator's zone
    cut_off_weekdays: Mapped[list[int]] = mapped_column(ARRAY(SMALLINT), server_default=text("'{1,2,3,4,5,6,7}'"))
    holiday_country: Mapped[str | None]  # nobody is cut on its public holidays; ISO 3166
    holiday_subdivision: Mapped[str | None]
    days_off: Mapped[list[date]] = mapped_column(ARRAY(DATE), server_default=text("'{}'"))  # nor on these
    suspended_action: Mapped[str] = mapped_column(server_default="garden")
    garden_download: Mapped[BigInt] = mapped_column(server_default="512000")
    garden_upload: Mapped[BigInt] = mapped_column(server_default="512000")
    garden_address_list: Mapped[str] = mapped_column(server_default="portico-suspended")
    active_address_list: Mapped[str] = mapped_column(server_default="portico-active")
    garden_pool: Mapped[str | None]
    gardens: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # by cause: {"address_list", "pool"}
    garden_timeout: Mapped[timedelta] = mapped_column(Interval, server_default=text("interval '10 minutes'"))
    dhcp_timeout: Mapped[timedelta] = mapped_column(Interval, server_default=text("interval '10 minutes'"))
    outage_action: Mapped[str] = mapped_column(server_default="keep")  # see aaa.outage
    outage_after: Mapped[timedelta] = mapped_column(Interval, server_default=text("interval '1 hour'"))
    created_at: Mapped[Created]
