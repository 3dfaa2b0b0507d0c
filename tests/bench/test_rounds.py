import os
import subprocess
import sys
import time
from dataclasses import replace

from bench.generator import Load
from bench.machine import describe_machine, processor_seconds, resident_mib
from bench.rounds import Measured, median, ratio

LOAD = Load("pap", 64, 0, 2.0, 2000, 2000, 2000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000.0, 1, 1, 1, 1, 1, 0.1)


def rounds(*rates: float) -> list[Measured]:
    return [Measured("x", replace(LOAD, per_second=rate), 2.0, 0.0) for rate in rates]


def test_a_drift_that_meets_both_contenders_leaves_their_ratio_alone() -> None:
    assert ratio(rounds(600, 300, 450), rounds(1000, 500, 750)) == 0.6


def test_the_median_round_is_what_counts() -> None:
    assert median(rounds(10, 1000, 20), lambda measured: measured.per_second) == 20


def test_time_until_everything_is_stored_lowers_the_rate_that_could_go_on() -> None:
    assert Measured("x", LOAD, 4.0, 2.0).settled_per_second == 500


def test_the_work_of_a_process_and_its_children_is_seen() -> None:
    # The kernel cuts user and system time to whole ticks of 10 ms, each for itself.
    burn = "import time\nwhile time.process_time() < 0.35: pass"
    child = f"subprocess.run([sys.executable, '-c', {burn!r}])"
    code = f"import subprocess, sys\n{child}\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert processor_seconds(process.pid) >= 0.3
        assert 1 < resident_mib(process.pid) < 100
        process.communicate()
    assert processor_seconds(process.pid) == 0


def test_a_process_that_waits_uses_nothing() -> None:
    before = processor_seconds(os.getpid())
    time.sleep(0.3)
    assert processor_seconds(os.getpid()) - before < 0.2


def test_the_machine_is_named() -> None:
    machine = describe_machine()
    assert machine.processor
    assert machine.cores >= 1
    assert machine.packages["freeradius"].startswith("3.")
