"""What a box holds and refuses, asked without a socket; and its menus beside the command tree of a real 7.21.4."""

import gzip
import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest

from lab.routeros import Box, Caller, Hardware, Trap, User
from lab.routeros.commands import BAD_VALUE, GENERAL, MISSING
from lab.routeros.export import export
from lab.routeros.menus import MENUS
from lab.routeros.menus.kinds import seconds_of, time_text
from lab.routeros.versions import Version

MOMENT = datetime(2026, 3, 4, 18, 23, 45, tzinfo=UTC).timestamp()


def box(version: str = "7.16", **options: Any) -> Box:
    return Box(version=version, clock=lambda: MOMENT, **options)


def refused(made: Box, path: str, arguments: dict[str, str], **more: Any) -> tuple[str, int | None]:
    with pytest.raises(Trap) as trap:
        made.run(path, arguments, **more)
    return trap.value.message, trap.value.category


def added(made: Box, path: str, **fields: str) -> dict[str, str]:
    """Add a row and return it as it is printed; underscores in names stand for dashes."""
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    id_ = made.run(f"{path}/add", given).ret
    return made.run(f"{path}/print", {}, f".id={id_}").rows[0]


# Values


def test_a_queue_is_printed_in_digits_with_its_defaults() -> None:
    made = box()
    row = added(made, "/queue/simple", name="ana", target="10.0.0.5", max_limit="10M/10240k", burst_time="16/00:00:08")
    assert row["target"] == "10.0.0.5/32"
    assert row["max-limit"] == "10000000/10240000"
    assert row["burst-time"] == "16s/8s"
    assert row["limit-at"] == "0/0"
    assert row["packet-marks"] == ""
    assert "comment" not in row
    assert row["disabled"] == "false"


def test_a_field_set_to_nothing_is_absent_or_empty_as_its_menu_has_it() -> None:
    made = box()
    row = added(made, "/ppp/secret", name="ana", comment="old", remote_address="10.0.0.1", caller_id="x")
    made.run("/ppp/secret/set", {".id": row[".id"], "comment": "", "caller-id": ""})
    made.run("/ppp/secret/unset", {".id": row[".id"], "value-name": "remote-address"})
    shown = made.rows("/ppp/secret")[0]
    assert shown["caller-id"] == ""
    assert not {"comment", "remote-address"} & shown.keys()


@pytest.mark.parametrize(
    ("written", "printed"),
    [("300", "5m"), ("00:05:00", "5m"), ("1d02:15:30", "1d2h15m30s"), ("3w4d12h23m12s", "3w4d12h23m12s"), ("0", "0s")],
)
def test_times_are_read_in_all_spellings_and_printed_in_one(written: str, printed: str) -> None:
    assert time_text(seconds_of(written)) == printed


@pytest.mark.parametrize(
    ("path", "fields", "message", "category"),
    [
        ("/ppp/secret", {"name": "a", "profile": "gold"}, "input does not match any value of profile", BAD_VALUE),
        ("/ppp/secret", {"name": "a", "service": "dsl"}, "input does not match any value of service", BAD_VALUE),
        (
            "/ppp/secret",
            {"name": "a", "limit-bytes-in": "lots"},
            "invalid value for argument limit-bytes-in",
            BAD_VALUE,
        ),
        ("/ppp/secret", {"password": "x"}, "missing value(s) of argument(s) name", MISSING),
        ("/ppp/secret", {"name": "a", "colour": "red"}, "unknown parameter colour", MISSING),
        ("/ppp/secret", {"name": "a", "last-caller-id": "x"}, "unknown parameter last-caller-id", MISSING),
        ("/ip/address", {"address": "10.0.0.300/24"}, "invalid value for argument address", BAD_VALUE),
        (
            "/ip/address",
            {"address": "10.0.0.3/24", "interface": "e9"},
            "input does not match any value of interface",
            BAD_VALUE,
        ),
        (
            "/ip/firewall/filter",
            {"chain": "forward", "in-interface": "e9"},
            "input does not match any value of interface",
            1,
        ),
        ("/queue/simple", {"name": "a", "parent": "b"}, "input does not match any value of parent", BAD_VALUE),
        ("/queue/simple", {"name": "a", "max-limit": "fast"}, "invalid value for argument max-limit", BAD_VALUE),
        ("/ip/dhcp-server/lease", {"mac-address": "xyz"}, "invalid value for argument mac-address", BAD_VALUE),
        ("/ppp/active", {"name": "a"}, "no such command", MISSING),
        ("/nonsense/thing", {}, "no such command or directory (nonsense)", MISSING),
        ("/ip/nonsense", {}, "no such command prefix", MISSING),
    ],
)
def test_what_is_wrong_is_refused_in_the_words_of_routeros(
    path: str, fields: dict[str, str], message: str, category: int
) -> None:
    assert refused(box(), f"{path}/add", fields) == (message, category)


