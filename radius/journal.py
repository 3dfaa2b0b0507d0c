"""The journal: every acknowledged Accounting-Request, and the outcome of every Access-Request, on disk.

radiusd appends; the loader reads. A record is its length and CRC-32 (little-endian, four octets each) and a marshalled
tuple, put down by a single `write`. The caller acknowledges the packet only when `append` returned, so a full disk or
a short write means silence and the NAS sends again. Segments are numbered by time, belong to one process alone, and
are never written again once a newer one exists: what cannot be read at the end of a closed segment is a torn record
that nobody acknowledged.

marshal is Python's own and quick; its format may change between Python versions, so the first record of a segment
names the version and a reader of another version refuses the segment instead of guessing.
"""

import marshal
import os
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SEGMENT_OCTETS = 16 << 20
SUFFIX = ".journal"
ACCOUNTING = 1
AUTHENTICATION = 2
_HEADER = struct.Struct("<II")
_OPENING = (0, sys.version_info[:2])
_LONGEST = 1 << 20  # no record is longer; a greater length is damage

Pairs = tuple[tuple[str, str], ...]


class Accounting(NamedTuple):
    """An Accounting-Request as FreeRADIUS decoded it: attribute and value pairs, in packet order."""

    at: float  # when it came, seconds since the epoch
    nas_id: int
    operator_id: int
    pairs: Pairs


class Authentication(NamedTuple):
    """What became of an Access-Request."""

    at: float
    nas_id: int
    operator_id: int
    service_id: int | None
    user_name: str
    mac: str | None
    kind: str  # aaa.facts.AccessKind
    method: str  # pap, chap, mschap, mschapv2, mac, none
    outcome: str  # accept, garden, reject
    reason: str  # aaa.decision.Reason, or empty
    detail: dict[str, str] | None
    acct_session_id: str
    terms_id: bytes | None
    called_station_id: str
    nas_port_id: str


Record = Accounting | Authentication


class JournalFull(OSError):
    """A record could not be written whole."""


class SegmentUnreadable(Exception):
    """A segment was written by another version of Python, or is no journal at all."""


class JournalWriter:
    """Appends records; used by one thread at a time."""

    def __init__(self, directory: Path, *, sync: bool = False) -> None:
        self._directory = directory
        self._sync = sync
        self._file = -1
        self._size = 0

    def append(self, record: tuple[Any, ...]) -> None:
        """Put one record on disk. Raises OSError when it is not there whole; the packet must not be answered."""
        body = marshal.dumps(record, 2)
        framed = _HEADER.pack(len(body), zlib.crc32(body)) + body
        if self._file < 0 or self._size >= SEGMENT_OCTETS:
            self._begin_segment()
        try:
            written = os.write(self._file, framed)
            if written != len(framed):
                raise JournalFull("short write")
            if self._sync:
                os.fdatasync(self._file)
        except OSError:
            self._abandon_segment()
            raise
        self._size += written

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin_segment(self) -> None:
        self.close()
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{time.time_ns():020d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        body = marshal.dumps(_OPENING, 2)
        opening = _HEADER.pack(len(body), zlib.crc32(body)) + body
        self._size = len(opening)
        try:
            if os.write(self._file, opening) != len(opening):
                raise JournalFull("short write")
        except OSError:
            self.close()
            path.unlink()
            raise

    def _abandon_segment(self) -> None:
        """Leave the torn record at the end of a segment that is never written again."""
        self.close()


def segments(directory: Path) -> list[Path]:
    """Return the segments in the order in which they were written."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def read_records(segment: Path, position: int, limit: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield up to `limit` records that start at or after `position`, each with the position behind it.

    A record is yielded as the plain tuple that was written, its kind (ACCOUNTING or AUTHENTICATION) first. Stops at
    the first record that is not whole: in the newest segment it is still being written, in a closed one it is torn.
    Raises SegmentUnreadable.
    """
    with segment.open("rb") as file:
        if position == 0:
            position = _check_opening(segment, file.read(4096))
            if position == 0:
                return
        file.seek(position)
        data = file.read(limit * 1024)
        data_start = position
        for _ in range(limit):
            offset = position - data_start
            if offset + 8 > len(data):
                data, data_start, offset = _read_on(file, position, limit)
                if len(data) < 8:
                    return
            length, checksum = _HEADER.unpack_from(data, offset)
            if not 0 < length <= _LONGEST:  # zeros are what a power cut leaves at the end of a file
                return
            if offset + 8 + length > len(data):
                data, data_start, offset = _read_on(file, position, max(limit, length // 1024 + 1))
                if 8 + length > len(data):
                    return
            body = data[offset + 8 : offset + 8 + length]
            if zlib.crc32(body) != checksum:
                return
            position += 8 + length
            yield position, marshal.loads(body)  # noqa: S302 - our own file, its checksum verified


def first_position(segment: Path) -> int:
    """Return where a segment's first record is to be, or 0 while its opening is not whole. Raises SegmentUnreadable."""
    with segment.open("rb") as file:
        return _check_opening(segment, file.read(4096))


def _read_on(file: Any, position: int, limit: int) -> tuple[bytes, int, int]:
    file.seek(position)
    return file.read(limit * 1024), position, 0


def _check_opening(segment: Path, head: bytes) -> int:
    """Return the position behind the opening record, or 0 when it is not yet whole."""
    if len(head) < 8:
        return 0
    length, checksum = _HEADER.unpack_from(head)
    if length > 256 or 8 + length > len(head):
        if length > 256:
            raise SegmentUnreadable(f"{segment.name} is not a journal")
        return 0
    body = head[8 : 8 + length]
    if zlib.crc32(body) != checksum:
        raise SegmentUnreadable(f"{segment.name} is not a journal")
    opening = marshal.loads(body)  # noqa: S302
    if opening != _OPENING:
        raise SegmentUnreadable(f"{segment.name} was written by Python {opening[1]}, not {_OPENING[1]}")
    return 8 + int(length)
