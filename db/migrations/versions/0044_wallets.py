"""Bundles, and money paid before it is used."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

# What a commit does for each entry, without calling a function of SQL for it, which costs more than the hash.
SEAL = """
CREATE OR REPLACE FUNCTION seal_ledger_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
-- Runs when the transaction commits, and seals all entries that it made for the operator at once: those that are not
-- sealed and can be seen are its own. One operator's entries are sealed by one transaction after the other. A document
-- is what ledger_document() says it is.
DECLARE
    entry record;
    last_number bigint;
    last_hash bytea;
    ids bigint[] := '{}';
    numbers bigint[] := '{}';
    hashes bytea[] := '{}';
BEGIN
    IF (SELECT hash IS NOT NULL FROM ledger_entry WHERE id = NEW.id) THEN
        RETURN NULL;
    END IF;
    SELECT e.id, count(l.amount) AS lines, sum(l.amount) AS balance INTO entry
    FROM ledger_entry e LEFT JOIN ledger_line l ON l.entry_id = e.id AND l.operator_id = e.operator_id
    WHERE e.id >= NEW.id AND e.operator_id = NEW.operator_id AND e.hash IS NULL
    GROUP BY e.id HAVING count(l.amount) < 2 OR sum(l.amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % does not balance: % lines, sum %', entry.id, entry.lines, entry.balance
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(7462, NEW.operator_id::integer);
    SELECT number, hash INTO last_number, last_hash FROM ledger_entry
    WHERE operator_id = NEW.operator_id AND number IS NOT NULL ORDER BY number DESC LIMIT 1;
    last_number := coalesce(last_number, 0);
    FOR entry IN
        SELECT e.id, convert_to(jsonb_build_array(
            e.id, e.operator_id, last_number + row_number() OVER (ORDER BY e.id), e.booked_on, e.kind, e.source,
            e.source_id, e.currency, e.reason, extract(epoch FROM e.created_at),
            (SELECT jsonb_agg(jsonb_build_array(position, account, subscriber_id, amount::text) ORDER BY position)
             FROM ledger_line WHERE entry_id = e.id))::text, 'UTF8') AS document
        FROM ledger_entry e WHERE e.id >= NEW.id AND e.operator_id = NEW.operator_id AND e.hash IS NULL ORDER BY e.id
    LOOP
        last_number := last_number + 1;
        last_hash := sha256(coalesce(last_hash, ''::bytea) || entry.document);
        ids := ids || entry.id;
        numbers := numbers || last_number;
        hashes := hashes || last_hash;
    END LOOP;
    UPDATE ledger_entry e SET number = s.number, hash = s.hash
    FROM unnest(ids, numbers, hashes) AS s (id, number, hash) WHERE e.id = s.id;
    RETURN NULL;
END $$;
"""
# Their plans are kept by the connection, too, and may be made when the documents are few (see 0022). Without the sort
# and hash joins no plan is left that reads all documents for the few of a statement.
JOINED = (
    "sum_invoice_update",
    "sum_invoice_line_insert",
    "sum_invoice_tax_insert",
    "sum_payment_update",
    "check_ledger_lines",
    "check_invoice_parts",
)


def upgrade() -> None:
    op.execute(SEAL)
    for name in JOINED:
        for setting in ("enable_seqscan", "enable_mergejoin", "enable_hashjoin"):
            op.execute(f"ALTER FUNCTION {name}() SET {setting} = off")
    _prepaid()
    _bundles()
    op.add_column("gateway_event", sa.Column("provider_payment", sa.String(), nullable=True))
    # What a list may be sorted by, or the first page of a million is a sort of them all.
    op.create_index("ix_invoice_due_on", "invoice", ["operator_id", "due_on", "id"])
    op.create_index("ix_invoice_total", "invoice", ["operator_id", "total", "id"])
    op.create_index("ix_invoice_open_sum", "invoice", ["operator_id", "open", "id"])
    op.create_index("ix_payment_amount", "payment", ["operator_id", "amount", "id"])


def _prepaid() -> None:
    false = sa.text("false")
    op.add_column("service", sa.Column("prepaid", sa.Boolean(), server_default=false, nullable=False))
    op.create_index("ix_service_prepaid", "service", ["operator_id", "id"], postgresql_where=sa.text("prepaid"))
    op.add_column("service_billing", sa.Column("reminded_until", sa.Date(), nullable=True))
    op.add_column("billing_settings", sa.Column("prepaid", sa.Boolean(), server_default=false, nullable=False))
    op.add_column(
        "billing_settings", sa.Column("prepaid_notice_days", sa.Integer(), server_default="3", nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_billing_settings_prepaid_notice"), "billing_settings", "prepaid_notice_days BETWEEN 0 AND 30"
    )


def _bundles() -> None:
    op.create_table(
        "plan_item",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("once", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tax_exempt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("NOT once OR price IS NOT NULL", name=op.f("ck_plan_item_once")),
        sa.CheckConstraint("price > 0", name=op.f("ck_plan_item_price")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_plan_item_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_plan_item_plan_id_rate_plan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_item")),
    )
    op.create_index("ix_plan_item_plan_id", "plan_item", ["plan_id"], postgresql_where=sa.text("ended_at IS NULL"))
    protect("plan_item", "SELECT, INSERT, UPDATE (ended_at)")
    op.add_column(
        "service_period",
        sa.Column("exempt_net", sa.Numeric(precision=16, scale=4), server_default=sa.text("0"), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
