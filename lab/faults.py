"""What goes wrong between a NAS and its RADIUS server, and inside the NAS. Shares are from 0 to 1."""

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """The faults of one NAS; all off. They may be changed while it runs."""

    loss: float = 0.0  # share of datagrams lost, each way
    duplicate: float = 0.0  # share of requests that arrive twice
    delay: float = 0.0  # each request is up to so many seconds late, so they overtake one another
    reorder_accounting: float = 0.0  # share of accounting held back for a second, behind those that follow
    lost_stops: float = 0.0  # share of sessions whose Stop is never sent
    clock_skew: float = 0.0  # seconds that the NAS's clock is ahead, seen in Event-Timestamp
    swapped_octets: bool = False  # Input and Output the wrong way round
