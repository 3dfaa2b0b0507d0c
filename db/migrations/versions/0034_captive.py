"""The captive portal."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "captive_settings": "SELECT, INSERT, UPDATE (ask_terms, offer_trial, remember_days, batch_ids)",
    "captive_hotspot": "SELECT, INSERT, UPDATE (hosts, refused_host, refused_at)",
    "captive_purchase": "SELECT, INSERT",
}

FUNCTIONS = """
CREATE FUNCTION captive_client(wanted inet) RETURNS TABLE (operator_id bigint, service_id bigint, nas_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Who comes from an address, before an operator is known: whose live session or simple queue has it, else the NAS
    -- itself, where it hides its clients behind its own. Several rows: operators that use the same private addresses.
    WITH found AS (
        SELECT session.operator_id, session.service_id, session.nas_id FROM session
        JOIN operator ON operator.id = session.operator_id
        WHERE session.framed_ip = wanted AND session.ended_at IS NULL
        UNION ALL
        SELECT service.operator_id, service.id, service.nas_id FROM service
        WHERE service.framed_ip = wanted AND service.access_method = 'queue' AND service.state <> 'terminated'
    )
    SELECT * FROM found
    UNION ALL
    SELECT nas.operator_id, NULL, nas.id FROM nas WHERE nas.address = wanted AND NOT EXISTS (SELECT FROM found)
    LIMIT 5
$$;

REVOKE ALL ON FUNCTION captive_client(inet) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION captive_client(inet) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.create_table(
        "captive_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("ask_terms", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("offer_trial", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("remember_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("batch_ids", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("remember_days BETWEEN 0 AND 30", name=op.f("ck_captive_settings_remember_days")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_captive_settings_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_captive_settings")),
    )
    op.create_table(
        "captive_hotspot",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("hosts", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("refused_host", sa.String(), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_captive_hotspot_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_captive_hotspot_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_captive_hotspot")),
    )
    op.create_index(op.f("ix_captive_hotspot_operator_id"), "captive_hotspot", ["operator_id"], unique=False)
    op.create_table(
        "captive_purchase",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("checkout_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["voucher_batch.id"], name=op.f("fk_captive_purchase_batch_id_voucher_batch")
        ),
        sa.ForeignKeyConstraint(
            ["checkout_id"], ["checkout.id"], name=op.f("fk_captive_purchase_checkout_id_checkout")
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_captive_purchase_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captive_purchase")),
    )
    op.create_index("uq_captive_purchase_checkout", "captive_purchase", ["checkout_id"], unique=True)
    op.create_index("uq_captive_purchase_key", "captive_purchase", ["operator_id", "key"], unique=True)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    op.create_index("ix_session_open_framed_ip", "session", ["framed_ip"], postgresql_where=sa.text("ended_at IS NULL"))
    op.execute(FUNCTIONS)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
