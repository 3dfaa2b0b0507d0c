"""Workbooks in the import: read like a CSV file, formulas as text, and nothing that is not what it says."""

import io
import zipfile
from datetime import date, datetime
from time import perf_counter

import pytest
from openpyxl import Workbook

from network.importing.files import recognise
from network.importing.sources import csv_file, excel


def workbook(*rows) -> bytes:
    book = Workbook(write_only=True)
    book.create_sheet("Empty")
    sheet = book.create_sheet("Clientes")
    for row in rows:
        sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


TITLES = ("Nombre", "Usuario", "Contraseña", "Velocidad", "Teléfono", "Vencimiento", "Observaciones")


def found_in(content: bytes, name: str = "clientes.xlsx"):
    upload = recognise({name: content})
    assert upload is not None
    assert upload.source == "csv"
    file = csv_file.take_apart(upload.text)
    return csv_file.candidates(file, csv_file.guess_columns(file))


def test_a_workbook_is_read_like_a_csv_file_with_numbers_days_and_formulas_as_text():
    content = workbook(
        TITLES,
        ("Ana Núñez", "ana", 1234.0, "20/5", 5512345678.0, datetime(2027, 1, 31), "=HYPERLINK(1)"),
        ("=1+1", "leo", "x", "10", None, date(2027, 2, 1), None),
    )
    ana, leo = found_in(content, "clientes.txt")  # whatever it is called
    assert (ana.subscriber, ana.name, ana.password, ana.phone) == ("Ana Núñez", "ana", "1234", "5512345678")
    assert (ana.paid_until, ana.rate.download) == (date(2027, 1, 31), 20_000_000)
    assert ana.comment == "=HYPERLINK(1)"
    assert leo.subscriber == "=1+1"


def test_a_sheet_has_as_many_columns_as_are_used():
    content = workbook((*TITLES, None), ("Ana", "ana", "x", "20/5"), (None, " "))
    lines = excel.as_csv(content).splitlines()
    assert [line.count(",") for line in lines] == [len(TITLES) - 1] * 3


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (excel.MOST_UNPACKED + 1))
    return buffer.getvalue()


def other_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"PK\x03\x04 broken", id="damaged"),
        pytest.param(other_archive(), id="another archive"),
        pytest.param(workbook(TITLES)[:2000], id="cut short"),
        pytest.param(b"MZ\x90\x00\x03\x00\x00\x00 a program", id="a program"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", id="a picture"),
    ],
)
def test_what_is_no_workbook_is_not_read(content):
    assert recognise({"clientes.xlsx": content}) is None


def test_a_workbook_that_unpacks_to_far_too_much_is_refused_unread():
    began = perf_counter()
    content = bomb()
    packed = perf_counter() - began
    began = perf_counter()
    assert recognise({"clientes.xlsx": content}) is None
    assert perf_counter() - began < max(packed, 0.5)


def test_five_thousand_rows_are_read():
    rows = [(f"Ana {n}", f"u{n}", "p", "20/5", None, None, None) for n in range(5000)]
    assert len(found_in(workbook(TITLES, *rows))) == 5000
