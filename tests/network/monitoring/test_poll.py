"""Polling emulated routers over a real socket."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from network.api import RouterAccess, open_router_async
from network.monitoring.poll import Device, Known, look, waiting_devices
from network.monitoring.states import Standing
from network.monitoring.watcher import Watched, Watcher, until_turn
from network.problems import Cause, RouterProblem


def access(router, timeout=3.0) -> RouterAccess:
    return RouterAccess(
        router.address, router.port, False, None, router.user, SecretStr(router.password), timeout=timeout
    )


def looked_at(router, known=Known(), timeout=3.0):  # noqa: B008
    async def once():
        async with open_router_async(access(router, timeout)) as api:
            return await look(api, known)

    return asyncio.run(once())


@pytest.mark.parametrize("version", ["6.49.10", "7.16"])
def test_a_look_tells_load_memory_interfaces_and_temperature(emulated_router, version):
    router = emulated_router(version=version, identity="Torre Norte")
    table = router.box.table("/interface")
    with router.box.lock:
        ether = table.first(name="ether1")
        ether.fields |= {"rx-byte": "123456", "tx-byte": "654321"}
        table.put({"name": "<pppoe-ana>", "type": "pppoe-in", "dynamic": "true", "rx-byte": "1", "tx-byte": "2"})
    reading = looked_at(router).reading
    assert (reading.identity, reading.version.split()[0]) == ("Torre Norte", version)
    assert reading.cpu is not None
    assert reading.memory_total == router.box.hardware.memory
    assert 0 < reading.temperature < 100
    assert reading.interfaces["ether1"].received == 123456
    assert "<pppoe-ana>" not in reading.interfaces
    assert reading.uptime < timedelta(minutes=1)


def test_who_is_in_and_who_waits_is_counted(emulated_router):
    router = emulated_router(packages=["hotspot"])
    box = router.box
    with box.lock:
        for number in range(3):
            box.table("/ppp/active").put({"name": f"user{number}", "service": "pppoe"})
        hosts = box.table("/ip/hotspot/host")
        hosts.put({"mac-address": "AA:00:00:00:00:01", "address": "10.5.0.1", "authorized": "true"})
        hosts.put({"mac-address": "AA:00:00:00:00:02", "address": "10.5.0.2", "authorized": "false"})
        leases = box.table("/ip/dhcp-server/lease")
        for number, more in ((2, {}), (3, {"host-name": "Teléfono de Ana"}), (4, {}), (5, {}), (6, {"radius": "true"})):
            leases.put(
                {"address": f"10.5.0.{number}", "mac-address": f"AA:00:00:00:00:0{number}", "status": "bound"} | more
            )
        leases.put({"address": "10.5.0.9", "mac-address": "AA:00:00:00:00:09", "status": "waiting"})
    seen = looked_at(router, Known(frozenset(["aa:00:00:00:00:04"]), frozenset(["10.5.0.5"])))
    assert {device.mac: device.source for device in seen.waiting} == {
        "aa:00:00:00:00:02": "hotspot",
        "aa:00:00:00:00:03": "dhcp",
    }
    assert [device.host_name for device in seen.waiting if device.source == "dhcp"] == ["Teléfono de Ana"]
    assert (seen.reading.authenticated, seen.reading.waiting) == (4, 2)


def test_a_device_with_a_host_and_a_lease_counts_once():
    host = {"mac-address": "AA:00:00:00:00:02", "address": "10.5.0.2", "server": "hotspot1"}
    lease = {"mac-address": "AA:00:00:00:00:02", "address": "10.5.0.2", "host-name": "tv"}
    assert waiting_devices([host], [lease], Known()) == (
        Device("aa:00:00:00:00:02", "10.5.0.2", "hotspot", "hotspot1", "tv"),
    )


@pytest.mark.fault
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"refuse_connections": True}, Cause.CLOSED),
        ({"refuse_logins": True}, Cause.PASSWORD),
        ({"silent": True}, Cause.SILENT),
        ({"garbage": b"SSH-2.0-OpenSSH_9.2\r\n"}, Cause.GARBAGE),
        ({"cut_after": 300}, Cause.CLOSED),
        ({"stall_after": 300}, Cause.SILENT),
    ],
)
def test_what_keeps_a_router_from_answering_is_told_apart(emulated_router, fault, cause):
    router = emulated_router()
    for name, value in fault.items():
        setattr(router.box.faults, name, value)
    with pytest.raises(RouterProblem) as caught:
        looked_at(router, timeout=0.5)
    assert caught.value.cause is cause


@pytest.mark.fault
def test_a_menu_that_fails_is_left_out_and_the_rest_is_told(emulated_router):
    router = emulated_router()
    router.box.faults.traps |= {
        "/system/health/print": "no such command prefix",
        "/ip/hotspot/host/print": "not enough permissions (9)",
        "/ppp/active/print": "failure: something new",
    }
    seen = looked_at(router)
    assert seen.reading.temperature is None
    assert seen.reading.cpu is not None


def watching(routers, seconds, interval=1.0, meanwhile=None):
    """Watch some routers for a while and return the outcomes by NAS."""
    outcomes = {number: [] for number in range(len(routers))}

    async def run():
        watcher = Watcher(timedelta(seconds=interval), lambda polled: outcomes[polled.nas_id].append(polled))
        watched = {n: Watched(n, 1, one, "ether1") for n, one in enumerate(routers)}
        watcher.watch(watched, {n: Standing("online") for n in watched})
        if meanwhile is not None:
            await asyncio.sleep(seconds / 2)
            await asyncio.to_thread(meanwhile)
            await asyncio.sleep(seconds / 2)
        else:
            await asyncio.sleep(seconds)
        await watcher.close()

    asyncio.run(run())
    return outcomes


@given(st.integers(1, 10**9), st.sampled_from((60.0, 300.0)), st.floats(1.6e9, 2e9))
def test_a_routers_turn_is_at_the_same_second_of_every_interval_and_away_from_its_ends(nas_id, interval, now):
    first = now + until_turn(nas_id, interval, now)
    second = first + 0.2 + until_turn(nas_id, interval, first + 0.2)
    assert second - first == pytest.approx(interval, abs=1e-3)
    assert interval / 60 < first % interval < interval - interval / 60


@pytest.mark.fault
def test_dead_routers_delay_nobody(emulated_router):
    living = [emulated_router() for _ in range(3)]
    dead = [emulated_router() for _ in range(4)]
    for router in dead:
        router.box.faults.silent = True
    outcomes = watching([access(r) for r in living] + [access(r, timeout=30) for r in dead], 6.0)
    assert all(len(outcomes[n]) >= 3 for n in range(3)), {n: len(found) for n, found in outcomes.items()}
    assert all(outcomes[n] == [] for n in range(3, 7))


@pytest.mark.fault
def test_a_connection_that_was_closed_meanwhile_is_made_anew_and_no_poll_fails(emulated_router):
    router = emulated_router()
    outcomes = watching([access(router)], 6.0, meanwhile=lambda: router.loop.call_soon_threadsafe(
        router.server.drop_connections
    ))  # fmt: skip
    assert len(outcomes[0]) >= 4
    assert all(polled.sample is not None for polled in outcomes[0])
    assert len(router.server.connections) <= 1


def test_the_rate_of_the_wan_is_seen_between_polls(emulated_router):
    router = emulated_router()
    ether = router.box.table("/interface").first(name="ether1")
    ether.fields |= {"rx-byte": "0", "tx-byte": "0"}

    def traffic():
        with router.box.lock:
            ether.fields |= {"rx-byte": "10000000", "tx-byte": "1000000"}

    outcomes = watching([access(router)], 5.0, meanwhile=traffic)
    rates = [polled.sample.wan_download for polled in outcomes[0]]
    assert rates[0] is None
    assert 20e6 < max(rate for rate in rates if rate) < 160e6
