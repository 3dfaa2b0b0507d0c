"""Services that are told by their line, as a DHCP relay names it (option 82), and gardens by cause."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

METHODS = "'pppoe', 'mac', 'line', 'hotspot', 'voucher', 'queue'"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_service_access_method"), "service")
    op.create_check_constraint(op.f("ck_service_access_method"), "service", f"access_method IN ({METHODS})")
    op.add_column(
        "operator",
        sa.Column("gardens", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
