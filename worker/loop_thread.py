"""A part of a worker that runs an event loop on a thread of its own, and is begun again when it fails."""

import asyncio
import threading

import structlog

log = structlog.get_logger()


class LoopThread:
    """Runs `main()` between `start()` and `stop()`; what it was doing then is taken up by whoever runs next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: asyncio.Task[None] | None = None
        self._started = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._started.wait(10)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end and wait."""
        self._stopping.set()
        loop, everything = self._loop, self._all
        if loop is not None and everything is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(everything.cancel)
            self._thread.join(seconds)

    async def main(self) -> None:
        """What a part does, until it is cancelled."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._begin())
            except asyncio.CancelledError:
                return
            except Exception:  # a worker that no longer does its work must not look as if it did
                log.exception(f"{self._name}_failed")
                self._stopping.wait(1)

    async def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._all = asyncio.current_task()
        self._started.set()
        await self.main()
