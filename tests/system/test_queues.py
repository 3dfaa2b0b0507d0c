"""Static addresses end to end: a row is committed, and the router has it within seconds, whatever else is on it.

Worker, PostgreSQL and Redis are real; the router is emulated and holds what an ISP of two hundred clients left on it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from core.settings import Settings
from lab.routeros import Box, scenarios
from network.provisioning.want import marked
from stack.pieces import RunningPiece
from stack.programs import worker_piece
from tests.factories import Isp
from tests.lab.routeros import LoopThread, router_loop, running_router
from tests.system.conftest import wait_until

__all__ = ["router_loop"]

pytestmark = pytest.mark.system

SUSPENDED = {"state": "suspended", "suspended_at": datetime(2027, 1, 1, tzinfo=UTC), "suspension_cause": "staff"}
QUEUES, LISTS = "/queue/simple", "/ip/firewall/address-list"
MENUS = (
    QUEUES, LISTS, "/ppp/secret", "/ppp/profile", "/ip/dhcp-server/lease", "/ip/firewall/filter", "/ip/firewall/nat",
    "/ip/address", "/ip/pool", "/ip/hotspot/user", "/radius", "/user", "/ip/service", "/interface",
)  # fmt: skip


@dataclass
class Site:
    isp: Isp
    box: Box
    nas_id: int
    new_worker: Callable[[], RunningPiece]
    worker: RunningPiece

    def service(self, name: str, address: str, **values) -> int:
        return self.isp.service(name, None, access_method="queue", nas_id=self.nas_id, framed_ip=address, **values)

    def queue(self, service_id: int) -> tuple[str, str] | None:
        """Return target and rate of a service's queue, None where there is none."""
        for row in self.box.table(QUEUES):
            if marked(row.get("comment")) == service_id:
                return row["target"], row["max-limit"]
        return None

    def lists(self, address: str) -> list[str]:
        return sorted(row["list"] for row in self.box.table(LISTS) if row.get("address") == address)


def everything_else(box: Box) -> dict[str, list[dict[str, str]]]:
    """Return all rows of a box that do not carry our marker, in their order; not who logged in when."""
    return {
        path: [
            {key: value for key, value in row.fields.items() if key != "last-logged-in"}
            for row in box.table(path)
            if marked(row.get("comment")) is None
        ]
        for path in MENUS
    }


def within(seconds: float, condition: Callable[[], object], since: float) -> float:
    wait_until(condition, max(seconds - (time.monotonic() - since), 0.1), "the router to follow")
    return time.monotonic() - since


@pytest.fixture(scope="module")
def site(installation: Settings, router_loop: LoopThread) -> Iterator[Site]:
    with ExitStack() as stack:
        isp = Isp.create(installation, None)
        stack.callback(isp.connection.close)
        router = stack.enter_context(running_router(router_loop))
        scenarios.fill(router.box, scenarios.Size(queues=120, secrets=60, leases=20))
        nas_id = isp.nas("10.250.0.1", name="torre norte")
        isp.insert(
            "router", "nas_id", nas_id=nas_id, operator_id=isp.operator_id, api_address=router.address,
            api_port=router.port, api_user=router.user,
            api_password=installation.keyring.seal("router.password", router.password),
        )  # fmt: skip
        numbers = iter(range(100))

        def new_worker() -> RunningPiece:
            log = installation.log_dir / f"worker{next(numbers)}.log"
            return stack.enter_context(RunningPiece(worker_piece(installation), log))

        worker = new_worker()
        wait_until(lambda: isp.fetch("SELECT 1 FROM follower WHERE name = 'worker'"), 30, "the worker to start")
        yield Site(isp, router.box, nas_id, new_worker, worker)


def test_created_suspended_paid_and_ended_within_seconds_and_nothing_else_touched(site):
    before = everything_else(site.box)
    since = time.monotonic()
    ana = site.service("Ana Peña", "172.29.0.5")
    assert within(5, lambda: site.queue(ana) == ("172.29.0.5/32", "5000000/20000000"), since) < 5
    within(5, lambda: site.lists("172.29.0.5") == ["portico-active"], since)

    since = time.monotonic()
    site.isp.update("service", ana, **SUSPENDED)
    within(5, lambda: site.lists("172.29.0.5") == ["portico-suspended"], since)
    within(5, lambda: site.queue(ana) == ("172.29.0.5/32", "512000/512000"), since)

    since = time.monotonic()
    site.isp.update("service", ana, state="active", suspended_at=None)
    within(5, lambda: site.lists("172.29.0.5") == ["portico-active"], since)
    within(5, lambda: site.queue(ana) == ("172.29.0.5/32", "5000000/20000000"), since)

    since = time.monotonic()
    site.isp.update("service", ana, state="terminated")
    within(5, lambda: site.queue(ana) is None and site.lists("172.29.0.5") == [], since)
    assert everything_else(site.box) == before


def test_who_is_overdue_is_cut_off_and_comes_back_with_the_payment(site):
    ana = site.service("overdue", "172.29.0.6", paid_until="2026-01-01")
    within(10, lambda: site.lists("172.29.0.6") == ["portico-suspended"], time.monotonic())
    since = time.monotonic()
    site.isp.update("service", ana, paid_until="2099-01-01")
    within(5, lambda: site.lists("172.29.0.6") == ["portico-active"], since)


def test_a_new_speed_of_the_plan_reaches_all_of_its_queues(site):
    plan = site.isp.plan(name="Torre")
    lines = [site.service(f"torre {n}", f"172.29.1.{n}", plan_id=plan) for n in range(1, 41)]
    within(10, lambda: all(site.queue(line) for line in lines), time.monotonic())
    since = time.monotonic()
    burst = {"burst_download": 80_000_000, "burst_upload": 8_000_000, "burst_seconds": 16}
    threshold = {"burst_threshold_download": 40_000_000, "burst_threshold_upload": 4_000_000}
    burst = {"burst_download": 80_000_000, "burst_upload": 8_000_000, "burst_seconds": 16}
    threshold = {"burst_threshold_download": 40_000_000, "burst_threshold_upload": 4_000_000}
    site.isp.update("rate_plan", plan, download=50_000_000, **burst, **threshold)
    within(5, lambda: all(site.queue(line)[1] == "5000000/50000000" for line in lines), since)
    rows = [row for row in site.box.table(QUEUES) if marked(row.get("comment")) in lines]
    assert {(row["burst-limit"], row["burst-time"]) for row in rows} == {("8000000/80000000", "16s/16s")}


def test_a_worker_killed_in_the_middle_leaves_nothing_half_done(site):
    before = everything_else(site.box)
    site.box.faults.reply_delay = 0.02
    lines = [site.service(f"killed {n}", f"172.29.2.{n}") for n in range(1, 31)]
    wait_until(lambda: site.queue(lines[3]), 10, "the first queues")
    site.worker.kill()
    assert not all(site.queue(line) for line in lines), "it was killed before it was done"
    site.box.faults.reply_delay = 0.0
    site.worker = site.new_worker()
    wait_until(lambda: all(site.queue(line) for line in lines), 30, "another worker to finish")
    wait_until(
        lambda: not site.isp.fetch("SELECT 1 FROM router_queue WHERE pending_since IS NOT NULL"), 10, "the end of it"
    )
    marks = [marked(row.get("comment")) for row in site.box.table(QUEUES)]
    assert sorted(mark for mark in marks if mark in lines) == sorted(lines)
    assert everything_else(site.box) == before
