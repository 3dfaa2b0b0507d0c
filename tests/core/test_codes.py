import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.codes import ALPHABET, blurred, fold_code, grouped, like_a_code


@pytest.mark.parametrize(
    ("code", "prefix", "printed"),
    [("ABCD2345", "", "ABCD-2345"), ("PLAZAABCD2345", "PLAZA", "PLAZA-ABCD-2345"), ("ABC2345", "", "ABC-2345")],
)
def test_a_code_is_printed_in_groups_and_read_however_it_is_typed(code, prefix, printed):
    assert grouped(code, prefix) == printed
    assert fold_code(printed.lower().replace("-", " - ")) == fold_code(code)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("AC7K-9PQR", True),
        ("ac7k 9pqr", True),
        ("PLAZA7K", True),
        ("ACDFGHKM", True),
        ("rosa", False),
        ("rosa.perez", False),
        ("rosa@valle", False),
        ("A7K2", False),
        ("", False),
    ],
)
def test_what_may_be_a_mistyped_code_is_told_from_a_name(name, like):
    assert like_a_code(name) is like


@given(st.text(ALPHABET, min_size=6, max_size=20))
def test_a_blurred_code_tells_how_it_begins_and_its_length_and_nothing_else(code):
    shown = blurred(code.lower())
    assert shown == fold_code(code)[:2] + "*" * (len(code) - 2)
    assert shown == blurred(code[:2] + "2" * (len(code) - 2)), "of any two that begin alike the same is kept"
