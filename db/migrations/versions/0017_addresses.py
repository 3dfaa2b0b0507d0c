"""Pools and prefixes, circuit tests, router backups."""

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
