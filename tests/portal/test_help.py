"""Help: both manuals are whole, speak of what the portal really shows, and are found, read and printed."""

import io
import json
import re
from collections.abc import Callable

import click
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db.models import ForeignCurrency
from portal import guide
from portal.navigation import AREAS
from portal.staff.help import LONGEST
from stack.pictures import MANUAL, WORDS, texts_of
from tests.portal.conftest import Isp

LANGUAGES = ("en", "es")
_BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)]+)\)")
_SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


def source(language: str, name: str) -> str:
    return (guide.GUIDE / language / f"{name}.md").read_text(encoding="utf-8")


def in_language(browser: FlaskClient, language: str) -> FlaskClient:
    browser.set_cookie("portico_language", language)
    return browser


# What is written.


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_chapter_is_there_and_no_other(language: str):
    there = {path.stem for path in (guide.GUIDE / language).glob("*.md")}
    assert there == set(guide.CHAPTERS)


@pytest.mark.parametrize("name", guide.CHAPTERS)
def test_both_languages_have_the_same_headings_steps_rows_and_pictures(name: str):
    def shape(text: str) -> list[str]:
        marks = r"^(#+ |\d+\. |- |\|)|^!\[[^\]]*\]\(([^)]+)\)"
        return [found[1] or found[2] for found in re.finditer(marks, text, re.MULTILINE)]

    assert shape(source("en", name)) == shape(source("es", name))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_and_button_in_bold_is_a_text_of_the_portal(language: str):
    known = texts_of(language)
    for name in guide.CHAPTERS:
        for found in _BOLD.finditer(source(language, name)):
            for word in found[1].split(" → "):
                assert word in known, f"{language}/{name}.md says **{word}**, which no page shows"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_of_the_manual_leads_to_a_chapter(language: str):
    for name in guide.CHAPTERS:
        for found in _LINK.finditer(source(language, name)):
            assert found[1].removesuffix(".md") in guide.CHAPTERS, f"{language}/{name}.md links to {found[1]}"


def test_every_link_of_the_administrators_manual_leads_to_a_file():
    for name in guide.ADMINISTRATOR:
        text = re.sub(r"`[^`]*`", "", (guide.DOCS / f"{name}.md").read_text(encoding="utf-8"))
        for found in _LINK.finditer(text):
            target = found[1].partition("#")[0]
            assert re.match(r"https?:", target) or (guide.DOCS / target).exists(), f"{name}.md links to {target}"


def test_each_page_of_the_navigation_has_a_chapter(app: Flask):
    for _title, entries in AREAS:
        for entry in entries:
            blueprint = entry.endpoint.partition(".")[0]
            assert blueprint == "help" or guide.CHAPTER_OF[blueprint] in guide.CHAPTERS
    assert set(guide.CHAPTER_OF) <= set(app.blueprints)


# The pictures.


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_picture_of_the_manual_is_taken_and_every_one_taken_is_small_and_used(language: str):
    taken = {f"{picture.name}.webp" for picture in MANUAL}
    shown = set()
    for name in guide.CHAPTERS:
        for alt, target in _SHOWN.findall(source(language, name)):
            assert alt
            shown.add(target.removeprefix("pictures/"))
    assert shown == taken
    directory = guide.GUIDE / language / "pictures"
    assert {path.name for path in directory.iterdir()} == taken
    for path in directory.iterdir():
        assert path.stat().st_size < 60_000, path
        with Image.open(path) as image:
            assert image.format == "WEBP"
            assert image.width >= 1000


def test_the_pictures_show_words_that_the_portal_still_says():
    """If this fails, a page changed: `make run`, then `portico docs manual`."""
    words = json.loads((guide.GUIDE / WORDS).read_text(encoding="utf-8"))
    assert set(words) == {f"{language}/{picture.name}" for language in LANGUAGES for picture in MANUAL}
    for language in LANGUAGES:
        known = texts_of(language)
        for picture in MANUAL:
            gone = set(words[f"{language}/{picture.name}"]) - known
            assert not gone, f"{language}/{picture.name} shows {gone}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_that_need_no_rows_still_look_like_their_pictures(
    language: str, sign_in: Callable[..., FlaskClient], isp: Isp, system: Engine
):
    """If this fails, a page changed: `make run`, then `portico docs manual`."""
    with Session(system) as session:  # the demo, which the pictures show, takes dollars
        session.add(ForeignCurrency(operator_id=isp.operator_id, currency="USD"))
        session.commit()
    browser = in_language(sign_in("manager"), language)
    words = json.loads((guide.GUIDE / WORDS).read_text(encoding="utf-8"))
    for picture in MANUAL:
        if picture.blank:
            page = browser.get(picture.path).text
            text = " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace("&#39;", "'").replace("&amp;", "&")
            said = words[f"{language}/{picture.name}"]
            assert said
            for word in said:
                assert word in text, f"{picture.path} does not say {word!r} any more"


