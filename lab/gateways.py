"""Payment providers of the lab: local servers that speak Stripe's and Mercado Pago's APIs as their SDKs see them.

One server plays both, under `/stripe` and `/mercadopago`, and the provider of electronic invoices under `/einvoice`.
Under `/hooks` it is a program that Portico's webhooks tell: `/hooks/erp` takes everything, any other is out of order.
Each has one account: its key, what it signs webhooks with, and where they go. A checkout's page takes a test card;
paying sends the webhook as the provider would and leads the browser back. Faults are attributes that a test sets.

    card 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is refused
"""

import hashlib
import hmac
import html
import itertools
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from urllib.request import Request, urlopen

from lab.einvoices import EinvoiceProvider
from lab.web import WebRequest, WebServer

_INTENTS = {
    (True, False): "succeeded",
    (False, True): "requires_action",
    (False, False): "requires_payment_method",
}
GOOD_CARD, REFUSED_CARD = "4242424242424242", "4000000000000002"
STRIPE, MERCADO_PAGO, EINVOICE, HOOKS = "stripe", "mercadopago", "einvoice", "hooks"


@dataclass
class Account:
    """What a provider knows of the operator."""

    key: str
    webhook_secret: str
    webhook_url: str = ""


@dataclass
class Sale:
    """One checkout at a provider, and what was paid of it."""

    id: str
    provider: str
    reference: str
    amount: int  # in the smallest unit, for Stripe; in hundredths for Mercado Pago
    currency: str
    description: str
    back_url: str
    webhook_url: str
    payments: list[dict[str, Any]] = field(default_factory=list)
    expired: bool = False

    @property
    def paid(self) -> dict[str, Any] | None:
        return next((payment for payment in self.payments if payment["approved"]), None)


