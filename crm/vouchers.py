"""Vouchers: batches of access codes, finding one by typing it, activating and cancelling them.

A batch is made at once, with what its vouchers buy. Each of them is a service of the operator's stock, pending until it
is activated: when it is sold, when the cards are printed, or from the beginning. Nobody can foresee a code, and a batch
whose codes could be guessed within a year is not made. The codes are kept sealed until the first login, so that cards
can be printed; who reads them is written down. After that nobody can read them, and a code is still found by typing it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select, text, update
from sqlalchemy.orm import Session

from aaa.vouchers import VoucherState
from core.codes import ALPHABET, CodeKey, fold_code, random_code
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from db.audit import Actor, record
from db.models import (
    Collector,
    Nas,
    Operator,
    RatePlan,
    Service,
    Staff,
    Subscriber,
    Voucher,
    VoucherBatch,
    VoucherSettings,
)

KEY_PURPOSE = "voucher.key"
CODE_PURPOSE = "voucher.code"
MOST = 10_000
SHORTEST, LONGEST = 6, 20
GUESSES = 2_000
"""Wrong codes a minute that somebody may try: a thousand devices, each as often as radius.guessing lets it."""
SAFE = timedelta(days=365)
_LONGEST_LENGTH = timedelta(days=366 * 5)
_DAY = timedelta(days=1)

STOCK = N_("Vouchers")
COUNTER = N_("Counter sales of vouchers")


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What is entered for a batch. Rates are bit/s, volumes octets; without a length the shortest safe one is taken."""

    name: str
    count: int
    plan_id: int
    price: Decimal = Decimal(0)
    prefix: str = ""
    length: int | None = None
    lasts: timedelta | None = None
    online: timedelta | None = None
    ends_at: datetime | None = None
    octets: int | None = None
    best_before: datetime | None = None
    devices: int = 1
    rate_download: int | None = None
    rate_upload: int | None = None
    nas_ids: tuple[int, ...] = ()
    activation: str = "sale"
    template: str = "cards"
    seller_staff_id: int | None = None
    collector_id: int | None = None


def guessing_takes(length: int, codes: int) -> timedelta:
    """Return how long somebody guesses, on the average, until a first code of so many is hit."""
    minutes = len(ALPHABET) ** length / (max(codes, 1) * GUESSES)
    return timedelta(minutes=min(minutes, 1e12))


def shortest_safe(codes: int) -> int:
    """Return how many random characters codes need so that guessing one takes a year."""
    return next(length for length in range(SHORTEST, LONGEST + 1) if guessing_takes(length, codes) >= SAFE)


def settings_of(session: Session, actor: Actor, keyring: Keyring) -> VoucherSettings:
    """Return what the operator's vouchers stand on, made with the first batch."""
    found = session.get(VoucherSettings, actor.operator_id)
    if found is not None:
        return found
    session.execute(text("SELECT pg_advisory_xact_lock(7461, :id)"), {"id": actor.operator_id})
    found = session.get(VoucherSettings, actor.operator_id)
    if found is not None:
        return found
    say = translator(session.get_one(Operator, actor.operator_id).locale)
    owners = [Subscriber(operator_id=actor.operator_id, name=say(name)) for name in (STOCK, COUNTER)]
    session.add_all(owners)
    session.flush()
    settings = VoucherSettings(
        operator_id=actor.operator_id,
        code_key=keyring.seal(KEY_PURPOSE, CodeKey.generate().hex()),
        stock_subscriber_id=owners[0].id,
        counter_subscriber_id=owners[1].id,
    )
    session.add(settings)
    session.flush()
    return settings


def code_key(keyring: Keyring, settings: VoucherSettings) -> CodeKey:
    """Return the key of an operator's codes. Raises core.crypto.SecretUnreadable."""
    return CodeKey.from_hex(keyring.open(KEY_PURPOSE, settings.code_key))


