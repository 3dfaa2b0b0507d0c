"""Fair use: steps, hours that count less, what rolls over, and top-ups."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("steps", "bonus_hours"):
        op.add_column(
            "rate_plan", sa.Column(column, postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False)
        )
    for column in ("rollover_periods", "top_ups_automatic"):
        op.add_column("rate_plan", sa.Column(column, sa.Integer(), server_default="0", nullable=False))
    for column in ("rollover_most", "top_up_octets"):
        op.add_column("rate_plan", sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column("rate_plan", sa.Column("top_up_price", sa.Numeric(precision=14, scale=4), nullable=True))
    for name, condition in (
        ("top_up_whole", "num_nulls(top_up_octets, top_up_price) IN (0, 2)"),
        ("top_up_automatic", "top_ups_automatic = 0 OR top_up_octets IS NOT NULL"),
        ("rollover_periods", "rollover_periods BETWEEN 0 AND 12"),
    ):
        op.create_check_constraint(op.f(f"ck_rate_plan_{name}"), "rate_plan", condition)
    op.add_column("service", sa.Column("top_up_octets", sa.BigInteger(), nullable=True))
    op.add_column("service", sa.Column("top_up_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("service", sa.Column("top_ups_automatic", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_service_top_up_whole"), "service", "num_nulls(top_up_octets, top_up_until) IN (0, 2)"
    )
    op.add_column("usage_period", sa.Column("octets_free", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("usage_period", sa.Column("cap_octets", sa.BigInteger(), nullable=True))
    op.add_column("usage_period", sa.Column("rolled_over", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "usage_span",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("span", sa.String(), nullable=False),
        sa.Column("begins", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("span IN ('day', 'week')", name=op.f("ck_usage_span_span")),
        sa.PrimaryKeyConstraint("service_id", "span", name=op.f("pk_usage_span")),
    )
    op.execute("ALTER TABLE usage_span SET (fillfactor = 60)")
    protect("usage_span", "SELECT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
