"""Who makes an order, the worker or a person in the portal, tells the workers so in the moment it is committed."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NOTIFY = """
CREATE FUNCTION tell_of_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('portico_order', '');
    RETURN NULL;
END $$;

CREATE TRIGGER tell AFTER INSERT ON enforcement_order FOR EACH STATEMENT EXECUTE FUNCTION tell_of_orders();
"""


def upgrade() -> None:
    op.execute(NOTIFY)


def downgrade() -> None:
    op.execute("DROP TRIGGER tell ON enforcement_order")
    op.execute("DROP FUNCTION tell_of_orders()")
