"""Numbers as people type them: half of the world writes 1,234.5 and the other half 1.234,5.

What a mark means follows from the reader's country. The mark of the other half is taken for decimals where it can group
no thousands, so `12,5` is understood in Mexico and `12.5` in Argentina.
"""

import re
from decimal import Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.numbers import get_decimal_symbol

_BLANKS = re.compile(r"[\s\u00a0\u202f']")
_LONGEST = 40


def read_number(text: str, locale: str, *, groups: bool = True) -> Decimal:
    """Return the number that somebody typed in a locale such as `es_MX`. Raises ValueError.

    Without `groups` a mark is always one of decimals: nobody groups a latitude, and maps write it with a point.
    """
    typed = _BLANKS.sub("", text)
    sign, digits = ("-", typed[1:]) if typed[:1] in ("-", "−") else ("", typed.removeprefix("+"))
    decimal = decimal_mark(locale)
    group = "," if decimal == "." else "."
    if not groups:
        digits = digits.replace(group, decimal)
    if len(digits) > _LONGEST or not re.search(r"[0-9]", digits):
        raise ValueError(f"{text!r} is no number")
    if re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:{re.escape(group)}[0-9]{{3}})+(?:{re.escape(decimal)}[0-9]*)?", digits):
        digits = digits.replace(group, "")
    elif re.fullmatch(rf"[0-9]*{re.escape(group)}[0-9]*", digits):
        digits = digits.replace(group, decimal)
    if not re.fullmatch(rf"[0-9]*{re.escape(decimal)}?[0-9]*", digits):
        raise ValueError(f"{text!r} is no number")
    return Decimal(sign + digits.replace(decimal, "."))


def plain_number(number: Decimal, locale: str) -> str:
    """Return a number for a field, so that reading it gives the same: no groups, and the decimal mark of the locale."""
    return f"{number:f}".replace(".", decimal_mark(locale))


@cache
def decimal_mark(locale: str) -> str:
    """Return the mark between whole and decimals: a point, or a comma."""
    try:
        mark = get_decimal_symbol(Locale.parse(locale.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        return "."
    return mark if mark in (".", ",") else "."
