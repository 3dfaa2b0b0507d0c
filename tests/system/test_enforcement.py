"""Suspend, restore, change: from the committed row to the session on the NAS and back through its accounting.

Everything is real but the routers, which are emulated and speak UDP: publisher, radiusd, loader, worker, PostgreSQL,
Redis.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session as OrmSession

from aaa.facts import AccessKind
from core.clock import utc_now
from core.rates import RateLimit
from core.settings import Settings
from db.audit import Actor
from db.migrate import migrate
from db.models import AccountingSession
from db.session import Tenancy, make_engine, tenancy_key
from lab.attributes import TerminateCause
from lab.nas import Nas
from lab.network import BlockingNetwork, Cpe
from lab.profile import NasProfile, Server
from lab.routeros.table import Change
from lab.session import Session
from lab.subscriber import Method, Subscriber
from radius import by_hand
from stack.pieces import RunningPiece
from stack.programs import loader_piece, worker_piece
from tests.conftest import free_port
from tests.factories import Isp
from tests.lab.routeros import EmulatedRouter, emulated_router, router_loop
from tests.system.conftest import Controller, start_controller, wait_until

__all__ = ["emulated_router", "router_loop"]

pytestmark = pytest.mark.system

SUSPENDED = {"state": "suspended", "suspended_at": datetime(2027, 1, 1, tzinfo=UTC), "suspension_cause": "staff"}
ACTIVE = {"state": "active", "suspended_at": None}


@dataclass
class Site:
    """An ISP whose NAS are emulated, with the whole stack behind it."""

    controller: Controller
    network: BlockingNetwork
    loader: RunningPiece
    worker: RunningPiece
    new_worker: Callable[[], RunningPiece]
    addresses: Iterator[int]

    @property
    def isp(self) -> Isp:
        return self.controller.isp

    @property
    def settings(self) -> Settings:
        return self.controller.settings

    def nas(self, listens: bool = True, **profile) -> tuple[int, Nas]:
        """Register a NAS and start it; unless it `listens`, CoA goes to a port where nobody is."""
        address = f"127.0.42.{next(self.addresses)}"
        settings = self.settings
        nas = self.network.add_nas(
            NasProfile(
                name=f"nas-{address}",
                address=address,
                secret=self.isp.secret,
                server=Server("127.0.0.1", settings.auth_port, settings.acct_port),
                coa_port=0,
                **profile,
            )
        )
        port = self.network.coa_port(nas.profile.name) if listens else free_port()
        nas_id = self.isp.nas(address, name=nas.profile.name, coa_port=port)
        self.controller.settle()
        return nas_id, nas

    def connect(self, nas: Nas, name: str, kind: AccessKind = AccessKind.PPP, mac: str | None = None, **service) -> Cpe:
        """Register a subscriber, let it connect, and wait until accounting has its session."""
        method = Method.MAC if mac else Method.CHAP
        if mac:
            self.isp.service(mac, None, access_method="mac", **service)
        else:
            self.isp.service(name, **service)
        self.controller.settle()
        subscriber = Subscriber(
            name, "secret", kind, method, mac or f"02:00:00:00:00:{len(self.isp.services):02x}", redial_after=0.3
        )
        cpe = self.network.add_subscriber(subscriber, nas.profile.name)
        outcome = self.network.dial(cpe)
        assert isinstance(outcome, Session), outcome
        wait_until(lambda: self.sessions(mac or name), 10, "the session to be loaded")
        return cpe

    def sessions(self, name: str, columns: str = "id") -> list[tuple]:
        service = self.isp.services[name]
        return self.isp.fetch(f"SELECT {columns} FROM session WHERE service_id = %s ORDER BY id", service)

    def update(self, name: str, **values) -> float:
        """Change a service; return when the change was committed."""
        self.isp.update("service", self.isp.services[name], **values)
        return time.monotonic()

    def address_list(self, cpe: Cpe) -> str | None:
        return cpe.session.grant.address_list if cpe.session else None

    def interim(self, cpe: Cpe) -> None:
        session = cpe.session
        self.network.call(lambda _: cpe.nas.send_interim(session))

    def orders(self, name: str, columns: str = "kind, state, outcome") -> list[tuple]:
        return self.isp.fetch(
            f"SELECT {columns} FROM enforcement_order WHERE service_id = %s ORDER BY id", self.isp.services[name]
        )

    def order(self, name: str) -> tuple[str, str, str]:
        """Return kind, state and outcome of the newest order; empty where there is none yet."""
        kind, state, outcome = (self.orders(name) or [("", "", "")])[-1]
        return kind, state, outcome

    def attempts(self, name: str) -> list[tuple]:
        return self.isp.fetch(
            "SELECT a.kind, a.result, a.error_cause FROM enforcement_attempt a JOIN enforcement_order o"
            " ON o.id = a.order_id WHERE o.service_id = %s ORDER BY a.id",
            self.isp.services[name],
        )


def seconds_until(condition: Callable[[], bool], what: str, limit: float = 10.0, since: float | None = None) -> float:
    since = since or time.monotonic()
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit} s for {what}"
        time.sleep(0.005)
    return time.monotonic() - since


@pytest.fixture(scope="module")
def site(installation: Settings) -> Iterator[Site]:
    with ExitStack() as stack:
        controller = start_controller(installation, stack, address=None)
        network = stack.enter_context(BlockingNetwork())
        loader = stack.enter_context(RunningPiece(loader_piece(installation), installation.log_dir / "loader.log"))
        workers = iter(range(100))

        def new_worker() -> RunningPiece:
            log = installation.log_dir / f"worker{next(workers)}.log"
            return stack.enter_context(RunningPiece(worker_piece(installation), log))

        worker = new_worker()
        wait_until(
            lambda: controller.isp.fetch("SELECT 1 FROM follower WHERE name = 'worker'"), 30, "the worker to start"
        )
        yield Site(controller, network, loader, worker, new_worker, iter(range(1, 200)))


def test_a_suspended_subscriber_is_in_the_garden_and_back_within_a_second(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "ana")
    session = cpe.session
    assert site.address_list(cpe) == "portico-active"
    since = site.update("ana", **SUSPENDED)
    assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 1.0
    assert session.grant.rate_text == "512k/512k"
    since = site.update("ana", **ACTIVE)
    assert seconds_until(lambda: site.address_list(cpe) == "portico-active", "the way back", since=since) < 1.0
    assert session.grant.rate_text == "5M/20M"
    assert session.grant.session_timeout > 86_400
    assert cpe.session is session, "the session was never interrupted"
    wait_until(lambda: site.attempts("ana") == [("coa", "ack", None), ("coa", "ack", None)], 10, "the record of it")


def test_an_acknowledged_coa_is_verified_by_the_next_interim_update(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "verified")
    site.update("verified", **SUSPENDED)
    wait_until(lambda: site.orders("verified") == [("coa", "acked", "ack")], 10, "the ACK")
    time.sleep(0.5)
    assert site.orders("verified") == [("coa", "acked", "ack")]
    site.interim(cpe)
    wait_until(lambda: site.orders("verified") == [("coa", "verified", "ack")], 10, "the proof")


def test_a_plan_of_another_speed_changes_the_live_session(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "faster")
    plan = site.isp.plan(download=80_000_000, upload=40_000_000, priority=3)
    site.update("faster", plan_id=plan)
    seconds_until(lambda: cpe.session.grant.rate_text == "40M/80M 0/0 0/0 0/0 3", "the new speed")


def test_a_boost_comes_and_goes_on_the_live_session_by_itself(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "boosted")
    session = cpe.session
    until = utc_now() + timedelta(seconds=4)
    site.update("boosted", boost_download=60_000_000, boost_upload=20_000_000, boost_until=until)
    assert seconds_until(lambda: session.grant.rate_text == "20M/60M", "the boost") < 2.0
    seconds_until(lambda: session.grant.rate_text == "5M/20M", "the way back")
    assert utc_now() >= until
    assert cpe.session is session, "the session was never interrupted"
    wait_until(lambda: [row[:2] for row in site.attempts("boosted")] == [("coa", "ack")] * 2, 10, "the record of it")


def test_another_pool_takes_a_new_session_which_has_the_new_terms(site):
    _, nas = site.nas(pools=(("default", "10.64.0.0/24"), ("shops", "10.65.0.0/24")))
    cpe = site.connect(nas, "moved")
    old = cpe.session
    site.update("moved", pool="shops")
    seconds_until(lambda: cpe.session not in (None, old), "the CPE to be back")
    assert cpe.session.address.startswith("10.65.0.")
    wait_until(lambda: site.orders("moved") == [("disconnect", "verified", "ack")], 10, "the proof")
    time.sleep(0.5)
    assert len(site.orders("moved")) == 1
    assert cpe.dials == 2


def test_a_refused_subscriber_is_thrown_out_and_stays_out(site):
    with ExitStack() as stack:
        site.isp.update("operator", site.isp.operator_id, suspended_action="reject")
        stack.callback(site.isp.update, "operator", site.isp.operator_id, suspended_action="garden")
        _, nas = site.nas()
        cpe = site.connect(nas, "refused")
        site.update("refused", **SUSPENDED)
        seconds_until(lambda: cpe.session is None and cpe.last_refusal is not None, "the refusal")
        wait_until(lambda: site.orders("refused") == [("disconnect", "verified", "ack")], 10, "the proof")
        assert cpe.dials == 2


def test_a_session_that_the_nas_does_not_have_is_gone(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "vanished")
    session_id = cpe.session.id
    site.network.call(lambda _: (cpe.forget(), nas.sessions.pop(session_id)))
    site.update("vanished", **SUSPENDED)
    wait_until(lambda: site.orders("vanished") == [("coa", "superseded", "gone")], 10, "the NAK")
    assert site.attempts("vanished") == [("coa", "nak", 503)]
    assert site.sessions("vanished", "ended_by") == [("gone",)]


def test_a_hotspot_that_acknowledges_and_does_nothing_is_disconnected(site):
    _, nas = site.nas(hotspot_obeys_rate=False)
    cpe = site.connect(nas, "hotel", AccessKind.HOTSPOT)
    session = cpe.session
    site.update("hotel", plan_id=site.isp.plan(download=1_000_000, upload=1_000_000))
    for tries in (1, 2):
        wait_until(lambda: len(site.attempts("hotel")) == tries, 10, "the ACK")  # noqa: B023 - asked in this round
        time.sleep(2.5)  # an interim update that comes at once may have been made before
        site.interim(cpe)
        wait_until(lambda: len(site.attempts("hotel")) > tries, 10, "the next try")  # noqa: B023
    seconds_until(lambda: cpe.session is not session, "the disconnect")
    wait_until(lambda: site.order("hotel")[:2] == ("disconnect", "verified"), 10, "the proof")


def test_an_order_for_a_nas_that_does_not_answer_is_kept(site):
    nas_id, nas = site.nas(listens=False)
    cpe = site.connect(nas, "unreachable")
    site.update("unreachable", **SUSPENDED)
    wait_until(lambda: site.order("unreachable")[2] == "unreachable", 10, "the failure")
    assert site.order("unreachable")[1] == "pending"
    assert site.sessions("unreachable", "ended_at") == [(None,)]
    # Somebody corrects the port: the order is carried out at once, without waiting for its next turn.
    since = time.monotonic()
    site.isp.update("nas", nas_id, coa_port=site.network.coa_port(nas.profile.name))
    assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 3.0


def test_a_nas_that_comes_back_is_tried_as_soon_as_it_is_heard(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "returned")
    other = site.connect(nas, "neighbour")
    nas.powered = False  # cut off from us, its subscribers still online
    site.update("returned", **SUSPENDED)
    wait_until(lambda: site.order("returned")[2] == "timeout", 20, "the time-outs")
    due = site.orders("returned", "next_attempt_at - now()")[0][0]
    assert timedelta(seconds=2) < due < timedelta(seconds=6)
    site.isp.connection.execute(
        "UPDATE enforcement_order SET next_attempt_at = now() + interval '5 minutes',"
        " sent_at = now() - interval '1 minute' WHERE service_id = %s",
        (site.isp.services["returned"],),
    )
    nas.powered = True
    site.interim(other)
    seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", limit=5)


def test_a_dead_nas_delays_nobody(site):
    _, dead = site.nas()
    _, alive = site.nas()
    lost = [site.connect(dead, f"lost{number}") for number in range(5)]
    cpe = site.connect(alive, "alive")
    dead.powered = False
    for number in range(len(lost)):
        site.update(f"lost{number}", **SUSPENDED)
    time.sleep(0.3)
    since = site.update("alive", **SUSPENDED)
    assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 1.0
    dead.powered = True


def test_an_unanswered_disconnect_of_a_lease_does_not_make_the_nas_unreachable(site):
    _, nas = site.nas()
    lease = site.connect(nas, "lease", AccessKind.DHCP, mac="02:11:00:00:00:01")
    ppp = site.connect(nas, "beside")
    site.update("02:11:00:00:00:01", **SUSPENDED)
    time.sleep(0.3)
    since = site.update("beside", **SUSPENDED)
    assert seconds_until(lambda: site.address_list(ppp) == "portico-suspended", "the garden", since=since) < 1.0
    # The lease is short, so it is renewed soon; then RADIUS is asked and gives the new terms.
    outcome = site.network.wait_for(nas._renew(lease.session))
    assert outcome is None
    assert site.address_list(lease) == "portico-suspended"
    wait_until(
        lambda: site.orders("02:11:00:00:00:01") == [("coa", "verified", "granted anew")], 15, "the renewal to count"
    )


def test_a_cap_that_is_reached_throttles_within_two_seconds_of_the_interim(site):
    _, nas = site.nas()
    plan = site.isp.plan(cap_octets=1_000_000, cap_action="throttle", throttle_download=128_000, throttle_upload=64_000)
    cpe = site.connect(nas, "capped", plan_id=plan)
    site.network.call(lambda _: cpe.session.count(400_000, 700_000))
    since = time.monotonic()
    site.interim(cpe)
    assert seconds_until(lambda: cpe.session.grant.rate_text == "64k/128k", "the throttle", since=since) < 2.0


def by_a_person(site: Site, cpe: Cpe, act: Callable[[OrmSession, Actor, AccountingSession], object]) -> float:
    """Do what a person does in the portal to a live session, as the portal's role; return when it was committed."""
    migrate(site.settings)  # the portal's claim is signed with this installation's key
    engine = make_engine(site.settings.portal_database_url.get_secret_value())
    tenancy = Tenancy(engine, tenancy_key(site.settings.keyring))
    with tenancy.session(site.isp.operator_id) as session:
        service = site.isp.services[cpe.subscriber.name]
        live = session.scalars(
            select(AccountingSession).where(
                AccountingSession.service_id == service, AccountingSession.ended_at.is_(None)
            )
        ).one()
        act(session, Actor(site.isp.operator_id, "nora@example.net"), live)
        session.commit()
    engine.dispose()
    return time.monotonic()


