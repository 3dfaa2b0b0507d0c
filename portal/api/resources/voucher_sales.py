"""Selling vouchers, and reading the code of one.

A sale and its code are two requests: what a sale is answered is remembered for its Idempotency-Key, and a code must
not be. Who sold a voucher may read its code; that it was read is in the audit log.
"""

import secrets
from datetime import datetime

from pydantic import Field

from billing.vouchers import SaleTerms, open_sale, sell_voucher
from core.codes import grouped
from crm.vouchers import readable_codes
from db.models import Voucher, VoucherBatch, VoucherSale
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import one
from portal.api.resources.vouchers import TAG
from portal.api.scopes import Scope
from portal.api.values import Given, Money, Nothing, RowId, Shown, string


class SaleShown(Shown):
    """A voucher that was sold. Where the operator bills, an invoice and a payment stand behind it."""

    id: int
    voucher_id: int
    batch_id: int
    price: Money
    sold_at: datetime
    invoice_id: int | None
    payment_id: int | None


class SaleGiven(Given):
    """The next voucher of a batch's stock, or a card that is in print."""

    batch_id: RowId
    voucher_id: RowId | None = Field(None, description="Of the card; left out, the next of the stock.")
    method_id: RowId | None = Field(
        None, description="One of /payment-methods; needed where it is billed and has a price."
    )
    payment_reference: string(100) = ""  # type: ignore[valid-type]


class CodeShown(Shown):
    """What a guest types, in groups as it is printed; blanks, hyphens and small letters do not matter."""

    code: str = Field(examples=["K7QM-29XA"])


@operation("POST", "/voucher-sales", Scope.VOUCHERS_SELL, tag=TAG, summary="Sell a voucher", answer=SaleShown,
           status=201, key=True, gives=(Kind.BILLING_OFF,))  # fmt: skip
def sell(body: SaleGiven) -> SaleShown:
    """It can be used at once, and its price is in the books. Cancelled before its first login, it is paid back."""
    terms = SaleTerms(**body.model_dump(), reference=f"{_ours()}{secrets.token_hex(8)}")
    return _shown(sell_voucher(frame.db(), frame.actor(), context.keyring(), terms, context.now()).sale)


@operation("POST", "/vouchers/<int:voucher_id>/code", None, tag=TAG, summary="Read the code of a voucher",
           answer=CodeShown, remembered=False, gives=(Kind.WRONG_STATE,))  # fmt: skip
def code(voucher_id: int, body: Nothing) -> CodeShown:
    """Until its first login; after that nobody knows it. One that this token sold needs `vouchers:sell`, any other
    `vouchers:codes`. Each reading is written down."""
    session, voucher = frame.db(), one(Voucher, voucher_id)
    sale = open_sale(session, voucher)
    sold_here = sale is not None and (sale.reference or "").startswith(_ours())
    frame.require(Scope.VOUCHERS_SELL if sold_here else Scope.VOUCHERS_CODES)
    readable = readable_codes(session, frame.actor(), context.keyring(), [voucher], "reveal")
    if not readable:
        raise ApiProblem(Kind.WRONG_STATE, state="used")
    return CodeShown(code=grouped(readable[0][1], one(VoucherBatch, voucher.batch_id).prefix))


def _ours() -> str:
    """Return how the references of this token's sales begin."""
    return f"api {frame.token().id} "


def _shown(sale: VoucherSale) -> SaleShown:
    return SaleShown(
        price=Money.of(sale.price, sale.currency),
        **{name: getattr(sale, name) for name in set(SaleShown.model_fields) - {"price"}},
    )
