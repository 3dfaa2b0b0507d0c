"""Take the rows of router_queue in one order, whoever changes them.

The statements took them in the order in which their plans happened to yield the rows, so that a change of many
services and the decisions on the same ones could each wait for what the other held. By service first, because whoever
changes services one after the other goes by their ids, too.
"""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

SERVICES = """
CREATE OR REPLACE FUNCTION queues_of_services_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- A queue service came, went, moved to another router or got another address: both routers are concerned.
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
        SELECT nas_id, id, operator_id, now() FROM after_rows
        WHERE access_method = 'queue' AND nas_id IS NOT NULL AND state <> 'terminated'
        ORDER BY id
        ON CONFLICT (nas_id, service_id) DO UPDATE
        SET changes = router_queue.changes + 1, pending_since = coalesce(router_queue.pending_since, now());
    ELSE
        INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
        SELECT concerned.nas_id, after_rows.id, after_rows.operator_id, now()
        FROM after_rows JOIN before_rows USING (id)
        CROSS JOIN LATERAL (
            SELECT before_rows.nas_id WHERE before_rows.access_method = 'queue'
            UNION SELECT after_rows.nas_id WHERE after_rows.access_method = 'queue'
        ) concerned
        WHERE concerned.nas_id IS NOT NULL
          AND (before_rows.nas_id, before_rows.framed_ip, before_rows.access_method, before_rows.state = 'terminated')
              IS DISTINCT FROM
              (after_rows.nas_id, after_rows.framed_ip, after_rows.access_method, after_rows.state = 'terminated')
        ORDER BY after_rows.id, concerned.nas_id
        ON CONFLICT (nas_id, service_id) DO UPDATE
        SET changes = router_queue.changes + 1, pending_since = coalesce(router_queue.pending_since, now());
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('portico_provision', '');
    END IF;
    RETURN NULL;
END $$;
"""

GRANTS = """
CREATE OR REPLACE FUNCTION queues_of_grants_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- The standing decision of a queue service became another one.
BEGIN
    INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
    SELECT service.nas_id, service.id, service.operator_id, now()
    FROM after_rows JOIN service ON service.id = after_rows.service_id
    WHERE service.access_method = 'queue' AND service.nas_id IS NOT NULL AND service.state <> 'terminated'
    ORDER BY service.id
    ON CONFLICT (nas_id, service_id) DO UPDATE
    SET changes = router_queue.changes + 1, pending_since = coalesce(router_queue.pending_since, now());
    IF FOUND THEN
        PERFORM pg_notify('portico_provision', '');
    END IF;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(SERVICES)
    op.execute(GRANTS)
