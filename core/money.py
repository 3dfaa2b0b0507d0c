"""Money: a decimal amount and the code of its currency (ISO 4217).

Amounts of two currencies are never added, and a float never becomes money: 0.1 + 0.2 is not 0.3 in binary. Rounding is
half up, to the digits that the currency has, and happens once, where a line of an invoice is made.

Amounts are read as people write them where they are: `1.234,56` in Argentina, `1,234.56` in Mexico. What could be read
either way is refused rather than guessed, since a guess is wrong by a factor of a thousand.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.numbers import (
    format_currency,
    format_decimal,
    get_currency_precision,
    get_currency_symbol,
    get_decimal_symbol,
    get_group_symbol,
    list_currencies,
)

LARGEST = Decimal(1_000_000_000)
"""More than anybody pays at once; what is larger was mistyped."""

_BLANKS = re.compile(r"[\s\u00a0\u202f]+")
_CURRENCY_SIGNS = re.compile(r"^[^\d+\-.,()]{1,4}|[^\d+\-.,()]{1,4}$")


class AmountFlaw(StrEnum):
    """Why a text is no amount."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    AMBIGUOUS = "ambiguous"  # separators of another country: 1.234,56 where people write 1,234.56
    NEGATIVE = "negative"
    ZERO = "zero"
    TOO_LARGE = "too_large"
    TOO_PRECISE = "too_precise"  # more decimals than the currency has


