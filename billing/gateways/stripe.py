"""Stripe: Checkout Sessions, through Stripe's own SDK.

Amounts are whole numbers of the smallest unit: 12.50 MXN is 1250, 1250 CLP is 1250. A webhook is signed over the time
and the body (`Stripe-Signature: t=…,v1=…`) and refused when it is older than five minutes. What was paid is the
session's `amount_total`; the payment intent is what refunds name, so it is the payment's id.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import stripe

from billing.gateways import (
    TIMEOUT,
    BadSignature,
    CheckoutTerms,
    Hint,
    OpenedCheckout,
    PaymentState,
    ProviderPayment,
    ProviderTrouble,
    Trouble,
)
from core.money import currency_digits

REFERENCE = "portico_reference"


class Stripe:
    """An account with Stripe. `api_url` is Stripe's own unless a server of the lab plays it."""

    def __init__(self, secret_key: str, webhook_secret: str, api_url: str | None = None) -> None:
        self._webhook_secret = webhook_secret
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_url} if api_url else None,
            max_network_retries=1,
            http_client=stripe.RequestsClient(timeout=TIMEOUT),
        )

    def open_checkout(self, terms: CheckoutTerms) -> OpenedCheckout:
        metadata = {REFERENCE: terms.reference}
        params: Any = {
            "mode": "payment",
            "client_reference_id": terms.reference,
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata, "description": terms.description},
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": terms.currency.lower(),
                        "unit_amount": smallest_units(terms.amount, terms.currency),
                        "product_data": {"name": terms.description},
                    },
                }
            ],
            "success_url": terms.back_url,
            "cancel_url": terms.back_url,
        }
        if terms.email:
            params["customer_email"] = terms.email
        with _troubles():
            made = self._client.v1.checkout.sessions.create(params, {"idempotency_key": terms.reference})
        return OpenedCheckout(made.id, made.url or "")

    def read_webhook(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Hint:
        try:
            stripe.WebhookSignature.verify_header(
                body.decode(),
                headers.get("Stripe-Signature", ""),
                self._webhook_secret,
                stripe.Webhook.DEFAULT_TOLERANCE,
            )
            event = json.loads(body)
            subject = event["data"]["object"]
            metadata = subject.get("metadata") or {}
            paid = subject.get("payment_intent") or (
                subject["id"] if subject.get("object") == "payment_intent" else None
            )
            return Hint(str(event["id"]), str(event["type"]), metadata.get(REFERENCE), paid)
        except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError, AttributeError):
            raise BadSignature from None

    def find_payment(self, provider_id: str | None, reference: str) -> ProviderPayment:
        if provider_id is None:
            return ProviderPayment(PaymentState.ENDED, reference)
        with _troubles():
            found = self._client.v1.checkout.sessions.retrieve(provider_id)
        if found.client_reference_id != reference:
            raise ProviderTrouble(Trouble.REFUSED, "the session belongs to something else")
        intent = found.payment_intent
        payment_id = intent if isinstance(intent, str) or intent is None else intent.id
        if found.payment_status == "paid":
            currency = str(found.currency).upper()
            amount = from_smallest_units(found.amount_total or 0, currency)
            return ProviderPayment(PaymentState.PAID, reference, payment_id or found.id, amount, currency)
        if found.status == "complete":  # paid in cash, or by a bank: it is not there yet
            return ProviderPayment(PaymentState.PENDING, reference, payment_id or found.id)
        return ProviderPayment(PaymentState.ENDED if found.status == "expired" else PaymentState.PENDING, reference)

    def reference_of(self, payment_id: str) -> str | None:
        with _troubles():
            found = self._client.v1.payment_intents.retrieve(payment_id)
        reference = found.to_dict().get("metadata", {}).get(REFERENCE)
        return None if reference is None else str(reference)

    def payment(self, payment_id: str) -> ProviderPayment:
        with _troubles():
            found = self._client.v1.payment_intents.retrieve(payment_id)
        if found.status != "succeeded":
            ended = found.status == "canceled"
            return ProviderPayment(PaymentState.ENDED if ended else PaymentState.PENDING, payment_id=found.id)
        currency = found.currency.upper()
        amount = from_smallest_units(found.amount_received, currency)
        return ProviderPayment(PaymentState.PAID, None, found.id, amount, currency)

    def refund(self, payment_id: str, amount: Decimal, currency: str, key: str) -> str:
        params: Any = {"payment_intent": payment_id, "amount": smallest_units(amount, currency)}
        with _troubles():
            return str(self._client.v1.refunds.create(params, {"idempotency_key": key}).id)


def smallest_units(amount: Decimal, currency: str) -> int:
    """Return an amount as Stripe counts it. It counts by ISO 4217 but for what its documentation lists."""
    scaled = amount.scaleb(_digits(currency))
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more digits than {currency}")
    return int(scaled)


def from_smallest_units(count: int, currency: str) -> Decimal:
    return Decimal(count).scaleb(-_digits(currency))


def _digits(currency: str) -> int:
    # Colombian pesos and the like have decimals at Stripe though people there do not use them.
    zero = {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"}
    return 0 if currency in zero else max(2, currency_digits(currency))


class _troubles:  # noqa: N801 - reads as the word it is
    """Turns the SDK's errors into ours, without the key that stands in some of their texts."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, problem: BaseException | None, _trace: object) -> None:
        if isinstance(problem, stripe.AuthenticationError | stripe.PermissionError):
            raise ProviderTrouble(Trouble.KEY) from None
        if isinstance(problem, stripe.APIConnectionError | stripe.RateLimitError):
            raise ProviderTrouble(Trouble.UNREACHABLE) from None
        if isinstance(problem, stripe.StripeError):
            status = problem.http_status or 0
            kind = Trouble.UNREACHABLE if status >= 500 else Trouble.REFUSED
            raise ProviderTrouble(kind, problem.code or problem.user_message or "") from None
