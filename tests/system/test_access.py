"""Access-Requests to the real radiusd, answered from an image that the real publisher made."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from radius.journal import AUTHENTICATION, read_records, segments
from tests.factories import Isp
from tests.system.client import Client, NoAnswer
from tests.system.conftest import Controller, wait_until

pytestmark = pytest.mark.system


@pytest.mark.parametrize("method", ["pap", "chap"])
def test_subscriber_with_the_right_password_gets_the_plan(controller: Controller, method: str):
    controller.isp.service(f"ana-{method}", "secreto", framed_ip="10.9.8.7")
    controller.settle()
    answer = controller.client.login(f"ana-{method}", "secreto", method=method)
    assert answer.code == 2
    assert answer["Mikrotik-Rate-Limit"] == "5M/20M"
    assert answer["Framed-IP-Address"] == "10.9.8.7"
    assert "Message-Authenticator" in answer


@pytest.mark.parametrize("method", ["mschap", "mschapv2"])
def test_ms_chap_is_accepted_and_refused_by_the_password(controller: Controller, method: str):
    controller.isp.service(f"eva-{method}", "cl4ve ñandú" if method == "mschap" else "clave")
    controller.settle()
    password = "cl4ve ñandú" if method == "mschap" else "clave"
    accepted = controller.client.login(f"eva-{method}", password, method=method)
    refused = controller.client.login(f"eva-{method}", "otra", method=method)
    assert (accepted.code, accepted["Mikrotik-Rate-Limit"]) == (2, "5M/20M")
    assert refused.code == 3
    assert set(refused.attributes) == {"Reply-Message", "Message-Authenticator"}


@pytest.mark.parametrize("method", ["pap", "chap"])
def test_wrong_password_is_refused_at_once_with_nothing_but_a_message(controller: Controller, method: str):
    controller.isp.service(f"luis-{method}", "secreto")
    controller.settle()
    begun = time.monotonic()
    answer = controller.client.login(f"luis-{method}", "otra", method=method)
    assert time.monotonic() - begun < 0.3
    assert answer.code == 3
    assert set(answer.attributes) == {"Reply-Message", "Message-Authenticator"}


@pytest.mark.parametrize("name", ["Maria", "maria ", "MARIA", "mari", "maria\t"])
def test_user_names_are_matched_exactly(controller: Controller, name: str):
    if "maria" not in controller.isp.services:
        controller.isp.service("maria", "x1")
        controller.settle()
    assert controller.client.login("maria", "x1").code == 2
    assert controller.client.login(name, "x1").code == 3


def test_password_of_any_printable_characters(controller: Controller):
    password = "a\"b$c\\d 'e;--ñ€"
    controller.isp.service("raro", password)
    controller.settle()
    assert controller.client.login("raro", password).code == 2
    assert controller.client.login("raro", password, method="chap").code == 2


HOTSPOT = {
    "Service_Type": "Login-User",
    "Framed_Protocol": None,
    "NAS_Port_Type": "Wireless-802.11",
    "Mikrotik_Host_IP": "10.5.50.7",
}
DHCP = {"Service_Type": None, "Framed_Protocol": None, "Framed_IP_Address": "10.5.50.8"}
WIRELESS = {
    "Service_Type": None,
    "Framed_Protocol": None,
    "NAS_Port_Type": "Wireless-802.11",
    "Called_Station_Id": "AA-BB-CC-DD-EE-FF:tower",
}


@pytest.mark.parametrize(
    ("user_name", "calling", "attributes"),
    [
        pytest.param("00:0C:42:00:D4:64", "1:0:c:42:0:d4:64", DHCP, id="DHCP with an odd client-id"),
        pytest.param("00:0C:42:00:D4:64", "1:00:0c:42:00:d4:64", DHCP, id="DHCP client-id"),
        pytest.param("00:0C:42:00:D4:64", "00:0C:42:00:D4:64", HOTSPOT, id="hotspot"),
        pytest.param("000C:4200:D464", "00:0C:42:00:D4:64", HOTSPOT, id="hotspot XXXX:XXXX:XXXX"),
        pytest.param("000C42-00D464", "00:0C:42:00:D4:64", HOTSPOT, id="hotspot XXXXXX-XXXXXX"),
        pytest.param("00 0C 42 00 D4 64", "00:0C:42:00:D4:64", HOTSPOT, id="hotspot with blanks"),
        pytest.param("000c4200d464", "00-0C-42-00-D4-64", WIRELESS, id="wireless lower case"),
        pytest.param("00-0C-42-00-D4-64", "00-0C-42-00-D4-64", WIRELESS, id="wireless dashes"),
    ],
)
def test_registered_mac_is_let_in_with_an_empty_password(
    controller: Controller, user_name: str, calling: str, attributes: dict[str, str]
):
    if "00:0c:42:00:d4:64" not in controller.isp.services:
        controller.isp.service("00:0c:42:00:d4:64", None, access_method="mac")
        controller.settle()
    answer = controller.client.login(user_name, "", mac=calling, **attributes)
    assert (answer.code, answer["Mikrotik-Rate-Limit"]) == (2, "5M/20M")
    assert ("Session-Timeout" in answer) == (attributes is DHCP)
    if attributes is WIRELESS:
        assert (answer["Ascend-Data-Rate"], answer["Ascend-Xmit-Rate"]) == (5_000_000, 20_000_000)


def test_mac_is_no_credential_over_pppoe_or_for_another_device(controller: Controller):
    controller.isp.service("00:0c:42:00:d4:99", None, access_method="mac")
    controller.settle()
    assert controller.client.login("00:0C:42:00:D4:99", "", mac="00:0C:42:00:D4:99").code == 3
    other = controller.client.login("00:0C:42:00:D4:99", "", mac="02:00:00:00:00:01", **HOTSPOT)
    assert other.code == 3


def test_unknown_mac_is_told_to_be_registered(controller: Controller):
    answer = controller.client.login("02:00:00:00:00:77", "", mac="02:00:00:00:00:77", **DHCP)
    assert (answer.code, answer["Reply-Message"]) == (3, "This device is not registered.")


def test_every_attribute_of_a_plan_and_a_service_arrives(controller: Controller):
    isp = controller.isp
    plan_id = isp.plan(
        download=20_000_000,
        upload=5_000_000,
        burst_download=30_000_000,
        burst_upload=8_000_000,
        burst_threshold_download=15_000_000,
        burst_threshold_upload=4_000_000,
        burst_seconds=10,
        priority=5,
        minimum_download=2_000_000,
        minimum_upload=512_000,
        pool="clientes",
        ipv6_pool="v6",
        delegated_ipv6_pool="pd",
        address_list="gold",
        session_timeout=timedelta(hours=24),
        idle_timeout=timedelta(minutes=10),
        interim_interval=timedelta(minutes=7),
        extra=[
            ["Framed-Route", "+=", "10.20.0.0/24 10.0.0.1 1"],
            ["Mikrotik-Mark-Id", ":=", "1:vip"],
            ["Filter-Id", ":=", "{name} {download_kbps}k"],
        ],
    )
    isp.service("todo", "x", plan_id=plan_id, framed_routes=["192.168.7.0/24 0.0.0.0 1"], delegated_ipv6_prefix=None)
    isp.service("fijo", "x", plan_id=plan_id, framed_ip="10.9.9.9", delegated_ipv6_prefix="2001:db8:9::/56")
    controller.settle()
    answer = controller.client.login("todo", "x")
    assert answer["Mikrotik-Rate-Limit"] == "5M/20M 8M/30M 4M/15M 10/10 5 512k/2M"
    assert answer["Framed-Pool"] == "clientes"
    assert answer["Framed-IPv6-Pool"] == "v6"
    assert answer["Mikrotik-Delegated-IPv6-Pool"] == "pd"
    assert answer["Mikrotik-Address-List"] == "gold"
    assert answer["Session-Timeout"] == 86400
    assert answer["Idle-Timeout"] == 600
    assert answer["Acct-Interim-Interval"] == 420
    assert sorted(answer.attributes["Framed-Route"]) == ["10.20.0.0/24 10.0.0.1 1", "192.168.7.0/24 0.0.0.0 1"]
    assert answer["Filter-Id"] == "todo 20000k"
    assert answer["Class"].startswith(b"p1.")
    fixed = controller.client.login("fijo", "x")
    assert fixed["Framed-IP-Address"] == "10.9.9.9"
    assert fixed["Delegated-IPv6-Prefix"] == "2001:db8:9::/56"
    assert "Framed-Pool" not in fixed


def test_volume_left_is_sent_in_two_words(controller: Controller):
    controller.isp.service("volumen", "x", octets_left=(3 << 32) + 5)
    controller.settle()
    answer = controller.client.login("volumen", "x")
    assert (answer["Mikrotik-Total-Limit"], answer["Mikrotik-Total-Limit-Gigawords"]) == (5, 3)


def test_suspended_subscriber_is_led_into_the_walled_garden(controller: Controller):
    service_id = controller.isp.service("moroso", "x")
    controller.isp.update(
        "service", service_id, state="suspended", suspended_at=datetime.now(UTC), suspension_cause="overdue"
    )
    controller.settle()
    answer = controller.client.login("moroso", "x")
    assert answer.code == 2
    assert answer["Mikrotik-Address-List"] == "portico-suspended"
    assert answer["Mikrotik-Rate-Limit"] == "512k/512k"
    assert answer["Session-Timeout"] == 600


def test_restored_subscriber_gets_the_plan_within_a_second(controller: Controller):
    service_id = controller.isp.service("vuelve", "x")
    controller.isp.update("service", service_id, state="suspended", suspended_at=datetime.now(UTC))
    controller.settle()
    assert controller.client.login("vuelve", "x")["Mikrotik-Address-List"] == "portico-suspended"
    controller.isp.update("service", service_id, state="active", suspended_at=None)
    wait_until(
        lambda: controller.client.login("vuelve", "x")["Mikrotik-Address-List"] == "portico-active",
        1,
        "the image to follow",
    )


def test_service_paid_until_yesterday_is_led_away_without_any_job(controller: Controller):
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    controller.isp.service("ayer", "x", paid_until=yesterday)
    controller.isp.service("hoy", "x", paid_until=yesterday + timedelta(days=1))
    controller.isp.service("a-mano", "x", paid_until=yesterday, management="manual")
    controller.settle()
    lists = [controller.client.login(name, "x")["Mikrotik-Address-List"] for name in ("ayer", "hoy", "a-mano")]
    assert lists == ["portico-suspended", "portico-active", "portico-active"]


def test_plan_change_is_what_the_next_login_gets(controller: Controller):
    plan_id = controller.isp.plan()
    controller.isp.service("sube", "x", plan_id=plan_id)
    controller.settle()
    assert controller.client.login("sube", "x")["Mikrotik-Rate-Limit"] == "5M/20M"
    controller.isp.update("rate_plan", plan_id, download=100_000_000)
    controller.settle()
    assert controller.client.login("sube", "x")["Mikrotik-Rate-Limit"] == "5M/100M"


def test_renamed_service_is_gone_under_its_old_name(controller: Controller):
    service_id = controller.isp.service("antes", "x")
    controller.settle()
    controller.isp.update("service", service_id, name="despues")
    controller.settle()
    assert controller.client.login("despues", "x").code == 2
    assert controller.client.login("antes", "x").code == 3


def test_terminated_service_frees_its_name_for_another(controller: Controller):
    service_id = controller.isp.service("libre", "vieja")
    controller.isp.update("service", service_id, state="terminated")
    controller.settle()
    assert controller.client.login("libre", "vieja").code == 3
    controller.isp.service("libre", "nueva")
    controller.settle()
    assert controller.client.login("libre", "nueva").code == 2


def test_unknown_source_address_gets_no_answer(controller: Controller):
    stranger = Client(controller.settings.auth_port, controller.settings.acct_port, source="127.0.0.77")
    controller.isp.service("vecina", "x")
    controller.settle()
    with pytest.raises(NoAnswer):
        stranger.login("vecina", "x", timeout=0.5)


def test_new_changed_and_removed_nas_are_in_force_within_a_second(controller: Controller):
    controller.isp.service("movil", "x")
    nas_id = controller.isp.nas("127.0.0.50")
    router = Client(controller.settings.auth_port, controller.settings.acct_port, source="127.0.0.50")
    wait_until(lambda: _accepted(router, "movil"), 1.5, "the new NAS to be known")
    sealed = controller.settings.keyring.seal("nas.secret", "another")
    controller.isp.update("nas", nas_id, secret=sealed)
    changed = Client(router.ports[1], router.ports[4], secret=b"another", source="127.0.0.50")
    wait_until(lambda: _accepted(changed, "movil"), 1.5, "the new secret")
    controller.isp.connection.execute("DELETE FROM nas WHERE id = %s", (nas_id,))
    wait_until(lambda: not _accepted(changed, "movil"), 1.5, "the NAS to be refused")


def test_nas_that_must_sign_is_not_answered_without_message_authenticator(controller: Controller):
    controller.isp.service("firmada", "x")
    controller.isp.nas("127.0.0.51", require_message_authenticator=True)
    router = Client(controller.settings.auth_port, controller.settings.acct_port, source="127.0.0.51")
    wait_until(lambda: _accepted(router, "firmada"), 3, "the new NAS to be known")
    with pytest.raises(NoAnswer):
        router.login("firmada", "x", message_authenticator=False, timeout=0.5)


def test_names_of_one_operator_are_unknown_at_the_nas_of_another(controller: Controller):
    other = Isp.create(controller.settings, "127.0.0.60")
    other.service("propia", "x")
    other.connection.close()
    router = Client(controller.settings.auth_port, controller.settings.acct_port, source="127.0.0.60")
    wait_until(lambda: _accepted(router, "propia"), 3, "the new NAS to be known")
    assert controller.client.login("propia", "x").code == 3


def test_guessing_is_stopped_without_locking_out_the_subscriber_at_home(controller: Controller):
    controller.isp.service("victima", "buena")
    controller.settle()
    thief, home = "02:AA:AA:AA:AA:AA", "02:BB:BB:BB:BB:BB"
    for number in range(12):
        controller.client.login("victima", f"mala{number}", mac=thief)
    assert "Too many" in controller.client.login("victima", "buena", mac=thief)["Reply-Message"]
    assert controller.client.login("victima", "buena", mac=home).code == 2


@pytest.mark.parametrize("method", ["pap", "chap", "mschapv2"])
def test_the_longest_names_are_let_in_and_journalled(controller: Controller, method: str):
    name = f"{method}-" + "ñ" * 120
    controller.isp.service(name, "x")
    controller.settle()
    answer = controller.client.login(
        name, "x", method=method, Called_Station_Id="s" * 253, NAS_Port_Id="p" * 253, NAS_Identifier="i" * 253
    )
    assert answer.code == 2
    outcomes = [
        record[9]
        for segment in segments(controller.settings.journal_dir)
        for _, record in read_records(segment, 0, 10_000)
        if record[0] == AUTHENTICATION and record[5] == name
    ]
    assert outcomes == ["accept"]


@pytest.mark.parametrize("method", ["pap", "mschapv2"])
def test_cpe_that_kept_trying_is_let_in_as_soon_as_its_password_is_set(controller: Controller, method: str):
    name = f"terco-{method}"
    for _ in range(15):
        assert controller.client.login(name, "nueva", method=method).code == 3
    service_id = controller.isp.service(name, "vieja")
    controller.settle()
    for _ in range(15):
        assert controller.client.login(name, "nueva", method=method).code == 3
    sealed = controller.settings.keyring.seal("service.password", "nueva")
    controller.isp.update("service", service_id, password=sealed)
    controller.settle()
    assert controller.client.login(name, "nueva", method=method).code == 2


def test_name_and_password_in_latin_1_are_read(controller: Controller):
    controller.isp.service("Peña", "año")
    controller.settle()
    assert controller.client.login("Peña", "año").code == 2
    assert controller.client.login("Peña".encode("latin-1"), "año".encode("latin-1")).code == 2
    assert controller.client.login("Peña".encode("latin-1"), b"\xff\xfe").code == 3


def test_octets_that_are_no_text_at_all_do_not_stop_radiusd(controller: Controller):
    controller.isp.service("sana", "x")
    controller.settle()
    assert controller.client.login(b"\x80\x81\xff", b"\x90", NAS_Port_Id=b"\xc3", Connect_Info=b"\xa0").code == 3
    assert controller.client.login("sana", "x").code == 2


def test_login_without_any_hint_of_the_service_is_a_name_and_a_password(controller: Controller):
    controller.isp.service("simple", "x")
    controller.settle()
    bare = {"Service_Type": None, "Framed_Protocol": None, "NAS_Port_Type": None}
    assert controller.client.login("simple", "x", **bare).code == 2
    assert controller.client.login("simple", "", **bare).code == 3


def _accepted(client: Client, name: str) -> bool:
    try:
        return client.login(name, "x", timeout=0.3).code == 2
    except (NoAnswer, AssertionError):
        return False


@pytest.mark.parametrize(
    ("name", "remote", "circuit"),
    [
        pytest.param("dslam-7/eth0/1/4:35", b"dslam-7", b"eth0/1/4:35", id="text"),
        pytest.param("/ether5", None, b"ether5", id="circuit id alone"),
        pytest.param("olt/0x0004000a0102", b"olt", bytes.fromhex("0004000a0102"), id="octets"),
        pytest.param("olt/0xff00e9", b"olt", bytes.fromhex("ff00e9"), id="octets that are no UTF-8"),
        pytest.param("olt/0x7065f161", b"olt", "peña".encode("latin-1"), id="another code page"),
        pytest.param("olt/a\\b", b"olt", b"a\\b", id="a backslash"),
    ],
)
def test_a_line_is_told_by_option_82_whatever_device_is_on_it(
    controller: Controller, name: str, remote: bytes | None, circuit: bytes
):
    controller.isp.service(name, None, access_method="line", session_limit=0)
    controller.settle()
    for mac in ("02:00:00:00:01:01", "02:00:00:00:01:02"):
        answer = controller.client.login(
            mac, "", mac=f"1:{mac}", Agent_Remote_Id=remote, Agent_Circuit_Id=circuit, **DHCP
        )
        assert (answer.code, answer["Mikrotik-Rate-Limit"]) == (2, "5M/20M")


def test_a_line_is_no_credential_over_pppoe_and_another_line_is_not_let_in(controller: Controller):
    controller.isp.service("dslam-9/eth0", None, access_method="line")
    controller.settle()
    line = {"Agent_Remote_Id": b"dslam-9", "Agent_Circuit_Id": b"eth0"}
    assert controller.client.login("dslam-9/eth0", "", **line).code == 3
    other = {"Agent_Remote_Id": b"dslam-9", "Agent_Circuit_Id": b"eth1"}
    mac = "02:00:00:00:01:09"
    assert controller.client.login(mac, "", mac=mac, **other, **DHCP).code == 3
    records = [
        record
        for segment in segments(controller.settings.journal_dir)
        for _, record in read_records(segment, 0, 10_000)
        if record[0] == AUTHENTICATION and record[6] == mac
    ]
    assert records[-1][-1] == "dslam-9/eth1", "a technician reads the line's name from the list of unknown devices"
