"""Accounting on the running system: from a packet on the wire to sessions, usage and what radiusd knows of them."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pyrad import packet

from lab.network import BlockingNetwork
from lab.profile import NasProfile, Server
from lab.session import Session
from lab.subscriber import Subscriber
from stack.pieces import RunningPiece
from stack.programs import loader_piece
from tests.system.conftest import Controller, wait_until

pytestmark = pytest.mark.system

MAC = "AA:BB:CC:00:00:01"
GIB = 1 << 30


@pytest.fixture(scope="module")
def loader(controller: Controller) -> Iterator[RunningPiece]:
    with RunningPiece(loader_piece(controller.settings), controller.settings.log_dir / "loader.log") as piece:
        yield piece


def account(controller: Controller, status: str, user: str, **more: Any) -> None:
    """Send one Accounting-Request as RouterOS's PPPoE server does; it must be acknowledged."""
    client = controller.client
    request = packet.AcctPacket(secret=client.secret, dict=client.dictionary, id=os.urandom(1)[0])
    request["Service-Type"] = "Framed-User"
    request["Framed-Protocol"] = "PPP"
    request["NAS-Port-Type"] = "Ethernet"
    request["User-Name"] = user
    request["Calling-Station-Id"] = MAC
    request["Called-Station-Id"] = "service1"
    request["NAS-Port-Id"] = "ether2"
    request["Acct-Session-Id"] = "8160003e"
    request["Acct-Status-Type"] = status
    request["Event-Timestamp"] = int(time.time())
    request["NAS-Identifier"] = "tower-1"
    request["NAS-IP-Address"] = "10.8.0.2"
    request["Acct-Delay-Time"] = 0
    for name, value in more.items():
        request[name.replace("_", "-")] = value
    assert client.exchange(request).code == 5


def count(
    controller: Controller, status: str, user: str, seconds: int, upload: int, download: int, **more: Any
) -> None:
    account(
        controller,
        status,
        user,
        Acct_Session_Time=seconds,
        Acct_Input_Octets=upload % (1 << 32),
        Acct_Input_Gigawords=upload >> 32,
        Acct_Output_Octets=download % (1 << 32),
        Acct_Output_Gigawords=download >> 32,
        Acct_Input_Packets=11,
        Acct_Output_Packets=22,
        **more,
    )


def row(controller: Controller, service: int) -> tuple[Any, ...] | None:
    rows = controller.isp.fetch(
        "SELECT ended_at, session_time, octets_in, octets_out, packets_in, packets_out, ended_by, terminate_cause"
        " FROM session WHERE service_id = %s",
        service,
    )
    assert len(rows) <= 1
    return rows[0] if rows else None


@pytest.mark.usefixtures("loader")
def test_a_session_from_login_to_stop(controller):
    isp = controller.isp
    service = isp.service("ana", "secret")
    controller.settle()
    granted = controller.client.login("ana", "secret", Acct_Session_Id="8160003e", mac=MAC)
    echoed = {"Class": granted["Class"], "Framed_IP_Address": "10.20.0.7"}
    account(controller, "Start", "ana", **echoed)
    wait_until(lambda: row(controller, service), 10, "the session")
    kept = isp.fetch(
        "SELECT acct_session_id, user_name, calling_station_id, called_station_id, nas_port_id, nas_identifier,"
        " host(nas_ip_address), kind, mac::text, host(framed_ip), nas_id, operator_id, interim_interval FROM session"
    )
    assert kept == [
        (
            "8160003e", "ana", MAC, "service1", "ether2", "tower-1", "10.8.0.2", "ppp", MAC.lower(), "10.20.0.7",
            isp.nas_id, isp.operator_id, 300,
        )
    ]  # fmt: skip
    ((terms, accepted),) = isp.fetch(
        "SELECT s.terms_id, e.terms_id FROM session s JOIN auth_event e ON e.service_id = s.service_id"
    )
    assert terms is not None
    assert terms == accepted
    count(controller, "Interim-Update", "ana", 300, GIB, 9 * GIB, **echoed)
    wait_until(lambda: row(controller, service) == (None, 300, GIB, 9 * GIB, 11, 22, None, None), 10, "the interim")
    count(controller, "Stop", "ana", 301, GIB + 5, 9 * GIB + 7, Acct_Terminate_Cause=2, **echoed)
    ended = wait_until(lambda: (found := row(controller, service)) and found[0] and found, 10, "the end")
    assert ended[1:] == (301, GIB + 5, 9 * GIB + 7, 11, 22, "stop", "Lost-Carrier")
    assert abs((datetime.now(UTC) - ended[0]).total_seconds()) < 60
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM usage_hour WHERE service_id = %s", service) == [
        (GIB + 5, 9 * GIB + 7)
    ]


