"""Electronic invoices: each invoice is passed on to the tax office by a provider, once.

An invoice is issued when Portico numbers it; what happens here follows from that and never holds it up. A document is
made once in the format of the country, kept, and handed to a provider, which signs it, passes it on and says what
became of it: at once, or later when it is asked. What was sent and not answered is asked after before it is sent
again, and carries a key made from its number, so nothing is issued twice however often a line breaks.

    settings.enter_account        the operator's account: format, provider, key
    sending.follow                which documents are to be sent or cancelled
    sending.advance               take one document a step further
    sending.send_again            one that was refused
    ubl.build                     a format: UBL 2.1, by the standard library
    provider.HttpProvider         a provider: three requests over HTTP

Another country is another `Format`, another provider another `Provider`; what stands between them stays.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class Trouble(StrEnum):
    """Why a provider gave no answer about a document."""

    UNREACHABLE = "unreachable"
    KEY = "key"  # it does not know our key
    CONFUSED = "confused"  # its answer is none that we know


class ProviderTrouble(Exception):
    """A provider gave no answer; nothing is known of the document. `detail` is its words, without our key."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble}: {detail}")
        self.trouble = trouble
        self.detail = detail[:300]


class BadDocument(Exception):
    """A document lacks what the format needs. `what` is a key of `MISSING` in the portal's words."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Party:
    """The issuer or the subscriber, as they were on the day of the invoice."""

    name: str
    tax_id: str = ""
    address: str = ""
    phone: str = ""
    email: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without taxes; a discount is below zero. Both days belong to it."""

    description: str
    net: Decimal
    tax: Decimal
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Tax:
    """The sum of one tax over all lines; `rate` is in percent."""

    name: str
    rate: Decimal
    base: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FiscalDocument:
    """An invoice or credit note as any format needs it. `credits` is the invoice that a credit note takes back."""

    kind: str
    number: str
    key: str
    issued_on: date
    due_on: date | None
    currency: str
    issuer: Party
    customer: Party
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]
    net: Decimal
    tax: Decimal
    total: Decimal
    note: str = ""
    credits: tuple[str, date] | None = None


class Format(Protocol):
    """Turns a document into the XML of a country."""

    def __call__(self, document: FiscalDocument) -> bytes:
        """Return the XML, the same for the same document. Raises BadDocument."""


class Fate(StrEnum):
    """What became of a document at a provider."""

    ACCEPTED = "accepted"
    PENDING = "pending"  # ask again later
    REFUSED = "refused"  # it was never issued
    CANCELLED = "cancelled"
    CANCEL_REFUSED = "cancel_refused"  # it stands


@dataclass(frozen=True, slots=True)
class Outcome:
    """A provider's answer: the tax office's name for the document, the document as signed, reasons, seconds to wait."""

    fate: Fate
    fiscal_id: str = ""
    stamped: bytes | None = None
    detail: str = ""
    retry_after: int = 0


class Provider(Protocol):
    """An account with who passes documents on. All methods raise ProviderTrouble."""

    def submit(self, key: str, number: str, xml: bytes) -> Outcome:
        """Hand a document over; the same key twice is one document."""

    def find(self, key: str) -> Outcome | None:
        """Return what became of a document, None where the provider never saw it."""

    def cancel(self, key: str, reason: str) -> Outcome:
        """Have an accepted document cancelled; twice is as good as once."""
