"""Bank statements as files: the money that came in, out of OFX or CSV.

Every bank writes its own CSV, so its columns are told by their titles, in English and Spanish, or named by whoever
brings the file. Money that went out is left out. A line has a fingerprint, by which the same line of another file, or
of the same file brought twice, is known again: the bank's own id in OFX, else what the line says and the how-manieth of
its kind it is in the file (two deposits of the same sum on one day are two).
"""

import csv
import hashlib
import io
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from ofxtools.Parser import OFXTree

from core.money import AmountFlaw, BadAmount, parse_amount, rounded

MOST_LINES = 20_000
_TITLES: Mapping[str, tuple[str, ...]] = {
    "day": ("date", "fecha", "booking date", "fecha operacion", "fecha de operacion", "fecha valor", "value date"),
    "amount": (
        "amount", "importe", "monto", "credit", "credito", "abono", "abonos", "deposito", "depositos", "haber", "valor",
    ),
    "reference": ("reference", "referencia", "concepto", "description", "descripcion", "details", "detalle", "memo"),
    "payer": ("payer", "name", "nombre", "ordenante", "remitente", "titular", "sender", "beneficiario"),
}  # fmt: skip
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d/%m/%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", "%m/%d/%y")


class FileFlaw(StrEnum):
    """What keeps a file from being read."""

    EMPTY = "empty"
    NOT_OFX = "not_ofx"
    WRONG_CURRENCY = "wrong_currency"  # detail: the file's
    NO_COLUMN = "no_column"  # detail: which is missing
    BAD_DAY = "bad_day"  # detail: what stands there
    BAD_AMOUNT = "bad_amount"  # detail: what stands there
    TOO_LONG = "too_long"


class BadFile(Exception):
    """A file that cannot be read: why, at which line (0 is the file as a whole), and what stands there."""

    def __init__(self, flaw: FileFlaw, line: int = 0, detail: str = "") -> None:
        super().__init__(flaw, line, detail)
        self.flaw, self.line, self.detail = flaw, line, detail[:60]


@dataclass(frozen=True, slots=True)
class FoundLine:
    """Money that came in."""

    fingerprint: str
    booked_on: date
    amount: Decimal
    reference: str
    payer: str


def read_statement(
    content: bytes, currency: str, locale: str, columns: Mapping[str, str] | None = None, *, month_first: bool = False
) -> list[FoundLine]:
    """Return the money that came in. `columns` names CSV columns by day, amount, reference, payer. Raises BadFile."""
    if not content.strip():
        raise BadFile(FileFlaw.EMPTY)
    head = content[:2000].upper()
    found = (
        _read_ofx(content, currency)
        if b"OFXHEADER" in head or b"<OFX>" in head
        else _read_csv(_decoded(content), currency, locale, columns or {}, _MONTH_FIRST if month_first else _DAY_FIRST)
    )
    if len(found) > MOST_LINES:
        raise BadFile(FileFlaw.TOO_LONG, detail=str(MOST_LINES))
    return found


def _read_ofx(content: bytes, currency: str) -> list[FoundLine]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ofxtools, about banks that bend the format
            tree = OFXTree()
            tree.parse(io.BytesIO(content))
            statements = tree.convert().statements
    except Exception as problem:  # noqa: BLE001 - ofxtools raises whatever its parsing of tags and dates comes to
        raise BadFile(FileFlaw.NOT_OFX, detail=str(problem)) from None
    found = []
    for statement in statements:
        if statement.curdef != currency:
            raise BadFile(FileFlaw.WRONG_CURRENCY, detail=str(statement.curdef))
        account = getattr(statement.account, "acctid", "")
        for line in statement.transactions or ():
            if line.trnamt > 0:
                texts = (line.refnum, line.checknum, line.memo)
                found.append(
                    FoundLine(
                        fingerprint=_digest("ofx", account, line.fitid),
                        booked_on=line.dtposted.date(),
                        amount=rounded(line.trnamt, currency),
                        reference=_tidy(" ".join(str(text) for text in texts if text)),
                        payer=_tidy(line.name or getattr(line.payee, "name", "") or ""),
                    )
                )
    return found


def _read_csv(
    text: str, currency: str, locale: str, columns: Mapping[str, str], formats: Sequence[str]
) -> list[FoundLine]:
    first = text.split("\n", 1)[0]
    separator = max(";\t,|", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    places = _places(rows[0] if rows else [], columns)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for number, row in enumerate(rows[1:], 2):
        cell = {key: row[place].strip() if place < len(row) else "" for key, place in places.items()}
        if not any(cell.values()) or not cell["amount"]:
            continue
        amount = _amount(cell["amount"], currency, locale, number)
        if amount is None:
            continue
        day = _day(cell["day"], formats, number)
        said = (day.isoformat(), str(amount), cell.get("reference", ""), cell.get("payer", ""))
        seen[said] += 1
        found.append(
            FoundLine(
                fingerprint=_digest("csv", *said, str(seen[said])),
                booked_on=day,
                amount=amount,
                reference=_tidy(cell.get("reference", "")),
                payer=_tidy(cell.get("payer", "")),
            )
        )
    return found


def _places(titles: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Return where each column stands. Raises BadFile where day or amount is not found."""
    folded = [_folded(title) for title in titles]
    places = {}
    for key, usual in _TITLES.items():
        wanted = (_folded(columns[key]),) if columns.get(key) else usual
        place = next((folded.index(title) for title in wanted if title in folded), None)
        if place is not None:
            places[key] = place
        elif columns.get(key) or key in ("day", "amount"):
            raise BadFile(FileFlaw.NO_COLUMN, 1, columns.get(key) or key)
    return places


def _amount(text: str, currency: str, locale: str, line: int) -> Decimal | None:
    """Return what came in, None where nothing did. Raises BadFile."""
    try:
        return parse_amount(text, currency, locale)
    except BadAmount as bad:
        if bad.flaw in (AmountFlaw.NEGATIVE, AmountFlaw.ZERO):
            return None
        raise BadFile(FileFlaw.BAD_AMOUNT, line, text) from None


def _day(text: str, formats: Sequence[str], line: int) -> date:
    for pattern in ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", *formats):
        try:
            return datetime.strptime(text, pattern).date()  # noqa: DTZ007 - a day, not an instant
        except ValueError:
            continue
    raise BadFile(FileFlaw.BAD_DAY, line, text)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")  # what spreadsheets of Windows write


def _folded(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"\s+", " ", plain).strip().lower()


def _tidy(text: str) -> str:
    return " ".join(text.replace("\0", "").split())[:200]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
