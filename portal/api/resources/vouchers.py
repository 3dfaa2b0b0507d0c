"""Vouchers: batches of access codes, and what became of one."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from billing.vouchers import take_back
from crm.vouchers import BatchTerms, activate, counts, create_batch, find_code, state_expression, void_batch
from db.audit import record
from db.models import Service, Voucher, VoucherBatch
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import amount_of, one
from portal.api.scopes import Scope
from portal.api.values import (
    Absent,
    Given,
    Instant,
    Money,
    MoneyGiven,
    Nothing,
    Octets,
    Page,
    PageAsked,
    Rate,
    RowId,
    Shown,
    string,
)

TAG = "Vouchers"
State = Literal["stock", "unused", "active", "used_up", "expired", "void"]
MOST = 5_000
"""Vouchers that a request makes; larger batches are made on the page."""


class BatchShown(Shown):
    """Vouchers that were made together. The first limit that is reached ends one; null is no limit."""

    id: int
    name: str
    prefix: str
    count: int
    price: Money
    lasts: int | None = Field(description="Seconds from the first login.")
    online: int | None = Field(description="Seconds online.")
    ends_at: datetime | None
    octets: Octets | None
    best_before: datetime | None = Field(description="Until when the first login must be.")
    nas_ids: list[int] = Field(description="Where they are good; none is everywhere.")
    activation: Literal["sale", "print", "now"]
    states: dict[str, int] = Field(description="How many are in which state.")
    created_at: datetime
    voided_at: datetime | None


class BatchGiven(Given):
    """A batch to be made. At least one limit is needed."""

    name: string(60, 1) = Field(examples=["Summer, 24 hours"])  # type: ignore[valid-type]
    count: int = Field(ge=1, le=MOST, examples=[100])
    plan_id: RowId
    price: MoneyGiven | None = None
    prefix: string(8) = ""  # type: ignore[valid-type]
    length: int | None = Field(None, ge=6, le=20, description="Of the random part; left out, the shortest safe one.")
    lasts: int | None = Field(
        None, ge=60, le=158_112_000, description="Seconds from the first login.", examples=[86400]
    )
    online: int | None = Field(None, ge=60, le=158_112_000, description="Seconds online.")
    ends_at: Instant | None = None
    octets: int | None = Field(None, ge=1, le=10**15)
    best_before: Instant | None = None
    devices: int = Field(1, ge=0, le=100, description="At once; 0 is no limit.")
    rate_download: Rate | None = None
    rate_upload: Rate | None = None
    nas_ids: list[RowId] = Field([], max_length=100)
    activation: Literal["sale", "print", "now"] = "sale"


class VoucherShown(Shown):
    """One voucher. Its code is never answered."""

    id: int
    batch_id: int
    number: int = Field(description="In its batch, from 1.")
    state: State
    activated_at: datetime | None
    first_login_at: datetime | None
    online_seconds: int
    octets: Octets
    voided_at: datetime | None
    void_reason: str


class BatchesAsked(PageAsked):
    name: string(60) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]


class VouchersAsked(PageAsked):
    state: State | Absent = None


class CodeGiven(Given):
    code: string(100, 1) = Field(examples=["K7QM-29XA"])  # type: ignore[valid-type]


class VoucherVoiding(Given):
    reason: string(200, 1) = Field(examples=["Lost"])  # type: ignore[valid-type]


def _batches_shown(rows: Sequence[VoucherBatch]) -> list[BatchShown]:
    found = counts(frame.db(), [row.id for row in rows], context.now())
    plain = set(BatchShown.model_fields) - {"price", "states"}
    return [
        BatchShown(
            price=Money.of(row.price, context.operator().currency),
            states=found[row.id],
            **{name: getattr(row, name) for name in plain},
        )
        for row in rows
    ]


def _shown(rows: Sequence[Voucher]) -> list[VoucherShown]:
    ids = [row.service_id for row in rows]
    query = (
        select(Voucher.service_id, state_expression(context.now()).label("state"))
        .join(Service, Service.id == Voucher.service_id)
        .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
        .where(Voucher.service_id.in_(ids))
    )
    states = {row.service_id: row.state for row in frame.db().execute(query)}
    plain = set(VoucherShown.model_fields) - {"id", "state"}
    return [
        VoucherShown(id=row.service_id, state=states[row.service_id], **{name: getattr(row, name) for name in plain})
        for row in rows
    ]


@operation("GET", "/voucher-batches", Scope.VOUCHERS_READ, tag=TAG, summary="List batches of vouchers",
           answer=Page[BatchShown])  # fmt: skip
def batches(query: BatchesAsked) -> Page[BatchShown]:
    found = select(VoucherBatch)
    if query.name is not None:
        found = found.where(VoucherBatch.name.icontains(query.name, autoescape=True))
    return page_of(frame.db(), found, [VoucherBatch.id], query, _batches_shown)


@operation("GET", "/voucher-batches/<int:batch_id>", Scope.VOUCHERS_READ, tag=TAG, summary="Read a batch",
           answer=BatchShown, single=True)  # fmt: skip
def batch(batch_id: int) -> BatchShown:
    return _batches_shown([one(VoucherBatch, batch_id)])[0]


@operation("POST", "/voucher-batches", Scope.VOUCHERS_WRITE, tag=TAG, summary="Make a batch of vouchers",
           answer=BatchShown, status=201, key=True, location="/voucher-batches/{id}")  # fmt: skip
def create(body: BatchGiven) -> BatchShown:
    """Its codes are printed or exported on the batch's page, where it is written down who reads them."""
    price = Decimal(0) if body.price is None else amount_of(body.price, "price")
    terms = BatchTerms(
        **body.model_dump(exclude={"price", "lasts", "online", "nas_ids"}),
        price=price,
        lasts=None if body.lasts is None else timedelta(seconds=body.lasts),
        online=None if body.online is None else timedelta(seconds=body.online),
        nas_ids=tuple(body.nas_ids),
    )
    made = create_batch(frame.db(), frame.actor(), context.keyring(), terms, context.now())
    frame.db().flush()
    frame.db().refresh(made)
    return _batches_shown([made])[0]


