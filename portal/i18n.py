"""Languages: which one a reader gets, and the switch between them.

The choice of the switch is kept in a cookie and, once signed in, with the staff member, so it follows to the next
browser. Before any choice the operator's language counts, then the browser's.
"""

from functools import cache

from babel import Locale
from flask import Flask, g, request
from flask_babel import Babel

from core.i18n import DEFAULT_LANGUAGE, LANGUAGES, TRANSLATIONS
from core.money import money_locale
from portal.context import operator, signed_in_staff, zone

LANGUAGE_COOKIE = "portico_language"
A_YEAR = 365 * 24 * 3600


def reader_language() -> str:
    """Return the code of the language for this request."""
    if "language" not in g:
        g.language = _choose()
    language: str = g.language
    return language


def number_locale() -> str:
    """Return the locale in which the reader writes numbers: of the operator's country, where there is one."""
    known = "operator" in g or signed_in_staff() is not None
    return money_locale(reader_language(), operator().currency) if known else reader_language()


def _choose() -> str:
    person = signed_in_staff()
    wanted = [
        person.language if person else None,
        request.cookies.get(LANGUAGE_COOKIE),
        operator().locale[:2] if person else None,
        request.accept_languages.best_match(list(LANGUAGES)),
    ]
    return next((language for language in wanted if language and language in LANGUAGES), DEFAULT_LANGUAGE)


def _locale() -> Locale:
    return _locale_of(reader_language())


@cache
def _locale_of(code: str) -> Locale:
    """Return a locale that is read once: parsing its name looks for files."""
    return Locale.parse(code)


def _zone_name() -> str | None:
    return zone().key if signed_in_staff() or "operator" in g else None


def number_tag() -> str:
    """Return the locale of numbers as browsers call it, such as es-MX: what scripts draw reads like the page."""
    return number_locale().replace("_", "-")


def install(app: Flask) -> None:
    app.jinja_env.globals["number_tag"] = number_tag
    Babel(
        app,
        default_translation_directories=str(TRANSLATIONS),
        locale_selector=_locale,
        timezone_selector=_zone_name,
    )
