"""What every table of an operator needs beside its columns: row-level security, and the portal's rights.

Migrations call this for each table they make; a test walks the catalogue and finds the ones that were forgotten.
"""

from alembic import op


def protect(table: str, rights: str) -> None:
    """Put a table with `operator_id` under row-level security and give the portal's role `rights` on it.

    `rights` is what stands in GRANT, for example `SELECT, INSERT, UPDATE (state)`; empty gives none.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenancy ON {table} TO portico_portal"
        " USING (operator_id = (SELECT portico_operator())) WITH CHECK (operator_id = (SELECT portico_operator()))"
    )
    if rights:
        op.execute(f"GRANT {rights} ON {table} TO portico_portal")


def log_changes(table: str, kind: str, column: str) -> None:
    """Have each change of a table written to `change_log` as `kind`, with the ids that stand in `column`."""
    for event, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER log_{event.lower()} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed"
            f" FOR EACH STATEMENT EXECUTE FUNCTION log_change('{kind}', '{column}')"
        )
