"""`make audit`: are the packages that we install known to be bad, and are they the ones that were looked at?

Two questions, which must not be mixed up. What can be told from the files alone is told always: every requirement has
one exact version and hashes, so that what is installed is what was compiled. Whether a hole has become known since is
asked of an advisory service by pip-audit, and where that cannot be reached the answer is "could not ask", which is
neither good nor bad: a CI job shows it as a notice and does not count it as passed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("requirements.txt", "requirements-dev.txt")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)")
_WAIT = 120


class Verdict(IntEnum):
    """What the command ends with."""

    CLEAN = 0
    BAD = 1
    NOT_ASKED = 3


@dataclass(frozen=True, slots=True)
class Report:
    """`lines` is what to show a person."""

    verdict: Verdict
    lines: tuple[str, ...]


def loose_requirements(text: str) -> list[str]:
    """Return the requirements of a compiled file that have no exact version or no hash."""
    loose = []
    for block in _requirements(text):
        name = block.split()[0]
        if _PIN.match(block) is None or "--hash=sha256:" not in block:
            loose.append(name)
    return loose


def pinned(text: str) -> dict[str, str]:
    """Return the version of each package of a compiled file, by its normalised name."""
    found = (_PIN.match(block) for block in _requirements(text))
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def judge(status: int, output: str, complaint: str) -> Report:
    """Return what pip-audit's answer means: its exit status, the JSON that it wrote, and what it complained of."""
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = next((line.strip() for line in reversed(complaint.splitlines()) if line.strip()), f"status {status}")
        return Report(Verdict.NOT_ASKED, (f"could not ask for known holes: {reason[:300]}",))
    unknown = [each["name"] for each in dependencies if "skip_reason" in each]
    bad = [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'none yet'}"
        for each in dependencies
        for hole in each.get("vulns", ())
    ]
    if bad:
        return Report(Verdict.BAD, tuple(bad))
    if unknown or not dependencies:
        count = f"{len(unknown)} of {len(dependencies)} packages, {unknown[0]} first" if unknown else "any package"
        return Report(Verdict.NOT_ASKED, (f"could not ask about {count}",))
    return Report(Verdict.CLEAN, (f"{len(dependencies)} packages, no known hole",))


def audit() -> Report:
    """Look at the files, then ask. Bad files are told without asking."""
    for name in FILES:
        loose = loose_requirements((ROOT / name).read_text(encoding="utf-8"))
        if loose:
            return Report(Verdict.BAD, tuple(f"{name}: {each} has no exact version or no hash" for each in loose))
    counted = len(pinned((ROOT / FILES[-1]).read_text(encoding="utf-8")))
    first = f"{counted} packages, each of one version and with hashes"
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / FILES[-1]), "--require-hashes"]
    command += ["--disable-pip", "--format=json", "--progress-spinner=off", "--timeout=15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return Report(Verdict.NOT_ASKED, (first, f"could not ask for known holes: {type(problem).__name__}"))
    said = judge(done.returncode, done.stdout, done.stderr)
    return Report(said.verdict, (first, *said.lines))


def _requirements(text: str) -> Iterator[str]:
    """Yield each requirement with its options, on one line."""
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith(("#", "-")):
            yield stripped


def main() -> int:
    report = audit()
    for line in report.lines:
        sys.stdout.write(f"{line}\n")
    if report.verdict is Verdict.NOT_ASKED:
        sys.stdout.write(
            "::notice::This says nothing about the packages: ask again from where the service is reached.\n"
        )
    return int(report.verdict)


if __name__ == "__main__":
    sys.exit(main())
