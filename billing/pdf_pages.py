"""Pages of PDFs that are made already: cut off where nothing more is on them, and many documents in one file."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pypdf is imported where it is used: most processes never cut a page
    from pypdf import PdfWriter

POINTS = 72 / 25.4
"""Points of a PDF in a mm."""


def cut_below(pdf: bytes, margin: int) -> bytes:
    """Return a document each page of which ends `margin` mm below its lowest line of text, as paper from a roll does.

    A page without text stays as it is.
    """
    from pypdf import PdfWriter, Transformation
    from pypdf.generic import RectangleObject

    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    for page in writer.pages:
        lowest = _lowest_line(page)
        if lowest is None:
            continue
        whole = page.mediabox
        bottom = max(0.0, lowest - (margin + 1) * POINTS)  # letters reach a little below their line
        page.add_transformation(Transformation().translate(0, -bottom))  # some printers take every page to begin at 0
        page.mediabox = page.cropbox = RectangleObject((whole.left, 0, whole.right, whole.top - bottom))
    return _written(writer)


def joined(pdfs: Iterable[bytes]) -> bytes:
    """Return one PDF of many, in their order, to be printed at once."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    for pdf in pdfs:
        writer.append(io.BytesIO(pdf), import_outline=False)
    return _written(writer)


def _lowest_line(page: Any) -> float | None:
    """Return how high above the page's lower edge its lowest text stands, in points."""
    heights: list[float] = []

    def note(text: str, matrix: list[float], place: list[float], *_font: object) -> None:
        if text.strip():
            heights.append(matrix[5] + place[5] * matrix[3] + place[4] * matrix[1])

    page.extract_text(visitor_text=note)
    return min(heights, default=None)


def _written(writer: "PdfWriter") -> bytes:
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()
