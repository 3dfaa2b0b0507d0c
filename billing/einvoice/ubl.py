"""UBL 2.1 (ISO/IEC 19845), the XML that Colombia, Peru and most of Europe build theirs on.

The elements stand in the order of the standard's schemas. A charge is one unit at its price; a discount is minus one
unit, since prices are never below zero. What a country adds, its signature among it, the provider adds.
"""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from xml.etree import ElementTree as Xml

from billing.einvoice import BadDocument, FiscalDocument, Line, Party, Tax

_ROOT = "urn:oasis:names:specification:ubl:schema:xsd:"
_CAC, _CBC = f"{_ROOT}CommonAggregateComponents-2", f"{_ROOT}CommonBasicComponents-2"
_INVOICE, _CREDIT_NOTE = f"{_ROOT}Invoice-2", f"{_ROOT}CreditNote-2"
COMMERCIAL_INVOICE, CREDIT_NOTE = "380", "381"
"""UNTDID 1001."""
ONE, VAT = "C62", "VAT"
"""A unit (UN/ECE recommendation 20), and the scheme that value-added taxes of whatever name are of (UNTDID 5153)."""

for _prefix, _space in (("cac", _CAC), ("cbc", _CBC), ("inv", _INVOICE), ("cn", _CREDIT_NOTE)):
    Xml.register_namespace(_prefix, _space)

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def build(document: FiscalDocument) -> bytes:
    """Return a document as UBL 2.1. Raises BadDocument."""
    check(document)
    invoice = document.kind == "invoice"
    root = Xml.Element(f"{{{_INVOICE if invoice else _CREDIT_NOTE}}}{'Invoice' if invoice else 'CreditNote'}")
    _basic(root, "UBLVersionID", "2.1")
    _basic(root, "ID", document.number)
    _basic(root, "UUID", document.key)
    _basic(root, "IssueDate", document.issued_on.isoformat())
    if invoice:
        if document.due_on is not None:
            _basic(root, "DueDate", document.due_on.isoformat())
        _basic(root, "InvoiceTypeCode", COMMERCIAL_INVOICE)
    else:
        _basic(root, "CreditNoteTypeCode", CREDIT_NOTE)
    if document.note:
        _basic(root, "Note", document.note)
    _basic(root, "DocumentCurrencyCode", document.currency)
    if document.credits is not None:
        number, day = document.credits
        reference = _part(_part(root, "BillingReference"), "InvoiceDocumentReference")
        _basic(reference, "ID", number)
        _basic(reference, "IssueDate", day.isoformat())
    _party(_part(root, "AccountingSupplierParty"), document.issuer)
    _party(_part(root, "AccountingCustomerParty"), document.customer)
    _tax_total(root, document.tax, document.currency, document.taxes)
    total = _part(root, "LegalMonetaryTotal")
    for name, amount in (
        ("LineExtensionAmount", document.net),
        ("TaxExclusiveAmount", document.net),
        ("TaxInclusiveAmount", document.total),
        ("PayableAmount", document.total),
    ):
        _amount(total, name, amount, document.currency)
    for position, line in enumerate(document.lines, 1):
        _line(root, document, position, line)
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="UTF-8", xml_declaration=True))


def check(document: FiscalDocument) -> None:
    """Raise BadDocument where the document lacks something, or its sums are not those of its parts."""
    for what, there in (
        ("issuer_name", document.issuer.name),
        ("issuer_tax_id", document.issuer.tax_id),
        ("country", len(document.issuer.country) == 2),
        ("customer_name", document.customer.name),
        ("lines", document.lines),
    ):
        if not there:
            raise BadDocument(what)
    right = (
        document.net + document.tax == document.total
        and sum((line.net for line in document.lines), Decimal(0)) == document.net
        and sum((tax.amount for tax in document.taxes), Decimal(0)) == document.tax
    )
    if not right:
        raise BadDocument("sums")


def _party(parent: Xml.Element, party: Party) -> None:
    found = _part(parent, "Party")
    _basic(_part(found, "PartyName"), "Name", party.name)
    if party.address or party.country:
        address = _part(found, "PostalAddress")
        for each in party.address.splitlines():
            if each.strip():
                _basic(_part(address, "AddressLine"), "Line", each.strip())
        if party.country:
            _basic(_part(address, "Country"), "IdentificationCode", party.country)
    if party.tax_id:  # a subscriber without one is an ultimate consumer
        scheme = _part(found, "PartyTaxScheme")
        _basic(scheme, "RegistrationName", party.name)
        _basic(scheme, "CompanyID", party.tax_id)
        _basic(_part(scheme, "TaxScheme"), "ID", VAT)
    _basic(_part(found, "PartyLegalEntity"), "RegistrationName", party.name)
    if party.phone or party.email:
        contact = _part(found, "Contact")
        if party.phone:
            _basic(contact, "Telephone", party.phone)
        if party.email:
            _basic(contact, "ElectronicMail", party.email)


def _tax_total(parent: Xml.Element, amount: Decimal, currency: str, taxes: Sequence[Tax] = ()) -> None:
    total = _part(parent, "TaxTotal")
    _amount(total, "TaxAmount", amount, currency)
    for tax in taxes:
        each = _part(total, "TaxSubtotal")
        _amount(each, "TaxableAmount", tax.base, currency)
        _amount(each, "TaxAmount", tax.amount, currency)
        category = _part(each, "TaxCategory")
        _basic(category, "Percent", f"{tax.rate.normalize():f}")
        scheme = _part(category, "TaxScheme")
        _basic(scheme, "ID", VAT)
        _basic(scheme, "Name", tax.name)


def _line(root: Xml.Element, document: FiscalDocument, position: int, line: Line) -> None:
    invoice = document.kind == "invoice"
    found = _part(root, "InvoiceLine" if invoice else "CreditNoteLine")
    _basic(found, "ID", str(position))
    quantity = _basic(found, "InvoicedQuantity" if invoice else "CreditedQuantity", "1" if line.net >= 0 else "-1")
    quantity.set("unitCode", ONE)
    _amount(found, "LineExtensionAmount", line.net, document.currency)
    if line.first is not None and line.last is not None:
        _period(found, line.first, line.last)
    _tax_total(found, line.tax, document.currency)
    _basic(_part(found, "Item"), "Name", line.description)
    _amount(_part(found, "Price"), "PriceAmount", abs(line.net), document.currency)


def _period(parent: Xml.Element, first: date, last: date) -> None:
    period = _part(parent, "InvoicePeriod")
    _basic(period, "StartDate", first.isoformat())
    _basic(period, "EndDate", last.isoformat())


def _part(parent: Xml.Element, name: str) -> Xml.Element:
    return Xml.SubElement(parent, f"{{{_CAC}}}{name}")


def _basic(parent: Xml.Element, name: str, text: str) -> Xml.Element:
    element = Xml.SubElement(parent, f"{{{_CBC}}}{name}")
    element.text = _NOT_XML.sub("", text)
    return element


def _amount(parent: Xml.Element, name: str, amount: Decimal, currency: str) -> None:
    text = f"{amount.normalize():f}"
    whole, _point, digits = text.partition(".")
    _basic(parent, name, f"{whole}.{digits:0<2}").set("currencyID", currency)
