"""Scenario files, and orders to the network made of one."""

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from aaa.facts import AccessKind
from lab.__main__ import command
from lab.control import BadOrder, control_socket, perform
from lab.faults import Faults
from lab.network import Network
from lab.profile import Server
from lab.scenario import BadScenario, Scenario, parse_scenario
from lab.storm import Storm, ride
from lab.subscriber import Demand, Method, Profile, Subscriber, share_of_demand
from tests.lab.plain_radiusd import SECRET, PlainRadiusd

WHOLE = """
[server]
address = "127.0.0.1"
auth_port = 1
acct_port = 2

[lab]
spread = 0.0
day_seconds = 60
seed = 3

[[nas]]
name = "north"
address = "127.0.1.1"
secret = "north-secret"
coa_port = 0
version = "6.49.10"
pools = { default = "10.64.0.0/24", garden = "10.99.0.0/24" }
local_secrets = { imported = "old" }
faults = { loss = 0.1, swapped_octets = true }

[[subscriber]]
nas = "north"
name = "home{n}"
password = "pw{n}"
method = "mschap2"
count = 2
mac = "02-00-00-00-00-FF"
download = 20_000_000
upload = 5_000_000
profile = "home"

[[subscriber]]
nas = "north"
name = "radio"
kind = "wireless"
method = "mac"
mac = "02:00:00:00:0a:00"
redial_after = false

[[event]]
at = 1.5
do = "power-cut"
seconds = 2
"""


def read(text: str) -> Scenario:
    return parse_scenario(tomllib.loads(text))


def test_a_scenario_is_read_whole() -> None:
    scenario = read(WHOLE)
    (nas,) = scenario.nas
    assert (nas.name, nas.version, nas.signs, nas.server.acct_port) == ("north", (6, 49), False, 2)
    assert nas.pools == (("default", "10.64.0.0/24"), ("garden", "10.99.0.0/24"))
    assert nas.local_secrets == (("imported", "old"),)
    assert scenario.faults == {"north": Faults(loss=0.1, swapped_octets=True)}
    first = Subscriber(
        "home1", "pw1", AccessKind.PPP, Method.MSCHAP2, "02:00:00:00:00:ff", Demand(20_000_000, 5_000_000), Profile.HOME
    )
    second = Subscriber(
        "home2", "pw2", AccessKind.PPP, Method.MSCHAP2, "02:00:00:00:01:00", Demand(20_000_000, 5_000_000), Profile.HOME
    )
    radio = Subscriber("radio", "", AccessKind.WIRELESS, Method.MAC, "02:00:00:00:0a:00", redial_after=None)
    assert scenario.subscribers == (("north", first), ("north", second), ("north", radio))
    assert [(event.at, dict(event.order)) for event in scenario.events] == [(1.5, {"do": "power-cut", "seconds": 2})]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("secret = ", "secrets = ", "[[nas]] 1: 'secrets' is not known here"),
        ('secret = "north-secret"', "", "[[nas]] 1: missing 1 required positional argument: 'secret'"),
        ('version = "6.49.10"', 'version = "new"', "[[nas]] 1: version 'new' is not like 7.16"),
        ('method = "mschap2"', 'method = "eap"', "[[subscriber]] 1: 'eap' is not a valid Method"),
        ('mac = "02-00-00-00-00-FF"', 'mac = "02"', "[[subscriber]] 1: '02' is not a MAC address"),
        ('nas = "north"\nname = "radio"', 'nas = "south"\nname = "x"', "[[subscriber]] 2: there is no NAS 'south'"),
        ("at = 1.5", "", "[[event]] 1: needs `at`, in seconds, and `do`"),
        ("spread = 0.0", "spraed = 0.0", "[lab]: 'spraed' is not known here"),
    ],
)
def test_a_mistake_in_a_scenario_gets_one_line_that_says_where(old: str, new: str, message: str) -> None:
    with pytest.raises(BadScenario) as raised:
        read(WHOLE.replace(old, new, 1))
    assert str(raised.value) == message


def test_the_evening_is_busier_than_the_night() -> None:
    for profile, busy, quiet in ((Profile.HOME, 21, 4), (Profile.BUSINESS, 11, 2)):
        assert share_of_demand(profile, busy) > 5 * share_of_demand(profile, quiet)
    assert all(0 <= share_of_demand(profile, hour / 4) <= 1 for profile in Profile for hour in range(96))


def scenario_before(plain: PlainRadiusd) -> Scenario:
    return read(f"""
[server]
auth_port = {plain.auth_port}
acct_port = {plain.acct_port}

[[nas]]
name = "ordered"
address = "127.0.1.7"
secret = "{SECRET}"
coa_port = 0

[[subscriber]]
nas = "ordered"
name = "ana"
password = "secret"
""")


