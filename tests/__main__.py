"""Run the tests in two rounds: those that only need a database side by side, then the others one after the other.

    python -m tests [PATH…]      the whole suite, or what is below the paths

A test that starts radiusd, drives a browser or injects a fault into running pieces also says how soon something has to
happen; with another one beside it on a small machine it would measure that one. For the same reason a handful of
failures is tried once more with nothing beside it: what fails then is broken, what passes then is named at the end.
"""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

#: More failures than these are no disturbance; they are not run again.
MOST_DISTURBED = 10

#: Where pytest keeps the names of the tests that failed, for its option ``--last-failed``.
LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")

ALONE = "system or fault or browser or pppoe"


def main(paths: list[str]) -> int:
    """Run both rounds, the second also when the first failed, then the failures; return the exit code of the whole."""
    LAST_FAILED.unlink(missing_ok=True)
    together = _run("-n", "auto", "--dist", "loadfile", "-m", f"not ({ALONE})", *paths)
    if together == pytest.ExitCode.INTERRUPTED:
        return together
    print(f"==> pytest: {ALONE}", flush=True)
    code = exit_code(together, _run("-m", ALONE, *paths))
    failed = _failed()
    if code != pytest.ExitCode.TESTS_FAILED or not 0 < len(failed) <= MOST_DISTURBED:
        return code
    print(f"==> pytest: {len(failed)} failed, each once more with nothing beside it", flush=True)
    code = _run("--last-failed", "--last-failed-no-failures", "none", *paths)
    if code == pytest.ExitCode.OK:
        print("==> failed at first, passed alone: " + ", ".join(failed), flush=True)
    return code


def _failed() -> list[str]:
    """Return the tests that pytest remembers as failed, of both rounds."""
    return sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []


def exit_code(*rounds: int) -> int:
    """Return the first failure of several rounds; that a round has no test is one only where no round has any."""
    failures = [code for code in rounds if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)]
    return failures[0] if failures else min(rounds)


def _run(*arguments: str) -> int:
    """Run pytest in a process of its own.

    The processes of a parallel run must find the same tests in the same order, also where parameters come from a set:
    they share one seed of hashes, another one each time. What one process compiled is kept for the next, and for the
    pieces that tests start, even where the environment asks for no such files: pytest's own compiling of 300 modules
    is half of the time in which a process finds its tests.
    """
    environment = {**os.environ, "PYTHONHASHSEED": str(secrets.randbelow(2**32))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests"]))
