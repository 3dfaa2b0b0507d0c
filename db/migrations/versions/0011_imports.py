"""Imports from routers and files: batches, their rows, and secrets that are on their routers too."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tie", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paid_until", sa.Date(), nullable=True),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "source IN ('queues', 'secrets', 'leases', 'csv', 'user_manager', 'rlm_sql')",
            name=op.f("ck_import_batch_source"),
        ),
        sa.CheckConstraint(
            "state IN ('columns', 'reading', 'found', 'writing', 'written', 'undone', 'failed')",
            name=op.f("ck_import_batch_state"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_import_batch_job_id_job"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_import_batch_nas_id_nas"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_import_batch_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_import_batch_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_batch")),
    )
    op.create_index("ix_import_batch_operator_id", "import_batch", ["operator_id", "id"], unique=False)
    op.create_table(
        "shadow_secret",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="local", nullable=False),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('local', 'portico')", name=op.f("ck_shadow_secret_state")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_shadow_secret_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_shadow_secret_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_shadow_secret_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_shadow_secret")),
    )
    op.create_index("ix_shadow_secret_operator_id", "shadow_secret", ["operator_id", "nas_id"], unique=False)
    op.create_table(
        "import_row",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), server_default="", nullable=False),
        sa.Column("access_method", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("framed_ip", postgresql.INET(), nullable=True),
        sa.Column("mac", postgresql.MACADDR(), nullable=True),
        sa.Column("download", sa.BigInteger(), nullable=True),
        sa.Column("upload", sa.BigInteger(), nullable=True),
        sa.Column("profile", sa.String(), server_default="", nullable=False),
        sa.Column("comment", sa.String(), server_default="", nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("subscriber_name", sa.String(), server_default="", nullable=False),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("tax_id", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("paid_until", sa.Date(), nullable=True),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column(
            "duplicates", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("problems", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(), server_default="new", nullable=False),
        sa.Column("decided", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), server_default="found", nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("previous_password", sa.LargeBinary(), nullable=True),
        sa.Column("service_version", sa.Integer(), nullable=True),
        sa.Column("subscriber_version", sa.Integer(), nullable=True),
        sa.CheckConstraint("action IN ('new', 'update', 'ignore', 'add')", name=op.f("ck_import_row_action")),
        sa.CheckConstraint(
            "state IN ('found', 'created', 'updated', 'ignored', 'bad', 'undone')", name=op.f("ck_import_row_state")
        ),
        sa.CheckConstraint("(download IS NULL) = (upload IS NULL)", name=op.f("ck_import_row_rate_whole")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["import_batch.id"], name=op.f("fk_import_row_batch_id_import_batch"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_import_row_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["rate_plan.id"], name=op.f("fk_import_row_plan_id_rate_plan"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_row")),
    )
    op.create_index("ix_import_row_operator_id", "import_row", ["operator_id"], unique=False)
    op.create_index("ix_import_row_service_id", "import_row", ["service_id"], unique=False)
    op.create_index("uq_import_row_line", "import_row", ["batch_id", "line"], unique=True)
    protect("import_batch", "SELECT, INSERT, UPDATE, DELETE")
    protect("import_row", "SELECT, INSERT, UPDATE, DELETE")
    protect("shadow_secret", "SELECT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
