"""Texts in the reader's language, for processes with and without Flask.

All catalogues are in `translations/` (GNU gettext, domain `messages`); Flask-Babel reads the same files. A text is
marked where it is written: `N_("…")` for one that is translated later, `_("…")` in views and templates.

A language is a directory there with a `language.toml`: its name, and the areas of the product that it is limited to,
where it is not translated as a whole. Nothing else names it, so a language is added without touching code. Where a text
has no translation, readers see the English one.
"""

import gettext
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"
DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """A language that has a catalogue. `areas` are the only ones it is translated for; none means all."""

    code: str
    name: str
    areas: tuple[str, ...] = ()


def declared_languages(directory: Path = TRANSLATIONS) -> Iterator[Language]:
    """Yield the languages that have a catalogue, in the order of their codes; English needs none."""
    for path in sorted(directory.glob("*/language.toml")):
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
        yield Language(path.parent.name, declared["name"], tuple(declared.get("areas", ())))


DECLARED: Mapping[str, Language] = {language.code: language for language in declared_languages()}
LANGUAGES: Mapping[str, str] = {
    DEFAULT_LANGUAGE: "English",
    **{language.code: language.name for language in DECLARED.values() if not language.areas},
}
"""The languages in which everything can be read, each with its own name of itself."""


def languages_of(area: str) -> Mapping[str, str]:
    """Return the languages in which an area can be read: those of everything, and those limited to it."""
    return dict(LANGUAGES) | {language.code: language.name for language in DECLARED.values() if area in language.areas}


def N_(text: str) -> str:  # noqa: N802 - gettext's own name, which the extractor looks for
    """Mark a text for the catalogue and return it untranslated."""
    return text


@cache
def translator(language: str) -> Callable[[str], str]:
    """Return the function that translates into `language`; texts it lacks come back as they are."""
    return gettext.translation("messages", TRANSLATIONS, [language], fallback=True).gettext
