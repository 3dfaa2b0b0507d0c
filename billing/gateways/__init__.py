"""Payments online: an operator's account with a provider, and what any provider must be able to do.

A provider is believed in one way only. Its webhook is a hint that something happened, however well it is signed; what
counts is the answer to `find_payment()`, asked of the provider itself. So a webhook that is told twice, late, or in
the wrong order changes nothing that the first one did not, and one that never comes is made up for by looking.

    checkouts.start_checkout      begin one, for an invoice or all that is owed
    checkouts.settle              look what became of it; register the payment once
    checkouts.hear                a webhook
    accounts.*                    the operator's keys
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

TIMEOUT = 10.0
"""Seconds for each answer of a provider."""


class Trouble(StrEnum):
    """Why a provider did not do what it was asked."""

    UNREACHABLE = "unreachable"
    KEY = "key"  # it does not know our key
    REFUSED = "refused"


class ProviderTrouble(Exception):
    """A provider could not be reached or refused. `detail` is its words, without our keys."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble}: {detail}")
        self.trouble = trouble
        self.detail = detail[:300]


class BadSignature(Exception):
    """A webhook was not signed by the provider, or long ago."""


@dataclass(frozen=True, slots=True)
class CheckoutTerms:
    """What is to be paid. `reference` is ours and comes back; the browser goes to `back_url` afterwards."""

    reference: str
    amount: Decimal
    currency: str
    description: str
    email: str | None
    back_url: str


@dataclass(frozen=True, slots=True)
class OpenedCheckout:
    """A checkout as the provider knows it, and where the subscriber pays."""

    provider_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Hint:
    """What a webhook says: its own id, its kind, and the reference or the provider's payment that it is about."""

    event_id: str
    kind: str
    reference: str | None
    payment_id: str | None


class PaymentState(StrEnum):
    PAID = "paid"
    PENDING = "pending"
    REFUSED = "refused"
    ENDED = "ended"  # the checkout cannot be paid any more


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """What became of a checkout. Without `payment_id` nobody has begun to pay; `PENDING` with one: it is on its way."""

    state: PaymentState
    reference: str | None = None
    payment_id: str | None = None
    amount: Decimal = Decimal(0)
    currency: str = ""


class Provider(Protocol):
    """One account with one provider. All methods raise ProviderTrouble."""

    def open_checkout(self, terms: CheckoutTerms) -> OpenedCheckout:
        """Begin a checkout; the same reference twice is one checkout."""

    def read_webhook(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Hint:
        """Return what a webhook says. Raises BadSignature, and nothing of it is looked at before."""

    def find_payment(self, provider_id: str | None, reference: str) -> ProviderPayment:
        """Return what became of a checkout of ours."""

    def reference_of(self, payment_id: str) -> str | None:
        """Return which checkout of ours a payment belongs to, if any."""

    def payment(self, payment_id: str) -> ProviderPayment:
        """Return what the provider has of one payment, whoever began it; `payment_id` is its id there."""

    def refund(self, payment_id: str, amount: Decimal, currency: str, key: str) -> str:
        """Give money back and return the provider's id of that; the same key twice is one refund."""
