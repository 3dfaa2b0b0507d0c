"""A piece: one program of the stack, how it is started, when it is ready and how it is stopped.

The supervisor, the tests and the benchmarks start the pieces from these same descriptions.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stack.accounts import Account


class PieceFailed(Exception):
    """A piece ended or did not become ready in time; `str()` says which, and its last lines."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One program of the stack.

    `stop_signal` asks it to end in an orderly way, which it may take `stop_seconds` for. `ready` is polled from
    when it was started; None means that it is ready at once. The supervisor does not print lines with `noise` in them.
    `capabilities` are what it keeps of root's rights (capabilities(7), without `cap_`); it can get no others.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    account: Account
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    ready: Callable[[], bool] | None = field(default=None, compare=False)
    ready_seconds: float = 60.0
    noise: str | None = None
    capabilities: tuple[str, ...] = ()

    def full_command(self) -> list[str]:
        """Return the command that drops to the piece's user and ends with its parent.

        setpriv(1) does both and then becomes the program, so the process id is the piece's own. Without the
        second, a supervisor that was killed would leave a radiusd behind that holds the ports.
        """
        wrapped = ["setpriv", "--pdeathsig", self.stop_signal.name.removeprefix("SIG")]
        if os.geteuid() == 0:
            wrapped += [f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups"]
            if self.capabilities:
                kept = ",".join(("-all", *(f"+{name}" for name in self.capabilities)))
                wrapped += [f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]
        return [*wrapped, "--no-new-privs", "--", *self.command]


class RunningPiece:
    """A started piece that writes its output to a log file. For tests and benchmarks; the supervisor has its own."""

    def __init__(self, piece: Piece, log: Path) -> None:
        self.piece = piece
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the piece and wait until it is ready. Raises PieceFailed."""
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            self.piece.full_command(),
            env=dict(self.piece.environment),
            cwd=self.piece.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + self.piece.ready_seconds
        while self.piece.ready is not None and not self.piece.ready():
            if self._process.poll() is not None:
                self._close()
                raise PieceFailed(f"{self.piece.name} ended with {self._process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise PieceFailed(
                    f"{self.piece.name} was not ready within {self.piece.ready_seconds:g} s:\n{self.last_lines()}"
                )
            time.sleep(0.02)
        return self

    def last_lines(self, count: int = 15) -> str:
        """Return the end of what the piece wrote."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def stop(self) -> None:
        """Ask the piece to end and wait; kill it when it takes longer than it may."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.piece.stop_signal)
            try:
                self._process.wait(self.piece.stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close()

    def kill(self) -> None:
        """End the piece as a power cut would: SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
