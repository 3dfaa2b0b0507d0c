"""The whole monitor against an emulated router and a real database."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest

from core.clock import utc_now
from db.models import Router
from network.check import Check
from network.monitoring import service
from network.monitoring.service import Monitor, stand_by
from network.monitoring.states import Standing
from network.monitoring.store import Polled, store
from network.problems import Cause, RouterProblem
from network.routers import note_check
from tests.network.certificates import router_certificate


def monitored(isp, seconds: float, *steps: Callable[[], None]) -> None:
    """Run the monitor with a poll each second; the steps are taken one after the other meanwhile."""

    async def run():
        monitor = asyncio.create_task(Monitor(isp.settings, timedelta(seconds=1)).run())
        for step in steps:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(step)
        await asyncio.sleep(seconds)
        monitor.cancel()
        with pytest.raises(asyncio.CancelledError):
            await monitor

    asyncio.run(run())


def test_one_monitor_works_and_another_takes_over_when_it_ends(database, monkeypatch):
    monkeypatch.setattr(service, "STAND_BY", 0.05)
    dsn = database.database_url.get_secret_value()
    working: list[str] = []

    async def run() -> None:
        ends = {name: asyncio.Event() for name in ("first", "second")}

        async def work(name: str) -> None:
            working.append(name)
            await ends[name].wait()

        async def settled(condition: Callable[[], bool]) -> None:
            for _ in range(200):
                if condition():
                    return
                await asyncio.sleep(0.02)
            pytest.fail("waited 4 s")

        first = asyncio.create_task(stand_by(dsn, lambda: work("first")))
        await settled(lambda: working == ["first"])
        second = asyncio.create_task(stand_by(dsn, lambda: work("second")))
        await asyncio.sleep(0.3)
        assert working == ["first"], "the second waits for the lock"
        first.cancel()  # as when it is killed: its connection ends, and with it the lock
        with suppress(asyncio.CancelledError):
            await first
        await settled(lambda: working == ["first", "second"])
        ends["second"].set()
        await second

    asyncio.run(run())


@pytest.mark.fault
def test_a_monitor_that_lost_its_lock_with_its_connection_stops_working(database, monkeypatch):
    monkeypatch.setattr(service, "STAND_BY", 0.05)
    dsn = database.database_url.get_secret_value()
    at_work: list[int] = []

    async def work() -> None:
        at_work.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            at_work.append(-1)

    async def run() -> None:
        monitors = [asyncio.create_task(stand_by(dsn, work)) for _ in range(2)]
        await asyncio.sleep(0.4)
        assert at_work == [1]
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND granted",
                (service.LOCK,),
            )
        for _ in range(100):
            await asyncio.sleep(0.02)
            if -1 in at_work and sum(at_work) == 1:
                break
        assert (-1 in at_work, sum(at_work)) == (True, 1), "who lost it ends, and one works"
        for monitor in monitors:
            monitor.cancel()
        await asyncio.gather(*monitors, return_exceptions=True)

    asyncio.run(run())


@pytest.fixture
def router(emulated_router):
    router = emulated_router(version="7.16", identity="Torre Ñandú", packages=["hotspot"])
    with router.box.lock:
        router.box.table("/ip/dhcp-server/lease").put(
            {"address": "10.5.0.3", "mac-address": "AA:00:00:00:00:03", "status": "bound", "host-name": "tv"}
        )
    return router


def test_a_router_is_polled_and_what_it_says_is_kept(isp, router):
    nas = isp.router(router, wan_interface="ether1")
    monitored(isp, 5.0)
    [(status, cause, identity, version, facts)] = isp.fetch(
        "SELECT status, cause, identity, version, facts FROM router_state WHERE nas_id = %s", nas
    )
    assert (status, cause, identity, version.split()[0]) == ("online", "", "Torre Ñandú", "7.16")
    assert facts["waiting"] == 1
    assert "ether1" in facts["interfaces"]
    samples = isp.fetch("SELECT polls, answered, cpu FROM router_sample WHERE nas_id = %s", nas)
    assert sum(answered for _polls, answered, _cpu in samples) >= 3
    assert isp.fetch("SELECT mac::text, host_name, source FROM waiting_device") == [("aa:00:00:00:00:03", "tv", "dhcp")]


@pytest.mark.fault
def test_a_router_that_goes_away_is_offline_with_its_cause_and_comes_back(isp, router):
    nas = isp.router(router)
    seen = []

    def state():
        seen.append(isp.fetch("SELECT status, cause FROM router_state WHERE nas_id = %s", nas)[0])

    def away():
        state()
        router.box.faults.refuse_logins = True
        router.loop.call_soon_threadsafe(router.server.drop_connections)

    def back():
        state()
        router.box.faults.refuse_logins = False

    monitored(isp, 4.0, away, back, state)
    assert seen == [("online", ""), ("offline", "password"), ("online", "")]


@pytest.mark.fault
def test_a_router_that_never_answered_is_offline_and_spoils_no_others_samples(isp, router, emulated_router):
    dead = emulated_router()
    dead.box.faults.refuse_connections = True
    lost, nas = isp.router(dead), isp.router(router)
    monitored(isp, 5.0)
    states = dict(isp.fetch("SELECT nas_id, status FROM router_state"))
    assert states == {lost: "offline", nas: "online"}
    [(polls,)] = isp.fetch("SELECT sum(answered) FROM router_sample WHERE nas_id = %s", nas)
    assert polls >= 3


@pytest.mark.fault
def test_what_was_polled_while_the_database_was_away_is_written_later(isp, router):
    nas = isp.router(router)
    counts = []

    def cut():
        counts.append(len(isp.fetch("SELECT FROM router_sample WHERE nas_id = %s", nas)))
        isp.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    monitored(isp, 3.0, cut, cut)
    polls = isp.fetch("SELECT sum(polls), sum(answered) FROM router_sample WHERE nas_id = %s", nas)
    assert polls[0][0] == polls[0][1] >= 5


def test_a_subscribers_rate_is_asked_for_while_somebody_looks_and_no_longer(isp, router):
    nas = isp.router(router)
    service = isp.service("ana")
    isp.insert(
        "session", operator_id=isp.operator_id, nas_id=nas, service_id=service, acct_session_id="1", user_name="ana",
        kind="ppp", started_at="2026-01-01Z", updated_at="2026-01-01Z",
    )  # fmt: skip
    with router.box.lock:
        table = router.box.table("/interface")
        table.put({"name": "<pppoe-ana>", "type": "pppoe-in", "dynamic": "true"})
        clock = router.box.clock
        router.box.compute("/interface", "rx-byte", lambda _row: str(int(clock() * 125_000)))
        router.box.compute("/interface", "tx-byte", lambda _row: str(int(clock() * 1_250_000)))
    isp.connection.execute(
        "INSERT INTO live_watch (service_id, operator_id, wanted_until) VALUES (%s, %s, now() + interval '5 seconds')",
        (service, isp.operator_id),
    )
    found = []

    def rate():
        found.extend(isp.fetch("SELECT download, upload, problem, measured_at FROM live_watch"))

    monitored(isp, 4.0, rate, rate)
    download, upload, problem, _at = found[0]
    assert (download, upload, problem) == (pytest.approx(10e6, rel=0.2), pytest.approx(1e6, rel=0.2), "")
    later = isp.fetch("SELECT measured_at FROM live_watch")[0][0]
    assert later - found[0][3] < timedelta(seconds=4)


def test_a_router_that_is_no_longer_watched_is_left_alone(isp, router):
    nas = isp.router(router, watched=False)
    monitored(isp, 2.0)
    assert isp.fetch("SELECT FROM router_state WHERE nas_id = %s", nas) == []
    assert not router.server.connections


@pytest.mark.fault
def test_the_first_certificate_is_remembered_and_another_one_is_sent_no_password(isp, emulated_router, tmp_path):
    first, shown = router_certificate(tmp_path, "first")
    router = emulated_router(tls=first)
    nas = isp.router(router, api_tls=True)
    seen = []

    def state():
        seen.append(isp.fetch("SELECT status, cause FROM router_state WHERE nas_id = %s", nas)[0])

    def another():
        state()
        assert isp.fetch("SELECT api_fingerprint FROM router WHERE nas_id = %s", nas) == [(shown,)]
        # As another box at the same address would: the pinned certificate is no longer the one shown.
        isp.connection.execute("UPDATE router SET api_fingerprint = %s WHERE nas_id = %s", ("0" * 64, nas))

    monitored(isp, 12.0, another, state)
    assert seen == [("online", ""), ("offline", "tls")]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("cause", "tunnel", "connected", "said"),
    [
        pytest.param("timeout", "10.200.0.7", None, "vpn", id="tunnel down"),
        pytest.param("unreachable", "10.200.0.7", None, "vpn", id="no route through it"),
        pytest.param("timeout", "10.200.0.7", "2027-01-01Z", "timeout", id="tunnel up"),
        pytest.param("timeout", "10.200.0.8", None, "timeout", id="not reached through it"),
        pytest.param("password", "10.200.0.7", None, "password", id="it answered"),
    ],
)
def test_a_router_behind_a_tunnel_that_is_down_says_so(isp, sessions, cause, tunnel, connected, said):
    nas = isp.router(None, isp.nas("10.200.0.7"), api_address=None)
    peer = isp.insert(
        "vpn_peer", operator_id=isp.operator_id, nas_id=nas, kind="openvpn", address=tunnel, user_name="router-7",
        secret=b"sealed", api_password=b"sealed",
    )  # fmt: skip
    isp.insert("vpn_peer_state", "peer_id", peer_id=peer, operator_id=isp.operator_id, connected_since=connected)
    now = utc_now()
    with psycopg.connect(isp.settings.database_url.get_secret_value()) as connection:
        store(connection, [Polled(nas, isp.operator_id, now, Standing("offline", now, Cause(cause)))])
    assert isp.fetch("SELECT cause FROM router_state WHERE nas_id = %s", nas) == [(said,)]
    with sessions() as session:
        state = note_check(session, session.get_one(Router, nas), Check((), RouterProblem(Cause(cause))), now)
        assert state.cause == said
