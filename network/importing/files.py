"""Files that people upload: which kind each is, and what is in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network.importing.candidate import Candidate
from network.importing.sources import csv_file, excel, hotspot, rlm_sql, user_manager

LARGEST = 30_000_000
"""Octets of an upload. A dump of 20,000 users has about five million."""

_DUMP = re.compile(r"^\s*(?:INSERT\s+(?:IGNORE\s+)?INTO|COPY)\s+", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Upload:
    """Files of one import. A CSV file's columns are still to be named, so it gives no candidates yet."""

    source: str
    title: str
    text: str
    candidates: Sequence[Candidate] | None


def recognise(files: Mapping[str, bytes]) -> Upload | None:
    """Tell what was uploaded, by what is in it and, for tables, by the files' names. None: there is nothing in it."""
    texts = {name: _text_of(octets) for name, octets in files.items()}
    texts = {name: text for name, text in texts.items() if text.strip()}
    if not texts:
        return None
    title, text = next(iter(texts.items()))
    title = title.rsplit("/", 1)[-1].rsplit("\\", 1)[-1][:100]
    if any(user_manager.is_export(one) for one in texts.values()):
        return Upload("user_manager", title, "", user_manager.candidates("\n".join(texts.values())))
    if any(hotspot.is_export(one) for one in texts.values()):
        return Upload("hotspot", title, "", hotspot.from_export("\n".join(texts.values())))
    if any(_DUMP.search(one) for one in texts.values()) or any(_table_named(name) for name in texts):
        return Upload("rlm_sql", title, "", rlm_sql.candidates(texts))
    return Upload("csv", title, text, None)


def _text_of(octets: bytes) -> str:
    """Return what stands in a file; nothing for one that is neither text nor a workbook, whatever it is called."""
    if excel.is_workbook(octets):
        try:
            return excel.as_csv(octets)
        except excel.NotReadable:
            return ""
    wide = octets.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "" if b"\0" in octets[:4096] and not wide else csv_file.decoded(octets)


def _table_named(name: str) -> bool:
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
    return stem in rlm_sql.TABLES
