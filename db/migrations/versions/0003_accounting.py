"""When each NAS was last heard, apart from its row; the counters of sessions as the NAS last reported them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nas_heard",
        sa.Column("nas_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_packet_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_nas_heard")),
    )
    op.create_index("ix_nas_heard_operator_id", "nas_heard", ["operator_id"])
    op.execute("ALTER TABLE nas_heard SET (fillfactor = 50)")
    op.execute("ALTER TABLE nas_heard ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenancy ON nas_heard TO portico_portal"
        " USING (operator_id = (SELECT portico_operator())) WITH CHECK (operator_id = (SELECT portico_operator()))"
    )
    op.execute("GRANT SELECT ON nas_heard TO portico_portal")
    op.drop_column("nas", "last_packet_at")
    for column in ("input_octets", "output_octets"):
        op.add_column("session", sa.Column(column, sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    for column in ("input_octets", "output_octets"):
        op.drop_column("session", column)
    op.add_column("nas", sa.Column("last_packet_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_table("nas_heard")
