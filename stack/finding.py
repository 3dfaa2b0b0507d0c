"""What one check of `portico doctor` found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do, and is empty when nothing is."""

    level: Level
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<4}  {self.subject:<22} {self.text}"
        return f"{line}\n{'':<6}{'':<22} -> {self.advice}" if self.advice else line
