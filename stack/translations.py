"""The catalogues of translated texts: extracted, checked, compiled.

    python -m stack.translations update    new texts of the source go into translations/es/…/messages.po
    python -m stack.translations check     fails where a text of the source has no translation
    python -m stack.translations compile   makes the .mo files that the portal reads

English is the language of the source, so it has no catalogue.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from core.i18n import LANGUAGES, TRANSLATIONS
from stack.installation import PROJECT

PACKAGES = ("core", "aaa", "db", "billing", "crm", "radius", "network", "portal", "worker")
TRANSLATED = tuple(language for language in LANGUAGES if language != "en")

_METHODS = [("**/templates/**", "jinja2"), ("**.py", "python")]
_KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "lazy_gettext": None,
    "_l": None,
}
_OPTIONS = {"**/templates/**": {"trimmed": "true", "silent": "false"}}


def catalogue_file(language: str) -> Path:
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def source_catalogue() -> Catalog:
    """Return every text that the source marks for translation, with where it stands."""
    catalogue = Catalog(project="portico", charset="utf-8", header_comment="")
    for package in PACKAGES:
        if not (PROJECT / package).is_dir():
            continue
        found = extract_from_dir(
            PROJECT / package, _METHODS, _OPTIONS, keywords=_KEYWORDS, comment_tags=("Translators:",)
        )
        for filename, _, message, comments, context in found:
            catalogue.add(message, None, [(f"{package}/{filename}", 0)], auto_comments=comments, context=context)
    return catalogue


def read_catalogue(language: str) -> Catalog:
    """Return the catalogue of a language; an empty one where there is none yet."""
    path = catalogue_file(language)
    if not path.exists():
        return Catalog(locale=language, project="portico", charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=language)


def untranslated(source: Catalog, catalogue: Catalog) -> Iterator[str]:
    """Yield a line for each text of the source that readers of a language would see in English, or wrongly."""
    for message in source:
        if not message.id:
            continue
        where = message.locations[0][0] if message.locations else "?"
        shown = message.id if isinstance(message.id, str) else message.id[0]
        translation = catalogue.get(message.id, message.context)
        if translation is None or not _is_complete(translation):
            yield f"{where}: {shown!r} has no translation"
        elif translation.fuzzy:
            yield f"{where}: the translation of {shown!r} is marked fuzzy"
        else:
            yield from (f"{where}: {shown!r}: {problem}" for problem in translation.check(catalogue))


def _is_complete(message: Message) -> bool:
    return all(message.string) if isinstance(message.string, (tuple, list)) else bool(message.string)


def check() -> int:
    """Print what is not translated and return the exit status."""
    source = source_catalogue()
    status = 0
    for language in TRANSLATED:
        problems = list(untranslated(source, read_catalogue(language)))
        for problem in problems:
            print(f"{language}: {problem}")
        print(f"{language}: {sum(1 for message in source if message.id)} texts, {len(problems)} problems")
        status |= bool(problems)
    return status


def update() -> int:
    """Bring the catalogues to the texts of the source, new ones without a translation."""
    source = source_catalogue()
    for language in TRANSLATED:
        catalogue = read_catalogue(language)
        catalogue.update(source, no_fuzzy_matching=True)
        path = catalogue_file(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=0, sort_output=True, include_lineno=False, ignore_obsolete=True)
    return check()


def compile_catalogues() -> int:
    """Write a .mo beside each .po that is newer."""
    for path in TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"):
        compiled = path.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= path.stat().st_mtime:
            continue
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.parent.parent.name)
        unfinished = compiled.with_suffix(".new")
        with unfinished.open("wb") as file:
            write_mo(file, catalogue)
        unfinished.replace(compiled)
    return 0


if __name__ == "__main__":
    commands = {"check": check, "update": update, "compile": compile_catalogues}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: python -m stack.translations check | update | compile")
    sys.exit(commands[sys.argv[1]]())
