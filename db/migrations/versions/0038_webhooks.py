"""Webhooks, what is to be told them, and each delivery.

What happened is told by the rows that changed, not by the code that changed them: a trigger for each table writes the
events of a statement in one go, in its transaction, whether a person, a job or a billing run of a hundred thousand
made it. Where nobody listens, that is one look into a small table.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

FUNCTIONS = """
CREATE FUNCTION webhook_time(instant timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(instant AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

CREATE FUNCTION webhook_wanted(operator bigint, name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM webhook_endpoint
        WHERE operator_id = operator AND active AND events && ARRAY[name, '*'])
$$;

CREATE FUNCTION webhook_deliver() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO webhook_delivery (operator_id, event_id, endpoint_id)
    SELECT made.operator_id, made.id, endpoint.id
    FROM made JOIN webhook_endpoint endpoint ON endpoint.operator_id = made.operator_id
        AND endpoint.active AND endpoint.events && ARRAY[made.event::text, '*']
    WHERE made.event <> 'webhook.test' -- which goes to the endpoint that is tested, and no other
    ORDER BY made.id, endpoint.id;
    PERFORM pg_notify('portico_webhook', '');
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION webhook_wanted(bigint, text) FROM PUBLIC;
CREATE TRIGGER deliver AFTER INSERT ON webhook_event REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_deliver();
"""

METRICS = """
CREATE OR REPLACE FUNCTION installation_metrics() RETURNS TABLE (name text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Counts of the whole installation, which name no operator, router or subscriber.
    SELECT 'routers', status, count(*)::double precision FROM router_state GROUP BY status
    UNION ALL SELECT 'sessions_open', '', count(*) FROM session WHERE ended_at IS NULL
    UNION ALL SELECT 'orders', state, count(*) FROM enforcement_order
        WHERE state IN ('pending', 'sent', 'acked') GROUP BY state
    UNION ALL SELECT 'order_results', result, count(*) FROM enforcement_attempt
        -- The ids rise with time, and there is no index over it: no more than the last so many are looked at.
        WHERE id > (SELECT max(id) - 50000 FROM enforcement_attempt) AND at > now() - interval '5 minutes'
        GROUP BY result
    UNION ALL SELECT 'alerts_open', kind, count(*) FROM alert WHERE closed_at IS NULL GROUP BY kind
    UNION ALL SELECT 'incidents_open', scope, count(*) FROM incident WHERE closed_at IS NULL GROUP BY scope
    UNION ALL SELECT 'notifications_waiting', '', count(*) FROM notification WHERE state = 'waiting'
    UNION ALL SELECT 'notifications_late_seconds', '', greatest(extract(epoch FROM now() - min(next_attempt_at)), 0)
        FROM notification WHERE state = 'waiting' HAVING min(next_attempt_at) IS NOT NULL
    UNION ALL SELECT 'webhooks_waiting', '', count(*) FROM webhook_delivery WHERE state = 'waiting'
    UNION ALL SELECT 'webhook_endpoints', CASE WHEN NOT active THEN 'off' WHEN failures > 0 THEN 'failing' ELSE 'well' END,
        count(*) FROM webhook_endpoint GROUP BY 2
    UNION ALL SELECT 'jobs', state, count(*) FROM job WHERE state IN ('queued', 'running') GROUP BY state
    UNION ALL SELECT 'poll_age_seconds', '', extract(epoch FROM now() - max(checked_at)) FROM router_state
        HAVING max(checked_at) IS NOT NULL
    UNION ALL SELECT 'image_age_seconds', name, extract(epoch FROM now() - image_updated_at) FROM node
        WHERE image_updated_at IS NOT NULL
    UNION ALL SELECT 'load_age_seconds', name, extract(epoch FROM now() - loaded_at) FROM node
        WHERE loaded_at IS NOT NULL
    UNION ALL SELECT 'journal_backlog_bytes', name, journal_backlog FROM node
$$;
"""

VERSION = """
CREATE FUNCTION schema_version() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT version_num FROM alembic_version
$$;
REVOKE ALL ON FUNCTION schema_version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION schema_version() TO portico_portal, portico_system;
"""

# Of each table: what is told of a row `n`, and which event it is, where `o` is the row as it was.
_SUBSCRIBER = "jsonb_build_object('id', n.id, 'name', n.name, 'email', n.email, 'phone', n.phone)"
_SERVICE = """jsonb_build_object('id', n.id, 'subscriber_id', n.subscriber_id, 'name', n.name,
    'access_method', n.access_method, 'state', n.state, 'plan_id', n.plan_id,
    'plan', (SELECT name FROM rate_plan WHERE id = n.plan_id),
    'suspension_cause', n.suspension_cause, 'paid_until', n.paid_until)"""
_INVOICE = """jsonb_build_object('id', n.id, 'subscriber_id', n.subscriber_id, 'service_id', n.service_id,
    'number', n.prefix || n.number, 'issued_on', n.issued_on, 'due_on', n.due_on, 'period_first', n.period_first,
    'period_last', n.period_last, 'currency', n.currency, 'net', trim_scale(n.net)::text,
    'tax', trim_scale(n.tax)::text, 'total', trim_scale(n.total)::text,
    'open', trim_scale(n.total - n.paid - n.credited)::text)"""
_PAYMENT = """jsonb_build_object('id', n.id, 'subscriber_id', n.subscriber_id, 'receipt', n.prefix || n.number,
    'paid_on', n.paid_on, 'currency', n.currency, 'amount', trim_scale(n.amount)::text,
    'refunded', trim_scale(n.refunded)::text, 'method', (SELECT name FROM payment_method WHERE id = n.method_id),
    'reference', n.reference, 'voided', n.voided_at IS NOT NULL)"""
_TICKET = """jsonb_build_object('id', t.id, 'number', t.number, 'subscriber_id', t.subscriber_id,
    'subject', t.subject, 'priority', t.priority, 'queue', t.queue, 'state', t.state, 'source', t.source)"""
_WORK_ORDER = """jsonb_build_object('id', n.id, 'number', n.number, 'kind', n.kind, 'title', n.title,
    'state', n.state, 'subscriber_id', n.subscriber_id, 'service_id', n.service_id,
    'ended_at', webhook_time(n.ended_at))"""
_ROUTER = """jsonb_build_object('nas_id', n.nas_id, 'name', (SELECT name FROM nas WHERE id = n.nas_id),
    'status', n.status, 'cause', n.cause, 'since', webhook_time(n.status_since))"""
_INCIDENT = """jsonb_build_object('id', n.id, 'scope', n.scope, 'nas_id', n.nas_id, 'sector', n.sector,
    'title', n.title, 'planned', n.planned, 'lost', n.lost, 'cause', n.cause,
    'opened_at', webhook_time(n.opened_at), 'closed_at', webhook_time(n.closed_at))"""
_SOLD = """jsonb_build_object('id', n.voucher_id, 'batch_id', n.batch_id,
    'batch', (SELECT name FROM voucher_batch WHERE id = n.batch_id),
    'number', (SELECT number FROM voucher WHERE service_id = n.voucher_id),
    'currency', n.currency, 'price', trim_scale(n.price)::text)"""
_USED = """jsonb_build_object('id', n.service_id, 'batch_id', n.batch_id,
    'batch', (SELECT name FROM voucher_batch WHERE id = n.batch_id),
    'number', n.number, 'first_login_at', webhook_time(n.first_login_at))"""

_LINE = "n.access_method <> 'voucher'"  # a voucher is a service, too, and has events of its own
_GONE = "to_jsonb(n) ->> 'removed_at' IS NOT NULL"
_WAS_GONE = "to_jsonb(o) ->> 'removed_at' IS NOT NULL"
_GUESS = "coalesce((to_jsonb(n) ->> 'proposed')::boolean, false)"  # until a person says that it is an incident
_WAS_GUESS = "coalesce((to_jsonb(o) ->> 'proposed')::boolean, false)"
_SAME_PERSON = (
    "(n.name, n.email, n.phone, n.tax_id, n.address, n.latitude, n.longitude, n.language, n.notes) IS NOT DISTINCT FROM"
    " (o.name, o.email, o.phone, o.tax_id, o.address, o.latitude, o.longitude, o.language, o.notes)"
)

TOLD: tuple[tuple[str, str, str, str, str, dict[str, str]], ...] = (
    # table, statement, its key, the subscriber, what is told, and when which event happened
    ("subscriber", "INSERT", "id", "n.id", _SUBSCRIBER, {"subscriber.created": "true"}),
    (
        "subscriber", "UPDATE", "id", "n.id", _SUBSCRIBER,
        {
            "subscriber.removed": f"{_GONE} AND NOT ({_WAS_GONE})",
            "subscriber.created": f"{_WAS_GONE} AND NOT ({_GONE})",
            "subscriber.updated": f"NOT ({_GONE}) AND NOT ({_WAS_GONE}) AND NOT ({_SAME_PERSON})",
        },
    ),
    ("subscriber", "DELETE", "id", "n.id", _SUBSCRIBER, {"subscriber.removed": f"NOT ({_GONE})"}),
    (
        "service", "INSERT", "id", "n.subscriber_id", _SERVICE,
        {"service.activated": f"{_LINE} AND n.state = 'active'"},
    ),
    (
        "service", "UPDATE", "id", "n.subscriber_id", _SERVICE,
        {
            "service.activated": f"{_LINE} AND n.state = 'active' AND o.state IN ('pending', 'terminated')",
            "service.suspended": f"{_LINE} AND n.state = 'suspended' AND o.state <> 'suspended'",
            "service.restored": f"{_LINE} AND n.state = 'active' AND o.state = 'suspended'",
            "service.terminated": f"{_LINE} AND n.state = 'terminated' AND o.state <> 'terminated'",
            "service.plan_changed": f"{_LINE} AND n.plan_id <> o.plan_id",
        },
    ),
    ("invoice", "INSERT", "id", "n.subscriber_id", _INVOICE, {"invoice.issued": "true"}),
    (
        "invoice", "UPDATE", "id", "n.subscriber_id", _INVOICE,
        {
            "invoice.paid": "n.paid > 0 AND n.paid + n.credited = n.total AND o.paid + o.credited < o.total"
            " AND n.credited < n.total",
            "invoice.voided": "n.credited = n.total AND o.credited < o.total",
        },
    ),
    ("payment", "INSERT", "id", "n.subscriber_id", _PAYMENT, {"payment.recorded": "true"}),
    (
        "payment", "UPDATE", "id", "n.subscriber_id", _PAYMENT,
        {
            "payment.voided": "n.voided_at IS NOT NULL AND o.voided_at IS NULL",
            "payment.refunded": "n.refunded > o.refunded",
        },
    ),
    ("voucher_sale", "INSERT", "id", "NULL", _SOLD, {"voucher.sold": "true"}),
    (
        "voucher", "UPDATE", "service_id", "NULL", _USED,
        {"voucher.first_used": "n.first_login_at IS NOT NULL AND o.first_login_at IS NULL"},
    ),
    ("ticket", "INSERT", "id", "n.subscriber_id", _TICKET, {"ticket.opened": "true"}),
    (
        "ticket", "UPDATE", "id", "n.subscriber_id", _TICKET,
        {"ticket.closed": "n.state = 'closed' AND o.state <> 'closed'"},
    ),
    ("ticket_entry", "INSERT", "id", "t.subscriber_id", _TICKET, {"ticket.answered": "n.kind = 'answer'"}),
    (
        "work_order", "UPDATE", "id", "n.subscriber_id", _WORK_ORDER,
        {"work_order.completed": "n.state = 'done' AND o.state <> 'done'"},
    ),
    (
        "router_state", "UPDATE", "nas_id", "NULL", _ROUTER,
        {
            "router.offline": "n.status = 'offline' AND o.status <> 'offline'",
            "router.online": "n.status = 'online' AND o.status = 'offline'",
        },
    ),
    ("incident", "INSERT", "id", "NULL", _INCIDENT, {"incident.opened": f"NOT {_GUESS}"}),
    (
        "incident", "UPDATE", "id", "NULL", _INCIDENT,
        {
            "incident.opened": f"NOT {_GUESS} AND {_WAS_GUESS}",
            "incident.closed": f"NOT {_GUESS} AND n.closed_at IS NOT NULL AND o.closed_at IS NULL",
        },
    ),
)  # fmt: skip


def _tell(table: str, statement: str, key: str, subscriber: str, data: str, events: dict[str, str]) -> None:
    """Have the rows of a statement told to who listens."""
    name = f"webhook_{table}_{statement.lower()}"
    tables = {
        "INSERT": "NEW TABLE AS after_rows", "DELETE": "OLD TABLE AS after_rows",
        "UPDATE": "OLD TABLE AS before_rows NEW TABLE AS after_rows",
    }[statement]  # fmt: skip
    source = "after_rows n"
    if statement == "UPDATE":
        source += f" JOIN before_rows o ON o.{key} = n.{key}"
    if table == "ticket_entry":
        source += " JOIN ticket t ON t.id = n.ticket_id"
    elif table == "ticket":
        data = data.replace("t.", "n.")
    cases = ", ".join(f"('{event}', {happened})" for event, happened in events.items())
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger"
        " LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$ BEGIN"
        " IF EXISTS (SELECT FROM webhook_endpoint WHERE active) THEN"
        " INSERT INTO webhook_event (operator_id, event, data, subscriber_id)"
        f" SELECT n.operator_id, e.event, {data}, {subscriber} FROM {source}"
        f" CROSS JOIN LATERAL (VALUES {cases}) AS e (event, happened)"
        f" WHERE e.happened AND webhook_wanted(n.operator_id, e.event) ORDER BY n.{key};"
        " END IF; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER webhook_{statement.lower()} AFTER {statement} ON {table} REFERENCING {tables}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    )


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("off_why", sa.String(), server_default="", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("active = (off_why = '')", name=op.f("ck_webhook_endpoint_off_why")),
        sa.CheckConstraint("off_why IN ('', 'person', 'gone', 'failing')", name=op.f("ck_webhook_endpoint_why")),
        sa.CheckConstraint(
            "num_nulls(previous_secret, previous_until) IN (0, 2)", name=op.f("ck_webhook_endpoint_previous_whole")
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_webhook_endpoint_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index("ix_webhook_endpoint_operator_id", "webhook_endpoint", ["operator_id", "id"], unique=False)
    op.create_table(
        "webhook_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "key",
            sa.String(),
            server_default=sa.text("'msg_' || replace(gen_random_uuid()::text, '-', '')"),
            nullable=False,
        ),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_webhook_event_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_event")),
    )
    op.create_index("ix_webhook_event_created_at", "webhook_event", ["created_at"], unique=False)
    op.create_index(
        "ix_webhook_event_subscriber_id",
        "webhook_event",
        ["subscriber_id"],
        unique=False,
        postgresql_where=sa.text("subscriber_id IS NOT NULL"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("endpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), server_default="", nullable=False),
        sa.Column("answer", sa.String(), server_default="", nullable=False),
        sa.Column("tries", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_state")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id_webhook_endpoint"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["webhook_event.id"],
            name=op.f("fk_webhook_delivery_event_id_webhook_event"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_webhook_delivery_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint_id", "next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_webhook_delivery_endpoint_id",
        "webhook_delivery",
        ["endpoint_id", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_webhook_delivery_event_id", "webhook_delivery", ["event_id"], unique=False)
    op.create_index(
        "ix_webhook_delivery_operator_id",
        "webhook_delivery",
        ["operator_id", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_notification_turn",
        "notification",
        ["operator_id", sa.literal_column("urgent DESC"), "next_attempt_at", "id"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    protect("webhook_endpoint", "SELECT, INSERT, UPDATE, DELETE")
    protect("webhook_event", "SELECT, INSERT")
    protect("webhook_delivery", "SELECT, INSERT, UPDATE (state, attempts, next_attempt_at, finished_at)")
    op.execute(FUNCTIONS)
    op.execute(METRICS)
    op.execute(VERSION)
    for told in TOLD:
        _tell(*told)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