def test_version_6_does_not_say_which_parameter_it_does_not_know() -> None:
    assert refused(box("6.49.10"), "/ppp/secret/add", {"name": "a", "colour": "red"})[0] == "unknown parameter"


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/ppp/secret", {"name": "ana"}, "failure: secret with the same name already exists"),
        ("/queue/simple", {"name": "ana"}, "failure: already have such name"),
        ("/ip/hotspot/user", {"name": "ana"}, "failure: already have user with this name for this server"),
        ("/ip/address", {"address": "10.0.0.1/24", "interface": "ether1"}, "failure: already have such address"),
        ("/ip/firewall/address-list", {"list": "a", "address": "10.0.0.1"}, "failure: already have such entry"),
        (
            "/ip/dhcp-server/lease",
            {"address": "10.0.0.1", "mac-address": "02:00:00:00:00:01"},
            "failure: already have static lease with this IP address",
        ),
    ],
)
def test_a_second_of_the_same_is_refused(path: str, fields: dict[str, str], message: str) -> None:
    made = box()
    made.run(f"{path}/add", fields)
    assert refused(made, f"{path}/add", fields) == (message, GENERAL)
    assert len(made.rows(path)) == 1 + len(MENUS[path].first)


def test_disabled_entries_of_an_address_list_do_not_clash_until_enabled() -> None:
    made = box()
    entry = {"list": "garden", "address": "10.0.0.1"}
    made.run("/ip/firewall/address-list/add", entry)
    second = made.run("/ip/firewall/address-list/add", {**entry, "address": "10.0.0.1/32", "disabled": "yes"}).ret
    message, _category = refused(made, "/ip/firewall/address-list/enable", {".id": second or ""})
    assert message == "failure: already have such entry"


def test_a_device_has_one_static_lease_on_a_server_and_all_means_every_server() -> None:
    made = box()
    for name, interface in (("one", "ether1"), ("two", "ether2")):
        made.run("/ip/dhcp-server/add", {"name": name, "interface": interface})
    lease = {"mac-address": "02-00-00-00-00-0a", "address": "10.0.0.1", "server": "one"}
    assert added(made, "/ip/dhcp-server/lease", **lease)["mac-address"] == "02:00:00:00:00:0A"
    made.run("/ip/dhcp-server/lease/add", {**lease, "address": "10.0.0.2", "server": "two"})
    message, _ = refused(made, "/ip/dhcp-server/lease/add", {**lease, "address": "10.0.0.3", "server": "all"})
    assert message == "failure: already have static lease for this client"
    assert len(made.rows("/ip/dhcp-server/lease")) == 2


# Rows and ids


def test_ids_change_with_a_reboot_and_dynamic_rows_are_gone() -> None:
    made = box()
    first = added(made, "/queue/simple", name="ana", target="10.0.0.1")[".id"]
    made.table("/queue/simple").put({"name": "<pppoe-bob>", "target": "10.0.0.2/32", "dynamic": "true"})
    second = added(made, "/queue/simple", name="eve", target="10.0.0.3")[".id"]
    made.reboot()
    assert [(row["name"], row[".id"] in (first, second)) for row in made.rows("/queue/simple")] == [
        ("ana", False),
        ("eve", True),
    ]
    assert made.run("/queue/simple/get", {".id": second, "value-name": "name"}).ret == "eve"
    assert refused(made, "/queue/simple/remove", {".id": first}) == ("no such item (4)", MISSING)


