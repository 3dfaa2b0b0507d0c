"""Give categories and canned answers a version, so that who changes one second is told of the first."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

TABLES = ("ticket_category", "canned_answer")


def upgrade() -> None:
    """Count each change of a row from 1 on."""
    for table in TABLES:
        op.add_column(table, sa.Column("version", sa.Integer, server_default="1", nullable=False))
