"""Lists: search, filters, sort and paging done by PostgreSQL, and the export of what is filtered.

A list is a `Table` (its columns, filters and search) and a query; `show()` answers the request with a page of 50
rows, or with the whole of it as CSV, Excel or PDF. Everything chosen stands in the URL, so a list can be sent to a
colleague. Rows are counted up to `count_up_to`, and pages end after 10,000 rows: who is that far down searches instead.

Row-level security lets PostgreSQL use an index only for comparisons it knows not to leak (`=`, `<`, ranges); `LIKE`
and trigrams scan the operator's rows. Searches over many rows therefore go through functions that check the operator
themselves (`search_subscribers`, `search_services`); `matching()` stops them when a page has enough.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from flask import Response, abort, current_app, g, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from core.cells import FORMULA, defused
from portal import context, table_pdf
from portal.permissions import Permission

PAGE = 50
PAGES = 200
FOUND = 2_000  # of a search, so many are counted and sorted; an export has all
Text: TypeAlias = Any  # str, or a lazy translation

_EXCEL_ROWS = 1_048_575
_IN_MEMORY = 4_000_000  # octets


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `value` gives the plain value for the export; the template of the list renders the cell."""

    key: str
    title: Text
    value: Callable[[Any], object]
    sort: Any = None  # the SQL expression, where the column can be sorted by
    join: Callable[[Any], Any] | None = None  # what sorting by it adds to the query
    numeric: bool = False  # right-aligned
    wide: bool = False  # left out on phones
    exported_only: bool = False  # shown as part of another cell, or not at all
    words: str = ""  # the kind of portal.labels whose word a PDF shows for the value
    money: bool = True  # a decimal of a numeric column is an amount of the operator's currency


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice that narrows the list: a chip in the page, `key=value` in the URL.

    `unchosen` is what is shown while nothing is chosen, where that is not everything.
    """

    key: str
    title: Text
    choices: Callable[[], Sequence[tuple[str, Text]]]
    where: Callable[[str], ColumnElement[bool]]
    unchosen: Text = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A list. `order` is the key of a column, with a minus in front for descending; `tie` makes the order total.

    With `keys`, the primary key of the rows, a page's rows are found first and joined to what they show only then:
    PostgreSQL would join all the rows that it passes over on the way to a later page, or sorts.
    """

    name: str
    columns: tuple[Column, ...]
    order: str
    tie: Any
    filters: tuple[Filter, ...] = ()
    search: Callable[[str], ColumnElement[bool]] | None = None
    search_hint: Text = ""
    count_up_to: int = 10_000
    keys: tuple[Any, ...] = ()
    title: Text = ""  # over a PDF, where the navigation has no word for the list

    def sortable(self, key: str) -> Column | None:
        return next((column for column in self.columns if column.key == key and column.sort is not None), None)


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is in force, and the address of the list without it."""

    title: Text
    label: Text
    without: str


@dataclass(slots=True)
class Listing:
    """One page of a list, as the table macro shows it."""

    table: Table
    rows: Sequence[Any]
    total: int
    exact: bool  # false: there are more than `total`
    page: int
    query: str
    order: str
    chosen: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)  # of the URL's path

    @property
    def pages(self) -> int:
        return min(max(1, -(-self.total // PAGE)), PAGES)

    @property
    def first(self) -> int:
        return (self.page - 1) * PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def narrowed(self) -> bool:
        """Whether a search or filter is in force: an empty list then means something else."""
        return bool(self.query or self.chosen)

    @property
    def chips(self) -> list[Chip]:
        chips = []
        for choice in self.table.filters:
            value = self.chosen.get(choice.key)
            if value is not None:
                labels = dict(choice.choices())
                chips.append(Chip(choice.title, labels.get(value, value), self.url(**{choice.key: None, "page": None})))
        return chips

    def url(self, **changes: Any) -> str:
        """Return the address of this list with some of its choices changed; None takes one out."""
        args: dict[str, Any] = {"q": self.query or None, **self.chosen, "sort": self.order, "page": self.page}
        if args["sort"] == self.table.order:
            args["sort"] = None
        if args["page"] == 1:
            args["page"] = None
        args |= changes
        assert request.endpoint is not None
        return url_for(request.endpoint, **self.fixed, **{key: value for key, value in args.items() if value})

    def sorted_by(self, column: Column) -> str | None:
        """Return `ascending` or `descending` where the list is sorted by this column."""
        if self.order.lstrip("-") != column.key:
            return None
        return "descending" if self.order.startswith("-") else "ascending"

    def sort_url(self, column: Column) -> str:
        """Return the address of the list sorted by a column, or the other way round if it is already."""
        key = f"-{column.key}" if self.sorted_by(column) == "ascending" else column.key
        return self.url(sort=key, page=None)


def show(
    session: Session, table: Table, query: Select[*tuple[Any, ...]], template: str, **values: Any
) -> ResponseReturnValue:
    """Answer a request for a list: the page, or with `format=csv`, `xlsx` or `pdf` the whole of what is filtered."""
    wanted = request.args.get("format")
    if wanted is None:
        return render_template(template, listing=page_of(session, table, query, request.args), **values)
    g.whole_list = True
    narrowed, _chosen, _q = _narrow(table, query, request.args)
    rows = _ordered(table, narrowed, request.args.get("sort", ""))[1]
    if wanted == "pdf":
        rows = rows.limit(table_pdf.MOST + 1)
    return exported(table, _all_rows(session, rows), wanted)


def exported(table: Table, rows: Iterable[Any], wanted: str) -> ResponseReturnValue:
    """Return rows as a file, for who may export: `wanted` is csv, xlsx or pdf."""
    if not context.may(Permission.EXPORT):
        abort(403)
    if wanted == "csv":
        return _csv(table, rows)
    if wanted == "xlsx":
        return _xlsx(table, rows)
    if wanted == "pdf":
        return table_pdf.list_pdf(table, rows, _file_name(table))
    return abort(404)


def filtered(
    table: Table, query: Select[*tuple[Any, ...]], args: MultiDict[str, str]
) -> tuple[Select[*tuple[Any, ...]], dict[str, str]]:
    """Return all that a list's search and filters leave, for who acts on it, and these as they stand in the URL."""
    g.whole_list = True
    narrowed, chosen, q = _narrow(table, query, args)
    return narrowed, {**chosen, "q": q} if q else chosen


