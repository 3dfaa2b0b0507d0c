"""Reading numbers: the marks of the country, and of the other half of the world where it can mean one thing only."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.numbers import plain_number, read_number


@pytest.mark.parametrize(
    ("typed", "locale", "number"),
    [
        ("350.50", "es_MX", "350.50"),
        ("350,50", "es_MX", "350.50"),
        ("1,500", "es_MX", "1500"),
        ("1,234,567.8", "es_MX", "1234567.8"),
        ("1.500", "es_AR", "1500"),
        ("1.250,00", "es_AR", "1250.00"),
        ("12.5", "es_CO", "12.5"),
        ("0.125", "es_AR", "0.125"),
        ("0,125", "en_US", "0.125"),
        (" 1 500,5 ", "es_ES", "1500.5"),
        ("-3,5", "es_MX", "-3.5"),
        (".5", "en", "0.5"),
        ("21,0000", "en", "21.0000"),
        ("7", "nowhere", "7"),
    ],
)
def test_a_number_is_read_as_people_of_the_country_write_it(typed, locale, number):
    assert read_number(typed, locale) == Decimal(number)


@pytest.mark.parametrize("typed", ["", "ten", "1.2.3", "1,23,456", "--1", "NaN", "1e3", ",", "9" * 60])
def test_what_is_no_number_is_none(typed):
    with pytest.raises(ValueError, match="is no number"):
        read_number(typed, "es_MX")


def test_no_mark_groups_the_degrees_of_a_place():
    assert read_number("-34.603", "es_AR", groups=False) == Decimal("-34.603")
    assert read_number("20,101", "es_MX", groups=False) == Decimal("20.101")


@given(st.decimals(-(10**9), 10**9, places=3), st.sampled_from(["es_MX", "es_AR", "en_US", "es_ES"]))
def test_what_a_field_shows_is_read_as_it_was(number, locale):
    assert read_number(plain_number(number, locale), locale) == number