def test_staff_end_a_session_and_the_subscriber_dials_again(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "ended")
    old = cpe.session
    since = by_a_person(site, cpe, lambda session, actor, live: by_hand.disconnect(session, actor, live, utc_now()))
    assert seconds_until(lambda: cpe.session not in (None, old), "the CPE to be back", since=since) < 2.0
    wait_until(lambda: site.order("ended") == ("disconnect", "verified", "ack"), 10, "the proof")


def test_staff_give_a_session_another_rate_which_stays_until_the_plan_changes(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "favoured")
    rate = RateLimit(90_000_000, 9_000_000)
    since = by_a_person(
        site, cpe, lambda session, actor, live: by_hand.change_rate(session, actor, live, rate, utc_now())
    )
    assert seconds_until(lambda: cpe.session.grant.rate_text == "9M/90M", "the rate", since=since) < 1.0
    wait_until(lambda: site.order("favoured")[1] == "acked", 10, "the ACK")
    site.interim(cpe)
    wait_until(lambda: site.order("favoured")[1] == "verified", 10, "the proof")
    site.update("favoured", session_limit=3)  # nothing that the session has
    time.sleep(0.5)
    assert cpe.session.grant.rate_text == "9M/90M"
    assert len(site.orders("favoured")) == 1
    site.update("favoured", plan_id=site.isp.plan(download=3_000_000, upload=1_000_000))
    seconds_until(lambda: cpe.session.grant.rate_text == "1M/3M", "the plan's rate")