def codes_like(session: Session, operator_id: int, prefix: str, length: int) -> int:
    """Return how many codes with this prefix and length let somebody on, or could."""
    query = (
        select(func.count())
        .select_from(Voucher)
        .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
        .where(
            Voucher.operator_id == operator_id,
            func.length(VoucherBatch.prefix) + VoucherBatch.length == len(prefix) + length,
            Voucher.voided_at.is_(None),
        )
    )
    return session.scalar(query) or 0


def safe_length(session: Session, operator_id: int, prefix: str, count: int) -> int:
    """Return how many random characters so many more codes need."""
    for length in range(SHORTEST, LONGEST):
        if guessing_takes(length, count + codes_like(session, operator_id, prefix, length)) >= SAFE:
            return length
    return LONGEST


def create_batch(session: Session, actor: Actor, keyring: Keyring, terms: BatchTerms, now: datetime) -> VoucherBatch:
    """Make a batch and its codes. Raises Invalid."""
    prefix = terms.prefix.replace(" ", "").replace("-", "").upper()
    length = terms.length or safe_length(session, actor.operator_id, prefix, terms.count)
    _check(session, actor, terms, prefix, length, now)
    settings = settings_of(session, actor, keyring)
    values = asdict(terms)
    for name in ("plan_id", "devices", "rate_download", "rate_upload"):
        del values[name]
    values |= {
        "name": terms.name.strip(),
        "prefix": prefix,
        "length": length,
        "lasts": _seconds(terms.lasts),
        "online": _seconds(terms.online),
        "nas_ids": list(terms.nas_ids),
    }
    batch = VoucherBatch(operator_id=actor.operator_id, staff_id=actor.staff_id, created_at=now, **values)
    session.add(batch)
    session.flush()
    _make_services(session, settings, batch, terms, now)
    _make_codes(session, keyring, code_key(keyring, settings), batch, now)
    after = {**values, "plan_id": terms.plan_id, "devices": terms.devices}
    record(session, actor, "voucher_batch.create", "voucher_batch", batch.id, None, after)
    return batch


def find_code(session: Session, keyring: Keyring, operator_id: int, typed: str) -> Voucher | None:
    """Return the voucher of a code, typed with blanks, in lower case, with O for 0."""
    settings = session.get(VoucherSettings, operator_id)
    if settings is None or not fold_code(typed) or len(typed) > 100:
        return None
    lookup = code_key(keyring, settings).lookup(typed)
    return session.scalar(select(Voucher).where(Voucher.operator_id == operator_id, Voucher.lookup == lookup))


def readable_codes(
    session: Session, actor: Actor, keyring: Keyring, vouchers: Sequence[Voucher], why: str
) -> list[tuple[Voucher, str]]:
    """Return the codes of those vouchers that still have one, and write down who read them and what for."""
    readable = [(voucher, keyring.open(CODE_PURPOSE, voucher.code)) for voucher in vouchers if voucher.code is not None]
    for batch_id in sorted({voucher.batch_id for voucher, _code in readable}):
        numbers = [voucher.number for voucher, _code in readable if voucher.batch_id == batch_id]
        after = {"codes": len(numbers), "first": min(numbers), "last": max(numbers)}
        record(session, actor, f"voucher_batch.{why}", "voucher_batch", batch_id, None, after)
    return readable


def activate(session: Session, batch_id: int, now: datetime, numbers: Iterable[int] | None = None) -> int:
    """Let the vouchers of a batch, or these of them, be used from now on; return how many were not before."""
    chosen = [Voucher.batch_id == batch_id, Voucher.activated_at.is_(None), Voucher.voided_at.is_(None)]
    if numbers is not None:
        chosen.append(Voucher.number.in_(list(numbers)))
    ids = session.scalars(update(Voucher).where(*chosen).values(activated_at=now).returning(Voucher.service_id)).all()
    if ids:
        session.execute(
            text(
                "UPDATE service SET state = 'active', activated_at = :now, version = version + 1"
                " WHERE id = ANY(:ids) AND state = 'pending'"
            ),
            {"ids": list(ids), "now": now},
        )
    session.expire_all()
    return len(ids)


