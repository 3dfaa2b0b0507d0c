"""Routers in the lab's file, and orders to them."""

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lab.control import BadOrder, perform
from lab.network import Network
from lab.routeros.live import RouterProfile
from lab.scenario import BadScenario, Scenario, parse_scenario
from network.api import RouterAccess, open_router
from network.problems import Cause, RouterProblem
from tests.lab.plain_radiusd import SECRET, PlainRadiusd

ROUTER = """
[[nas]]
name = "tower"
address = "127.0.1.3"
secret = "secret"
coa_port = 0

[nas.pools]
default = "10.64.0.0/24"

[nas.router]
api_port = 0
identity = "La Torre"
scenario = "few"
busy_queues = 3
dialling_secrets = 2
asks_radius = false
boot_seconds = 0.05

[nas.router.users]
portico = "api-secret"

[[client]]
nas = "tower"
address = "10.20.1.200"
download = 4_000_000
upload = 1_000_000
"""


def read(text: str) -> Scenario:
    return parse_scenario(tomllib.loads(text))


def test_a_router_and_its_clients_are_read_from_the_file() -> None:
    scenario = read(ROUTER)
    wanted = RouterProfile(0, "", 0, {"portico": "api-secret"}, "La Torre", scenario="few", busy_queues=3)
    (described,) = scenario.routers.values()
    assert described.users == wanted.users
    assert (described.identity, described.busy_queues, described.asks_radius) == ("La Torre", 3, False)
    ((nas, client),) = scenario.clients
    assert (nas, client.address, client.demand.download) == ("tower", "10.20.1.200", 4_000_000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("api_port = 0", "apiport = 0", "[[nas]] 1 router: 'apiport' is not known here"),
        ('"few"', '"huge"', "[[nas]] 1 router: there is no scenario 'huge'; there are few, small, large"),
        ('portico = "api-secret"', "portico = 5", "[[nas]] 1 router: users is a table of names and passwords"),
        ('nas = "tower"\naddress', 'nas = "south"\naddress', "[[client]] 1: there is no router 'south'"),
        ('address = "10.20.1.200"', 'address = "ten"', "[[client]] 1: Expected 4 octets in 'ten'"),
    ],
)
def test_a_mistake_about_a_router_gets_one_line_that_says_where(old: str, new: str, message: str) -> None:
    with pytest.raises(BadScenario) as raised:
        read(ROUTER.replace(old, new, 1))
    assert str(raised.value) == message


Tell = Callable[..., Awaitable[dict[str, Any]]]


def with_router(work: Callable[[Network, Tell], Awaitable[None]], text: str = ROUTER) -> None:
    async def run() -> None:
        scenario = read(text)
        async with scenario.network() as network:
            scenario.build(network)
            await scenario.build_routers(network)

            async def tell(order: str, **arguments: Any) -> dict[str, Any]:
                return await perform(network, {"do": order, "router": "tower", **arguments})

            await work(network, tell)

    asyncio.run(run())


async def login(network: Network, password: str = "api-secret", timeout: float = 5) -> str:
    """Log in to the router's API and return its identity. Raises RouterProblem."""
    server = network.routers["tower"].server
    access = RouterAccess(server.address, server.port, False, None, "portico", SecretStr(password), timeout)

    def ask() -> str:
        with open_router(access) as api:
            return api.rows("/system/identity")[0]["name"]

    return await asyncio.to_thread(ask)


async def refusal(network: Network, password: str = "api-secret") -> Cause:
    with pytest.raises(RouterProblem) as raised:
        await login(network, password, timeout=0.3)
    return raised.value.cause


def test_the_apis_of_a_scenario_answer_and_its_own_subscribers_dial() -> None:
    async def work(network: Network, tell: Tell) -> None:
        assert await login(network) == "La Torre"
        network.dial_all()
        while len(network.nas["tower"].sessions) < 2:
            await asyncio.sleep(0.01)
        status = await perform(network, {"do": "status"})
        assert status["routers"]["tower"]["download"] > 4_000_000
        assert len(network.routers["tower"].traffic.clients) == 4
        assert all(session.local for session in network.nas["tower"].sessions.values())

    with_router(work)


