"""CSV files: from a spreadsheet, from Splynx, UISP, WispHub, Mikhmon, from anybody.

Encoding and separator are found out; which column means what is guessed from its title in English or Spanish and
confirmed by a person; files of other programs are known by theirs (`presets`). A row that does not fit is reported
with its line and loses nothing of the others.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address, ip_network

from aaa.facts import AccessMethod
from core.mac import find_mac
from core.money import BadAmount, parse_amount
from core.rates import RateLimit
from network.importing.candidate import (
    WITHOUT_SERVICE,
    Candidate,
    Finding,
    Findings,
    bits,
    folded,
    name_of_login,
    one_line,
    told_by,
)
from network.importing.sources.presets import Preset, preset_of

SEPARATORS = (",", ";", "\t", "|")
MOST_ROWS = 50_000
COLUMNS = (
    "name", "first_name", "last_name", "login", "password", "framed_ip", "mac", "plan", "rate", "download", "upload",
    "comment", "phone", "email", "tax_id", "address", "latitude", "longitude", "position", "paid_until", "state",
    "price",
)  # fmt: skip

OWN = "custom-"
"""In front of the id of a field of the operator's own, where a column means that."""

# Titles as they stand in the files of ISPs and of other programs, folded and without signs.
_TITLES: Mapping[str, str] = {
    "name": "name nombre cliente client customer subscriber suscriptor abonado titular fullname nombrecompleto"
    " razonsocial nombrecliente clientname customername company empresa",
    "first_name": "firstname nombres nombre1 primernombre",
    "last_name": "lastname apellido apellidos surname",
    "login": "login user username usuario usuariopppoe userpppoe pppoeuser pppoe pppoeusername secret cuenta service"
    " usuarioservicio",
    "password": "password contrasena contraseña clave pass pwd value passwordpppoe pppoepassword clavepppoe",
    "framed_ip": "ip ipaddress direccionip ipv4 framedip framedipaddress ipfija staticip remoteaddress target ips"
    " ipservicio dispositivoip",
    "mac": "mac macaddress direccionmac callerid maccpe callingstationid",
    "plan": "plan profile perfil paquete package tarifa tariff serviceplan plandeinternet groupname tariffname",
    "rate": "rate ratelimit velocidad speed maxlimit anchodebanda bandwidth megas mikrotikratelimit",
    "download": "download bajada descarga down rx velocidadbajada downloadspeed speeddownload",
    "upload": "upload subida carga up tx velocidadsubida uploadspeed speedupload",
    "comment": "comment comentario comentarios nota notas notes note observaciones descripcion description",
    "phone": "phone telefono celular movil mobile tel cel whatsapp phonenumber telefonos mobilephone contacto",
    "email": "email correo mail correoelectronico emailaddress",
    "tax_id": "taxid rfc nit ruc cuit cedula dni rut cpf documento identificacion dnicedula idnumber",
    "address": "address direccion domicilio calle street street1 fulladdress direccionprincipal",
    "latitude": "latitude latitud lat gpslat addressgpslat",
    "longitude": "longitude longitud lon lng gpslon addressgpslon",
    "position": "gps coordenadas coordinates ubicacion position location",
    "paid_until": "paiduntil pagadohasta vencimiento vence corte fechacorte expiration expira duedate proximopago"
    " fechadecorte",
    "state": "state estado status estatus activo active",
    "price": "price precio mensualidad costo cuota renta monthlyprice monthlyfee preciomensual cuotamensual"
    " costomensual valorplan precioplan",
}
_MEANING = {title: column for column, titles in _TITLES.items() for title in titles.split()}
_OFF = {
    "suspended", "suspendido", "cortado", "blocked", "bloqueado", "disabled", "inactive", "inactivo", "no", "0",
    "false", "moroso", "deshabilitado",
}  # fmt: skip
_DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d", "%d/%m/%y")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file taken apart: titles, and rows with the line at which each begins."""

    separator: str
    titles: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """How a file is to be read: the meaning of each column (a name of COLUMNS, OWN with an id, or "" for none).

    `unit` is what a rate without one is counted in (`k`, `m`, or "" for bit/s). `upload_first`: pairs are written as
    RouterOS does, upload/download. Prices are in `currency`, written as in `locale`.
    """

    access_method: str
    meanings: tuple[str, ...]
    unit: str = "m"
    upload_first: bool = False
    currency: str = "USD"
    locale: str = "en_US"

    def document(self) -> dict[str, object]:
        return {
            "access_method": self.access_method,
            "meanings": list(self.meanings),
            "unit": self.unit,
            "upload_first": self.upload_first,
            "currency": self.currency,
            "locale": self.locale,
        }

    @classmethod
    def of(cls, document: Mapping[str, object]) -> "Columns":
        meanings = document["meanings"]
        assert isinstance(meanings, list)
        return cls(
            str(document["access_method"]),
            tuple(map(str, meanings)),
            str(document["unit"]),
            bool(document["upload_first"]),
            str(document.get("currency", "USD")),  # an import begun before prices were read has none
            str(document.get("locale", "en_US")),
        )


