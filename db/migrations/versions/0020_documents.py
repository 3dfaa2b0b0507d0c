"""Letterheads, files of many documents, what was sent; providers that take payments online."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "letterhead": "SELECT, INSERT, UPDATE (logo, paper, email_receipts)",
    "document_batch": "SELECT",
    "document_mail": "SELECT, INSERT",
    "gateway": "SELECT, INSERT, UPDATE (secret_key, webhook_secret, active, emulated)",
    "checkout": "SELECT, INSERT, UPDATE (state, provider_id, url, payment_id, detail, looked_at, ended_at)",
    "gateway_event": "SELECT, INSERT, UPDATE (outcome, times)",
}


def upgrade() -> None:
    op.create_table(
        "document_mail",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", name=op.f("ck_document_mail_kind")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_document_mail_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_mail")),
    )
    op.create_index("ix_document_mail_subject", "document_mail", ["operator_id", "kind", "subject_id"], unique=False)
    op.create_table(
        "letterhead",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("link_key", sa.LargeBinary(), nullable=False),
        sa.Column("logo", sa.LargeBinary(), nullable=True),
        sa.Column("paper", sa.String(), server_default="a4", nullable=False),
        sa.Column("email_receipts", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("paper IN ('a4', 'ticket')", name=op.f("ck_letterhead_paper")),
        sa.CheckConstraint("octet_length(logo) <= 300000", name=op.f("ck_letterhead_logo")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_letterhead_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_letterhead")),
    )
    op.create_table(
        "gateway",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("method_id", sa.BigInteger(), nullable=False),
        sa.Column("secret_key", sa.LargeBinary(), nullable=False),
        sa.Column("webhook_secret", sa.LargeBinary(), nullable=False),
        sa.Column("emulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('stripe', 'mercadopago')", name=op.f("ck_gateway_kind")),
        sa.ForeignKeyConstraint(["method_id"], ["payment_method.id"], name=op.f("fk_gateway_method_id_payment_method")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_gateway_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway")),
    )
    op.create_index("uq_gateway_kind", "gateway", ["operator_id", "kind"], unique=True)
    op.create_table(
        "document_batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_document_batch_job_id_job")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_document_batch_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_batch")),
        sa.UniqueConstraint("job_id", name=op.f("uq_document_batch_job_id")),
    )
    op.create_index("ix_document_batch_operator_id", "document_batch", ["operator_id", "id"], unique=False)
    op.create_table(
        "gateway_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("gateway_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_gateway_event_gateway_id_gateway")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_gateway_event_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_event")),
    )
    op.create_index("ix_gateway_event_operator_id", "gateway_event", ["operator_id", "id"], unique=False)
    op.create_index("uq_gateway_event", "gateway_event", ["gateway_id", "event_id"], unique=True)
    op.create_table(
        "checkout",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("gateway_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("provider_id", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('new', 'open', 'paid', 'mismatch', 'refused', 'ended')", name=op.f("ck_checkout_state")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_checkout_amount")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_checkout_gateway_id_gateway")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_checkout_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_checkout_operator_id_operator")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_checkout_payment_id_payment")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_checkout_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkout")),
    )
    op.create_index("ix_checkout_operator_id", "checkout", ["operator_id", "id"], unique=False)
    op.create_index("ix_checkout_subscriber_id", "checkout", ["subscriber_id", "id"], unique=False)
    op.create_index(
        "ix_checkout_waiting",
        "checkout",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('new', 'open')"),
    )
    op.create_index("uq_checkout_reference", "checkout", ["reference"], unique=True)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
