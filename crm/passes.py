"""Passes: some minutes on line, slowly, for who is paying.

A walled garden opens the pages of a payment provider. The page or app by which a bank asks its customer (3-D Secure)
may be anywhere, and nobody can list them all. Who asks for it when a checkout begins is therefore let on line for some
minutes: a subscriber's overdue line by an instant in its facts (`aaa.authorize`), a guest's device by a voucher of a
batch that has nothing else. So radiusd, accounting and enforcement treat a pass as they treat everything.

A line, and a device at an operator's hotspots, has A_DAY passes in 24 hours, one for each checkout, and a hotspot so
many at once; the operator says how many minutes, or none. The minutes of a pass run from when it is made, used or not,
so nobody keeps some for later. Two days on it is forgotten, and with it whose device it was.
"""

from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from aaa.authorize import PAYING_RATE
from core.codes import random_code
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.captive import captive_terms, settings_row
from crm.vouchers import CODE_PURPOSE, code_key, settings_of, void_vouchers
from db.audit import Actor, record
from db.models import CaptiveSettings, Operator, PayingPass, Service, ServiceMac, Voucher, VoucherBatch

A_DAY = 3
AT_ONCE = 30
"""Devices of a hotspot that may be on line to pay at the same time. Who changes MAC addresses has passes again, at
PAYING_RATE and one after the other; this is all of the line that such people have together."""
KEPT = timedelta(days=2)
"""Twice as long as passes are counted, and longer than a checkout is looked after."""
LENGTH = 12
NAME = N_("On line while paying (%(minutes)s min)")
PAID = N_("paid")


def passes_left(session: Session, operator_id: int, now: datetime, *, service_id: int = 0, device: str = "") -> int:
    """Return how many passes a line or, where one is named, a device still has today; 0 where the operator gives none.

    `device` is a MAC address.
    """
    if not captive_terms(session, operator_id).paying_minutes:
        return 0
    whose = PayingPass.device == device if device else PayingPass.service_id == service_id
    since = now - timedelta(days=1)
    query = (
        select(func.count())
        .select_from(PayingPass)
        .where(PayingPass.operator_id == operator_id, PayingPass.begun_at > since, whose)
    )
    return max(0, A_DAY - (session.scalar(query) or 0))


def let_line_on(session: Session, actor: Actor, service: Service, checkout_id: int, now: datetime) -> bool:
    """Let an overdue line on while a checkout is paid; return whether it may. The same checkout again changes nothing.

    The caller commits.
    """
    settings = _locked(session, actor.operator_id)
    if _begun(session, checkout_id) is not None:
        return True
    if passes_left(session, actor.operator_id, now, service_id=service.id) < 1:
        return False
    session.refresh(service)
    until = now + timedelta(minutes=settings.paying_minutes)
    service.paying_until = until
    session.add(
        PayingPass(
            operator_id=actor.operator_id, service_id=service.id, checkout_id=checkout_id, begun_at=now, until=until
        )
    )
    session.flush()
    record(session, actor, "service.pass", "service", service.id, None, {"paying_until": until})
    return True


def let_guest_on(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    device: str,
    nas_id: int,
    plan_id: int,
    checkout_id: int,
    now: datetime,
) -> str | None:
    """Return the code by which a guest's device is on line while a checkout is paid, None where it may not be.

    The same checkout again has the same code. The caller commits.
    """
    settings = _locked(session, actor.operator_id)
    before = _begun(session, checkout_id)
    if before is not None:
        voucher = session.get(Voucher, before.service_id)
        sealed = voucher.code if voucher is not None and before.device == device else None
        return keyring.open(CODE_PURPOSE, sealed) if sealed is not None else None
    if passes_left(session, actor.operator_id, now, device=device) < 1 or _live_at(session, nas_id, now) >= AT_ONCE:
        return None
    lasts = timedelta(minutes=settings.paying_minutes)
    batch = _batch(session, settings, lasts)
    stock = settings_of(session, actor, keyring)
    batch.count += 1
    service = Service(
        operator_id=actor.operator_id,
        subscriber_id=stock.stock_subscriber_id,
        plan_id=plan_id,
        nas_id=nas_id,
        access_method="voucher",
        name=f"#{batch.id}-{batch.count}",
        state="active",
        management="manual",
        rate_download=PAYING_RATE.download,
        rate_upload=PAYING_RATE.upload,
        mac_binding="fixed",
        activated_at=now,
    )
    session.add(service)
    session.flush()
    session.add(ServiceMac(service_id=service.id, mac=device, operator_id=actor.operator_id))
    code = random_code("", LENGTH)
    session.add(
        Voucher(
            service_id=service.id,
            operator_id=actor.operator_id,
            batch_id=batch.id,
            number=batch.count,
            lookup=code_key(keyring, stock).lookup(code),
            code=keyring.seal(CODE_PURPOSE, code),
            activated_at=now,
            first_login_at=now,  # its minutes run at once
        )
    )
    session.add(
        PayingPass(
            operator_id=actor.operator_id,
            service_id=service.id,
            checkout_id=checkout_id,
            nas_id=nas_id,
            device=device,
            begun_at=now,
            until=now + lasts,
        )
    )
    session.flush()
    record(session, actor, "voucher.pass", "voucher", service.id, None, {"mac": device})
    return code


