"""Words of RouterOS's API and what they mean: the one step between octets on the wire and our values.

Nothing is cast: a password `123`, a name `no`, a serial `007` stay the text they are. No octet is lost: RouterOS
stores whatever a WinBox of any year sent, so text that is no UTF-8 is read as Windows-1252 and keeps its octets
(`ForeignText`). A field without a value is absent, as RouterOS sends it.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

from librouteros.exceptions import ProtocolError
from librouteros.protocol import decode_length, determine_length

from network.problems import Cause, RouterProblem, trap

Value = str | int | bool
Row = dict[str, str]

LONGEST_WORD = 4 << 20
"""Octets. Longer words are no API: RouterOS's own longest are scripts and files of some ten thousand."""

LONGEST_REPLY = 128 << 20


class ForeignText(str):
    """Text of a router that our text cannot hold as it is: sent back as the octets that it was.

    No UTF-8 is shown as Windows-1252 has it; a NUL, which no database takes, as a mark of replacement.
    """

    __slots__ = ("octets",)
    octets: bytes

    def __new__(cls, octets: bytes) -> "ForeignText":
        for encoding in ("utf-8", "cp1252", "latin-1"):  # five octets mean nothing in Windows-1252, none in Latin-1
            with suppress(UnicodeDecodeError):
                shown = octets.decode(encoding)
                break
        text = super().__new__(cls, shown.replace("\0", "\N{REPLACEMENT CHARACTER}"))
        text.octets = octets
        return text


def is_foreign(text: str) -> bool:
    """Tell whether a value was something else on the router than the text that we have.

    Once it has been through a database it is ordinary text, which would be written as UTF-8: keep the mark with it,
    and do not write such a value to the router unless a person changed it.
    """
    return isinstance(text, ForeignText)


def decoded(octets: bytes) -> str:
    """Return the text of a value; a ForeignText where it is no UTF-8, or holds a NUL."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return ForeignText(octets)
    return ForeignText(octets) if "\0" in text else text


def on_wire(value: Value) -> str:
    """Return a value as librouteros, set to latin-1, must get it for the octets of UTF-8 to leave.

    Raises RouterProblem for text that is no Unicode (half a surrogate pair).
    """
    if isinstance(value, ForeignText):
        return value.octets.decode("latin-1")
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    try:
        return text.encode().decode("latin-1")
    except UnicodeEncodeError:
        # The error itself would hold the whole text, which may be a password.
        raise RouterProblem(Cause.TRAP, "the value is not valid Unicode") from None


def attribute(name: str, value: Value) -> str:
    return f"={on_wire(name)}={on_wire(value)}"


def query(name: str, value: Value) -> str:
    return f"?{on_wire(name)}={on_wire(value)}"


class Sentences:
    """Takes octets as they come and gives whole sentences, each a list of words."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._words: list[bytes] = []
        self._position = 0

    @property
    def unfinished(self) -> bool:
        """Whether a sentence has begun that is not whole."""
        return bool(self._words) or self._position < len(self._buffer)

    def feed(self, octets: bytes) -> None:
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += octets

    def next(self) -> list[bytes] | None:
        """Return the next sentence, or None until more octets are fed. Raises RouterProblem (GARBAGE)."""
        buffer = self._buffer
        end = len(buffer)
        position = self._position
        while position < end:
            length = buffer[position]
            start = position + 1
            if length >= 0x80:
                try:
                    start += determine_length(buffer[position : position + 1])
                    if start > end:
                        break
                    length = decode_length(bytes(buffer[position:start]))
                except ProtocolError:
                    garbage(bytes(buffer[position : position + 16]))
                if length > LONGEST_WORD:
                    garbage(bytes(buffer[position : position + 16]))
            elif not length:
                position = self._position = start
                words, self._words = self._words, []
                if not words:  # RouterOS sends no empty sentences; one means nothing
                    continue
                return words
            if not self._words and start < end and buffer[start] != 0x21:
                garbage(bytes(buffer[position : position + 16]))  # every reply begins with "!"
            if start + length > end:
                break
            self._words.append(bytes(buffer[start : start + length]))
            position = self._position = start + length
        return None


class Reply:
    """Collects the sentences that answer one command."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._traps: list[str] = []
        self._octets = 0

    def take(self, sentence: list[bytes]) -> bool:
        """Add a sentence and tell whether the answer is complete.

        Raises RouterProblem: GARBAGE for what is no reply, CLOSED for `!fatal`, after which the router hangs up.
        """
        self._octets += sum(map(len, sentence))
        if self._octets > LONGEST_REPLY:
            raise RouterProblem(Cause.GARBAGE, f"an answer of more than {LONGEST_REPLY} octets")
        kind = sentence[0]
        if kind == b"!re":
            self.rows.append(dict(_pairs(sentence)))
            return False
        if kind == b"!done":
            row = dict(_pairs(sentence))
            if row:
                self.rows.append(row)
            return True
        if kind == b"!trap":
            words = dict(_pairs(sentence))
            self._traps.append(
                words.get("message", "") or " ".join(f"{name}={value}" for name, value in words.items() if value)
            )
            return False
        if kind == b"!fatal":
            raise RouterProblem(Cause.CLOSED, " ".join(decoded(word) for word in sentence[1:]))
        if kind != b"!empty":
            garbage(b" ".join(sentence)[:16])
        return False

    def result(self) -> list[Row]:
        """Return the rows. Raises RouterProblem when the router refused."""
        if self._traps:
            raise trap("; ".join(message.strip() for message in self._traps if message.strip()))
        return self.rows


def garbage(octets: bytes) -> NoReturn:
    """Raise the problem of octets that are no API. A TLS alert (RFC 8446 §5.1) tells that the port wants TLS."""
    if octets.startswith(b"\x15\x03"):
        raise RouterProblem(Cause.TLS, "the port answers with TLS") from None
    raise RouterProblem(Cause.GARBAGE, f"not RouterOS's API: {octets!r}") from None


def _pairs(sentence: list[bytes]) -> Iterator[tuple[str, str]]:
    """Give the fields of a sentence; `=name=value`, whose value may hold further signs."""
    for word in sentence[1:]:
        name, found, value = word[1:].partition(b"=")
        if word[:1] == b"=" and found:
            yield name.decode("latin-1"), decoded(value)
        elif word[:1] != b".":  # .tag and its like carry nothing for us
            garbage(word[:16])
