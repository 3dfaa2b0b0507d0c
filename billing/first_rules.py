"""What billing begins with at a new operator: the taxes and the words of its country; switched on by a person."""

from datetime import date

from sqlalchemy.orm import Session

from billing.settings import add_tax, change_settings
from crm.countries import Country
from db.audit import Actor


def first_rules(
    session: Session, actor: Actor, country: Country, today: date, *, legal_name: str, tax_id: str, email: str
) -> None:
    """Give an operator that has none the settings of its country. Raises Invalid."""
    values = {
        "legal_name": legal_name,
        "tax_id": tax_id,
        "email": email,
        "invoice_note": country.invoice_note,
        "receipt_note": country.receipt_note,
    }
    change_settings(session, actor, values, None, today)
    for tax in country.taxes:
        add_tax(session, actor, tax.name, tax.rate, tax.included)
