"""What is kept on routers by the API: triggers make pending what changed, and wake the workers."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

PENDING = """
CREATE FUNCTION queues_of_services_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- A queue service came, went, moved to another router or got another address: both routers are concerned.
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
        SELECT nas_id, id, operator_id, now() FROM after_rows
        WHERE access_method = 'queue' AND nas_id IS NOT NULL AND state <> 'terminated'
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
        ON CONFLICT (nas_id, service_id) DO UPDATE
        SET changes = router_queue.changes + 1, pending_since = coalesce(router_queue.pending_since, now());
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('portico_provision', '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER keep_queues_insert AFTER INSERT ON service REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION queues_of_services_changed();
CREATE TRIGGER keep_queues_update AFTER UPDATE ON service REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION queues_of_services_changed();

CREATE FUNCTION queues_of_grants_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- The standing decision of a queue service became another one.
BEGIN
    INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
    SELECT service.nas_id, service.id, service.operator_id, now()
    FROM after_rows JOIN service ON service.id = after_rows.service_id
    WHERE service.access_method = 'queue' AND service.nas_id IS NOT NULL AND service.state <> 'terminated'
    ON CONFLICT (nas_id, service_id) DO UPDATE
    SET changes = router_queue.changes + 1, pending_since = coalesce(router_queue.pending_since, now());
    IF FOUND THEN
        PERFORM pg_notify('portico_provision', '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER keep_queues_insert AFTER INSERT ON service_grant REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION queues_of_grants_changed();
CREATE TRIGGER keep_queues_update AFTER UPDATE ON service_grant REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION queues_of_grants_changed();

CREATE FUNCTION router_may_be_back() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- A router whose access somebody corrected, or that was seen again, is not waited for any longer.
BEGIN
    UPDATE router_sync SET next_attempt_at = now() WHERE nas_id = NEW.nas_id AND next_attempt_at > now();
    PERFORM pg_notify('portico_provision', '');
    RETURN NULL;
END $$;

CREATE TRIGGER keep_queues_insert AFTER INSERT ON router FOR EACH ROW EXECUTE FUNCTION router_may_be_back();
CREATE TRIGGER keep_queues_update AFTER UPDATE ON router FOR EACH ROW
WHEN ((OLD.api_address, OLD.api_port, OLD.api_tls, OLD.api_fingerprint, OLD.api_user, OLD.api_password)
      IS DISTINCT FROM
      (NEW.api_address, NEW.api_port, NEW.api_tls, NEW.api_fingerprint, NEW.api_user, NEW.api_password))
EXECUTE FUNCTION router_may_be_back();
CREATE TRIGGER keep_queues_seen AFTER UPDATE OF status ON router_state FOR EACH ROW
WHEN (NEW.status = 'online' AND OLD.status <> 'online') EXECUTE FUNCTION router_may_be_back();
"""

BEFORE = """
INSERT INTO router_queue (nas_id, service_id, operator_id, pending_since)
SELECT nas_id, id, operator_id, now() FROM service
WHERE access_method = 'queue' AND nas_id IS NOT NULL AND state <> 'terminated'
"""


def upgrade() -> None:
    op.create_table(
        "router_queue",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("pending_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_router_queue_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_queue_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_router_queue_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("nas_id", "service_id", name=op.f("pk_router_queue")),
    )
    op.create_index("ix_router_queue_operator_id", "router_queue", ["operator_id"], unique=False)
    op.create_index("ix_router_queue_service_id", "router_queue", ["service_id"], unique=False)
    op.create_index(
        "ix_router_queue_pending",
        "router_queue",
        ["nas_id"],
        unique=False,
        postgresql_where=sa.text("pending_since IS NOT NULL"),
    )
    op.create_table(
        "router_sync",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.Column("queues", sa.Integer(), server_default="0", nullable=False),
        sa.Column("foreign_queues", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_router_sync_attempts")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_router_sync_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_router_sync_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", name=op.f("pk_router_sync")),
    )
    op.create_index("ix_router_sync_operator_id", "router_sync", ["operator_id"], unique=False)
    op.create_table(
        "queue_drift",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.String(), server_default="", nullable=False),
        sa.Column("wanted", sa.String(), server_default="", nullable=False),
        sa.Column("found", sa.String(), server_default="", nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_queue_drift_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_queue_drift_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", "service_id", "field", name=op.f("pk_queue_drift")),
    )
    op.create_index("ix_queue_drift_operator_id", "queue_drift", ["operator_id"], unique=False)
    op.create_index(
        "uq_service_queue_address",
        "service",
        ["nas_id", "framed_ip"],
        unique=True,
        postgresql_where=sa.text("access_method = 'queue' AND state <> 'terminated'"),
    )
    op.drop_constraint("ck_enforcement_order_kind", "enforcement_order")
    op.create_check_constraint(
        op.f("ck_enforcement_order_kind"), "enforcement_order", "kind IN ('coa', 'disconnect', 'api')"
    )
    op.execute(PENDING)
    op.execute(BEFORE)
    for table in ("router_queue", "router_sync", "queue_drift"):
        protect(table, "SELECT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
