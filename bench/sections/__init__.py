"""What is measured: a module for each section of `bench/RESULTS.md`, with a function `measure(options)`."""

from dataclasses import dataclass

from bench.rounds import Plan


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure. `quick` is for trying the benchmark itself: its figures mean nothing.

    `preferred` gives what is measured the processor before everything else on the machine (bench.machine.prefer).
    """

    quick: bool = False
    preferred: bool = False

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def seconds(self) -> float:
        return 2.0 if self.quick else 5.0

    @property
    def warm_up(self) -> float:
        return 0.5 if self.quick else 1.5

    def plan(self, mode: str) -> Plan:
        """Return how contenders are compared with one kind of request."""
        return Plan(mode, self.seconds, self.warm_up, self.rounds, preferred=self.preferred)

    def scaled(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.quick else full
