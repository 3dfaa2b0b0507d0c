"""Pages of lists by cursor: what is added meanwhile moves nothing, and nothing is shown twice or left out.

Lists go by id upwards, so new rows are on the last page; those of sessions go by their start, the newest first. A
cursor holds what the last row that was shown is ordered by; programs pass it on as it is.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import g, request
from pydantic import BaseModel
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from portal.api.problems import ApiProblem, Kind
from portal.api.values import LARGEST_ID, Page, PageAsked

Item = TypeVar("Item", bound=BaseModel)
_VERSION = 1


def page_of(
    session: Session,
    query: Select[Any],
    by: Sequence[Any],
    asked: PageAsked,
    show: Callable[[Sequence[Any]], Sequence[Item]],
    *,
    newest_first: bool = False,
) -> Page[Item]:
    """Return a page of what a query for one entity finds. Raises ApiProblem for a cursor that is none of this list's.

    `by` are columns of the entity that make the order total: numbers and instants. `show` turns the rows of a page into
    what is shown of them, so that it can look up in one go what they need.
    """
    last = place_of(asked.cursor, [column.type.python_type for column in by])
    if last is not None:
        place = tuple_(*by)
        query = query.where(place < tuple_(*last) if newest_first else place > tuple_(*last))
    order = [column.desc() if newest_first else column for column in by]
    rows = list(session.scalars(query.order_by(*order).limit(asked.limit + 1)))
    more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    following = next_after([getattr(rows[-1], column.key) for column in by]) if more else None
    return Page(items=list(show(rows)), next=following)


def next_after(last: Sequence[Any]) -> str:
    """Return the cursor of what comes after these values, and put its address into the Link header (RFC 8288)."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in last]
    cursor = base64.urlsafe_b64encode(json.dumps([_VERSION, *plain]).encode()).decode().rstrip("=")
    arguments: MultiDict[str, str] = MultiDict(request.args)
    arguments["cursor"] = cursor
    g.api_next = f"{request.path}?{urlencode(list(arguments.items(multi=True)))}"
    return cursor


def place_of(cursor: str | None, types: Sequence[type]) -> list[Any] | None:
    """Return the values of a cursor, of these types; None for the first page. Raises ApiProblem."""
    if cursor is None:
        return None
    try:
        version, *last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if version != _VERSION or len(last) != len(types):
            raise ValueError(cursor)
        return [_value(each, wanted) for each, wanted in zip(last, types, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise ApiProblem(Kind.BAD_CURSOR) from None


def _value(written: Any, wanted: type) -> Any:
    if wanted is datetime:
        instant = datetime.fromisoformat(written)
        if instant.tzinfo is None:
            raise ValueError(written)
        return instant
    if type(written) is not int or not 0 <= written <= LARGEST_ID:
        raise ValueError(written)
    return written