def decoded(octets: bytes) -> str:
    """Return the text of a file: with a byte order mark as it says, else UTF-8, else Windows-1252, as Excel writes."""
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = octets.decode("utf-16", errors="replace")
    else:
        try:
            text = octets.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = octets.decode("cp1252", errors="replace")
    return text.replace("\0", "")


def take_apart(text: str) -> CsvFile:
    """Read a file. An empty one has no titles."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text[:4].lower() == "sep=":  # Excel's own way to name the separator
        first, _, rest = text.partition("\n")
        separator = first[4:5] or ","
        return _read("\n" + rest, separator)
    return _read(text, separator_of(text))


def separator_of(text: str) -> str:
    """Return the separator that cuts the first lines into the most fields, and into equally many."""
    sample = text[:64_000]

    def worth(separator: str) -> tuple[bool, int]:
        widths = [len(row) for row in list(csv.reader(io.StringIO(sample), delimiter=separator))[:20] if row]
        return len(set(widths[:-1])) == 1 and widths[0] > 1, widths[0] if widths else 0

    with _long_fields():
        return max(SEPARATORS, key=worth)


def plain_title(title: str) -> str:
    """Return a title in small letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", folded(title))


def program_of(file: CsvFile) -> Preset | None:
    """Return the program that wrote a file, where its titles tell."""
    return preset_of([plain_title(title) for title in file.titles])


def guess_columns(file: CsvFile, own: Mapping[str, int] | None = None) -> Columns:
    """Guess what the columns mean, and how the services connect. `own` are the operator's fields: title, and id."""
    fields = {plain_title(title): f"{OWN}{field_id}" for title, field_id in (own or {}).items()}
    preset = program_of(file)
    known = preset.meanings if preset is not None else {}
    meanings: list[str] = []
    for title in map(plain_title, file.titles):
        meaning = known.get(title, fields.get(title) or _MEANING.get(title, ""))
        meanings.append(meaning if meaning not in meanings else "")
    method = AccessMethod.PPPOE
    if preset is not None and preset.access_method is not None:
        method = preset.access_method
    elif "password" not in meanings or "login" not in meanings:
        if "mac" in meanings:
            method = AccessMethod.MAC
        elif "framed_ip" in meanings:
            method = AccessMethod.QUEUE
        elif "login" not in meanings and any(meaning in meanings for meaning in ("name", "first_name")):
            return Columns(WITHOUT_SERVICE, tuple(meanings))
    rates = [
        row[at]
        for _line, row in file.rows[:50]
        for at, meaning in enumerate(meanings)
        if meaning in ("rate", "download") and at < len(row)
    ]
    numbers = [int(rate) for rate in rates if rate.isascii() and rate.isdigit()]
    unit = "m" if not numbers or max(numbers) < 1000 else "k" if max(numbers) < 1_000_000 else ""
    return Columns(method.value, tuple(meanings), unit)