def test_removing_several_where_one_is_gone_removes_none() -> None:
    made = box()
    id_ = added(made, "/ppp/secret", name="ana")[".id"]
    assert refused(made, "/ppp/secret/remove", {".id": f"{id_},*99"})[0] == "no such item (4)"
    assert len(made.rows("/ppp/secret")) == 1


def test_rules_keep_their_order_and_are_put_before_another() -> None:
    made = box()
    rules = "/ip/firewall/filter"
    ids = [made.run(f"{rules}/add", {"chain": "input", "comment": name}).ret or "" for name in "abc"]
    made.run(f"{rules}/add", {"chain": "input", "comment": "first", "place-before": ids[0]})
    made.run(f"{rules}/move", {"numbers": f"{ids[2]},{ids[1]}", "destination": ids[0]})
    assert [row["comment"] for row in made.rows(rules)] == ["first", "c", "b", "a"]
    made.run(f"{rules}/move", {"numbers": ids[2], "destination": "*FFFF"})
    assert [row["comment"] for row in made.rows(rules)] == ["first", "b", "a", "c"]
    assert refused(made, f"{rules}/move", {".id": ids[0], "destination": ids[0]})[0] == (
        "failure: can not move object before itself"
    )
    assert refused(made, f"{rules}/set", {".id": ids[0], "place-before": ids[1]})[0] == "unknown parameter place-before"
    assert refused(made, f"{rules}/move", {"destination": ids[0]})[0] == "missing =.id="


def test_a_rule_says_whether_it_is_disabled_only_once_somebody_has_set_it() -> None:
    made = box()
    rule = added(made, "/ip/firewall/filter", chain="input")
    assert "disabled" not in rule
    assert (rule["bytes"], rule["dynamic"]) == ("0", "false")
    made.run("/ip/firewall/filter/disable", {".id": rule[".id"]})
    made.run("/ip/firewall/filter/enable", {".id": rule[".id"]})
    assert made.rows("/ip/firewall/filter")[0]["disabled"] == "false"


def test_who_renames_a_profile_renames_it_in_the_secrets_and_its_end_leaves_a_dead_id() -> None:
    made = box()
    profile = added(made, "/ppp/profile", name="gold")[".id"]
    made.run("/ppp/secret/add", {"name": "ana", "profile": "gold"})
    made.run("/ppp/profile/set", {".id": profile, "name": "platinum"})
    assert made.rows("/ppp/secret")[0]["profile"] == "platinum"
    made.run("/ppp/profile/remove", {".id": profile})
    assert made.rows("/ppp/secret")[0]["profile"] == profile


def test_dynamic_and_default_rows_are_refused_to_people() -> None:
    made = box()
    row = made.table("/queue/simple").put({"name": "<pppoe-ana>", "dynamic": "true"})
    assert (
        refused(made, "/queue/simple/set", {".id": row.id, "comment": "x"})[0]
        == "failure: can not change dynamic entry"
    )
    default = made.table("/ppp/profile").first(name="default")
    assert default is not None
    assert refused(made, "/ppp/profile/remove", {".id": default.id})[0] == "failure: can not remove default entry"


def test_make_static_turns_a_dynamic_lease_into_one_that_stays() -> None:
    made = box()
    leases = made.table("/ip/dhcp-server/lease")
    row = leases.put({"address": "10.0.0.7", "mac-address": "02:00:00:00:00:07", "dynamic": "true", "status": "bound"})
    made.run("/ip/dhcp-server/lease/make-static", {".id": row.id})
    made.run("/ip/dhcp-server/lease/set", {".id": row.id, "comment": "Peña"})
    shown = made.rows("/ip/dhcp-server/lease")[0]
    assert (shown["dynamic"], shown["comment"], shown["status"]) == ("false", "Peña", "bound")


