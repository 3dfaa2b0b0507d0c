"""The demo's vouchers: a batch to sell from, of which two were sold, and one whose codes let you in at once."""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.vouchers import SaleTerms, sell_voucher
from core.crypto import Keyring
from core.i18n import translator
from crm.vouchers import CODE_PURPOSE, COUNTER, STOCK, BatchTerms, create_batch
from db.audit import Actor
from db.models import PaymentMethod, RatePlan, Staff, Subscriber, Voucher, VoucherBatch, VoucherSettings

TO_TRY = "Para probar"


def make_vouchers(session: Session, operator_id: int, keyring: Keyring, now: datetime) -> None:
    """Make the batches; nothing where there are vouchers."""
    if session.get(VoucherSettings, operator_id) is not None:
        return
    plan = session.scalar(
        select(RatePlan).where(RatePlan.operator_id == operator_id, ~RatePlan.archived).order_by(RatePlan.download)
    )
    methods = select(PaymentMethod.id).where(PaymentMethod.operator_id == operator_id).order_by(PaymentMethod.id)
    method = session.scalar(methods.limit(1))
    if plan is None:
        return
    cashier = session.scalars(
        select(Staff).where(Staff.operator_id == operator_id, Staff.roles.contains(["finance"])).limit(1)
    ).one_or_none()
    actor = Actor(operator_id, cashier.email if cashier else "demo", cashier.id if cashier else None)
    plaza = BatchTerms(
        "Plaza 2 horas", 40, plan.id, Decimal(15), prefix="PLAZA", lasts=timedelta(hours=2), octets=2 * 10**9,
        best_before=now + timedelta(days=365), rate_download=8_000_000, rate_upload=2_000_000,
    )  # fmt: skip
    batch = create_batch(session, actor, keyring, plaza, now)
    kept, say = session.get_one(VoucherSettings, operator_id), translator("es")  # as the demo's people speak
    for owner, name in ((kept.stock_subscriber_id, STOCK), (kept.counter_subscriber_id, COUNTER)):
        session.get_one(Subscriber, owner).name = say(name)
    for _number in range(2):
        sell_voucher(session, actor, keyring, SaleTerms(batch.id, method_id=method), now)
    trial = BatchTerms(TO_TRY, 20, plan.id, online=timedelta(minutes=30), devices=2, activation="now")
    create_batch(session, actor, keyring, trial, now)
    session.flush()


def code_to_try(session: Session, operator_id: int, keyring: Keyring) -> str | None:
    """Return a code that nobody has used yet."""
    sealed = session.scalar(
        select(Voucher.code)
        .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
        .where(VoucherBatch.operator_id == operator_id, VoucherBatch.name == TO_TRY, Voucher.code.is_not(None))
        .order_by(Voucher.number)
        .limit(1)
    )
    return keyring.open(CODE_PURPOSE, sealed) if sealed is not None else None
