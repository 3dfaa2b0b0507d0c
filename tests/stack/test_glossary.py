"""The glossary: its Spanish words are those of the catalogue and of the manual, and what it rules out is in neither."""

import re
from collections.abc import Iterator

import pytest

from stack.installation import PROJECT
from stack.translations import read_catalogue

ROWS = [
    tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
    for line in (PROJECT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| English")
]
RULED_OUT = [(row[1], word.strip()) for row in ROWS for word in row[4].split(",") if word.strip()]
_QUOTED = ("Decree 1704",)  # the words of a law
_OTHERS = re.compile(
    r"https?://\S+|\]\([^)]*\)|%\([a-z_]+\)[sd]|\{[a-z_]+\}|[\w.+-]+@[\w.-]+|/[\w/ -]+"
    r"|\b[\w-]+\.(?:html|py|toml|env|csv)\b"
)


def spanish() -> Iterator[tuple[str, str]]:
    for message in read_catalogue("es"):
        source = message.id if isinstance(message.id, str) else message.id[0]
        if source and not source.startswith(_QUOTED):
            for text in message.string if isinstance(message.string, (tuple, list)) else (message.string,):
                yield source, _OTHERS.sub(" ", text or "")
    for path in sorted((PROJECT / "docs" / "guide" / "es").glob("*.md")):
        if path.stem != "words":  # gives the English words beside the Spanish ones
            yield path.name, _OTHERS.sub(" ", path.read_text(encoding="utf-8"))
    yield "data-sheet-es.md", (PROJECT / "docs" / "data-sheet-es.md").read_text(encoding="utf-8")


def forms(word: str) -> re.Pattern[str]:
    """A word or its plural, alone: not within a longer one."""
    words = r"(?:s|es)? ".join(re.escape(part) for part in word.split())
    return re.compile(rf"(?<![\w-]){words}(?:s|es)?(?![\w-])", re.IGNORECASE)


TEXTS = list(spanish())


@pytest.mark.parametrize(("instead", "word"), RULED_OUT)
def test_no_spanish_text_says(instead: str, word: str):
    pattern = forms(word)
    found = [f"{where}: {text}" for where, text in TEXTS if pattern.search(text)]
    assert not found, f"say {instead!r} instead of {word!r}: {found[:5]}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_spanish_word_of_the_glossary_is_in_use(row: tuple[str, ...]):
    for word in row[1].split(", "):
        assert any(forms(word).search(text) for _where, text in TEXTS), word


def test_the_reader_is_always_usted():
    familiar = re.compile(
        r"(?<!\w)(tú|vos|vosotros|tienes|puedes|quieres|debes|eres|haz clic|tu contraseña|tu cuenta|contigo)(?!\w)",
        re.IGNORECASE,
    )
    assert not [f"{where}: {text}" for where, text in TEXTS if familiar.search(text)]


@pytest.mark.parametrize(("language", "word", "other", "meaning"), [("en", 0, 1, 2), ("es", 1, 0, 3)])
def test_the_manuals_chapter_of_words_says_the_same(language: str, word: int, other: int, meaning: int):
    text = (PROJECT / "docs" / "guide" / language / "words.md").read_text(encoding="utf-8")
    for row in ROWS:
        if row[meaning]:
            assert f"| {row[word]} | {row[other]} | {row[meaning]} |" in text
