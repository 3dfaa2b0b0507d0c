"""A candidate: one client as a router or a file has it, read into our values before anybody has decided anything.

What stands in a comment was written by people for people. A name, a phone number, a position and a rate are taken out
of it only where they are clear; the comment itself is always kept. Whatever a source holds stays text: quotes, line
breaks, markup and formulas mean nothing here.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache

from core.rates import Burst, RateLimit

LONGEST_TEXT = 500
"""Characters of a text that is kept; RouterOS allows comments of any length."""


class Finding(StrEnum):
    """What somebody should know about a candidate. Those in `BARRIERS` keep it from being imported as it is."""

    NO_NAME = "no_name"
    NO_PASSWORD = "no_password"  # noqa: S105
    MASKED_PASSWORD = "masked_password"  # noqa: S105 - RouterOS hides it from a user without policy `sensitive`
    HASHED_PASSWORD = "hashed_password"  # noqa: S105 - detail: attribute
    BAD_PASSWORD = "bad_password"  # noqa: S105 - longer than RADIUS carries, or with signs that do not print
    NO_ADDRESS = "no_address"
    NO_MAC = "no_mac"
    BAD_ADDRESS = "bad_address"  # detail: value
    BAD_MAC = "bad_mac"  # detail: value
    NETWORK = "network"  # a queue for a whole network; detail: value
    SEVERAL_ADDRESSES = "several_addresses"  # detail: value
    INTERFACE = "interface"  # a queue for an interface; detail: value
    PARENT = "parent"  # a queue that holds others; detail: count
    TOO_FEW_FIELDS = "too_few_fields"  # detail: expected, found
    BAD_RATE = "bad_rate"  # detail: value
    BAD_DATE = "bad_date"  # detail: value
    BAD_PRICE = "bad_price"  # detail: value
    PRICE = "price"  # what a line costs a month where it comes from; detail: value as typed, amount
    UNLIMITED = "unlimited"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    DYNAMIC = "dynamic"  # a lease that the pool gave away
    OTHER_SERVICE = "other_service"  # a secret for VPNs; detail: service
    RATE_FROM_TEXT = "rate_from_text"  # detail: value
    FOREIGN_TEXT = "foreign_text"  # not UTF-8 on the router
    NO_SERVICE = "no_service"  # nothing that a line could be told by: a person without a service


BARRIERS = frozenset(
    {
        Finding.NO_NAME, Finding.NO_PASSWORD, Finding.MASKED_PASSWORD, Finding.HASHED_PASSWORD, Finding.NO_ADDRESS,
        Finding.NO_MAC, Finding.BAD_ADDRESS, Finding.BAD_MAC, Finding.BAD_PASSWORD, Finding.NETWORK,
        Finding.SEVERAL_ADDRESSES, Finding.INTERFACE, Finding.PARENT, Finding.TOO_FEW_FIELDS,
    }
)  # fmt: skip
DOUBTS = frozenset({Finding.DYNAMIC, Finding.OTHER_SERVICE, Finding.UNLIMITED, Finding.BLOCKED, Finding.NO_SERVICE})
"""What leaves a candidate out unless a person takes it in."""

WITHOUT_SERVICE = "none"
"""The access method of a person who has no service, or none yet: a subscriber is made of them and nothing else."""

Findings = tuple[tuple[Finding, Mapping[str, str]], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One client as found. `line` counts from 1: the file's line, or the place in the router's list.

    `rate` is None where the source gives none. `name` is what the service would be called, `subscriber` what the
    person seems to be called. `custom` is what stands under the operator's own fields, by their id, as it was typed.
    `ours` is the service that a queue we keep is for.
    """

    line: int
    access_method: str
    name: str
    key: str = ""
    password: str | None = field(default=None, repr=False)
    framed_ip: str | None = None
    mac: str | None = None
    rate: RateLimit | None = None
    profile: str = ""
    comment: str = ""
    disabled: bool = False
    subscriber: str = ""
    phone: str | None = None
    email: str | None = None
    tax_id: str | None = None
    address: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    paid_until: date | None = None
    custom: Mapping[int, str] = field(default_factory=dict)
    findings: Findings = ()
    ours: int | None = None

    @property
    def barred(self) -> bool:
        """Whether something keeps it from being imported."""
        return any(finding in BARRIERS for finding, _detail in self.findings)

    @property
    def doubtful(self) -> bool:
        return any(finding in DOUBTS for finding, _detail in self.findings)


# Rates.

_RATE = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([kmg]?)(?:i?b(?:it)?(?:/s|ps|s)?)?\Z", re.IGNORECASE)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
HIGHEST = 10**12


