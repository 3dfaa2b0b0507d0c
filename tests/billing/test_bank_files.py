"""Bank statements as banks write them: OFX, and CSV of several countries."""

from datetime import date
from decimal import Decimal

import pytest

from billing.bank_files import BadFile, FileFlaw, read_statement

OFX = """OFXHEADER:100
DATA:OFXSGML
VERSION:102
SECURITY:NONE
ENCODING:USASCII
CHARSET:1252
COMPRESSION:NONE
OLDFILEUID:NONE
NEWFILEUID:NONE

<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS><DTSERVER>20270210120000<LANGUAGE>SPA</SONRS></SIGNONMSGSRSV1>
<BANKMSGSRSV1><STMTTRNRS><TRNUID>1<STATUS><CODE>0<SEVERITY>INFO</STATUS>
<STMTRS><CURDEF>MXN<BANKACCTFROM><BANKID>012<ACCTID>0123456789<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20270201<DTEND>20270210
<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20270205<TRNAMT>300.00<FITID>A1<NAME>ANA LOPEZ<MEMO>factura 1041</STMTTRN>
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20270206<TRNAMT>-45.50<FITID>A2<NAME>COMISION</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>1000.00<DTASOF>20270210</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""


def test_ofx_gives_what_came_in():
    (line,) = read_statement(OFX.encode(), "MXN", "es_MX")
    assert (line.booked_on, line.amount, line.reference, line.payer) == (
        date(2027, 2, 5), Decimal("300.00"), "factura 1041", "ANA LOPEZ",
    )  # fmt: skip
    assert read_statement(OFX.encode(), "MXN", "es_MX")[0].fingerprint == line.fingerprint
    other = OFX.replace("<FITID>A1", "<FITID>B1")
    assert read_statement(other.encode(), "MXN", "es_MX")[0].fingerprint != line.fingerprint


@pytest.mark.parametrize(
    ("content", "currency", "locale", "expected"),
    [
        pytest.param(
            "Fecha,Concepto,Cargo,Abono,Ordenante\n05/02/2027,factura 1041,,\"1,234.56\",Ana López\n06/02/2027,x,9,,\n",
            "MXN", "es_MX", (date(2027, 2, 5), Decimal("1234.56"), "factura 1041", "Ana López"), id="Mexico",
        ),
        pytest.param(
            "Fecha valor;Importe;Concepto;Nombre\n05.02.2027;1.234,56;recibo;Ana López\n06.02.2027;-9,00;x;y\n",
            "EUR", "es_ES", (date(2027, 2, 5), Decimal("1234.56"), "recibo", "Ana López"), id="Spain",
        ),
        pytest.param(
            "\ufeffDate\tAmount\tDescription\n2027-02-05\t$1,234.56\tinvoice 7\n",
            "USD", "en_US", (date(2027, 2, 5), Decimal("1234.56"), "invoice 7", ""), id="tabs and a mark at the front",
        ),
    ],
)  # fmt: skip
def test_csv_gives_what_came_in(content, currency, locale, expected):
    (line,) = read_statement(content.encode(), currency, locale)
    assert (line.booked_on, line.amount, line.reference, line.payer) == expected


def test_columns_may_be_named_and_the_month_may_stand_first():
    content = "Cuándo,Cuánto,Quién\n02/05/2027,300,Ana\n".encode("cp1252")
    columns = {"day": "cuando", "amount": "CUÁNTO", "payer": "Quién"}
    (line,) = read_statement(content, "MXN", "es_MX", columns, month_first=True)
    assert (line.booked_on, line.amount, line.payer) == (date(2027, 2, 5), Decimal("300.00"), "Ana")


def test_two_deposits_that_look_alike_are_two():
    content = b"Date,Amount\n2027-02-05,300\n2027-02-05,300\n"
    first, second = read_statement(content, "MXN", "es_MX")
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("content", "flaw", "line"),
    [
        (b"  ", FileFlaw.EMPTY, 0),
        (b"<OFX><broken", FileFlaw.NOT_OFX, 0),
        (OFX.replace("MXN", "USD").encode(), FileFlaw.WRONG_CURRENCY, 0),
        (b"a,b\n1,2\n", FileFlaw.NO_COLUMN, 1),
        (b"Date,Amount\n2027-02-05,300\nyesterday,5\n", FileFlaw.BAD_DAY, 3),
        (b"Date,Amount\n2027-02-05,lots\n", FileFlaw.BAD_AMOUNT, 2),
        (b"\x00\x01\x02\xff", FileFlaw.NO_COLUMN, 1),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(content, flaw, line):
    with pytest.raises(BadFile) as bad:
        read_statement(content, "MXN", "es_MX")
    assert (bad.value.flaw, bad.value.line) == (flaw, line)
