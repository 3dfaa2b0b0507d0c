"""A list as PDF: all of what is filtered on paper, with who it is of, when, and what it was narrowed to.

It is made in the request, so it ends at 2,000 rows; who wants more takes Excel. Values read as they do on a page, in
the reader's language.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog
from flask import Response, abort, current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.pdf import A4_LANDSCAPE, NotRendered, render_pdf
from portal import context
from portal.formats import duration, local_day, local_time, money, number
from portal.i18n import reader_language
from portal.labels import label
from portal.navigation import title_of

if TYPE_CHECKING:
    from portal.tables import Column, Table

log = structlog.get_logger()
MOST = 2_000


def list_pdf(table: "Table", rows: Iterable[Any], file_name: str) -> ResponseReturnValue:
    """Answer with the rows as PDF; where they are too many, lead back to the list, which says so.

    Of very many rows no more than `MOST` and one need to be given.
    """
    found = list(rows)
    if len(found) > MOST:
        text = _("A PDF holds %(most)s rows, and these are more. Narrow the list, or take Excel.", most=number(MOST))
        flash(text, "warning")
        kept = [(key, value) for key, value in request.args.items(multi=True) if key != "format"]
        return redirect(f"{request.path}?{urlencode(kept)}" if kept else request.path)
    html = render_template(
        "pdf/list.html",
        title=table.title or title_of(request.endpoint) or table.name,
        language=reader_language(),
        operator=context.operator().name,
        made_at=local_time(context.now()),
        narrowed=_narrowed(table),
        columns=table.columns,
        rows=[[_shown(column, column.value(row)) for column in table.columns] for row in found],
        count=len(found),
    )
    try:
        content = render_pdf(html, A4_LANDSCAPE)
    except NotRendered:
        log.exception("list_not_rendered", list=table.name)
        abort(503)
    headers = {"Content-Disposition": f'attachment; filename="{file_name}.pdf"', "Cache-Control": "no-store"}
    made: Response = current_app.response_class(content, mimetype="application/pdf", headers=headers)
    return made


def _narrowed(table: "Table") -> list[tuple[str, str]]:
    """Return the search, the filters and the days that the list was narrowed by, as they are called."""
    said = []
    if words := request.args.get("q", "").strip()[:200]:
        said.append((_("Search"), words))
    for choice in table.filters:
        labels = dict(choice.choices())
        if (value := request.args.get(choice.key, "")) in labels:
            said.append((str(choice.title), str(labels[value])))
    for name, title in (("first", _("From")), ("last", _("To"))):
        if day := request.args.get(name, "")[:10]:
            said.append((title, day))
    return said


def _shown(column: "Column", value: object) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return str(_("yes") if value else _("no"))
        case str() if column.words:
            return label(column.words, value)
        case datetime():
            return local_time(value)
        case date():
            return local_day(value)
        case timedelta():
            return duration(value)
        case Decimal():
            return money(value) if column.numeric and column.money else number(float(value))
        case int() | float():
            return number(value)
    return str(value)
