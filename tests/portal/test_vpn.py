"""VPN and script, as staff see it."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import AuditEntry, Nas, Operator, Router, VpnPeer, VpnPeerState, VpnServer
from lab.routeros import Box
from lab.routeros.script_device import run_import
from network.vpn_plan import API_PURPOSE, PEER_PURPOSE, SERVER_PURPOSE
from network.wireguard import new_key_pair
from tests.portal.conftest import make_isp, post

CHOSEN = {
    "version": "7.15",
    "ppp": "y",
    "only_vpn_api": "y",
    "portal_host": "portal.example",
    "ntp_server": "x.example",
}


@pytest.fixture(autouse=True)
def server(system, installation):
    """The VPN server's row as the piece leaves it."""
    keyring = installation.keyring
    with Session(system) as session:
        session.merge(
            VpnServer(
                id=1, wireguard_public=new_key_pair().public, wireguard_key=keyring.seal(SERVER_PURPOSE, "x"),
                openvpn_certificate="x", openvpn_key=keyring.seal(SERVER_PURPOSE, "x"), wireguard_status="on",
                openvpn_status="on", seen_at=utc_now(),
            )
        )  # fmt: skip
        session.commit()


def the_peer(system, isp):
    with Session(system) as session:
        return session.query(VpnPeer).filter_by(nas_id=isp.nas_id).one_or_none()


def get_tunnel(browser, system, isp, kind="7"):
    answer = post(browser, f"/vpn/{isp.nas_id}/create", kind=kind)
    assert answer.status_code == 302, answer.text
    return the_peer(system, isp)


def actions(system, isp):
    with Session(system) as session:
        found = session.query(AuditEntry).filter_by(operator_id=isp.operator_id).order_by(AuditEntry.id)
        return [entry.action for entry in found if entry.action.startswith("vpn.")]


def test_a_router_gets_a_tunnel_and_a_script_that_sets_it_up(sign_in, system, isp, installation):
    browser = sign_in("technical")
    assert "Get VPN and script" in browser.get(f"/vpn/{isp.nas_id}").text
    peer = get_tunnel(browser, system, isp)
    page = browser.get(f"/vpn/{isp.nas_id}").text
    secret = installation.keyring.open(PEER_PURPOSE, peer.secret)
    assert str(peer.address) in page
    assert "Waiting for the router" in page
    assert secret not in page

    shown = post(browser, f"/vpn/{isp.nas_id}/script", wanted="show", **CHOSEN)
    assert shown.status_code == 200
    assert secret in shown.text
    assert "testing123" in shown.text

    file = post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **CHOSEN)
    assert file.headers["Content-Disposition"].endswith('-setup.rsc"')
    assert file.headers["Cache-Control"] == "no-store"
    box = Box(version="7.20")
    assert run_import(box, file.text) is None
    assert box.rows("/interface/wireguard")[0]["private-key"] == secret
    undo = post(browser, f"/vpn/{isp.nas_id}/script", wanted="undo_file", **CHOSEN)
    assert secret not in undo.text
    assert run_import(box, undo.text) is None
    assert box.rows("/interface/wireguard") == []
    assert actions(system, isp) == ["vpn.create", "vpn.script", "vpn.script"]


def test_routeros_6_gets_a_user_name_and_a_password(sign_in, system, isp, installation):
    browser = sign_in("manager")
    peer = get_tunnel(browser, system, isp, "6")
    assert peer.kind == "openvpn"
    file = post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **{**CHOSEN, "version": "6"})
    box = Box(version="6.49.10")
    assert run_import(box, file.text) is None
    [client] = box.rows("/interface/ovpn-client")
    assert client["password"] == installation.keyring.open(PEER_PURPOSE, peer.secret)


@pytest.mark.parametrize(
    ("step", "field"),
    [("dhcp", "dhcp_server"), ("hotspot", "hotspot_profile"), ("wireless", "security_profile"),
     ("wifi", "wifi_interface"),
     ("suspended_redirect", "portal_address"), ("walled_garden", "portal_host"), ("ntp", "ntp_server")],
)  # fmt: skip
def test_a_step_says_what_it_lacks_and_nothing_secret_is_shown(sign_in, system, isp, installation, step, field):
    browser = sign_in("technical")
    peer = get_tunnel(browser, system, isp)
    answer = post(browser, f"/vpn/{isp.nas_id}/script", wanted="show", **{**CHOSEN, step: "y", field: ""})
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert installation.keyring.open(PEER_PURPOSE, peer.secret) not in answer.text


def test_the_newer_wifi_driver_asks_radius_where_it_is_chosen_and_known(sign_in, system, isp):
    browser = sign_in("technical")
    get_tunnel(browser, system, isp)
    chosen = {**CHOSEN, "wifi": "y", "wifi_interface": "wifi1"}
    text = post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **chosen).text
    assert 'action=query-radius radius-accounting=yes interface="wifi1"' in text
    assert "service=ppp,wireless" in text
    assert post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **{**chosen, "version": "7"}).status_code == 422


def test_the_notice_is_for_every_garden_of_the_operator(sign_in, system, isp):
    with Session(system) as session:
        session.get_one(Operator, isp.operator_id).gardens = {"overdue": {"address_list": "unpaid", "pool": None}}
        session.commit()
    browser = sign_in("technical")
    get_tunnel(browser, system, isp)
    chosen = {**CHOSEN, "suspended_redirect": "y", "portal_address": "203.0.113.5", "portal_port": "8080"}
    text = post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **chosen).text
    assert text.count('src-address-list="portico-suspended"') == text.count('src-address-list="unpaid"') == 5


