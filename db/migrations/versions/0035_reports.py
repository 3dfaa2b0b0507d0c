"""Reports sent by a schedule."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "report_schedule",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("every", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), server_default="1", nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("permission", sa.String(), nullable=False),
        sa.Column("granted_by", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("stopped", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "day BETWEEN 1 AND CASE every WHEN 'week' THEN 7 ELSE 28 END", name=op.f("ck_report_schedule_day")
        ),
        sa.CheckConstraint("every IN ('day', 'week', 'month')", name=op.f("ck_report_schedule_every")),
        sa.CheckConstraint("format IN ('xlsx', 'pdf')", name=op.f("ck_report_schedule_format")),
        sa.CheckConstraint("stopped IN ('', 'gone', 'permission', 'report')", name=op.f("ck_report_schedule_stopped")),
        sa.CheckConstraint("hour BETWEEN 0 AND 23", name=op.f("ck_report_schedule_hour")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_report_schedule_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_report_schedule_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_schedule")),
    )
    op.create_index("ix_report_schedule_operator_id", "report_schedule", ["operator_id", "id"], unique=False)
    op.create_table(
        "report_sending",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Date(), nullable=False),
        sa.Column("notification_id", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_report_sending_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["report_schedule.id"],
            name=op.f("fk_report_sending_schedule_id_report_schedule"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_sending")),
    )
    op.create_index("ix_report_sending_operator_id", "report_sending", ["operator_id", "id"], unique=False)
    op.create_index("uq_report_sending_period", "report_sending", ["schedule_id", "period"], unique=True)
    protect("report_schedule", "SELECT, INSERT, UPDATE, DELETE")
    protect("report_sending", "SELECT")
    op.add_column("notification", sa.Column("file_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_notification_file_id_stored_file"),
        "notification",
        "stored_file",
        ["file_id"],
        ["id"],
        ondelete="SET NULL",
    )
    # Letting go of a file looks for what carries it.
    op.create_index(
        "ix_notification_file_id", "notification", ["file_id"], postgresql_where=sa.text("file_id IS NOT NULL")
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
