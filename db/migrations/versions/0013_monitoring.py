"""Samples of routers, alerts, incidents, notifications, and what a Prometheus server may read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SPANS = ("", "_5m", "_1h")
MEASURES = ("cpu", "memory", "temperature", "wan_download", "wan_upload", "authenticated", "waiting")
COUNTS = ("radius_requests", "radius_rejects", "radius_timeouts", "radius_bad_replies")

METRICS = """
CREATE FUNCTION installation_metrics() RETURNS TABLE (name text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Counts of the whole installation, which name no operator, router or subscriber.
    SELECT 'routers', status, count(*)::double precision FROM router_state GROUP BY status
    UNION ALL SELECT 'sessions_open', '', count(*) FROM session WHERE ended_at IS NULL
    UNION ALL SELECT 'orders', state, count(*) FROM enforcement_order
        WHERE state IN ('pending', 'sent', 'acked') GROUP BY state
    UNION ALL SELECT 'alerts_open', kind, count(*) FROM alert WHERE closed_at IS NULL GROUP BY kind
    UNION ALL SELECT 'incidents_open', scope, count(*) FROM incident WHERE closed_at IS NULL GROUP BY scope
    UNION ALL SELECT 'notifications_waiting', '', count(*) FROM notification WHERE state = 'waiting'
    UNION ALL SELECT 'poll_age_seconds', '', extract(epoch FROM now() - max(checked_at)) FROM router_state
        HAVING max(checked_at) IS NOT NULL
    UNION ALL SELECT 'image_age_seconds', name, extract(epoch FROM now() - image_updated_at) FROM node
        WHERE image_updated_at IS NOT NULL
    UNION ALL SELECT 'load_age_seconds', name, extract(epoch FROM now() - loaded_at) FROM node
        WHERE loaded_at IS NOT NULL
    UNION ALL SELECT 'journal_backlog_bytes', name, journal_backlog FROM node
$$;
REVOKE ALL ON FUNCTION installation_metrics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION installation_metrics() TO portico_portal, portico_system;
"""


def upgrade() -> None:
    for span in SPANS:
        _create_samples(span)
    op.create_table(
        "rollup_position",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rollup_position")),
    )
    op.create_table(
        "alert_recipient",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("language", sa.String(), server_default="en", nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("channel IN ('email', 'apprise')", name=op.f("ck_alert_recipient_channel")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_alert_recipient_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_recipient")),
    )
    op.create_index("ix_alert_recipient_operator_id", "alert_recipient", ["operator_id"], unique=False)
    op.create_table(
        "notification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("shown_address", sa.String(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('email', 'apprise')", name=op.f("ck_notification_channel")),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'failed')", name=op.f("ck_notification_state")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_notification_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index(
        "ix_notification_due",
        "notification",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_notification_operator_id",
        "notification",
        ["operator_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("sector", sa.String(), server_default="", nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope IN ('network', 'router', 'sector')", name=op.f("ck_incident_scope")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_incident_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_incident_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    op.create_index(
        "ix_incident_open", "incident", ["operator_id"], unique=False, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index(
        "ix_incident_operator_id", "incident", ["operator_id", sa.literal_column("opened_at DESC"), "id"], unique=False
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("told", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('router_down', 'wan_congested', 'radius_silent')", name=op.f("ck_alert_kind")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_alert_incident_id_incident")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_alert_nas_id_nas"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_alert_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(
        "ix_alert_operator_id", "alert", ["operator_id", sa.literal_column("opened_at DESC"), "id"], unique=False
    )
    op.create_index(
        "uq_alert_open", "alert", ["nas_id", "kind"], unique=True, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_table(
        "incident_member",
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.String(), server_default="", nullable=False),
        sa.Column("back_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_incident_member_incident_id_incident"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_incident_member_operator_id_operator")),
        sa.PrimaryKeyConstraint("incident_id", "session_id", name=op.f("pk_incident_member")),
    )
    op.create_index("ix_incident_member_incident_id", "incident_member", ["incident_id", "ended_at"], unique=False)
    op.create_table(
        "live_watch",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("wanted_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("download", sa.Double(), nullable=True),
        sa.Column("upload", sa.Double(), nullable=True),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_live_watch_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_live_watch_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_live_watch")),
    )
    op.create_index("ix_live_watch_operator_id", "live_watch", ["operator_id"], unique=False)
    op.create_table(
        "waiting_device",
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("server", sa.String(), server_default="", nullable=False),
        sa.Column("host_name", sa.String(), server_default="", nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('hotspot', 'dhcp')", name=op.f("ck_waiting_device_source")),
        sa.ForeignKeyConstraint(
            ["nas_id"], ["router.nas_id"], name=op.f("fk_waiting_device_nas_id_router"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_waiting_device_operator_id_operator")),
        sa.PrimaryKeyConstraint("nas_id", "mac", name=op.f("pk_waiting_device")),
    )
    op.create_index("ix_waiting_device_operator_id", "waiting_device", ["operator_id", "first_seen_at"], unique=False)
    protect("waiting_device", "SELECT")
    protect("alert", "SELECT")
    protect("incident", "SELECT, UPDATE (closed_at)")
    protect("incident_member", "SELECT")
    protect("alert_recipient", "SELECT, INSERT, UPDATE, DELETE")
    protect("notification", "SELECT, INSERT")
    protect("live_watch", "SELECT, INSERT, UPDATE (wanted_until)")
    op.execute(METRICS)


def _create_samples(span: str) -> None:
    """Make the tables of one fineness: a router's, and its interfaces'."""
    table = f"router_sample{span}"
    op.create_table(
        table,
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        *(sa.Column(f"{name}{suffix}", sa.Double(), nullable=True) for name in MEASURES for suffix in ("", "_max")),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in COUNTS),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nas_id", "at", name=op.f(f"pk_{table}")),
        postgresql_partition_by="RANGE (at)",
    )
    _protect_samples(table)
    table = f"interface_sample{span}"
    op.create_table(
        table,
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("interface", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(f"{name}{suffix}", sa.Double(), nullable=True)
            for name in ("received", "sent")
            for suffix in ("", "_max")
        ),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nas_id", "interface", "at", name=op.f(f"pk_{table}")),
        postgresql_partition_by="RANGE (at)",
    )
    _protect_samples(table)


def _protect_samples(table: str) -> None:
    # Normally empty; it only keeps a sample from being lost while the partitions of its day are not there.
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    protect(table, "SELECT")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
