"""The login page as a phone sees it that has just come, which is nearly always: made once, and filled in for each.

Such pages differ by what the router says of the phone, and by nothing else. So the page is rendered with marks in the
place of these values, kept as the pieces between the marks for as long as the place is remembered, and put together
with a phone's own: rendering was a third of what the page cost, and a festival comes all at once.
"""

import re
import secrets
from collections.abc import Mapping
from urllib.parse import quote

from flask import g, render_template
from markupsafe import escape

from portal import context
from portal.captive.place import Place, place
from portal.captive.variables import KEPT

_MARK = f"mark{secrets.token_hex(8)}"
"""Nobody outside can write it, so no value is taken for a mark."""
_MARKS = re.compile(f"{_MARK}([fa])([a-z]+)z")
_MOST = 500
_pages: dict[tuple[int, str, str], tuple[Place, list[str]]] = {}


def arrival_page(kept: Mapping[str, str]) -> str:
    """Return the login page with nothing typed yet. `kept` is what the router said of the phone, to be handed on."""
    written = {"f": {name: str(escape(kept[name])) for name in KEPT}, "a": {name: _quoted(kept[name]) for name in KEPT}}
    pieces = _pieces()
    page = pieces.copy()
    # re.split gives text, the mark's sort, its name, text, …: the sort becomes the value, and the name nothing.
    for at in range(1, len(page), 3):
        page[at], page[at + 1] = written[page[at]][page[at + 1]], ""
    return "".join(page)


def _pieces() -> list[str]:
    key, here = (id(context.portal()), place().token, g.language), place()
    found = _pages.get(key)
    if found is not None and found[0] is here:
        return found[1]
    page = render_template(
        "captive/login.html",
        kept={name: f"{_MARK}f{name}z" for name in KEPT},
        query={name: f"{_MARK}a{name}z" for name in KEPT},
        error="",
        notice=None,
        code="",
        user="",
        trial_url=None,
    )
    if len(_pages) >= _MOST:
        _pages.clear()
    pieces = _MARKS.split(page)
    _pages[key] = (here, pieces)
    return pieces


def _quoted(value: str) -> str:
    """Return a value for an address in an attribute: nothing that is left needs to be escaped there."""
    return quote(value, safe="")
