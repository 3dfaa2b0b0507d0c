"""Tokens of the API, and answers remembered by idempotency key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "api_token": "SELECT, INSERT, UPDATE (last_used_at, last_used_from, revoked_at)",
    "api_answer": "SELECT, INSERT, DELETE",
}

# Who asks for what changed since asks by this. No index: it would have to be written with each change of a row.
UPDATED_AT = """
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_from", sa.String(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("ck_api_token_scopes")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_api_token_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_api_token_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
    )
    op.create_index("uq_api_token_prefix", "api_token", ["operator_id", "prefix"], unique=True)
    op.create_index("ix_api_token_staff_id", "api_token", ["staff_id"], unique=False)
    op.create_table(
        "api_answer",
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_api_answer_operator_id_operator")),
        sa.ForeignKeyConstraint(["token_id"], ["api_token.id"], name=op.f("fk_api_answer_token_id_api_token")),
        sa.PrimaryKeyConstraint("token_id", "key", name=op.f("pk_api_answer")),
    )
    op.create_index("ix_api_answer_created_at", "api_answer", ["created_at"], unique=False)
    op.create_index("ix_api_answer_operator_id", "api_answer", ["operator_id"], unique=False)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    op.execute(UPDATED_AT)
    for table in ("subscriber", "service"):
        column = sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
        op.add_column(table, column)
        op.execute(f"CREATE TRIGGER updated BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION set_updated_at()")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
