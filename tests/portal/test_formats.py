"""How values read: with the separators of the operator's country, in the language of who reads."""

from dataclasses import dataclass
from datetime import date

import pytest
from flask import Flask, g

from portal.formats import local_month, money, number, octets, short_rate


@dataclass
class OfCurrency:
    currency: str


@pytest.mark.parametrize(
    ("language", "currency", "written"),
    [
        ("en", "MXN", ("12,345.5", "12.4 GB", "2.25 Mbit/s", "$1,234.50")),
        ("es", "MXN", ("12,345.5", "12.4 GB", "2.25 Mbit/s", "$1,234.50")),
        ("es", "PEN", ("12,345.5", "12.4 GB", "2.25 Mbit/s", "S/ 1,234.50")),
        ("es", "ARS", ("12.345,5", "12,4 GB", "2,25 Mbit/s", "$1.234,50")),
        ("es", "EUR", ("12.345,5", "12,4 GB", "2,25 Mbit/s", "1.234,50 €")),
        ("pt", "BRL", ("12.345,5", "12,4 GB", "2,25 Mbit/s", "R$ 1.234,50")),
    ],
)
def test_numbers_volumes_and_rates_have_the_separators_of_the_money_beside_them(language, currency, written):
    with Flask("formats").test_request_context():
        g.operator, g.language = OfCurrency(currency), language
        seen = (number(12345.5), octets(12_400_000_000), short_rate(2_250_000), money(1234.5))
    assert tuple(text.replace("\u00a0", " ") for text in seen) == written


def test_before_anybody_is_known_the_language_alone_counts():
    with Flask("formats").test_request_context():
        g.language = "es"
        assert (number(12345.5), local_month(date(2026, 11, 1))) == ("12.345,5", "nov 2026")
