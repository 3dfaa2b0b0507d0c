"""The `/ip pool`s of an emulated NAS, and who has which address of them."""

from collections import deque
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network


class Pools:
    """Pools by name. An address is in use once, whichever pools hold it."""

    def __init__(self, pools: Iterable[tuple[str, str]] = ()) -> None:
        self._ranges = {name: _ranges(written) for name, written in pools}
        self._in_use: set[str] = set()
        self._fresh: dict[str, Iterator[str]] = {}
        self._returned: dict[str, deque[str]] = {}

    def set(self, name: str, ranges: str | None) -> None:
        """Make or change a pool, by networks and spans with commas between; None takes it away."""
        self._fresh.pop(name, None)
        self._returned.pop(name, None)
        if ranges is None:
            self._ranges.pop(name, None)
        else:
            self._ranges[name] = _ranges(ranges)

    def forget(self) -> None:
        """Take every address back, as a power cut does."""
        self._in_use.clear()
        self._fresh.clear()
        self._returned.clear()

    def take(self, name: str) -> str | None:
        """Return a free address of a pool: those never used first. None when it is unknown here, or used up."""
        if name not in self._ranges:
            return None
        fresh = self._fresh.setdefault(name, _each(self._ranges[name]))
        returned = self._returned.setdefault(name, deque())
        while True:
            if (host := next(fresh, None)) is not None:
                taken = host
            elif returned:
                taken = returned.popleft()
            else:
                return None
            if taken not in self._in_use:
                self._in_use.add(taken)
                return taken

    def give_back(self, taken: str | None) -> None:
        """Free an address; one that no pool gave out is left alone."""
        if taken is None or taken not in self._in_use:
            return
        self._in_use.discard(taken)
        number = int(IPv4Address(taken))
        for name, ranges in self._ranges.items():
            if any(first <= number <= last for first, last in ranges):
                self._returned.setdefault(name, deque()).append(taken)
                return


def _ranges(written: str) -> tuple[tuple[int, int], ...]:
    """Read the ranges of a pool, `10.0.0.0/24` or `10.0.0.2-10.0.0.9` with commas between, as numbers."""
    ranges = []
    for part in written.split(","):
        first, dash, last = part.strip().partition("-")
        if dash:
            ranges.append((int(IPv4Address(first)), int(IPv4Address(last))))
            continue
        network = IPv4Network(first, strict=False)
        start, end = int(network.network_address), int(network.broadcast_address)
        ranges.append((start, end) if network.prefixlen > 30 else (start + 1, end - 1))
    return tuple(ranges)


def _each(ranges: tuple[tuple[int, int], ...]) -> Iterator[str]:
    for first, last in ranges:
        for each in range(first, last + 1):
            yield str(IPv4Address(each))