def test_the_api_can_be_taken_away_be_slow_and_want_another_password() -> None:
    async def work(network: Network, tell: Tell) -> None:
        await tell("api", on=False)
        assert await refusal(network) in (Cause.REFUSED, Cause.CLOSED)
        await tell("api", on=True)
        await asyncio.sleep(0.1)  # until the port is open again
        await tell("password", password="changed")
        assert await refusal(network) is Cause.PASSWORD
        assert await login(network, "changed") == "La Torre"
        await tell("slow", seconds=1)
        assert await refusal(network, "changed") is Cause.SILENT
        await tell("slow", seconds=0)
        await tell("api-faults", silent=True)
        assert await refusal(network, "changed") is Cause.SILENT
        await tell("api-faults", silent=False)
        with pytest.raises(BadOrder, match="'tired' is no fault of an API"):
            await tell("api-faults", tired=True)

    with_router(work)


def test_a_reboot_by_order_ends_the_sessions_and_brings_them_back() -> None:
    async def work(network: Network, tell: Tell) -> None:
        nas = network.nas["tower"]
        network.dial_all()
        while len(nas.sessions) < 2:
            await asyncio.sleep(0.01)
        before = set(nas.sessions)
        await tell("reboot")
        assert not nas.sessions
        for cpe in network.cpes.values():
            cpe.subscriber.redial_after = 0.1
        async with asyncio.timeout(10):
            while len(nas.sessions) < 2:
                await asyncio.sleep(0.05)
        assert {session[2] for session in before} != {session[2] for session in nas.sessions}

    with_router(work)


def test_the_wan_is_congested_and_a_client_changes_its_mind() -> None:
    async def work(network: Network, tell: Tell) -> None:
        router = network.routers["tower"]
        await tell("client", address="10.20.1.200", download=1_000_000)
        await tell("client", address="10.20.1.201", download=2_000_000)
        assert router.traffic.clients["10.20.1.201"].demand.download == 2_000_000
        await tell("congest", download=500_000_000)
        router.traffic.look()
        assert router.traffic.throughput[1] * 8 > 500_000_000
        await tell("congest")
        with pytest.raises(BadOrder, match="'ten' is no address"):
            await tell("client", address="ten")
        assert await tell("http", address="10.20.1.200") == {"reaches": "198.51.100.80:80"}

    with_router(work)


def test_a_script_can_be_pasted_into_a_router(tmp_path: Path) -> None:
    async def work(network: Network, tell: Tell) -> None:
        file = tmp_path / "setup.rsc"
        file.write_text(':put "hola"\n/nosuch\n/system identity set name=nueva\n')
        told = await tell("paste", file=str(file))
        assert told["failed"] == ["bad command name nosuch (line 2 column 2)"]
        assert told["output"][0] == "hola"
        assert await login(network) == "nueva"
        with pytest.raises(BadOrder, match="No such file"):
            await tell("paste", file=str(tmp_path / "other"))

    with_router(work)


def test_a_script_that_sets_up_radius_lets_the_routers_subscribers_in_by_it(plain: PlainRadiusd) -> None:
    script = f"""
/radius add service=ppp address=127.0.0.1 secret="{SECRET}" timeout=1s authentication-port={plain.auth_port} \\
    accounting-port={plain.acct_port}
/ppp aaa set use-radius=yes
"""
    subscriber = '\n[[subscriber]]\nnas = "tower"\nname = "ana"\npassword = "secret"\nretry_after = false\n'

    async def work(network: Network, tell: Tell) -> None:
        connect = {"do": "connect", "subscriber": "ana"}
        assert (await perform(network, connect))["cause"] == "not asked"
        assert (await tell("paste", text=script))["failed"] == []
        assert (await perform(network, connect))["connected"]
        (active,) = network.routers["tower"].box.rows("/ppp/active")
        assert (active["name"], active["radius"]) == ("ana", "true")

    with_router(work, ROUTER + subscriber)