def candidates(file: CsvFile, columns: Columns) -> list[Candidate]:
    """Return a candidate for each row of a file, those that cannot be used too."""
    return [_candidate(line, row, file, columns) for line, row in file.rows]


def _read(text: str, separator: str) -> CsvFile:
    with _long_fields():
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        titles: tuple[str, ...] = ()
        rows: list[tuple[int, tuple[str, ...]]] = []
        before = 0
        for row in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if not titles:
                titles = tuple(one_line(title) for title in row)
            elif len(rows) == MOST_ROWS:
                return CsvFile(separator, titles, tuple(rows), truncated=True)
            else:
                rows.append((line, tuple(row)))
    return CsvFile(separator, titles, tuple(rows))


class _long_fields:  # noqa: N801 - used as a function
    """The csv module refuses fields over 131,072 characters, also where a quote was merely forgotten."""

    def __enter__(self) -> None:
        self._before = csv.field_size_limit(1 << 24)

    def __exit__(self, *_problem: object) -> None:
        csv.field_size_limit(self._before)


def _candidate(line: int, row: Sequence[str], file: CsvFile, columns: Columns) -> Candidate:
    cells = {meaning: row[at].strip() for at, meaning in enumerate(columns.meanings) if meaning and at < len(row)}
    findings: Findings = ()
    if len(row) < len(file.titles) and any(meaning and at >= len(row) for at, meaning in enumerate(columns.meanings)):
        findings = ((Finding.TOO_FEW_FIELDS, {"expected": str(len(file.titles)), "found": str(len(row))}),)
    return from_cells(line, cells, columns, findings)


def from_cells(line: int, cells: Mapping[str, str], columns: Columns, findings: Findings = ()) -> Candidate:
    """Return the candidate that named cells describe."""
    method = columns.access_method
    framed_ip, found = fixed_address(cells.get("framed_ip", ""), needed=method == AccessMethod.QUEUE)
    findings += found
    mac, found = _mac(cells.get("mac", "") or (cells.get("login", "") if method == AccessMethod.MAC else ""), method)
    findings += found
    rate, found = _rate(cells, columns)
    findings += found
    paid_until, found = day_in(cells.get("paid_until", ""))
    findings += found + _price(cells.get("price", ""), columns)
    login, password = cells.get("login", ""), cells.get("password") or None
    named = bool(cells.get("name") or cells.get("first_name") or cells.get("last_name"))
    if method != WITHOUT_SERVICE and named and not (login or password or framed_ip or mac or cells.get("framed_ip")):
        method, findings = WITHOUT_SERVICE, ((Finding.NO_SERVICE, {}),)
    told = told_by(cells.get("comment", ""))
    person = one_line(cells.get("name") or f"{cells.get('first_name', '')} {cells.get('last_name', '')}")
    if method in (AccessMethod.PPPOE, AccessMethod.HOTSPOT):
        name = login
        if not login:
            findings += ((Finding.NO_NAME, {}),)
        if password is None:
            findings += ((Finding.NO_PASSWORD, {}),)
    elif method == AccessMethod.MAC:
        name, password = mac or "", None
    elif method == WITHOUT_SERVICE:
        name, password, framed_ip, mac, rate = "", None, None, None, None
    else:
        name, password = one_line(login) or framed_ip or "", None
    latitude, longitude = _position(cells)
    return Candidate(
        line=line,
        access_method=method,
        name=name,
        key=one_line(login or cells.get("framed_ip", "") or cells.get("mac", "")),
        password=password,
        framed_ip=framed_ip,
        mac=mac,
        rate=rate,
        profile=one_line(cells.get("plan", "")),
        comment=cells.get("comment", ""),
        disabled=folded(cells.get("state", "")) in _OFF,
        subscriber=person or told.name or name_of_login(one_line(login)) or name,
        phone=one_line(cells.get("phone", "")) or told.phone,
        email=one_line(cells.get("email", "")) or told.email,
        tax_id=one_line(cells.get("tax_id", "")) or None,
        address=one_line(cells.get("address", "")) or None,
        latitude=latitude if latitude is not None else told.latitude,
        longitude=longitude if latitude is not None else told.longitude,
        paid_until=paid_until,
        custom={int(key[len(OWN) :]): value for key, value in cells.items() if key.startswith(OWN) and value},
        findings=findings + (((Finding.DISABLED, {}),) if folded(cells.get("state", "")) in _OFF else ()),
    )