def test_an_interface_stands_in_two_menus() -> None:
    made = box()
    made.run("/interface/wireguard/add", {"listen-port": "13231"})
    assert made.run("/interface/print", {".proplist": "name,type,running"}, "type=wg").rows == [
        {"name": "wireguard1", "type": "wg", "running": "true"}
    ]
    made.run("/interface/disable", {"numbers": "wireguard1"})
    made.run("/interface/set", {"numbers": "wireguard1", "name": "wisp-vpn"})
    wireguard = made.rows("/interface/wireguard")[0]
    assert (wireguard["name"], wireguard["disabled"]) == ("wisp-vpn", "true")
    assert len(wireguard["public-key"]) == 44
    assert refused(made, "/interface/vlan/add", {"name": "wisp-vpn", "interface": "ether1"})[0] == (
        "failure: already have interface with such name"
    )
    made.run("/interface/wireguard/remove", {"numbers": "wisp-vpn"})
    assert made.run("/interface/print", {}, "name=wisp-vpn").rows == []


def test_the_public_key_of_a_tunnel_is_that_of_its_private_key() -> None:
    # The pair of RFC 7748 §6.1.
    private, public = (
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
    )
    made = box()
    assert added(made, "/interface/wireguard", name="w", private_key=private)["public-key"] == public
    assert (
        refused(made, "/interface/wireguard/add", {"private-key": "short"})[0]
        == "invalid value for argument private-key"
    )


# Versions


@pytest.mark.parametrize(
    ("version", "path", "there"),
    [
        ("6.49.10", "/interface/wireguard", False),
        ("6.49.10", "/interface/wifi", False),
        ("6.49.10", "/interface/wireless", True),
        ("6.49.7", "/system/device-mode", False),
        ("6.49.8", "/system/device-mode", True),
        ("7.12", "/interface/wireless", True),
        ("7.12", "/interface/wifi", False),
        ("7.16", "/interface/wifi", True),
        ("7.16", "/interface/wireless", False),
        ("7.16", "/interface/wireguard", True),
    ],
)
def test_a_menu_stands_where_its_version_has_it(version: str, path: str, there: bool) -> None:
    made = box(version)
    if there:
        made.run(f"{path}/print")
    else:
        assert refused(made, f"{path}/print", {}) == ("no such command prefix", MISSING)


def test_a_package_brings_its_menu_and_a_virtual_machine_has_no_board() -> None:
    assert box(packages=["wireless"]).rows("/interface/wireless") == []
    assert (
        refused(box(hardware=Hardware(routerboard=False)), "/system/routerboard/print", {})[0]
        == "no such command prefix"
    )


def test_fields_come_and_go_with_versions() -> None:
    assert (
        refused(box("7.14"), "/radius/add", {"require-message-auth": "no"})[0]
        == "unknown parameter require-message-auth"
    )
    assert added(box("7.15"), "/radius", address="10.0.0.1")["require-message-auth"] == "yes-for-request-resp"
    six = {"name": "vpn", "connect-to": "192.0.2.1", "user": "u", "cipher": "aes256-gcm"}
    assert refused(box("6.49.10"), "/interface/ovpn-client/add", six)[0] == "input does not match any value of cipher"
    assert added(box(), "/interface/ovpn-client", **{name.replace("-", "_"): value for name, value in six.items()})[
        "cipher"
    ]
    assert refused(box("6.49.10"), "/system/ntp/client/set", {"servers": "10.0.0.1"})[0] == "unknown parameter"


@pytest.mark.parametrize(
    ("version", "date", "written"),
    [
        ("6.49.10", "mar/04/2026", "mar/04/2026 18:23:45"),
        ("7.9", "mar/04/2026", "mar/04/2026 18:23:45"),
        ("7.10", "2026-03-04", "2026-03-04 18:23:45"),
    ],
)
def test_dates_are_written_as_the_version_writes_them(version: str, date: str, written: str) -> None:
    made = box(version)
    assert made.rows("/system/clock")[0]["date"] == date
    made.log("system,info", "hello")
    assert made.rows("/log")[-1]["time"] == written


