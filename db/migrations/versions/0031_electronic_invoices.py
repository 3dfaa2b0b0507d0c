"""Sums of each day for finance's reports; electronic invoices."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# What the sums are, computed from the documents: what fills the table, and what it is compared with.
SUMS = """
CREATE VIEW finance_sums WITH (security_invoker = true) AS
SELECT operator_id, 'invoiced' AS kind, issued_on AS day, '' AS label, 0::bigint AS ref_id, 0::bigint AS staff_id,
    0::bigint AS collector_id, 0::numeric AS rate, count(*) AS count, sum(net) AS amount, 0::numeric AS base
FROM invoice GROUP BY 1, 3
UNION ALL
SELECT operator_id, 'credited', issued_on, '', 0, 0, 0, 0, count(*), sum(net), 0 FROM credit_note GROUP BY 1, 3
UNION ALL
SELECT operator_id, 'due', due_on, '', 0, 0, 0, 0, count(*), sum(total - credited), sum(paid) FROM invoice GROUP BY 1, 3
UNION ALL
SELECT i.operator_id, 'plan', i.issued_on, finance_label(l.plan_id, l.kind, l.description), coalesce(l.plan_id, 0), 0, 0,
    0, count(DISTINCT l.invoice_id), sum(l.net), 0
FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id GROUP BY 1, 3, 4, 5
UNION ALL
SELECT operator_id, 'tax', day, name, 0, 0, 0, rate, sum(count), sum(amount), sum(base)
FROM (
    SELECT i.operator_id, i.issued_on AS day, t.name, t.rate, 1 AS count, t.amount, t.base
    FROM invoice_tax t JOIN invoice i ON i.id = t.invoice_id
    UNION ALL
    SELECT n.operator_id, n.issued_on, t.name, t.rate, 0, -t.amount, -t.base
    FROM credit_note n, jsonb_to_recordset(n.taxes) AS t (name text, rate numeric, base numeric, amount numeric)
) AS taxes GROUP BY 1, 3, 4, 8
UNION ALL
SELECT operator_id, 'paid', paid_on, '', method_id, coalesce(staff_id, 0), coalesce(collector_id, 0), 0, count(*),
    sum(amount - refunded), 0