def test_a_running_network_takes_orders_at_its_socket(plain: PlainRadiusd, tmp_path: Path) -> None:
    asyncio.run(give_orders(scenario_before(plain), tmp_path / "lab.sock"))


async def give_orders(scenario: Scenario, path: Path) -> None:
    async with scenario.network() as network:
        scenario.build(network)
        async with control_socket(network, path):
            reader, writer = await asyncio.open_unix_connection(path)

            async def tell(**order: object) -> dict[str, object]:
                writer.write(json.dumps(order).encode() + b"\n")
                answer: dict[str, object] = json.loads(await reader.readline())
                return answer

            connected = await tell(do="connect", subscriber="ana")
            assert (connected["ok"], connected["connected"]) == (True, True)
            assert await tell(do="traffic", subscriber="ana", downloaded=1_000_000) == {"ok": True}
            listed = await tell(do="sessions")
            (session,) = listed["sessions"]
            assert (session["subscriber"], session["rate"], session["downloaded"]) == ("ana", "2M/8M", 1_000_000)
            assert await tell(do="power-cut", nas="ordered") == {"ok": True}
            assert await tell(do="sessions") == {"ok": True, "sessions": []}
            assert await tell(do="power-on", nas="ordered", spread=0) == {"ok": True}
            wrong = await tell(do="install", subscriber="metered", nas="ordered", password=12345)
            assert (wrong["connected"], wrong["cause"]) == (False, "rejected")
            installed = await tell(do="install", subscriber="metered", nas="ordered", password="secret")
            assert (installed["connected"], installed["session"]["user_name"]) == (True, "metered")
            again = await tell(do="install", subscriber="metered", nas="ordered", password="secret")
            listed = await tell(do="sessions")
            of_theirs = [each["id"] for each in listed["sessions"] if each["subscriber"] == "metered"]
            assert of_theirs == [again["session"]["id"]]
            assert (await tell(do="install", subscriber="eve", nas="nowhere"))[
                "error"
            ] == "nowhere is not in this network"
            assert "'colour'" in (await tell(do="install", subscriber="eve", nas="ordered", colour="red"))["error"]
            assert await tell(do="hang-up", subscriber="bob") == {
                "ok": False,
                "error": "bob is not in this network",
            }
            assert (await tell(do="dance"))["ok"] is False
            writer.write(b"nonsense\n")
            assert json.loads(await reader.readline())["error"].startswith("not JSON")
            writer.close()
            await writer.wait_closed()


def test_an_order_that_cannot_be_carried_out_says_why() -> None:
    async def give(**order: object) -> str:
        async with Network() as network:
            with pytest.raises(BadOrder) as raised:
                await perform(network, order)
            return str(raised.value)

    assert "'dance' is no order" in asyncio.run(give(do="dance"))
    assert asyncio.run(give(do="power-cut", flood=1)) == "power-cut: got an unexpected keyword argument 'flood'"
    assert asyncio.run(give(do="faults", gravity=1)) == "'gravity' is no fault"


def test_one_login_from_the_command_line(plain: PlainRadiusd) -> None:
    ports = ["--auth-port", str(plain.auth_port), "--acct-port", str(plain.acct_port), "--secret", SECRET]
    told = CliRunner().invoke(command, ["login", "ana", "secret", "--method", "mschap2", *ports])
    assert (told.exit_code, json.loads(told.output)["rate"]) == (0, "2M/8M")
    refused = CliRunner().invoke(command, ["login", "ana", "wrong", "--method", "pap", *ports])
    assert (refused.exit_code, json.loads(refused.output)["cause"]) == (1, "rejected")


def test_a_misspelt_scenario_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(WHOLE.replace("method", "methud"))
    told = CliRunner().invoke(command, ["run", str(file)])
    assert (told.exit_code, told.output) == (1, "Error: [[subscriber]] 1: 'methud' is not known here\n")


def test_everybody_comes_back_from_a_storm(plain: PlainRadiusd) -> None:
    server = Server("127.0.0.1", plain.auth_port, plain.acct_port)
    storm = Storm(60, 3, server, SECRET, name="metered", password="secret", spread=0.1)
    report = asyncio.run(ride(storm))
    assert report.all_back
    assert (report.connected.online, report.returned.online, report.returned.rejected) == (60, 60, 0)
    assert 0 < report.returned.answer_p50 <= report.returned.answer_p99 <= report.returned.answer_max


def test_a_storm_says_who_was_turned_away(plain: PlainRadiusd) -> None:
    server = Server("127.0.0.1", plain.auth_port, plain.acct_port)
    report = asyncio.run(ride(Storm(2, 1, server, SECRET, name="nobody", spread=0.1, patience=0.5)))
    assert not report.all_back
    assert report.returned.rejected >= 2
