"""The machine that a measurement was made on, and whose processor time was used in it.

Times of processes come from `/proc` in clock ticks of 10 ms, so a round has to last some seconds to be exact.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_PACKAGES = ("freeradius", "postgresql-15", "redis-server")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know to judge the figures."""

    processor: str
    cores: int
    memory_mib: int
    kernel: str
    python: str
    packages: dict[str, str]


def describe_machine() -> Machine:
    """Return what this machine is."""
    processor = next(
        (line.split(":", 1)[1].strip() for line in _lines(_PROC / "cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next(line.split()[1] for line in _lines(_PROC / "meminfo") if line.startswith("MemTotal"))
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *_PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    )
    return Machine(
        processor,
        len(os.sched_getaffinity(0)),
        int(memory) // 1024,
        platform.release(),
        platform.python_version(),
        {name: version for name, _, version in (line.partition(" ") for line in listed.stdout.splitlines())},
    )


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    own: float  # seconds of processor time
    with_reaped: float  # the same, and what its ended children had used


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, its children, and those of its children that have ended.

    PostgreSQL has a process for each connection, so one number for a server needs all of them. A process that is
    gone has used nothing.
    """
    processes = {int(path.name): process for path in _PROC.glob("[0-9]*") if (process := _read_process(path))}
    if pid not in processes:
        return 0.0
    return processes[pid].with_reaped + sum(process.own for process in processes.values() if process.parent == pid)


def busy_seconds() -> float:
    """Return the processor time that this machine has spent on anything at all, over all cores."""
    fields = _lines(_PROC / "stat")[0].split()[1:]
    idle, waiting, guest, guest_nice = 3, 4, 8, 9  # guest time is in user time already, proc(5)
    counted = (int(ticks) for i, ticks in enumerate(fields) if i not in (idle, waiting, guest, guest_nice))
    return sum(counted) / _TICK


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is in RAM, shared pages counted in part (PSS), in MiB; 0 when it is gone."""
    try:
        lines = _lines(_PROC / str(pid) / "smaps_rollup")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def prefer(pids: Iterable[int]) -> None:
    """Let the sessions of these processes have the processor before all others, where that is allowed (root).

    Linux shares the processor out between sessions first (sched(7), autogroup), so a process's own niceness does not
    do. What else runs on the machine then disturbs a measurement less; it does not matter where nothing does.
    """
    for pid in pids:
        with suppress(OSError):
            (_PROC / str(pid) / "autogroup").write_text("-20", encoding="ascii")


def descendants(pid: int) -> list[int]:
    """Return a process and all that come from it."""
    parents = {int(path.name): process.parent for path in _PROC.glob("[0-9]*") if (process := _read_process(path))}
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def _read_process(path: Path) -> _Process | None:
    try:
        text = (path / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name may hold blanks and brackets; what follows the last bracket is regular, proc(5).
    fields = text.rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(field) / _TICK for field in fields[11:15])
    return _Process(int(fields[1]), user + system, user + system + reaped_user + reaped_system)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