@operation("POST", "/voucher-batches/<int:batch_id>/activate", Scope.VOUCHERS_WRITE, tag=TAG,
           summary="Activate a batch", answer=BatchShown)  # fmt: skip
def activate_all(batch_id: int, body: Nothing) -> BatchShown:
    """All of its vouchers can be used from now on, sold or not. Selling one activates it, too."""
    session, found = frame.db(), one(VoucherBatch, batch_id)
    count = activate(session, found.id, context.now())
    record(session, frame.actor(), "voucher_batch.activate", "voucher_batch", batch_id, None, {"vouchers": count})
    return _batches_shown([one(VoucherBatch, batch_id)])[0]


@operation("POST", "/voucher-batches/<int:batch_id>/void", Scope.VOUCHERS_WRITE, tag=TAG, summary="Cancel a batch",
           answer=BatchShown)  # fmt: skip
def void_all(batch_id: int, body: VoucherVoiding) -> BatchShown:
    """Those of its vouchers that were neither sold nor used."""
    found = one(VoucherBatch, batch_id)
    void_batch(frame.db(), frame.actor(), found, body.reason, context.now())
    frame.db().refresh(found)
    return _batches_shown([found])[0]


@operation("GET", "/voucher-batches/<int:batch_id>/vouchers", Scope.VOUCHERS_READ, tag=TAG,
           summary="List the vouchers of a batch", answer=Page[VoucherShown])  # fmt: skip
def vouchers(batch_id: int, query: VouchersAsked) -> Page[VoucherShown]:
    found = select(Voucher).where(Voucher.batch_id == one(VoucherBatch, batch_id).id)
    if query.state is not None:
        found = (
            found.join(Service, Service.id == Voucher.service_id)
            .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
            .where(state_expression(context.now()) == query.state)
        )
    return page_of(frame.db(), found, [Voucher.service_id], query, _shown)


@operation("GET", "/vouchers/<int:voucher_id>", Scope.VOUCHERS_READ, tag=TAG, summary="Read a voucher",
           answer=VoucherShown, single=True)  # fmt: skip
def voucher(voucher_id: int) -> VoucherShown:
    return _shown([one(Voucher, voucher_id)])[0]


@operation("POST", "/vouchers/find", Scope.VOUCHERS_READ, tag=TAG, summary="Find a voucher by its code",
           answer=VoucherShown, gives=(Kind.NOT_FOUND,))  # fmt: skip
def find(body: CodeGiven) -> VoucherShown:
    """However it is typed: with blanks, in lower case, with O for 0."""
    found = find_code(frame.db(), context.keyring(), frame.token().operator_id, body.code)
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return _shown([found])[0]


@operation("POST", "/vouchers/<int:voucher_id>/void", Scope.VOUCHERS_WRITE, tag=TAG, summary="Cancel a voucher",
           answer=VoucherShown, gives=(Kind.WRONG_STATE, Kind.BILLING_OFF))  # fmt: skip
def void_one(voucher_id: int, body: VoucherVoiding) -> VoucherShown:
    """Who is on line by it goes off. One that was sold and never used is credited and its money given back."""
    found = one(Voucher, voucher_id)
    take_back(frame.db(), frame.actor(), found, body.reason, context.now())
    frame.db().refresh(found)
    return _shown([found])[0]
