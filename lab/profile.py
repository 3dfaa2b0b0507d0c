"""How an emulated NAS is set up: its profile, and what that says whenever it matters."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aaa.facts import AccessKind
from lab.grant import Grant
from lab.subscriber import Method, Subscriber

SIGNS_SINCE = (7, 15)


@dataclass(frozen=True, slots=True)
class Server:
    """The RADIUS server, as the NAS's `/radius` row has it."""

    address: str = "127.0.0.1"
    auth_port: int = 1812
    acct_port: int = 1813


@dataclass(frozen=True, slots=True)
class NasProfile:
    """How one NAS is set up. Lengths are seconds.

    `address` is where its packets come from and where it takes CoA; `pools` are the `/ip pool`s by name, `pool` the
    one of the default profile. `local_secrets` are names and passwords it lets in without asking. `interim_update` is
    its own interval, for when the reply names none (0 is no updates).
    """

    name: str
    address: str
    secret: str = field(repr=False)
    server: Server = Server()
    other_servers: tuple[Server, ...] = ()  # asked in this order when the one before is silent
    coa_port: int = 3799
    version: tuple[int, int] = (7, 16)
    timeout: float = 1.0
    tries: int = 3
    interim_update: int = 300
    pool: str = "default"
    pools: tuple[tuple[str, str], ...] = (("default", "10.64.0.0/16"),)
    local_secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    logins_at_once: int = 0  # further subscribers wait for their turn; 0 is no limit
    reports_rate: bool = True  # accounting carries Mikrotik-Rate-Limit back, as CHR 7.21 does
    coa_from_server_only: bool = True
    dhcp_obeys_coa: bool = False
    hotspot_obeys_rate: bool = True

    @property
    def signs(self) -> bool:
        """Whether it signs its requests, and drops replies without Message-Authenticator."""
        return self.version >= SIGNS_SINCE


@dataclass(frozen=True, slots=True)
class RadiusRow:
    """A row of `/radius`: which server is asked, with which secret, from which address (which NAS-IP-Address tells)."""

    server: Server
    secret: str = field(repr=False)
    timeout: float
    source: str


@dataclass(frozen=True, slots=True)
class Local:
    """What a NAS's own records have for a subscriber; without a password none is asked for."""

    password: str | None = field(repr=False)
    grant: Grant = field(default_factory=Grant)


class Terms:
    """How a NAS is set up, asked each time it matters: what its profile says. A router's menus may say otherwise."""

    def __init__(self, profile: NasProfile) -> None:
        self.profile = profile
        self.local_secrets = dict(profile.local_secrets)
        self._rows = tuple(
            RadiusRow(server, profile.secret, profile.timeout, profile.address)
            for server in (profile.server, *profile.other_servers)
        )

    @property
    def identifier(self) -> str:
        """The NAS-Identifier."""
        return self.profile.name

    def local(self, subscriber: Subscriber, name: str) -> Local | None:
        """Return the record that lets a subscriber in without RADIUS, None if there is none."""
        if name in self.local_secrets and subscriber.method is not Method.MAC:
            return Local(self.local_secrets[name])
        return None

    def radius(self, kind: AccessKind) -> Sequence[RadiusRow]:
        """Return the servers that are asked for a service, from the top until one answers; none where none is asked."""
        return self._rows

    def accounts(self, kind: AccessKind) -> bool:
        """Whether accounting is sent for a service."""
        return True

    def interim_update(self, kind: AccessKind) -> int:
        """Return the interval, in seconds, where the reply names none; 0 is no updates."""
        return self.profile.interim_update

    def completed(self, kind: AccessKind, grant: Grant) -> Grant:
        """Return what RADIUS granted together with what the NAS's own default profile adds to it."""
        return grant

    def incoming_secret(self, source: str) -> bytes | None:
        """Return the secret for CoA from an address, None where that address is not listened to."""
        if self.profile.coa_from_server_only and all(source != row.server.address for row in self._rows):
            return None
        return self.profile.secret.encode()
