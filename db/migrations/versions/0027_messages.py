"""Messages to subscribers: channels, texts, wishes, broadcasts; and what people add to incidents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "message_settings": "SELECT, INSERT, UPDATE",
    "message_text": "SELECT, INSERT, UPDATE, DELETE",
    "message_preference": "SELECT, INSERT, UPDATE",
    "broadcast": "SELECT, INSERT, UPDATE (job_id)",
    "incident_credit": "SELECT",
}


def upgrade() -> None:
    op.create_table(
        "broadcast",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("selection", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("texts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("about_account", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_broadcast_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcast")),
    )
    op.create_index(
        "ix_broadcast_operator_id",
        "broadcast",
        ["operator_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_index("uq_broadcast_token", "broadcast", ["operator_id", "token"], unique=True)
    op.create_table(
        "message_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{email}'"), nullable=False),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("dial_prefix", sa.String(), server_default="", nullable=False),
        sa.Column("sms_kind", sa.String(), server_default="none", nullable=False),
        sa.Column("sms_url", sa.LargeBinary(), nullable=True),
        sa.Column("sms_body", sa.String(), server_default="", nullable=False),
        sa.Column("sms_header", sa.String(), server_default="", nullable=False),
        sa.Column("sms_secret", sa.LargeBinary(), nullable=True),
        sa.Column("whatsapp_phone", sa.String(), server_default="", nullable=False),
        sa.Column("whatsapp_token", sa.LargeBinary(), nullable=True),
        sa.Column("whatsapp_template", sa.String(), server_default="", nullable=False),
        sa.Column("telegram_url", sa.LargeBinary(), nullable=True),
        sa.Column("incident_tell", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("incident_delay", sa.Integer(), server_default="10", nullable=False),
        sa.Column("incident_least", sa.Integer(), server_default="5", nullable=False),
        sa.Column("link_key", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("sms_kind IN ('none', 'http', 'apprise')", name=op.f("ck_message_settings_sms_kind")),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL) AND quiet_from <> quiet_until",
            name=op.f("ck_message_settings_quiet"),
        ),
        sa.CheckConstraint("incident_delay BETWEEN 0 AND 1440", name=op.f("ck_message_settings_incident_delay")),
        sa.CheckConstraint("incident_least BETWEEN 1 AND 100000", name=op.f("ck_message_settings_incident_least")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_message_settings_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_message_settings")),
    )
    op.create_table(
        "message_text",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), server_default="", nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.CheckConstraint("channel IN ('email', 'sms', 'whatsapp', 'telegram')", name=op.f("ck_message_text_channel")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_message_text_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "event", "channel", "language", name=op.f("pk_message_text")),
    )
    op.create_table(
        "message_preference",
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.TEXT()), nullable=True),
        sa.Column("telegram_chat", sa.String(), server_default="", nullable=False),
        sa.Column("unsubscribed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_message_preference_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_message_preference_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("pk_message_preference")),
    )
    op.create_table(
        "incident_credit",
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("discount_id", sa.BigInteger(), nullable=True),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("days > 0 AND amount > 0", name=op.f("ck_incident_credit_amount")),
        sa.ForeignKeyConstraint(
            ["discount_id"], ["discount.id"], name=op.f("fk_incident_credit_discount_id_discount"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_incident_credit_incident_id_incident"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_incident_credit_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_incident_credit_service_id_service"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("incident_id", "service_id", name=op.f("pk_incident_credit")),
    )
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    _incidents()
    _notifications()


def _incidents() -> None:
    for name in ("by_hand", "planned"):
        op.add_column("incident", sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for name in ("title", "cause", "notes"):
        op.add_column("incident", sa.Column(name, sa.String(), server_default="", nullable=False))
    for name in ("expected_until", "told_at", "told_over_at"):
        op.add_column("incident", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("incident", sa.Column("tell", sa.Boolean(), nullable=True))
    for name in ("opened_by", "closed_by"):
        op.add_column("incident", sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute("GRANT INSERT, UPDATE ON incident TO portico_portal")


def _notifications() -> None:
    for name, table, rule in (
        ("subscriber_id", "subscriber", "SET NULL"), ("broadcast_id", "broadcast", None),
        ("incident_id", "incident", "SET NULL"),
    ):  # fmt: skip
        op.add_column("notification", sa.Column(name, sa.BigInteger(), nullable=True))
        op.create_foreign_key(
            op.f(f"fk_notification_{name}_{table}"), "notification", table, [name], ["id"], ondelete=rule
        )
    op.add_column("notification", sa.Column("urgent", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("notification", sa.Column("unsubscribe", sa.String(), server_default="", nullable=False))
    op.add_column("notification", sa.Column("staff_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_notification_subscriber_id", "notification", ["subscriber_id", sa.literal_column("created_at DESC")]
    )
    op.create_index(
        "ix_notification_by_hand", "notification", ["operator_id", "created_at"],
        postgresql_where=sa.text("state = 'by_hand'"),
    )  # fmt: skip
    op.create_index(
        "uq_notification_broadcast", "notification", ["broadcast_id", "subscriber_id", "channel"], unique=True,
        postgresql_where=sa.text("broadcast_id IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_notification_incident_id", "notification", ["incident_id"],
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    )  # fmt: skip
    for name, words in (
        ("channel", "channel IN ('email', 'apprise', 'sms', 'whatsapp', 'telegram')"),
        ("state", "state IN ('waiting', 'sent', 'failed', 'by_hand', 'dropped')"),
    ):
        op.drop_constraint(op.f(f"ck_notification_{name}"), "notification", type_="check")
        op.create_check_constraint(op.f(f"ck_notification_{name}"), "notification", words)
    op.execute(
        "GRANT UPDATE (state, attempts, next_attempt_at, error, staff_id, finished_at) ON notification"
        " TO portico_portal"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
