from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import (
    AmountFlaw,
    BadAmount,
    CurrencyMismatch,
    Money,
    currency_digits,
    money_locale,
    parse_amount,
    rounded,
    total,
)


def test_two_currencies_are_not_added():
    with pytest.raises(CurrencyMismatch):
        Money(Decimal(1), "USD") + Money(Decimal(1), "MXN")


@pytest.mark.parametrize("amount", [0.1, 1, "1"])
def test_only_decimals_become_money(amount):
    with pytest.raises(TypeError):
        Money(amount, "USD")


def test_a_float_does_not_multiply_money():
    with pytest.raises(TypeError):
        Money(Decimal(1), "USD") * 0.5


def test_money_has_a_currency_that_exists():
    with pytest.raises(ValueError, match="XQQ"):
        Money(Decimal(1), "XQQ")


def test_infinite_money_does_not_exist():
    with pytest.raises(ValueError, match="finite"):
        Money(Decimal("Infinity"), "USD")


def test_a_sum_of_nothing_is_zero_of_the_currency():
    assert total([], "MXN") == Money(Decimal(0), "MXN")
    assert total([Money(Decimal("1.10"), "MXN"), Money(Decimal("2.20"), "MXN")], "MXN") == Money(Decimal("3.30"), "MXN")


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        pytest.param("0.005", "USD", "0.01", id="half goes up"),
        pytest.param("-0.005", "USD", "-0.01", id="a negative half mirrors it"),
        pytest.param("0.0049", "USD", "0.00", id="less than half goes down"),
        pytest.param("1999.5", "CLP", "2000", id="a currency without decimals"),
        pytest.param("1.0005", "KWD", "1.001", id="a currency with three"),
    ],
)
def test_rounding_is_half_up_at_the_digits_of_the_currency(amount, currency, expected):
    assert rounded(Decimal(amount), currency) == Decimal(expected)
    assert currency_digits(currency) == -rounded(Decimal(amount), currency).as_tuple().exponent


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        ("1,234.56", "es_MX", "1234.56"),
        ("1,234.56", "en", "1234.56"),
        ("1.234,56", "es_AR", "1234.56"),
        ("1.234", "es_AR", "1234"),
        ("1,234", "es_MX", "1234"),
        ("$ 1 234.50", "es_MX", "1234.50"),
        ("MXN 349", "es_MX", "349"),
        ("349 $", "es_MX", "349"),
        ("12.50", "es_AR", "12.50"),
        ("12,5", "es_MX", "12.5"),
        ("349.", "en", "349"),
        (".50", "en", "0.50"),
        ("1.234.567,89", "pt_BR", "1234567.89"),
    ],
)
def test_an_amount_is_read_as_people_write_it_there(text, locale, expected):
    assert parse_amount(text, "MXN", locale) == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "locale", "flaw"),
    [
        ("", "en", AmountFlaw.EMPTY),
        ("   ", "en", AmountFlaw.EMPTY),
        ("abc", "en", AmountFlaw.NOT_A_NUMBER),
        ("12abc34", "en", AmountFlaw.NOT_A_NUMBER),
        ("NaN", "en", AmountFlaw.NOT_A_NUMBER),
        ("1e5", "en", AmountFlaw.NOT_A_NUMBER),
        (".", "en", AmountFlaw.NOT_A_NUMBER),
        ("1.234,56", "es_MX", AmountFlaw.AMBIGUOUS),
        ("1,234.56", "es_AR", AmountFlaw.AMBIGUOUS),
        ("1,23,456", "en", AmountFlaw.AMBIGUOUS),
        ("-5", "en", AmountFlaw.NEGATIVE),
        ("(5.00)", "en", AmountFlaw.NEGATIVE),
        ("0", "en", AmountFlaw.ZERO),
        ("0.00", "en", AmountFlaw.ZERO),
        ("99999999999", "en", AmountFlaw.TOO_LARGE),
        ("9" * 60, "en", AmountFlaw.TOO_LARGE),
        ("1.005", "en", AmountFlaw.TOO_PRECISE),
    ],
)
def test_what_is_no_amount_says_why(text, locale, flaw):
    with pytest.raises(BadAmount) as refused:
        parse_amount(text, "MXN", locale)
    assert refused.value.flaw is flaw


@given(st.decimals(min_value="0.01", max_value=1_000_000, places=2), st.sampled_from(["es_MX", "es_AR", "en", "es_ES"]))
def test_what_is_written_is_read_back(amount, locale):
    assert parse_amount(Money(amount, "USD").format(locale), "USD", locale) == amount


@pytest.mark.parametrize(
    ("language", "currency", "locale"),
    [
        ("es", "MXN", "es_MX"),
        ("es", "ARS", "es_AR"),
        ("en", "USD", "en_US"),
        ("es", "EUR", "es"),
        ("es", "USD", "es_US"),
    ],
)
def test_amounts_are_written_as_in_the_country_of_the_currency(language, currency, locale):
    assert money_locale(language, currency) == locale