class BadAmount(ValueError):
    """A text is no amount of money; `flaw` says why."""

    def __init__(self, flaw: AmountFlaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


class CurrencyMismatch(ValueError):
    """Two currencies met where one was expected."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of a currency. Raises TypeError for a float and ValueError for an unknown currency."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            raise TypeError(f"money is made of Decimal, not {type(self.amount).__name__}")
        if not self.amount.is_finite():
            raise ValueError("money is finite")
        if not is_currency(self.currency):
            raise ValueError(f"no currency {self.currency!r}")

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __mul__(self, factor: Decimal | int) -> "Money":
        if isinstance(factor, float):
            raise TypeError("money is not multiplied by a float")
        return Money(self.amount * factor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other)

    def __bool__(self) -> bool:
        return self.amount != 0

    def rounded(self) -> "Money":
        """Return the amount with the digits that the currency has, half up."""
        return Money(rounded(self.amount, self.currency), self.currency)

    def format(self, locale: str) -> str:
        """Return the amount as people write it: `$1,234.56`."""
        return format_money(self.amount, self.currency, locale)

    def _same(self, other: "Money") -> Decimal:
        if not isinstance(other, Money):
            raise TypeError(f"{type(other).__name__} is no money")
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")
        return other.amount


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum, zero of `currency` for none. Raises CurrencyMismatch."""
    return sum(amounts, Money(Decimal(0), currency))


@cache
def is_currency(code: str) -> bool:
    return code in list_currencies()


@cache
def currency_digits(currency: str) -> int:
    """Return how many decimals a currency has: 2 for MXN, 0 for CLP and PYG."""
    return get_currency_precision(currency)


@cache
def _step(currency: str) -> Decimal:
    return Decimal(1).scaleb(-currency_digits(currency))


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Return the amount half up at the digits of the currency; a negative one is the mirror of the positive."""
    return amount.quantize(_step(currency), ROUND_HALF_UP)


def format_money(amount: Decimal, currency: str, locale: str) -> str:
    """Return an amount as people of the locale write it; unknown locales write like English ones.

    The sign is the one that is used where the currency is: `$1,234.56` for Mexican pesos in English too, not `MX$`.
    """
    written = format_currency(amount, currency, locale=_locale(locale))
    foreign, own = _signs(currency, locale)
    return written if foreign == own else written.replace(f"{foreign}\u00a0", own).replace(foreign, own)


@cache
def _signs(currency: str, locale: str) -> tuple[str, str]:
    """Return how a locale and how the currency's own country writes its sign."""
    return (
        get_currency_symbol(currency, locale=_locale(locale)),
        get_currency_symbol(currency, locale=_locale(money_locale("es", currency))),
    )


@cache
def money_locale(language: str, currency: str) -> str:
    """Return the locale in which people write amounts: of the country that a currency's first letters name.

    `es` and MXN are `es_MX`, where it is 1,234.56; `es` and ARS are `es_AR`, where it is 1.234,56. A currency of no
    one country leaves the language alone.
    """
    wanted = f"{language}_{currency[:2]}"
    try:
        return str(Locale.parse(wanted))
    except (UnknownLocaleError, ValueError):
        return language


def parse_amount(text: str, currency: str, locale: str, *, zero: bool = False) -> Decimal:
    """Return the amount that somebody typed in a locale such as `es_MX`. Raises BadAmount; at zero unless allowed.

    Blanks and the currency's sign around the number are left out. Thousands must be grouped by three from the left of
    the decimal separator, or not at all. `12.50` is understood wherever a dot cannot group thousands in that place.
    """
    typed = _BLANKS.sub("", text)
    if not typed:
        raise BadAmount(AmountFlaw.EMPTY)
    cleaned = _CURRENCY_SIGNS.sub("", typed)
    negative = cleaned.startswith(("-", "(", "−"))
    cleaned = cleaned.strip("+-−()")
    if not re.fullmatch(r"[0-9.,']+", cleaned) or not re.search(r"[0-9]", cleaned):
        raise BadAmount(AmountFlaw.NOT_A_NUMBER)
    if negative:
        raise BadAmount(AmountFlaw.NEGATIVE)
    if len(cleaned) > 40:
        raise BadAmount(AmountFlaw.TOO_LARGE)
    amount = _number(cleaned, *_separators(locale))
    if amount == 0 and not zero:
        raise BadAmount(AmountFlaw.ZERO)
    if amount > LARGEST:
        raise BadAmount(AmountFlaw.TOO_LARGE)
    if amount != rounded(amount, currency):
        raise BadAmount(AmountFlaw.TOO_PRECISE)
    return rounded(amount, currency)


RATE_DIGITS = 10
"""Decimals of an exchange rate: 1 COP is 0.0002409600 USD."""


def parse_exchange_rate(text: str, locale: str) -> Decimal:
    """Return the exchange rate that somebody typed: `17.25`, `4.150,25`. Raises BadAmount.

    A rate has more decimals than money, so a separator of the other half of the world is one of decimals unless exactly
    three digits follow it, which could be thousands.
    """
    typed = _BLANKS.sub("", text)
    if not typed:
        raise BadAmount(AmountFlaw.EMPTY)
    if not re.fullmatch(r"[0-9.,']{1,40}", typed) or not re.search(r"[0-9]", typed):
        raise BadAmount(AmountFlaw.NOT_A_NUMBER)
    decimal, group = _separators(locale)
    other = "," if decimal == "." else "."
    if re.fullmatch(rf"[0-9]+{re.escape(other)}(?:[0-9]{{1,2}}|[0-9]{{4,}})", typed):
        rate = Decimal(typed.replace(other, "."))
    else:
        rate = _number(typed, decimal, group)
    if rate == 0:
        raise BadAmount(AmountFlaw.ZERO)
    if rate > LARGEST:
        raise BadAmount(AmountFlaw.TOO_LARGE)
    if rate != round(rate, RATE_DIGITS):
        raise BadAmount(AmountFlaw.TOO_PRECISE)
    return rate


def format_exchange_rate(rate: Decimal, locale: str) -> str:
    """Return a rate with four decimals, or as many as it has: `17.2500`."""
    return str(format_decimal(rate, "#,##0.0000######", locale=_locale(locale)))


def exchange_sentence(currency: str, rate: Decimal, books_currency: str, locale: str) -> str:
    """Return a rate with its direction: `1 USD = 17.2500 MXN`."""
    return f"1 {currency} = {format_exchange_rate(rate, locale)} {books_currency}"


def format_with_code(amount: Decimal, currency: str, locale: str) -> str:
    """Return an amount beside the code of its currency, for where two currencies of one sign meet: `20.00 USD`."""
    pattern = f"#,##0.{'0' * currency_digits(currency)}".rstrip(".")
    return f"{format_decimal(amount, pattern, locale=_locale(locale))}\u00a0{currency}"


def _number(text: str, decimal: str, group: str) -> Decimal:
    plain = text.replace("'", "") if group in ("'", "’") else text
    if re.fullmatch(rf"[0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+(?:{re.escape(decimal)}[0-9]*)?", plain):
        return Decimal(plain.replace(group, "").replace(decimal, "."))
    if re.fullmatch(rf"[0-9]*{re.escape(decimal)}?[0-9]*", plain):
        return Decimal(plain.replace(decimal, ".").rstrip(".") or "0")
    # The separator of the other half of the world, in a place where it can only be the decimal one.
    other = "," if decimal == "." else "."
    if re.fullmatch(rf"[0-9]+{re.escape(other)}[0-9]{{1,2}}", plain):
        return Decimal(plain.replace(other, "."))
    raise BadAmount(AmountFlaw.AMBIGUOUS if set(plain) & set(".,") else AmountFlaw.NOT_A_NUMBER)


def _separators(locale: str) -> tuple[str, str]:
    found = _locale(locale)
    decimal, group = get_decimal_symbol(found), get_group_symbol(found)
    return decimal, group if group in ".,'’" else ("," if decimal == "." else ".")


@cache
def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en")
