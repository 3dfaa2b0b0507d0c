"""Where a long list on A4 goes over to the next page, so that every page has the head of its columns.

Debian's wkhtmltopdf is built without the changes to Qt that repeat a table's head, and it breaks a row in the middle
(`page-break-inside` holds for a table and its body, not for a row). So each row is a body of its own, and a new table
with its head begins where a page is full. How much a page holds is reckoned from how often each text wraps, a little
too high rather than too low: where the reckoning is wrong a page ends early, and no row is torn in any case.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

HEIGHT = 259.0
"""mm of A4 between its margins, less what may be reckoned too low."""
COLUMNS = 9.0
"""mm of the head of a table."""
_PARTY_LINE, _FACT, _TEXT, _NOTE, _PADDING = 5.3, 6.0, 4.3, 3.7, 4.2
_LETTER = 2.3
"""mm of a letter at 10 pt, on average, rather wide."""


def wrapped(text: str, width: float) -> int:
    """Return on how many lines a text stands in a column so many mm wide; at least one."""
    return sum(max(1, -(-round(len(part) * _LETTER) // round(width))) for part in text.split("\n"))


def row_height(text: str, note: str, width: float) -> float:
    """Return the mm of a row whose text, with a remark in small letters under it, stands in a column of `width` mm."""
    return _PADDING + wrapped(text, width) * _TEXT + (wrapped(note, width * 1.15) * _NOTE if note else 0)


def head_height(
    issuer: Sequence[str],
    subscriber: Sequence[str],
    facts: Iterable[tuple[str, str]],
    *,
    logo: bool,
    stamp: bool = False,
) -> float:
    """Return the mm of what stands above the list: both parties, and the facts beside the second."""
    sender = sum(wrapped(line, 88) for line in issuer) * _PARTY_LINE + (23 if logo else 0)
    person = 5 + sum(wrapped(line, 80) for line in subscriber) * _PARTY_LINE
    told = sum(max(wrapped(title, 34), wrapped(value, 48)) for title, value in facts) * _FACT
    return max(sender, 28 if stamp else 20) + 10 + max(person, told) + 9


def on_pages(rows: Sequence[tuple[T, float]], first: float) -> list[list[T]]:
    """Return the rows of each page: of the first, above which `first` mm are taken, and of those after it.

    Each row comes with its height in mm. There is at least one page, and none but the first is empty.
    """
    pages: list[list[T]] = [[]]
    left = HEIGHT - first - COLUMNS
    for row, height in rows:
        if height > left and pages[-1]:
            pages.append([])
            left = HEIGHT - COLUMNS
        pages[-1].append(row)
        left -= height
    return pages
