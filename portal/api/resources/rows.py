"""Rows as the operations look for them."""

from typing import TypeVar

from portal.api import frame
from portal.api.problems import ApiProblem, Kind

Row = TypeVar("Row")


def one(model: type[Row], row_id: int) -> Row:
    """Return a row of the operator's. Raises ApiProblem for one that does not exist, or is another's."""
    found = frame.db().get(model, row_id)
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return found
