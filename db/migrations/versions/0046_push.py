"""Messages to browsers that a subscriber signed up for them."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the browsers, the operator's key for push services, and their channel."""
    op.add_column("message_settings", sa.Column("push_key", sa.LargeBinary(), nullable=True))
    op.create_table(
        "push_browser",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("subscription", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_push_browser_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_push_browser_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_browser")),
    )
    op.create_index("ix_push_browser_subscriber_id", "push_browser", ["subscriber_id"])
    op.create_index("uq_push_browser_address", "push_browser", ["operator_id", "address_hash"], unique=True)
    protect("push_browser", "SELECT, INSERT, UPDATE (subscriber_id, subscription, name), DELETE")
    op.drop_constraint(op.f("ck_notification_channel"), "notification", type_="check")
    op.create_check_constraint(
        op.f("ck_notification_channel"),
        "notification",
        "channel IN ('email', 'apprise', 'sms', 'whatsapp', 'telegram', 'push')",
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