FROM payment WHERE voided_at IS NULL GROUP BY 1, 3, 5, 6, 7
"""

LABEL = """
CREATE FUNCTION finance_label(plan_id bigint, kind text, description text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    -- Under what a line is summed beside its plan. Each late fee is described by its invoice, so their kind stands for
    -- all of them.
    SELECT CASE WHEN plan_id IS NOT NULL THEN '' WHEN kind = 'late_fee' THEN kind ELSE description END
$$
"""

ADD = """
INSERT INTO finance_day AS d (operator_id, kind, day, label, ref_id, staff_id, collector_id, rate, count, amount, base)
{rows}
ON CONFLICT (operator_id, kind, day, label, ref_id, staff_id, collector_id, rate) DO UPDATE
SET count = d.count + excluded.count, amount = d.amount + excluded.amount, base = d.base + excluded.base;
"""

# For each event of a table, what it adds; `made` are the new rows and `was` the old ones.
EVENTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("invoice", "INSERT"): (
        "SELECT operator_id, 'invoiced', issued_on, '', 0, 0, 0, 0, count(*), sum(net), 0 FROM made GROUP BY 1, 3",
        "SELECT operator_id, 'due', due_on, '', 0, 0, 0, 0, count(*), sum(total - credited), sum(paid)"
        " FROM made GROUP BY 1, 3",
    ),
    ("invoice", "UPDATE"): (
        "SELECT n.operator_id, 'due', n.due_on, '', 0, 0, 0, 0, 0, sum(o.credited - n.credited), sum(n.paid - o.paid)"
        " FROM made n JOIN was o ON o.id = n.id WHERE n.paid <> o.paid OR n.credited <> o.credited GROUP BY 1, 3",
    ),
    ("invoice_line", "INSERT"): (
        "SELECT i.operator_id, 'plan', i.issued_on, finance_label(l.plan_id, l.kind, l.description),"
        " coalesce(l.plan_id, 0), 0, 0, 0, count(DISTINCT l.invoice_id), sum(l.net), 0"
        " FROM made l JOIN invoice i ON i.id = l.invoice_id GROUP BY 1, 3, 4, 5",
    ),
    ("invoice_tax", "INSERT"): (
        "SELECT i.operator_id, 'tax', i.issued_on, t.name, 0, 0, 0, t.rate, count(*), sum(t.amount), sum(t.base)"
        " FROM made t JOIN invoice i ON i.id = t.invoice_id GROUP BY 1, 3, 4, 8",
    ),
    ("credit_note", "INSERT"): (
        "SELECT operator_id, 'credited', issued_on, '', 0, 0, 0, 0, count(*), sum(net), 0 FROM made GROUP BY 1, 3",
        "SELECT n.operator_id, 'tax', n.issued_on, t.name, 0, 0, 0, t.rate, 0, -sum(t.amount), -sum(t.base)"
        " FROM made n,"
        " jsonb_to_recordset(n.taxes) AS t (name text, rate numeric, base numeric, amount numeric) GROUP BY 1, 3, 4, 8",
    ),
    ("payment", "INSERT"): (
        "SELECT operator_id, 'paid', paid_on, '', method_id, coalesce(staff_id, 0), coalesce(collector_id, 0), 0,"
        " count(*), sum(amount - refunded), 0 FROM made WHERE voided_at IS NULL GROUP BY 1, 3, 5, 6, 7",
    ),
    ("payment", "UPDATE"): (
        "SELECT n.operator_id, 'paid', n.paid_on, '', n.method_id, coalesce(n.staff_id, 0), coalesce(n.collector_id, 0),"
        " 0, sum((n.voided_at IS NULL)::int - (o.voided_at IS NULL)::int),"
        " sum(CASE WHEN n.voided_at IS NULL THEN n.amount - n.refunded ELSE 0 END"
        " - CASE WHEN o.voided_at IS NULL THEN o.amount - o.refunded ELSE 0 END), 0"
        " FROM made n JOIN was o ON o.id = n.id"
        " WHERE n.refunded <> o.refunded OR (n.voided_at IS NULL) <> (o.voided_at IS NULL) GROUP BY 1, 3, 5, 6, 7",
    ),
}


# Under row-level security an index serves no condition that might leak, as an OR of searches may: these look for
# themselves, and compare the operator.
SEARCHES = r"""
CREATE FUNCTION search_payments(query text, most integer) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's payments by the reference, the number of the receipt, or who paid.
DECLARE
    digits text := left(regexp_replace(query, '\D', '', 'g'), 15);
BEGIN
    RETURN QUERY SELECT id FROM payment
        WHERE operator_id = portico_operator() AND reference <> '' AND lower(reference) = lower(trim(query)) LIMIT most;
    IF digits <> '' AND length(query) < 20 THEN
        RETURN QUERY SELECT id FROM payment WHERE operator_id = portico_operator() AND number = digits::bigint LIMIT most;
    END IF;
    RETURN QUERY SELECT id FROM payment
        WHERE operator_id = portico_operator() AND subscriber_id = ANY (ARRAY(SELECT search_subscribers(query, most)))
        LIMIT most;
END $$;

CREATE FUNCTION search_invoices(query text, most integer) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's invoices by number or subscriber.
DECLARE
    digits text := left(regexp_replace(query, '\D', '', 'g'), 15);
BEGIN
    IF digits <> '' AND length(query) < 20 THEN
        RETURN QUERY SELECT id FROM invoice WHERE operator_id = portico_operator() AND number = digits::bigint LIMIT most;
    END IF;
    RETURN QUERY SELECT id FROM invoice
        WHERE operator_id = portico_operator() AND subscriber_id = ANY (ARRAY(SELECT search_subscribers(query, most)))
        LIMIT most;
END $$;

REVOKE ALL ON FUNCTION search_payments(text, integer), search_invoices(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_payments(text, integer), search_invoices(text, integer)
    TO portico_portal, portico_system;
"""


def upgrade() -> None:
    _sums()
    op.create_index("ix_invoice_number", "invoice", ["operator_id", "number"])
    op.create_index("ix_payment_number", "payment", ["operator_id", "number"])
    op.create_index(
        "ix_payment_reference",
        "payment",
        ["operator_id", sa.literal_column("lower(reference)")],
        postgresql_where=sa.text("reference <> ''"),
    )
    op.drop_index("ix_ledger_entry_booked_on", "ledger_entry")
    op.create_index("ix_ledger_entry_booked_on", "ledger_entry", ["operator_id", "booked_on", "number"])
    op.execute(SEARCHES)
    _electronic_invoices()
    op.drop_constraint("uq_document_batch_job_id", "document_batch")
    op.create_index("ix_document_batch_job_id", "document_batch", ["job_id"])
    op.add_column("letterhead", sa.Column("attach_pdf", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("GRANT INSERT (attach_pdf), UPDATE (attach_pdf) ON letterhead TO portico_portal")


def _sums() -> None:
    """Keep the sums beside the documents. Billing writes under one lock for each operator, so nobody waits for a day."""
    op.create_table(
        "finance_day",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("label", sa.String(), server_default="", nullable=False),
        sa.Column("ref_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("collector_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rate", sa.Numeric(precision=7, scale=4), server_default="0", nullable=False),
        sa.Column("count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=4), server_default=sa.text("0"), nullable=False),
        sa.Column("base", sa.Numeric(precision=20, scale=4), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('invoiced', 'credited', 'plan', 'tax', 'due', 'paid')", name=op.f("ck_finance_day_kind")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_finance_day_operator_id_operator")),
        sa.PrimaryKeyConstraint(
            "operator_id", "kind", "day", "label", "ref_id", "staff_id", "collector_id", "rate",
            name=op.f("pk_finance_day"),
        ),
    )  # fmt: skip
    protect("finance_day", "SELECT")
    op.execute(LABEL)
    op.execute(SUMS)
    op.execute("GRANT SELECT ON finance_sums TO portico_portal, portico_system")
    for (table, event), rows in EVENTS.items():
        name = f"sum_{table}_{event.lower()}"
        body = "".join(ADD.format(rows=each) for each in rows)
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            f" SET search_path = public, pg_temp AS $$ BEGIN {body} RETURN NULL; END $$"
        )
        old = "OLD TABLE AS was " if event == "UPDATE" else ""
        op.execute(
            f"CREATE TRIGGER sums_{event.lower()} AFTER {event} ON {table} REFERENCING {old}NEW TABLE AS made"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    op.execute("INSERT INTO finance_day SELECT * FROM finance_sums")


def _electronic_invoices() -> None:
    op.create_table(
        "einvoice_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("format", sa.String(), server_default="ubl", nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("provider_url", sa.String(), nullable=False),
        sa.Column("api_key", sa.LargeBinary(), nullable=False),
        sa.Column("emulated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_einvoice_settings_country")),
        sa.CheckConstraint("format IN ('ubl')", name=op.f("ck_einvoice_settings_format")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_einvoice_settings_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_einvoice_settings")),
    )
    protect("einvoice_settings", "SELECT, INSERT, UPDATE")
    states = "'waiting', 'sent', 'accepted', 'refused', 'cancelling', 'cancelled'"
    op.create_table(
        "einvoice",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("fiscal_id", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("cancel_refused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("xml", sa.LargeBinary(), nullable=True),
        sa.Column("stamped", sa.LargeBinary(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note')", name=op.f("ck_einvoice_kind")),
        sa.CheckConstraint(f"state IN ({states})", name=op.f("ck_einvoice_state")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_einvoice_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_einvoice")),
    )
    op.create_index(
        "ix_einvoice_due",
        "einvoice",
        ["operator_id", "next_try_at"],
        postgresql_where=sa.text("state IN ('waiting', 'sent', 'cancelling')"),
    )
    op.create_index("ix_einvoice_state", "einvoice", ["operator_id", "state", "id"])
    op.create_index("uq_einvoice_key", "einvoice", ["operator_id", "key"], unique=True)
    op.create_index("uq_einvoice_subject", "einvoice", ["operator_id", "kind", "subject_id"], unique=True)
    protect("einvoice", "SELECT, UPDATE (state, tries, next_try_at)")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
