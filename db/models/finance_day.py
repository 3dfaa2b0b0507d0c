"""What finance's reports add up: sums of each day, kept by triggers beside the documents that they are of."""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.billing import Percent
from db.types import Base, BigInt, Tenanted

Sum = Numeric(20, 4)


class FinanceDay(Tenanted, Base):
    """Sums of an operator's day, so that a report of three years reads a thousand rows and not a million documents.

    Triggers write it in the transaction that writes the documents (migration 0031); the view `finance_sums` computes
    the same from the documents, and `portico books verify` compares the two. Kinds, with what else is in the key:

        invoiced, credited    net of the documents issued on the day
        plan                  net of invoice lines by plan (`ref_id`) or what was charged (`label`)
        tax                   amount and base of each tax (`label`, `rate`), credit notes taken off
        due                   what falls due on the day less credits; `base` is what of it is paid
        paid                  payments of the day by way to pay (`ref_id`), who took them, less refunds, without voids
    """

    __tablename__ = "finance_day"
    __table_args__ = (CheckConstraint("kind IN ('invoiced', 'credited', 'plan', 'tax', 'due', 'paid')", "kind"),)

    operator_id: Mapped[BigInt] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True, server_default="")
    ref_id: Mapped[BigInt] = mapped_column(primary_key=True, server_default="0")
    staff_id: Mapped[BigInt] = mapped_column(primary_key=True, server_default="0")
    collector_id: Mapped[BigInt] = mapped_column(primary_key=True, server_default="0")
    rate: Mapped[Percent] = mapped_column(primary_key=True, server_default="0")
    count: Mapped[BigInt] = mapped_column(server_default=text("0"))
    amount: Mapped[Decimal] = mapped_column(Sum, server_default=text("0"))
    base: Mapped[Decimal] = mapped_column(Sum, server_default=text("0"))