@pytest.mark.usefixtures("loader")
def test_radiusd_learns_of_the_live_session_and_of_its_end(controller):
    controller.isp.service("ben", "secret")
    controller.settle()
    account(controller, "Start", "ben", Acct_Session_Id="81600050")
    other = "AA:BB:CC:00:00:02"

    def answer() -> int:
        return controller.client.login("ben", "secret", mac=other).code

    wait_until(lambda: answer() == 3, 10, "the second session to be refused")
    count(controller, "Stop", "ben", 5, 1, 1, Acct_Session_Id="81600050")
    wait_until(lambda: answer() == 2, 10, "the next session to be let in")


def test_a_loader_killed_between_packets_counts_each_once(controller, loader):
    service = controller.isp.service("cat", "secret")
    controller.settle()
    account(controller, "Start", "cat", Acct_Session_Id="81600060")
    for step in range(1, 40):
        count(controller, "Interim-Update", "cat", step * 10, step * 100, step * 1000, Acct_Session_Id="81600060")
        if step % 10 == 5:
            loader.kill()
        if step % 10 == 8:
            loader.start()
    wait_until(lambda: (found := row(controller, service)) and found[2:4] == (3900, 39000), 20, "the last interim")
    assert controller.isp.fetch(
        "SELECT sum(octets_in), sum(octets_out) FROM usage_hour WHERE service_id = %s", service
    ) == [(3900, 39000)]


@pytest.mark.usefixtures("loader")
def test_a_bad_network_loses_and_repeats_packets_but_no_octet_is_counted_wrongly(controller):
    """Every session ends with a Stop that arrives; what came before it was lost, doubled, late and out of order."""
    chance = random.Random(11)
    isp = controller.isp
    addresses = {"skewed": "127.0.23.1", "swapped": "127.0.23.2"}
    for name, address in addresses.items():
        isp.nas(address, swap_directions=name == "swapped")
    users = [f"far{n:02d}" for n in range(30)]
    for user in users:
        isp.service(user, "secret")
    controller.settle()
    server = Server("127.0.0.1", controller.settings.auth_port, controller.settings.acct_port)
    with BlockingNetwork() as network:
        nas = {
            name: network.add_nas(NasProfile(name, address, isp.secret, server, coa_port=0, timeout=0.3))
            for name, address in addresses.items()
        }
        lines = []
        for number, user in enumerate(users):
            where = chance.choice(sorted(nas))
            cpe = network.add_subscriber(Subscriber(user, "secret", mac=f"02:00:00:00:23:{number:02x}"), where)
            session = network.dial(cpe)
            assert isinstance(session, Session), session
            lines.append((nas[where], session))
        for faulty in nas.values():
            faulty.faults.duplicate, faulty.faults.delay, faulty.faults.reorder_accounting = 0.3, 0.3, 0.3
            faulty.faults.loss = 0.2
        nas["skewed"].faults.clock_skew = 3600.0
        nas["swapped"].faults.swapped_octets = True
        for _ in range(5):
            for at, session in lines:
                up, down = chance.randrange(1 << 30), chance.randrange(1 << 34)
                network.call(lambda _, s=session, u=up, d=down: s.count(u, d))
                network.call(lambda _, a=at, s=session: a.send_interim(s))
            time.sleep(0.7)
        for faulty in nas.values():
            faulty.faults.loss = 0.0
        for at, session in lines:
            network.call(lambda _, a=at, s=session: a.log_out(s))
        for faulty in nas.values():
            network.wait_for(faulty.settled())
        counted = {s.user_name: s.octets(network.call(lambda _: asyncio.get_running_loop().time())) for _, s in lines}
    ended = "SELECT count(*) FROM session WHERE user_name LIKE 'far%%' AND ended_by = 'stop'"
    wait_until(lambda: isp.fetch(ended) == [(len(users),)], 20, "every Stop")
    kept = isp.fetch("SELECT user_name, octets_in, octets_out FROM session WHERE user_name LIKE 'far%%'")
    assert {user: (upload, download) for user, upload, download in kept} == counted
    usage = isp.fetch(
        "SELECT s.name, sum(u.octets_in), sum(u.octets_out) FROM usage_hour u JOIN service s ON s.id = u.service_id"
        " WHERE s.name LIKE 'far%%' GROUP BY s.name"
    )
    assert {user: (upload, download) for user, upload, download in usage} == counted


@pytest.mark.usefixtures("loader")
def test_the_loader_ends_in_order_and_says_that_nothing_is_left(controller, loader):
    wait_until(lambda: controller.isp.fetch("SELECT journal_backlog FROM node") == [(0,)], 10, "an empty backlog")
    loader.stop()
    assert "loader_stopped" in loader.last_lines(3)
    loader.start()