class Providers(WebServer):
    """Both providers, at a port of one address. A context manager; port 0 takes a free one.

    Faults: `answers` (a status that every request of the API gets instead), `delay` (seconds before each answer),
    `short` (so much less is paid than was asked), `pays_in` (another currency), `webhooks` (how often each is told).
    """

    def __init__(
        self, accounts: dict[str, Account], address: str = "127.0.0.1", port: int = 0, einvoices: Path | None = None
    ) -> None:
        super().__init__(_Handler, self, address, port)
        self.accounts = accounts
        self.sales: dict[str, Sale] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.told: list[int] = []  # what webhooks were answered
        self.requests: list[str] = []
        self.answers: int | None = None
        self.delay = 0.0
        self.short = 0
        self.pays_in: str | None = None
        self.einvoices = EinvoiceProvider(accounts[EINVOICE].key, einvoices) if EINVOICE in accounts else None
        self.webhooks = 1
        self._once: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1_000_000_001)
        self._guard = threading.RLock()

    def api(
        self, provider: str, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Answer a request of the API: a status and a JSON object."""
        with self._guard:
            self.requests.append(f"{method} {path}")
        time.sleep(self.delay)
        if self.answers is not None:
            return self.answers, {"error": {"type": "api_error", "message": "out of order"}, "message": "out of order"}
        if headers.get("Authorization") != f"Bearer {self.accounts[provider].key}":
            message = {"type": "invalid_request_error", "message": "Invalid API Key provided"}
            return 401, {"error": message, "message": "invalid access token"}
        with self._guard:
            once = headers.get("Idempotency-Key") or headers.get("x-idempotency-key")
            known = self._once.get(f"{path} {once}") if method == "POST" and once else None
            if known is not None:
                return 200, known
            speak = self._stripe if provider == STRIPE else self._mercado_pago
            status, answer = speak(method, path, query, body)
            if method == "POST" and once and status < 300:
                self._once[f"{path} {once}"] = answer
            return status, answer

    def pay(self, sale_id: str, card: str = GOOD_CARD, *, again: bool = False, in_cash: bool = False) -> Sale:
        """Pay a checkout as its page does, and tell the webhook.

        `again` pays what is paid already, as from a second tab; `in_cash` is on its way until `arrive()`.
        """
        sale = self.sales[sale_id]
        with self._guard:
            if sale.paid is None or again:
                number = next(self._numbers)
                name = f"pi_{number}" if sale.provider == STRIPE else str(number)
                sale.payments.append(
                    {
                        "id": name,
                        "approved": card.replace(" ", "") == GOOD_CARD and not in_cash,
                        "pending": in_cash,
                        "amount": sale.amount - self.short,
                        "currency": self.pays_in or sale.currency,
                    }
                )
        for _time in range(self.webhooks):
            self.tell(sale)
        return sale

    def arrive(self, sale: Sale) -> None:
        """Let cash that was on its way arrive, and tell the webhook."""
        sale.payments[-1] |= {"approved": True, "pending": False}
        self.tell(sale, event_id=f"evt_arrived_{sale.payments[-1]['id']}")

    def tell(self, sale: Sale, event_id: str | None = None, *, signed_with: str | None = None, at: int = 0) -> int:
        """Send the webhook of a sale's last payment and return the status that it was answered with; 0 for none."""
        account, payment = self.accounts[sale.provider], sale.payments[-1]
        secret, at = (signed_with or account.webhook_secret).encode(), at or int(time.time())
        if sale.provider == STRIPE:
            went_well = payment["approved"] or payment["pending"]
            kind = "checkout.session.completed" if went_well else "payment_intent.payment_failed"
            event = {"id": event_id or f"evt_{payment['id']}", "object": "event", "type": kind}
            body = json.dumps({**event, "data": {"object": self._session(sale)}}).encode()
            signature = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            url, headers = account.webhook_url, {"Stripe-Signature": f"t={at},v1={signature}"}
        else:
            said = {"id": event_id or payment["id"], "type": "payment", "data": {"id": payment["id"]}}
            body, request_id = json.dumps({**said, "action": "payment.updated"}).encode(), secrets.token_hex(8)
            manifest = f"id:{payment['id']};request-id:{request_id};ts:{at};"
            signature = hmac.new(secret, manifest.encode(), hashlib.sha256).hexdigest()
            url = f"{sale.webhook_url}?data.id={payment['id']}&type=payment"
            headers = {"x-signature": f"ts={at},v1={signature}", "x-request-id": request_id}
        status = _post(url, body, headers)
        self.told.append(status)
        return status

    def _stripe(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        form = dict(parse_qsl(body.decode()))
        match method, path.strip("/").split("/"):
            case "POST", ["v1", "checkout", "sessions"]:
                sale = Sale(
                    f"cs_test_{secrets.token_hex(12)}",
                    STRIPE,
                    form["client_reference_id"],
                    int(form["line_items[0][price_data][unit_amount]"]),
                    form["line_items[0][price_data][currency]"].upper(),
                    form["line_items[0][price_data][product_data][name]"],
                    form["success_url"],
                    self.accounts[STRIPE].webhook_url,
                )
                self.sales[sale.id] = sale
                return 200, self._session(sale)
            case "GET", ["v1", "checkout", "sessions", name] if name in self.sales:
                return 200, self._session(self.sales[name])
            case "GET", ["v1", "payment_intents", name]:
                for sale in self.sales.values():
                    for payment in sale.payments:
                        if payment["id"] == name:
                            return 200, self._intent(sale, payment)
            case "POST", ["v1", "refunds"]:
                return self._refund(form["payment_intent"], int(form["amount"]))
        return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such thing"}}

    def _intent(self, sale: Sale, payment: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": payment["id"],
            "object": "payment_intent",
            "metadata": {"portico_reference": sale.reference},
            "status": _INTENTS[bool(payment["approved"]), bool(payment["pending"])],
            "amount_received": payment["amount"] if payment["approved"] else 0,
            "currency": payment["currency"].lower(),
        }

    def _session(self, sale: Sale) -> dict[str, Any]:
        paid = sale.paid
        begun = next((payment for payment in sale.payments if payment["pending"]), paid)
        return {
            "id": sale.id,
            "object": "checkout.session",
            "client_reference_id": sale.reference,
            "metadata": {"portico_reference": sale.reference},
            "status": "complete" if begun else "expired" if sale.expired else "open",
            "payment_status": "paid" if paid else "unpaid",
            "payment_intent": begun["id"] if begun else None,
            "amount_total": paid["amount"] if paid else sale.amount,
            "currency": (paid["currency"] if paid else sale.currency).lower(),
            "url": f"{self.url}/{STRIPE}/pay/{sale.id}",
        }

    def _mercado_pago(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        said = json.loads(body) if body else {}
        match method, path.strip("/").split("/"):
            case "POST", ["checkout", "preferences"]:
                item = said["items"][0]
                sale = Sale(
                    f"mp-{secrets.token_hex(8)}",
                    MERCADO_PAGO,
                    said["external_reference"],
                    round(item["unit_price"] * 100),
                    item["currency_id"],
                    item["title"],
                    said["back_urls"]["success"],
                    self.accounts[MERCADO_PAGO].webhook_url,
                )
                self.sales[sale.id] = sale
                return 201, {"id": sale.id, "init_point": f"{self.url}/{MERCADO_PAGO}/pay/{sale.id}"}
            case "GET", ["v1", "payments", "search"]:
                found = [
                    self._payment(sale, payment)
                    for sale in self.sales.values()
                    if sale.reference == query.get("external_reference")
                    for payment in reversed(sale.payments)
                ]
                return 200, {"results": found, "paging": {"total": len(found)}}
            case "GET", ["v1", "payments", name]:
                for sale in self.sales.values():
                    for payment in sale.payments:
                        if payment["id"] == name:
                            return 200, self._payment(sale, payment)
            case "POST", ["v1", "payments", name, "refunds"]:
                status, answer = self._refund(name, round(said["amount"] * 100))
                return (201 if status == 200 else status), answer
        return 404, {"message": "not found", "status": 404}

    def _payment(self, sale: Sale, payment: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": int(payment["id"]),
            "status": "approved" if payment["approved"] else "pending" if payment["pending"] else "rejected",
            "external_reference": sale.reference,
            "transaction_amount": payment["amount"] / 100,
            "currency_id": payment["currency"],
        }

    def _refund(self, payment_id: str, amount: int) -> tuple[int, dict[str, Any]]:
        given = sum(refund["amount"] for refund in self.refunds.values() if refund["payment"] == payment_id)
        for sale in self.sales.values():
            for payment in sale.payments:
                if payment["id"] == payment_id and payment["approved"] and given + amount <= payment["amount"]:
                    made: dict[str, Any] = {"id": f"re_{next(self._numbers)}", "payment": payment_id, "amount": amount}
                    self.refunds[made["id"]] = made
                    return 200, {**made, "object": "refund", "status": "succeeded"}
        message = {"type": "invalid_request_error", "code": "charge_already_refunded", "message": "nothing left"}
        return 400, {"error": message, "message": "nothing left"}


class _Handler(WebRequest):
    lab: Providers
    protocol_version = "HTTP/1.1"

    def serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        body = self.body()
        provider, _slash, path = parts.path.strip("/").partition("/")
        if provider == HOOKS and method == "POST":
            self.answer(*((204, b"") if path == "erp" else (500, b"out of order")), "text/plain")
        elif provider not in self.lab.accounts:
            self.answer(404, b"nothing here", "text/plain")
        elif provider == EINVOICE:
            self._einvoice(method, path, body)
        elif path.startswith("pay/"):
            self._page(method, path.removeprefix("pay/"), body)
        else:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, answer = self.lab.api(provider, method, f"/{path}", query, self.headers, body)
            self.answer(status, json.dumps(answer).encode())

    def _einvoice(self, method: str, path: str, body: bytes) -> None:
        assert self.lab.einvoices is not None
        answer = self.lab.einvoices.api(method, path, self.headers, body)
        if answer is None:
            self.close_connection = True
        else:
            self.answer(*answer)

    def _page(self, method: str, sale_id: str, body: bytes) -> None:
        sale = self.lab.sales.get(sale_id)
        if sale is None:
            self.answer(404, b"no such checkout", "text/plain")
            return
        problem = ""
        if method == "POST":
            card = dict(parse_qsl(body.decode())).get("card", "")
            if card.replace(" ", "") in (GOOD_CARD, REFUSED_CARD):
                self.lab.pay(sale_id, card)
                if sale.paid is not None:
                    self.answer(303, Location=sale.back_url)
                    return
                problem = "The card was declined."
            else:
                problem = "This is no test card."
        page = _PAGE.format(**_shown(sale), problem=html.escape(problem))
        self.answer(200, page.encode(), "text/html; charset=utf-8")


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} (lab)</title>
<style>body{{font:16px sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}}input,button{{font:inherit;
padding:.6rem;width:100%;box-sizing:border-box;margin:.4rem 0}}button{{background:#635bff;color:#fff;border:0;
border-radius:.4rem}}.problem{{color:#b91c1c}}</style>
<h1>{title} <small>of the lab</small></h1><p>{description}</p><p><strong>{amount} {currency}</strong></p>
<p class="problem">{problem}</p>
<form method="post"><label>Card <input name="card" value="4242 4242 4242 4242" inputmode="numeric"></label>
<button>Pay</button></form><p><small>4000 0000 0000 0002 is declined.</small></p>
<p><a href="{back}">Back</a></p></html>"""


def _shown(sale: Sale) -> dict[str, str]:
    digits = 0 if sale.provider == STRIPE and sale.currency in ("CLP", "PYG", "JPY") else 2
    return {
        "title": {STRIPE: "Stripe", MERCADO_PAGO: "Mercado Pago"}[sale.provider],
        "description": html.escape(sale.description),
        "amount": f"{sale.amount / 10**digits:.{digits}f}",
        "currency": html.escape(sale.currency),
        "back": html.escape(sale.back_url),
    }


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send a webhook and return the status of its answer, 0 where there is none."""
    request = Request(url, body, {"Content-Type": "application/json", **headers})  # noqa: S310 - an address of the lab
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except OSError as problem:
        return int(getattr(problem, "code", 0) or 0)
