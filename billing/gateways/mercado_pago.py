"""Mercado Pago: Checkout Pro preferences, through Mercado Pago's own SDK.

A preference is paid by one or more payments that carry its `external_reference`; refused tries are payments, too. A
webhook is signed over the payment's id, the request's id and the time (`x-signature: ts=…,v1=…`); its body says
nothing but which payment to look at.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import mercadopago
import requests
from mercadopago.config import RequestOptions
from mercadopago.errors.exceptions import MercadoPagoError
from mercadopago.http import HttpClient
from mercadopago.webhook.validator import InvalidWebhookSignatureError, WebhookSignatureValidator

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

API = "https://api.mercadopago.com"

_STATES = (
    (("approved",), PaymentState.PAID),
    (("pending", "in_process", "authorized"), PaymentState.PENDING),
    (("rejected", "cancelled"), PaymentState.REFUSED),
)


class _OtherHost(HttpClient):  # type: ignore[misc] # the SDK has no types
    """The SDK's own transport, to a server of the lab: its address is fixed inside the SDK."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url.rstrip("/")

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace(API, self._api_url, 1), *args, **kwargs)


class MercadoPago:
    """An account with Mercado Pago. `api_url` is theirs unless a server of the lab plays it."""

    def __init__(self, secret_key: str, webhook_secret: str, api_url: str | None = None) -> None:
        self._webhook_secret = webhook_secret
        self._token = secret_key
        options = RequestOptions(access_token=secret_key, connection_timeout=TIMEOUT, max_retries=1)
        self._sdk = mercadopago.SDK(secret_key, http_client=_OtherHost(api_url or API), request_options=options)

    def open_checkout(self, terms: CheckoutTerms) -> OpenedCheckout:
        preference: dict[str, Any] = {
            "items": [
                {
                    "id": terms.reference,
                    "title": terms.description,
                    "quantity": 1,
                    "currency_id": terms.currency,
                    "unit_price": float(terms.amount),
                }
            ],
            "external_reference": terms.reference,
            "back_urls": dict.fromkeys(("success", "pending", "failure"), terms.back_url),
        }
        if terms.email:
            preference["payer"] = {"email": terms.email}
        made = self._ask(lambda: self._sdk.preference().create(preference, self._once(terms.reference)))
        return OpenedCheckout(str(made["id"]), str(made["init_point"]))

    def read_webhook(self, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Hint:
        try:
            WebhookSignatureValidator.validate(
                headers.get("X-Signature"), headers.get("X-Request-Id"), query.get("data.id"), self._webhook_secret
            )
            event = json.loads(body)
            kind = str(event.get("type", ""))
            event_id = str(event.get("id") or headers.get("X-Request-Id"))
            return Hint(event_id, kind, None, query.get("data.id") if kind == "payment" else None)
        except (InvalidWebhookSignatureError, ValueError, AttributeError):
            raise BadSignature from None

    def find_payment(self, provider_id: str | None, reference: str) -> ProviderPayment:
        """Return the payment that was approved, else the newest one that still may be."""
        found = self._ask(lambda: self._sdk.payment().search({"external_reference": reference}))
        payments = [each for each in found["results"] if each.get("external_reference") == reference]
        for wanted, state in _STATES:
            for each in payments:
                if each["status"] in wanted:
                    return _read(each, state)
        return ProviderPayment(PaymentState.PENDING, reference)

    def reference_of(self, payment_id: str) -> str | None:
        found = self._ask(lambda: self._sdk.payment().get(payment_id))
        reference = found.get("external_reference")
        return None if reference is None else str(reference)

    def payment(self, payment_id: str) -> ProviderPayment:
        found = self._ask(lambda: self._sdk.payment().get(payment_id))
        states = (state for wanted, state in _STATES if found["status"] in wanted)
        return _read(found, next(states, PaymentState.ENDED))

    def refund(self, payment_id: str, amount: Decimal, currency: str, key: str) -> str:
        made = self._ask(lambda: self._sdk.refund().create(payment_id, {"amount": float(amount)}, self._once(key)))
        return str(made["id"])

    def _once(self, key: str) -> RequestOptions:
        headers = {"x-idempotency-key": key}
        return RequestOptions(self._token, connection_timeout=TIMEOUT, custom_headers=headers, max_retries=1)

    def _ask(self, question: Any) -> Any:
        """Return what the provider answers. Raises ProviderTrouble."""
        try:
            answer = question()
        except (requests.RequestException, MercadoPagoError):
            raise ProviderTrouble(Trouble.UNREACHABLE) from None
        status, said = answer["status"], answer["response"]
        if 200 <= status < 300:
            return said
        if status in (401, 403):
            raise ProviderTrouble(Trouble.KEY)
        detail = str(said.get("message", "")) if isinstance(said, dict) else ""
        raise ProviderTrouble(Trouble.UNREACHABLE if status >= 500 or status == 429 else Trouble.REFUSED, detail)


def _read(found: Mapping[str, Any], state: PaymentState) -> ProviderPayment:
    amount, reference = Decimal(str(found["transaction_amount"])), found.get("external_reference")
    return ProviderPayment(state, reference, str(found["id"]), amount, str(found["currency_id"]))
