"""Billing: what is billed of each service, invoices that are never changed, the ledger.

PostgreSQL itself holds what must never be wrong: no day of a service is billed twice (an exclusion constraint), an
issued invoice stays as it is, a ledger entry balances and follows from the one before it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "billing_settings": "SELECT, INSERT, UPDATE",
    "tax_rate": "SELECT, INSERT, UPDATE",
    "service_billing": "SELECT, INSERT, UPDATE",
    "service_period": 'SELECT, INSERT, UPDATE ("last", net, invoice_id, cancelled_at)',
    "charge": "SELECT, INSERT, UPDATE (invoice_id, cancelled_at, ends_on)",
    "coupon": "SELECT, INSERT, UPDATE",
    "discount": "SELECT, INSERT, UPDATE (months_left, ended_at)",
    "document_series": "SELECT, INSERT, UPDATE",
    "invoice": "SELECT, INSERT, UPDATE (paid, credited)",
    "invoice_line": "SELECT, INSERT",
    "invoice_tax": "SELECT, INSERT",
    "credit_note": "SELECT, INSERT",
    "ledger_account": "SELECT, INSERT, UPDATE",
    "ledger_entry": "SELECT, INSERT",
    "ledger_line": "SELECT, INSERT",
}
DRAWN = ("invoice_id_seq", "ledger_entry_id_seq", "service_period_id_seq")
"""Sequences that numbers are drawn from before the rows are written."""

DOCUMENTS = """
CREATE TRIGGER issued BEFORE UPDATE OF id, operator_id, subscriber_id, service_id, kind, prefix, number, issued_on,
    due_on, period_first, period_last, currency, net, tax, total, details, created_at ON invoice
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER issued_removal BEFORE DELETE ON invoice FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_late_line() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Lines come with their invoice, in its transaction.
BEGIN
    IF (SELECT created_at FROM invoice WHERE id = NEW.invoice_id) IS DISTINCT FROM now() THEN
        RAISE EXCEPTION 'invoice % is issued', NEW.invoice_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER issued BEFORE INSERT ON invoice_line FOR EACH ROW EXECUTE FUNCTION refuse_late_line();
CREATE TRIGGER issued BEFORE INSERT ON invoice_tax FOR EACH ROW EXECUTE FUNCTION refuse_late_line();

CREATE FUNCTION check_invoice_sum() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM (SELECT sum(net) AS net, sum(tax) AS tax FROM invoice_line WHERE invoice_id = NEW.id) AS lines,
                    (SELECT coalesce(sum(amount), 0) AS tax FROM invoice_tax WHERE invoice_id = NEW.id) AS taxes
        WHERE lines.net = NEW.net AND lines.tax = NEW.tax AND taxes.tax = NEW.tax
    ) THEN
        RAISE EXCEPTION 'the lines of invoice % are not its sum', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sum AFTER INSERT ON invoice DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_invoice_sum();
"""

LEDGER = """
CREATE FUNCTION ledger_document(entry ledger_entry, number bigint) RETURNS bytea
LANGUAGE sql STABLE AS $$
    -- An entry and all of its lines, as they are hashed. Names are qualified rather than found by a search path of
    -- its own, which would cost as much as the rest.
    SELECT convert_to(jsonb_build_array(
        entry.id, entry.operator_id, number, entry.booked_on, entry.kind, entry.source, entry.source_id,
        entry.currency, entry.reason, extract(epoch FROM entry.created_at),
        (SELECT jsonb_agg(jsonb_build_array(position, account, subscriber_id, amount::text) ORDER BY position)
         FROM public.ledger_line WHERE entry_id = entry.id))::text, 'UTF8')
$$;

CREATE FUNCTION ledger_hash(previous bytea, entry ledger_entry) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(coalesce(previous, ''::bytea) || public.ledger_document(entry, entry.number))
$$;

CREATE FUNCTION seal_ledger_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Runs when the transaction commits, and seals all entries that it made for the operator at once: those that are not
-- sealed and can be seen are its own. One operator's entries are sealed by one transaction after the other.
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
        SELECT e.id, ledger_document(e, last_number + row_number() OVER (ORDER BY e.id)) AS document
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

CREATE FUNCTION refuse_sealed_line() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger_entry WHERE id = NEW.entry_id AND hash IS NOT NULL) THEN
        RAISE EXCEPTION 'entry % is sealed', NEW.entry_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION begin_ledger_entry() RETURNS trigger LANGUAGE plpgsql AS $$
