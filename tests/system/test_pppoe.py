"""A subscriber's pppd dials a PPPoE concentrator, and that asks our radiusd: nothing between them is ours.

Both run inside user-mode Linux (`pppoe_vm.sh`), because this kernel need not know PPP. The calls are made side by
side, before the first test; each test then looks at one of them.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.settings import Settings
from stack.pieces import RunningPiece
from stack.programs import loader_piece
from tests.system.conftest import Controller, start_controller, wait_until

pytestmark = [pytest.mark.system, pytest.mark.pppoe, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("pppoe_vm.sh")
PASSWORD = 'it\'s a "pa$$\\word"'
METHODS = ("pap", "chap", "mschap1", "mschap2")
AT_ONCE = 3


@dataclass(frozen=True)
class Call:
    """What came of one dial-in, as the script tells it; `granted` are the attributes the concentrator was sent."""

    result: Mapping[str, str]
    granted: Mapping[str, str]


@dataclass(frozen=True)
class Calls:
    controller: Controller
    by_method: Mapping[str, Call]
    wrong: Call
    suspended: Call
    garden: Call


def dial(settings: Settings, secret: str, name: str, password: str, method: str) -> Call:
    environment = {**os.environ, "ACCTPORT": str(settings.acct_port), "HOLD": "2", "PINGS": "4"}
    done = subprocess.run(
        [SCRIPT, str(settings.auth_port), secret, name, password, method],
        capture_output=True,
        text=True,
        env=environment,
        timeout=150,
        check=False,
    )
    assert done.returncode in (0, 1), f"{name}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    lines = [line.partition("=") for line in done.stdout.splitlines()]
    granted = [value.partition(" ") for key, _, value in lines if key == "attr"]
    return Call({key: value for key, _, value in lines if key != "attr"}, {name: value for name, _, value in granted})


@pytest.fixture(scope="module")
def calls(installation: Settings) -> Iterator[Calls]:
    """Every dial-in of this module, made."""
    with ExitStack() as stack:
        controller = start_controller(installation, stack, suspended_action="reject", garden_pool="garden")
        stack.enter_context(RunningPiece(loader_piece(installation), installation.log_dir / "loader.log"))
        isp = controller.isp
        for number, method in enumerate(METHODS):
            isp.service(f"line-{method}", PASSWORD, framed_ip=f"10.64.7.{number + 1}")
        isp.service("line-wrong", PASSWORD)
        month = datetime.now(UTC) - timedelta(days=30)
        isp.service("line-suspended", PASSWORD, state="suspended", suspended_at=month, suspension_cause="overdue")
        controller.settle()
        with ThreadPoolExecutor(AT_ONCE) as pool:

            def call(name: str, password: str, method: str):
                return pool.submit(dial, installation, isp.secret, name, password, method)

            accepted = {method: call(f"line-{method}", PASSWORD, method) for method in METHODS}
            wrong = call("line-wrong", "another", "mschap2")
            suspended = call("line-suspended", PASSWORD, "chap")
            by_method = {method: each.result() for method, each in accepted.items()}
            refused = wrong.result(), suspended.result()
        isp.update("operator", isp.operator_id, suspended_action="garden")
        controller.settle()
        garden = dial(installation, isp.secret, "line-suspended", PASSWORD, "chap")
        yield Calls(controller, by_method, *refused, garden)


@pytest.mark.parametrize("method", METHODS)
def test_a_subscriber_connects_with_the_granted_rate_and_address(calls: Calls, method: str) -> None:
    call = calls.by_method[method]
    address = f"10.64.7.{METHODS.index(method) + 1}"
    assert (call.result["auth"], call.result["link"], call.result["ping"]) == ("accepted", "up", "ok")
    assert call.result["local_ip"] == address
    assert call.granted["Framed-IP-Address"] == address
    assert call.granted["Mikrotik-Rate-Limit"] == "5M/20M"
    assert call.granted["Acct-Interim-Interval"] == "300"


def test_a_wrong_password_is_refused(calls: Calls) -> None:
    assert (calls.wrong.result["auth"], calls.wrong.result["link"]) == ("refused", "down")
    assert calls.wrong.granted == {}


def test_a_suspended_subscriber_is_refused_where_the_operator_wants_that(calls: Calls) -> None:
    assert (calls.suspended.result["auth"], calls.suspended.result["link"]) == ("refused", "down")


def test_a_suspended_subscriber_is_led_into_the_walled_garden_where_the_operator_wants_that(calls: Calls) -> None:
    assert calls.garden.result["auth"] == "accepted"
    assert calls.garden.granted["Mikrotik-Address-List"] == "portico-suspended"
    assert calls.garden.granted["Mikrotik-Rate-Limit"] == "512k/512k"
    assert calls.garden.granted["Framed-Pool"] == "garden"
    assert calls.garden.granted["Session-Timeout"] == "600"


@pytest.mark.parametrize("method", METHODS)
def test_its_accounting_becomes_one_session_with_its_traffic(calls: Calls, method: str) -> None:
    isp = calls.controller.isp
    query = """
        SELECT host(framed_ip), mac::text, kind, terminate_cause, ended_by, session_time, octets_in, octets_out
        FROM session WHERE service_id = %s AND ended_at IS NOT NULL
    """
    (session,) = wait_until(
        lambda: isp.fetch(query, isp.services[f"line-{method}"]), 10, "the session to be loaded and closed"
    )
    address, mac, kind, cause, ended_by, seconds, sent, received = session
    assert (address, kind, cause, ended_by) == (
        f"10.64.7.{METHODS.index(method) + 1}",
        "ppp",
        "User-Request",
        "stop",
    )
    assert mac is not None
    assert 2 <= seconds <= 30
    assert (sent, received) == (4000, 4000)  # four echo requests of 1000 octets, and their replies


@pytest.mark.parametrize(
    ("name", "outcome"), [("line-mschap2", "accept"), ("line-wrong", "reject"), ("line-suspended", "reject")]
)
def test_every_outcome_is_kept_for_the_help_desk(calls: Calls, name: str, outcome: str) -> None:
    isp = calls.controller.isp
    query = "SELECT outcome, reason, method FROM auth_event WHERE service_id = %s ORDER BY at"
    outcomes = wait_until(lambda: isp.fetch(query, isp.services[name]), 10, "the outcome to be loaded")
    assert outcomes[0][0] == outcome
