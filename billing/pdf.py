"""PDF of a page of HTML, by wkhtmltopdf. The only module that knows pdfkit.

The page comes through standard input and its options from here alone: pdfkit's `from_string` lets HTML set options of
the program by meta tags (CVE-2025-26240), `from_file` with an open file does not. Scripts and local files are off, and
every address leads to a closed port of this machine, so a page that smuggles in a picture or a frame fails instead of
fetching it. What a page shows is in it: styles, and pictures as data: addresses.
"""

import io
import os
import threading
from dataclasses import dataclass
from typing import Any

import pdfkit

AT_ONCE = 2
"""wkhtmltopdf is a browser without a window, of some 60 MB; more at once than this wait for their turn."""

_turns = threading.BoundedSemaphore(AT_ONCE)
_ALWAYS: dict[str, Any] = {
    "quiet": "",
    "encoding": "UTF-8",
    "disable-javascript": "",
    "disable-local-file-access": "",
    "disable-plugins": "",
    "disable-external-links": "",
    "proxy": "http://127.0.0.1:9",  # discard (RFC 863), where nobody listens
    "load-error-handling": "abort",
    "load-media-error-handling": "abort",
}


class NotRendered(Exception):
    """wkhtmltopdf is not installed, or did not make a PDF of the page."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Width and height in mm, and the margin around the page. A height of 0 is a roll, as long as it has to be."""

    name: str
    width: int
    height: int
    margin: int


A4 = Paper("a4", 210, 297, 15)
TICKET = Paper("ticket", 80, 0, 3)
A4_LANDSCAPE = Paper("a4-landscape", 297, 210, 12)
"""For lists; documents are not made on it."""
PAPERS = {paper.name: paper for paper in (A4, TICKET)}


def render_pdf(html: str, paper: Paper, *, length: int = 0) -> bytes:
    """Return the PDF of a page; `length` is the height in mm that a page on a roll needs. Raises NotRendered."""
    margin = f"{paper.margin}mm"
    options = _ALWAYS | {
        "page-width": f"{paper.width}mm",
        "page-height": f"{paper.height or length}mm",
        "margin-top": margin,
        "margin-right": margin,
        "margin-bottom": margin,
        "margin-left": margin,
    }
    # Without a display Qt draws off screen; the variable is read by the program that pdfkit starts.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with _turns:
        try:
            made = pdfkit.from_file(io.StringIO(html), False, options)
        except OSError as problem:
            raise NotRendered(str(problem).splitlines()[0] if str(problem) else "wkhtmltopdf failed") from None
    if not isinstance(made, bytes) or not made.startswith(b"%PDF-"):
        raise NotRendered("wkhtmltopdf returned something else than a PDF")
    return made
