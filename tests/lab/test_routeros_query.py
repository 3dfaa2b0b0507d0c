"""Queries: the stack of the manual."""

import pytest

from lab.routeros.query import BadQuery, compile_query

ROW = {
    "name": "ana",
    "disabled": "false",
    "rate": "10000000",
    "uptime": "1h5m",
    "address": "10.0.0.9",
    "comment": "x=y",
}


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], True),
        (["name"], True),
        (["absent"], False),
        (["-absent"], True),
        (["-name"], False),
        (["name=ana"], True),
        (["=name=ana"], True),
        (["name=bob"], False),
        (["comment=x=y"], True),
        (["absent="], True),
        (["disabled=no"], True),
        (["disabled=yes"], False),
        ([">rate=9000000"], True),
        (["<rate=9000000"], False),
        (["<rate=10M"], False),
        ([">uptime=1h"], True),
        (["<uptime=01:10:00"], True),
        (["<name=bob"], True),
        ([">absent=1"], False),
        (["name=ana", "disabled=true"], False),
        (["name=bob", "disabled=false", "#|"], True),
        (["name=bob", "#!"], True),
        (["name=ana", "name=bob", "#!&"], True),
        (["name=bob", "name=eve", "disabled=false", "#||"], True),
        (["name=ana", "name=bob", "#1"], True),
        (["name=ana", "name=bob", "#0"], False),
        (["name=ana", "name=bob", "#1.|"], True),
        (["name=bob", "name=ana", "#.&&"], False),
    ],
)
def test_a_query_chooses_as_the_manual_says(words: list[str], chosen: bool) -> None:
    assert compile_query(words)(ROW) is chosen


def test_an_operation_without_values_is_refused() -> None:
    with pytest.raises(BadQuery, match="underflow"):
        compile_query(["name", "#&"])(ROW)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(BadQuery, match="unknown operation"):
        compile_query(["name", "#^"])
