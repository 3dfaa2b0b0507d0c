import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.settings import Settings
from stack.accounts import piece_account
from stack.installation import PROJECT
from stack.pieces import Piece, PieceFailed
from stack.supervisor import Supervisor


class Said(list[tuple[str, str]]):
    """What a supervisor printed."""

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for who, line in self if who == name]


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def python(name: str, code: str, **changes) -> Piece:
    account = piece_account(Settings.model_construct(user="portico"))
    return Piece(name, (sys.executable, "-uc", code), {"PATH": "/usr/bin"}, account, Path("/"), **changes)


def supervised(tmp_path: Path, test) -> Said:
    said = Said()
    asyncio.run(test(Supervisor(said, tmp_path / "pieces.json"), said))
    return said


SLEEP = "import os, time; print('pid', os.getpid()); time.sleep(60)"


def test_a_piece_that_was_killed_is_started_again(tmp_path):
    async def test(supervisor, said):
        await supervisor.start(python("loader", SLEEP))
        await until(lambda: len(said.of("loader")) == 1)
        os.kill(int(said.of("loader")[0].split()[1]), signal.SIGKILL)
        await until(lambda: len(said.of("loader")) == 3)
        await supervisor.stop()

    first, died, second, stopped = supervised(tmp_path, test).of("loader")
    assert died == "killed by SIGKILL; starts again in 0.5 s"
    assert first != second
    assert stopped.startswith("stopped in ")


def test_pauses_double_while_a_piece_keeps_dying(tmp_path):
    async def test(supervisor, said):
        await supervisor.start(python("portal", "raise SystemExit(3)"))
        await until(lambda: len(said.of("portal")) == 2)
        await supervisor.stop()

    assert supervised(tmp_path, test).of("portal")[:2] == [
        "ended with status 3; starts again in 0.5 s",
        "ended with status 3; starts again in 1 s",
    ]


def test_pieces_stop_in_the_reverse_order_of_their_start(tmp_path):
    async def test(supervisor, said):
        for name in ("postgres", "radiusd", "portal"):
            await supervisor.start(python(name, SLEEP))
        await until(lambda: len(said) == 3)
        await supervisor.stop()

    assert [name for name, line in supervised(tmp_path, test) if line.startswith("stopped")] == [
        "portal",
        "radiusd",
        "postgres",
    ]


def test_a_piece_that_will_not_end_is_killed(tmp_path):
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"

    async def test(supervisor, said):
        await supervisor.start(python("worker", stubborn, stop_seconds=0.3))
        await until(lambda: len(said) == 1)
        await supervisor.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(int(said.of("worker")[0].split()[1]), 0)

    assert "did not end within 0.3 s; killed" in supervised(tmp_path, test).of("worker")


def test_a_start_ends_with_a_reason_when_the_piece_is_never_ready(tmp_path):
    async def test(supervisor, said):
        with pytest.raises(PieceFailed, match=r"radiusd was not ready within 0\.3 s"):
            await supervisor.start(python("radiusd", SLEEP, ready=lambda: False, ready_seconds=0.3))
        await supervisor.stop()

    supervised(tmp_path, test)


def test_pieces_do_not_run_as_root(tmp_path):
    async def test(supervisor, said):
        await supervisor.start(python("portal", "import os, time; print(os.getuid(), os.getgroups()); time.sleep(60)"))
        await until(lambda: said)
        await supervisor.stop()

    account = piece_account(Settings.model_construct(user="portico"))
    assert account.uid != 0
    assert supervised(tmp_path, test).of("portal")[0].startswith(f"{account.uid} [")


def test_pieces_end_when_their_supervisor_is_killed():
    """Else a radiusd without supervisor would hold the ports against the next start."""
    script = (
        "import asyncio\n"
        "from pathlib import Path\n"
        "from stack.supervisor import Supervisor\n"
        "from tests.stack.test_supervisor import SLEEP, python\n"
        "async def main():\n"
        "    supervisor = Supervisor(lambda _, line: print(line, flush=True), Path('/unused'))\n"
        "    await supervisor.start(python('radiusd', SLEEP))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        piece = int(process.stdout.readline().split()[1])
        assert is_running(piece)
        process.kill()
    for _ in range(200):
        if not is_running(piece):
            break
        time.sleep(0.05)
    assert not is_running(piece)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_doctor_can_read_which_pieces_run(tmp_path):
    async def test(supervisor, said):
        await supervisor.start(python("publisher", SLEEP))
        await until(lambda: said)
        done = asyncio.Event()
        watching = asyncio.create_task(supervisor.watch(done))
        await until(lambda: (tmp_path / "pieces.json").exists())
        state = json.loads((tmp_path / "pieces.json").read_text())
        done.set()
        await watching
        await supervisor.stop()
        assert state["publisher"]["pid"] == int(said.of("publisher")[0].split()[1])
        assert state["publisher"]["restarts"] == 0

    supervised(tmp_path, test)
