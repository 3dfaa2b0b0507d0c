"""Staff log in to routers through the real radiusd: with their group, and never as subscribers."""

import pytest
from pyrad import packet

from radius.journal import ACCOUNTING, AUTHENTICATION, read_records, segments
from tests.system.conftest import Controller

pytestmark = pytest.mark.system

LOGIN = {
    "Service_Type": "Login-User", "Framed_Protocol": None, "NAS_Port_Type": None, "Called_Station_Id": None,
    "NAS_Port_Id": None, "mac": "192.0.2.7",
}  # fmt: skip
HOTSPOT = {
    "Service_Type": "Login-User", "Framed_Protocol": None, "NAS_Port_Type": "Wireless-802.11",
    "Mikrotik_Host_IP": "10.5.50.7",
}  # fmt: skip
PASSWORD = "roúter pass"


def add_staff(controller: Controller, name: str, role: str = "technical", nas_ids: list[int] | None = None) -> int:
    isp = controller.isp
    staff_id = isp.insert(
        "staff", operator_id=isp.operator_id, email=f"{name}@isp.example", name=name, password_hash="x", roles=[role]
    )
    isp.insert(
        "router_login", "staff_id", operator_id=isp.operator_id, staff_id=staff_id, name=name, nas_ids=nas_ids,
        password=controller.settings.keyring.seal("router_login.password", PASSWORD),
    )  # fmt: skip
    return staff_id


@pytest.fixture(scope="module", autouse=True)
def _groups(controller: Controller) -> None:
    for role, group in (("technical", "write"), ("support", "read"), ("manager", "full")):
        isp = controller.isp
        isp.insert("router_group", "operator_id", operator_id=isp.operator_id, role=role, router_group=group)


@pytest.mark.parametrize("method", ["pap", "chap", "mschap", "mschapv2"])
def test_a_technician_gets_the_group_of_the_role_and_nothing_else(controller: Controller, method: str):
    add_staff(controller, f"eva-{method}")
    controller.settle()
    right = controller.client.login(f"eva-{method}", PASSWORD, method=method, **LOGIN)
    assert (right.code, right["Mikrotik-Group"]) == (2, "write")
    assert "Mikrotik-Rate-Limit" not in right
    wrong = controller.client.login(f"eva-{method}", "otra", method=method, **LOGIN)
    assert wrong.code == 3
    assert set(wrong.attributes) == {"Reply-Message", "Message-Authenticator"}


@pytest.mark.parametrize("service", ["Administrative-User", "NAS-Prompt-User", None])
def test_a_login_is_known_whatever_service_type_the_router_sends(controller: Controller, service: str | None):
    name = f"luz-{service or 'none'}"
    add_staff(controller, name)
    controller.settle()
    answer = controller.client.login(name, PASSWORD, **{**LOGIN, "Service_Type": service})
    assert (answer.code, answer["Mikrotik-Group"]) == (2, "write")


def test_a_subscriber_is_no_router_user_and_staff_are_no_subscribers(controller: Controller):
    add_staff(controller, "rosa")
    controller.isp.service("cliente", "secreto")
    controller.isp.service("rosa", "suya")
    controller.settle()
    assert controller.client.login("cliente", "secreto", **LOGIN).code == 3
    assert controller.client.login("rosa", "suya", **LOGIN).code == 3
    assert controller.client.login("rosa", PASSWORD, **LOGIN)["Mikrotik-Group"] == "write"
    assert controller.client.login("rosa", PASSWORD).code == 3
    for attributes in ({}, HOTSPOT):
        let_in = controller.client.login("rosa", "suya", **attributes)
        assert (let_in.code, let_in["Mikrotik-Rate-Limit"]) == (2, "5M/20M")
        assert "Mikrotik-Group" not in let_in


def test_who_has_left_is_refused_at_once(controller: Controller):
    staff_id = add_staff(controller, "pedro")
    controller.settle()
    assert controller.client.login("pedro", PASSWORD, **LOGIN).code == 2
    controller.isp.update("staff", staff_id, active=False)
    controller.settle(2.0)
    assert controller.client.login("pedro", PASSWORD, **LOGIN).code == 3


def test_a_role_without_a_group_gets_in_nowhere_until_it_has_one(controller: Controller):
    staff_id = add_staff(controller, "caja", role="finance")
    controller.settle()
    assert controller.client.login("caja", PASSWORD, **LOGIN).code == 3
    controller.isp.update("staff", staff_id, roles=["finance", "support", "technical"])
    controller.settle()
    assert controller.client.login("caja", PASSWORD, **LOGIN)["Mikrotik-Group"] == "write"


def test_only_the_allowed_routers_let_in(controller: Controller):
    add_staff(controller, "norte", nas_ids=[controller.isp.nas_id])
    add_staff(controller, "sur", nas_ids=[controller.isp.nas_id + 1000])
    controller.settle()
    assert controller.client.login("norte", PASSWORD, **LOGIN).code == 2
    assert controller.client.login("sur", PASSWORD, **LOGIN).code == 3


def test_guessing_is_ended(controller: Controller):
    add_staff(controller, "meta")
    controller.settle()
    for _ in range(20):
        controller.client.login("meta", "guess", **LOGIN)
    refused = controller.client.login("meta", PASSWORD, **LOGIN)
    assert (refused.code, refused["Reply-Message"]) == (3, "Too many wrong passwords. Wait a few minutes.")


def test_logins_are_journalled_without_passwords_and_their_accounting_makes_no_session(controller: Controller):
    staff_id = add_staff(controller, "diario")
    controller.settle()
    controller.client.login("diario", PASSWORD, **LOGIN)
    controller.client.login("diario", "otra-clave", **LOGIN)
    client = controller.client
    request = packet.AcctPacket(secret=client.secret, dict=client.dictionary, id=7)
    for name, value in (
        ("Service-Type", "Login-User"), ("User-Name", "diario"), ("Calling-Station-Id", "192.0.2.7"),
        ("Acct-Session-Id", "80000001"), ("Acct-Status-Type", "Start"),
    ):  # fmt: skip
        request[name] = value
    assert client.exchange(request).code == 5
    records = [
        record
        for segment in segments(controller.settings.journal_dir)
        for _, record in read_records(segment, 0, 10_000)
    ]
    kept = [each for each in records if "diario" in repr(each)]
    assert not [each for each in kept if each[0] == ACCOUNTING]
    logins = [each for each in kept if each[0] == AUTHENTICATION]
    assert [(each[7], each[9], each[10], each[11]) for each in logins] == [
        ("login", "accept", "", {"caller": "192.0.2.7", "staff": str(staff_id), "group": "write"}),
        ("login", "reject", "wrong_password", {"caller": "192.0.2.7", "staff": str(staff_id)}),
    ]
    assert PASSWORD not in repr(records)
    assert "otra-clave" not in repr(records)
