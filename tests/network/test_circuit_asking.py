"""A circuit test from the job to the record: real PostgreSQL, an emulated router over a real socket, and its faults."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.jobs import start_job
from db.audit import Actor
from db.models import CircuitTest, Job
from db.session import make_engine
from lab.routeros import User
from network import circuit_rate, circuit_test
from network.circuit_test import TEST
from network.jobs import JOBS
from tests.factories import Isp
from tests.lab.routeros import EmulatedRouter
from worker.jobs import run_job

MAC = "aa:bb:cc:00:00:01"
ADDRESS = "10.40.0.7"


@dataclass
class Site:
    """An ISP with one router and one line, whose circuit is tested."""

    isp: Isp
    settings: Settings
    nas_id: int
    line: int
    router: EmulatedRouter

    def online(self, service: int | None = None, address: str = ADDRESS, **values) -> None:
        now = utc_now()
        values = {
            "nas_id": self.nas_id, "kind": "dhcp", "mac": MAC, "framed_ip": address, "nas_port_id": "sector 1",
            "started_at": now - timedelta(hours=2), "updated_at": now, "acct_session_id": "1", "user_name": "u",
            **values,
        }  # fmt: skip
        self.isp.insert("session", operator_id=self.isp.operator_id, service_id=service or self.line, **values)

    def lost(self, number: int, sector: str = "sector 1") -> None:
        for each in range(number):
            neighbour = self.isp.service(f"lost {sector} {each}")
            self.online(
                neighbour, f"10.41.0.{each + 1}", mac=None, nas_port_id=sector, acct_session_id=f"{sector} {each}",
                ended_at=utc_now() - timedelta(minutes=5), ended_by="stop", terminate_cause="Lost-Carrier",
            )  # fmt: skip

    def heard(self, ago: timedelta = timedelta()) -> None:
        self.isp.insert(
            "nas_heard", "nas_id", nas_id=self.nas_id, operator_id=self.isp.operator_id, last_packet_at=utc_now() - ago
        )

    def moved_to(self, address: str, port: int) -> None:
        self.isp.connection.execute(
            "UPDATE router SET api_address = %s, api_port = %s WHERE nas_id = %s", (address, port, self.nas_id)
        )

    def tested(self, times: int = 1, **parameters: object) -> CircuitTest:
        assert self.settings.database_url is not None
        engine = make_engine(self.settings.database_url.get_secret_value())
        with Session(engine, expire_on_commit=False) as session:
            row = CircuitTest(operator_id=self.isp.operator_id, service_id=self.line)
            session.add(row)
            session.flush()
            job = start_job(session, Actor(self.isp.operator_id, "test"), TEST, {"test_id": row.id, **parameters})
            session.commit()
            for _ in range(times):
                run_job(engine, self.settings, job.id, JOBS)
                session.execute(Job.__table__.update().where(Job.id == job.id).values(state="queued"))
                session.commit()
            session.refresh(row)
        engine.dispose()
        return row


def found(test: CircuitTest) -> dict[str, str]:
    return {step["step"]: step["finding"] for step in test.steps}


@pytest.fixture
def site(installation: Settings, emulated_router: Callable[..., EmulatedRouter]) -> Iterator[Site]:
    router = emulated_router(identity="torre")
    router.box.pinged = lambda _address: 0.012
    isp = Isp.create(installation, None)
    nas_id = isp.nas(f"10.250.{isp.operator_id % 250}.1", name="torre")
    isp.insert(
        "router", "nas_id", nas_id=nas_id, operator_id=isp.operator_id, api_address=router.address,
        api_port=router.port, api_user=router.user,
        api_password=installation.keyring.seal("router.password", router.password),
    )  # fmt: skip
    line = isp.service(MAC, None, access_method="mac")
    yield Site(isp, installation, nas_id, line, router)
    isp.connection.close()


def test_a_line_that_works_is_called_so(site):
    site.online()
    site.router.box.table("/ip/arp").put(
        {"address": ADDRESS, "mac-address": MAC.upper(), "interface": "ether2", "dynamic": "true", "complete": "true"}
    )
    test = site.tested()
    assert (test.verdict, test.why) == ("none", "all_well")
    assert found(test) == {
        "session": "online", "account": "allowed", "router": "reached", "ping": "answers", "link": "seen",
        "sector": "no_others",
    }  # fmt: skip
    ping = test.steps[3]["values"]
    assert (ping["address"], ping["sent"], ping["received"], ping["milliseconds"]) == (ADDRESS, 10, 10, 12.0)
    assert (test.nas_name, test.sector, str(test.address)) == ("torre", "sector 1", ADDRESS)


def test_a_device_that_does_not_answer_is_at_the_premises(site):
    site.online()
    site.router.box.pinged = lambda _address: None
    test = site.tested()
    assert (test.verdict, test.why) == ("premises", "silent")
    assert (found(test)["ping"], found(test)["link"]) == ("silent", "not_seen")


def test_half_of_the_packets_lost_by_this_line_alone_is_at_the_premises(site):
    site.online()
    for number in (1, 2):
        site.online(site.isp.service(f"n{number}"), f"10.40.0.9{number}", acct_session_id=f"n{number}", mac=None)
    turns = iter(range(1000))
    site.router.box.pinged = lambda address: 0.01 if address != ADDRESS or next(turns) % 2 else None
    test = site.tested()
    assert (test.verdict, test.why) == ("premises", "loses")
    assert test.steps[3]["values"]["loss"] == 50
    assert found(test)["sector"] == "others_fine"


def test_half_of_the_packets_lost_by_the_neighbours_too_is_the_sector(site):
    site.online()
    for number in (1, 2):
        site.online(site.isp.service(f"m{number}"), f"10.40.0.9{number}", acct_session_id=f"m{number}", mac=None)
    turns = iter(range(1000))
    site.router.box.pinged = lambda _address: 0.01 if next(turns) % 2 else None
    test = site.tested()
    assert (test.verdict, test.why, found(test)["sector"]) == ("sector", "sector_loses", "others_lose")


def test_a_sector_that_went_dark_is_not_the_subscribers_fault(site):
    site.online(ended_at=utc_now() - timedelta(minutes=5), ended_by="stop", terminate_cause="Lost-Carrier")
    site.lost(6)
    site.online(site.isp.service("far"), "10.42.0.1", nas_port_id="sector 2", acct_session_id="far", mac=None)
    test = site.tested()
    assert (test.verdict, test.why) == ("sector", "sector_dark")
    assert test.steps[-1]["values"] == {"up": 0, "lost": 6}


def test_who_hung_up_is_not_counted_as_lost(site):
    site.lost(6)
    site.isp.connection.execute("UPDATE session SET terminate_cause = 'User-Request' WHERE nas_id = %s", (site.nas_id,))
    site.online(ended_at=utc_now(), ended_by="stop", terminate_cause="Lost-Carrier")
    assert site.tested().verdict == "premises"


def test_a_router_that_is_off_is_the_router(site, monkeypatch):
    monkeypatch.setattr(circuit_test, "PATIENCE", 1.0)
    site.online(ended_at=utc_now(), ended_by="stale")
    with closing(socket.socket()) as deaf:  # takes no further connection: its queue is full
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with closing(socket.create_connection(deaf.getsockname())):
            site.moved_to(*deaf.getsockname())
            test = site.tested()
    assert (test.verdict, test.why) == ("router", "router_out")
    assert (found(test)["router"], found(test)["ping"], found(test)["link"]) == ("timeout", "not_asked", "not_asked")


def test_a_router_whose_api_alone_is_off_is_not_called_off(site):
    site.online()
    site.heard()
    site.moved_to("127.0.0.1", 1)
    test = site.tested()
    assert (test.verdict, test.why, found(test)["router"]) == ("unsure", "not_asked", "refused")


def test_a_suspended_line_whose_device_answers_is_the_account(site):
    site.online(ended_at=utc_now(), ended_by="stop", terminate_cause="Admin-Reset")
    site.isp.insert(
        "service_grant", "service_id", service_id=site.line, operator_id=site.isp.operator_id, outcome="reject",
        reason="suspended_overdue",
    )  # fmt: skip
    site.router.box.table("/ip/dhcp-server/lease").put(
        {"mac-address": MAC.upper(), "active-address": "10.40.0.50", "status": "bound", "last-seen": "1m"}
    )
    test = site.tested()
    assert (test.verdict, test.why) == ("account", "closed")
    assert found(test)["ping"] == "answers"
    assert test.steps[3]["values"]["address"] == "10.40.0.50"
    assert test.steps[1]["values"] == {"reason": "suspended_overdue"}


def test_a_device_that_is_refused_each_minute_is_the_account(site):
    site.isp.insert(
        "auth_event", at=utc_now(), operator_id=site.isp.operator_id, nas_id=site.nas_id, service_id=site.line,
        user_name=MAC, kind="dhcp", method="mac", outcome="reject", reason="session_limit",
    )  # fmt: skip
    test = site.tested()
    assert (test.verdict, test.why, test.steps[1]["values"]["reason"]) == ("account", "refused", "session_limit")


def test_a_radio_link_is_told_with_its_signal(installation, emulated_router, site):
    router = emulated_router(packages=["wireless"])
    router.box.table("/interface/wireless/registration-table").put(
        {"interface": "wlan1", "mac-address": MAC.upper(), "signal-strength": "-67dBm@6Mbps"}
    )
    site.moved_to(router.address, router.port)
    site.online(ended_at=utc_now(), ended_by="stop", terminate_cause="User-Request")
    test = site.tested()
    assert (test.verdict, test.why) == ("premises", "no_login")
    assert test.steps[4]["values"] == {"where": "radio", "mac": MAC, "interface": "wlan1", "signal": "-67dBm@6Mbps"}


def test_an_api_user_who_may_not_ping_leaves_the_ping_open(emulated_router, site):
    router = emulated_router(users={"small": User("secret", "small", frozenset({"read", "api"}))})
    site.isp.connection.execute("UPDATE router SET api_user = 'small' WHERE nas_id = %s", (site.nas_id,))
    site.moved_to(router.address, router.port)
    site.online()
    test = site.tested()
    assert found(test)["ping"] == "permission"
    assert "not enough permissions" in test.steps[3]["words"]
    assert test.verdict != "none"


@pytest.mark.parametrize("fault", [{"garbage": b"\xff\xfe<html>"}, {"cut_after": 900}])
def test_a_router_that_answers_nonsense_is_a_finding(site, fault):
    site.online()
    for name, value in fault.items():
        setattr(site.router.box.faults, name, value)
    test = site.tested()
    assert test.verdict is not None
    assert len(test.steps) == 6


def test_a_test_begun_again_by_another_worker_is_kept_once(site):
    site.online()
    test = site.tested(times=2)
    assert len(test.steps) == 6


def test_a_line_that_was_never_seen_anywhere_is_left_open(site):
    test = site.tested()
    assert (test.verdict, found(test)["router"]) == ("unsure", "no_router")


# The speed, where somebody is there to use the line.


@contextmanager
def downloading(site: Site, rate: float):
    """Let so many bit/s pass the router's counters of the line, as a speed test does. The plan sells 20 Mbit/s."""
    table = site.router.box.table("/interface")
    begun, over = time.monotonic(), threading.Event()

    def counted() -> dict[str, str]:
        octets = round(rate / 8 * (time.monotonic() - begun))
        return {"rx-byte": str(octets // 10), "tx-byte": str(1_000_000 + octets)}

    row = table.put({"name": "<pppoe-ana>", "type": "pppoe-in", **counted()})

    def count() -> None:
        while not over.wait(0.005):
            table.change(row, counted())

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("rate", "finding", "mark"),
    [(19e6, "rate_reached", "ok"), (8e6, "rate_short", "warning"), (3e5, "rate_idle", "unknown")],
)
def test_the_speed_is_judged_by_what_the_router_counts_while_somebody_downloads(site, monkeypatch, rate, finding, mark):
    monkeypatch.setattr(circuit_rate, "APART", 0.1)
    site.online(kind="ppp", user_name="ana", mac=None)
    with downloading(site, rate):
        test = site.tested(rate=True)
    [step] = [each for each in test.steps if each["step"] == "rate"]
    assert (step["finding"], step["mark"], step["values"]["sold"]) == (finding, mark, "20.0")
    assert float(step["values"]["download"]) > 0
    assert (test.verdict, test.why) == ("none", "all_well")  # a slow line is not a broken one


def test_a_line_that_the_router_does_not_count_is_not_judged(site):
    site.online()
    assert found(site.tested(rate=True))["rate"] == "no_counter"
    site.moved_to("127.0.0.1", 9)
    assert found(site.tested(rate=True))["rate"] == "not_asked"
