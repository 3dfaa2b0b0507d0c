"""Boosts: a higher rate that a plan offers for some hours, and that a service has until an instant."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("boost_download", "boost_upload"):
        op.add_column("rate_plan", sa.Column(column, sa.BigInteger(), nullable=True))
        op.add_column("service", sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column("rate_plan", sa.Column("boost_hours", sa.Integer(), nullable=True))
    op.add_column("rate_plan", sa.Column("boost_price", sa.Numeric(precision=14, scale=4), nullable=True))
    op.add_column("service", sa.Column("boost_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_rate_plan_boost_whole"),
        "rate_plan",
        "num_nulls(boost_download, boost_upload, boost_hours, boost_price) IN (0, 4)",
    )
    op.create_check_constraint(
        op.f("ck_service_boost_whole"), "service", "num_nulls(boost_download, boost_upload, boost_until) IN (0, 3)"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
