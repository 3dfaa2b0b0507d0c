from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.taxes import Tax, Taxed, taxed

IVA = Tax("IVA", Decimal(16))
IEPS = Tax("IEPS", Decimal(3))
IVA_INSIDE = Tax("IVA", Decimal(16), included=True)
IEPS_INSIDE = Tax("IEPS", Decimal(3), included=True)


@pytest.mark.parametrize(
    ("price", "taxes", "currency", "expected"),
    [
        pytest.param("349", (), "MXN", Taxed(Decimal("349.00"), ()), id="none"),
        pytest.param("349", (IVA,), "MXN", Taxed(Decimal("349.00"), (Decimal("55.84"),)), id="added"),
        pytest.param("349", (IVA_INSIDE,), "MXN", Taxed(Decimal("300.86"), (Decimal("48.14"),)), id="included"),
        pytest.param(
            "100", (IVA, IEPS), "MXN", Taxed(Decimal("100.00"), (Decimal("16.00"), Decimal("3.00"))), id="two added"
        ),
        pytest.param(
            "119", (IVA_INSIDE, IEPS), "MXN", Taxed(Decimal("102.59"), (Decimal("16.41"), Decimal("3.08"))), id="mixed"
        ),
        pytest.param("0.03", (IVA,), "MXN", Taxed(Decimal("0.03"), (Decimal("0.00"),)), id="less than half a cent"),
        pytest.param("0.05", (Tax("x", Decimal(10)),), "USD", Taxed(Decimal("0.05"), (Decimal("0.01"),)), id="half"),
        pytest.param("1990", (Tax("IVA", Decimal(19)),), "CLP", Taxed(Decimal(1990), (Decimal(378),)), id="no cents"),
        pytest.param("-349", (IVA,), "MXN", Taxed(Decimal("-349.00"), (Decimal("-55.84"),)), id="given back"),
    ],
)
def test_a_line_is_rounded_half_up_in_the_currency(price, taxes, currency, expected):
    assert taxed(Decimal(price), taxes, currency) == expected


@given(st.decimals("0.01", 100_000, places=2), st.decimals(0, 40, places=2), st.decimals(0, 40, places=2))
def test_a_price_that_includes_its_taxes_is_what_is_paid(price, one, two):
    found = taxed(price, (Tax("a", one, included=True), Tax("b", two, included=True)), "USD")
    assert found.total == price
    assert all(amount >= 0 for amount in found.taxes)