def assign_batch(
    session: Session, actor: Actor, batch: VoucherBatch, staff_id: int | None, collector_id: int | None
) -> None:
    """Say who sells a batch: one of the staff, a collector, or anybody who may sell. Raises Invalid."""
    problems = _seller_problems(session, actor.operator_id, staff_id, collector_id)
    if problems:
        raise Invalid(*problems)
    before = {"seller_staff_id": batch.seller_staff_id, "collector_id": batch.collector_id}
    batch.seller_staff_id, batch.collector_id = staff_id, collector_id
    session.flush()
    after = {"seller_staff_id": staff_id, "collector_id": collector_id}
    record(session, actor, "voucher_batch.assign", "voucher_batch", batch.id, before, after)


def void_vouchers(session: Session, actor: Actor, vouchers: Sequence[Voucher], reason: str, now: datetime) -> None:
    """Cancel vouchers: who is on line by one goes off. Raises Invalid, and WrongState when one is cancelled already."""
    if not reason.strip():
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    if len(reason) > 200 or not reason.isprintable():
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "200"}))
    if any(voucher.voided_at is not None for voucher in vouchers):
        raise WrongState("void", "void")
    _void(session, [voucher.service_id for voucher in vouchers], reason, now)
    for voucher in vouchers:
        after = {"number": voucher.number, "reason": reason.strip()}
        record(session, actor, "voucher.void", "voucher", voucher.service_id, None, after)


def void_batch(session: Session, actor: Actor, batch: VoucherBatch, reason: str, now: datetime) -> int:
    """Cancel those vouchers of a batch that were neither sold nor used; return how many. Raises Invalid."""
    if not reason.strip():
        raise Invalid(FieldProblem("reason", Problem.REQUIRED))
    # One that is being sold is locked by its sale, which the query below sees only once that is committed.
    session.execute(
        select(Voucher.service_id).where(Voucher.batch_id == batch.id).order_by(Voucher.number).with_for_update()
    )
    ids = session.scalars(
        select(Voucher.service_id).where(
            Voucher.batch_id == batch.id,
            Voucher.voided_at.is_(None),
            Voucher.first_login_at.is_(None),
            text("NOT EXISTS (SELECT FROM voucher_sale o WHERE o.voucher_id = voucher.service_id)"),
        )
    ).all()
    _void(session, ids, reason, now)
    batch.voided_at = now
    session.flush()
    record(
        session, actor, "voucher_batch.void", "voucher_batch", batch.id, None, {"vouchers": len(ids), "reason": reason}
    )
    return len(ids)


def state_expression(now: datetime) -> ColumnElement[str]:
    """Return the state of a voucher in SQL, as aaa.vouchers.voucher_state has it; joins Service and VoucherBatch."""
    at = literal(now)
    clock_over = or_(
        and_(Voucher.first_login_at.is_(None), VoucherBatch.best_before <= at),
        VoucherBatch.ends_at <= at,
        Voucher.first_login_at + VoucherBatch.lasts * text("interval '1 second'") <= at,
    )
    used_up = or_(Voucher.online_seconds >= VoucherBatch.online, Voucher.octets >= VoucherBatch.octets)
    return case(
        (Service.state == "terminated", VoucherState.VOID.value),
        (clock_over, VoucherState.EXPIRED.value),
        (used_up, VoucherState.USED_UP.value),
        (Service.state == "pending", VoucherState.STOCK.value),
        (Voucher.first_login_at.is_(None), VoucherState.UNUSED.value),
        else_=VoucherState.ACTIVE.value,
    )