def page_of(session: Session, table: Table, query: Select[*tuple[Any, ...]], args: MultiDict[str, str]) -> Listing:
    """Return the page of a list that the arguments of a URL ask for. Arguments that make no sense are left out."""
    narrowed, chosen, q = _narrow(table, query, args)
    counted = narrowed.with_only_columns(literal(1), maintain_column_froms=True).order_by(None)
    most = min(table.count_up_to, FOUND) if q else table.count_up_to
    total = session.scalar(select(func.count()).select_from(counted.limit(most + 1).subquery())) or 0
    wanted = args.get("sort", "")
    order, rows = _ordered(table, narrowed, wanted)
    listing = Listing(table, (), min(total, most), total <= most, 1, q, order, chosen, request.view_args or {})
    if total == 0:
        return listing
    listing.page = min(max(_number(args.get("page", "")), 1), listing.pages)
    rows = rows.limit(PAGE).offset((listing.page - 1) * PAGE)
    if table.keys:
        found = rows.with_only_columns(*table.keys, maintain_column_froms=True).subquery()
        shown = query.join(found, and_(*(key == found.c[key.key] for key in table.keys)))
        rows = _ordered(table, shown, wanted)[1]
    listing.rows = _unwrap(session.execute(rows), query)
    return listing


def matching(search: Callable[..., Any], words: str) -> Select[*tuple[Any, ...]]:
    """Return the ids that a search function of the database finds: enough for a page, or all for an export."""
    return select(search(words, None if g.get("whole_list") else FOUND + 1))


def _narrow(
    table: Table, query: Select[*tuple[Any, ...]], args: MultiDict[str, str]
) -> tuple[Select[*tuple[Any, ...]], dict[str, str], str]:
    chosen = {}
    for choice in table.filters:
        value = args.get(choice.key, "")
        if value and value in {key for key, _label in choice.choices()}:
            chosen[choice.key] = value
            query = query.where(choice.where(value))
    q = args.get("q", "").replace("\0", "").strip()[:200]
    if q and table.search is not None:
        query = query.where(table.search(q))
    return query, chosen, q