def test_health_is_one_row_in_6_and_a_row_for_each_sensor_in_7() -> None:
    six, seven = box("6.49.10").rows("/system/health"), box().rows("/system/health")
    assert [(row["voltage"], row["temperature"]) for row in six] == [("24.1", "41")]
    assert [(row["name"], row["value"], row["type"]) for row in seven] == [
        ("temperature", "41", "C"),
        ("voltage", "24.1", "V"),
    ]


# Users


def caller(*policies: str) -> Caller:
    return Caller("eve", frozenset(policies))


@pytest.mark.parametrize(
    ("path", "arguments", "policies", "allowed"),
    [
        ("/ppp/secret/print", {}, ("read",), True),
        ("/ppp/secret/print", {}, ("write",), False),
        ("/ppp/secret/add", {"name": "x"}, ("read",), False),
        ("/ppp/secret/add", {"name": "x"}, ("write",), True),
        ("/user/print", {}, ("read", "write"), False),
        ("/user/print", {}, ("policy",), True),
        ("/system/reboot", {}, ("read", "write"), False),
        ("/system/reboot", {}, ("reboot",), True),
        ("/ping", {"address": "10.0.0.1", "count": "1"}, ("read",), False),
        ("/export", {"file": "x"}, ("read",), False),
    ],
)
def test_a_command_asks_for_its_policy(
    path: str, arguments: dict[str, str], policies: tuple[str, ...], allowed: bool
) -> None:
    made = box()
    if allowed:
        made.run(path, arguments, caller=caller(*policies))
    else:
        assert refused(made, path, arguments, caller=caller(*policies))[0] == "not enough permissions (9)"


def test_secrets_are_masked_for_who_may_not_see_them() -> None:
    made = box()
    made.run("/ppp/secret/add", {"name": "ana", "password": "topsecret"})
    shown = made.run("/ppp/secret/print", {}, caller=caller("read")).rows[0]
    assert shown["password"] == "*****"
    assert made.run("/ppp/secret/print", {}, "password=topsecret", caller=caller("read")).rows == []
    assert made.run("/ppp/secret/print", {}, caller=caller("read", "sensitive")).rows[0]["password"] == "topsecret"


def test_the_password_of_a_user_is_never_shown() -> None:
    made = box(users={"admin": User("topsecret")})
    assert "topsecret" not in str(made.rows("/user"))


def test_a_group_denies_what_it_does_not_name_and_a_set_adds_to_it() -> None:
    made = box()
    group = added(made, "/user/group", name="wisp", policy="api,read")
    granted = [word for word in group["policy"].split(",") if not word.startswith("!")]
    assert granted == ["read", "api"]
    made.run("/user/group/set", {".id": group[".id"], "policy": "write,!read"})
    changed = made.run("/user/group/get", {".id": group[".id"], "value-name": "policy"}).ret or ""
    assert [word for word in changed.split(",") if not word.startswith("!")] == ["write", "api"]
    assert refused(made, "/user/group/set", {".id": group[".id"], "policy": "fly"})[0] == (
        "input does not match any value of policy"
    )
    made.run("/user/add", {"name": "wisp", "group": "wisp"})
    assert refused(made, "/user/group/remove", {".id": group[".id"]})[0] == "failure: group has some users"


def test_the_last_user_with_all_rights_stays() -> None:
    made = box()
    assert refused(made, "/user/remove", {"numbers": "admin"})[1] == GENERAL
    made.run("/user/add", {"name": "second", "group": "full"})
    made.run("/user/remove", {"numbers": "admin"})
    assert [row["name"] for row in made.rows("/user")] == ["second"]


# Export


