"""Electronic invoices, and money in other currencies."""

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
