"""Accounting sessions. Partitioned by the month in which they started; no foreign key points at them."""

from sqlalchemy import BigInteger, Index, Sequence, text
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Mapped, mapped_column

from db.types import NAMES, Base, BigInt, Cidr, Inet, Instant, Mac, Tenanted

session_id_seq = Sequence("session_id_seq", metadata=NAMES)


class AccountingSession(Tenanted, Base):
    """One session as accounting tells it (RFC 2866).

    `octets_in` is what the subscriber sent (upload), `octets_out` what it received; both are totals of the session
    and only grow. `input_octets` and `output_octets` are the counters as the NAS last reported them: it may name the
    directions the other way round, and they may begin at zero again inside a session.
    Acct-Session-Id repeats (after reboots, across users), so a session is told by NAS, id, user name and start.
    `terms_id` is what it was last granted, as far as is known.
    """

    __tablename__ = "session"
    __table_args__ = (
        Index("ix_session_nas_id_acct_session_id", "nas_id", "acct_session_id", text("started_at DESC")),
        Index("ix_session_service_id", "service_id", text("started_at DESC")),
        Index("ix_session_operator_id", "operator_id", text("started_at DESC"), "id"),
        Index("ix_session_open_nas", "nas_id", "id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_session_open_service", "service_id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_session_open_operator", "operator_id", "id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_session_framed_ip", "operator_id", "framed_ip", text("started_at DESC")),
        Index("ix_session_mac", "operator_id", "mac", text("started_at DESC")),
        Index("ix_session_open_framed_ip", "framed_ip", postgresql_where=text("ended_at IS NULL")),
        Index(
            "ix_session_delegated_ipv6_prefix",
            "operator_id",
            "delegated_ipv6_prefix",
            text("started_at DESC"),
            postgresql_where=text("delegated_ipv6_prefix IS NOT NULL"),
        ),
        Index(
            "ix_session_framed_ipv6_prefix",
            "operator_id",
            "framed_ipv6_prefix",
            text("started_at DESC"),
            postgresql_where=text("framed_ipv6_prefix IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (started_at)"},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, session_id_seq, primary_key=True, server_default=session_id_seq.next_value()
    )
    started_at: Mapped[Instant] = mapped_column(primary_key=True)
    operator_id: Mapped[BigInt]
    nas_id: Mapped[BigInt]
    service_id: Mapped[BigInt | None]
    acct_session_id: Mapped[str]  # as received, octet for octet: CoA echoes it
    user_name: Mapped[str]  # as received
    calling_station_id: Mapped[str] = mapped_column(server_default="")
    called_station_id: Mapped[str] = mapped_column(server_default="")
    nas_port_id: Mapped[str] = mapped_column(server_default="")
    nas_identifier: Mapped[str] = mapped_column(server_default="")
    nas_ip_address: Mapped[Inet | None]  # as the NAS calls itself
    kind: Mapped[str]  # ppp, hotspot, dhcp, wireless
    mac: Mapped[Mac | None]
    framed_ip: Mapped[Inet | None]
    framed_ipv6_prefix: Mapped[Cidr | None]
    delegated_ipv6_prefix: Mapped[Cidr | None]
    updated_at: Mapped[Instant]  # when the last packet came, by our clock
    ended_at: Mapped[Instant | None]
    session_time: Mapped[BigInt] = mapped_column(server_default="0")
    octets_in: Mapped[BigInt] = mapped_column(server_default="0")
    octets_out: Mapped[BigInt] = mapped_column(server_default="0")
    packets_in: Mapped[BigInt] = mapped_column(server_default="0")
    packets_out: Mapped[BigInt] = mapped_column(server_default="0")
    input_octets: Mapped[BigInt] = mapped_column(server_default="0")
    output_octets: Mapped[BigInt] = mapped_column(server_default="0")
    terminate_cause: Mapped[str | None]
    ended_by: Mapped[str | None]  # stop, superseded, reboot, accounting-on, accounting-off, stale, staff
    terms_id: Mapped[bytes | None] = mapped_column(BYTEA)
    reported_rate: Mapped[str | None]  # Mikrotik-Rate-Limit, where the NAS sends it back
    interim_interval: Mapped[int] = mapped_column(server_default="300")  # seconds, as granted
