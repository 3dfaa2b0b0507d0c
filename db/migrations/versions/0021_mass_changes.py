"""Changes of many services at once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mass_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('plan', 'suspend', 'restore', 'management', 'paid_until')", name=op.f("ck_mass_change_kind")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_mass_change_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mass_change")),
    )
    op.create_index("ix_mass_change_operator_id", "mass_change", ["operator_id", "id"], unique=False)
    op.create_table(
        "mass_change_row",
        sa.Column("mass_change_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'done', 'kept', 'refused', 'undone')", name=op.f("ck_mass_change_row_state")
        ),
        sa.ForeignKeyConstraint(
            ["mass_change_id"],
            ["mass_change.id"],
            name=op.f("fk_mass_change_row_mass_change_id_mass_change"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_mass_change_row_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_mass_change_row_service_id_service")),
        sa.PrimaryKeyConstraint("mass_change_id", "service_id", name=op.f("pk_mass_change_row")),
    )
    op.create_index("ix_mass_change_row_service_id", "mass_change_row", ["service_id"], unique=False)
    op.create_index(
        "ix_mass_change_row_state", "mass_change_row", ["mass_change_id", "state", "service_id"], unique=False
    )
    protect("mass_change", "SELECT, INSERT")
    protect("mass_change_row", "SELECT, INSERT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
