"""Roles: what each may do at an operator, and staff who are invited and choose their password by a link."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("staff", sa.Column("awaits_password_since", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "role_permission",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("permission", sa.String(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_role_permission_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "role", "permission", name=op.f("pk_role_permission")),
    )
    op.create_table(
        "staff_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_staff_link_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff.id"], name=op.f("fk_staff_link_staff_id_staff"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_link")),
    )
    op.create_index("ix_staff_link_staff_id", "staff_link", ["staff_id"], unique=False)
    op.create_index("uq_staff_link_token", "staff_link", ["operator_id", "token_hash"], unique=True)
    protect("role_permission", "SELECT, INSERT, UPDATE, DELETE")
    protect("staff_link", "SELECT, INSERT, UPDATE (used_at)")
    # These messages hold such a link. The portal's pages show what was sent to whoever may see alerts.
    op.execute(
        "CREATE POLICY staff_links ON notification AS RESTRICTIVE FOR SELECT TO portico_portal"
        " USING (kind <> 'staff.link')"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