def test_a_host_that_is_none_is_refused(sign_in, system, isp):
    browser = sign_in("technical")
    get_tunnel(browser, system, isp)
    hostile = {**CHOSEN, "walled_garden": "y", "portal_host": '"; /system reset-configuration'}
    assert post(browser, f"/vpn/{isp.nas_id}/script", wanted="show", **hostile).status_code == 422


def test_the_page_shows_that_the_router_is_in_and_lets_it_be_used(sign_in, system, isp, installation):
    browser = sign_in("technical")
    peer = get_tunnel(browser, system, isp)
    now = utc_now()
    with Session(system) as session:
        session.add(
            VpnPeerState(
                peer_id=peer.id, operator_id=isp.operator_id, connected_since=now, handshake_at=now,
                endpoint="198.51.100.7:40000", received=5000, sent=7000,
            )
        )  # fmt: skip
        session.commit()
    part = browser.get(f"/vpn/{isp.nas_id}/state").text
    assert "Connected" in part
    assert "198.51.100.7:40000" in part
    assert 'hx-trigger="every 15s"' in part
    assert post(browser, f"/vpn/{isp.nas_id}/use").status_code == 302
    with Session(system) as session:
        assert session.get(Nas, isp.nas_id).address == peer.address
        router = session.get(Router, isp.nas_id)
        assert router.api_user == "portico"
        opened = installation.keyring.open(API_PURPOSE, router.api_password)
        assert opened == installation.keyring.open(API_PURPOSE, peer.api_password)
    assert "go through this tunnel" in browser.get(f"/vpn/{isp.nas_id}/state").text


def test_a_router_may_keep_the_key_that_it_made(sign_in, system, isp):
    browser = sign_in("technical")
    get_tunnel(browser, system, isp)
    key = new_key_pair().public
    post(browser, f"/vpn/{isp.nas_id}/public-key", public_key=key)
    peer = the_peer(system, isp)
    assert (peer.public_key, peer.secret) == (key, None)
    assert "private-key" not in post(browser, f"/vpn/{isp.nas_id}/script", wanted="file", **CHOSEN).text
    post(browser, f"/vpn/{isp.nas_id}/public-key", public_key="not a key")
    assert the_peer(system, isp).public_key == key
    assert "not a WireGuard key" in browser.get(f"/vpn/{isp.nas_id}").text


def test_new_keys_replace_the_old_and_a_removed_tunnel_is_gone(sign_in, system, isp):
    browser = sign_in("technical")
    before = get_tunnel(browser, system, isp).public_key
    post(browser, f"/vpn/{isp.nas_id}/keys")
    assert the_peer(system, isp).public_key != before
    post(browser, f"/vpn/{isp.nas_id}/remove")
    assert the_peer(system, isp) is None
    assert "Get VPN and script" in browser.get(f"/vpn/{isp.nas_id}").text
    assert actions(system, isp) == ["vpn.create", "vpn.change_keys", "vpn.remove"]


def test_who_may_only_look_sees_the_tunnel_and_gets_no_script(sign_in, system, isp):
    get_tunnel(sign_in("technical"), system, isp)
    browser = sign_in("support")
    page = browser.get(f"/vpn/{isp.nas_id}")
    assert page.status_code == 200
    assert "Show script" not in page.text
    for step in ("script", "keys", "remove", "use", "create", "public-key"):
        assert post(browser, f"/vpn/{isp.nas_id}/{step}", **CHOSEN).status_code == 403, step


def test_another_operators_router_does_not_exist(sign_in, system, installation, isp):
    theirs = make_isp(system, installation)
    get_tunnel(sign_in("technical", theirs), system, theirs)
    browser = sign_in("technical", isp)
    assert browser.get(f"/vpn/{theirs.nas_id}").status_code == 404
    assert browser.get(f"/vpn/{theirs.nas_id}/state").status_code == 404
    assert post(browser, f"/vpn/{theirs.nas_id}/script", wanted="file", **CHOSEN).status_code == 404
    mine = get_tunnel(browser, system, isp)
    assert mine.address != the_peer(system, theirs).address, "although its row cannot be seen"
    listed = browser.get("/vpn/").text
    assert str(mine.address) in listed
    assert str(the_peer(system, theirs).address) not in listed


@pytest.mark.parametrize(
    ("status", "told"),
    [("no_rights", "CAP_NET_ADMIN"), ("no_tun", "/dev/net/tun"), ("port_taken", "port"),
     ("interface_taken", "interface"), ("no_program", "setup.sh"), ("failed", "log")],
)  # fmt: skip
def test_the_page_says_why_the_server_does_not_run(sign_in, system, isp, status, told):
    browser = sign_in("technical")
    with system.begin() as connection:
        connection.execute(text("UPDATE vpn_server SET wireguard_status = :status"), {"status": status})
    page = browser.get(f"/vpn/{isp.nas_id}").text
    assert "The VPN server does not run" in page
    assert told in page


def test_a_server_that_fell_silent_is_told(sign_in, system, isp):
    browser = sign_in("technical")
    with system.begin() as connection:
        connection.execute(text("UPDATE vpn_server SET seen_at = :at"), {"at": utc_now() - timedelta(minutes=3)})
    assert "The VPN server does not run" in browser.get(f"/vpn/{isp.nas_id}").text
    assert "The VPN server does not run" in browser.get("/vpn/").text


def test_the_login_page_is_there_for_routers_that_fetch_it(app):
    answer = app.test_client().get("/vpn/login-es.html")
    assert answer.status_code == 200
    assert '<html lang="es">' in answer.text
    assert "Acceso a la red" in answer.text
    assert app.test_client().get("/vpn/login-xx.html").status_code == 404
    for variable in ("$(link-login-only)", "$(if error)", "$(endif)", "$(link-orig-esc)"):
        assert variable in answer.text
