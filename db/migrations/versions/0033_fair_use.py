"""Fair use in steps, bonus hours, top-ups and bundles."""

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
