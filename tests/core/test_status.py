"""A piece answers at its socket: alive, ready, and what it counted."""

import json
import socket
import time
from pathlib import Path

import prometheus_client
import pytest

from core import status
from core.status import ask, beat, serve, stuck

COUNTED = prometheus_client.Counter("portico_test_things", "Things of a test")


@pytest.fixture(autouse=True)
def _no_steps(monkeypatch):
    monkeypatch.setattr(status, "_steps", {})


def asked(directory: Path, path: str) -> tuple[int, dict]:
    code, said = ask(directory, "worker", path)
    return code, json.loads(said)


def test_a_piece_is_ready_when_its_checks_and_steps_are_well(tmp_path):
    wrong = [""]
    serve(tmp_path, "worker", {"database": lambda: wrong[0]})
    beat("orders")
    assert asked(tmp_path, "/healthz") == (200, {"piece": "worker", "status": "alive", "stuck": []})
    ready = {"piece": "worker", "status": "ready", "checks": {"database": "ok", "orders": "ok"}}
    assert asked(tmp_path, "/readyz") == (200, ready)
    wrong[0] = "schema 0036, not 0038"
    assert asked(tmp_path, "/readyz")[0] == 503
    assert asked(tmp_path, "/healthz")[0] == 200
    assert asked(tmp_path, "/elsewhere")[0] == 404


def test_a_step_that_is_stuck_is_named(tmp_path):
    serve(tmp_path, "worker", {})
    beat("orders", within=0.02)
    beat("jobs")
    time.sleep(0.05)
    assert stuck() == ["orders"]
    assert asked(tmp_path, "/healthz") == (503, {"piece": "worker", "status": "stuck", "stuck": ["orders"]})
    beat("orders", within=60)
    assert asked(tmp_path, "/healthz")[0] == 200


def test_an_error_of_a_check_is_told_without_its_words(tmp_path):
    def fails() -> str:
        raise OSError("postgresql://portico:s3cret@db")

    serve(tmp_path, "worker", {"database": fails})
    code, said = asked(tmp_path, "/readyz")
    assert (code, said["checks"]) == (503, {"database": "OSError"})


def test_only_what_we_counted_is_told(tmp_path):
    COUNTED.inc(3)
    serve(tmp_path, "worker", {})
    _code, said = ask(tmp_path, "worker", "/metrics")
    assert "portico_test_things_total 3.0" in said
    assert "python_" not in said


def test_a_socket_that_a_killed_process_left_is_taken_over_and_is_closed_to_others(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "worker.status"))
    with pytest.raises(ConnectionRefusedError):
        ask(tmp_path, "worker", "/healthz")
    serve(tmp_path, "worker", {})
    assert asked(tmp_path, "/healthz")[0] == 200
    assert (tmp_path / "worker.status").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        ask(tmp_path, "monitor", "/healthz")
