"""What routers are asked while their own secrets still decide, and imports of hotspot users."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("compared", "login"):
        op.add_column("shadow_secret", sa.Column(column, postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("shadow_secret", sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("shadow_secret", sa.Column("differs", sa.String(), server_default="", nullable=False))
    op.create_check_constraint(op.f("ck_shadow_secret_differs"), "shadow_secret", "differs IN ('', 'outcome', 'rate')")
    op.create_table(
        "shadow_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("there", sa.String(), nullable=False),
        sa.Column("there_download", sa.BigInteger(), nullable=True),
        sa.Column("there_upload", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("download", sa.BigInteger(), nullable=True),
        sa.Column("upload", sa.BigInteger(), nullable=True),
        sa.Column("differs", sa.String(), server_default="", nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.CheckConstraint("differs IN ('', 'outcome', 'rate')", name=op.f("ck_shadow_event_differs")),
        sa.CheckConstraint("kind IN ('answer', 'login')", name=op.f("ck_shadow_event_kind")),
        sa.CheckConstraint("outcome IN ('accept', 'garden', 'reject')", name=op.f("ck_shadow_event_outcome")),
        sa.CheckConstraint("there IN ('accept', 'reject', 'ask')", name=op.f("ck_shadow_event_there")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_shadow_event_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_shadow_event_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_shadow_event_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_event")),
    )
    op.create_index("ix_shadow_event_at", "shadow_event", ["at"])
    op.create_index("ix_shadow_event_operator_id", "shadow_event", ["operator_id", "nas_id", "at"])
    op.create_index("ix_shadow_event_service_id", "shadow_event", ["service_id"])
    protect("shadow_event", "SELECT")
    op.execute("GRANT DELETE ON queue_drift TO portico_portal")  # whose value was taken over
    op.drop_constraint(op.f("ck_import_batch_source"), "import_batch")
    op.create_check_constraint(
        op.f("ck_import_batch_source"),
        "import_batch",
        "source IN ('queues', 'secrets', 'leases', 'hotspot', 'csv', 'user_manager', 'rlm_sql')",
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
