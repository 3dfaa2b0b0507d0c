"""`portico run` for real: every piece, the demo, and nothing left behind."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from stack.installation import PROJECT, settings_environment
from tests.conftest import fresh_settings, new_directory
from tests.portal.test_health import named

pytestmark = pytest.mark.system


class Stack:
    """A `portico run` and what it has printed."""

    def __init__(self, directory: Path) -> None:
        self.settings = fresh_settings(directory).model_copy(update={"demo": True})
        self.log = directory / "run.log"

    def start(self) -> "Stack":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTICO_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stack", "run"],
                cwd=PROJECT,
                env=environment | settings_environment(self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for(r"Portico is up after \d+ s")
        return self

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, seconds: float = 180.0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.text}"
            time.sleep(0.1)
        return found

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)

    def descendants(self) -> list[int]:
        """Return the processes that work on this data directory or have it in their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(") ")[2][0]
            except OSError:
                continue
            if f"PORTICO_DATA_DIR={self.settings.data_dir}".encode() in environment and state != "Z":
                found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """One that runs. Who stops it starts it again, for the demo's first start is most of what this module takes."""
    directory = new_directory()
    with ExitStack() as undone:
        undone.callback(shutil.rmtree, directory)
        made = Stack(directory)
        undone.callback(made.stop)
        yield made.start()


def test_every_piece_runs(stack):
    assert "left out" not in stack.text
    assert "was not ready" not in stack.text


def test_the_printed_line_authenticates_a_demo_subscriber(stack):
    line = stack.wait_for(r"Try it +(radtest .*)")[1]
    deadline = time.monotonic() + 10
    while True:
        tried = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False)
        if "Received Access-Accept" in tried.stdout or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert "Received Access-Accept" in tried.stdout, tried.stdout + tried.stderr


def test_the_portal_answers(stack):
    address = stack.wait_for(r"Portal +(http://\S+)")[1]
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.status == 200
        assert "Portico" in answer.read().decode()


def test_every_piece_says_that_it_is_ready_and_what_the_dashboard_shows_is_counted(stack):
    address = stack.wait_for(r"Portal +(http://\S+)")[1].rstrip("/")
    ends = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
            page = answer.read().decode()
        ready = dict(re.findall(r'^portico_piece_ready\{piece="(\w+)"\} (\S+)', page, re.M))
        if set(ready.values()) == {"1.0"} and "portico_image_age_seconds{" in page:
            break
        assert time.monotonic() < ends, ready
        time.sleep(0.5)
    assert set(ready) >= {"portal", "publisher", "radiusd", "loader", "worker", "monitor"}
    exported = set(re.findall(r"^# TYPE (portico_[a-z_]+) ", page, re.M))
    # What is counted by rows appears with the first one, and backups with a directory for them.
    by_rows = {"alerts_open", "incidents_open", "notifications_late_seconds", "order_results", "webhook_endpoints",
               "journal_backlog_bytes", "orders", "routers", "jobs", "poll_age_seconds", "load_age_seconds",
               "backup_age_seconds"}  # fmt: skip
    assert {name.removesuffix("_bucket") for name in named()} - exported <= {f"portico_{name}" for name in by_rows}


def test_a_second_run_on_the_same_data_directory_is_refused(stack):
    second = subprocess.run(
        [sys.executable, "-m", "stack", "run"],
        env=os.environ | settings_environment(stack.settings),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2
    assert f"in use by `portico run`, process {stack.process.pid}" in second.stderr


def test_a_port_that_is_taken_is_named_before_anything_starts(stack, tmp_path):
    directory = tmp_path / "data"
    settings = stack.settings.model_copy(update={"data_dir": directory})
    refused = subprocess.run(
        [sys.executable, "-m", "stack", "run"],
        env=os.environ | settings_environment(settings),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert f"PORTICO_PORTAL_PORT: TCP port {settings.portal_port} on 127.0.0.1 is taken" in refused.stderr
    assert not (directory / "postgres").exists()


def test_the_idle_stack_stays_below_700_megabytes(stack):
    """Proportional set size: a page that several processes share counts once."""
    total = 0
    for pid in stack.descendants():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss: +(\d+) kB", rollup, re.M)[1])
    assert 50_000 < total < 700_000


def test_doctor_finds_the_running_stack_well(stack):
    asked = subprocess.run(
        [sys.executable, "-m", "stack", "doctor"],
        env=os.environ | settings_environment(stack.settings),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_after_a_power_cut_the_next_start_recovers(stack):
    for pid in stack.descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stack.process.wait()
    deadline = time.monotonic() + 10
    while stack.descendants() and time.monotonic() < deadline:
        time.sleep(0.1)
    stack.start()
    with socket.create_connection((stack.settings.portal_address, stack.settings.portal_port), timeout=5):
        pass


def test_stopping_leaves_nothing_behind_and_the_second_start_finds_everything(stack):
    logins = re.findall(r"\S+@demo\.example +\S+", stack.text)
    assert len(stack.descendants()) > 5
    assert stack.stop() == 0
    stopped = re.findall(r"^(\w+) +\| stopped in", stack.text, re.M)
    assert stopped[-2:] == ["redis", "postgres"]
    assert stack.descendants() == []

    begun = time.monotonic()
    stack.start()
    assert time.monotonic() - begun < 60  # 4 s on an idle machine
    assert "making a PostgreSQL cluster" not in stack.text
    assert re.findall(r"\S+@demo\.example +\S+", stack.text) == logins != []
    assert stack.stop() == 0
