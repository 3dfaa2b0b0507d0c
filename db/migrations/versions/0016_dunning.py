"""The dunning ladder, when an operator cuts, days that staff gave, and lines of bank statements."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "dunning_settings": "SELECT, INSERT, UPDATE",
    "dunning_step": "SELECT, INSERT, DELETE",
    "dunning_text": "SELECT, INSERT, UPDATE, DELETE",
    "dunning_done": "SELECT, UPDATE (outcome, staff_id)",
    "bank_line": "SELECT, INSERT, UPDATE (state, payment_id, staff_id, ended_at)",
}


def upgrade() -> None:
    _cutting()
    op.create_table(
        "dunning_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("send_hour", sa.Integer(), server_default="9", nullable=False),
        sa.Column("late_fees", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("terminate_months", sa.Integer(), nullable=True),
        sa.Column("alert_address", sa.String(), server_default="", nullable=False),
        sa.Column("alerted_on", sa.Date(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("send_hour BETWEEN 0 AND 23", name=op.f("ck_dunning_settings_send_hour")),
        sa.CheckConstraint("terminate_months BETWEEN 1 AND 60", name=op.f("ck_dunning_settings_terminate_months")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_dunning_settings_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_dunning_settings")),
    )
    op.create_table(
        "dunning_step",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(), server_default="email", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("channel IN ('email', 'whatsapp', 'sms')", name=op.f("ck_dunning_step_channel")),
        sa.CheckConstraint("days BETWEEN -60 AND 365", name=op.f("ck_dunning_step_days")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_dunning_step_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_step")),
    )
    op.create_index("uq_dunning_step_days", "dunning_step", ["operator_id", "days", "channel"], unique=True)
    op.create_table(
        "dunning_text",
        sa.Column("step_id", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_dunning_text_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["step_id"], ["dunning_step.id"], name=op.f("fk_dunning_text_step_id_dunning_step"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("step_id", "language", name=op.f("pk_dunning_text")),
    )
    op.create_table(
        "bank_line",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("reference", sa.String(), server_default="", nullable=False),
        sa.Column("payer", sa.String(), server_default="", nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'booked') = (payment_id IS NOT NULL)", name=op.f("ck_bank_line_booked")),
        sa.CheckConstraint("state IN ('waiting', 'booked', 'ignored')", name=op.f("ck_bank_line_state")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_bank_line_amount")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_bank_line_operator_id_operator")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_bank_line_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_line")),
    )
    op.create_index(
        "ix_bank_line_operator_id",
        "bank_line",
        ["operator_id", sa.literal_column("booked_on DESC"), "id"],
        unique=False,
    )
    op.create_index("uq_bank_line_fingerprint", "bank_line", ["operator_id", "fingerprint"], unique=True)
    op.create_table(
        "dunning_done",
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("subject", sa.String(), server_default="", nullable=False),
        sa.Column("body", sa.String(), server_default="", nullable=False),
        sa.Column("notification_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('sent', 'listed', 'done', 'passed', 'unreachable')", name=op.f("ck_dunning_done_outcome")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_dunning_done_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_dunning_done_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_dunning_done_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("invoice_id", "stage", name=op.f("pk_dunning_done")),
    )
    op.create_index(
        "ix_dunning_done_listed",
        "dunning_done",
        ["operator_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("outcome = 'listed'"),
    )
    op.create_index(
        "ix_dunning_done_operator_id",
        "dunning_done",
        ["operator_id", sa.literal_column("created_at DESC"), "invoice_id"],
        unique=False,
    )
    op.create_index(
        "ix_dunning_done_subscriber_id",
        "dunning_done",
        ["subscriber_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)


def _cutting() -> None:
    op.add_column("service", sa.Column("held_until", sa.Date(), nullable=True))
    op.add_column("operator", sa.Column("cut_off_hour", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "operator",
        sa.Column(
            "cut_off_weekdays",
            postgresql.ARRAY(sa.SMALLINT()),
            server_default=sa.text("'{1,2,3,4,5,6,7}'"),
            nullable=False,
        ),
    )
    op.add_column("operator", sa.Column("holiday_country", sa.String(), nullable=True))
    op.add_column("operator", sa.Column("holiday_subdivision", sa.String(), nullable=True))
    op.add_column(
        "operator",
        sa.Column("days_off", postgresql.ARRAY(sa.DATE()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_check_constraint(op.f("ck_operator_cut_off_hour"), "operator", "cut_off_hour BETWEEN 0 AND 23")
    op.create_check_constraint(op.f("ck_operator_cut_off_weekdays"), "operator", "cardinality(cut_off_weekdays) > 0")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
