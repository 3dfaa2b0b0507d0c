"""A plain FreeRADIUS and an emulated network before it."""

from collections.abc import Callable, Iterator

import pytest

from lab.network import BlockingNetwork
from lab.profile import NasProfile, Server
from tests.lab.plain_radiusd import SECRET, PlainRadiusd, plain_radiusd

USERS = """
ana Cleartext-Password := "secret"
    Framed-IP-Address = 10.1.2.3,
    Mikrotik-Rate-Limit = "2M/8M",
    Mikrotik-Address-List = "active",
    Acct-Interim-Interval = 1,
    Class = 0x617070

pool Cleartext-Password := "secret"
    Framed-Pool = "garden"

elsewhere Cleartext-Password := "secret"
    Framed-Pool = "not-here"

broken Cleartext-Password := "secret"
    Mikrotik-Rate-Limit = "fast"

six Cleartext-Password := "secret"
    Framed-IPv6-Prefix = 2001:db8:1::/64,
    Delegated-IPv6-Prefix = 2001:db8:100::/56

02-00-00-00-00-0D Cleartext-Password := "02-00-00-00-00-0D"

short Cleartext-Password := "secret"
    Session-Timeout = 1

idle Cleartext-Password := "secret"
    Idle-Timeout = 1

metered Cleartext-Password := "secret"
    Mikrotik-Total-Limit = 705032704,
    Mikrotik-Total-Limit-Gigawords = 1

late Cleartext-Password := "secret"
    Reply-Message = "never seen",
    Auth-Type := Reject

unsigned Cleartext-Password := "secret"

02:00:00:00:00:0A Auth-Type := Accept
    Mikrotik-Rate-Limit = "1M/4M",
    Session-Timeout = 2

0200-0000-000a Auth-Type := Accept

02:00:00:00:00:0C Auth-Type := Accept
    Mikrotik-Rate-Limit = "1M/4M",
    Ascend-Data-Rate = 2000000,
    Ascend-Xmit-Rate = 8000000,
    Framed-IP-Address = 10.1.2.3

02:00:00:00:00:0B Auth-Type := Accept

DEFAULT Auth-Type := Reject
    Reply-Message = "who are you"
"""


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRadiusd]:
    with plain_radiusd(tmp_path_factory.mktemp("plain"), USERS) as server:
        yield server


@pytest.fixture
def network() -> Iterator[BlockingNetwork]:
    with BlockingNetwork() as network:
        yield network


@pytest.fixture
def profile(plain: PlainRadiusd) -> Callable[..., NasProfile]:
    """A function that returns a NAS before the plain server; what it is not told stays usual."""

    def make(name: str = "tower", **changes: object) -> NasProfile:
        usual: dict[str, object] = {
            "name": name,
            "address": "127.0.1.1",
            "secret": SECRET,
            "server": Server("127.0.0.1", plain.auth_port, plain.acct_port),
            "coa_port": 0,
            "timeout": 0.3,
            "interim_update": 0,
            "pools": (("default", "10.64.0.0/24"), ("garden", "10.99.0.0/30")),
        }
        return NasProfile(**{**usual, **changes})  # type: ignore[arg-type]

    return make