def test_with_redis_flushed_and_gone_orders_are_carried_out_all_the_same(site, servers):
    _, nas = site.nas()
    cpe = site.connect(nas, "brokerless")
    with socket.socket(socket.AF_UNIX) as redis:
        redis.connect(str(servers.settings.run_dir / "redis.sock"))
        redis.sendall(b"FLUSHALL\r\n")
        assert redis.recv(16).startswith(b"+OK")
    since = site.update("brokerless", **SUSPENDED)
    assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 1.0
    servers.redis.kill()
    try:
        since = site.update("brokerless", **ACTIVE)
        assert seconds_until(lambda: site.address_list(cpe) == "portico-active", "the way back", since=since) < 1.0
        time.sleep(2)
        assert site.worker.running
        since = site.update("brokerless", **SUSPENDED)
        assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 1.0
    finally:
        servers.redis.start()


def test_a_worker_that_finds_no_redis_enforces_from_its_first_second(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "early")
    site.worker.stop()
    nowhere = site.settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:41698/0")})
    try:
        with RunningPiece(worker_piece(nowhere), site.settings.log_dir / "without-redis.log"):
            site.update("early", **SUSPENDED)
            seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", limit=15)
    finally:
        site.worker.start()


def test_broken_database_connections_are_made_anew(site):
    _, nas = site.nas()
    cpe = site.connect(nas, "reconnected")
    site.isp.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
    )
    since = site.update("reconnected", **SUSPENDED)
    assert seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the garden", since=since) < 8.0


