"""Excel workbooks: the first sheet with something in it, read as a CSV file would be.

A workbook is what its content is, not what it is called. Formulas are not computed and mean nothing: their text stands
in the cell, as if it had been typed into a CSV file. Dates become YYYY-MM-DD, whole numbers lose the `.0` that
Excel gives them. A workbook that unpacks to far more than it weighs is refused before it is read.
"""

import csv
import io
import warnings
import zipfile
from datetime import date, datetime
from xml.etree.ElementTree import ParseError

MOST_UNPACKED = 300_000_000
"""Octets of all parts of a workbook. One of 50,000 rows has some thirty million."""
MOST_ROWS = 50_001
MOST_COLUMNS = 100


class NotReadable(ValueError):
    """It is called a workbook, or begins like one, and is none."""


def is_workbook(content: bytes) -> bool:
    """Tell whether a file is an archive, which of what is taken only a workbook is."""
    return content.startswith(b"PK\x03\x04")


def as_csv(content: bytes) -> str:
    """Return the first sheet that has rows, as CSV. Raises NotReadable."""
    from openpyxl import load_workbook  # what reads no workbooks need not know how
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED:
                raise NotReadable
            if "xl/workbook.xml" not in archive.namelist():
                raise NotReadable
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and checks that are not read
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
            try:
                for sheet in book.worksheets:
                    text = _sheet(sheet)
                    if text.strip():
                        return text
            finally:
                book.close()
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, OSError, EOFError) as problem:
        raise NotReadable from problem
    return ""


def _sheet(sheet: object) -> str:
    """Return a sheet as CSV, as wide as its widest row: openpyxl fills each up to the columns that it is asked for."""
    rows = []
    for row in sheet.iter_rows(max_row=MOST_ROWS, max_col=MOST_COLUMNS, values_only=True):  # type: ignore[attr-defined]
        texts = [_text(value) for value in row]
        while texts and not texts[-1].strip():
            texts.pop()
        rows.append(texts)
    width = max(map(len, rows), default=0)
    lines = io.StringIO()
    csv.writer(lines).writerows(texts + [""] * (width - len(texts)) for texts in rows if width)
    return lines.getvalue()


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime() | date():
            return value.isoformat()[:10]
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    return str(value)
