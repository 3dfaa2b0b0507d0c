"""Long documents on A4: whole rows, and the head of the columns on every page."""

import io

from pypdf import PdfReader

from billing.documents import Document, Item, render_document
from billing.page_breaks import on_pages
from billing.pdf import A4

LONG = "Installation of an antenna on the roof of the second building, with a mast of six metres and its grounding"


def test_an_invoice_of_sixty_lines_tears_none_and_heads_each_page():
    items = tuple(
        Item(f"Begin{number:02} {LONG if number % 3 else 'Plan'}", f"End{number:02} of it", "$1.00")
        for number in range(60)
    )
    facts = tuple(
        (f"Fact {number}", "A value that is long enough to stand on two lines of its column") for number in range(6)
    )
    document = Document(
        "invoice", "en", "Invoice", "17", ("ISP", "An address", "Another line"), facts, ("Ana Peña",), items, (),
        ("Total", "$60.00"), (), "", "PAID", "https://isp.example/check/1",
    )  # fmt: skip
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(render_document(document, A4))).pages]
    assert 4 <= len(pages) <= 6
    for page in pages[:-1]:
        assert "Description" in page
    for number in range(60):
        (begins,) = [place for place, page in enumerate(pages) if f"Begin{number:02}" in page]
        (ends,) = [place for place, page in enumerate(pages) if f"End{number:02}" in page]
        assert begins == ends, f"line {number} is torn"
    assert "$60.00" in pages[-1]


def test_a_row_that_is_higher_than_a_page_has_one_for_itself():
    assert on_pages([("low", 10), ("high", 400), ("low too", 10)], 60) == [["low"], ["high"], ["low too"]]
    assert on_pages([], 60) == [[]]
