"""The load generator: `radload`, a C program that is built from `bench/radload/` when it is first needed."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "radload"
PROGRAM = Path(__file__).resolve().parent / "build" / "radload"
SECRET = "testing123"
"""The shared secret of every NAS in a measurement."""


class GeneratorFailed(Exception):
    """radload could not be built or run; `str()` is what it said."""


@dataclass(frozen=True, slots=True)
class Load:
    """What radload saw. Latencies are milliseconds, from the first sending of a request to its answer.

    `wrong` counts answers that contradict the password sent, `forged` answers with a wrong authenticator, `lost`
    requests that were given up. What was sent in the warm-up is counted only in `starts`, `interims`, `stops`,
    `sent_again` and `unexpected`.
    """

    mode: str
    window: int
    rate: float
    seconds: float
    sent: int
    answered: int
    accepted: int
    rejected: int
    acknowledged: int
    starts: int
    interims: int
    stops: int
    lost: int
    sent_again: int
    forged: int
    unexpected: int
    wrong: int
    per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    cpu_seconds: float

    @property
    def faultless(self) -> bool:
        return not (self.lost or self.forged or self.wrong) and self.answered > 0


def build_radload() -> Path:
    """Return the path of radload, compiled anew when a source is younger than it. Raises GeneratorFailed."""
    sources = sorted(SOURCES.glob("*.c"))
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= newest:
        return PROGRAM
    PROGRAM.parent.mkdir(exist_ok=True)
    unfinished = PROGRAM.with_suffix(f".{os.getpid()}")
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-o", str(unfinished)]
    compiled = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True, check=False)
    if compiled.returncode:
        raise GeneratorFailed(compiled.stderr)
    unfinished.replace(PROGRAM)
    return PROGRAM


def load_command(mode: str, port: int, users: Path | None, *arguments: str | float) -> list[str]:
    """Return the command for one load; `arguments` are further options of radload, which `radload -h` lists."""
    command = [str(build_radload()), "-m", mode, "-p", str(port), "-k", SECRET]
    if users is not None:
        command += ["-u", str(users)]
    return [*command, *map(str, arguments)]


def run_load(mode: str, port: int, users: Path | None, *arguments: str | float) -> Load:
    """Run one load to its end. Raises GeneratorFailed when radload could not start."""
    done = subprocess.run(
        load_command(mode, port, users, *arguments), capture_output=True, text=True, timeout=900, check=False
    )
    return read_load(done.stdout, done.stderr)


def read_load(output: str, complaint: str = "") -> Load:
    """Return the result that radload printed. Raises GeneratorFailed when it printed none."""
    try:
        values = json.loads(output)
        return Load(**{field.name: values[field.name] for field in fields(Load)})
    except (json.JSONDecodeError, KeyError):
        raise GeneratorFailed(complaint or output) from None


def write_users(path: Path, users: Sequence[tuple[str, str]]) -> Path:
    """Write names and passwords in the form that radload reads."""
    path.write_text("".join(f"{name},{password}\n" for name, password in users), encoding="utf-8")
    path.chmod(0o644)
    return path
