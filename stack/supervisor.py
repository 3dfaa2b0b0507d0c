"""The supervisor of `portico run`: it starts pieces in order, starts again what dies, stops them in reverse order.

A piece that dies must not take the others with it: radiusd goes on answering while PostgreSQL is away, so one that
ended is started again after a pause that doubles each time, and shrinks again once the piece has stayed up.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stack.pieces import Piece, PieceFailed

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0
"""A piece that lived this long is taken to be well: its next pause is the first one again."""

Say = Callable[[str, str], None]
"""Prints one line of a piece, given its name."""


class Supervised:
    """One piece, kept alive until `stop`."""

    def __init__(self, piece: Piece, say: Say) -> None:
        self.piece = piece
        self.starts = 0
        self.since = 0.0
        self._say = say
        self._ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the piece and wait until it is ready. Raises PieceFailed; the piece is kept alive even then."""
        self._keeping = asyncio.create_task(self._keep())
        deadline = time.monotonic() + self.piece.ready_seconds
        while not self._stopping.is_set():
            if self.piece.ready is None and self.starts:
                return
            if self._ended:
                raise PieceFailed(f"{self.piece.name} ended before it was ready")
            if self.pid is not None and self.piece.ready is not None and await asyncio.to_thread(self.piece.ready):
                return
            if time.monotonic() > deadline:
                raise PieceFailed(f"{self.piece.name} was not ready within {self.piece.ready_seconds:g} s")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Ask the piece to end; kill it when it takes longer than it may."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(self.piece.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), self.piece.stop_seconds)
            except TimeoutError:
                self._say(self.piece.name, f"did not end within {self.piece.stop_seconds:g} s; killed")
                self.kill()
        if self._keeping is not None:
            await self._keeping

    def kill(self) -> None:
        """End the piece, and what it started, at once."""
        self._stopping.set()
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            self._process = await asyncio.create_subprocess_exec(
                *self.piece.full_command(),
                env=dict(self.piece.environment),
                cwd=self.piece.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops the pieces in order
            )
            self.starts += 1
            self.since = time.time()
            begun = time.monotonic()
            await self._relay(self._process)
            status = await self._process.wait()
            self._ended = True
            if self._stopping.is_set():
                return
            if time.monotonic() - begun > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._say(self.piece.name, f"{_ending(status)}; starts again in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _relay(self, process: asyncio.subprocess.Process) -> None:
        """Print what the piece writes, line by line, until it ends.

        A grandchild may hold the pipe open after the piece itself ended, so the end of the process counts too.
        """
        assert process.stdout is not None
        ended = asyncio.create_task(process.wait())
        rest = b""
        while True:
            reading = asyncio.create_task(process.stdout.read(65536))
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                with suppress(TimeoutError):
                    await asyncio.wait_for(reading, 0.2)
            block = b"" if reading.cancelled() or not reading.done() else reading.result()
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._print(line)
            if not block:
                break
        await ended
        if rest:
            self._print(rest)

    def _print(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if self.piece.noise is None or self.piece.noise not in text:
            self._say(self.piece.name, text)


class Supervisor:
    """The pieces in the order in which they were started."""

    def __init__(self, say: Say, state_file: Path) -> None:
        self._say = say
        self._state_file = state_file
        self._pieces: list[Supervised] = []

    async def start(self, piece: Piece) -> None:
        """Start a piece, wait until it is ready and keep it alive from now on. Raises PieceFailed."""
        supervised = Supervised(piece, self._say)
        self._pieces.append(supervised)
        try:
            await supervised.start()
        finally:
            self._write_state()

    async def watch(self, until: asyncio.Event) -> None:
        """Keep `state_file` telling which pieces run, for `portico doctor`, until the event is set."""
        while not until.is_set():
            self._write_state()
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), 5.0)

    async def stop(self) -> None:
        """Stop the pieces, the last one first."""
        for supervised in reversed(self._pieces):
            begun = time.monotonic()
            await supervised.stop()
            self._say(supervised.piece.name, f"stopped in {time.monotonic() - begun:.1f} s")
        self._state_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End every piece at once."""
        for supervised in reversed(self._pieces):
            supervised.kill()

    def _write_state(self) -> None:
        state = {
            supervised.piece.name: {
                "pid": supervised.pid,
                "since": supervised.since,
                "restarts": max(supervised.starts - 1, 0),
            }
            for supervised in self._pieces
        }
        unfinished = self._state_file.with_suffix(".new")
        unfinished.write_text(json.dumps(state), encoding="utf-8")
        unfinished.replace(self._state_file)


def _ending(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