-- Number and hash are nobody's to choose.
BEGIN
    NEW.number := NULL;
    NEW.hash := NULL;
    NEW.created_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER begin BEFORE INSERT ON ledger_entry FOR EACH ROW EXECUTE FUNCTION begin_ledger_entry();
CREATE CONSTRAINT TRIGGER seal AFTER INSERT ON ledger_entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION seal_ledger_entries();
CREATE TRIGGER append_only_update BEFORE UPDATE ON ledger_entry
    FOR EACH ROW WHEN (OLD.hash IS NOT NULL) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE ON ledger_entry FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON ledger_entry EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sealed BEFORE INSERT ON ledger_line FOR EACH ROW EXECUTE FUNCTION refuse_sealed_line();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_line FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON ledger_line EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entry, ledger_line FROM portico_system;
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "billing_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("cut_off", sa.String(), server_default="operator", nullable=False),
        sa.Column("timing", sa.String(), server_default="advance", nullable=False),
        sa.Column("months", sa.Integer(), server_default="1", nullable=False),
        sa.Column("first_period", sa.String(), server_default="prorated", nullable=False),
        sa.Column("issue_days", sa.Integer(), server_default="5", nullable=False),
        sa.Column("issue_hour", sa.Integer(), server_default="6", nullable=False),
        sa.Column("due_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_due_days", sa.Integer(), server_default="5", nullable=False),
        sa.Column("bill_suspended", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("late_fee_percent", sa.Numeric(precision=7, scale=4), server_default="0", nullable=False),
        sa.Column("late_fee_amount", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column("late_fee_days", sa.Integer(), server_default="5", nullable=False),
        sa.Column("promise_days", sa.Integer(), server_default="7", nullable=False),
        sa.Column("promises_a_year", sa.Integer(), server_default="3", nullable=False),
        sa.Column("require_cash_desk", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("legal_name", sa.String(), server_default="", nullable=False),
        sa.Column("tax_id", sa.String(), server_default="", nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("phone", sa.String(), server_default="", nullable=False),
        sa.Column("email", sa.String(), server_default="", nullable=False),
        sa.Column("invoice_note", sa.String(), server_default="", nullable=False),
        sa.Column("receipt_note", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("cut_off IN ('operator', 'anchor')", name=op.f("ck_billing_settings_cut_off")),
        sa.CheckConstraint(
            "first_period IN ('prorated', 'free', 'full')", name=op.f("ck_billing_settings_first_period")
        ),
        sa.CheckConstraint("timing IN ('advance', 'arrears')", name=op.f("ck_billing_settings_timing")),
        sa.CheckConstraint(
            "due_days BETWEEN 0 AND 60 AND first_due_days BETWEEN 0 AND 60", name=op.f("ck_billing_settings_due_days")
        ),
        sa.CheckConstraint("issue_days BETWEEN 0 AND 60", name=op.f("ck_billing_settings_issue_days")),
        sa.CheckConstraint("issue_hour BETWEEN 0 AND 23", name=op.f("ck_billing_settings_issue_hour")),
        sa.CheckConstraint("late_fee_days BETWEEN 0 AND 365", name=op.f("ck_billing_settings_late_fee_days")),
        sa.CheckConstraint(
            "late_fee_percent BETWEEN 0 AND 100 AND late_fee_amount >= 0", name=op.f("ck_billing_settings_late_fee")
        ),
        sa.CheckConstraint("months BETWEEN 1 AND 12", name=op.f("ck_billing_settings_months")),
        sa.CheckConstraint(
            "promise_days BETWEEN 0 AND 90 AND promises_a_year BETWEEN 0 AND 100",
            name=op.f("ck_billing_settings_promises"),
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_billing_settings_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_billing_settings")),
    )
    op.create_table(
        "coupon",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=7, scale=4), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("months", sa.Integer(), nullable=True),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(percent IS NULL) <> (amount IS NULL)", name=op.f("ck_coupon_what")),
        sa.CheckConstraint("months > 0 AND uses_left >= 0", name=op.f("ck_coupon_counts")),
        sa.CheckConstraint("percent BETWEEN 0 AND 100 AND amount >= 0", name=op.f("ck_coupon_range")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_coupon_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon")),
    )
    op.create_index("uq_coupon_code", "coupon", ["operator_id", sa.literal_column("upper(code)")], unique=True)
    op.create_table(
        "document_series",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), server_default="", nullable=False),
        sa.Column("next_number", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note', 'receipt')", name=op.f("ck_document_series_kind")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_document_series_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "kind", name=op.f("pk_document_series")),
    )
    op.create_table(
        "ledger_account",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ledger_account_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "account", name=op.f("pk_ledger_account")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ledger_entry_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
    )
    op.create_index("ix_ledger_entry_booked_on", "ledger_entry", ["operator_id", "booked_on"], unique=False)
    op.create_index("ix_ledger_entry_source", "ledger_entry", ["source_id", "source"], unique=False)
    op.create_index("uq_ledger_entry_number", "ledger_entry", ["operator_id", "number"], unique=True)
    op.create_table(
        "tax_rate",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=7, scale=4), nullable=False),
        sa.Column("included", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("rate BETWEEN 0 AND 100", name=op.f("ck_tax_rate_rate")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_tax_rate_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rate")),
    )
    op.create_index("ix_tax_rate_operator_id", "tax_rate", ["operator_id"], unique=False)
    op.create_table(
        "ledger_line",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.CheckConstraint(
            "account IN ('receivable', 'credit', 'income', 'late_fees', 'tax', 'cash', 'bank', 'card', 'collectors', 'commissions', 'expenses', 'cash_difference')",
            name=op.f("ck_ledger_line_account"),
        ),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_line_amount")),
        sa.ForeignKeyConstraint(["entry_id"], ["ledger_entry.id"], name=op.f("fk_ledger_line_entry_id_ledger_entry")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ledger_line_operator_id_operator")),
        sa.PrimaryKeyConstraint("entry_id", "position", name=op.f("pk_ledger_line")),
    )
    op.create_index(
        "ix_ledger_line_subscriber_id",
        "ledger_line",
        ["subscriber_id", "account"],
        unique=False,
        postgresql_where=sa.text("subscriber_id IS NOT NULL"),
    )
    op.create_table(
        "discount",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=7, scale=4), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("months_left", sa.Integer(), nullable=True),
        sa.Column("coupon_id", sa.BigInteger(), nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(percent IS NULL) <> (amount IS NULL)", name=op.f("ck_discount_what")),
        sa.CheckConstraint("months_left >= 0", name=op.f("ck_discount_months_left")),
        sa.CheckConstraint("percent BETWEEN 0 AND 100 AND amount >= 0", name=op.f("ck_discount_range")),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupon.id"], name=op.f("fk_discount_coupon_id_coupon")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_discount_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_discount_service_id_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discount")),
    )
    op.create_index(
        "ix_discount_service_id", "discount", ["service_id"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("period_first", sa.Date(), nullable=True),
        sa.Column("period_last", sa.Date(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("net", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("tax", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("paid", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column("credited", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column(
            "open",
            sa.Numeric(precision=16, scale=4),
            sa.Computed("total - paid - credited", persisted=True),
            nullable=False,
        ),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('period', 'charges')", name=op.f("ck_invoice_kind")),
        sa.CheckConstraint("net + tax = total AND total >= 0", name=op.f("ck_invoice_sum")),
        sa.CheckConstraint("paid >= 0 AND credited >= 0 AND paid + credited <= total", name=op.f("ck_invoice_settled")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_invoice_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_invoice_service_id_service")),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name=op.f("fk_invoice_subscriber_id_subscriber")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
    )
    op.create_index(
        "ix_invoice_open",
        "invoice",
        ["operator_id", "due_on", "id"],
        unique=False,
        postgresql_where=sa.text("paid + credited < total"),
    )
    op.create_index(
        "ix_invoice_operator_id",
        "invoice",
        ["operator_id", sa.literal_column("issued_on DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_invoice_service_id", "invoice", ["service_id", "id"], unique=False)
    op.create_index("ix_invoice_subscriber_id", "invoice", ["subscriber_id", "id"], unique=False)
    op.create_index("uq_invoice_number", "invoice", ["operator_id", "prefix", "number"], unique=True)
    op.create_table(
        "service_billing",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("anchor_day", sa.Integer(), nullable=False),
        sa.Column("months", sa.Integer(), nullable=True),
        sa.Column("timing", sa.String(), nullable=True),
        sa.Column("price", sa.Numeric(precision=16, scale=4), nullable=True),
        sa.Column("tax_exempt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("started_on", sa.Date(), nullable=False),
        sa.Column("next_from", sa.Date(), nullable=False),
        sa.Column("next_issue_on", sa.Date(), nullable=False),
        sa.Column("stopped_on", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("timing IN ('advance', 'arrears')", name=op.f("ck_service_billing_timing")),
        sa.CheckConstraint("anchor_day BETWEEN 1 AND 31", name=op.f("ck_service_billing_anchor_day")),
        sa.CheckConstraint("months BETWEEN 1 AND 12", name=op.f("ck_service_billing_months")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_service_billing_price")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_service_billing_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_service_billing_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_service_billing_service_id_service")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_service_billing_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_service_billing")),
    )
    op.create_index(
        "ix_service_billing_due",
        "service_billing",
        ["operator_id", "next_issue_on", "service_id"],
        unique=False,
        postgresql_where=sa.text("stopped_on IS NULL"),
    )
    op.create_index("ix_service_billing_subscriber_id", "service_billing", ["subscriber_id"], unique=False)
    op.create_table(
        "charge",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("tax_exempt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("source_invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount >= 0 OR kind = 'plan'", name=op.f("ck_charge_amount")),
        sa.CheckConstraint("kind IN ('one_off', 'recurring', 'late_fee', 'plan')", name=op.f("ck_charge_kind")),
        sa.CheckConstraint("ends_on >= starts_on", name=op.f("ck_charge_order")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_charge_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_charge_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_charge_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_charge_service_id_service")),
        sa.ForeignKeyConstraint(
            ["source_invoice_id"], ["invoice.id"], name=op.f("fk_charge_source_invoice_id_invoice")
        ),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name=op.f("fk_charge_subscriber_id_subscriber")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
    )
    op.create_index("ix_charge_invoice_id", "charge", ["invoice_id"], unique=False)
    op.create_index(
        "ix_charge_waiting",
        "charge",
        ["subscriber_id"],
        unique=False,
        postgresql_where=sa.text("invoice_id IS NULL AND cancelled_at IS NULL"),
    )
    op.create_index(
        "uq_charge_late_fee",
        "charge",
        ["source_invoice_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'late_fee'"),
    )
    op.create_table(
        "credit_note",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("net", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("tax", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("taxes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("net + tax = total AND total > 0", name=op.f("ck_credit_note_sum")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_credit_note_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_credit_note_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_credit_note_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note")),
    )
    op.create_index("ix_credit_note_invoice_id", "credit_note", ["invoice_id"], unique=False)
    op.create_index("ix_credit_note_subscriber_id", "credit_note", ["subscriber_id", "id"], unique=False)
    op.create_index("uq_credit_note_number", "credit_note", ["operator_id", "prefix", "number"], unique=True)
    op.create_table(
        "invoice_line",
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("first", sa.Date(), nullable=True),
        sa.Column("last", sa.Date(), nullable=True),
        sa.Column("net", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("tax", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.CheckConstraint("net + tax = total", name=op.f("ck_invoice_line_sum")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_line_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_invoice_line_operator_id_operator")),
        sa.PrimaryKeyConstraint("invoice_id", "position", name=op.f("pk_invoice_line")),
    )
    op.create_table(
        "invoice_tax",
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=7, scale=4), nullable=False),
        sa.Column("base", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_tax_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_invoice_tax_operator_id_operator")),
        sa.PrimaryKeyConstraint("invoice_id", "position", name=op.f("pk_invoice_tax")),
    )
    op.create_table(
        "service_period",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("last", sa.Date(), nullable=False),
        sa.Column("net", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.column("service_id"), "="),
            (sa.text('daterange("first", "last", \'[]\')'), "&&"),
            where=sa.text("cancelled_at IS NULL"),
            using="gist",
            name="ex_service_period_days",
        ),
        sa.CheckConstraint('"last" >= "first"', name=op.f("ck_service_period_order")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_service_period_invoice_id_invoice")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_service_period_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_service_period_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_service_period_service_id_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_period")),
    )
    op.create_index("ix_service_period_invoice_id", "service_period", ["invoice_id"], unique=False)
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    for sequence in DRAWN:
        op.execute(f"GRANT USAGE ON SEQUENCE {sequence} TO portico_portal")
    op.execute(DOCUMENTS)
    for table in ("invoice_line", "invoice_tax", "credit_note"):
        op.execute(
            f"CREATE TRIGGER issued_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in ("invoice", "invoice_line", "invoice_tax", "credit_note"):
        op.execute(f"CREATE TRIGGER issued_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()")
    op.execute(LEDGER)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
