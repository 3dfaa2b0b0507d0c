"""Words and sentences of the RouterOS API, as octets.

A sentence is words and an empty word. A word is its length and its octets; the length takes one to five octets, by how
many leading ones its first octet has. RouterOS stores octets and not characters, so text is read as UTF-8 with every
octet that is none kept as a lone surrogate (`text`), and written back as it came (`octets`).
"""

from collections.abc import Iterable, Iterator

LONGEST_WORD = 16 * 1024 * 1024


class Malformed(Exception):
    """The octets are no sentence: a reserved first octet, or a word longer than anybody sends."""


def text(word: bytes) -> str:
    """Return a word as text that loses nothing."""
    return word.decode("utf-8", "surrogateescape")


def octets(word: str) -> bytes:
    """Return the octets of a text, also of one that was none."""
    return word.encode("utf-8", "surrogateescape")


def encode_length(length: int) -> bytes:
    """Return the prefix of a word of so many octets."""
    if length < 0x80:
        return bytes((length,))
    if length < 0x4000:
        return (length | 0x8000).to_bytes(2, "big")
    if length < 0x200000:
        return (length | 0xC00000).to_bytes(3, "big")
    if length < 0x10000000:
        return (length | 0xE0000000).to_bytes(4, "big")
    return b"\xf0" + length.to_bytes(4, "big")


def encode_sentence(words: Iterable[bytes]) -> bytes:
    """Return a sentence as it goes on the wire, with the empty word that ends it."""
    parts: list[bytes] = []
    for word in words:
        parts.append(encode_length(len(word)))
        parts.append(word)
    parts.append(b"\0")
    return b"".join(parts)


class Decoder:
    """Takes octets as TCP cuts them and gives whole sentences."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._words: list[bytes] = []

    @property
    def in_the_middle(self) -> bool:
        """Whether a sentence has begun and not ended."""
        return bool(self._buffer or self._words)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield the sentences that these octets complete; an empty sentence is left out. Raises Malformed."""
        self._buffer += data
        position = 0
        try:
            while (found := self._word_at(position)) is not None:
                word, position = found
                if word:
                    self._words.append(word)
                elif self._words:
                    sentence, self._words = self._words, []
                    yield sentence
        finally:
            del self._buffer[:position]

    def _word_at(self, position: int) -> tuple[bytes, int] | None:
        if position >= len(self._buffer):
            return None
        more, bits = _prefix(self._buffer[position])
        start = position + 1 + more
        if start > len(self._buffer):
            return None
        length = int.from_bytes(bytes((bits,)) + self._buffer[position + 1 : start], "big")
        if length > LONGEST_WORD:
            raise Malformed(f"a word of {length} octets")
        if start + length > len(self._buffer):
            return None
        return bytes(self._buffer[start : start + length]), start + length


def _prefix(first: int) -> tuple[int, int]:
    """Return how many octets of length follow the first, and the bits of the length that the first holds."""
    if first < 0x80:
        return 0, first
    if first < 0xC0:
        return 1, first & 0x3F
    if first < 0xE0:
        return 2, first & 0x1F
    if first < 0xF0:
        return 3, first & 0x0F
    if first == 0xF0:
        return 4, 0
    raise Malformed(f"a word that begins with the reserved octet {first:#04x}")
