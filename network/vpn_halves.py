"""The two halves of the VPN server as running things: each is brought up, made equal to the peers, watched, taken down.

Both speak of peers as rows of `vpn_peer` opened (`Peer`). A half that cannot run says why (network.vpn.Status) and is
tried again; the other goes on.
"""

import os
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path

import structlog

from network import openvpn, vpn_links, wireguard
from network.openvpn import Certificate, OpenVpnPeer
from network.vpn_links import LinkProblem
from network.vpn_plan import Half, Status
from network.wireguard import Seen, WireGuardPeer

MTU = {"wireguard": 1420, "openvpn": 1500}
_START_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of `vpn_peer`; `secret` is an OpenVPN password in clear, and empty for WireGuard."""

    id: int
    operator_id: int
    address: IPv4Address
    public_key: str = ""
    user: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of a tunnel now; `since` is None where only handshakes tell that it is up."""

    seen: Seen
    alive: bool
    since: datetime | None = None


class Obstacle(Exception):
    """A half cannot run; `status` says why."""

    def __init__(self, status: Status, detail: str = "") -> None:
        super().__init__(detail or status.value)
        self.status = status


def obstacle() -> Status | None:
    """Return why no VPN server can run as this process, or None when it can."""
    if vpn_links.missing_program() is not None:
        return Status.NO_PROGRAM
    if not vpn_links.may_administer():
        return Status.NO_RIGHTS
    return None if vpn_links.has_tun() else Status.NO_TUN


class RunningHalf(ABC):
    """One half. `owner` marks its interface: one with another mark is never touched."""

    socket_kind: socket.SocketKind

    def __init__(self, half: Half, owner: str) -> None:
        self.half = half
        self._owner = owner
        self._process: subprocess.Popen[bytes] | None = None
        self._up = False

    @property
    def is_up(self) -> bool:
        return self._up and (self._process is None or self._process.poll() is None)

    def start(self, peers: Sequence[Peer]) -> None:
        """Bring it up with these peers. Raises Obstacle."""
        self.stop()
        found = obstacle()
        if found is not None:
            raise Obstacle(found)
        interface = self.half.interface
        owner = vpn_links.owner_of(interface)
        if owner is not None and owner != self._owner:
            raise Obstacle(Status.INTERFACE_TAKEN, f"{interface} is not ours")
        vpn_links.remove(interface)  # what a killed server left behind
        if not vpn_links.port_is_free(self.half.port, self.socket_kind):
            raise Obstacle(Status.PORT_TAKEN, f"port {self.half.port} is taken")
        try:
            self._start(peers)
            self._up = True
        except (LinkProblem, OSError) as problem:
            self.stop()
            vpn_links.remove(interface)
            raise Obstacle(Status.FAILED, str(problem)) from None

    def stop(self) -> None:
        """Take it down, with its interface."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._up:
            self._up = False
            vpn_links.remove(self.half.interface)

    def _spawn(
        self, *command: str, directory: Path | None = None, without_rights: bool = False, quiet: bool = False
    ) -> None:
        """Start a program that ends with this process. What a `quiet` one says on standard error is dropped."""
        drop = ("--inh-caps=-all", "--ambient-caps=-all") if without_rights else ()
        wrapped = ("setpriv", *drop, "--pdeathsig", "TERM", "--", *command)
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            wrapped,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "LOG_LEVEL": "error"},
        )

    def _wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not path.exists():
            if self._process is None or self._process.poll() is not None:
                raise LinkProblem("it ended at once; its own lines stand above")
            if time.monotonic() > deadline:
                raise LinkProblem(f"{path} did not appear")
            time.sleep(0.05)

    def _bring_up(self) -> None:
        half = self.half
        vpn_links.bring_up(half.interface, half.server, half.network, MTU[half.kind], self._owner)

    @abstractmethod
    def _start(self, peers: Sequence[Peer]) -> None: ...

    @abstractmethod
    def apply(self, peers: Sequence[Peer]) -> None:
        """Make it equal to these peers; who is no longer among them, or has other keys, is cut. Raises LinkProblem."""

    @abstractmethod
    def observe(self, peers: Sequence[Peer], now: datetime) -> Mapping[int, Observed]:
        """Return what is known of each peer, by its id. Raises LinkProblem."""


class WireGuardHalf(RunningHalf):
    """The kernel's WireGuard, or wireguard-go."""

    socket_kind = socket.SOCK_DGRAM

    def __init__(self, half: Half, owner: str, private_key: str) -> None:
        super().__init__(half, owner)
        self._private_key = private_key

    def _start(self, peers: Sequence[Peer]) -> None:
        interface = self.half.interface
        by_kernel = vpn_links.add_kernel_wireguard(interface)
        if not by_kernel:
            socket_file = wireguard.SOCKETS / f"{interface}.sock"
            socket_file.unlink(missing_ok=True)  # of one that was killed
            # Its errors go to standard output; the other has a banner in praise of the kernel's module.
            self._spawn("wireguard-go", "--foreground", interface, quiet=True)
            self._wait_for(socket_file)
        self.apply(peers)
        self._bring_up()
        log.info("wireguard_up", interface=interface, port=self.half.port, kernel=by_kernel, peers=len(peers))

    def apply(self, peers: Sequence[Peer]) -> None:
        wanted = [WireGuardPeer(peer.public_key, peer.address) for peer in peers]
        wireguard.synchronise(self.half.interface, wireguard.configuration(self._private_key, self.half.port, wanted))

    def observe(self, peers: Sequence[Peer], now: datetime) -> Mapping[int, Observed]:
        seen = wireguard.seen_peers(self.half.interface)
        found = {}
        for peer in peers:
            one = seen.get(peer.public_key)
            if one is not None:
                alive = one.handshake_at is not None and now - one.handshake_at < wireguard.ALIVE
                found[peer.id] = Observed(one, alive)
        return found