def bits(text: str, unit: str = "") -> int | None:
    """Return a rate in bit/s from text such as `10M`, `10240k`, `512000`, `2,5 Mbps`; None when it is no rate.

    `unit` is what a number without one is counted in. RouterOS's k is 1000 (manual, Queues).
    """
    found = _RATE.match(text.strip())
    if not found:
        return None
    number, letter = found.groups()
    try:
        value = int(Decimal(number.replace(",", ".")) * _UNITS[(letter or unit).lower()])
    except InvalidOperation:
        return None
    return value if value <= HIGHEST else None


def router_pair(text: str) -> tuple[int, int] | None:
    """Return (download, upload) in bit/s of RouterOS's `upload/download`; one value counts for both."""
    upload, slash, download = text.partition("/")
    pair = bits(download if slash else upload), bits(upload)
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


def router_rate(text: str) -> RateLimit | None:
    """Return the rate of a `rate-limit` (`rx/tx burst/burst threshold/threshold seconds/seconds priority min/min`).

    Zero is no limit, and no RateLimit can say so: None. Nor can it say a burst in one direction only, which is left
    out. 10240k, with which people write ten megabits, is not the same as 10M: 2 % of a limit are kept as they are.
    """
    words = text.split()
    pair = router_pair(words[0]) if words else None
    if pair is None or not pair[0] or not pair[1]:
        return None
    burst = None
    if len(words) >= 4:
        peak, threshold = router_pair(words[1]), router_pair(words[2])
        burst = _burst(pair, peak, threshold, words[3])
    return RateLimit(pair[0], pair[1], burst)


def queue_rate(row: Mapping[str, str]) -> RateLimit | None:
    """Return the rate of a row of /queue/simple; None where it has no limit in one direction."""
    pair = router_pair(row.get("max-limit", ""))
    if pair is None or not pair[0] or not pair[1]:
        return None
    peak, threshold = router_pair(row.get("burst-limit", "")), router_pair(row.get("burst-threshold", ""))
    return RateLimit(pair[0], pair[1], _burst(pair, peak, threshold, row.get("burst-time", "")))


def _burst(
    limit: tuple[int, int], peak: tuple[int, int] | None, threshold: tuple[int, int] | None, time: str
) -> Burst | None:
    seconds = [_seconds(part) for part in time.split("/")]
    if peak is None or threshold is None or not all(seconds) or not all(peak) or not all(threshold):
        return None
    if peak[0] < limit[0] or peak[1] < limit[1]:
        return None
    return Burst(peak[0], peak[1], threshold[0], threshold[1], max(second or 0 for second in seconds))


def _seconds(text: str) -> int | None:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not found or not any(found.groups()):
        return None
    return int(found[1] or 0) * 60 + int(found[2] or 0)


# What people write into comments.

