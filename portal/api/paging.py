"""Pages of lists by cursor: what is added meanwhile moves nothing, and nothing is shown twice or left out.

Lists go by id upwards, so new rows are on the last page. A cursor holds the last id that was shown; programs pass it
on as it is.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import g, request
from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session
from werkzeug.datastructures import MultiDict
from werkzeug.urls import iri_to_uri

from portal.api.problems import ApiProblem, Kind
from portal.api.values import LARGEST_ID, Page, PageAsked

Row = TypeVar("Row")
Item = TypeVar("Item", bound=BaseModel)


def page_of(
    session: Session,
    query: Select[Any],
    by: InstrumentedAttribute[int],
    asked: PageAsked,
    show: Callable[[Sequence[Any]], Sequence[Item]],
    *,
    key: Callable[[Any], int] = lambda row: int(row.id),
    newest_first: bool = False,
) -> Page[Item]:
    """Return a page of what a query for one entity finds. Raises ApiProblem for a cursor that is none.

    `show` turns the rows of a page into what is shown of them, so that it can look up in one go what they need.
    """
    last = _read(asked.cursor)
    if last is not None:
        query = query.where(by < last if newest_first else by > last)
    order = by.desc() if newest_first else by
    rows = list(session.scalars(query.order_by(order).limit(asked.limit + 1)))
    more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    following = _write(key(rows[-1])) if more else None
    if following is not None:
        g.api_next = _address_with(following)
    return Page(items=list(show(rows)), next=following)


def _write(last: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([1, last]).encode()).decode().rstrip("=")


def _read(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        version, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if version != 1 or type(last) is not int or not 0 <= last <= LARGEST_ID:
            raise ValueError(cursor)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise ApiProblem(Kind.BAD_CURSOR) from None
    return last


def _address_with(cursor: str) -> str:
    """Return the address of this list with another cursor, for the Link header (RFC 8288)."""
    arguments: MultiDict[str, str] = MultiDict(request.args)
    arguments["cursor"] = cursor
    return iri_to_uri(f"{request.path}?{urlencode(list(arguments.items(multi=True)))}")
