"""What was measured, as `bench/RESULTS.md` shows it.

Each section is kept as a JSON document with the machine and the date it was measured on, so that one section can be
measured again without the others; the page is made from all of them.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.machine import Machine
from bench.rounds import Measured, median, ratio

HERE = Path(os.environ.get("BENCH_RESULTS", Path(__file__).resolve().parent))
"""Where results are kept: here, also when the benchmark runs from a copy of the project."""

RESULTS = HERE / "RESULTS.md"
KEPT = HERE / "results"
ORDER = (
    "auth",
    "accounting",
    "image",
    "storm",
    "cutoff",
    "memory",
    "pages",
    "lookup",
    "captive",
    "search",
    "imports",
    "billing",
    "dunning",
    "finance",
    "pdf",
    "polling",
)


@dataclass(frozen=True)
class Target:
    """One figure that Portico promises, and what it was."""

    goal: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """One subject. `notes` are paragraphs in Markdown."""

    name: str
    title: str
    targets: tuple[Target, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A section with what it was measured on."""

    section: Section
    machine: Machine
    day: str
    revision: str = field(default="")


def keep(kept: Kept) -> None:
    """Write a section's document, then the page anew."""
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{kept.section.name}.json"
    path.write_text(json.dumps(asdict(kept), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    RESULTS.write_text(page(read_kept()), encoding="utf-8")


def read_kept() -> list[Kept]:
    """Return the sections that were measured, in the order of the page."""
    found = []
    for name in ORDER:
        path = KEPT / f"{name}.json"
        if path.exists():
            found.append(_kept_from(json.loads(path.read_text(encoding="utf-8"))))
    return found


def page(sections: Sequence[Kept]) -> str:
    """Return the whole page in Markdown."""
    parts = [
        "# Measured",
        "Made by `make bench`; `python -m bench SECTION` measures one section again. Figures compared with each other"
        " come from one run, in interleaved rounds on one machine, and are medians; ratios are medians of the ratios"
        " round by round. The load generator runs on the same cores as what it loads.",
    ]
    for machine in dict.fromkeys(_machine_text(kept) for kept in sections):
        measured = [kept.section.name for kept in sections if _machine_text(kept) == machine]
        parts.append(f"{machine} ({', '.join(measured)}.)")
    rows = [
        (kept.section.name, target.goal, target.target, target.measured, "yes" if target.met else "**no**")
        for kept in sections
        for target in kept.section.targets
    ]
    parts += ["## Targets", table_text(Table(("section", "figure", "target", "measured", "met"), tuple(rows)))]
    for kept in sections:
        revision = f" at revision {kept.revision}" if kept.revision else ""
        parts += [f"## {kept.section.title}", f"Measured on {kept.day}{revision}."]
        parts += [table_text(table) for table in kept.section.tables]
        parts += kept.section.notes
    return "\n\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    rows = [table.head, tuple("---" for _ in table.head), *table.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def rounds_table(rounds: dict[str, list[Measured]], base: str) -> Table:
    """Return one line for each contender, as a share of `base`."""
    return Table(
        ("", "requests/s (least to most)", f"of {base}", "stored/s", "p50 ms", "p99 ms", "µs a request", "foreign"),
        tuple(
            (
                name,
                f"{median(measured, lambda m: m.per_second):,.0f} ({_span(measured)})",
                f"{ratio(measured, rounds[base]):.2f}",
                f"{median(measured, lambda m: m.settled_per_second):,.0f}",
                f"{median(measured, lambda m: m.load.p50_ms):.2f}",
                f"{median(measured, lambda m: m.load.p99_ms):.2f}",
                ", ".join(f"{piece} {_cost(measured, piece):.1f}" for piece in measured[0].processor),
                f"{median(measured, lambda m: m.foreign):.2f}",
            )
            for name, measured in rounds.items()
        ),
    )


def at_least(goal: str, least: float, measured: float, unit: str = "") -> Target:
    """Return a target that is met from `least` on."""
    return Target(goal, f"at least {_figure(least, unit)}", _figure(measured, unit), measured >= least)


def under(goal: str, most: float, measured: float, unit: str = "") -> Target:
    """Return a target that is met below `most`."""
    return Target(goal, f"under {_figure(most, unit)}", _figure(measured, unit), measured < most)


def _figure(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def _span(measured: Sequence[Measured]) -> str:
    rates = [round_.per_second for round_ in measured]
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def _cost(measured: Sequence[Measured], piece: str) -> float:
    return median(measured, lambda m: m.processor[piece])


def _machine_text(kept: Kept) -> str:
    machine = kept.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"Machine: {machine.processor}, {machine.cores} cores, {machine.memory_mib / 1024:.0f} GiB,"
        f" Linux {machine.kernel}; Python {machine.python}; {packages}."
    )


def _kept_from(document: dict[str, dict[str, object]]) -> Kept:
    section = document["section"]
    tables, targets, notes = (section.pop(name) for name in ("tables", "targets", "notes"))
    assert isinstance(tables, list)
    assert isinstance(targets, list)
    assert isinstance(notes, list)
    return Kept(
        Section(
            name=str(section["name"]),
            title=str(section["title"]),
            targets=tuple(Target(**target) for target in targets),
            tables=tuple(Table(tuple(t["head"]), tuple(tuple(row) for row in t["rows"])) for t in tables),
            notes=tuple(notes),
        ),
        Machine(**document["machine"]),  # type: ignore[arg-type]  # written from a Machine
        str(document["day"]),
        str(document["revision"]),
    )
