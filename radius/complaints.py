"""What goes wrong in radiusd, said at most every few seconds: radlog is synchronous and every packet may fail alike."""

import time
from collections.abc import Callable

from core.crypto import SecretUnreadable

Log = Callable[[str], None]

INTERVAL = 5.0


class Complaints:
    """Failures by where they happened; those of one place that follow each other quickly are counted."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, where: str, problem: Exception) -> None:
        now = time.monotonic()
        since, count = self._said.get(where, (0.0, 0))
        if now - since < INTERVAL:
            self._said[where] = (since, count + 1)
            return
        self._said[where] = (now, 0)
        more = f" ({count} more like it)" if count else ""
        what = "a sealed secret does not open" if isinstance(problem, SecretUnreadable) else repr(problem)
        self._log(f"portico {where}: {what}{more}")
