"""Texts in the reader's language, for processes with and without Flask.

All catalogues are in `translations/` (GNU gettext, domain `messages`); Flask-Babel reads the same files. A text is
marked where it is written: `N_("…")` for one that is translated later, `_("…")` in views and templates.
"""

import gettext
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

TRANSLATIONS = Path(__file__).resolve().parent.parent / "translations"
LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}
DEFAULT_LANGUAGE = "en"


def N_(text: str) -> str:  # noqa: N802 - gettext's own name, which the extractor looks for
    """Mark a text for the catalogue and return it untranslated."""
    return text


@cache
def translator(language: str) -> Callable[[str], str]:
    """Return the function that translates into `language`; texts it lacks come back as they are."""
    return gettext.translation("messages", TRANSLATIONS, [language], fallback=True).gettext
