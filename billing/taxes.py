"""Taxes on a line of an invoice.

Several may apply. One that is added comes on top of the net amount; one that is included is taken out of the price, so
that the price is what is paid. Each tax is rounded half up on each line, and totals are sums of lines. Of a price that
includes taxes the net amount is what they leave, so the line never differs from its price by a cent.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache

from core.money import rounded

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Tax:
    """`rate` is percent of the net amount."""

    name: str
    rate: Decimal
    included: bool = False


@dataclass(frozen=True)
class Taxed:
    """A line's net amount, what each tax takes of it (in the order of the taxes), and what is paid."""

    net: Decimal
    taxes: tuple[Decimal, ...]

    @cached_property
    def tax(self) -> Decimal:
        return sum(self.taxes, Decimal(0))

    @cached_property
    def total(self) -> Decimal:
        return self.net + self.tax


@lru_cache(maxsize=4096)
def taxed(price: Decimal, taxes: tuple[Tax, ...], currency: str) -> Taxed:
    """Return the parts of a price. It is rounded to the currency first. Most services have one of a few prices."""
    price = rounded(price, currency)
    inside = sum((tax.rate for tax in taxes if tax.included), Decimal(0))
    exact = price * _HUNDRED / (_HUNDRED + inside)
    amounts = tuple(rounded(exact * tax.rate / _HUNDRED, currency) for tax in taxes)
    net = price - sum((amount for tax, amount in zip(taxes, amounts, strict=True) if tax.included), Decimal(0))
    return Taxed(net, amounts)
