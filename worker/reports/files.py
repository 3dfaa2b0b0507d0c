"""A report as a file for people, Excel or PDF, in a reader's language and the operator's zone.

Text stays text: what begins like a formula is shown by Excel and not computed. A PDF ends at `MOST_IN_PDF` rows and
says so.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent
from jinja2 import Environment, StrictUndefined

from billing.pdf import A4_LANDSCAPE, render_pdf
from core.cells import FORMULA
from core.i18n import N_, translator
from worker.reports.base import WORDS, Column, Report, Scope

MOST_IN_PDF = 2_000
_EXCEL_ROWS = 1_000_000
_LONGEST_CELL = 32_767
_MORE = N_("A PDF holds %(most)s rows, and these are more. Take Excel for all of them.")


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom a file is made. `locale` is Babel's, such as `es_MX`; `language` that of our texts."""

    language: str
    locale: str
    operator: str
    currency: str


def as_xlsx(report: Report, scope: Scope, reader: Reader, rows: Iterable[Any]) -> tuple[bytes, int]:
    """Return a worksheet and how many rows it has."""
    from openpyxl import Workbook  # what makes no workbooks need not know how
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    translate = translator(reader.language)
    book = Workbook(write_only=True)
    sheet = book.create_sheet(report.key[:31])
    sheet.freeze_panes = "A2"

    def cell(value: object, *, bold: bool = False) -> Any:
        made: Any = WriteOnlyCell(sheet, value=None)
        if isinstance(value, str):
            made.value = "".join(each for each in value if each >= " " or each in "\t\n\r")[:_LONGEST_CELL]
            made.data_type = "s"  # said to be text, so that "=1+1" is shown and not computed
            made.quotePrefix = value.startswith(FORMULA)
        else:
            made.value = value
        if bold:
            made.font = Font(bold=True)
        return made

    sheet.append([cell(translate(column.title), bold=True) for column in report.columns])
    count = 0
    for row in rows:
        if count == _EXCEL_ROWS:
            break
        sheet.append([cell(_plain(column, getattr(row, column.key), scope, translate)) for column in report.columns])
        count += 1
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue(), count


def as_pdf(report: Report, scope: Scope, reader: Reader, rows: Iterable[Any]) -> tuple[bytes, int]:
    """Return a PDF and how many rows it has. Raises billing.pdf.NotRendered."""
    translate = translator(reader.language)
    lines: list[Sequence[str]] = []
    more = False
    for row in rows:
        if len(lines) == MOST_IN_PDF:
            more = True
            break
        lines.append([_shown(column, getattr(row, column.key), scope, reader, translate) for column in report.columns])
    html = _PAGE.render(
        title=translate(report.title),
        about=days_text(report, scope, reader),
        operator=reader.operator,
        made_at=format_datetime(scope.now.astimezone(scope.zone), "medium", locale=reader.locale),
        columns=[(translate(column.title), column.numeric) for column in report.columns],
        rows=lines,
        language=reader.language,
        more=translate(_MORE) % {"most": MOST_IN_PDF} if more else "",
    )
    return render_pdf(html, A4_LANDSCAPE), len(lines)


def days_text(report: Report, scope: Scope, reader: Reader) -> str:
    """Return the days that a report is about, as its reader writes them: what is about now is about today."""
    if not report.spans:
        return str(format_date(scope.today, "medium", locale=reader.locale))
    first, last = (format_date(day, "medium", locale=reader.locale) for day in (scope.first, scope.last))
    return f"{first} – {last}" if first != last else str(last)


def _plain(column: Column, value: object, scope: Scope, translate: Callable[[str], str]) -> object:
    """Return a value as a worksheet takes it."""
    if value is None:
        return ""
    if column.words:
        word = WORDS[column.words].get(str(value))
        return translate(word) if word else str(value)
    if isinstance(value, datetime):
        return value.astimezone(scope.zone).replace(tzinfo=None, microsecond=0)
    return value if isinstance(value, str | int | float | Decimal | date) else str(value)


def _shown(column: Column, value: object, scope: Scope, reader: Reader, translate: Callable[[str], str]) -> str:
    """Return a value as it reads on paper."""
    value = _plain(column, value, scope, translate)
    match value:
        case str():
            return value
        case datetime():
            return str(format_datetime(value, "short", locale=reader.locale))
        case date():
            pattern = "LLLL y" if column.kind == "month" else "medium"
            return str(format_date(value, pattern, locale=reader.locale))
        case int() | float() | Decimal():
            if column.kind == "money":
                return str(format_currency(value, reader.currency, locale=reader.locale))
            if column.kind == "percent":
                return str(format_percent(float(value) / 100, "#,##0.# %", locale=reader.locale))
            if column.kind == "octets":
                return f"{format_decimal(round(float(value) / 1e9, 1), locale=reader.locale)} GB"
            return str(format_decimal(value, locale=reader.locale))
    return str(value)


_PAGE = Environment(autoescape=True, undefined=StrictUndefined).from_string("""<!doctype html>
<html lang="{{ language }}"><head><meta charset="utf-8"><title>{{ title }}</title><style>
  body { font-family: "DejaVu Sans", sans-serif; font-size: 8pt; color: #1f2937; margin: 0; }
  h1 { font-size: 15pt; font-weight: normal; margin: 0; }
  p { color: #4b5563; margin: 1mm 0 4mm; }
  table { width: 100%; border-collapse: collapse; }
  thead { display: table-header-group; }
  th { text-align: left; border-bottom: .4mm solid #1f2937; padding: 1mm 1.5mm; vertical-align: bottom; }
  td { border-bottom: .2mm solid #d1d5db; padding: 1mm 1.5mm; vertical-align: top; word-wrap: break-word; }
  tr { page-break-inside: avoid; }
  tr:nth-child(even) td { background: #f6f7f9; }
  .number { text-align: right; white-space: nowrap; }
</style></head><body>
<h1>{{ title }}</h1><p>{{ operator }} · {{ about }} · {{ made_at }}{% if more %}<br>{{ more }}{% endif %}</p>
<table><thead><tr>{% for title, numeric in columns %}<th{% if numeric %} class="number"{% endif %}>{{ title }}</th>{% endfor %}</tr></thead>
<tbody>{% for cells in rows %}<tr>{% for cell in cells %}<td{% if columns[loop.index0][1] %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></body></html>""")  # noqa: E501
