"""What the documents share: texts, days and amounts in one language, the parties' addresses, the logo."""

import base64
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time

from core.i18n import translator
from core.money import exchange_sentence, format_money, format_with_code, money_locale
from db.models import BillingSettings, Letterhead, Operator

Row: TypeAlias = "tuple[str, str]"
"""A title and what stands beside it."""


class Words:
    """Texts, days and amounts in the language of a document."""

    def __init__(self, language: str, currency: str, tax_number: str = "") -> None:
        self.language = language
        self.text = translator(language)
        self.tax_number = tax_number or self.text("Tax number")
        self._currency = currency
        self._locale = money_locale(language, currency)

    def money(self, amount: Decimal | str) -> str:
        return format_money(Decimal(amount), self._currency, self._locale)

    def foreign(self, amount: Decimal, currency: str) -> str:
        return format_with_code(amount, currency, self._locale)

    def rate(self, rate: Decimal, currency: str) -> str:
        return exchange_sentence(currency, rate, self._currency, self._locale)

    def day(self, day: date | str | None) -> str:
        if day is None:
            return ""
        found = date.fromisoformat(day) if isinstance(day, str) else day
        return format_date(found, "medium", locale=self.language)

    def minute(self, instant: datetime, zone: ZoneInfo) -> str:
        """Return the day and the hour, to the minute, where the operator is."""
        there = instant.astimezone(zone)
        return f"{self.day(there.date())}, {format_time(there.time(), 'short', locale=self.language)}"

    def days(self, first: date | str | None, last: date | str | None) -> str:
        return f"{self.day(first)} – {self.day(last)}" if first and last else ""


def issuer_of(operator: Operator, settings: BillingSettings | None) -> dict[str, str]:
    """Return who issues a document today; an invoice keeps who issued it on its day."""
    if settings is None:
        return {"name": operator.name}
    kept = {name: getattr(settings, name) for name in ("tax_id", "address", "phone", "email")}
    return {"name": settings.legal_name or operator.name, **kept}


def party(words: Words, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of an address: the name first, its tax number called as the country does."""
    lines = [str(kept.get("name") or "")]
    if kept.get("tax_id"):
        lines.append(f"{words.tax_number}: {kept['tax_id']}")
    lines += [str(kept[name]) for name in ("address", "phone", "email") if kept.get(name)]
    return tuple(lines)


def percent(rate: Decimal) -> str:
    return f"{rate.normalize():f} %"


def logo_of(letterhead: Letterhead | None) -> str:
    """Return the operator's logo as an address that holds it, or "" where there is none."""
    if letterhead is None or not letterhead.logo:
        return ""
    return "data:image/png;base64," + base64.b64encode(letterhead.logo).decode()
