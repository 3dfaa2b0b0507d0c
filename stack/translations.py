"""The catalogues of translated texts: extracted, checked, compiled.

    python -m stack.translations update    new texts of the source go into translations/es/…/messages.po
    python -m stack.translations check     fails where a text of the source has no translation
    python -m stack.translations compile   makes the .mo files that the portal reads

English is the language of the source, so it has no catalogue. A language that is declared for some areas alone
(`language.toml` beside its catalogue) owes the texts of those areas, and its catalogue has no others: a mail of which
one sentence happens to be translated would be worse than one in English.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from core.i18n import DECLARED, TRANSLATIONS, Language
from stack.cli import help_texts
from stack.installation import PROJECT
from stack.terminal import CLICKS_PLURALS

PACKAGES = ("core", "aaa", "db", "billing", "crm", "radius", "network", "portal", "worker", "stack")


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the product that can be translated by itself.

    `places` are where its own texts stand, files or beginnings of their paths; `texts` are those that it shows of
    files which hold many others.
    """

    places: tuple[str, ...]
    texts: frozenset[str] = frozenset()


AREAS: Mapping[str, Area] = {
    "captive": Area(
        (
            "portal/captive/",
            "portal/templates/captive/",
            "portal/subscriber/words.py",
            "portal/formats.py",
            "billing/voucher_checkouts.py",
            "radius/messages.py",  # comes back to the page by the router
        ),
        frozenset((
            "This is needed.",
            "This is too long: at most %(limit)s characters.",
            "Choose one of the list.",
            "The limit of %(limit)s is reached.",
            "This was done already.",
            "This day is too long ago. Check the year.",
            "The latest day possible is %(latest)s.",
            "Nothing was changed: this service is %(state)s. Look at it again before you go on.",
            "Pending",
            "Active",
            "Paused",
            "Suspended",
            "Terminated",
        )),
    )
}  # fmt: skip

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
    for text in help_texts():
        catalogue.add(text, None, [("stack/cli.py", 0)])
    for plural in CLICKS_PLURALS:
        catalogue.add(plural, None, [("stack/cli.py", 0)])
    return catalogue


def owed_by(language: Language, source: Catalog, areas: Mapping[str, Area] | None = None) -> Catalog:
    """Return the texts that a language has to have: all of the source, or those of its areas.

    Raises UnknownArea for an area that nobody has described, or one that lists a text which the source has no more.
    """
    if not language.areas:
        return source
    areas = AREAS if areas is None else areas
    owed = Catalog(project="portico", charset="utf-8", header_comment="")
    for name in language.areas:
        if name not in areas:
            raise UnknownArea(f"{language.code}: there is no area {name!r}; known are {', '.join(areas)}")
        area = areas[name]
        if gone := sorted(text for text in area.texts if text not in source):
            raise UnknownArea(f"the area {name!r} lists what the source does not say: {gone}")
        for message in source:
            if message.id and (_shown(message) in area.texts or _stands_in(message, area.places)):
                owed.add(message.id, None, message.locations, context=message.context)
    return owed


class UnknownArea(Exception):
    """A declaration names an area, or a text of one, that does not exist."""


def _stands_in(message: Message, places: tuple[str, ...]) -> bool:
    return any(filename.startswith(places) for filename, _ in message.locations)


def _shown(message: Message) -> str:
    """Return a text as it is named in a report: of one with a plural, the singular."""
    return str(message.id if isinstance(message.id, str) else message.id[0])


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
        shown = _shown(message)
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
    for language in DECLARED.values():
        try:
            owed = owed_by(language, source)
        except UnknownArea as problem:
            print(problem)
            return 1
        catalogue = read_catalogue(language.code)
        problems = list(untranslated(owed, catalogue))
        if language.areas:
            problems += [
                f"{_shown(message)!r} is of no area of this language; `update` removes it"
                for message in catalogue
                if message.id and message.string and owed.get(message.id, message.context) is None
            ]
        for found in problems:
            print(f"{language.code}: {found}")
        limits = f" of {', '.join(language.areas)}" if language.areas else ""
        print(f"{language.code}: {sum(1 for message in owed if message.id)} texts{limits}, {len(problems)} problems")
        status |= bool(problems)
    return status


def update() -> int:
    """Bring the catalogues to the texts of the source, new ones without a translation."""
    source = source_catalogue()
    for language in DECLARED.values():
        catalogue = read_catalogue(language.code)
        catalogue.update(owed_by(language, source), no_fuzzy_matching=True)
        path = catalogue_file(language.code)
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