def fixed_address(text: str, *, needed: bool) -> tuple[str | None, Findings]:
    """Return the one IPv4 address that a text is, or why it is none. `needed`: nothing is a finding too."""
    if not text:
        return None, ((Finding.NO_ADDRESS, {}),) if needed else ()
    parts = [part for part in re.split(r"[\s,;]+", text) if part]
    if len(parts) > 1:
        return None, ((Finding.SEVERAL_ADDRESSES, {"value": one_line(text)[:120]}),)
    try:
        network = ip_network(text, strict=False)
        if network.prefixlen == network.max_prefixlen and isinstance(network.network_address, IPv4Address):
            return str(network.network_address), ()
    except ValueError:
        pass
    return None, ((Finding.BAD_ADDRESS, {"value": one_line(text)[:80]}),)


def _mac(text: str, method: str) -> tuple[str | None, Findings]:
    if not text:
        return None, ((Finding.NO_MAC, {}),) if method == AccessMethod.MAC else ()
    mac = find_mac(text)
    return mac, () if mac else ((Finding.BAD_MAC, {"value": one_line(text)[:80]}),)


def _rate(cells: Mapping[str, str], columns: Columns) -> tuple[RateLimit | None, Findings]:
    written = cells.get("rate", "").split(" ")[0] if "/" in cells.get("rate", "") else cells.get("rate", "")
    first, slash, second = written.partition("/")
    if cells.get("download") or cells.get("upload"):
        first, slash, second = cells.get("download", ""), "/", cells.get("upload", "")
    elif columns.upload_first and slash:
        first, second = second, first
    if not first.strip():
        return None, ()
    download = bits(first, columns.unit)
    upload = bits(second, columns.unit) if slash and second.strip() else download
    if download is None or upload is None:
        told = told_by(first)
        if told.download is None:
            return None, ((Finding.BAD_RATE, {"value": one_line(written or first)[:80]}),)
        return RateLimit(told.download, told.upload or told.download), (
            (Finding.RATE_FROM_TEXT, {"value": one_line(written)[:80]}),
        )
    if not download or not upload:
        return None, ((Finding.UNLIMITED, {}),)
    return RateLimit(download, upload), ()


def day_in(text: str) -> tuple[date | None, Findings]:
    """Return the day that a text is; days stand before months, as in all of Latin America."""
    if not text:
        return None, ()
    for form in _DAYS:
        try:
            return datetime.strptime(text.split("T")[0].split(" ")[0], form).date(), ()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None, ((Finding.BAD_DATE, {"value": one_line(text)[:40]}),)


def _price(text: str, columns: Columns) -> Findings:
    """Return what a row says that it costs. It is only told: what somebody pays is a matter of their plan."""
    if not text:
        return ()
    value = one_line(text)[:40]
    try:
        amount = parse_amount(text, columns.currency, columns.locale, zero=True)
    except BadAmount:
        return ((Finding.BAD_PRICE, {"value": value}),)
    return ((Finding.PRICE, {"value": value, "amount": f"{amount:f}"}),)


def _position(cells: Mapping[str, str]) -> tuple[Decimal | None, Decimal | None]:
    if "position" in cells:
        told = told_by(cells["position"])
        return told.latitude, told.longitude
    try:
        latitude, longitude = (Decimal(cells.get(name, "").replace(",", ".")) for name in ("latitude", "longitude"))
    except InvalidOperation:
        return None, None
    if not (latitude.is_finite() and longitude.is_finite() and abs(latitude) <= 90 and abs(longitude) <= 180):
        return None, None
    return latitude.quantize(Decimal("0.000001")), longitude.quantize(Decimal("0.000001"))
