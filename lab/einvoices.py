"""A provider of electronic invoices, of the lab: it keeps what it is sent, numbers it and signs it.

It speaks what `billing.einvoice.provider` asks, and shares no code with it. It holds to what a tax office holds to: a
number is issued once, a document is well-formed and its sums are right, and what is cancelled stays cancelled. Faults
are attributes that a test sets.
"""

import hashlib
import hmac
import json
import threading
import time
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from lab.web import WebRequest, WebServer

UNREGISTERED = "XXXX000000XX0"
"""A tax number that the tax office does not know."""
_CAC = "{urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2}"
_CBC = "{urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2}"


@dataclass
class Issued:
    """A document that the provider took."""

    key: str
    number: str
    xml: bytes
    fiscal_id: str
    state: str = "accepted"
    ready_at: int = 0  # how many requests must have been made before it is decided
    stamped: str = ""


class EinvoiceProvider:
    """The provider's memory, and its API as a function.

    Faults: `answers` (a status that every request gets instead), `delay` (seconds before each answer), `mute` (does
    what it is asked and breaks the line before the answer), `later` (says so for the next so many requests),
    `refuses` (reasons for which nothing is taken), `keeps` (nothing can be cancelled), `talks` (a page, no JSON).
    """

    def __init__(self, key: str, kept: Path | None = None) -> None:
        """Keep the documents in a file, if one is named: what was issued before a restart can be cancelled after it."""
        self.key = key
        self._kept = kept
        self.documents: dict[str, Issued] = _read(kept) if kept is not None else {}
        self.requests: list[str] = []
        self.submissions = len(self.documents)  # that issued something
        self.answers: int | None = None
        self.delay = 0.0
        self.mute = 0
        self.later = 0
        self.refuses: list[str] = []
        self.keeps = False
        self.talks = False
        self._guard = threading.RLock()

    def api(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes] | None:
        """Answer a request: a status and a body; None breaks the line."""
        time.sleep(self.delay)
        with self._guard:
            self.requests.append(f"{method} {path.split('/')[0]}{'/cancel' if path.endswith('/cancel') else ''}")
            if self.answers is not None:
                return self.answers, b"<html>out of order</html>"
            if self.talks:
                return 200, b"<html>Sign in to the network</html>"
            if headers.get("Authorization") != f"Bearer {self.key}":
                return 401, b"{}"
            status, said = self._do(method, path.strip("/").split("/"), headers, body)
            if self.mute:
                self.mute -= 1
                return None
            return status, json.dumps(said).encode()

    def _do(self, method: str, path: list[str], headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        match method, path:
            case "PUT", ["documents", key]:
                return self._submit(key, headers.get("X-Document-Number") or "", body)
            case "GET", ["documents", key] if key in self.documents:
                return 200, self._said(self.documents[key])
            case "POST", ["documents", key, "cancel"] if key in self.documents:
                issued = self.documents[key]
                if self.keeps:
                    return 200, {"state": "cancel_refused", "reasons": ["The period for cancelling is over"]}
                issued.state = "cancelled"
                self._keep(issued)
                return 200, self._said(issued)
        return 404, {"state": "unknown"}

    def _submit(self, key: str, number: str, xml: bytes) -> tuple[int, dict[str, Any]]:
        if key in self.documents:
            return 200, self._said(self.documents[key])
        reasons = list(self.refuses) or problems_of(xml, number)
        kind = xml.partition(b"InvoiceTypeCode")[1]  # a credit note may have the number of an invoice
        if any(
            each.number == number and each.xml.partition(b"InvoiceTypeCode")[1] == kind
            for each in self.documents.values()
        ):
            reasons = [f"{number} is issued already"]
        if reasons:
            return 422, {"state": "refused", "reasons": reasons}
        self.submissions += 1
        fiscal_id = f"LAB-{self.submissions:08}"
        issued = Issued(key, number, xml, fiscal_id, ready_at=len(self.requests) + self.later)
        seal = hmac.new(self.key.encode(), xml, hashlib.sha256).hexdigest()
        issued.stamped = f"{xml.decode()}\n<!-- {fiscal_id} {seal} -->\n"
        self.documents[key] = issued
        self._keep(issued)
        return 201, self._said(issued)

    def _keep(self, issued: Issued) -> None:
        if self._kept is not None:
            with self._kept.open("a") as file:
                # The break comes first: what follows a line that was cut short is whole.
                file.write("\n" + json.dumps({**asdict(issued), "xml": issued.xml.decode(), "ready_at": 0}))

    def _said(self, issued: Issued) -> dict[str, Any]:
        if issued.state == "accepted" and issued.ready_at > len(self.requests):
            return {"state": "pending", "retry_after": 90}
        return {"state": issued.state, "fiscal_id": issued.fiscal_id, "document": issued.stamped}


def _read(kept: Path) -> dict[str, Issued]:
    """Return the documents of a file; of each, what was written last. A line that was cut short is passed by."""
    documents: dict[str, Issued] = {}
    for line in kept.read_text().splitlines() if kept.exists() else ():
        try:
            found = json.loads(line)
            issued = Issued(**{**found, "xml": found["xml"].encode()})
        except (ValueError, TypeError, KeyError):
            continue
        documents[issued.key] = issued
    return documents


def problems_of(xml: bytes, number: str) -> list[str]:
    """Return what a tax office would say against a document."""
    try:
        root = Xml.fromstring(xml)  # noqa: S314 - it comes from the test or the demo on this machine
        net = [
            Decimal(each.text or "") for each in root.iterfind(f"{_CAC}LegalMonetaryTotal/{_CBC}LineExtensionAmount")
        ]
        kind = root.tag.partition("}")[2]
        lines = root.iterfind(f"{_CAC}{kind}Line/{_CBC}LineExtensionAmount")
        total = sum((Decimal(each.text or "") for each in lines), Decimal(0))
        supplier = root.findtext(f"{_CAC}AccountingSupplierParty/{_CAC}Party/{_CAC}PartyTaxScheme/{_CBC}CompanyID")
        customer = root.findtext(f"{_CAC}AccountingCustomerParty/{_CAC}Party/{_CAC}PartyTaxScheme/{_CBC}CompanyID")
    except (Xml.ParseError, InvalidOperation):
        return ["The document cannot be read"]
    found = []
    if root.findtext(f"{_CBC}ID") != number:
        found.append("The number is not the document's")
    if net != [total]:
        found.append("The lines do not sum up")
    if not supplier:
        found.append("The issuer has no tax number")
    if customer == UNREGISTERED:
        found.append(f"The customer's tax number {customer} is not registered")
    return found


class EinvoiceServer(WebServer):
    """The provider at a port of its own. A context manager; port 0 takes a free one."""

    def __init__(self, provider: EinvoiceProvider, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(_Handler, provider, address, port)


class _Handler(WebRequest):
    lab: EinvoiceProvider

    def serve(self, method: str) -> None:
        answer = self.lab.api(method, self.path.strip("/"), self.headers, self.body())
        if answer is None:
            self.close_connection = True
        else:
            self.answer(*answer)
