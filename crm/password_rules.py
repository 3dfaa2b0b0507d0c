"""Which passwords are strong enough: long, hard to guess, and not made of what is known of the person.

How hard a password is to guess is estimated by zxcvbn, which knows words, names, keyboards, dates and what people make
of them; a rule about digits and signs would refuse good passwords and take `Password1!`. Staff need one that a hundred
million guesses do not find; subscribers, who lose less and come once a month, one that is not found by trying at the
portal.
"""

import re
from collections.abc import Mapping
from threading import Lock
from typing import Any

from core.i18n import N_
from crm.problems import FieldProblem, Invalid, Problem

SHORTEST = 12
LONGEST = 200  # argon2 takes its time over what it is given
STRONG = 3
"""zxcvbn's score of 0 to 4: at 3 it takes 10⁸ guesses or more, at 4 10¹⁰."""
SUBSCRIBERS_SHORTEST = 10
SUBSCRIBERS_STRONG = 2

_JUDGED = 72  # characters: what follows cannot make a password weaker, and the estimate takes longer with each
_ONE_AT_A_TIME = Lock()  # zxcvbn keeps the words it was given in a variable of its module

PERSONAL = N_("It is made of your name, address or company, which others know, too.")
COMMON = N_("It is one of the passwords that are tried first.")
WORDS = N_("Add a word or two that have nothing to do with each other.")
REASONS: Mapping[str, str] = {
    "Straight rows of keys are easy to guess.": N_("A row of keys is easy to guess."),
    "Short keyboard patterns are easy to guess.": N_("A short pattern on the keyboard is easy to guess."),
    'Repeats like "aaa" are easy to guess.': N_("Repeating a letter does not make it harder to guess."),
    'Repeats like "abcabcabc" are only slightly harder to guess than "abc".': N_(
        "Repeating a part hardly makes it harder to guess."
    ),
    'Sequences like "abc" or "6543" are easy to guess.': N_("Sequences such as abc or 6543 are easy to guess."),
    "Recent years are easy to guess.": N_("A year is easy to guess."),
    "Dates are often easy to guess.": N_("A date is easy to guess."),
    "This is a top-10 common password.": COMMON,
    "This is a top-100 common password.": COMMON,
    "This is a very common password.": COMMON,
    "This is similar to a commonly used password.": N_("It resembles one of the passwords that are tried first."),
    "A word by itself is easy to guess.": N_("A single word is easy to guess."),
    "Names and surnames by themselves are easy to guess.": N_("Names are easy to guess."),
    "Common names and surnames are easy to guess.": N_("Names are easy to guess."),
}
"""What zxcvbn warns of, in our words; a test reads its source for others."""


def require_strong(
    password: str, *known: str, field: str = "password", shortest: int = SHORTEST, strong: int = STRONG
) -> None:
    """Raise Invalid, with the reason, for a password that is too short, too long or easy to guess.

    `known` is what others know of the person: name, e-mail address, company. `field` is where the reason is shown.
    """
    from zxcvbn import zxcvbn  # twelve megabytes of words, which only a process where passwords are chosen keeps

    if len(password) < shortest:
        raise Invalid(FieldProblem(field, Problem.TOO_SHORT, {"limit": str(shortest)}))
    if len(password) > LONGEST:
        raise Invalid(FieldProblem(field, Problem.TOO_LONG, {"limit": str(LONGEST)}))
    with _ONE_AT_A_TIME:
        judged = zxcvbn(password[:_JUDGED], user_inputs=_words(known), max_length=_JUDGED)
    if judged["score"] < strong:
        raise Invalid(FieldProblem(field, Problem.EASY_TO_GUESS, {"reason": _reason(judged)}))


def require_strong_for_subscriber(password: str, *known: str, field: str = "password") -> None:
    """As `require_strong`, for a subscriber's own pages."""
    require_strong(password, *known, field=field, shortest=SUBSCRIBERS_SHORTEST, strong=SUBSCRIBERS_STRONG)


def _words(known: tuple[str, ...]) -> list[str]:
    """Return what is known of a person as the words that it might be made into a password by."""
    words = {"portico"}
    for text in known:
        words |= {text, text.replace(" ", ""), text.partition("@")[0], *re.split(r"[\W_]+", text)}
    return sorted(word.lower() for word in words if len(word) > 2)


def _reason(judged: Mapping[str, Any]) -> str:
    longest = max(judged["sequence"], key=lambda match: len(match["token"]))
    if longest.get("dictionary_name") == "user_inputs":
        return PERSONAL
    return REASONS.get(judged["feedback"]["warning"], WORDS)