def _ordered(table: Table, query: Select[*tuple[Any, ...]], wanted: str) -> tuple[str, Select[*tuple[Any, ...]]]:
    """Return the order in force and the query in it. Only columns of the table are sorted by, whatever a URL says."""
    if table.sortable(wanted.lstrip("-")) is None or wanted.startswith("--"):
        wanted = table.order
    column = table.sortable(wanted.lstrip("-"))
    assert column is not None
    if column.join is not None:
        query = column.join(query)
    if not wanted.startswith("-"):
        return wanted, query.order_by(column.sort.asc(), table.tie.asc())
    # NULLS LAST is said only where there can be nulls: an index that is read backwards has them first, and PostgreSQL
    # would sort all rows rather than read it.
    downwards = column.sort.desc()
    if getattr(getattr(column.sort, "left", column.sort), "nullable", True):  # `left` of a COLLATE is its column
        downwards = downwards.nulls_last()
    return wanted, query.order_by(downwards, table.tie.desc())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _unwrap(result: Any, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    """Return rows; where a query selects one entity, that entity itself."""
    return list(result.scalars() if len(query.column_descriptions) == 1 else result)


def _all_rows(session: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Any]:
    result = session.execute(query.execution_options(yield_per=1000))
    yield from result.scalars() if len(query.column_descriptions) == 1 else result


# Export.


def _csv(table: Table, rows: Iterable[Any]) -> Response:
    # Written whole before it is sent, on disk when it is large: what fails then is an error page and not half a file,
    # and a reader on a slow line holds no connection to PostgreSQL.
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - sending it closes it
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")  # without its mark Excel reads Windows-1252
    writer = csv.writer(lines)
    writer.writerow([str(column.title) for column in table.columns])
    for row in rows:
        writer.writerow([defused(_exported(column.value(row))) for column in table.columns])
    lines.flush()
    lines.detach()
    size = file.tell()
    file.seek(0)
    if size > _IN_MEMORY:
        answer = send_file(file, mimetype="text/csv")
    else:
        with file:
            answer = current_app.response_class(file.read(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{_file_name(table)}.csv"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _xlsx(table: Table, rows: Iterable[Any]) -> Response:
    from openpyxl import Workbook  # what makes no workbooks need not know how
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book = Workbook(write_only=True)
    sheet = book.create_sheet(table.name[:31])
    sheet.freeze_panes = "A2"

    def cell(value: object, *, bold: bool = False) -> Any:
        made: Any = WriteOnlyCell(sheet, value=None)
        if isinstance(value, str):
            # Said to be text, so that "=1+1" is shown and not computed.
            made.value, made.data_type = _clean(value), "s"
            if value.startswith(FORMULA):
                made.quotePrefix = True
        else:
            made.value = value
        if bold:
            made.font = Font(bold=True)
        return made

    sheet.append([cell(str(column.title), bold=True) for column in table.columns])
    for number, row in enumerate(rows):
        if number == _EXCEL_ROWS:
            break
        sheet.append([cell(_exported(column.value(row))) for column in table.columns])
    buffer = io.BytesIO()
    book.save(buffer)
    return current_app.response_class(
        buffer.getvalue(),
        content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(table)}.xlsx"'},
    )


def _file_name(table: Table) -> str:
    return f"{table.name}-{context.now().astimezone(context.zone()):%Y-%m-%d}"


def _exported(value: object) -> object:
    """Return a value as a spreadsheet takes it: instants in the operator's zone and without their offset."""
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(context.zone()).replace(tzinfo=None, microsecond=0)
        case bool():
            return str(value).lower()
        case int() | float() | Decimal() | date() | timedelta() | str():
            return value
    return str(value)


def _clean(text: str) -> str:
    """Return text without the control characters that a worksheet cannot hold."""
    return "".join(character for character in text if character >= " " or character in "\t\n\r")[:32_767]
