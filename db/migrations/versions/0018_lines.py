"""Services that are told by their line, as a DHCP relay names it (option 82)."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

METHODS = "'pppoe', 'mac', 'line', 'hotspot', 'voucher', 'queue'"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_service_access_method"), "service")
    op.create_check_constraint(op.f("ck_service_access_method"), "service", f"access_method IN ({METHODS})")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
