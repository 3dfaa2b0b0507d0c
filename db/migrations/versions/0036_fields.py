"""Fields of an operator's own, and documents of subscribers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "custom_field",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("choices", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("listed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('text', 'number', 'date', 'choice', 'yes_no')", name=op.f("ck_custom_field_kind")),
        sa.CheckConstraint("subject IN ('subscriber', 'service')", name=op.f("ck_custom_field_subject")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_custom_field_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_field")),
    )
    op.create_index(
        "uq_custom_field_title",
        "custom_field",
        ["operator_id", "subject", sa.literal_column("lower(title)")],
        unique=True,
    )
    op.create_table(
        "subscriber_document",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('identity', 'contract', 'address', 'photo', 'other')", name=op.f("ck_subscriber_document_kind")
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["stored_file.id"], name=op.f("fk_subscriber_document_file_id_stored_file")
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_subscriber_document_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_subscriber_document_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber_document")),
    )
    op.create_index("ix_subscriber_document_file_id", "subscriber_document", ["file_id"], unique=False)
    op.create_index(
        "ix_subscriber_document_subscriber_id", "subscriber_document", ["subscriber_id", "id"], unique=False
    )
    op.create_table(
        "custom_value",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("field_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.String(), nullable=False),
        sa.CheckConstraint("num_nulls(subscriber_id, service_id) = 1", name=op.f("ck_custom_value_one_subject")),
        sa.ForeignKeyConstraint(
            ["field_id"], ["custom_field.id"], name=op.f("fk_custom_value_field_id_custom_field"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_custom_value_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_custom_value_service_id_service"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_custom_value_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_value")),
    )
    op.create_index("ix_custom_value_service_id", "custom_value", ["service_id"], unique=False)
    op.create_index("ix_custom_value_subscriber_id", "custom_value", ["subscriber_id"], unique=False)
    op.create_index("uq_custom_value_service", "custom_value", ["field_id", "service_id"], unique=True)
    op.create_index("uq_custom_value_subscriber", "custom_value", ["field_id", "subscriber_id"], unique=True)
    protect("custom_field", "SELECT, INSERT, UPDATE, DELETE")
    protect("custom_value", "SELECT, INSERT, UPDATE, DELETE")
    protect("subscriber_document", "SELECT, INSERT, UPDATE, DELETE")
    op.add_column(
        "import_row",
        sa.Column("custom", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
