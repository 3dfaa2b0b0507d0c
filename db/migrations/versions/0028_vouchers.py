"""Vouchers: batches of access codes, the codes, and their sales."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import log_changes, protect

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "voucher_settings": "SELECT, INSERT",
    "voucher_batch": "SELECT, INSERT, UPDATE (name, template, seller_staff_id, collector_id, printed_at, voided_at)",
    "voucher": "SELECT, INSERT, UPDATE (code, activated_at, voided_at, void_reason)",
    "voucher_sale": "SELECT, INSERT, UPDATE (refunded_at)",
    "voucher_print": "SELECT, DELETE",
}


def upgrade() -> None:
    op.create_table(
        "voucher_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("code_key", sa.LargeBinary(), nullable=False),
        sa.Column("stock_subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("counter_subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["counter_subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_voucher_settings_counter_subscriber_id_subscriber"),
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_voucher_settings_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["stock_subscriber_id"], ["subscriber.id"], name=op.f("fk_voucher_settings_stock_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_voucher_settings")),
    )
    op.create_table(
        "voucher_batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), server_default="", nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("lasts", sa.BigInteger(), nullable=True),
        sa.Column("online", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("octets", sa.BigInteger(), nullable=True),
        sa.Column("best_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("nas_ids", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("activation", sa.String(), server_default="sale", nullable=False),
        sa.Column("template", sa.String(), server_default="cards", nullable=False),
        sa.Column("seller_staff_id", sa.BigInteger(), nullable=True),
        sa.Column("collector_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("printed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("activation IN ('sale', 'print', 'now')", name=op.f("ck_voucher_batch_activation")),
        sa.CheckConstraint("template IN ('cards', 'strips', 'ticket')", name=op.f("ck_voucher_batch_template")),
        sa.CheckConstraint("lasts > 0 AND online > 0 AND octets > 0", name=op.f("ck_voucher_batch_limits")),
        sa.CheckConstraint("num_nulls(lasts, online, ends_at, octets) < 4", name=op.f("ck_voucher_batch_limited")),
        sa.CheckConstraint("num_nulls(seller_staff_id, collector_id) > 0", name=op.f("ck_voucher_batch_one_seller")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_voucher_batch_price")),
        sa.ForeignKeyConstraint(
            ["collector_id"], ["collector.id"], name=op.f("fk_voucher_batch_collector_id_collector")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_voucher_batch_operator_id_operator")),
        sa.ForeignKeyConstraint(["seller_staff_id"], ["staff.id"], name=op.f("fk_voucher_batch_seller_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_batch")),
    )
    op.create_index("uq_voucher_batch_name", "voucher_batch", ["operator_id", "name"], unique=True)
    op.create_table(
        "voucher",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("lookup", sa.String(), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("online_seconds", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("octets", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_reason", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["voucher_batch.id"], name=op.f("fk_voucher_batch_id_voucher_batch")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_voucher_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_voucher_service_id_service")),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_voucher")),
    )
    op.create_index(
        "ix_voucher_in_stock",
        "voucher",
        ["batch_id", "number"],
        unique=False,
        postgresql_where=sa.text("activated_at IS NULL"),
    )
    op.create_index("uq_voucher_lookup", "voucher", ["operator_id", "lookup"], unique=True)
    op.create_index("uq_voucher_number", "voucher", ["batch_id", "number"], unique=True)
    op.create_table(
        "voucher_print",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["voucher_batch.id"], name=op.f("fk_voucher_print_batch_id_voucher_batch")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_voucher_print_job_id_job")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_voucher_print_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_print")),
        sa.UniqueConstraint("job_id", name=op.f("uq_voucher_print_job_id")),
    )
    op.create_table(
        "voucher_sale",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("voucher_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("collector_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("sold_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("payment_id", sa.BigInteger(), nullable=True),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("price >= 0", name=op.f("ck_voucher_sale_price")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["voucher_batch.id"], name=op.f("fk_voucher_sale_batch_id_voucher_batch")
        ),
        sa.ForeignKeyConstraint(
            ["collector_id"], ["collector.id"], name=op.f("fk_voucher_sale_collector_id_collector")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_voucher_sale_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_voucher_sale_operator_id_operator")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_voucher_sale_payment_id_payment")),
        sa.ForeignKeyConstraint(
            ["voucher_id"], ["voucher.service_id"], name=op.f("fk_voucher_sale_voucher_id_voucher")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_sale")),
    )
    op.create_index(
        "ix_voucher_sale_operator_id", "voucher_sale", ["operator_id", sa.literal_column("sold_at DESC")], unique=False
    )
    op.create_index(
        "uq_voucher_sale_open",
        "voucher_sale",
        ["voucher_id"],
        unique=True,
        postgresql_where=sa.text("refunded_at IS NULL"),
    )
    op.create_index("uq_voucher_sale_reference", "voucher_sale", ["operator_id", "reference"], unique=True)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    log_changes("voucher", "service", "service_id")
    log_changes("voucher_settings", "operator", "operator_id")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
