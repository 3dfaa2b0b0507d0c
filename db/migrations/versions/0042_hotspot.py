"""What is read of a router's hotspots, and contact data that subscribers change by themselves."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

FUNCTIONS = """
CREATE FUNCTION captive_stranger(wanted inet) RETURNS TABLE (operator_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Whose addresses these are, where no line has the address now: a device that is not registered, or wrongly set up.
    SELECT DISTINCT address_pool.operator_id FROM address_pool WHERE address_pool.network >>= wanted LIMIT 2
$$;

REVOKE ALL ON FUNCTION captive_stranger(inet) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION captive_stranger(inet) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    hotspot: tuple[sa.Column[Any], ...] = (
        sa.Column("found_hosts", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_problem", sa.String(), server_default="", nullable=False),
    )
    for column in hotspot:
        op.add_column("captive_hotspot", column)
    op.create_table(
        "contact_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("wanted", sa.String(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('email', 'phone')", name=op.f("ck_contact_change_kind")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_contact_change_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_contact_change_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_change")),
    )
    op.create_index("ix_contact_change_operator_id", "contact_change", ["operator_id"], unique=False)
    op.create_index("ix_contact_change_subscriber_id", "contact_change", ["subscriber_id", "id"], unique=False)
    protect("contact_change", "SELECT, INSERT, UPDATE (attempts, used_at), DELETE")
    op.execute(FUNCTIONS)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