def test_an_export_is_the_same_twice_and_keeps_defaults_and_secrets_out() -> None:
    made = box()
    made.run("/ppp/secret/add", {"name": "ana $x", "password": "topsecret", "comment": 'Peña "la"\n'})
    made.run("/ip/firewall/filter/add", {"chain": "input", "action": "drop", "disabled": "yes"})
    made.run("/system/identity/set", {"name": "Torre Norte"})
    made.table("/queue/simple").put({"name": "<pppoe-ana>", "dynamic": "true"})
    full = export(made, sensitive=True)
    plain = export(made, sensitive=False)
    assert plain == export(made, sensitive=False)
    assert '/ppp secret\nadd comment="Pe\\C3\\B1a \\"la\\"\\n" name="ana \\$x"\n' in plain
    assert "password=topsecret" in full
    assert "topsecret" not in plain
    assert "/ip firewall filter\nadd action=drop chain=input disabled=yes\n" in plain
    assert '/system identity\nset name="Torre Norte"\n' in plain
    assert "<pppoe-ana>" not in full
    assert plain.startswith("# 2026-03-04 18:23:45 by RouterOS 7.16\n")


def test_an_export_into_a_file_is_read_in_pieces() -> None:
    made = box()
    assert made.run("/export").rows == []
    for number in range(400):
        made.run("/ppp/secret/add", {"name": f"subscriber-{number}", "comment": "x" * 200})
    made.run("/export", {"file": "backup"})
    row = made.run("/file/print", {}, "name=backup.rsc").rows[0]
    assert "contents" not in row
    pieces: list[str] = []
    size = int(row["size"])
    while sum(map(len, pieces)) < size:
        offset = str(sum(map(len, pieces)))
        piece = made.run("/file/read", {"file": "backup.rsc", "offset": offset, "chunk-size": "32768"}).rows[0]["data"]
        pieces.append(piece)
    assert len(pieces) == -(-size // 32_768)
    assert "".join(pieces).count("subscriber-") == 400


# Beside a real one


@pytest.fixture(scope="module")
def real_tree() -> dict[str, Any]:
    """The command tree of a CHR with 7.21.4, as `routeros-lsp` ships it."""
    packed = files("routeros_lsp").joinpath("data", "routeros-7.21.4.json.gz").read_bytes()
    tree: dict[str, Any] = json.loads(gzip.decompress(packed))["root"]
    return tree


def _node(tree: dict[str, Any], path: str) -> dict[str, Any] | None:
    for name in path.strip("/").split("/"):
        tree = tree.get("c", {}).get(name)
        if tree is None:
            return None
    return tree


def test_what_the_emulator_lets_people_set_a_real_router_does_too(real_tree: dict[str, Any]) -> None:
    made = Box(version="7.21.4", hardware=Hardware(routerboard=False))
    wrong: dict[str, object] = {}
    for path in MENUS:
        if not made.has(path):
            continue
        node = _node(real_tree, path)
        if node is None:
            wrong[path] = "no such menu"
            continue
        real = {name for command in ("add", "set") for name in node["c"].get(command, {}).get("a", {})}
        extra = {name for name, each in made.fields(path).items() if not each.readonly} - real
        if extra:
            wrong[path] = sorted(extra)
    assert wrong == {}


def test_a_menu_takes_rows_where_a_real_router_takes_rows(real_tree: dict[str, Any]) -> None:
    made = Box(version="7.21.4", hardware=Hardware(routerboard=False))
    differing = {}
    for path, menu in MENUS.items():
        node = _node(real_tree, path)
        if path == "/user/active" or not made.has(path) or menu.single or node is None:
            continue  # the console lists an `add` for the former that nothing can be done with
        if menu.adds is ("add" not in node["c"]):
            differing[path] = menu.adds
    assert differing == {}


def test_versions_are_read_with_what_stands_behind_them() -> None:
    assert Version.parse("7.14.3 (stable)") == Version(7, 14, 3)
    assert Version.parse("7.16rc1") == Version(7, 16)
    assert Version(6, 49, 10) < Version(7, 1)
    with pytest.raises(ValueError, match="no RouterOS version"):
        Version.parse("long-term")
