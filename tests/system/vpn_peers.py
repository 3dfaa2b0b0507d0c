"""Routers as the VPN server sees them, each in a network namespace of its own: real WireGuard, and an OpenVPN held to
what RouterOS 6 can do (TCP, AES-256-CBC, SHA-1, user name and password, no tls-crypt, no certificate of its own).
"""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def wait_until(condition: Callable[[], object], seconds: float = 15.0, step: float = 0.1) -> bool:
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(step)
    return bool(condition())


@dataclass
class Site:
    """A network namespace with a cable to the server's; `address` is its own there."""

    name: str
    address: str
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), input=given, check=check, capture_output=True, text=True)

    def spawn(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            **options,  # type: ignore[call-overload]
        )  # fmt: skip
        self.processes.append(process)
        return process

    def pings(self, address: object, *, seconds: float = 10.0, source: str = "") -> bool:
        """Tell whether an address answers within some seconds."""
        extra = ["-I", source] if source else []
        return wait_until(
            lambda: self.run("ping", "-n", "-q", "-c1", "-W1", *extra, str(address), check=False).returncode == 0,
            seconds,
        )

    def wireguard(self, private_key: str, address: object, server_key: str, server: str, allowed: str) -> str:
        """Bring a WireGuard router up and return its interface. It keeps the hole open as the script says, faster."""
        interface = f"{self.name[-10:]}w"
        self.spawn("wireguard-go", "--foreground", interface)
        assert wait_until(lambda: Path(f"/var/run/wireguard/{interface}.sock").exists())
        configuration = (
            f"[Interface]\nPrivateKey = {private_key}\n[Peer]\nPublicKey = {server_key}\nEndpoint = {server}\n"
            f"AllowedIPs = {allowed}\nPersistentKeepalive = 1\n"
        )
        self.run("wg", "setconf", interface, "/dev/stdin", given=configuration)
        self.run("ip", "address", "add", f"{address}/32", "dev", interface)
        self.run("ip", "link", "set", "dev", interface, "mtu", "1420", "up")
        self.run("ip", "route", "add", allowed, "dev", interface)
        return interface

    def openvpn6(self, certificate: Path, user: str, password: str, host: str, port: int) -> subprocess.Popen[bytes]:
        """Start an OpenVPN client that ends when it is refused or cut; its log is `openvpn.log`."""
        given = self.directory / f"{self.name}.login"
        given.write_text(f"{user}\n{password}\n")
        given.chmod(0o600)
        return self.spawn(
            "openvpn", "--client", "--proto", "tcp-client", "--remote", host, str(port), "--dev", f"{self.name[-10:]}o",
            "--dev-type", "tun", "--nobind", "--ca", str(certificate), "--auth-user-pass", str(given),
            "--auth-retry", "none", "--cipher", "AES-256-CBC", "--data-ciphers", "AES-256-CBC", "--auth", "SHA1",
            "--tls-version-max", "1.2", "--single-session", "--connect-retry-max", "1", "--verb", "3",
            "--log", str(self.directory / f"{self.name}.log"),
        )  # fmt: skip

    def log(self) -> str:
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End what was started here; the namespace takes its interfaces with it."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class Net:
    """A server's namespace with a bridge, and sites with a cable to it."""

    def __init__(self, directory: Path) -> None:
        self._tag = f"v{os.getpid() % 100000}"
        self.directory = directory
        self.sites: list[Site] = []
        self.server = self._site("10.99.0.1", "s")
        ip("-n", self.server.name, "link", "add", "br0", "type", "bridge")
        ip("-n", self.server.name, "address", "add", "10.99.0.1/24", "dev", "br0")
        ip("-n", self.server.name, "link", "set", "br0", "up")

    def add(self) -> Site:
        number = len(self.sites)
        site = self._site(f"10.99.0.{number + 10}", str(number))
        cable = f"{site.name}c"
        ip("link", "add", cable, "netns", self.server.name, "type", "veth", "peer", "name", "wan", "netns", site.name)
        ip("-n", self.server.name, "link", "set", cable, "master", "br0", "up")
        ip("-n", site.name, "address", "add", f"{site.address}/24", "dev", "wan")
        ip("-n", site.name, "link", "set", "wan", "up")
        return site

    def _site(self, address: str, suffix: str) -> Site:
        site = Site(f"{self._tag}{suffix}", address, self.directory)
        ip("netns", "add", site.name)
        ip("-n", site.name, "link", "set", "lo", "up")
        self.sites.append(site)
        return site

    def close(self) -> None:
        for site in reversed(self.sites):
            site.stop()
            ip("netns", "delete", site.name)
