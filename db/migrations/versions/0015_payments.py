"""Payments and what they pay, cash desks, collectors, promises, and documents that were rendered."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "payment_method": "SELECT, INSERT, UPDATE",
    "collector": "SELECT, INSERT, UPDATE",
    "cash_desk": "SELECT, INSERT, UPDATE (closed_at, expected, counted, note)",
    "payment": "SELECT, INSERT, UPDATE (unapplied, refunded, effects, voided_at, void_reason)",
    "payment_application": "SELECT, INSERT",
    "refund": "SELECT, INSERT",
    "cash_movement": "SELECT, INSERT",
    "promise": "SELECT, INSERT, UPDATE (state, ended_at)",
    "rendered_document": "SELECT, INSERT, UPDATE",
}

TRAIL = """
CREATE TRIGGER posted BEFORE UPDATE OF id, operator_id, subscriber_id, method_id, prefix, number, currency, amount,
    paid_on, reference, note, external_id, desk_id, collector_id, commission, staff_id, created_at ON payment
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER posted_removal BEFORE DELETE ON payment FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER voided BEFORE UPDATE OF voided_at, void_reason ON payment
    FOR EACH ROW WHEN (OLD.voided_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER closed BEFORE UPDATE ON cash_desk
    FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON cash_desk FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.add_column("service", sa.Column("promised_until", sa.Date(), nullable=True))
    op.create_table(
        "payment_method",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("needs_reference", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("gateway", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("account IN ('cash', 'bank', 'card')", name=op.f("ck_payment_method_account")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_payment_method_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_method")),
    )
    op.create_index("uq_payment_method_name", "payment_method", ["operator_id", "name"], unique=True)
    op.create_table(
        "rendered_document",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("paper", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", name=op.f("ck_rendered_document_kind")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_rendered_document_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("kind", "subject_id", "paper", "language", name=op.f("pk_rendered_document")),
    )
    op.create_table(
        "cash_desk",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("opening", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expected", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("counted", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint(
            "num_nulls(closed_at, counted, expected) IN (0, 3)", name=op.f("ck_cash_desk_closing_whole")
        ),
        sa.CheckConstraint("opening >= 0 AND counted >= 0", name=op.f("ck_cash_desk_amounts")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_cash_desk_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_cash_desk_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_desk")),
    )
    op.create_index(
        "ix_cash_desk_operator_id", "cash_desk", ["operator_id", sa.literal_column("opened_at DESC")], unique=False
    )
    op.create_index(
        "uq_cash_desk_open", "cash_desk", ["staff_id"], unique=True, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_table(
        "collector",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("commission", sa.Numeric(precision=7, scale=4), server_default="0", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("commission BETWEEN 0 AND 100", name=op.f("ck_collector_commission")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_collector_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_collector_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collector")),
    )
    op.create_table(
        "cash_movement",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("desk_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("collector_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(amount > 0) = (kind IN ('handover', 'added')) AND amount <> 0", name=op.f("ck_cash_movement_amount")
        ),
        sa.CheckConstraint("kind IN ('deposit', 'expense', 'handover', 'added')", name=op.f("ck_cash_movement_kind")),
        sa.ForeignKeyConstraint(
            ["collector_id"], ["collector.id"], name=op.f("fk_cash_movement_collector_id_collector")
        ),
        sa.ForeignKeyConstraint(["desk_id"], ["cash_desk.id"], name=op.f("fk_cash_movement_desk_id_cash_desk")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_cash_movement_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_movement")),
    )
    op.create_index("ix_cash_movement_desk_id", "cash_movement", ["desk_id"], unique=False)
    op.create_table(
        "payment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("method_id", sa.BigInteger(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("unapplied", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("refunded", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("reference", sa.String(), server_default="", nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("desk_id", sa.BigInteger(), nullable=True),
        sa.Column("collector_id", sa.BigInteger(), nullable=True),
        sa.Column("commission", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("effects", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_reason", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint("(voided_at IS NULL) = (void_reason = '')", name=op.f("ck_payment_void")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payment_amount")),
        sa.CheckConstraint(
            "unapplied >= 0 AND refunded >= 0 AND unapplied + refunded <= amount", name=op.f("ck_payment_left")
        ),
        sa.ForeignKeyConstraint(["collector_id"], ["collector.id"], name=op.f("fk_payment_collector_id_collector")),
        sa.ForeignKeyConstraint(["desk_id"], ["cash_desk.id"], name=op.f("fk_payment_desk_id_cash_desk")),
        sa.ForeignKeyConstraint(["method_id"], ["payment_method.id"], name=op.f("fk_payment_method_id_payment_method")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_payment_operator_id_operator")),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name=op.f("fk_payment_subscriber_id_subscriber")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
    )
    op.create_index("ix_payment_collector_id", "payment", ["collector_id"], unique=False)
    op.create_index("ix_payment_desk_id", "payment", ["desk_id"], unique=False)
    op.create_index(
        "ix_payment_operator_id",
        "payment",
        ["operator_id", sa.literal_column("paid_on DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_payment_subscriber_id", "payment", ["subscriber_id", "id"], unique=False)
    op.create_index(
        "ix_payment_unapplied",
        "payment",
        ["subscriber_id", "id"],
        unique=False,
        postgresql_where=sa.text("unapplied > 0"),
    )
    op.create_index("uq_payment_external_id", "payment", ["operator_id", "method_id", "external_id"], unique=True)
    op.create_index("uq_payment_receipt", "payment", ["operator_id", "prefix", "number"], unique=True)
    op.create_table(
        "promise",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("state", sa.String(), server_default="open", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'kept', 'broken', 'cancelled')", name=op.f("ck_promise_state")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_promise_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_promise_service_id_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promise")),
    )
    op.create_index("ix_promise_operator_id", "promise", ["operator_id", "until"], unique=False)
    op.create_index("ix_promise_service_id", "promise", ["service_id", "id"], unique=False)
    op.create_index(
        "uq_promise_open", "promise", ["service_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "payment_application",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_payment_application_amount")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_payment_application_invoice_id_invoice")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_payment_application_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_payment_application_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_application")),
    )
    op.create_index("ix_payment_application_invoice_id", "payment_application", ["invoice_id"], unique=False)
    op.create_index("ix_payment_application_payment_id", "payment_application", ["payment_id"], unique=False)
    op.create_table(
        "refund",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("refunded_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("desk_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refund_amount")),
        sa.ForeignKeyConstraint(["desk_id"], ["cash_desk.id"], name=op.f("fk_refund_desk_id_cash_desk")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_refund_operator_id_operator")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_refund_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
    )
    op.create_index("ix_refund_payment_id", "refund", ["payment_id"], unique=False)
    op.create_index("uq_refund_external_id", "refund", ["payment_id", "external_id"], unique=True)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    op.execute(TRAIL)
    for table in ("payment_application", "refund", "cash_movement"):
        op.execute(
            f"CREATE TRIGGER posted BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
