"""VPN: what is read from wg and OpenVPN, who is let in, and the server where it may not run."""

import os
import subprocess
from datetime import UTC, datetime
from ipaddress import IPv4Address

import psycopg
import pytest
from sqlalchemy.orm import Session

from core.settings import BadSettings
from db.audit import Actor
from db.models import Nas
from network.openvpn import OpenVpnPeer, clients, credentials
from network.vpn import NetworkFull, create_peer, is_wireguard_key
from network.vpn_plan import Kind, half
from network.vpn_verify import is_right
from network.wireguard import Seen, WireGuardPeer, configuration, new_key_pair, parse_dump
from stack.vpn import left_out, vpn_piece
from tests.rows import add_nas, add_operator
from tests.system.vpn_peers import wait_until


def test_the_lower_half_is_wireguards_and_the_upper_openvpns(installation):
    settings = installation.model_copy(update={"vpn_network": "10.8.0.0/24"})
    halves = [half(settings, kind) for kind in (Kind.WIREGUARD, Kind.OPENVPN)]
    assert [(str(one.network), str(one.server)) for one in halves] == [
        ("10.8.0.0/25", "10.8.0.1"),
        ("10.8.0.128/25", "10.8.0.129"),
    ]


def test_a_full_network_is_told_and_no_address_is_given_twice(rows: Session, installation):
    settings = installation.model_copy(update={"vpn_network": "10.8.0.0/28"})  # six addresses for each half
    operator_id = add_operator(rows)
    actor = Actor(operator_id, "test")

    def another() -> IPv4Address:
        nas = rows.get_one(Nas, add_nas(rows, operator_id))
        return create_peer(rows, actor, settings.keyring, settings, nas, Kind.WIREGUARD).address

    given = [another() for _ in range(5)]
    assert [str(address) for address in given] == [f"10.8.0.{number}" for number in range(2, 7)]
    with pytest.raises(NetworkFull):
        another()


def test_a_dump_of_wireguard_is_read():
    dump = (
        "private\tpublic\t51820\toff\n"
        "key1\t(none)\t198.51.100.7:4000\t10.200.0.2/32\t1800000000\t148\t92\toff\n"
        "key2\t(none)\t(none)\t10.200.0.3/32\t0\t0\t0\toff\n"
    )
    assert parse_dump(dump) == {
        "key1": Seen("198.51.100.7:4000", datetime.fromtimestamp(1_800_000_000, UTC), 148, 92),
        "key2": Seen("", None, 0, 0),
    }


def test_a_peer_may_use_one_address_only():
    text = configuration("private", 51820, [WireGuardPeer("key", IPv4Address("10.200.0.2"))])
    assert "AllowedIPs = 10.200.0.2/32" in text


def test_who_is_in_is_read_from_openvpns_status():
    lines = [
        "TITLE\tOpenVPN 2.6.14",
        "CLIENT_LIST\trouter-7\ttcp4-server:198.51.100.7:4000\t10.200.128.2\t\t5000\t7000\t2027-01-15 08:00:00"
        "\t1800000000\trouter-7\t0\t0\tAES-256-CBC",
        "CLIENT_LIST\tUNDEF\t198.51.100.8:4000\t\t\t0\t0\t2027-01-15 08:00:00\t1800000000\tUNDEF\t1\t1\t",
        "CLIENT_LIST\tbroken",
        "END",
    ]
    found = clients(lines)
    assert list(found) == ["router-7"]
    assert (found["router-7"].seen.received, found["router-7"].seen.sent) == (5000, 7000)


CREDENTIALS = credentials(
    [OpenVpnPeer("router-7", "right", IPv4Address("10.8.0.2")), OpenVpnPeer("router-8", "x", IPv4Address("10.8.0.3"))]
)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        pytest.param("router-7\nright\n", True, id="right"),
        pytest.param("router-7\nwrong\n", False, id="another password"),
        pytest.param("router-8\nright\n", False, id="the password of another"),
        pytest.param("router-9\nright\n", False, id="nobody"),
        pytest.param("router-7\n", False, id="no password"),
        pytest.param("", False, id="nothing"),
        pytest.param("router-7 \nright\n", False, id="a blank"),
    ],
)
def test_only_the_right_password_lets_in(given, right):
    assert is_right(CREDENTIALS, given) is right


def test_the_credentials_hold_no_password():
    assert "right" not in CREDENTIALS


@pytest.mark.parametrize(
    ("text", "good"),
    [(new_key_pair().public, True), ("", False), ("x" * 44, False), ("A" * 43, False), ("é" * 44, False)],
    ids=["a key", "nothing", "not base64", "too short", "not ASCII"],
)
def test_a_wireguard_key_is_told_from_other_text(text, good):
    assert is_wireguard_key(text) is good


def test_switched_off_it_is_not_started(installation):
    assert left_out(installation.model_copy(update={"vpn": "off"})) == "PORTICO_VPN=off"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be without a right it might have")
def test_without_the_right_the_server_says_so_and_makes_nothing(database, monkeypatch):
    settings = database.model_copy(update={"vpn": "auto", "vpn_interface": "norights"})
    piece = vpn_piece(settings)
    without = ["setpriv", f"--reuid={piece.account.uid}", f"--regid={piece.account.gid}", "--clear-groups"]
    without += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--", *piece.command]
    environment = {**piece.environment, "PORTICO_VPN": "auto"}
    with (settings.log_dir / "vpn.log").open("wb") as log:
        process = subprocess.Popen(without, env=environment, cwd=piece.directory, stdout=log, stderr=log)
    try:
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
            query = "SELECT wireguard_status, openvpn_status FROM vpn_server"
            assert wait_until(lambda: connection.execute(query).fetchone() == ("no_rights", "no_rights"))
    finally:
        process.terminate()
        process.wait(10)
    said = (settings.log_dir / "vpn.log").read_text()
    assert said.count("vpn_off") == 2, "once for each half, not at every try"
    assert "Traceback" not in said


def test_insisting_on_it_where_it_cannot_be_is_refused(installation, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BadSettings, match="PORTICO_VPN=on"):
        left_out(installation.model_copy(update={"vpn": "on"}))
    assert "cannot dial in" in left_out(installation.model_copy(update={"vpn": "auto"}))