def end_guest_pass(session: Session, actor: Actor, checkout_id: int, now: datetime) -> bool:
    """End a guest's pass, since its checkout is paid: the device logs in anew. Return whether there was one to end.

    The caller commits.
    """
    begun = _begun(session, checkout_id)
    voucher = session.get(Voucher, begun.service_id) if begun is not None and begun.device else None
    if voucher is None or voucher.voided_at is not None:
        return False
    say = translator(session.get_one(Operator, actor.operator_id).locale)
    void_vouchers(session, actor, [voucher], say(PAID), now)
    return True


_FORGET = """
WITH gone AS (DELETE FROM paying_pass WHERE begun_at < :before RETURNING service_id, device, begun_at),
     spent AS (
         UPDATE voucher v SET code = NULL, first_login_at = least(v.first_login_at, gone.begun_at)
         FROM gone WHERE gone.device <> '' AND v.service_id = gone.service_id
     ),
     devices AS (DELETE FROM service_mac m USING gone WHERE gone.device <> '' AND m.service_id = gone.service_id)
SELECT count(*) FROM gone
"""


def forget_passes(session: Session, now: datetime) -> int:
    """Forget passes of all operators that are long over, and their devices; return how many. The caller commits.

    A guest's voucher stays with what it used. It stays begun, so it is neither sold nor used by anybody.
    """
    count: int = session.execute(text(_FORGET), {"before": now - KEPT}).scalar_one()
    return count


def _locked(session: Session, operator_id: int) -> CaptiveSettings:
    """Return an operator's row, which keeps two passes from being counted in the same moment."""
    settings_row(session, operator_id)
    return session.scalars(
        select(CaptiveSettings)
        .where(CaptiveSettings.operator_id == operator_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _begun(session: Session, checkout_id: int) -> PayingPass | None:
    return session.scalar(select(PayingPass).where(PayingPass.checkout_id == checkout_id))


def _live_at(session: Session, nas_id: int, now: datetime) -> int:
    query = select(func.count()).select_from(PayingPass).where(PayingPass.nas_id == nas_id, PayingPass.until > now)
    return session.scalar(query) or 0


def _batch(session: Session, settings: CaptiveSettings, lasts: timedelta) -> VoucherBatch:
    """Return the batch whose vouchers last so long, made with its first one."""
    seconds = int(lasts.total_seconds())
    last = session.get(VoucherBatch, settings.pass_batch_id) if settings.pass_batch_id is not None else None
    if last is not None and last.lasts == seconds and last.voided_at is None:
        return last
    say = translator(session.get_one(Operator, settings.operator_id).locale)
    name = say(NAME) % {"minutes": seconds // 60}
    others = select(func.count()).where(
        VoucherBatch.operator_id == settings.operator_id, VoucherBatch.name.startswith(name, autoescape=True)
    )
    before = session.scalar(others) or 0
    batch = VoucherBatch(
        operator_id=settings.operator_id,
        name=f"{name} {before + 1}" if before else name,
        length=LENGTH,
        count=0,
        lasts=seconds,
        price=0,
        activation="now",
    )
    session.add(batch)
    session.flush()
    settings.pass_batch_id = batch.id
    return batch
