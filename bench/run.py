"""`python -m bench [--quick] [SECTION …]`: measure, print, and write `bench/RESULTS.md`."""

import argparse
import importlib
import subprocess
import sys
import time
from datetime import UTC, datetime

from bench.machine import describe_machine
from bench.report import HERE, ORDER, Kept, Section, keep, table_text
from bench.sections import Options


def main() -> int:
    """Measure the sections asked for, all of them by default. Returns 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("section", nargs="*", choices=[*ORDER, []], help="all, when none is named")
    parser.add_argument("--quick", action="store_true", help="a few seconds each, small sizes; writes no results")
    parser.add_argument("--prefer", action="store_true", help="let what is measured have the processor first (root)")
    arguments = parser.parse_args()
    machine = describe_machine()
    missed = 0
    for name in arguments.section or ORDER:
        started = time.monotonic()
        print(f"{name}:", flush=True)
        section = importlib.import_module(f"bench.sections.{name}").measure(Options(arguments.quick, arguments.prefer))
        _show(section)
        print(f"{name} took {time.monotonic() - started:.0f} s", flush=True)
        missed += sum(not target.met for target in section.targets)
        if not arguments.quick:
            keep(Kept(section, machine, datetime.now(UTC).date().isoformat(), _revision()))
    return 1 if missed and not arguments.quick else 0


def _show(section: Section) -> None:
    for table in section.tables:
        print(table_text(table))
    for note in section.notes:
        print(note)
    for target in section.targets:
        met = "met" if target.met else "MISSED"
        print(f"  {met:<7} {target.goal}: {target.measured} ({target.target})")
    sys.stdout.flush()


def _revision() -> str:
    """Return the short name of the revision measured, empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip()
