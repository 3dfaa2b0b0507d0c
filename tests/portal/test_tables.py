import csv
import io

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from core.cells import defused
from tests.portal.conftest import add_service, add_subscriber


def names_on(page) -> list[str]:
    """The names in the first column, in their order."""
    rows = page.text.partition('id="rows"')[2]
    return [cell.split("</a>")[0] for cell in rows.split('class="fw-bold">')[1:]]


@pytest.fixture
def people(system, isp):
    for name in ("Zoë Ortiz", "Ana Núñez", "José Ñandú", "jose nadal", "Álvaro Cruz", "Bea Díaz"):
        add_subscriber(system, isp, name, phone=f"+52 55 {len(name):04} 0000")


def test_names_are_sorted_as_people_sort_them(people, sign_in):
    page = sign_in("manager").get("/subscribers/")
    assert names_on(page) == ["Álvaro Cruz", "Ana Núñez", "Bea Díaz", "jose nadal", "José Ñandú", "Zoë Ortiz"]


def test_a_column_sorts_the_other_way_round_on_the_second_click(people, sign_in):
    page = sign_in("manager").get("/subscribers/?sort=-name")
    assert names_on(page)[0] == "Zoë Ortiz"
    assert 'href="/subscribers/?sort=-name"' in sign_in("manager").get("/subscribers/").text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("jose nandu", ["José Ñandú"], id="without accents and case"),
        pytest.param("NÚÑEZ", ["Ana Núñez"], id="capitals"),
        pytest.param("cruz alvaro", ["Álvaro Cruz"], id="words in any order"),
        pytest.param("5500990000", [], id="a number nobody has"),
        pytest.param("52550008", ["Bea Díaz"], id="a phone without its blanks"),
    ],
)
def test_searching_finds_people_as_they_are_called(people, sign_in, words, found):
    assert names_on(sign_in("manager").get("/subscribers/", query_string={"q": words})) == found


HOSTILE = [
    "'; DROP TABLE subscriber; --",
    "%' OR '1'='1",
    "a\\",
    "_",
    "%",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}",
    "x" * 5000,
    "\N{PILE OF POO}",
]


@pytest.mark.parametrize("path", ["/subscribers/", "/services/", "/search/", "/search/suggest"])
def test_hostile_words_find_nothing_and_break_nothing(people, sign_in, path):
    browser = sign_in("manager")
    for words in HOSTILE:
        page = browser.get(path, query_string={"q": words})
        assert page.status_code == 200, words
        assert names_on(page) == [], words
        assert "<script>alert" not in page.text
    assert len(names_on(browser.get("/subscribers/"))) == 6


@pytest.mark.parametrize("argument", ["sort", "page", "service", "format"])
def test_hostile_arguments_are_passed_over(people, sign_in, argument):
    browser = sign_in("manager")
    for value in [*HOSTILE, "-1", "999999999999999999999", "password_hash", "id; SELECT 1"]:
        page = browser.get("/subscribers/", query_string={argument: value})
        assert page.status_code == (404 if argument == "format" else 200), value
        if argument != "format":
            assert len(names_on(page)) == 6, value


def test_a_filter_narrows_the_list_and_stands_in_it_as_a_chip(system, installation, isp, sign_in):
    ana, bea = add_subscriber(system, isp, "Ana"), add_subscriber(system, isp, "Bea")
    add_service(system, installation, isp, ana, "ana")
    add_service(system, installation, isp, bea, "bea", state="paused")
    page = sign_in("manager").get("/subscribers/?service=paused")
    assert names_on(page) == ["Bea"]
    assert "Any service: Paused" in page.text


def test_fifty_rows_stand_on_a_page(system, isp, sign_in):
    for number in range(120):
        add_subscriber(system, isp, f"Person {number:03}")
    browser = sign_in("manager")
    first, last = browser.get("/subscribers/"), browser.get("/subscribers/?page=3")
    assert len(names_on(first)) == 50
    assert "1–50 of 120" in first.text
    assert names_on(last) == [f"Person {number:03}" for number in range(100, 120)]
    assert names_on(browser.get("/subscribers/?page=99")) == names_on(last)


def test_an_empty_list_says_what_to_do_first_and_an_empty_search_something_else(sign_in):
    browser = sign_in("manager")
    assert "Enter the first one" in browser.get("/subscribers/").text
    assert "Nothing matches this search" in browser.get("/subscribers/?q=nobody").text


# Export.


def test_the_export_holds_what_is_filtered_and_nothing_else(people, sign_in):
    with sign_in("manager").get("/subscribers/?q=jose&format=csv") as answer:
        exported = answer.data
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert exported.startswith(b"\xef\xbb\xbf")
    assert 'attachment; filename="subscribers-' in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    rows = list(csv.reader(io.StringIO(exported.decode("utf-8-sig"))))
    assert rows[0][:2] == ["Name", "Phone"]
    assert [row[0] for row in rows[1:]] == ["jose nadal", "José Ñandú"]


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", '=HYPERLINK("http://evil.example")']


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_begins_like_a_formula(formula):
    assert defused(formula) == f"'{formula}"


def test_numbers_stay_numbers():
    assert defused(-5) == -5


def test_a_subscriber_called_like_a_formula_is_text_in_both_exports(system, isp, sign_in):
    add_subscriber(system, isp, '=HYPERLINK("http://evil.example","x")')
    browser = sign_in("manager")
    with browser.get("/subscribers/?format=csv") as answer:
        exported = answer.data.decode("utf-8-sig")
    assert next(csv.reader(io.StringIO(exported.splitlines()[1])))[0] == '\'=HYPERLINK("http://evil.example","x")'
    sheet = load_workbook(io.BytesIO(browser.get("/subscribers/?format=xlsx").data)).active
    assert sheet["A2"].data_type == "s"
    assert sheet["A2"].value == '=HYPERLINK("http://evil.example","x")'


def test_who_may_not_export_gets_no_file_and_no_button(people, sign_in):
    browser = sign_in("support")
    assert browser.get("/subscribers/?format=csv").status_code == 403
    assert "format=csv" not in browser.get("/subscribers/").text


def pdf_text(content: bytes) -> str:
    return " ".join("\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).split())


def test_a_list_is_printed_with_its_search_its_operator_and_the_readers_words(people, system, isp, sign_in):
    browser = sign_in("manager")
    answer = browser.get("/subscribers/?q=jose&format=pdf")
    assert answer.content_type == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="subscribers-')
    said = pdf_text(answer.data)
    for words in ("Subscribers", "Search: jose", "José Ñandú", "jose nadal", "2 rows"):
        assert words in said
    assert "Ana Núñez" not in said
    width, height = PdfReader(io.BytesIO(answer.data)).pages[0].mediabox[2:]
    assert width > height
    browser.set_cookie("portico_language", "es")
    said = pdf_text(browser.get("/subscribers/?q=jose&format=pdf").data)
    assert "Clientes" in said
    assert "2 filas" in said


def test_a_list_that_is_too_long_for_paper_says_so(people, sign_in, monkeypatch):
    monkeypatch.setattr("portal.table_pdf.MOST", 5)
    browser = sign_in("manager")
    answer = browser.get("/subscribers/?sort=-name&format=pdf", follow_redirects=True)
    assert "A PDF holds 5 rows, and these are more." in answer.text
    assert answer.request.url.endswith("/subscribers/?sort=-name")


def test_who_may_not_export_gets_no_pdf(people, sign_in):
    assert sign_in("support").get("/subscribers/?format=pdf").status_code == 403
