"""Under which rules of billing the dates of an operator's services were last computed."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("billing_settings", sa.Column("settled_rules", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
