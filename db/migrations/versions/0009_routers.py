"""Routers: access to the RouterOS API of a NAS, and what was last seen there."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "router",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("api_address", postgresql.INET(), nullable=True),
        sa.Column("api_port", sa.Integer(), server_default="8728", nullable=False),
        sa.Column("api_tls", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("api_fingerprint", sa.String(), nullable=True),
        sa.Column("api_user", sa.String(), nullable=False),
        sa.Column("api_password", sa.LargeBinary(), nullable=False),
        sa.Column("wan_interface", sa.String(), nullable=True),
        sa.Column("wan_download", sa.BigInteger(), nullable=True),
        sa.Column("wan_upload", sa.BigInteger(), nullable=True),
        sa.Column("watched", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("api_port BETWEEN 1 AND 65535", name=op.f("ck_router_api_port")),
        sa.CheckConstraint("wan_download > 0 AND wan_upload > 0", name=op.f("ck_router_wan_rate")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_router_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_router")),
    )
    op.create_index("ix_router_operator_id", "router", ["operator_id"], unique=False)
    op.create_table(
        "router_state",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), server_default="unknown", nullable=False),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("status_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("identity", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.String(), server_default="", nullable=False),
        sa.Column("board", sa.String(), server_default="", nullable=False),
        sa.Column("serial", sa.String(), server_default="", nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("status IN ('unknown', 'online', 'offline')", name=op.f("ck_router_state_status")),
        sa.ForeignKeyConstraint(
            ["nas_id"], ["router.nas_id"], name=op.f("fk_router_state_nas_id_router"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_state_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_router_state")),
    )
    op.create_index("ix_router_state_operator_id", "router_state", ["operator_id"], unique=False)
    protect("router", "SELECT, INSERT, UPDATE, DELETE")
    protect("router_state", "SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
