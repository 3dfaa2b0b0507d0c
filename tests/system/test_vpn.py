"""The VPN server with real peers: WireGuard and OpenVPN routers in network namespaces, the rows in PostgreSQL."""

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from core.status import ask
from db.audit import Actor
from db.migrate import migrate
from db.models import Nas, VpnPeer, VpnServer
from db.session import make_engine
from network.vpn import change_keys, create_peer, remove_peer, state_of, use_tunnel
from network.vpn_plan import PEER_PURPOSE, Kind, half
from network.wireguard import new_key_pair
from stack.pieces import RunningPiece
from stack.programs import publisher_piece
from stack.radiusd import radiusd_piece
from stack.vpn import prepare_vpn, vpn_piece
from tests.factories import Isp
from tests.system.vpn_peers import Net, Site, wait_until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun here, and no VPN without it"),
]


@dataclass
class Vpn:
    """The server in its namespace, the database, and the operators whose routers dial in."""

    settings: Settings
    net: Net
    engine: Engine
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.settings.log_dir / "vpn.log"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.net.server.command(*vpn_piece(self.settings).full_command()),
                env=dict(vpn_piece(self.settings).environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(15)
            self.process = None

    def session(self) -> Session:
        return Session(self.engine, expire_on_commit=False)

    def peer(self, isp: Isp, address: str, kind: Kind) -> VpnPeer:
        nas_id = isp.nas(address)
        with self.session() as session:
            peer = create_peer(
                session, Actor(isp.operator_id, "test"), self.settings.keyring, self.settings,
                session.get_one(Nas, nas_id), kind,
            )  # fmt: skip
            session.commit()
        return peer

    def secret(self, peer: VpnPeer) -> str:
        return self.settings.keyring.open(PEER_PURPOSE, peer.secret)

    def state(self, peer: VpnPeer):
        with self.session() as session:
            return state_of(session, peer)

    def server(self) -> VpnServer | None:
        with self.session() as session:
            return session.get(VpnServer, 1)

    def is_on(self) -> bool:
        server = self.server()
        return server is not None and (server.wireguard_status, server.openvpn_status) == ("on", "on")

    def is_in(self, peer: VpnPeer) -> bool:
        state = self.state(peer)
        return state is not None and state.connected_since is not None

    @property
    def certificate(self) -> Path:
        return self.settings.vpn_dir / "server.crt"

    def dial_wireguard(self, site: Site, peer: VpnPeer, private_key: str = "") -> str:
        return site.wireguard(
            private_key or self.secret(peer), peer.address, self.server().wireguard_public,
            f"{self.net.server.address}:{self.settings.vpn_wireguard_port}", self.settings.vpn_network,
        )  # fmt: skip

    def dial_openvpn(self, site: Site, peer: VpnPeer, password: str = "") -> subprocess.Popen[bytes]:
        return site.openvpn6(
            self.certificate, peer.user_name, password or self.secret(peer), self.net.server.address,
            self.settings.vpn_openvpn_port,
        )  # fmt: skip


@pytest.fixture(scope="module")
def vpn(installation: Settings) -> Iterator[Vpn]:
    settings = installation.model_copy(
        update={
            "vpn": "on",
            "radius_address": "0.0.0.0",
            "vpn_network": "10.201.0.0/16",
            "vpn_interface": f"t{random.randrange(10**6)}",
            "vpn_wireguard_port": 51900,
            "vpn_openvpn_port": 18600,
        }
    )
    migrate(settings)
    prepare_vpn(settings)
    with ExitStack() as stack:
        engine = make_engine(settings.database_url.get_secret_value())
        stack.callback(engine.dispose)
        made = Vpn(settings, Net(settings.data_dir), engine)
        stack.callback(made.net.close)
        stack.callback(made.stop)
        made.start()
        assert wait_until(made.is_on, 30), made.log.read_text()
        yield made


@pytest.fixture(scope="module")
def isps(vpn: Vpn) -> Iterator[tuple[Isp, Isp]]:
    mine, theirs = Isp.create(vpn.settings, None), Isp.create(vpn.settings, None)
    yield mine, theirs
    mine.connection.close()
    theirs.connection.close()


@pytest.fixture
def site(vpn: Vpn) -> Iterator[Site]:
    made = vpn.net.add()
    yield made
    made.stop()


@pytest.fixture
def other_site(vpn: Vpn) -> Iterator[Site]:
    made = vpn.net.add()
    yield made
    made.stop()


def test_the_piece_says_that_it_lives_and_that_both_halves_are_up(vpn):
    status, said = ask(vpn.settings.run_dir, "vpn", "/readyz")
    assert status == 200, said
    assert json.loads(said)["checks"] == {"database": "ok", "wireguard": "ok", "openvpn": "ok", "tunnels": "ok"}
    assert ask(vpn.settings.run_dir, "vpn", "/healthz")[0] == 200


def test_a_wireguard_router_comes_in_and_is_seen(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.1", Kind.WIREGUARD)
    assert wait_until(lambda: f"{peer.address}/32" in vpn.net.server.run("wg", "show", "all", "allowed-ips").stdout)
    vpn.dial_wireguard(site, peer)
    server = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(server)
    assert vpn.net.server.pings(peer.address), "the API and CoA go the other way"
    assert wait_until(lambda: vpn.is_in(peer))
    state = vpn.state(peer)
    assert state.operator_id == isps[0].operator_id
    assert state.endpoint.startswith(f"{site.address}:")
    assert timedelta() <= utc_now() - state.handshake_at < timedelta(minutes=1)
    assert state.received > 0
    assert state.sent > 0


def test_a_routeros_6_router_comes_in_over_openvpn_and_is_seen(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.2", Kind.OPENVPN)
    assert wait_until((vpn.settings.vpn_dir / "clients" / peer.user_name).exists)
    vpn.dial_openvpn(site, peer)
    assert wait_until(lambda: "Initialization Sequence Completed" in site.log()), site.log()
    assert "Data Channel: cipher 'AES-256-CBC', auth 'SHA1'" in site.log()
    assert site.pings(half(vpn.settings, Kind.OPENVPN).server)
    assert vpn.net.server.pings(peer.address)
    assert wait_until(lambda: vpn.is_in(peer))
    assert site.address in vpn.state(peer).endpoint
    site.stop()
    assert wait_until(lambda: not vpn.is_in(peer), 20), "whoever leaves is seen to leave"
    assert vpn.state(peer).handshake_at is not None


def test_a_wrong_wireguard_key_is_refused(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.3", Kind.WIREGUARD)
    vpn.dial_wireguard(site, peer, new_key_pair().private)
    assert not site.pings(half(vpn.settings, Kind.WIREGUARD).server, seconds=4)
    assert not vpn.is_in(peer)


@pytest.mark.parametrize("wrong", ["x" * 32, "", "$(id)"], ids=["another", "empty", "a command"])
def test_a_wrong_openvpn_password_is_refused(vpn, isps, site, wrong):
    peer = vpn.peer(isps[0], f"10.1.1.{len(wrong) + 1}", Kind.OPENVPN)
    assert wait_until((vpn.settings.vpn_dir / "clients" / peer.user_name).exists)
    client = site.openvpn6(
        vpn.certificate, peer.user_name, wrong or " ", vpn.net.server.address, vpn.settings.vpn_openvpn_port
    )
    client.wait(20)
    assert "AUTH_FAILED" in site.log()
    assert not vpn.is_in(peer)


def test_routers_reach_neither_each_other_nor_what_lies_behind_the_server(vpn, isps, site, other_site):
    """The server forwards, as a machine does that is a router too; our rule alone stands between."""
    mine = vpn.peer(isps[0], "10.1.0.4", Kind.WIREGUARD)
    theirs = vpn.peer(isps[1], "10.2.0.4", Kind.WIREGUARD)
    server = vpn.net.server
    server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    vpn.dial_wireguard(site, mine)
    vpn.dial_wireguard(other_site, theirs)
    address = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(address)
    assert other_site.pings(address)
    assert not site.pings(theirs.address, seconds=2)
    interface = half(vpn.settings, Kind.WIREGUARD).interface
    server.run("ip", "rule", "delete", "iif", interface, "preference", "5180")
    try:
        assert site.pings(theirs.address), "without the rule they would: the test sees a difference"
    finally:
        server.run("ip", "rule", "add", "iif", interface, "preference", "5180", "prohibit")
    assert not site.pings(theirs.address, seconds=2)


def test_a_wireguard_and_an_openvpn_router_do_not_reach_each_other(vpn, isps, site, other_site):
    mine = vpn.peer(isps[0], "10.1.0.5", Kind.WIREGUARD)
    theirs = vpn.peer(isps[1], "10.2.0.5", Kind.OPENVPN)
    vpn.net.server.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    assert wait_until((vpn.settings.vpn_dir / "clients" / theirs.user_name).exists)
    vpn.dial_wireguard(site, mine)
    vpn.dial_openvpn(other_site, theirs)
    assert site.pings(half(vpn.settings, Kind.WIREGUARD).server)
    assert other_site.pings(half(vpn.settings, Kind.OPENVPN).server)
    other_site.run("ip", "route", "add", f"{mine.address}/32", "via", str(half(vpn.settings, Kind.OPENVPN).server))
    assert not site.pings(theirs.address, seconds=2)
    assert not other_site.pings(mine.address, seconds=2)


def test_a_router_cannot_send_from_anothers_address(vpn, isps, site):
    mine = vpn.peer(isps[0], "10.1.0.6", Kind.WIREGUARD)
    theirs = vpn.peer(isps[1], "10.2.0.6", Kind.WIREGUARD)
    interface = vpn.dial_wireguard(site, mine)
    address = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(address)
    site.run("ip", "address", "add", f"{theirs.address}/32", "dev", interface)
    assert not site.pings(address, source=str(theirs.address), seconds=2)
    assert site.pings(address, source=str(mine.address))


@pytest.mark.parametrize("kind", list(Kind))
def test_new_keys_cut_the_old_ones_and_let_the_new_ones_in(vpn, isps, site, other_site, kind):
    peer = vpn.peer(isps[0], f"10.1.2.{len(kind)}", kind)
    server = half(vpn.settings, kind).server
    dial = vpn.dial_wireguard if kind is Kind.WIREGUARD else vpn.dial_openvpn
    assert wait_until(lambda: vpn.settings.vpn_dir.joinpath("clients", peer.user_name or "").exists())
    dial(site, peer)
    assert site.pings(server)
    assert wait_until(lambda: vpn.is_in(peer))
    with vpn.session() as session:
        peer = session.merge(peer)
        change_keys(session, Actor(isps[0].operator_id, "test"), vpn.settings.keyring, peer)
        session.commit()
    assert wait_until(lambda: not vpn.is_in(peer)), "seen to be cut"
    assert not site.pings(server, seconds=2)
    dial(other_site, peer)
    assert other_site.pings(server)
    assert wait_until(lambda: vpn.is_in(peer))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_removed_router_is_cut(vpn, isps, site, kind):
    peer = vpn.peer(isps[0], f"10.1.3.{len(kind)}", kind)
    server = half(vpn.settings, kind).server
    assert wait_until(lambda: vpn.settings.vpn_dir.joinpath("clients", peer.user_name or "").exists())
    (vpn.dial_wireguard if kind is Kind.WIREGUARD else vpn.dial_openvpn)(site, peer)
    assert site.pings(server)
    with vpn.session() as session:
        remove_peer(session, Actor(isps[0].operator_id, "test"), session.merge(peer))
        session.commit()
    assert wait_until(lambda: not site.pings(server, seconds=0.1))
    assert vpn.state(peer) is None


def test_addresses_are_never_given_twice_and_the_lowest_free_one_comes_next(vpn, isps):
    peers = [vpn.peer(isp, f"10.3.{number}.1", Kind.WIREGUARD) for number, isp in enumerate(isps)]
    addresses = [peer.address for peer in peers]
    assert len(set(addresses)) == 2
    assert all(address in half(vpn.settings, Kind.WIREGUARD).network for address in addresses)
    with vpn.session() as session:
        remove_peer(session, Actor(isps[0].operator_id, "test"), session.merge(peers[0]))
        session.commit()
    assert vpn.peer(isps[1], "10.3.9.1", Kind.WIREGUARD).address == addresses[0]


def test_the_server_runs_with_the_one_right_it_needs_and_openvpn_with_none(vpn):
    def rights(pid: int) -> tuple[str, str]:
        lines = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        return lines["CapEff"], lines["CapBnd"]

    def children(pid: int) -> list[int]:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def name(pid: int) -> str:
        return Path(f"/proc/{pid}/comm").read_text().strip()

    net_admin = f"{1 << 12:016x}"
    pid = vpn.process.pid
    assert rights(pid) == (net_admin, net_admin)
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    by_name = {name(child): child for child in children(pid)}
    assert rights(by_name["openvpn"])[0] == f"{0:016x}"
    assert Path(f"/proc/{by_name['openvpn']}").stat().st_uid != 0


def test_radius_is_answered_through_the_tunnel_once_it_is_in_use(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.8", Kind.WIREGUARD)
    isps[0].service("ana", "good")
    with vpn.session() as session:
        nas = session.get_one(Nas, peer.nas_id)
        use_tunnel(session, Actor(isps[0].operator_id, "test"), nas, session.merge(peer))
        session.commit()
    vpn.dial_wireguard(site, peer)
    server = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(server)
    request = 'User-Name = "ana"\nUser-Password = "good"\nService-Type = Framed-User\nFramed-Protocol = PPP\n'
    asked = ("radclient", "-t", "1", "-r", "2", f"{server}:{vpn.settings.auth_port}", "auth", isps[0].secret)
    with ExitStack() as stack:
        publisher = publisher_piece(vpn.settings)
        stack.enter_context(RunningPiece(publisher, vpn.settings.log_dir / "publisher.log"))
        radiusd = radiusd_piece(vpn.settings)
        output = stack.enter_context((vpn.settings.log_dir / "radiusd.log").open("ab"))
        process = subprocess.Popen(
            vpn.net.server.command(*radiusd.full_command()), env=dict(radiusd.environment), cwd=radiusd.directory,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        assert wait_until(lambda: "Access-Accept" in site.run(*asked, given=request, check=False).stdout, 30)


def test_tunnels_outlive_a_database_that_goes_away(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.10", Kind.WIREGUARD)
    vpn.dial_wireguard(site, peer)
    server = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(server)
    with psycopg.connect(vpn.settings.database_url.get_secret_value(), autocommit=True) as connection:
        cut = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vpn'"
            " AND datname = current_database()"
        ).fetchall()
    assert cut == [(True,)]
    assert site.pings(server, seconds=1)
    later = vpn.peer(isps[0], "10.1.0.11", Kind.WIREGUARD)
    assert wait_until(lambda: f"{later.address}/32" in vpn.net.server.run("wg", "show", "all", "allowed-ips").stdout)


def test_no_secret_stands_in_the_log_or_in_a_file_that_others_read(vpn, isps):
    peer = vpn.peer(isps[0], "10.1.0.9", Kind.OPENVPN)
    wanted = vpn.settings.vpn_dir / "clients" / peer.user_name
    assert wait_until(wanted.exists)
    assert vpn.secret(peer) not in vpn.log.read_text()
    assert vpn.secret(peer) not in (vpn.settings.vpn_dir / "credentials").read_text()
    for path in vpn.settings.vpn_dir.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_killed_server_comes_back_with_the_same_keys_and_the_routers_with_it(vpn, isps, site):
    peer = vpn.peer(isps[0], "10.1.0.7", Kind.WIREGUARD)
    vpn.dial_wireguard(site, peer)
    server = half(vpn.settings, Kind.WIREGUARD).server
    assert site.pings(server)
    before = vpn.server().wireguard_public
    vpn.stop(signal.SIGKILL)
    with psycopg.connect(vpn.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("UPDATE vpn_server SET wireguard_status = '', openvpn_status = ''")
    vpn.start()
    assert wait_until(vpn.is_on, 30), vpn.log.read_text()
    assert vpn.server().wireguard_public == before
    assert site.pings(server, seconds=20)


def test_an_interface_that_is_not_ours_is_left_alone_and_the_other_half_goes_on(vpn):
    vpn.stop()
    interface = half(vpn.settings, Kind.WIREGUARD).interface
    vpn.net.server.run("ip", "link", "add", "dev", interface, "type", "bridge")
    try:
        vpn.start()
        assert wait_until(lambda: vpn.server().wireguard_status == "interface_taken", 20), vpn.log.read_text()
        assert wait_until(lambda: vpn.server().openvpn_status == "on"), vpn.log.read_text()
        assert vpn.net.server.run("ip", "link", "show", "dev", interface, check=False).returncode == 0
    finally:
        vpn.stop()
        vpn.net.server.run("ip", "link", "delete", "dev", interface, check=False)
