"""VPN peers of routers, what was seen of them, and the server's own keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NOTIFY = """
CREATE FUNCTION notify_vpn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('portico_vpn', '');
    RETURN NULL;
END $$;
CREATE TRIGGER notify_vpn AFTER INSERT OR UPDATE OR DELETE ON vpn_peer
    FOR EACH STATEMENT EXECUTE FUNCTION notify_vpn();
"""

# Addresses are unique in the installation, and an operator does not see the others' rows; so the owner looks. Whoever
# asks waits for others that asked, until they have committed.
ADDRESS = """
CREATE FUNCTION next_vpn_address(network cidr, skipped int) RETURNS inet
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    free inet;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('next_vpn_address'));
    SELECT set_masklen(network::inet, 32) + n INTO free
    FROM generate_series(skipped::bigint, (1::bigint << (32 - masklen(network))) - 2) AS n
    WHERE NOT EXISTS (SELECT FROM vpn_peer WHERE address = set_masklen(network::inet, 32) + n)
      AND NOT EXISTS (SELECT FROM nas WHERE address = set_masklen(network::inet, 32) + n)
    ORDER BY n LIMIT 1;
    RETURN free;
END $$;
REVOKE ALL ON FUNCTION next_vpn_address(cidr, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_vpn_address(cidr, int) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.create_table(
        "vpn_server",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wireguard_public", sa.String(), nullable=False),
        sa.Column("wireguard_key", sa.LargeBinary(), nullable=False),
        sa.Column("openvpn_certificate", sa.String(), nullable=False),
        sa.Column("openvpn_key", sa.LargeBinary(), nullable=False),
        sa.Column("wireguard_status", sa.String(), server_default="", nullable=False),
        sa.Column("openvpn_status", sa.String(), server_default="", nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_vpn_server_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vpn_server")),
    )
    op.create_table(
        "vpn_peer",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("address", postgresql.INET(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("user_name", sa.String(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("api_password", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("keys_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(kind = 'openvpn') = (user_name IS NOT NULL)", name=op.f("ck_vpn_peer_user_name")),
        sa.CheckConstraint("(kind = 'wireguard') = (public_key IS NOT NULL)", name=op.f("ck_vpn_peer_public_key")),
        sa.CheckConstraint("kind = 'wireguard' OR secret IS NOT NULL", name=op.f("ck_vpn_peer_secret")),
        sa.CheckConstraint("kind IN ('wireguard', 'openvpn')", name=op.f("ck_vpn_peer_kind")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_vpn_peer_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_vpn_peer_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vpn_peer")),
    )
    op.create_index("ix_vpn_peer_operator_id", "vpn_peer", ["operator_id"], unique=False)
    op.create_index("uq_vpn_peer_address", "vpn_peer", ["address"], unique=True)
    op.create_index("uq_vpn_peer_nas", "vpn_peer", ["nas_id"], unique=True)
    op.create_index("uq_vpn_peer_public_key", "vpn_peer", ["public_key"], unique=True)
    op.create_index("uq_vpn_peer_user_name", "vpn_peer", ["user_name"], unique=True)
    op.create_table(
        "vpn_peer_state",
        sa.Column("peer_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("connected_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handshake_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("endpoint", sa.String(), server_default="", nullable=False),
        sa.Column("received", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_vpn_peer_state_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["peer_id"], ["vpn_peer.id"], name=op.f("fk_vpn_peer_state_peer_id_vpn_peer"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("peer_id", name=op.f("pk_vpn_peer_state")),
    )
    op.create_index("ix_vpn_peer_state_operator_id", "vpn_peer_state", ["operator_id"], unique=False)
    op.execute(NOTIFY)
    op.execute(ADDRESS)
    protect("vpn_peer", "SELECT, INSERT, UPDATE, DELETE")
    protect("vpn_peer_state", "SELECT")
    op.execute(
        "GRANT SELECT (id, wireguard_public, wireguard_status, openvpn_status, seen_at) ON vpn_server TO portico_portal"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
