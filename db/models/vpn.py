"""The VPN: one tunnel for each router, what was last seen of it, and the server's own keys."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.models.nas import Nas
from db.types import Base, BigInt, Created, Id, Inet, Instant, Tenanted


class VpnPeer(Tenanted, Base):
    """The tunnel of one router: WireGuard from RouterOS 7 on, OpenVPN before.

    `secret` is what the router proves itself with: its WireGuard private key, or its OpenVPN password. It is kept,
    sealed, because the script can be made again with other options; without one the router made its own key.
    """

    __tablename__ = "vpn_peer"
    __table_args__ = (
        Index("ix_vpn_peer_operator_id", "operator_id"),
        Index("uq_vpn_peer_nas", "nas_id", unique=True),
        Index("uq_vpn_peer_address", "address", unique=True),
        Index("uq_vpn_peer_public_key", "public_key", unique=True),
        Index("uq_vpn_peer_user_name", "user_name", unique=True),
        CheckConstraint("kind IN ('wireguard', 'openvpn')", "kind"),
        CheckConstraint("(kind = 'wireguard') = (public_key IS NOT NULL)", "public_key"),
        CheckConstraint("(kind = 'openvpn') = (user_name IS NOT NULL)", "user_name"),
        CheckConstraint("kind = 'wireguard' OR secret IS NOT NULL", "secret"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    kind: Mapped[str]
    address: Mapped[Inet]
    public_key: Mapped[str | None]  # WireGuard's, base64
    user_name: Mapped[str | None]  # OpenVPN's
    secret: Mapped[bytes | None]  # sealed, purpose "vpn.peer"
    api_password: Mapped[bytes]  # of the script's API user; sealed, purpose "router.password"
    created_at: Mapped[Created]
    keys_at: Mapped[Created]  # when the keys were last changed

    nas: Mapped[Nas] = relationship(lazy="raise")


class VpnPeerState(Tenanted, Base):
    """What the server last saw of a tunnel. Apart from its row, whose every change makes the server read all anew."""

    __tablename__ = "vpn_peer_state"
    __table_args__ = (Index("ix_vpn_peer_state_operator_id", "operator_id"),)

    peer_id: Mapped[BigInt] = mapped_column(ForeignKey("vpn_peer.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    connected_since: Mapped[Instant | None]  # empty while it is down
    handshake_at: Mapped[Instant | None]  # the last
    endpoint: Mapped[str] = mapped_column(server_default="")  # where its packets come from, address:port
    received: Mapped[BigInt] = mapped_column(server_default="0")  # octets from the router
    sent: Mapped[BigInt] = mapped_column(server_default="0")
    updated_at: Mapped[Created]


class VpnServer(Base):
    """The server's own keys, which every router knows it by, and what its two halves last said. One row.

    A status is a word of network.vpn.Status; `seen_at` says when the server last wrote it.
    """

    __tablename__ = "vpn_server"
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wireguard_public: Mapped[str]
    wireguard_key: Mapped[bytes]  # sealed, purpose "vpn.server"
    openvpn_certificate: Mapped[str]  # PEM
    openvpn_key: Mapped[bytes]  # sealed, purpose "vpn.server"
    wireguard_status: Mapped[str] = mapped_column(server_default="")
    openvpn_status: Mapped[str] = mapped_column(server_default="")
    seen_at: Mapped[Instant] = mapped_column(server_default=text("now()"))