class OpenVpnHalf(RunningHalf):
    """OpenVPN, which runs without rights on an interface made for it."""

    socket_kind = socket.SOCK_STREAM

    def __init__(self, half: Half, owner: str, directory: Path, certificate: Certificate) -> None:
        super().__init__(half, owner)
        self._directory = directory
        self._certificate = certificate
        self._known: dict[str, Peer] = {}

    def _start(self, peers: Sequence[Peer]) -> None:
        directory = self._directory
        (directory / "clients").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (directory / "clients").iterdir():
            name.unlink()
        (directory / "management.sock").unlink(missing_ok=True)
        self._write("server.crt", self._certificate.certificate)
        self._write("server.key", self._certificate.key)
        self._write("server.conf", openvpn.configuration(self.half))
        self._known = {}
        self._write_peers(peers)
        vpn_links.add_tun(self.half.interface)
        self._bring_up()
        self._spawn("openvpn", "--config", "server.conf", directory=directory, without_rights=True)
        self._wait_for(directory / "management.sock")
        self._known = {peer.user: peer for peer in peers}
        log.info("openvpn_up", interface=self.half.interface, port=self.half.port, peers=len(peers))

    def apply(self, peers: Sequence[Peer]) -> None:
        wanted = {peer.user: peer for peer in peers}
        changed = [user for user, peer in self._known.items() if wanted.get(user) != peer]
        if not changed and wanted.keys() == self._known.keys():
            return
        self._write_peers(peers)
        self._known = wanted
        for user in changed:
            self._ask(f"kill {user}")

    def observe(self, peers: Sequence[Peer], now: datetime) -> Mapping[int, Observed]:
        inside = openvpn.clients(self._ask("status 3"))
        return {
            peer.id: Observed(inside[peer.user].seen, True, inside[peer.user].since)
            for peer in peers
            if peer.user in inside
        }

    def _ask(self, command: str) -> list[str]:
        try:
            return openvpn.ask(self._directory, command)
        except OSError as problem:
            raise LinkProblem(f"openvpn does not answer: {problem}") from None

    def _write_peers(self, peers: Sequence[Peer]) -> None:
        opened = [OpenVpnPeer(peer.user, peer.secret, peer.address) for peer in peers]
        self._write("credentials", openvpn.credentials(opened))
        wanted = {peer.user: openvpn.client_file(self.half, peer) for peer in opened}
        for path in (self._directory / "clients").iterdir():
            if path.name not in wanted:
                path.unlink()
        for user, text in wanted.items():
            self._write(f"clients/{user}", text)

    def _write(self, name: str, text: str) -> None:
        """Write a file whole or not at all, for this user alone."""
        path = self._directory / name
        unfinished = self._directory / ".new"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)