def test_two_workers_send_each_order_once(site):
    _, nas = site.nas()
    cpes = [site.connect(nas, f"twice{number}") for number in range(10)]
    second = site.new_worker()
    try:
        wait_until(
            lambda: (
                site.isp.fetch(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'worker listener'"
                    " AND datname = current_database()"
                )[0][0]
                == 2
            ),
            30,
            "the second worker",
        )
        requests = site.network.call(lambda network: network.listeners[nas.profile.name].counters.requests)
        site.isp.connection.execute(
            "UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'staff'"
            " WHERE name LIKE 'twice%'"
        )
        seconds_until(lambda: all(site.address_list(cpe) == "portico-suspended" for cpe in cpes), "the garden")
        time.sleep(1)
        counters = site.network.call(lambda network: network.listeners[nas.profile.name].counters)
        assert counters.requests - requests == 10
    finally:
        second.stop()


def api_of(site: Site, nas_id: int, nas: Nas, router: EmulatedRouter) -> None:
    """Give a NAS the API of an emulated router, on which its PPP sessions are seen and removed."""
    box = router.box
    active = box.table("/ppp/active")
    for session in nas.sessions.values():
        active.put(
            {
                "name": session.subscriber.name,
                "service": "pppoe",
                "caller-id": session.subscriber.mac.upper(),
                "address": session.address,
                "session-id": f"0x{session.id.upper()}",
            }
        )

    def removed(change: Change) -> None:
        for session in list(nas.sessions.values()):
            if change.kind == "remove" and change.row["session-id"] == f"0x{session.id.upper()}":
                end = partial(nas.log_out, session, TerminateCause.ADMIN_RESET)
                Thread(target=site.network.call, args=(lambda _, end=end: end(),)).start()  # a hook must not wait

    box.on("/ppp/active", removed)
    site.isp.insert(
        "router", "nas_id", nas_id=nas_id, operator_id=site.isp.operator_id, api_address=router.address,
        api_port=router.port, api_user=router.user,
        api_password=site.settings.keyring.seal("router.password", router.password),
    )  # fmt: skip


