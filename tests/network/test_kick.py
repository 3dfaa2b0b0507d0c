"""Ending sessions through the API, on an emulated router."""

import asyncio

import pytest
from pydantic import SecretStr

from aaa.facts import AccessKind
from network.api import RouterAccess, open_router_async
from network.kick import Kicked, OnlineSession, kick
from network.problems import Cause, RouterProblem
from tests.lab.routeros import EmulatedRouter, emulated_router, router_loop

__all__ = ["emulated_router", "router_loop"]

MAC = "EC:F4:BB:FA:36:C9"
ANA = OnlineSession(AccessKind.PPP, "ana", "81c00002", MAC, "10.64.0.7")


def kicked(router: EmulatedRouter, session: OnlineSession, timeout: float = 5.0) -> Kicked:
    access = RouterAccess(
        router.address, router.port, False, None, router.user, SecretStr(router.password), timeout=timeout
    )

    async def run() -> Kicked:
        async with open_router_async(access) as api:
            return await kick(api, session)

    return asyncio.run(run())


def left(router: EmulatedRouter, path: str, field: str) -> list[str]:
    return [row.get(field) for row in router.box.table(path)]


def ppp(router: EmulatedRouter, session_id: str, name: str = "ana", address: str = "10.64.0.7") -> None:
    router.box.table("/ppp/active").put(
        {"name": name, "service": "pppoe", "caller-id": MAC, "address": address, "session-id": session_id}
    )


def test_a_ppp_session_is_known_by_its_id_however_it_is_written(emulated_router):
    router = emulated_router()
    ppp(router, "0x81C00001")
    ppp(router, "0x81C00002")
    ppp(router, "0x81C00002", name="ben")
    assert kicked(router, ANA) is Kicked.REMOVED
    assert left(router, "/ppp/active", "session-id") == ["0x81C00001", "0x81C00002"]
    assert left(router, "/ppp/active", "name") == ["ana", "ben"]


def test_a_subscriber_who_has_dialled_again_is_left_online(emulated_router):
    router = emulated_router()
    ppp(router, "0x81C00009")
    assert kicked(router, ANA) is Kicked.ABSENT
    assert left(router, "/ppp/active", "session-id") == ["0x81C00009"]


def test_a_hotspot_session_goes_with_the_cookie_that_would_bring_it_back(emulated_router):
    router = emulated_router()
    for mac, address in ((MAC, "10.5.50.2"), ("02:00:00:00:00:09", "10.5.50.3")):
        router.box.table("/ip/hotspot/active").put({"user": "ana", "address": address, "mac-address": mac})
        router.box.table("/ip/hotspot/cookie").put({"user": "ana", "mac-address": mac})
    session = OnlineSession(AccessKind.HOTSPOT, "ana", "80100014", MAC, "10.5.50.2")
    assert kicked(router, session) is Kicked.REMOVED
    assert left(router, "/ip/hotspot/active", "address") == ["10.5.50.3"]
    assert left(router, "/ip/hotspot/cookie", "mac-address") == ["02:00:00:00:00:09"]


@pytest.mark.parametrize(("dynamic", "outcome"), [("true", Kicked.REMOVED), ("false", Kicked.STATIC)])
def test_a_lease_that_the_isps_own_people_made_is_theirs(emulated_router, dynamic, outcome):
    router = emulated_router()
    router.box.table("/ip/dhcp-server/lease").put({"address": "10.7.0.4", "mac-address": MAC, "dynamic": dynamic})
    session = OnlineSession(AccessKind.DHCP, MAC, "84000001", f"1:{MAC.lower()}", "10.7.0.4")
    assert kicked(router, session) is outcome
    assert len(left(router, "/ip/dhcp-server/lease", "address")) == (0 if outcome is Kicked.REMOVED else 1)


@pytest.mark.parametrize(("version", "menu"), [("6.49.10", "wireless"), ("7.16", "wifi")])
def test_an_association_is_found_in_whichever_menu_the_router_has(emulated_router, version, menu):
    router = emulated_router(version=version)
    path = f"/interface/{menu}/registration-table"
    router.box.table(path).put({"interface": "wlan1", "mac-address": MAC})
    session = OnlineSession(AccessKind.WIRELESS, MAC, "8220001c", MAC.replace(":", "-"), None)
    assert kicked(router, session) is Kicked.REMOVED
    assert left(router, path, "mac-address") == []


def test_a_router_that_does_not_answer_is_not_a_router_without_the_session(emulated_router):
    router = emulated_router()
    ppp(router, "0x81C00002")
    router.box.faults.silent = True
    with pytest.raises(RouterProblem) as problem:
        kicked(router, ANA, timeout=0.3)
    assert problem.value.cause is Cause.SILENT
