"""Quotes: what a lead was offered, as it was offered."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quote",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("taxes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("monthly", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("once", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("made_on", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["lead_id"], ["lead.id"], name=op.f("fk_quote_lead_id_lead"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_quote_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_quote_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_quote_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quote")),
    )
    op.create_index("ix_quote_lead_id", "quote", ["lead_id"], unique=False)
    op.create_index("uq_quote_number", "quote", ["operator_id", "number"], unique=True)
    protect("quote", "SELECT, INSERT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