def counts(session: Session, batch_ids: Sequence[int], now: datetime) -> dict[int, dict[str, int]]:
    """Return how many vouchers of each batch are in which state."""
    state = state_expression(now).label("state")
    rows = session.execute(
        select(Voucher.batch_id, state, func.count())
        .join(Service, Service.id == Voucher.service_id)
        .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
        .where(Voucher.batch_id.in_(batch_ids))
        .group_by(Voucher.batch_id, state)
    )
    found: dict[int, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
    for batch_id, name, count in rows:
        found[batch_id][name] = count
    return found


# Making a batch.


def _make_services(
    session: Session, settings: VoucherSettings, batch: VoucherBatch, terms: BatchTerms, now: datetime
) -> None:
    session.execute(
        text(
            "INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name, state, management,"
            " session_limit, rate_download, rate_upload, activated_at)"
            " SELECT :operator_id, :subscriber_id, :plan_id, 'voucher', :stem || n, :state, 'manual', :devices,"
            " CAST(:download AS bigint), CAST(:upload AS bigint), CAST(:activated AS timestamptz)"
            " FROM generate_series(1, :count) n"
        ),
        {
            "operator_id": batch.operator_id,
            "subscriber_id": settings.stock_subscriber_id,
            "plan_id": terms.plan_id,
            "stem": _stem(batch),
            "state": "active" if batch.activation == "now" else "pending",
            "devices": terms.devices,
            "download": terms.rate_download,
            "upload": terms.rate_upload,
            "activated": now if batch.activation == "now" else None,
            "count": batch.count,
        },
    )


def _make_codes(session: Session, keyring: Keyring, key: CodeKey, batch: VoucherBatch, now: datetime) -> None:
    made: dict[str, str] = {}
    while len(made) < batch.count:
        for _ in range(batch.count - len(made)):
            code = random_code(batch.prefix, batch.length)
            made[key.lookup(code)] = code
        taken = session.scalars(
            select(Voucher.lookup).where(Voucher.operator_id == batch.operator_id, Voucher.lookup.in_(list(made)))
        )
        for lookup in taken.all():
            del made[lookup]
    rows = [
        {"number": number, "lookup": lookup, "code": f"\\x{keyring.seal(CODE_PURPOSE, code).hex()}"}
        for number, (lookup, code) in enumerate(made.items(), 1)
    ]
    session.execute(
        text(
            "INSERT INTO voucher (service_id, operator_id, batch_id, number, lookup, code, activated_at)"
            " SELECT s.id, :operator_id, :batch_id, r.number, r.lookup, r.code, CAST(:activated AS timestamptz)"
            " FROM json_to_recordset(CAST(:rows AS json)) AS r (number integer, lookup text, code bytea)"
            " JOIN service s ON s.operator_id = :operator_id AND s.name = :stem || r.number"
        ),
        {
            "operator_id": batch.operator_id,
            "batch_id": batch.id,
            "rows": json.dumps(rows),
            "stem": _stem(batch),
            "activated": now if batch.activation == "now" else None,
        },
    )


def _stem(batch: VoucherBatch) -> str:
    return f"#{batch.id}-"


def _void(session: Session, ids: Sequence[int], reason: str, now: datetime) -> None:
    values = {"ids": list(ids), "now": now, "reason": reason.strip()}
    session.execute(
        text(
            "UPDATE service SET state = 'terminated', terminated_at = :now, version = version + 1 WHERE id = ANY(:ids)"
        ),
        values,
    )
    session.execute(
        text("UPDATE voucher SET voided_at = :now, void_reason = :reason, code = NULL WHERE service_id = ANY(:ids)"),
        values,
    )
    session.expire_all()


def _check(session: Session, actor: Actor, terms: BatchTerms, prefix: str, length: int, now: datetime) -> None:
    problems = _limit_problems(terms, now)
    name = terms.name.strip()
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > 60 or not name.isprintable():
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "60"}))
    elif session.scalar(
        select(VoucherBatch.id).where(VoucherBatch.operator_id == actor.operator_id, VoucherBatch.name == name)
    ):
        problems.append(FieldProblem("name", Problem.TAKEN))
    if not 1 <= terms.count <= MOST:
        problems.append(FieldProblem("count", Problem.OUT_OF_RANGE, {"low": "1", "high": str(MOST)}))
    if len(prefix) > 8 or (prefix and not (prefix.isascii() and prefix.isalnum())):
        problems.append(FieldProblem("prefix", Problem.NOT_A_CODE))
    if not SHORTEST <= length <= LONGEST:
        problems.append(FieldProblem("length", Problem.OUT_OF_RANGE, {"low": str(SHORTEST), "high": str(LONGEST)}))
    else:
        codes = terms.count + codes_like(session, actor.operator_id, prefix, length)
        if guessing_takes(length, codes) < SAFE:
            problems.append(FieldProblem("length", Problem.TOO_SHORT, {"limit": str(shortest_safe(codes))}))
    plan = session.get(RatePlan, terms.plan_id)
    if plan is None or plan.operator_id != actor.operator_id:
        problems.append(FieldProblem("plan_id", Problem.UNKNOWN_PLAN))
    known = session.scalars(select(Nas.id).where(Nas.operator_id == actor.operator_id, Nas.id.in_(terms.nas_ids))).all()
    if set(known) != set(terms.nas_ids):
        problems.append(FieldProblem("nas_ids", Problem.UNKNOWN_NAS))
    if terms.activation not in ("sale", "print", "now"):
        problems.append(FieldProblem("activation", Problem.UNKNOWN_CHOICE))
    if terms.template not in ("cards", "strips", "ticket"):
        problems.append(FieldProblem("template", Problem.UNKNOWN_CHOICE))
    problems += _seller_problems(session, actor.operator_id, terms.seller_staff_id, terms.collector_id)
    if problems:
        raise Invalid(*problems)