# What is served.


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reader_finds_contents_chapters_and_pictures_in_their_language(
    language: str, sign_in: Callable[..., FlaskClient]
):
    browser = in_language(sign_in("support"), language)
    contents = browser.get("/help/").text
    for name in guide.CHAPTERS:
        chapter = guide.chapter(language, name)
        assert chapter is not None
        assert chapter.title in contents
        page = browser.get(f"/help/{name}")
        assert page.status_code == 200
        assert f'<h1 class="page-title">{chapter.title}</h1>' in page.text
        assert "**" not in page.text
        assert ".md" not in page.text
        for source_ in re.findall(r'<img[^>]* src="(/help/[^"]+)"', page.text):
            with browser.get(source_) as picture:
                assert (picture.status_code, picture.mimetype) == (200, "image/webp")
        assert set(re.findall(r'href="/help/([a-z-]*)[#"]', page.text)) <= {"", *guide.CHAPTERS}


def test_search_folds_accents_and_wants_all_words(sign_in: Callable[..., FlaskClient]):
    browser = in_language(sign_in("finance"), "es")
    page = browser.get("/help/?q=correccion+FACTURA").text
    assert "Nada tiene todas estas palabras" in page
    page = browser.get("/help/?q=nota+credito").text
    assert "/help/billing#corrija-una-factura" in page
    assert guide.search("en", "zzzz") == []
    assert guide.search("en", " ") == []
    assert guide.search("en", "vouchers")[0].page.name == "vouchers"
    assert browser.get(f"/help/?q={'<b>x</b>' * LONGEST}").status_code == 200
    assert "<b>x</b>" not in browser.get("/help/?q=<b>x</b>").text


def test_what_is_no_page_of_a_manual_is_not_served(sign_in: Callable[..., FlaskClient]):
    browser = sign_in("manager")
    for address in ("/help/none", "/help/README", "/help/pictures/en/none.webp", "/help/pictures/xx/..%2Fstart.md"):
        assert browser.get(address).status_code == 404, address
    assert browser.get("/help/administrator/decisions").status_code == 404
    assert browser.get("/help/pictures/..%2F..%2F/secrets.webp").status_code == 404


def test_the_administrators_manual_is_for_managers(sign_in: Callable[..., FlaskClient]):
    page = sign_in("manager").get("/help/administrator/administrator").text
    assert 'href="/help/administrator/running"' in page
    assert 'href="/help/"' in page
    assert "<span>the change log</span>" in page  # not shown here, so no link
    assert sign_in("support").get("/help/administrator/administrator").status_code == 403
    assert "/help/administrator" not in sign_in("support").get("/help/").text


def test_each_page_leads_to_its_chapter(sign_in: Callable[..., FlaskClient]):
    browser = sign_in("manager")
    for address, chapter in (("/plans/", "plans"), ("/vouchers/", "vouchers"), ("/", "start")):
        assert re.search(rf'href="/help/{chapter}" aria-label="Help on this page"', browser.get(address).text)


def test_html_in_a_page_is_text(tmp_path, monkeypatch):
    monkeypatch.setattr(guide, "DOCS", tmp_path)
    (tmp_path / "x.md").write_text("# T\n\n<script>a()</script> <b>x</b> [go](javascript:a()) ![p](https://h/x.webp)\n")
    page = guide.read_page(tmp_path / "x.md")
    assert "<script>" not in page.html
    assert "<b>" not in page.html
    assert "javascript" not in page.html


@pytest.mark.parametrize(("language", "title", "word"), [("en", "manual", "voucher"), ("es", "manual", "ficha")])
def test_manual_and_data_sheet_are_pdfs_in_the_readers_language(
    language: str, title: str, word: str, sign_in: Callable[..., FlaskClient]
):
    browser = in_language(sign_in("sales"), language)
    answer = browser.get("/help/manual.pdf?download=1")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="portico-{title}-{language}.pdf"'
    pages = PdfReader(io.BytesIO(answer.data)).pages
    assert len(pages) > len(guide.CHAPTERS)
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert word in text
    for chapter in guide.chapters(language):
        assert chapter.title in text
    assert len(answer.data) < 4_000_000
    sheet = PdfReader(io.BytesIO(browser.get("/help/data-sheet.pdf").data))
    assert len(sheet.pages) == 1


def test_the_administrators_manual_names_commands_and_pages_that_there_are():
    from stack.cli import portico

    text = "".join((guide.DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("administrator", "running"))
    named = set(re.findall(r"portico ([a-z]+)(?: ([a-z]+))?", text.replace("/portico/", "")))
    assert len(named) > 5
    context = click.Context(portico)
    for command, second in named:
        found = portico.get_command(context, command)
        if found is None:
            continue  # the user of that name, or a sentence
        if isinstance(found, click.Group) and second and not found.invoke_without_command:
            assert found.get_command(context, second) is not None, f"portico {command} {second}"
    known = texts_of("en")
    paths = [found[1] for found in _BOLD.finditer(text) if " → " in found[1]]
    assert paths
    assert not [word for path in paths for word in path.split(" → ") if word not in known]
