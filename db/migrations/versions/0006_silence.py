"""Since when a NAS has been heard without a gap, so that its silence is not taken for its subscribers'."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "nas_heard",
        sa.Column("talking_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    # Every batch of accounting writes the rows of the services it is about: leave room for the new versions.
    op.execute("ALTER TABLE usage_period SET (fillfactor = 60)")


def downgrade() -> None:
    op.execute("ALTER TABLE usage_period RESET (fillfactor)")
    op.drop_column("nas_heard", "talking_since")
