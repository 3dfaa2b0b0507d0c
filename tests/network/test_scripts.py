"""The script for a router, checked by a language server for RouterOS and run on emulated routers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lab.routeros import Box
from lab.routeros.menus import MENUS
from lab.routeros.script_device import paste, run_import, terminal
from network.scripts import Choices, RadiusService, RouterSide, ServerSide, script, undo_script
from network.scripts_text import quoted
from network.version import Version
from network.vpn_plan import Kind

V6, V7, V7_15 = Version(6, 49, 10), Version(7, 12), Version(7, 20)
SERVER = ServerSide("vpn.example.net", 51820, "10.200.0.1", "s" * 43 + "=", 1812, 1813)
ROUTER = RouterSide("Torre Norte", Kind.WIREGUARD, "10.200.0.9", "", "k" * 43 + "=", "apipw", "radiussecret")
ROUTER_6 = replace(ROUTER, kind=Kind.OPENVPN, user_name="router-7", vpn_secret="vpnpw")
PLAIN = Choices(V7_15)
EVERYTHING = Choices(
    V7_15,
    services=frozenset(RadiusService),
    hotspot_profile="hsprof1",
    dhcp_server="dhcp1",
    portal_host="portal.example.net",
    portal_address="203.0.113.5",
    portal_port=8080,
    suspended_redirect=True,
    walled_garden=True,
    login_page="http://portal.example.net/hotspot/login.html",
    ntp="pool.ntp.org",
    staff_login=True,
    remember_days=7,
    offer_trial=True,
    open_hosts=("checkout.stripe.com", "*.stripe.com"),
    open_names=("checkout.stripe.com",),
    captive_api="https://portal.example.net/captive/h-1-1-x/api",
    captive_network="10.5.50.0/24",
)
OPTIONS = {
    "plain": PLAIN,
    "no PPP": replace(PLAIN, services=frozenset({RadiusService.DHCP})),
    "API open": replace(PLAIN, only_vpn_api=False),
    "hotspot": replace(PLAIN, hotspot_profile="hsprof1"),
    "hotspot that remembers": replace(PLAIN, hotspot_profile="hsprof1", remember_days=30),
    "captive option": replace(
        PLAIN, captive_api="https://portal.example.net/captive/h-1-1-x/api", captive_network="10.5.50.0/24"
    ),
    "DHCP": replace(PLAIN, dhcp_server="dhcp1"),
    "wireless": replace(PLAIN, security_profile="cpe"),
    "wifi": replace(PLAIN, services=frozenset({RadiusService.WIRELESS}), wifi_interface="wifi1"),
    "walled garden": replace(PLAIN, walled_garden=True, portal_host="portal.example.net"),
    "walled garden with pages to pay at": replace(
        PLAIN, walled_garden=True, portal_host="portal.example.net", open_hosts=("*.stripe.com", "m.stripe.network")
    ),
    "suspended": replace(PLAIN, suspended_redirect=True, portal_address="203.0.113.5"),
    "several gardens": replace(
        PLAIN, suspended_redirect=True, portal_address="203.0.113.5", suspended_lists=("garden", "overdue", "used-up")
    ),
    "login page": replace(PLAIN, login_page="http://portal.example.net/login.html"),
    "clock": replace(PLAIN, ntp="pool.ntp.org"),
    "logins": replace(PLAIN, staff_login=True),
    "everything": EVERYTHING,
}
UNREACHABLE = "http://127.0.0.1:9/login.html"
# The checker knows RouterOS 7.21 without the older wireless driver; these two exist elsewhere.
ELSEWHERE = ("'server-dns-names' is not a parameter", "'wireless' is not a menu", "'name' is not a parameter")


def router_for(version: Version) -> RouterSide:
    return ROUTER_6 if version < V7 else ROUTER


def both(version: Version, choices: Choices) -> tuple[str, str]:
    choices = replace(choices, version=version)
    router = router_for(version)
    return script(SERVER, router, choices), undo_script(router, choices)


def findings(*texts: str, directory: Path) -> list[str]:
    """Return what the language server says of scripts, errors and warnings."""
    for number, text in enumerate(texts):
        (directory / f"{number}.rsc").write_text(text, encoding="utf-8")
    checked = subprocess.run(
        [Path(sys.executable).with_name("routeros-lsp"), "check", "--strict", "--format", "json", directory],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode in (0, 1), checked.stderr
    return [f"{one['severity']}: {one['message']}" for one in json.loads(checked.stdout)]


def test_every_script_for_every_version_is_correct_routeros(tmp_path):
    texts = [
        text for version in (V6, V7, V7_15) for name in options_of(version) for text in both(version, OPTIONS[name])
    ]
    found = [line for line in findings(*texts, directory=tmp_path) if not any(known in line for known in ELSEWHERE)]
    assert found == []
    mistake = texts[0].replace("persistent-keepalive", "persistence").replace("add-default-route", "default-route")
    assert findings(mistake, directory=tmp_path), "the checker would notice a mistake"


# On emulated routers


def lived_in(version: Version) -> Box:
    """Return a router as an operator has it: rules, a hotspot, DHCP, another RADIUS server, settings of its own."""
    box = Box(version=str(version), packages=("wireless",), clock=lambda: 1_800_000_000.0)
    box.run("/ip/firewall/filter/add", {"chain": "forward", "action": "fasttrack-connection"})
    box.run("/ip/firewall/filter/add", {"chain": "input", "action": "drop", "comment": "no more"})
    box.run("/ip/firewall/nat/add", {"chain": "srcnat", "action": "masquerade"})
    box.fill("/ip/hotspot/profile", {"name": "hsprof1", "login-by": "cookie,http-chap"})
    box.fill("/ip/dhcp-server", {"name": "dhcp1", "interface": "ether2"})
    box.fill("/ip/dhcp-server/network", {"address": "10.5.50.0/24", "gateway": "10.5.50.1", "dhcp-option": "tftp"})
    box.fill("/ip/dhcp-server/option", {"name": "tftp", "code": "66", "value": "s'10.0.0.2'"})
    box.fill("/ip/hotspot/walled-garden", {"dst-host": "*.bank.example", "action": "deny"})
    box.fill("/radius", {"service": "ppp", "address": "192.0.2.1", "secret": "old"})
    box.fill("/ppp/secret", {"name": "ana", "password": "x"})
    if box.has("/interface/wireless/security-profiles"):
        box.fill("/interface/wireless/security-profiles", {"name": "cpe"})
    if box.has("/interface/wifi"):
        box.fill("/interface/wifi/aaa", {"name": "guests"})
        for number, fields in enumerate(({}, {"aaa": "guests"}), 1):
            box.fill("/interface/wifi", {"name": f"wifi{number}", **fields})
        box.fill("/interface/wifi/access-list", {"action": "accept", "mac-address": "4C:5E:0C:12:34:56"})
    box.run("/ip/service/set", {"numbers": "api", "disabled": "yes", "address": "192.0.2.0/24,198.51.100.7/32"})
    box.run("/ppp/aaa/set", {"use-radius": "no", "interim-update": "10m"})
    return box


def state(box: Box) -> dict[str, list[dict[str, str]]]:
    """Return everything that is configured, in its order: neither ids nor what the router counts and observes."""
    shown = {}
    for path in sorted(path for path in MENUS if box.has(path) and path not in ("/log", "/file")):
        if path.startswith("/system/") and path not in ("/system/ntp/client", "/system/script", "/system/identity"):
            continue
        settable = {name for name, each in box.fields(path).items() if not each.readonly}
        shown[path] = [{name: row[name] for name in row if name in settable} for row in box.rows(path)]
    return shown


def options_of(version: Version) -> list[str]:
    box = lived_in(version)
    lacks = {"wireless": not box.has("/interface/wireless/security-profiles"), "wifi": not box.has("/interface/wifi")}
    return [name for name in OPTIONS if not lacks.get(name)]


CASES = [
    pytest.param(version, name, id=f"{version} {name}") for version in (V6, V7, V7_15) for name in options_of(version)
]


@pytest.mark.parametrize(("version", "name"), CASES)
def test_a_script_does_the_same_when_run_twice_and_its_undo_leaves_the_router_as_it_was(version, name):
    choices = OPTIONS[name] if not OPTIONS[name].login_page else replace(OPTIONS[name], login_page=UNREACHABLE)
    setup, undo = both(version, choices)
    box = lived_in(version)
    before = state(box)
    assert run_import(box, setup) is None
    once = state(box)
    assert once != before
    assert run_import(box, setup) is None
    assert state(box) == once
    assert run_import(box, undo) is None
    assert state(box) == before
    assert run_import(box, undo) is None, "undone twice is undone"
    assert state(box) == before


@pytest.mark.parametrize("version", [V6, V7, V7_15], ids=str)
def test_pasting_into_a_terminal_does_what_importing_does(version):
    choices = replace(EVERYTHING, login_page=None)
    setup, undo = both(version, choices)
    pasted, imported = lived_in(version), lived_in(version)
    assert paste(pasted, setup) == []
    assert run_import(imported, setup) is None
    assert state(pasted) == state(imported)
    assert paste(pasted, undo) == []
    assert state(pasted) == state(lived_in(version))


def test_what_the_script_sets_up_on_routeros_7():
    box = lived_in(V7_15)
    assert run_import(box, both(V7_15, PLAIN)[0]) is None
    [interface] = box.rows("/interface/wireguard")
    assert (interface["name"], interface["private-key"]) == ("portico-vpn", ROUTER.vpn_secret)
    [peer] = box.rows("/interface/wireguard/peers")
    assert (peer["public-key"], peer["endpoint-address"], peer["endpoint-port"]) == (
        SERVER.public_key, SERVER.endpoint, str(SERVER.port),
    )  # fmt: skip
    assert [row.get("comment") for row in box.rows("/ip/firewall/filter")][:3] == ["portico-input"] * 3
    radius = box.rows("/radius")[-1]
    assert radius["address"] == SERVER.address
    assert radius["src-address"] == ROUTER.address
    assert radius["require-message-auth"] == "yes-for-request-resp"
    assert box.settings("/radius/incoming")["accept"] == "true"
    assert box.settings("/ppp/aaa")["use-radius"] == "true"
    user = next(row for row in box.rows("/user") if row["name"] == "portico")
    assert user["address"].removesuffix("/32") == SERVER.address
    group = next(row for row in box.rows("/user/group") if row["name"] == "portico")
    granted = {word for word in group["policy"].split(",") if not word.startswith("!")}
    assert granted == {"api", "read", "write", "test", "sensitive"}


@pytest.mark.parametrize("version", [V6, V7_15], ids=str)
def test_a_hotspot_remembers_devices_opens_what_is_needed_to_pay_and_tells_phones_where(version):
    box = lived_in(version)
    assert run_import(box, both(version, replace(EVERYTHING, login_page=None))[0]) is None
    profile = next(row for row in box.rows("/ip/hotspot/profile") if row["name"] == "hsprof1")
    assert profile["login-by"] == "cookie,http-chap,http-pap,mac,mac-cookie,trial"
    assert profile["http-cookie-lifetime"].startswith(("7d", "1w"))
    [users] = box.rows("/ip/hotspot/user/profile")
    assert (users["add-mac-cookie"], users["mac-cookie-timeout"]) == ("true", "1w")
    garden = [(row["dst-host"], row["action"]) for row in box.rows("/ip/hotspot/walled-garden")]
    hosts = ("portal.example.net", *EVERYTHING.open_hosts)
    assert garden == [*((host, "allow") for host in hosts), ("*.bank.example", "deny")], "ours are asked first"
    assert [row["dst-host"] for row in box.rows("/ip/hotspot/walled-garden/ip")] == ["portal.example.net"]
    [network] = box.rows("/ip/dhcp-server/network")
    option = next(row for row in box.rows("/ip/dhcp-server/option") if row["name"] == network["dhcp-option"])
    assert (option["code"], option["value"]) == ("114", "'https://portal.example.net/captive/h-1-1-x/api'")
    reached = [row["address"] for row in box.rows("/ip/firewall/address-list") if row["list"] == "portico-suspended-ok"]
    assert reached == ["203.0.113.5", "checkout.stripe.com"]
    assert run_import(box, both(version, replace(PLAIN, hotspot_profile="hsprof1"))[0]) is None
    [users] = box.rows("/ip/hotspot/user/profile")
    assert users["add-mac-cookie"] == "false", "it forgets when the operator says so"
    profile = next(row for row in box.rows("/ip/hotspot/profile") if row["name"] == "hsprof1")
    assert profile["login-by"] == "http-chap,http-pap,mac"


def test_routeros_6_gets_openvpn_as_it_knows_it():
    setup, _undo = both(V6, PLAIN)
    assert "wireguard" not in setup
    assert "require-message-auth" not in setup
    box = lived_in(V6)
    assert run_import(box, setup) is None
    [client] = box.rows("/interface/ovpn-client")
    assert (client["auth"], client["cipher"], client["user"]) == ("sha1", "aes256", "router-7")
    assert client["disabled"] == "false"


def test_the_script_says_what_it_found():
    said = terminal(lived_in(V7_15))
    assert said.run_import(both(V7_15, PLAIN)[0]) is None
    told = "\n".join(said.output)
    assert "other /radius rows" in told
    assert "FastTrack is on" in told
    assert "local PPP secrets" in told
    quiet = terminal(Box(version=str(V7_15)))
    assert quiet.run_import(both(V7_15, PLAIN)[0]) is None
    assert not any("other /radius" in line or "FastTrack" in line or "PPP secrets" in line for line in quiet.output)


@pytest.mark.parametrize(("name", "before"), [("wifi1", ""), ("wifi2", "guests")])
def test_one_wifi_interface_asks_radius_after_the_operators_own_rows(name, before):
    box = lived_in(V7_15)
    setup, undo = both(V7_15, replace(OPTIONS["wifi"], wifi_interface=name))
    assert run_import(box, setup) is None
    assert {row["name"]: row.get("aaa", "") for row in box.rows("/interface/wifi")} == {
        "wifi1": "", "wifi2": "guests",
    } | {name: "portico-wifi"}  # fmt: skip
    rows = [(row["action"], row.get("interface", "")) for row in box.rows("/interface/wifi/access-list")]
    assert rows == [("accept", ""), ("query-radius", name)]
    assert box.rows("/radius")[-1]["service"] == "wireless"
    assert run_import(box, undo) is None
    assert next(row for row in box.rows("/interface/wifi") if row["name"] == name).get("aaa", "") == before


def test_a_wifi_interface_that_is_not_there_is_told_and_nothing_else_done():
    box = lived_in(V7_15)
    said = terminal(box)
    assert said.run_import(both(V7_15, replace(OPTIONS["wifi"], wifi_interface='"; /reboot'))[0]) is None
    assert any("There is no /interface wifi" in line for line in said.output)
    assert len(box.rows("/interface/wifi/access-list")) == 1


@pytest.fixture(scope="module")
def page_url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>Portico</h1>")

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/login.html"
    server.shutdown()
    thread.join()
    server.server_close()


FORMER = '<form action="$(link-login-only)"><input name="ñandú">\\ "</form>\r\n'


def login_page_of(box: Box) -> list[str]:
    return [row.get("contents") for row in box.table("/file").find(name="hotspot/login.html")]


@pytest.mark.parametrize("version", [V6, V7, V7_15], ids=str)
def test_the_former_login_page_is_kept_and_comes_back(version, page_url):
    box = lived_in(version)
    box.run("/file/add", {"name": "hotspot/login.html", "contents": FORMER})
    setup, undo = both(version, replace(PLAIN, login_page=page_url))
    for _again in range(2):  # what is kept is the operator's page, not ours of the first run
        assert run_import(box, setup) is None
        assert login_page_of(box) == ["<h1>Portico</h1>"]
    for _again in range(2):
        assert run_import(box, undo) is None
        assert login_page_of(box) == [FORMER]
    assert not [row for row in box.rows("/system/script") if row["name"].startswith("portico")]


def test_a_login_page_that_cannot_be_kept_whole_is_not_replaced(page_url):
    box, long = lived_in(V6), "x" * 5000
    box.run("/file/add", {"name": "hotspot/login.html", "contents": long})
    said = terminal(box)
    assert said.run_import(both(V6, replace(PLAIN, login_page=page_url))[0]) is None
    assert [row.get("contents") for row in box.table("/file").find(name="hotspot/login.html")] == [long]
    assert any("too long to be kept" in line for line in said.output)


def test_a_router_without_a_login_page_gets_ours(page_url):
    box = lived_in(V7_15)
    assert run_import(box, both(V7_15, replace(PLAIN, login_page=page_url))[0]) is None
    assert login_page_of(box) == ["<h1>Portico</h1>"]


def test_a_former_page_whose_file_is_gone_stays_kept_and_is_told(page_url):
    box = lived_in(V7_15)
    box.run("/file/add", {"name": "hotspot/login.html", "contents": FORMER})
    setup, undo = both(V7_15, replace(PLAIN, login_page=page_url))
    assert run_import(box, setup) is None
    box.run("/file/remove", {"numbers": "hotspot/login.html"})
    said = terminal(box)
    assert said.run_import(undo) is None
    assert any("could not be put back" in line for line in said.output)
    assert [row["source"] for row in box.rows("/system/script")] == [FORMER]


def test_device_mode_that_forbids_the_hotspot_is_told():
    box = lived_in(V7_15)
    box.settings("/system/device-mode").fields["hotspot"] = "false"
    said = terminal(box)
    assert said.run_import(both(V7_15, OPTIONS["hotspot"])[0]) is None
    assert any("Device mode forbids hotspot" in line for line in said.output)


def test_a_step_for_something_that_is_not_there_is_left_out_and_told():
    box = lived_in(V7_15)
    said = terminal(box)
    assert said.run_import(both(V7_15, replace(PLAIN, dhcp_server="nowhere"))[0]) is None
    assert any("nowhere" in line for line in said.output)
    assert box.rows("/ip/dhcp-server")[0].get("use-radius", "no") in ("no", "false")


def test_without_a_private_key_the_router_keeps_the_one_it_made():
    setup = script(SERVER, replace(ROUTER, vpn_secret=""), PLAIN)
    assert "private-key" not in setup
    assert "public-key]" in setup, "and says its public key"


# Hostile texts


def test_the_rules_cover_every_garden_and_leave_with_it():
    def gardens(*lists: str) -> str:
        choices = replace(PLAIN, suspended_redirect=True, portal_address="203.0.113.5", suspended_lists=lists)
        return script(SERVER, ROUTER, choices)

    def covered(path: str) -> list[str]:
        return [row["src-address-list"] for row in box.rows(path) if row.get("comment") == "portico-suspended"]

    box = lived_in(V7_15)
    assert run_import(box, gardens("unpaid", "unpaid-ok", "paused")) is None
    assert covered("/ip/firewall/nat") == ["unpaid", "unpaid-ok", "paused"]
    assert covered("/ip/firewall/filter") == ["unpaid"] * 4 + ["unpaid-ok"] * 4 + ["paused"] * 4
    # A list of people must not become one of places that they may go to.
    assert [row["list"] for row in box.rows("/ip/firewall/address-list")] == ["unpaid-ok-ok"]
    assert run_import(box, gardens("unpaid")) is None
    assert covered("/ip/firewall/nat") == ["unpaid"]
    assert covered("/ip/firewall/filter") == ["unpaid"] * 4


hostile = st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.sampled_from(
    [
        '"; /user add name=evil group=full; "',
        "$[/system reset]",
        "$(1/0)",
        "\\",
        'a"\nb',
        "[:put x]",
        "\r\n/reboot",
        "?",
    ]
)


@given(hostile)
def test_a_quoted_text_is_that_text(text):
    box = Box()
    assert run_import(box, f"/ppp secret add name=a comment={quoted(text)}") is None
    assert [row.get("comment", "") for row in box.rows("/ppp/secret")] == [text]


@given(hostile, hostile, hostile)
@examples(max_examples=60)
def test_hostile_names_and_secrets_change_nothing_but_text(name, secret, profile):
    choices = replace(PLAIN, hotspot_profile=profile or None, suspended_redirect=True, portal_address="203.0.113.5",
                      suspended_lists=(name or "x", "x-ok"))  # fmt: skip
    router = replace(ROUTER, name=name, radius_secret=secret, api_password=secret)
    box = Box(version=str(V7_15))
    users = {row["name"] for row in box.rows("/user")}
    setup, undo = script(SERVER, router, choices), undo_script(router, choices)
    assert run_import(box, setup) is None
    assert {row["name"] for row in box.rows("/user")} - users == {"portico"}
    assert len(box.rows("/radius")) == 1
    assert run_import(box, undo) is None
    assert {row["name"] for row in box.rows("/user")} == users
    plain = replace(choices, hotspot_profile="h" if profile else None, suspended_lists=("x", "x-ok"))
    expected = script(SERVER, ROUTER, plain)
    assert setup.count("\n") == expected.count("\n"), "no text makes a line"
