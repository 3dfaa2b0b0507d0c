"""Currencies beside the one of the books."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "foreign_currency": "SELECT, INSERT, UPDATE (active)",
    "exchange_rate": "SELECT, INSERT",
    "foreign_cash": "SELECT, INSERT",
    "desk_currency": "SELECT, INSERT, UPDATE (expected, counted)",
}
TRAIL = """
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON exchange_rate FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept_truncate BEFORE TRUNCATE ON exchange_rate EXECUTE FUNCTION refuse_change();
CREATE TRIGGER posted BEFORE UPDATE OR DELETE ON foreign_cash FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER posted_truncate BEFORE TRUNCATE ON foreign_cash EXECUTE FUNCTION refuse_change();
CREATE TRIGGER closed BEFORE UPDATE ON desk_currency
    FOR EACH ROW WHEN (OLD.counted IS NOT NULL) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON desk_currency FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER posted_foreign BEFORE UPDATE OF foreign_currency, foreign_amount, exchange_rate, change_given ON payment
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
ACCOUNTS = (
    "receivable", "credit", "income", "late_fees", "tax", "cash", "bank", "card", "collectors", "commissions",
    "expenses", "cash_difference", "foreign_cash", "exchange_difference",
)  # fmt: skip


def upgrade() -> None:
    _tables()
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    _columns()
    op.execute(TRAIL)


def _columns() -> None:
    amount, rate = sa.Numeric(precision=16, scale=4), sa.Numeric(precision=20, scale=10)
    op.add_column("billing_settings", sa.Column("rate_days", sa.Integer(), server_default="7", nullable=False))
    op.create_check_constraint(op.f("ck_billing_settings_rate_days"), "billing_settings", "rate_days BETWEEN 0 AND 60")
    op.add_column("rate_plan", sa.Column("price_currency", sa.String(), nullable=True))
    for table, price in (("payment", "foreign_amount"), ("invoice_line", "foreign_price")):
        op.add_column(table, sa.Column("foreign_currency", sa.String(), nullable=True))
        op.add_column(table, sa.Column(price, amount, nullable=True))
        op.add_column(table, sa.Column("exchange_rate", rate, nullable=True))
    op.add_column("payment", sa.Column("change_given", amount, server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_payment_foreign_whole"),
        "payment",
        "num_nulls(foreign_currency, foreign_amount, exchange_rate) IN (0, 3)",
    )
    op.create_check_constraint(
        op.f("ck_payment_change"), "payment", "change_given >= 0 AND (change_given = 0 OR foreign_amount IS NOT NULL)"
    )
    op.add_column("refund", sa.Column("foreign_amount", amount, nullable=True))
    op.drop_constraint(op.f("ck_cash_movement_kind"), "cash_movement")
    op.drop_constraint(op.f("ck_cash_movement_amount"), "cash_movement")
    op.create_check_constraint(
        op.f("ck_cash_movement_kind"),
        "cash_movement",
        "kind IN ('deposit', 'expense', 'handover', 'added', 'exchange')",
    )
    op.create_check_constraint(
        op.f("ck_cash_movement_amount"),
        "cash_movement",
        "(amount > 0) = (kind IN ('handover', 'added', 'exchange')) AND amount <> 0",
    )
    op.drop_constraint(op.f("ck_ledger_line_account"), "ledger_line")
    names = ", ".join(f"'{name}'" for name in ACCOUNTS)
    op.create_check_constraint(op.f("ck_ledger_line_account"), "ledger_line", f"account IN ({names})")


def _tables() -> None:
    op.create_table(
        "exchange_rate",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("books_currency", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=20, scale=10), nullable=False),
        sa.Column("source", sa.String(), server_default="typed", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('typed', 'file')", name=op.f("ck_exchange_rate_source")),
        sa.CheckConstraint("rate > 0", name=op.f("ck_exchange_rate_rate")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_exchange_rate_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_rate")),
    )
    op.create_index(
        "ix_exchange_rate_day",
        "exchange_rate",
        ["operator_id", "currency", sa.literal_column("day DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "foreign_currency",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_foreign_currency_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", "currency", name=op.f("pk_foreign_currency")),
    )
    op.create_table(
        "desk_currency",
        sa.Column("desk_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("opening", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("expected", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("counted", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.CheckConstraint("num_nulls(expected, counted) IN (0, 2)", name=op.f("ck_desk_currency_closing_whole")),
        sa.CheckConstraint("opening >= 0 AND counted >= 0", name=op.f("ck_desk_currency_amounts")),
        sa.ForeignKeyConstraint(["desk_id"], ["cash_desk.id"], name=op.f("fk_desk_currency_desk_id_cash_desk")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_desk_currency_operator_id_operator")),
        sa.PrimaryKeyConstraint("desk_id", "currency", name=op.f("pk_desk_currency")),
    )
    op.create_table(
        "foreign_cash",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("value", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("got", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("desk_id", sa.BigInteger(), nullable=True),
        sa.Column("collector_id", sa.BigInteger(), nullable=True),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(amount = 0) = (kind = 'settled')", name=op.f("ck_foreign_cash_amount")),
        sa.CheckConstraint(
            "kind IN ('payment', 'void', 'refund', 'deposit', 'expense', 'handover', 'added', 'exchange', 'counted', 'settled')",
            name=op.f("ck_foreign_cash_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["collector_id"], ["collector.id"], name=op.f("fk_foreign_cash_collector_id_collector")
        ),
        sa.ForeignKeyConstraint(["desk_id"], ["cash_desk.id"], name=op.f("fk_foreign_cash_desk_id_cash_desk")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_foreign_cash_operator_id_operator")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_foreign_cash_payment_id_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_foreign_cash")),
    )
    op.create_index(
        "ix_foreign_cash_collector_id",
        "foreign_cash",
        ["collector_id"],
        unique=False,
        postgresql_where=sa.text("collector_id IS NOT NULL"),
    )
    op.create_index("ix_foreign_cash_currency", "foreign_cash", ["operator_id", "currency", "id"], unique=False)
    op.create_index(
        "ix_foreign_cash_desk_id",
        "foreign_cash",
        ["desk_id"],
        unique=False,
        postgresql_where=sa.text("desk_id IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
