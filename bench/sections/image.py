"""The image: its size, what a million services cost, a rebuild, and how soon a committed change is answered with."""

import os
import queue
import random
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address

import psycopg

from bench.generator import SECRET, write_users
from bench.portico import IMAGE_SECONDS, Portico, first_login, wait_for_image
from bench.report import Section, Table, at_least, rounds_table, under
from bench.rounds import Contender, compare, ratio
from bench.sections import Options
from bench.seed import seed, system_url
from bench.site import make_users, open_site
from db.migrate import migrate
from lab import attributes, packet
from radius.image import CURRENT

CHANGES_PER_SECOND = 500
SAMPLERS = 4
_ASK_AGAIN = 0.25  # seconds without an answer


def measure(options: Options) -> Section:
    """Compare 1,000 services with 1,000,000, rebuild the large image, and change it under way."""
    small, large = 1_000, options.scaled(1_000_000, 20_000)
    with ExitStack() as stack:
        contenders, running = [], {}
        for count in (small, large):
            site = stack.enter_context(open_site())
            users = make_users(count)
            users_file = write_users(site.directory / "users.csv", users)
            migrate(site.settings)
            seed(site.settings, users)
            ours = running[count] = Portico(site, stack)
            wait_for_image(ours)
            assert ours.radiusd.running
            first_login(ours, users_file)
            ports = (site.settings.auth_port, site.settings.acct_port)
            contenders.append(Contender(_name(count), *ports, users_file, {"radiusd": ours.radiusd.pid}))
        rounds = compare(contenders, options.plan("pap"))
        ours = running[large]
        size = _image_octets(ours) / 1e6
        delays = _delays(ours, users, seconds=options.scaled(20, 3))
        rebuild_seconds = _rebuild(ours)
    delays.sort()
    late = delays[int(len(delays) * 0.99)]
    return Section(
        "image",
        f"Image, {large:,} services",
        (
            under(f"size with {large:,} services", 500, size, "MB"),
            at_least(
                f"request rate, of that with {small:,} services",
                0.85,
                ratio(rounds[_name(large)], rounds[_name(small)]),
            ),
            under("full rebuild", 40, rebuild_seconds, "s"),
            under(f"a committed change is answered with, p99 at {CHANGES_PER_SECOND} changes/s", 250, late * 1e3, "ms"),
        ),
        (
            rounds_table(rounds, _name(small)),
            Table(
                ("from commit to answer", "ms"),
                tuple((name, f"{delays[int(len(delays) * share)] * 1e3:.0f}") for name, share in _SHARES),
            ),
        ),
        (
            "The rebuild is timed from the start of a publisher that finds no image to the moment radiusd can open the"
            f" new one. Changes: {len(delays)} were followed from the return of COMMIT to the first Access-Accept that"
            f" carries them, while {CHANGES_PER_SECOND} services a second changed, each in a transaction of its own.",
        ),
    )


_SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 0.999999))


def _name(count: int) -> str:
    return f"{count:,} services"


def _image_octets(ours: Portico) -> int:
    return (ours.site.settings.image_dir / CURRENT).stat().st_blocks * 512


def _rebuild(ours: Portico) -> float:
    """Take the image away, start the publisher, and return the seconds until there is a whole one."""
    settings = ours.site.settings
    ours.publisher.stop()
    for path in settings.image_dir.iterdir():
        path.unlink()
    started = time.monotonic()
    ours.publisher.start()
    while not (settings.image_dir / CURRENT).exists():
        if time.monotonic() - started > IMAGE_SECONDS:
            raise TimeoutError(ours.publisher.last_lines())
        time.sleep(0.02)
    return time.monotonic() - started


def _delays(ours: Portico, users: Sequence[tuple[str, str]], seconds: float) -> list[float]:
    """Change addresses for some seconds and return how long it took until each change followed was answered with."""
    committed: queue.SimpleQueue[tuple[int, str, float] | None] = queue.SimpleQueue()
    idle = threading.Semaphore(SAMPLERS)
    delays: list[float] = []

    def sample() -> None:
        while (change := committed.get()) is not None:
            number, address, at = change
            delays.append(_until_answered(ours.site.settings.auth_port, *users[number], address) - at)
            idle.release()

    samplers = [threading.Thread(target=sample) for _ in range(SAMPLERS)]
    for sampler in samplers:
        sampler.start()
    chance = random.Random(11)
    try:
        with psycopg.connect(system_url(ours.site.settings), autocommit=True) as connection:
            started = time.monotonic()
            for change in range(int(CHANGES_PER_SECOND * seconds)):
                number, address = chance.randrange(len(users)), str(IPv4Address("172.16.0.0") + change)
                connection.execute("UPDATE service SET framed_ip = %s WHERE id = %s", (address, number + 1))
                if idle.acquire(blocking=False):
                    committed.put((number, address, time.monotonic()))
                time.sleep(max(0.0, started + (change + 1) / CHANGES_PER_SECOND - time.monotonic()))
            took = time.monotonic() - started
            assert took < seconds * 1.2, f"{change + 1} changes took {took:.1f} s"
    finally:
        for _ in samplers:
            committed.put(None)
        for sampler in samplers:
            sampler.join()
    return delays


def _until_answered(port: int, name: str, password: str, address: str) -> float:
    """Ask until the Access-Accept carries `address`, and return when it did."""
    secret = SECRET.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", port))
        udp.settimeout(_ASK_AGAIN)
        for _ in range(10_000):
            authenticator = os.urandom(16)
            request = packet.access_request(
                authenticator[0],
                authenticator,
                packet.number(attributes.SERVICE_TYPE, 2)
                + packet.number(attributes.FRAMED_PROTOCOL, 1)
                + packet.text(attributes.USER_NAME, name)
                + packet.attribute(
                    attributes.USER_PASSWORD, packet.hide_password(password.encode(), secret, authenticator)
                ),
                secret,
                signed=True,
            )
            udp.send(request)
            try:
                answer = packet.decode(udp.recv(4096))
            except TimeoutError:
                continue
            if answer.attributes.address(attributes.FRAMED_IP_ADDRESS) == address:
                return time.monotonic()
            time.sleep(0.002)
    raise TimeoutError(f"{name} was never given {address}")
