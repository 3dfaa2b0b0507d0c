"""One session on a NAS: its terms, and counters that grow with time.

The counters are not ticked. Between two changes (of demand or of rate) traffic is steady, so they are reckoned when
somebody looks. Instants are seconds of the event loop's clock.
"""

import asyncio
from dataclasses import dataclass, field

from aaa.facts import AccessKind
from lab.grant import Grant
from lab.subscriber import Demand, Subscriber

_OCTETS_A_PACKET = 800


@dataclass(slots=True, eq=False)
class Session:
    """A subscriber's session. `echoed` are the attributes of the Access-Request that accounting repeats."""

    id: str
    subscriber: Subscriber
    user_name: str
    grant: Grant
    address: str | None
    echoed: bytes
    started: float
    local: bool = False  # let in by the NAS's own secrets, without RADIUS
    blocked: bool = False  # the firewall lets nothing of it pass
    renewal: "asyncio.Task[None] | None" = None  # of a DHCP lease, while RADIUS is asked again
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    demand: Demand = field(init=False)
    _settled: float = field(init=False)
    _uploaded: float = 0.0
    _downloaded: float = 0.0

    def __post_init__(self) -> None:
        self.demand = self.subscriber.demand
        self._settled = self.started

    @property
    def kind(self) -> AccessKind:
        return self.subscriber.kind

    @property
    def throughput(self) -> tuple[float, float]:
        """Upload and download in octets a second: the demand, cut to the granted rate."""
        if self.blocked:
            return 0.0, 0.0
        rate = self.grant.rate
        upload, download = self.demand.upload, self.demand.download
        if rate is not None:  # a rate of 0 is unlimited, as in a RouterOS queue
            upload = min(upload, rate.upload or upload)
            download = min(download, rate.download or download)
        return upload / 8, download / 8

    def settle(self, now: float) -> None:
        """Bring the counters up to `now`; must be called before the demand or the rate changes."""
        upload, download = self.throughput
        passed = now - self._settled
        self._uploaded += upload * passed
        self._downloaded += download * passed
        self._settled = now

    def octets(self, now: float) -> tuple[int, int]:
        """Return what the subscriber has sent and received by `now`, in octets."""
        self.settle(now)
        return int(self._uploaded), int(self._downloaded)

    def count(self, uploaded: int, downloaded: int) -> None:
        """Add traffic at once, such as a download that a test wants to have happened."""
        self._uploaded += uploaded
        self._downloaded += downloaded

    def seconds_to_limit(self, now: float) -> float | None:
        """Return in how many seconds a volume limit is reached at the present traffic; None is never."""
        sent, received = self.octets(now)
        upload, download = self.throughput
        waits = []
        for limit, used, speed in (
            (self.grant.upload_limit, sent, upload),
            (self.grant.download_limit, received, download),
            (self.grant.total_limit, sent + received, upload + download),
        ):
            if limit is None:
                continue
            if used >= limit:
                return 0.0
            if speed > 0:
                waits.append((limit - used) / speed)
        return min(waits, default=None)

    def stop_timers(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()


def packets(octets: int) -> int:
    """Return about how many packets carried that many octets."""
    return -(-octets // _OCTETS_A_PACKET)
