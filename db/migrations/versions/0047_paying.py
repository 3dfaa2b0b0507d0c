"""A pass of some minutes for who is paying: the page on which a bank asks its customer may be anywhere."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("service", sa.Column("paying_until", sa.DateTime(timezone=True), nullable=True))
    minutes = sa.Column("paying_minutes", sa.Integer(), server_default="5", nullable=False)
    op.add_column("captive_settings", minutes)
    op.create_check_constraint(
        op.f("ck_captive_settings_paying_minutes"), "captive_settings", "paying_minutes BETWEEN 0 AND 15"
    )
    op.add_column("captive_settings", sa.Column("pass_batch_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_captive_settings_pass_batch_id_voucher_batch"),
        "captive_settings",
        "voucher_batch",
        ["pass_batch_id"],
        ["id"],
    )
    op.create_table(
        "paying_pass",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("checkout_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("device", sa.String(), server_default="", nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkout_id"], ["checkout.id"], name=op.f("fk_paying_pass_checkout_id_checkout"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_paying_pass_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_paying_pass_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paying_pass")),
    )
    op.create_index("ix_paying_pass_operator_id", "paying_pass", ["operator_id", "begun_at"], unique=False)
    op.create_index("ix_paying_pass_service_id", "paying_pass", ["service_id"], unique=False)
    op.create_index("uq_paying_pass_checkout", "paying_pass", ["checkout_id"], unique=True)
    protect("paying_pass", "SELECT, INSERT")
    op.execute("GRANT UPDATE (paying_minutes, pass_batch_id) ON captive_settings TO portico_portal")
    op.execute("GRANT UPDATE (count) ON voucher_batch TO portico_portal")  # that of passes grows


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
