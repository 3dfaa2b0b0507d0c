"""What is kept how long, what was removed and can come back, and blocks of ports.

Searches leave out who was removed: they are functions of the database, so it is said here for all that use them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

SEARCH = r"""
CREATE OR REPLACE FUNCTION search_subscribers(query text, most integer DEFAULT 2001) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's subscribers in whose text every word of the query occurs, at most so many.
DECLARE
    word text;
    conditions text := '';
BEGIN
    FOREACH word IN ARRAY (regexp_split_to_array(portico_fold(trim(query)), '\s+'))[1:8] LOOP
        conditions := conditions || format(' AND search_text LIKE %L', portico_pattern(word));
    END LOOP;
    RETURN QUERY EXECUTE 'SELECT id FROM subscriber WHERE operator_id = $1 AND removed_at IS NULL' || conditions
        || ' LIMIT $2' USING portico_operator(), most;
END $$;

CREATE OR REPLACE FUNCTION subscribers_of_email(wanted text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Ids of the operator's subscribers with this e-mail address: a family may share one.
    SELECT id FROM subscriber
    WHERE operator_id = portico_operator() AND lower(email) = lower(wanted) AND removed_at IS NULL
    ORDER BY id LIMIT 20
$$;
"""


def upgrade() -> None:
    op.create_table(
        "cgnat_plan",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("private", postgresql.CIDR(), nullable=False),
        sa.Column("public_first", postgresql.INET(), nullable=False),
        sa.Column("public_last", postgresql.INET(), nullable=False),
        sa.Column("first_port", sa.Integer(), server_default="1024", nullable=False),
        sa.Column("last_port", sa.Integer(), server_default="65535", nullable=False),
        sa.Column("ports", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("follows_id", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(operator_id, operator_id, '[]')"), "&&"),
            (sa.text("int8range(public_first - '0.0.0.0'::inet, public_last - '0.0.0.0'::inet, '[]')"), "&&"),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            using="gist",
            name="ex_cgnat_plan_public",
        ),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(operator_id, operator_id, '[]')"), "&&"),
            (sa.text("private inet_ops"), "&&"),
            (sa.text("int8range(nas_id, nas_id, '[]')"), "&&"),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            using="gist",
            name="ex_cgnat_plan_private",
        ),
        sa.CheckConstraint("name <> ''", name=op.f("ck_cgnat_plan_name")),
        sa.CheckConstraint(
            "family(private) = 4 AND family(public_first) = 4 AND family(public_last) = 4",
            name=op.f("ck_cgnat_plan_family"),
        ),
        sa.CheckConstraint(
            "first_port BETWEEN 1 AND 65535 AND last_port BETWEEN first_port AND 65535", name=op.f("ck_cgnat_plan_span")
        ),
        sa.CheckConstraint("ports BETWEEN 1 AND last_port - first_port + 1", name=op.f("ck_cgnat_plan_ports")),
        sa.CheckConstraint("public_first <= public_last", name=op.f("ck_cgnat_plan_public")),
        sa.CheckConstraint("valid_until IS NULL OR valid_until >= valid_from", name=op.f("ck_cgnat_plan_valid")),
        sa.ForeignKeyConstraint(["follows_id"], ["cgnat_plan.id"], name=op.f("fk_cgnat_plan_follows_id_cgnat_plan")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_cgnat_plan_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cgnat_plan")),
    )
    op.create_index(
        "ix_cgnat_plan_operator_id",
        "cgnat_plan",
        ["operator_id", sa.literal_column("valid_from DESC"), "id"],
        unique=False,
    )
    op.create_table(
        "retention_rule",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.CheckConstraint("days BETWEEN 1 AND 36500", name=op.f("ck_retention_rule_days")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_retention_rule_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "kind", name=op.f("pk_retention_rule")),
    )
    op.create_table(
        "retention_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("partitions", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_retention_run_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_run")),
    )
    op.create_index(
        "ix_retention_run_operator_id",
        "retention_run",
        ["operator_id", "kind", sa.literal_column("began_at DESC")],
        unique=False,
    )
    op.create_index(
        "uq_retention_run_open",
        "retention_run",
        ["operator_id", "kind"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "retention_hold",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_retention_hold_reason")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_retention_hold_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_retention_hold_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_hold")),
    )
    op.create_index(
        "ix_retention_hold_operator_id",
        "retention_hold",
        ["operator_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_index(
        "uq_retention_hold_standing",
        "retention_hold",
        ["subscriber_id"],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "subscriber_removal",
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erase_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("services", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trouble", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_subscriber_removal_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_subscriber_removal_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("pk_subscriber_removal")),
    )
    op.create_index(
        "ix_subscriber_removal_erase_at",
        "subscriber_removal",
        ["erase_at"],
        unique=False,
        postgresql_where=sa.text("erased_at IS NULL"),
    )
    op.create_index(
        "ix_subscriber_removal_operator_id",
        "subscriber_removal",
        ["operator_id", sa.literal_column("removed_at DESC"), "subscriber_id"],
        unique=False,
    )
    op.execute("ALTER TABLE subscriber ADD COLUMN IF NOT EXISTS removed_at timestamptz")
    op.execute(SEARCH)
    # A lookup compares prefixes for equality, some two hundred at a time, because that is all that row-level security
    # lets an index serve. By GiST this took more than a second among a million sessions.
    for column in ("delegated_ipv6_prefix", "framed_ipv6_prefix"):
        op.drop_index(f"ix_session_{column}", "session")
        op.create_index(
            f"ix_session_{column}",
            "session",
            ["operator_id", column, sa.literal_column("started_at DESC")],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    protect("retention_rule", "SELECT, INSERT, UPDATE (days), DELETE")
    protect("retention_hold", "SELECT, INSERT, UPDATE (lifted_at, lifted_by)")
    protect("retention_run", "SELECT")
    protect("subscriber_removal", "SELECT, INSERT, DELETE")
    protect("cgnat_plan", "SELECT, INSERT, UPDATE (valid_until)")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
