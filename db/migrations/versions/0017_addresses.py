"""Pools and prefixes, circuit tests, router backups, router logins."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import log_changes, protect

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _circuits()
    _pools()
    _backups()
    _logins()


def _circuits() -> None:
    op.create_table(
        "circuit_test",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("nas_name", sa.String(), server_default="", nullable=False),
        sa.Column("sector", sa.String(), server_default="", nullable=False),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("why", sa.String(), server_default="", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(verdict IS NULL) = (finished_at IS NULL)", name=op.f("ck_circuit_test_finished")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_circuit_test_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_circuit_test_service_id_service"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_circuit_test_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_circuit_test")),
    )
    op.create_index(
        "ix_circuit_test_operator_id",
        "circuit_test",
        ["operator_id", sa.literal_column("started_at DESC"), "id"],
        unique=False,
    )
    op.create_index(
        "ix_circuit_test_service_id", "circuit_test", ["service_id", sa.literal_column("started_at DESC")], unique=False
    )
    protect("circuit_test", "SELECT, INSERT, UPDATE (job_id)")


def _pools() -> None:
    op.create_table(
        "address_pool",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("assignment", sa.String(), nullable=False),
        sa.Column("network", postgresql.CIDR(), nullable=False),
        sa.Column("first_address", postgresql.INET(), nullable=True),
        sa.Column("last_address", postgresql.INET(), nullable=True),
        sa.Column("prefix_length", sa.Integer(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(operator_id, operator_id, '[]')"), "&&"),
            (sa.text("network inet_ops"), "&&"),
            (sa.text("int8range(nas_id, nas_id, '[]')"), "&&"),
            using="gist",
            name="ex_address_pool_overlap",
        ),
        sa.CheckConstraint(
            "(first_address IS NULL OR first_address <<= network) AND (last_address IS NULL OR last_address <<= network) AND (kind = 'ipv4' OR first_address IS NULL AND last_address IS NULL) AND (first_address IS NULL OR last_address IS NULL OR first_address <= last_address)",
            name=op.f("ck_address_pool_span"),
        ),
        sa.CheckConstraint("(kind = 'ipv4') = (family(network) = 4)", name=op.f("ck_address_pool_family")),
        sa.CheckConstraint(
            "CASE WHEN kind = 'ipv4' THEN prefix_length = 32 ELSE prefix_length BETWEEN masklen(network) AND 64 END",
            name=op.f("ck_address_pool_prefix_length"),
        ),
        sa.CheckConstraint("assignment IN ('fixed', 'dynamic')", name=op.f("ck_address_pool_assignment")),
        sa.CheckConstraint("kind IN ('ipv4', 'ipv6_line', 'ipv6_delegated')", name=op.f("ck_address_pool_kind")),
        sa.CheckConstraint("name <> '' AND octet_length(name) <= 63", name=op.f("ck_address_pool_name")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_address_pool_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_address_pool_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_pool")),
    )
    op.create_index(
        "uq_address_pool_name",
        "address_pool",
        ["operator_id", sa.literal_column("coalesce(nas_id, 0)"), "kind", "name"],
        unique=True,
    )
    protect("address_pool", "SELECT, INSERT, UPDATE, DELETE")
    op.create_table(
        "router_pools",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("pools", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["nas_id"], ["router.nas_id"], name=op.f("fk_router_pools_nas_id_router"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_pools_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_router_pools")),
    )
    op.create_index("ix_router_pools_operator_id", "router_pools", ["operator_id"], unique=False)
    protect("router_pools", "SELECT")


def _backups() -> None:
    op.create_table(
        "router_backup",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), server_default="0", nullable=False),
        sa.Column("removed", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_router_backup_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_backup_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router_backup")),
    )
    op.create_index(
        "ix_router_backup_nas_id", "router_backup", ["nas_id", sa.literal_column("taken_at DESC")], unique=False
    )
    op.create_index("ix_router_backup_operator_id", "router_backup", ["operator_id"], unique=False)
    protect("router_backup", "SELECT")
    op.create_table(
        "router_backup_state",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["nas_id"], ["nas.id"], name=op.f("fk_router_backup_state_nas_id_nas"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_router_backup_state_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_router_backup_state")),
    )
    op.create_index("ix_router_backup_state_operator_id", "router_backup_state", ["operator_id"], unique=False)
    protect("router_backup_state", "SELECT")


def _logins() -> None:
    op.create_table(
        "router_login",
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=False),
        sa.Column("nas_ids", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$'", name=op.f("ck_router_login_name")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_login_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff.id"], name=op.f("fk_router_login_staff_id_staff"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("staff_id", name=op.f("pk_router_login")),
    )
    op.create_index(
        "uq_router_login_name", "router_login", ["operator_id", sa.literal_column("lower(name)")], unique=True
    )
    protect("router_login", "SELECT, INSERT, UPDATE, DELETE")
    log_changes("router_login", "login", "staff_id")
    op.create_table(
        "router_group",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("router_group", sa.String(), nullable=False),
        sa.CheckConstraint("router_group IN ('full', 'write', 'read')", name=op.f("ck_router_group_router_group")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_group_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "role", name=op.f("pk_router_group")),
    )
    protect("router_group", "SELECT, INSERT, UPDATE, DELETE")
    log_changes("router_group", "login", "operator_id")
    log_changes("staff", "login", "id")  # who is not active any more, or has another role


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
