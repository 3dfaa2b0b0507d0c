"""Rows and amounts as the operations look for them."""

from decimal import Decimal
from typing import TypeVar

from crm.problems import FieldProblem, Invalid, Problem
from portal import context
from portal.api import frame
from portal.api.problems import ApiProblem, Kind
from portal.api.values import MoneyGiven

Row = TypeVar("Row")


def one(model: type[Row], row_id: int) -> Row:
    """Return a row of the operator's. Raises ApiProblem for one that does not exist, or is another's."""
    found = frame.db().get(model, row_id)
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    # A session holds rows weakly. One that was held against If-Match must be the one whose version is changed, not one
    # read anew, with what somebody else wrote in between.
    frame.db().info.setdefault("held", []).append(found)
    return found


def amount_of(given: MoneyGiven, name: str = "amount", currency: str | None = None) -> Decimal:
    """Return an amount in a currency, the operator's where none is named. Raises Invalid for the member `name`."""
    wanted = currency or context.operator().currency
    if given.currency != wanted:
        raise Invalid(FieldProblem(name, Problem.WRONG_CURRENCY, {"expected": wanted}))
    return given.amount()
