"""The running access controller: publisher and radiusd of an installation, an ISP in it, and a client that asks."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from core.settings import Settings
from stack.pieces import RunningPiece
from stack.programs import publisher_piece
from stack.radiusd import radiusd_piece
from tests.factories import Isp
from tests.system.client import Client


@dataclass
class Controller:
    """Publisher and radiusd as they run in production, without the loader and the worker."""

    settings: Settings
    isp: Isp
    client: Client
    publisher: RunningPiece
    radiusd: RunningPiece

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until the image has what is committed now."""
        ((now,),) = self.isp.fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        wait_until(
            lambda: self.isp.fetch(
                "SELECT 1 FROM node WHERE pg_snapshot_xmax(image_position::pg_snapshot) >= %s::xid8", now
            ),
            seconds,
            "the image to follow",
        )


def wait_until(condition, seconds: float, what: str):
    """Return what `condition` returned as soon as it is true; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return found


def start_controller(settings: Settings, stack: ExitStack, **operator) -> Controller:
    isp = Isp.create(settings, **operator)
    stack.callback(isp.connection.close)
    publisher = stack.enter_context(RunningPiece(publisher_piece(settings), settings.log_dir / "publisher.log"))
    wait_until((settings.image_dir / "current").exists, 30, "the first image")
    radiusd = stack.enter_context(RunningPiece(radiusd_piece(settings), settings.log_dir / "radiusd.log"))
    client = Client(settings.auth_port, settings.acct_port)
    return Controller(settings, isp, client, publisher, radiusd)


@pytest.fixture(scope="module")
def controller(installation: Settings) -> Iterator[Controller]:
    with ExitStack() as stack:
        yield start_controller(installation, stack)
