"""The access controller's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.models.change_log import Xid8

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE session_id_seq CACHE 64")
    op.execute("CREATE SEQUENCE auth_event_id_seq CACHE 64")
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("entity_id", sa.BigInteger(), nullable=True),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("hash", sa.LargeBinary(), server_default=sa.text("''"), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index("uq_audit_entry_chain", "audit_entry", ["operator_id", "id"], unique=True)
    op.create_index("ix_audit_entry_entity", "audit_entry", ["operator_id", "entity", "entity_id", "id"], unique=False)
    op.create_index(
        "ix_audit_entry_operator_id", "audit_entry", ["operator_id", sa.literal_column("at DESC"), "id"], unique=False
    )
    op.create_table(
        "auth_event",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('auth_event_id_seq')"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("acct_session_id", sa.String(), server_default="", nullable=False),
        sa.Column("terms_id", postgresql.BYTEA(), nullable=True),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "at", name=op.f("pk_auth_event")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(
        "ix_auth_event_operator_id", "auth_event", ["operator_id", sa.literal_column("at DESC"), "id"], unique=False
    )
    op.create_index(
        "ix_auth_event_service_id", "auth_event", ["service_id", sa.literal_column("at DESC")], unique=False
    )
    op.create_index(
        "ix_auth_event_user_name",
        "auth_event",
        ["operator_id", "user_name", sa.literal_column("at DESC")],
        unique=False,
    )
    op.create_table(
        "change_log",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_change_log")),
    )
    op.create_index("ix_change_log_xid", "change_log", ["xid"], unique=False)
    op.create_table(
        "enforcement_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("error_cause", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enforcement_attempt")),
    )
    op.create_index("ix_enforcement_attempt_order_id", "enforcement_attempt", ["order_id"], unique=False)
    op.create_table(
        "enforcement_order",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("session_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("terms_id", postgresql.BYTEA(), nullable=True),
        sa.Column("state", sa.String(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.Column("error_cause", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('coa', 'disconnect')", name=op.f("ck_enforcement_order_kind")),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'acked', 'verified', 'failed', 'superseded', 'cancelled')",
            name=op.f("ck_enforcement_order_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enforcement_order")),
    )
    op.create_index(
        "ix_enforcement_order_due",
        "enforcement_order",
        ["nas_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'sent', 'acked')"),
    )
    op.create_index(
        "ix_enforcement_order_operator_id",
        "enforcement_order",
        ["operator_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_index(
        "ix_enforcement_order_service_id",
        "enforcement_order",
        ["service_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "uq_enforcement_order_open",
        "enforcement_order",
        ["session_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('pending', 'sent', 'acked')"),
    )
    op.create_table(
        "follower",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_follower")),
    )
    op.create_table(
        "journal_position",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("segment", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "segment", name=op.f("pk_journal_position")),
    )
    op.create_table(
        "node",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("image_position", sa.String(), nullable=True),
        sa.Column("image_updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("journal_backlog", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    op.create_table(
        "operator",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("locale", sa.String(), server_default="en", nullable=False),
        sa.Column("currency", sa.String(), server_default="USD", nullable=False),
        sa.Column("timezone", sa.String(), server_default="UTC", nullable=False),
        sa.Column("cut_off_day", sa.Integer(), server_default="1", nullable=False),
        sa.Column("grace_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("suspended_action", sa.String(), server_default="garden", nullable=False),
        sa.Column("garden_download", sa.BigInteger(), server_default="512000", nullable=False),
        sa.Column("garden_upload", sa.BigInteger(), server_default="512000", nullable=False),
        sa.Column("garden_address_list", sa.String(), server_default="portico-suspended", nullable=False),
        sa.Column("active_address_list", sa.String(), server_default="portico-active", nullable=False),
        sa.Column("garden_pool", sa.String(), nullable=True),
        sa.Column("garden_timeout", sa.Interval(), server_default=sa.text("interval '10 minutes'"), nullable=False),
        sa.Column("dhcp_timeout", sa.Interval(), server_default=sa.text("interval '10 minutes'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("suspended_action IN ('garden', 'reject')", name=op.f("ck_operator_suspended_action")),
        sa.CheckConstraint("cut_off_day BETWEEN 1 AND 31", name=op.f("ck_operator_cut_off_day")),
        sa.CheckConstraint("garden_download > 0 AND garden_upload > 0", name=op.f("ck_operator_garden_rate")),
        sa.CheckConstraint("grace_days BETWEEN 0 AND 365", name=op.f("ck_operator_grace_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
        sa.UniqueConstraint("slug", name=op.f("uq_operator_slug")),
    )
    op.create_table(
        "service_grant",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("terms_id", postgresql.BYTEA(), nullable=True),
        sa.Column("changes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("computed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", name=op.f("pk_service_grant")),
    )
    op.create_index("ix_service_grant_changes_at", "service_grant", ["changes_at"], unique=False)
    op.create_table(
        "session",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('session_id_seq')"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("acct_session_id", sa.String(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("calling_station_id", sa.String(), server_default="", nullable=False),
        sa.Column("called_station_id", sa.String(), server_default="", nullable=False),
        sa.Column("nas_port_id", sa.String(), server_default="", nullable=False),
        sa.Column("nas_identifier", sa.String(), server_default="", nullable=False),
        sa.Column("nas_ip_address", postgresql.INET(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=True),
        sa.Column("framed_ip", postgresql.INET(), nullable=True),
        sa.Column("framed_ipv6_prefix", postgresql.CIDR(), nullable=True),
        sa.Column("delegated_ipv6_prefix", postgresql.CIDR(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("session_time", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("octets_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("octets_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("packets_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("packets_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("terminate_cause", sa.String(), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("terms_id", postgresql.BYTEA(), nullable=True),
        sa.Column("reported_rate", sa.String(), nullable=True),
        sa.Column("interim_interval", sa.Integer(), server_default="300", nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "started_at", name=op.f("pk_session")),
        postgresql_partition_by="RANGE (started_at)",
    )
    op.create_index(
        "ix_session_delegated_ipv6_prefix",
        "session",
        [sa.literal_column("delegated_ipv6_prefix inet_ops")],
        unique=False,
        postgresql_using="gist",
        postgresql_where=sa.text("delegated_ipv6_prefix IS NOT NULL"),
    )
    op.create_index(
        "ix_session_framed_ip",
        "session",
        ["operator_id", "framed_ip", sa.literal_column("started_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_session_framed_ipv6_prefix",
        "session",
        [sa.literal_column("framed_ipv6_prefix inet_ops")],
        unique=False,
        postgresql_using="gist",
        postgresql_where=sa.text("framed_ipv6_prefix IS NOT NULL"),
    )
    op.create_index(
        "ix_session_mac", "session", ["operator_id", "mac", sa.literal_column("started_at DESC")], unique=False
    )
    op.create_index(
        "ix_session_nas_id_acct_session_id",
        "session",
        ["nas_id", "acct_session_id", sa.literal_column("started_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_session_open_nas", "session", ["nas_id", "id"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "ix_session_open_operator",
        "session",
        ["operator_id", "id"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_session_open_service", "session", ["service_id"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "ix_session_operator_id", "session", ["operator_id", sa.literal_column("started_at DESC"), "id"], unique=False
    )
    op.create_index(
        "ix_session_service_id", "session", ["service_id", sa.literal_column("started_at DESC")], unique=False
    )
    op.create_table(
        "tenancy_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenancy_key")),
    )
    op.create_table(
        "terms",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("id", postgresql.BYTEA(), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("operator_id", "id", name=op.f("pk_terms")),
    )
    op.create_table(
        "usage_hour",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("octets_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("octets_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", "hour", name=op.f("pk_usage_hour")),
        postgresql_partition_by="RANGE (hour)",
    )
    op.create_index("ix_usage_hour_operator_id", "usage_hour", ["operator_id", "hour"], unique=False)
    op.create_table(
        "usage_period",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("octets_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("octets_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", "period_start", name=op.f("pk_usage_period")),
    )
    op.create_index("ix_usage_period_operator_id", "usage_period", ["operator_id", "period_start"], unique=False)
    op.create_table(
        "nas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", postgresql.INET(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("coa_address", postgresql.INET(), nullable=True),
        sa.Column("coa_port", sa.Integer(), server_default="3799", nullable=False),
        sa.Column("coa_window", sa.Integer(), server_default="32", nullable=False),
        sa.Column("coa_message_authenticator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("coa_session_id", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("require_message_authenticator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("swap_directions", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("last_packet_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("coa_port BETWEEN 1 AND 65535", name=op.f("ck_nas_coa_port")),
        sa.CheckConstraint("coa_window BETWEEN 1 AND 200", name=op.f("ck_nas_coa_window")),
        sa.CheckConstraint(
            "masklen(address) = CASE family(address) WHEN 4 THEN 32 ELSE 128 END", name=op.f("ck_nas_address_is_host")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_nas_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nas")),
    )
    op.create_index("uq_nas_address", "nas", ["address"], unique=True)
    op.create_index("uq_nas_name", "nas", ["operator_id", "name"], unique=True)
    op.create_table(
        "rate_plan",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), server_default="0", nullable=False),
        sa.Column("download", sa.BigInteger(), nullable=False),
        sa.Column("upload", sa.BigInteger(), nullable=False),
        sa.Column("burst_download", sa.BigInteger(), nullable=True),
        sa.Column("burst_upload", sa.BigInteger(), nullable=True),
        sa.Column("burst_threshold_download", sa.BigInteger(), nullable=True),
        sa.Column("burst_threshold_upload", sa.BigInteger(), nullable=True),
        sa.Column("burst_seconds", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("minimum_download", sa.BigInteger(), nullable=True),
        sa.Column("minimum_upload", sa.BigInteger(), nullable=True),
        sa.Column("cap_octets", sa.BigInteger(), nullable=True),
        sa.Column("cap_action", sa.String(), server_default="nothing", nullable=False),
        sa.Column("throttle_download", sa.BigInteger(), nullable=True),
        sa.Column("throttle_upload", sa.BigInteger(), nullable=True),
        sa.Column("windows", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("ipv6_pool", sa.String(), nullable=True),
        sa.Column("delegated_ipv6_pool", sa.String(), nullable=True),
        sa.Column("address_list", sa.String(), nullable=True),
        sa.Column("session_timeout", sa.Interval(), nullable=True),
        sa.Column("idle_timeout", sa.Interval(), nullable=True),
        sa.Column("interim_interval", sa.Interval(), server_default=sa.text("interval '5 minutes'"), nullable=False),
        sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("archived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "cap_action <> 'throttle' OR (throttle_download > 0 AND throttle_upload > 0)",
            name=op.f("ck_rate_plan_throttle_rate"),
        ),
        sa.CheckConstraint("cap_action IN ('nothing', 'throttle', 'block')", name=op.f("ck_rate_plan_cap_action")),
        sa.CheckConstraint("download > 0 AND upload > 0", name=op.f("ck_rate_plan_rate")),
        sa.CheckConstraint(
            "minimum_download <= download AND minimum_upload <= upload", name=op.f("ck_rate_plan_minimum")
        ),
        sa.CheckConstraint(
            "num_nulls(burst_download, burst_upload, burst_threshold_download, burst_threshold_upload, burst_seconds) IN (0, 5)",
            name=op.f("ck_rate_plan_burst_whole"),
        ),
        sa.CheckConstraint("price >= 0", name=op.f("ck_rate_plan_price")),
        sa.CheckConstraint("priority BETWEEN 1 AND 8", name=op.f("ck_rate_plan_priority")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_rate_plan_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_plan")),
    )
    op.create_index("uq_rate_plan_name", "rate_plan", ["operator_id", "name"], unique=True)
    op.create_table(
        "seen_device",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("called_station_id", sa.String(), server_default="", nullable=False),
        sa.Column("nas_port_id", sa.String(), server_default="", nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_seen_device_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "mac", name=op.f("pk_seen_device")),
    )
    op.create_table(
        "staff",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("language", sa.String(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("session_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_staff_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
    )
    op.create_index("ix_staff_operator_id", "staff", ["operator_id"], unique=False)
    op.create_index("uq_staff_email", "staff", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "subscriber",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("tax_id", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("language", sa.String(), nullable=True),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_subscriber_position_whole")),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90", name=op.f("ck_subscriber_latitude")),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180", name=op.f("ck_subscriber_longitude")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_subscriber_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber")),
    )
    op.create_index(
        "ix_subscriber_name",
        "subscriber",
        ["operator_id", sa.literal_column("lower(name) text_pattern_ops"), "id"],
        unique=False,
    )
    op.create_table(
        "service",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("access_method", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), server_default="active", nullable=False),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspension_cause", sa.String(), nullable=True),
        sa.Column("suspension_detail", sa.String(), server_default="", nullable=False),
        sa.Column("management", sa.String(), server_default="automatic", nullable=False),
        sa.Column("paid_until", sa.Date(), nullable=True),
        sa.Column("framed_ip", postgresql.INET(), nullable=True),
        sa.Column("framed_routes", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("framed_ipv6_prefix", postgresql.CIDR(), nullable=True),
        sa.Column("delegated_ipv6_prefix", postgresql.CIDR(), nullable=True),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("rate_download", sa.BigInteger(), nullable=True),
        sa.Column("rate_upload", sa.BigInteger(), nullable=True),
        sa.Column("session_limit", sa.Integer(), server_default="1", nullable=False),
        sa.Column("mac_binding", sa.String(), server_default="any", nullable=False),
        sa.Column("max_macs", sa.Integer(), server_default="1", nullable=False),
        sa.Column("octets_left", sa.BigInteger(), nullable=True),
        sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("terminated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "access_method IN ('pppoe', 'mac', 'hotspot', 'voucher', 'queue')", name=op.f("ck_service_access_method")
        ),
        sa.CheckConstraint("mac_binding IN ('any', 'learn', 'fixed')", name=op.f("ck_service_mac_binding")),
        sa.CheckConstraint("management IN ('automatic', 'manual')", name=op.f("ck_service_management")),
        sa.CheckConstraint("name <> '' AND octet_length(name) <= 253", name=op.f("ck_service_name_length")),
        sa.CheckConstraint(
            "password IS NOT NULL OR access_method NOT IN ('pppoe', 'hotspot')", name=op.f("ck_service_has_password")
        ),
        sa.CheckConstraint("state <> 'suspended' OR suspended_at IS NOT NULL", name=op.f("ck_service_suspended_since")),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'suspended', 'paused', 'terminated')", name=op.f("ck_service_state")
        ),
        sa.CheckConstraint("(rate_download IS NULL) = (rate_upload IS NULL)", name=op.f("ck_service_rate_whole")),
        sa.CheckConstraint("max_macs BETWEEN 1 AND 100", name=op.f("ck_service_max_macs")),
        sa.CheckConstraint("session_limit BETWEEN 0 AND 1000", name=op.f("ck_service_session_limit")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_service_nas_id_nas")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_service_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_service_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name=op.f("fk_service_subscriber_id_subscriber")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
    )
    op.create_index(
        "ix_service_paid_until",
        "service",
        ["paid_until"],
        unique=False,
        postgresql_where=sa.text("management = 'automatic'"),
    )
    op.create_index("ix_service_plan_id", "service", ["plan_id"], unique=False)
    op.create_index("ix_service_state", "service", ["operator_id", "state", "id"], unique=False)
    op.create_index("ix_service_subscriber_id", "service", ["subscriber_id"], unique=False)
    op.create_index(
        "uq_service_name",
        "service",
        ["operator_id", "name"],
        unique=True,
        postgresql_where=sa.text("state <> 'terminated'"),
    )
    op.create_table(
        "service_mac",
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("learned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_service_mac_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_service_mac_service_id_service")),
        sa.PrimaryKeyConstraint("service_id", "mac", name=op.f("pk_service_mac")),
    )
    op.create_index("ix_service_mac_mac", "service_mac", ["operator_id", "mac"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("the first schema has nothing to go back to; restore a backup instead")