def _limit_problems(terms: BatchTerms, now: datetime) -> list[FieldProblem]:
    problems = []
    if terms.lasts is None and terms.online is None and terms.ends_at is None and terms.octets is None:
        problems.append(FieldProblem("lasts", Problem.REQUIRED))
    for name in ("lasts", "online"):
        length = getattr(terms, name)
        if length is not None and not timedelta(minutes=1) <= length <= _LONGEST_LENGTH:
            most = str(_LONGEST_LENGTH // timedelta(minutes=1))
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": "1", "high": most}))
    for name in ("ends_at", "best_before"):
        instant = getattr(terms, name)
        if instant is not None and instant <= now:
            problems.append(FieldProblem(name, Problem.TOO_LONG_AGO))
    if terms.octets is not None and not 0 < terms.octets <= 10**15:
        problems.append(FieldProblem("octets", Problem.NOT_POSITIVE))
    if not 0 <= terms.devices <= 100:
        problems.append(FieldProblem("devices", Problem.OUT_OF_RANGE, {"low": "0", "high": "100"}))
    if not terms.price.is_finite() or terms.price < 0:
        problems.append(FieldProblem("price", Problem.AMOUNT_NEGATIVE))
    if (terms.rate_download is None) != (terms.rate_upload is None):
        problems.append(FieldProblem("rate_upload", Problem.BOTH_OR_NEITHER))
    elif terms.rate_download is not None and min(terms.rate_download, terms.rate_upload or 0) <= 0:
        problems.append(FieldProblem("rate_download", Problem.NOT_POSITIVE))
    return problems


def _seller_problems(
    session: Session, operator_id: int, staff_id: int | None, collector_id: int | None
) -> list[FieldProblem]:
    problems = []
    if staff_id is not None and collector_id is not None:
        problems.append(FieldProblem("seller", Problem.ONE_OF_BOTH))
    staff = session.get(Staff, staff_id) if staff_id is not None else None
    if staff_id is not None and (staff is None or staff.operator_id != operator_id):
        problems.append(FieldProblem("seller", Problem.UNKNOWN_CHOICE))
    collector = session.get(Collector, collector_id) if collector_id is not None else None
    if collector_id is not None and (collector is None or collector.operator_id != operator_id):
        problems.append(FieldProblem("seller", Problem.UNKNOWN_COLLECTOR))
    return problems


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())
