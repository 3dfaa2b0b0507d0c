"""The octets of the RouterOS API: the manual's vectors, and that nothing is lost however TCP cuts it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.routeros.login import answers, challenge_answer
from lab.routeros.wire import LONGEST_WORD, Decoder, Malformed, encode_length, encode_sentence, octets, text


@pytest.mark.parametrize(
    ("length", "prefix"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8080"),
        (0x3FFF, "bfff"),
        (0x4000, "c04000"),
        (0x1FFFFF, "dfffff"),
        (0x200000, "e0200000"),
        (0xFFFFFFF, "efffffff"),
        (0x10000000, "f010000000"),
    ],
)
def test_lengths_are_those_of_the_manual(length: int, prefix: str) -> None:
    assert encode_length(length).hex() == prefix


def test_the_login_answer_is_that_of_the_manual() -> None:
    challenge = bytes.fromhex("93b438ec9b80057c06dd9fe67d56aa9a")
    assert challenge_answer(b"", challenge) == "00e134102a9d330dd7b1849fedfea3cb57"
    assert answers("00E134102A9D330DD7B1849FEDFEA3CB57", b"", challenge)
    assert not answers("00e134102a9d330dd7b1849fedfea3cb57", b"x", challenge)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6), max_size=5), st.data())
def test_sentences_come_out_as_they_went_in_however_they_are_cut(
    sentences: list[list[bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode_sentence(words) for words in sentences)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    read = [
        sentence
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for sentence in decoder.feed(stream[start:end])
    ]
    assert read == sentences
    assert not decoder.in_the_middle


@pytest.mark.parametrize("size", [0x7F, 0x80, 0x3FFF, 0x4000, 0x1FFFFF, 0x200000])
def test_words_of_each_prefix_come_back_whole(size: int) -> None:
    word = b"x" * size
    decoder, stream = Decoder(), encode_sentence([b"!re", word])
    read = [*decoder.feed(stream[:3]), *decoder.feed(stream[3:6]), *decoder.feed(stream[6:])]
    assert read == [[b"!re", word]]


@given(st.binary())
def test_every_octet_survives_being_text(word: bytes) -> None:
    assert octets(text(word)) == word


def test_a_reserved_octet_is_not_read_on() -> None:
    with pytest.raises(Malformed, match="reserved"):
        list(Decoder().feed(b"\xf8rest"))


def test_a_word_that_would_fill_the_memory_is_refused_before_it_comes() -> None:
    with pytest.raises(Malformed, match="octets"):
        list(Decoder().feed(encode_length(LONGEST_WORD + 1)))


def test_a_lone_empty_word_is_no_sentence() -> None:
    assert list(Decoder().feed(b"\0\0\0")) == []
