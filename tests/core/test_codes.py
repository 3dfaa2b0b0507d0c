import pytest

from core.codes import fold_code, grouped


@pytest.mark.parametrize(
    ("code", "prefix", "printed"),
    [("ABCD2345", "", "ABCD-2345"), ("PLAZAABCD2345", "PLAZA", "PLAZA-ABCD-2345"), ("ABC2345", "", "ABC-2345")],
)
def test_a_code_is_printed_in_groups_and_read_however_it_is_typed(code, prefix, printed):
    assert grouped(code, prefix) == printed
    assert fold_code(printed.lower().replace("-", " - ")) == fold_code(code)
