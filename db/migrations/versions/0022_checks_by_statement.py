"""What guards the books looks at each statement once, not at each row.

A line belongs to the operator of its invoice or entry, which belongs to one: that is compared instead of looked up. An
invoice is refused in the statement that does not bring all of its lines and taxes, no longer at the commit.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# `enable_seqscan = off`: plans may be made when a table is empty, and are kept by the connection. Without it, each
# statement would read the whole table later on.
LEDGER = """
DROP TRIGGER sealed ON ledger_line;
DROP FUNCTION refuse_sealed_line();
CREATE FUNCTION check_ledger_lines() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
-- Lines come with their entry, in its transaction, and are of its operator.
DECLARE
    wrong bigint;
BEGIN
    SELECT added.entry_id INTO wrong FROM added JOIN ledger_entry e ON e.id = added.entry_id
    WHERE e.hash IS NOT NULL OR e.operator_id <> added.operator_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % is sealed, or another operator''s', wrong USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sealed AFTER INSERT ON ledger_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_ledger_lines();
"""

INVOICES = """
DROP TRIGGER issued ON invoice_line;
DROP TRIGGER issued ON invoice_tax;
DROP FUNCTION refuse_late_line();
DROP TRIGGER sum ON invoice;
DROP FUNCTION check_invoice_sum();

CREATE FUNCTION wrong_sum(wanted bigint[]) RETURNS bigint
LANGUAGE sql STABLE AS $$
    -- One of these invoices whose lines or taxes are not its sum.
    SELECT i.id FROM public.invoice i
    CROSS JOIN LATERAL (SELECT sum(net) AS net, sum(tax) AS tax FROM public.invoice_line WHERE invoice_id = i.id) l
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount), 0) AS tax FROM public.invoice_tax WHERE invoice_id = i.id
    ) t
    WHERE i.id = ANY (wanted)
      AND (l.net IS DISTINCT FROM i.net OR l.tax IS DISTINCT FROM i.tax OR t.tax <> i.tax) LIMIT 1
$$;
REVOKE ALL ON FUNCTION wrong_sum(bigint[]) FROM PUBLIC;

CREATE FUNCTION check_invoices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    wrong bigint := wrong_sum((SELECT array_agg(id) FROM added));
BEGIN
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the lines of invoice % are not its sum', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sum AFTER INSERT ON invoice REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_invoices();

CREATE FUNCTION check_invoice_parts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
-- Lines and taxes come with their invoice, in its transaction, and are of its operator.
DECLARE
    wrong bigint;
BEGIN
    SELECT added.invoice_id INTO wrong FROM added JOIN invoice i ON i.id = added.invoice_id
    WHERE i.created_at <> now() OR i.operator_id <> added.operator_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'invoice % is issued, or another operator''s', wrong USING ERRCODE = 'insufficient_privilege';
    END IF;
    wrong := wrong_sum((SELECT array_agg(DISTINCT invoice_id) FROM added));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the lines of invoice % are not its sum', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER issued AFTER INSERT ON invoice_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_invoice_parts();
CREATE TRIGGER issued AFTER INSERT ON invoice_tax REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_invoice_parts();
"""


def upgrade() -> None:
    op.execute(LEDGER)
    op.execute(INVOICES)
    for table in ("ledger_line", "invoice_line", "invoice_tax"):
        op.drop_constraint(op.f(f"fk_{table}_operator_id_operator"), table)
    for setting in ("enable_seqscan", "enable_sort"):
        op.execute(f"ALTER FUNCTION chain_audit_entry() SET {setting} = off")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
