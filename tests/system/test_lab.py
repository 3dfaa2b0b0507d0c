"""The emulated network before our own radiusd: every way to prove oneself, every service, and a storm."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from aaa.facts import AccessKind
from core.rates import RateLimit
from core.settings import Settings
from lab.nas import Refusal, Refused
from lab.network import BlockingNetwork
from lab.profile import NasProfile, Server
from lab.session import Session
from lab.storm import Storm, ride
from lab.subscriber import Method, Subscriber
from stack.pieces import RunningPiece
from stack.programs import loader_piece
from tests.system.conftest import Controller, start_controller, wait_until

pytestmark = pytest.mark.system

PLAN = RateLimit(download=20_000_000, upload=5_000_000)
OLD, NEW = "127.0.21.1", "127.0.21.2"


@pytest.fixture(scope="module")
def controller(installation: Settings) -> Iterator[Controller]:
    """Publisher, radiusd and loader, and an ISP with a RouterOS 6 and a RouterOS 7 router."""
    with ExitStack() as stack:
        controller = start_controller(installation, stack)
        stack.enter_context(RunningPiece(loader_piece(installation), installation.log_dir / "loader.log"))
        for address in (OLD, NEW):
            controller.isp.nas(address)
        controller.settle()
        yield controller


@pytest.fixture
def network(controller: Controller) -> Iterator[BlockingNetwork]:
    server = Server("127.0.0.1", controller.settings.auth_port, controller.settings.acct_port)
    pools = (("default", "10.64.0.0/24"), ("garden", "10.99.0.0/24"))
    with BlockingNetwork() as network:
        for name, address, version in (("old", OLD, (6, 49)), ("new", NEW, (7, 16))):
            network.add_nas(
                NasProfile(name, address, controller.isp.secret, server, coa_port=0, version=version, pools=pools)
            )
        yield network


@pytest.mark.parametrize("nas", ["old", "new"])
@pytest.mark.parametrize("method", [Method.PAP, Method.CHAP, Method.MSCHAP1, Method.MSCHAP2])
def test_every_method_works_on_routers_that_sign_and_on_those_that_do_not(
    controller: Controller, network: BlockingNetwork, method: Method, nas: str
) -> None:
    name = f"{method}-{nas}"
    controller.isp.service(name, "contraseña ñ", framed_ip="10.64.9.9")
    controller.settle()
    session = network.connect(Subscriber(name, "contraseña ñ", method=method), nas)
    assert isinstance(session, Session), session
    assert (session.grant.rate, session.address) == (PLAN, "10.64.9.9")
    assert (session.grant.interim_interval, session.grant.address_list) == (300, "portico-active")
    wrong = network.connect(Subscriber(name, "contrasena n", method=method, retry_after=None), nas)
    assert isinstance(wrong, Refused)
    assert wrong.cause is Refusal.REJECTED


@pytest.mark.parametrize("identifier", [1, 127, 128, 255])
@pytest.mark.parametrize("method", [Method.MSCHAP1, Method.MSCHAP2])
def test_a_wrong_ms_chap_password_is_kept_whatever_identifier_the_nas_chose(
    controller: Controller, network: BlockingNetwork, method: Method, identifier: int
) -> None:
    name = f"wrong-{method}-{identifier}"
    service = controller.isp.service(name, "right")
    controller.settle()
    network.call(lambda lab: setattr(lab.nas["new"], "chap_identifier", identifier - 1))
    refused = network.connect(Subscriber(name, "wrong", method=method, retry_after=None), "new")
    assert isinstance(refused, Refused)
    assert refused.cause is Refusal.REJECTED
    query = "SELECT outcome, reason FROM auth_event WHERE service_id = %s"
    found = wait_until(lambda: controller.isp.fetch(query, service), 10, "the outcome to be loaded")
    assert found == [("reject", "wrong_password")]


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (AccessKind.DHCP, ""),
        *((kind, pattern) for kind in (AccessKind.HOTSPOT, AccessKind.WIRELESS) for pattern in (
            "XX:XX:XX:XX:XX:XX",
            "XXXX:XXXX:XXXX",
            "XXXXXX:XXXXXX",
            "XX-XX-XX-XX-XX-XX",
            "XXXXXX-XXXXXX",
            "XXXXXXXXXXXX",
            "XX XX XX XX XX XX",
            "xx:xx:xx:xx:xx:xx",
        )),
    ],
)  # fmt: skip
def test_a_registered_mac_connects_in_every_spelling(
    controller: Controller, network: BlockingNetwork, kind: AccessKind, pattern: str
) -> None:
    mac = "aa:bb:cc:00:0e:0f"
    if mac not in controller.isp.services:
        controller.isp.service(mac, None, access_method="mac", session_limit=0)
        controller.settle()
    subscriber = Subscriber("cpe", kind=kind, method=Method.MAC, mac=mac, mac_format=pattern)
    session = network.connect(subscriber, "new")
    assert isinstance(session, Session), session
    if kind is not AccessKind.WIRELESS:  # which takes no Mikrotik-Rate-Limit (RouterOS manual, RADIUS Client)
        assert session.grant.rate == PLAN


def test_an_unregistered_mac_is_refused_with_the_reason(network: BlockingNetwork) -> None:
    subscriber = Subscriber("cpe", kind=AccessKind.DHCP, method=Method.MAC, mac="aa:bb:cc:99:99:99", retry_after=None)
    refused = network.connect(subscriber, "new")
    assert isinstance(refused, Refused)
    assert (refused.cause, refused.message) == (Refusal.REJECTED, "This device is not registered.")


def test_after_a_power_cut_everybody_comes_back_although_no_session_was_stopped(controller: Controller) -> None:
    isp = controller.isp
    for number in range(4):
        isp.nas(f"127.0.22.{number + 1}")
    for number in range(200):
        isp.service(f"storm{number:03d}", f"pw{number:03d}", session_limit=1)
    controller.settle()
    storm = Storm(
        subscribers=200,
        nas=4,
        server=Server("127.0.0.1", controller.settings.auth_port, controller.settings.acct_port),
        secret=isp.secret,
        name="storm{n:03d}",
        password="pw{n:03d}",
        nas_address="127.0.22.{ones}",
        method=Method.MSCHAP2,
        spread=1.0,
        patience=30.0,
        pause=2.0,
    )
    report = asyncio.run(ride(storm))
    assert report.connected.online == report.returned.online == 200
    assert (report.connected.rejected, report.returned.rejected) == (0, 0)
    open_sessions = (
        "SELECT count(*), count(DISTINCT service_id) FROM session WHERE ended_at IS NULL AND user_name LIKE 'storm%%'"
    )
    wait_until(lambda: isp.fetch(open_sessions) == [(200, 200)], 15, "the sessions before the cut to be closed")
