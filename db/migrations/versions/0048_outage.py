"""What RADIUS does while a node has no news from the database."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operator", sa.Column("outage_action", sa.String(), server_default="keep", nullable=False))
    op.add_column(
        "operator",
        sa.Column("outage_after", sa.Interval(), server_default=sa.text("interval '1 hour'"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_operator_outage_action"), "operator", "outage_action IN ('keep', 'spare', 'refuse')"
    )
    op.create_check_constraint(op.f("ck_operator_outage_after"), "operator", "outage_after > interval '0'")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
