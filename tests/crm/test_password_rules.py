"""Which passwords are taken, and what is said of the others."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import process_time

import pytest
import zxcvbn.feedback

from crm.password_rules import COMMON, LONGEST, PERSONAL, REASONS, require_strong, require_strong_for_subscriber
from crm.problems import Invalid, Problem

ANA = ("Ana María Rojas", "ana.rojas@valle.example", "Valle Wireless")


def refused(password: str, *known: str) -> tuple[Problem, str]:
    with pytest.raises(Invalid) as caught:
        require_strong(password, *known)
    (problem,) = caught.value.problems
    return problem.problem, problem.detail.get("reason", "")


@pytest.mark.parametrize(
    "password", ["correct horse battery", "mi perro come tacos", "h7$kQz9!pWx2", "ñandú en bicicleta"]
)
def test_several_words_or_real_chance_are_taken(password):
    require_strong(password, *ANA)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        pytest.param("passwordpassword", "Repeating a part hardly makes it harder to guess.", id="repeated"),
        pytest.param("aaaaaaaaaaaaaaaa", "Repeating a letter does not make it harder to guess.", id="one letter"),
        pytest.param("1234567890123", REASONS["This is similar to a commonly used password."], id="digits"),
        pytest.param("valle wireless", PERSONAL, id="company"),
        pytest.param("anamaríarojas", PERSONAL, id="name"),
        pytest.param("ana.rojas2026", PERSONAL, id="address"),
    ],
)
def test_what_is_easy_to_guess_is_refused_with_its_reason(password, reason):
    assert refused(password, *ANA) == (Problem.EASY_TO_GUESS, reason)


def test_digits_and_signs_do_not_make_a_common_password_good():
    for password in ("Password1234!", "P@ssw0rd12345", "Qwertyuiop123", "Portico12345"):
        assert refused(password)[0] is Problem.EASY_TO_GUESS, password


def test_a_password_has_a_least_and_a_greatest_length():
    assert refused("h7$kQz9!pWx")[0] is Problem.TOO_SHORT
    assert refused("h7$kQz9!pWx" * 30)[0] is Problem.TOO_LONG
    assert refused("x" * 5_000_000)[0] is Problem.TOO_LONG


def test_subscribers_may_have_a_simpler_one_that_is_not_the_first_to_be_tried():
    require_strong_for_subscriber("tortuga 88")
    with pytest.raises(Invalid):
        require_strong_for_subscriber("1234567890")
    with pytest.raises(Invalid):
        require_strong_for_subscriber("5512345678", "Ana", "", "5512345678")


def test_the_longest_and_worst_takes_no_time_that_matters():
    begun = process_time()
    for password in ("4@8({[<369&#!1/|0$5+7%2" * 9)[:LONGEST], "a1b2" * 50, "p@$$w0rd" * 25:
        try:
            require_strong(password, *ANA)
        except Invalid:
            continue
    assert process_time() - begun < 5


def test_what_is_known_of_one_person_is_not_held_against_another():
    def judge(number: int) -> bool:
        known = "velociraptor marmalade" if number % 2 else "somebody else"
        try:
            require_strong("velociraptor marmalade", known)
        except Invalid:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(judge, range(40))) == [number % 2 == 0 for number in range(40)]


def test_every_warning_of_the_library_has_words_of_ours():
    source = Path(zxcvbn.feedback.__file__).read_text(encoding="utf-8").replace("' \\\n", "'\n")
    joined = re.sub(r"'\s*\n\s*'", "", source)
    found = re.findall(r"""warning'?(?: =|:) _\((?:'([^\n]*?)'|"([^\n]*?)")\)""", joined)
    warnings = {single or double for single, double in found}
    assert len(warnings) > 10
    assert warnings == set(REASONS)
    assert COMMON in REASONS.values()
