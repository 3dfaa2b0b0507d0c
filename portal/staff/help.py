"""Help: the operator's manual in the reader's language, its search, and the same on paper. Managers find the
administrator's manual beside it."""

import base64
import io
import re
from collections.abc import Callable
from functools import cache

import structlog
from flask import Blueprint, Response, abort, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from markupsafe import Markup
from PIL import Image

from billing.pdf import A4, NotRendered, render_pdf
from portal import context, guide
from portal.i18n import reader_language
from portal.pay import pdf_response
from portal.permissions import Permission, requires, signed_in

log = structlog.get_logger()
blueprint = Blueprint("help", __name__, url_prefix="/help")
LONGEST = 100
"""Characters of a search."""

_IMAGE = re.compile(r'src="/help/pictures/([a-z]+)/([a-z0-9-]+\.webp)"')
_CHAPTER = re.compile(r'href="/help/([a-z-]+)(?:#[^"]*)?"')
_LINK = re.compile(r'<a href="/help/[^"]*">(.*?)</a>', re.DOTALL)


@blueprint.app_template_global("help_address")
def help_address() -> str:
    """Return where the page that is shown is explained; nothing for the platform's own people."""
    if context.account().platform:
        return ""
    chapter = guide.CHAPTER_OF.get(request.blueprint or "")
    return url_for("help.page", name=chapter) if chapter else url_for("help.index")


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    """The contents, or what was found of `?q=`."""
    words, language = request.args.get("q", "").strip()[:LONGEST], reader_language()
    return render_template(
        "staff/help/index.html", chapters=guide.chapters(language), words=words, hits=guide.search(language, words)
    )


@blueprint.get("/<name>")
@signed_in
def page(name: str) -> ResponseReturnValue:
    language = reader_language()
    found = guide.chapter(language, name) or abort(404)
    at = guide.CHAPTERS.index(name)
    before, after = (
        guide.chapter(language, guide.CHAPTERS[other]) if 0 <= other < len(guide.CHAPTERS) else None
        for other in (at - 1, at + 1)
    )
    return render_template(
        "staff/help/page.html", page=found, chapters=guide.chapters(language), before=before, after=after
    )


@blueprint.get("/administrator/<name>")
@requires(Permission.SETTINGS_EDIT)
def administrator(name: str) -> ResponseReturnValue:
    found = guide.administrator_page(name) or abort(404)
    return render_template("staff/help/page.html", page=found, chapters=[], before=None, after=None)


@blueprint.get("/pictures/<language>/<name>")
@signed_in
def picture(language: str, name: str) -> ResponseReturnValue:
    path = guide.picture(language, name) or abort(404)
    return send_file(path, mimetype="image/webp", max_age=3600)


@blueprint.get("/manual.pdf")
@signed_in
def manual() -> ResponseReturnValue:
    """The operator's manual as one PDF."""
    return _pdf("portico-manual", _manual)


@blueprint.get("/data-sheet.pdf")
@signed_in
def data_sheet() -> ResponseReturnValue:
    return _pdf("portico-data-sheet", _data_sheet)


def _pdf(name: str, made: Callable[[str, int], bytes]) -> Response:
    language = guide.language_of_guide(reader_language())
    changed = max(path.stat().st_mtime_ns for path in (guide.DOCS, *guide.DOCS.glob("*.md"), *guide.GUIDE.rglob("*")))
    try:
        content = made(language, changed)
    except NotRendered:
        log.exception("manual_not_rendered", document=name)
        abort(503)
    return pdf_response(content, f"{name}-{language}.pdf", download="download" in request.args)


@cache
def _manual(language: str, _changed: int) -> bytes:
    pages = [(page.name, page.title, _on_paper(page.html)) for page in guide.chapters(language)]
    return render_pdf(
        render_template("pdf/manual.html", pages=pages, title=_("Portico, the manual"), language=language), A4
    )


@cache
def _data_sheet(language: str, _changed: int) -> bytes:
    page = guide.data_sheet(language)
    pages = [(page.name, page.title, _on_paper(page.html))]
    return render_pdf(render_template("pdf/manual.html", pages=pages, title="", language=language), A4)


def _on_paper(html: Markup) -> Markup:
    """Return a page with its pictures in it and its links to other chapters within the document."""
    html = _IMAGE.sub(lambda found: f'src="{_inline(found[1], found[2])}"', html)  # type: ignore[assignment]
    html = _CHAPTER.sub(r'href="#\1"', html)  # type: ignore[assignment]
    return Markup(_LINK.sub(r"\1", html))  # noqa: S704 - made of a page whose HTML is off


def _inline(language: str, name: str) -> str:
    """Return a picture as an address that holds it; wkhtmltopdf does not know WebP."""
    path, kept = guide.picture(language, name), io.BytesIO()
    if path is None:
        return "data:,"
    with Image.open(path) as image:
        image.convert("RGB").save(kept, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(kept.getvalue()).decode()}"
