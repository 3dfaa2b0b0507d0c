"""What can be said about systemd units and containers without a systemd and a container engine."""

import configparser
import json
import re
import subprocess

import pytest

from core.settings import Settings
from stack.cli import portico
from stack.installation import PROJECT
from stack.programs import PROGRAMS

COMMANDS = set(portico.list_commands(None))  # type: ignore[arg-type]
SETTINGS = {f"PORTICO_{name.upper()}" for name in Settings.model_fields}
PIECES = {"postgres", "redis", "migrate", *PROGRAMS} - {"lab"}
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.service"))


class Repeated(dict):
    """Keeps every value of a key that a unit file states several times."""

    def __setitem__(self, key, value):
        if key in self and isinstance(value, list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def read_unit(path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated)
    parser.optionxform = str
    parser.read(path)
    return parser


@pytest.fixture(scope="module")
def compose():
    """docker-compose.yml as Debian's own YAML reader understands it, merges and anchors resolved."""
    script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    text = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    read = subprocess.run(["/usr/bin/python3", "-c", script], input=text, capture_output=True, text=True, check=True)
    return json.loads(read.stdout)


def test_every_piece_has_a_unit_and_the_target_wants_them_all():
    assert {path.stem.removeprefix("portico-") for path in UNITS} == PIECES
    target = (PROJECT / "deploy" / "systemd" / "portico.target").read_text(encoding="utf-8")
    wanted = {name for line in re.findall(r"^Wants=(.*)$", target, re.M) for name in line.split()}
    assert wanted == {path.name for path in UNITS}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_command_that_exists_as_the_unprivileged_user(path):
    service = read_unit(path)["Service"]
    program, command = service["ExecStart"].split()
    assert program == "/opt/portico/.venv/bin/portico"
    assert command in COMMANDS
    assert service["User"] == "portico"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_comes_after_units_that_exist(path):
    known = {unit.name for unit in UNITS} | {"network.target", "network-online.target"}
    assert set(read_unit(path)["Unit"]["After"].split()) <= known


def test_radiusd_does_not_need_the_database_to_start():
    unit = read_unit(PROJECT / "deploy" / "systemd" / "portico-radiusd.service")["Unit"]
    assert "Requires" not in unit
    assert "BindsTo" not in unit


def test_every_piece_has_a_container(compose):
    assert set(compose["services"]) == PIECES | {"processes"}


def test_containers_run_commands_that_exist(compose):
    for name, service in compose["services"].items():
        if "entrypoint" not in service:
            assert service["command"] == [name]
            assert name in COMMANDS


def test_containers_are_given_settings_that_exist_and_can_be_used(compose, monkeypatch):
    for service in compose["services"].values():
        assert set(service["environment"]) <= SETTINGS
        for name, value in service["environment"].items():
            monkeypatch.setenv(name, value)
        assert Settings().demo is False


def test_only_the_pieces_that_speak_to_the_network_have_one(compose):
    networks = {name: service["network_mode"] for name, service in compose["services"].items()}
    assert {name: mode for name, mode in networks.items() if mode != "none"} == {
        "radiusd": "host",
        "worker": "host",
        "monitor": "host",
        "vpn": "host",
        "portal": "bridge",
    }


def test_radiusd_and_the_publisher_see_the_same_process_ids(compose):
    assert compose["services"]["radiusd"]["pid"] == compose["services"]["publisher"]["pid"] == "service:processes"


def test_what_containers_wait_for_is_there(compose):
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])


def test_containers_have_no_rights_they_do_not_need(compose):
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["volumes"] == ["data:/var/lib/portico"]
    privileged = {name for name, service in compose["services"].items() if "cap_add" in service or "user" in service}
    assert privileged == {"vpn"}


def test_the_vpn_unit_keeps_the_one_right_that_it_needs():
    service = read_unit(PROJECT / "deploy" / "systemd" / "portico-vpn.service")["Service"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_ADMIN"
    assert service["DeviceAllow"] == "/dev/net/tun rw"


def test_the_image_is_set_up_by_the_script_that_sets_up_any_machine(compose):
    build = compose["services"]["radiusd"]["build"]
    dockerfile = (PROJECT / build["context"] / build["dockerfile"]).read_text(encoding="utf-8")
    assert "RUN stack/setup.sh" in dockerfile
    assert "USER portico" in dockerfile
    assert (PROJECT / "stack" / "setup.sh").stat().st_mode & 0o111
