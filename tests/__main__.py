"""Run the tests in two rounds: those that only need a database side by side, then the others one after the other.

    python -m tests [PATH…]      the whole suite, or what is below the paths

A test that starts radiusd, drives a browser or injects a fault into running pieces also says how soon something has to
happen; with another one beside it on a small machine it would measure that one.
"""

import os
import secrets
import subprocess
import sys

import pytest

ALONE = "system or fault or browser or pppoe"


def main(paths: list[str]) -> int:
    """Run both rounds, the second also when the first failed, and return the exit code of the whole."""
    together = _run("-n", "auto", "--dist", "loadfile", "-m", f"not ({ALONE})", *paths)
    if together == pytest.ExitCode.INTERRUPTED:
        return together
    print(f"==> pytest: {ALONE}", flush=True)
    return exit_code(together, _run("-m", ALONE, *paths))


def exit_code(*rounds: int) -> int:
    """Return the first failure of several rounds; that a round has no test is one only where no round has any."""
    failures = [code for code in rounds if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)]
    return failures[0] if failures else min(rounds)


def _run(*arguments: str) -> int:
    """Run pytest in a process of its own.

    The processes of a parallel run must find the same tests in the same order, also where parameters come from a set:
    they share one seed of hashes, another one each time.
    """
    environment = {**os.environ, "PYTHONHASHSEED": str(secrets.randbelow(2**32))}
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests"]))
