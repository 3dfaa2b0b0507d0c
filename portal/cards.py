"""Lists on phones: each row is a card, since the columns of a table would lie beside the screen.

The style sheet makes the cards (`.portal-list`); what it needs to know of each cell is said here, so that no template
repeats a column's title in every row. `{% filter cards %}` stands around a table:

- `data-title` is the title of the cell's column, which stands above it on a card;
- `data-heading` is the cell that heads the card: the first that a phone shows and that leads somewhere (a button leads
  to something to do, rather), else the first;
- `data-nothing` has nothing in it and is left out.
"""

import re

from markupsafe import Markup, escape

NOTHING = ("", "–")
HIDDEN = "portal-wide"  # the class of what phones are not shown

_HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr\b[^>]*>.*?</tr>", re.DOTALL)
_LINK = re.compile(r'<a (?!class="btn)')
_CELL = re.compile(r"<(td|th)\b([^>]*)>(.*?)</\1>", re.DOTALL)


def cards(table: str) -> Markup:
    """Return a table's markup with what a phone shows its cells by. Cells hold no tables."""
    head, end, body = str(table).partition("</thead>")  # a str: Markup would escape what is put to it
    titles = [Markup(title).striptags() for title in _HEAD.findall(head)]  # noqa: S704 - striptags makes plain text of it
    return Markup(head + end + _ROW.sub(lambda row: _row(row[0], titles), body))  # noqa: S704 - was markup, and titles are escaped


def _row(row: str, titles: list[str]) -> str:
    cells = list(_CELL.finditer(row))
    shown = [cell for cell in cells if HIDDEN not in cell[2]]
    heading = next((cell.start() for cell in shown if _LINK.search(cell[3])), shown[0].start() if shown else None)
    numbers = {cell.start(): number for number, cell in enumerate(cells)}

    def marked(cell: re.Match[str]) -> str:
        tag, attributes, content = cell.groups()
        number = numbers[cell.start()]
        title = titles[number] if number < len(titles) else ""
        if cell.start() == heading:
            attributes += " data-heading"
        elif content.strip() in NOTHING:
            attributes += " data-nothing"
        elif title:
            attributes += f' data-title="{escape(title)}"'
        return f"<{tag}{attributes}>{content}</{tag}>"

    return _CELL.sub(marked, row)