def hurry(site: Site, name: str) -> None:
    """Do not wait for the pause after an unanswered request."""
    site.isp.connection.execute(
        "UPDATE enforcement_order SET next_attempt_at = now() WHERE service_id = %s AND state = 'pending'",
        (site.isp.services[name],),
    )


def test_a_session_that_obeys_neither_coa_nor_disconnect_is_removed_through_the_api(site, emulated_router):
    nas_id, nas = site.nas(listens=False)
    cpe = site.connect(nas, "deaf")
    session = cpe.session
    api_of(site, nas_id, nas, emulated_router())
    site.update("deaf", **SUSPENDED)
    seconds_until(lambda: hurry(site, "deaf") or cpe.session not in (None, session), "the CPE to be back", limit=30)
    assert site.address_list(cpe) == "portico-suspended"
    wait_until(lambda: site.order("deaf") == ("api", "verified", "ack"), 10, "the proof")
    assert [attempt[:2] for attempt in site.attempts("deaf")][-2:] == [("coa", "unreachable"), ("api", "ack")]
    assert len(site.attempts("deaf")) == 4
    assert cpe.dials == 2


def test_an_api_that_cannot_be_asked_leaves_the_session_open_and_the_order_waiting(site, emulated_router):
    nas_id, nas = site.nas(listens=False)
    cpe = site.connect(nas, "dark")
    router = emulated_router()
    api_of(site, nas_id, nas, router)
    router.box.faults.refuse_connections = True
    site.update("dark", **SUSPENDED)
    seconds_until(
        lambda: hurry(site, "dark") or ("api", "unreachable", None) in site.attempts("dark"), "the API", limit=30
    )
    assert site.order("dark")[:2] == ("coa", "pending")
    assert site.sessions("dark", "ended_at") == [(None,)]
    router.box.faults.refuse_connections = False
    seconds_until(lambda: hurry(site, "dark") or site.address_list(cpe) == "portico-suspended", "the garden", limit=30)


def test_a_worker_killed_in_the_middle_leaves_nothing_undone(site):
    _, nas = site.nas()
    cpes = [site.connect(nas, f"killed{number}") for number in range(30)]
    nas_id = site.isp.fetch("SELECT id FROM nas WHERE name = %s", nas.profile.name)[0][0]
    site.isp.update("nas", nas_id, coa_window=2)
    site.isp.connection.execute(
        "UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'staff'"
        " WHERE name LIKE 'killed%'"
    )
    seconds_until(lambda: any(site.address_list(cpe) == "portico-suspended" for cpe in cpes), "the first of them")
    site.worker.kill()
    time.sleep(0.2)
    site.worker.start()
    seconds_until(lambda: all(site.address_list(cpe) == "portico-suspended" for cpe in cpes), "all of them", limit=40)

    def all_are_verified() -> bool:
        """What was sent and not recorded is sent again after a while, and needs an interim update after that."""
        for cpe in cpes:
            site.interim(cpe)
        time.sleep(0.5)
        return {row[1] for number in range(30) for row in site.orders(f"killed{number}")} == {"verified"}

    wait_until(all_are_verified, 30, "all to be verified")
