"""Interleaved rounds: every contender in turn, then all again, so that a drift of the machine meets all of them alike.

A round in which something else used much of the machine is repeated, and the quietest try counts.
"""

import os
import resource
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.generator import Load, run_load
from bench.machine import busy_seconds, prefer, processor_seconds

QUIET = 0.10  # processors' worth of foreign work that a round may suffer
TRIES = 3
_PAUSE = 3.0  # seconds before a noisy round is tried again


class NotSettled(Exception):
    """A contender did not store what it had acknowledged within the time it was given."""


@dataclass(frozen=True)
class Contender:
    """A running server that is measured. `pieces` are the processes whose work is its cost, by name.

    `pending` tells how much it has acknowledged that is not yet where it belongs; None where an answer says that
    already. Processes in `halted` stand still while it is measured, and catch up, unmeasured, afterwards.
    """

    name: str
    auth_port: int
    acct_port: int
    users: Path
    pieces: Mapping[str, int]
    pending: Callable[[], int] | None = None
    halted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One round of one contender."""

    contender: str
    load: Load
    elapsed: float  # seconds from the first request until everything was settled
    settled_after: float  # of these, seconds after the last answer
    processor: Mapping[str, float] = field(default_factory=dict)  # microseconds a request, by piece
    foreign: float = 0.0  # processors' worth of work that was nobody's here

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return self.load.per_second

    @property
    def settled_per_second(self) -> float:
        """Requests answered and stored in a second: what could go on for ever."""
        return self.load.answered / (self.load.seconds + self.settled_after)


@dataclass(frozen=True)
class Plan:
    """How each contender is loaded in each round. `arguments` are options of radload; `preferred` as in `Options`."""

    mode: str
    seconds: float
    warm_up: float
    rounds: int
    window: int = 64
    arguments: tuple[str | float, ...] = ()
    settle_seconds: float = 120.0
    preferred: bool = False


def measure(contender: Contender, plan: Plan) -> Measured:
    """Load a contender once. Raises NotSettled."""
    port = contender.acct_port if plan.mode == "acct" else contender.auth_port
    if plan.preferred:
        prefer([os.getpid(), *contender.pieces.values()])
    if plan.warm_up:
        run_load(plan.mode, port, contender.users, "-d", plan.warm_up, "-w", plan.window, *plan.arguments)
        _wait_until_settled(contender, plan.settle_seconds)
    before = {name: processor_seconds(pid) for name, pid in contender.pieces.items()}
    busy, generator, started = busy_seconds(), _children_seconds(), time.monotonic()
    with _standing_still(contender.halted):
        load = run_load(plan.mode, port, contender.users, "-d", plan.seconds, "-w", plan.window, *plan.arguments)
        answered = settled = time.monotonic()
        if not contender.halted:
            _wait_until_settled(contender, plan.settle_seconds)
            settled = time.monotonic()
        busy = busy_seconds() - busy
        used = {name: processor_seconds(pid) - before[name] for name, pid in contender.pieces.items()}
    _wait_until_settled(contender, plan.settle_seconds)
    foreign = max(0.0, busy - sum(used.values()) - (_children_seconds() - generator)) / (settled - started)
    requests = max(1, load.answered)
    return Measured(
        contender.name,
        load,
        settled - started,
        settled - answered,
        {name: seconds / requests * 1e6 for name, seconds in used.items()}
        | {"generator": load.cpu_seconds / requests * 1e6},
        foreign,
    )


def compare(
    contenders: Sequence[Contender], plan: Plan, say: Callable[[str], None] = print
) -> dict[str, list[Measured]]:
    """Measure all contenders in interleaved rounds and return each one's rounds, in order."""
    rounds: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    for number in range(plan.rounds):
        for contender in contenders:
            best: Measured | None = None
            for attempt in range(TRIES if plan.rounds > 1 else 1):
                if attempt:
                    time.sleep(_PAUSE)
                tried = measure(contender, plan)
                say(_line(number, plan.mode, tried))
                if best is None or tried.foreign < best.foreign:
                    best = tried
                if tried.foreign < QUIET:
                    break
            assert best is not None
            rounds[contender.name].append(best)
    return rounds


def median(rounds: Sequence[Measured], value: Callable[[Measured], float]) -> float:
    return statistics.median(value(measured) for measured in rounds)


def ratio(
    rounds: Sequence[Measured], others: Sequence[Measured], value: Callable[[Measured], float] = lambda m: m.per_second
) -> float:
    """Return the median of the ratios round by round, which a drift of the machine touches least."""
    return statistics.median(value(one) / value(other) for one, other in zip(rounds, others, strict=True))


@contextmanager
def _standing_still(pids: Sequence[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _children_seconds() -> float:
    """Return the processor time of this process's children that have ended: radload with its start and its end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_until_settled(contender: Contender, limit: float) -> None:
    deadline = time.monotonic() + limit
    while contender.pending is not None and (left := contender.pending()):
        if time.monotonic() > deadline:
            raise NotSettled(f"{contender.name}: {left} octets or rows were still pending after {limit:g} s")
        time.sleep(0.02)


def _line(number: int, mode: str, measured: Measured) -> str:
    load = measured.load
    cost = "  ".join(f"{name} {used:.1f}" for name, used in measured.processor.items())
    faults = "" if load.faultless else f"  LOST {load.lost} FORGED {load.forged} WRONG {load.wrong}"
    return (
        f"  {measured.contender:<22} round {number + 1} {mode:<7} {load.per_second:>8.0f}/s"
        f"  p50 {load.p50_ms:.2f} p99 {load.p99_ms:.2f} ms  settled +{measured.settled_after:.2f} s"
        f"  us/request: {cost}  foreign {measured.foreign:.2f}{faults}"
    )
