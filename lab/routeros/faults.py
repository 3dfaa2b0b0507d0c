"""What goes wrong between a router and who speaks its API."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """The faults of one router; all off. They may be changed while it runs."""

    refuse_connections: bool = False  # closed as soon as it is taken, as the service's address filter does
    silent: bool = False  # connections are taken and nothing is ever answered
    refuse_logins: bool = False  # whatever the password
    reply_delay: float = 0.0  # seconds before the first word of an answer
    row_delay: float = 0.0  # seconds before each row
    cut_after: int | None = None  # the connection ends after so many octets of answers, also within a word
    stall_after: int | None = None  # so many octets are answered, then nothing, and the connection stays
    garbage: bytes = b""  # sent in place of every answer
    max_sessions: int | None = None  # overrides what the version has
    traps: dict[str, str] = field(default_factory=dict)  # command path → message that it fails with