_IN_TEXT = re.compile(
    r"(?<![\w.,/])([0-9]{1,4}(?:[.,][0-9])?)\s*(?:/\s*([0-9]{1,4}(?:[.,][0-9])?)\s*)?"
    r"(k|m|g|megas?|mbps|mb/s|mbit(?:/s)?|mb|kbps|kb)(?![\w])(?:\s*/\s*([0-9]{1,4})\s*(?:k|m|g|mbps|mb|megas?)(?!\w))?",
    re.IGNORECASE,
)
_POSITION = re.compile(r"(?<![\d.])(-?\d{1,2}\.\d{4,})\s*[,; ]\s*(-?\d{1,3}\.\d{4,})(?![\d.])")
_PHONE_MARKED = re.compile(
    r"(?:tel(?:[eé]fono|f)?|cel(?:ular)?|m[oó]vil|phone|mobile|whats?app|wa|ph|cell)\.?\s*[:#=]?\s*"
    r"(\+?\d[\d ().-]{5,18}\d)",
    re.IGNORECASE,
)
_PHONE_BARE = re.compile(r"(?<![\w.:/])(\+\d[\d ().-]{7,18}\d|\d{9,10}|\d{2,4}[ -]\d{3,4}[ -]\d{3,4})(?![\w.:/])")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\d.])")
_MAC = re.compile(r"(?<![0-9a-f:])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE)
_NOISE = re.compile(
    r"\b(?:plan|clientes?|client|customer|cuenta|internet|residencial|queue|cola|pppoe|dhcp|gps|ubicaci[oó]n|coord(?:s"
    r"|enadas)?|tel|telf|telefono|teléfono|cel|celular|whatsapp|ip|mac)\b\.?\s*[:#=]?",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?:no\s+)?(?:paga|pag[oó]|debe|moros[oa]|cortad[oa]|suspendid[oa]|instalad[oa]|instalaci[oó]n|revisar|duplicad[oa]|cambi"
    r"ar|pendiente|baja|unpaid|paid|owes|installed|suspended|check|cut)\b",
    re.IGNORECASE,
)
_EDGES = " \t-–—_|/,;:.#*=+@&"


@dataclass(frozen=True, slots=True)
class Told:
    """What a text says clearly."""

    name: str = ""
    phone: str | None = None
    email: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    download: int | None = None
    upload: int | None = None


def told_by(text: str) -> Told:
    """Read a comment such as `Juan Pérez - 10M - tel 555 123 4567`."""
    rest = one_line(text)
    latitude = longitude = None
    if found := _POSITION.search(rest):
        degrees = Decimal(found[1]), Decimal(found[2])
        if abs(degrees[0]) <= 90 and abs(degrees[1]) <= 180:
            latitude, longitude = (degree.quantize(Decimal("0.000001")) for degree in degrees)
            rest = _without(rest, found)
    email = None
    if found := _EMAIL.search(rest):
        email, rest = found[0], _without(rest, found)
    rest = _MAC.sub(" ", _ADDRESS.sub(" ", rest))
    phone = None
    if found := _PHONE_MARKED.search(rest) or _PHONE_BARE.search(rest):
        phone, rest = found[1].strip(), _without(rest, found)
    download = upload = None
    if found := _IN_TEXT.search(rest):
        first, second, unit, third = found.groups()
        letter = unit[0].lower()
        download = bits(first, letter)
        upload = bits(second or third, letter) if second or third else None
        rest = _without(rest, found)
    return Told(name_in(rest), phone, email, latitude, longitude, download, upload)


def _without(text: str, found: "re.Match[str]") -> str:
    return f"{text[: found.start()]} | {text[found.end() :]}"


def name_in(text: str) -> str:
    """Return what seems to be a person's or a company's name in a text; "" when there is no letter in it.

    Of several parts between dashes, bars or semicolons, the first with two letters in a row is taken. Remarks
    such as `debe 2 meses`, and signs of markup, formulas and scripts, are nobody's name.
    """
    for part in re.split(r"\s+[-–—|]+\s*|[|;\t]|\s*[–—]\s*|-\s|,\s*(?=\d)", _NOISE.sub(" ", one_line(text))):
        words = " ".join(part.split()).strip(_EDGES)
        if (
            re.search(r"[^\W\d_]{2}", words)
            and not _REMARK.match(words)
            and not re.search(r"[<>={}\[\]$@\\]|\w\(", words)
        ):
            return words[:200]
    return ""


def name_of_login(login: str) -> str:
    """Return a readable name for a user or queue name: `juan.perez` → `Juan Perez`; others as they are."""
    words = [word for word in re.split(r"[._\-\s]+", login.partition("@")[0]) if word]
    if len(words) > 1 and all(word.isalpha() and word.islower() for word in words):
        return " ".join(word.capitalize() for word in words)
    return login


def one_line(text: str) -> str:
    """Return a text as a line: what does not print becomes a blank, and it is no longer than what is kept."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:LONGEST_TEXT]


# Comparing names.

_SOUND = (("ll", "y"), ("qu", "k"), ("ph", "f"), ("h", ""), ("v", "b"), ("z", "s"), ("x", "s"), ("w", "gu"))


def folded(text: str) -> str:
    """Return a text in small letters without accents."""
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in split if not unicodedata.combining(character))


@lru_cache(maxsize=20_000)
def sound_of(name: str) -> str:
    """Return what two names have in common that a Spanish ear cannot tell apart, whatever the order of their words.

    `Gonzáles Jiménez, Yéssica` and `Jessica Gimenez Gonzalez` give the same; "" for a name of less than two words,
    which would make all the Marías one.
    """
    words = [word for word in re.findall(r"[a-z]+", folded(name)) if len(word) > 2]
    if len(words) < 2:
        return ""
    return " ".join(sorted(_sound_of_word(word) for word in words))


def _sound_of_word(word: str) -> str:
    for written, heard in _SOUND:
        word = word.replace(written, heard)
    word = re.sub(r"g(?=[ei])", "j", word)
    word = re.sub(r"c(?=[ei])", "s", word).replace("c", "k")
    word = re.sub(r"(.)\1+", r"\1", word)
    word = re.sub(r"\A[jy](?=[aeiou])", "y", word)
    return re.sub(r"(?<!\A)es\Z|(?<!\A)s\Z", "s", word)
