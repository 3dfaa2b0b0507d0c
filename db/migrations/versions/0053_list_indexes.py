"""Find who was removed, whose service is new, and the lines among services without reading all of them.

One look each minute at services that became active read every subscriber; the list of services, which leaves out
vouchers and who was removed, read both tables to count itself.
"""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema."""
    op.create_index(
        "ix_subscriber_removed", "subscriber", ["id"], unique=False, postgresql_where=sa.text("removed_at IS NOT NULL")
    )
    op.create_index(
        "ix_service_lines",
        "service",
        ["operator_id", "subscriber_id"],
        unique=False,
        postgresql_where=sa.text("access_method <> 'voucher'"),
    )
    op.create_index("ix_service_activated_at", "service", ["activated_at"], unique=False)
