"""Proposed incidents of sectors and sites, why services ended, and of which promises the staff were warned."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incident", sa.Column("sector_id", sa.BigInteger(), nullable=True))
    op.add_column("incident", sa.Column("site_id", sa.BigInteger(), nullable=True))
    op.add_column("incident", sa.Column("proposed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for name in ("sector", "site"):
        op.create_foreign_key(
            op.f(f"fk_incident_{name}_id_{name}"), "incident", name, [f"{name}_id"], ["id"], ondelete="SET NULL"
        )
    op.drop_constraint(op.f("ck_incident_scope"), "incident", type_="check")
    op.create_check_constraint(
        op.f("ck_incident_scope"), "incident", "scope IN ('network', 'router', 'site', 'sector')"
    )
    op.create_table(
        "leave_reason",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_leave_reason_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leave_reason")),
    )
    op.create_index("uq_leave_reason_title", "leave_reason", ["operator_id", sa.text("lower(title)")], unique=True)
    protect("leave_reason", "SELECT, INSERT, UPDATE, DELETE")
    op.add_column("service", sa.Column("leave_reason", sa.String(), server_default="", nullable=False))
    op.add_column("service", sa.Column("leave_note", sa.String(), server_default="", nullable=False))
    op.add_column("ticket", sa.Column("warned_of", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ticket", sa.Column("broken_told_of", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
