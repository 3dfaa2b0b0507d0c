"""Subscribers' own sign-in, and the operator's brand."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "brand": "SELECT, INSERT, UPDATE (name, colour, logo, host, phone, whatsapp, email, terms, version)",
    "self_service": "SELECT, INSERT,"
    " UPDATE (enabled, send_logins, plan_change, offered_plans, may_boost, may_promise, may_pause)",
    "plan_request": "SELECT, INSERT, UPDATE (state, staff_id, decided_at)",
    "subscriber_login": "SELECT, INSERT, UPDATE (password_hash, session_version, given_at, last_login_at)",
    "sign_in_code": "SELECT, INSERT, UPDATE (attempts, used_at)",
    "sign_in_link": "SELECT, INSERT, UPDATE (used_at)",
}

FUNCTIONS = """
CREATE FUNCTION subscriber_portal(wanted_slug text, wanted_host text)
RETURNS TABLE (id bigint, slug text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Whose subscribers' pages these are, before an operator is known: by the short name in the address, or by the
    -- host. A host of one operator leads to no other's pages. One row or none.
    SELECT operator.id, operator.slug FROM operator LEFT JOIN brand ON brand.operator_id = operator.id
    WHERE (wanted_slug IS NULL OR operator.slug = wanted_slug)
      AND CASE WHEN EXISTS (SELECT FROM brand AS named WHERE named.host = wanted_host)
               THEN brand.host = wanted_host ELSE wanted_slug IS NOT NULL END
$$;

CREATE FUNCTION subscribers_of_email(wanted text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Ids of the operator's subscribers with this e-mail address: a family may share one.
    SELECT id FROM subscriber WHERE operator_id = portico_operator() AND lower(email) = lower(wanted)
    ORDER BY id LIMIT 20
$$;

REVOKE ALL ON FUNCTION subscriber_portal(text, text), subscribers_of_email(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION subscriber_portal(text, text), subscribers_of_email(text) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.create_table(
        "brand",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("colour", sa.String(), server_default="#0f6e84", nullable=False),
        sa.Column("logo", sa.LargeBinary(), nullable=True),
        sa.Column("host", sa.String(), nullable=True),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("whatsapp", sa.String(), nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("terms", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("colour ~ '^#[0-9a-f]{6}$'", name=op.f("ck_brand_colour")),
        sa.CheckConstraint("host = lower(host)", name=op.f("ck_brand_host")),
        sa.CheckConstraint("octet_length(logo) <= 300000", name=op.f("ck_brand_logo")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_brand_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_brand")),
    )
    op.create_index("uq_brand_host", "brand", ["host"], unique=True)
    op.create_table(
        "self_service",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("send_logins", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("plan_change", sa.String(), server_default="ask", nullable=False),
        sa.Column("offered_plans", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("may_boost", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("may_promise", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("may_pause", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("plan_change IN ('no', 'ask', 'at_once')", name=op.f("ck_self_service_plan_change")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_self_service_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_self_service")),
    )
    op.create_table(
        "sign_in_code",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_sign_in_code_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_code")),
    )
    op.create_index("ix_sign_in_code_email", "sign_in_code", ["operator_id", "email", "id"], unique=False)
    op.create_table(
        "sign_in_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("purpose IN ('first', 'recovery')", name=op.f("ck_sign_in_link_purpose")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_sign_in_link_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_sign_in_link_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_link")),
    )
    op.create_index("ix_sign_in_link_subscriber_id", "sign_in_link", ["subscriber_id"], unique=False)
    op.create_index("uq_sign_in_link_token_hash", "sign_in_link", ["token_hash"], unique=True)
    op.create_table(
        "subscriber_login",
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("session_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_subscriber_login_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_subscriber_login_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("pk_subscriber_login")),
    )
    op.create_index("ix_subscriber_login_operator_id", "subscriber_login", ["operator_id"], unique=False)
    op.create_table(
        "plan_request",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="open", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'open') = (decided_at IS NULL)", name=op.f("ck_plan_request_decided")),
        sa.CheckConstraint("state IN ('open', 'done', 'refused', 'withdrawn')", name=op.f("ck_plan_request_state")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_plan_request_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_plan_request_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_plan_request_service_id_service")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_plan_request_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_request")),
    )
    op.create_index("ix_plan_request_operator_id", "plan_request", ["operator_id", "id"], unique=False)
    op.create_index(
        "uq_plan_request_open", "plan_request", ["service_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index("ix_subscriber_email", "subscriber", ["operator_id", sa.text("lower(email)")])
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)
    op.execute(FUNCTIONS)
    # These messages hold a code or a link to sign in by; the log of messages shows what was sent to many of the staff.
    op.execute(
        "CREATE POLICY login_messages ON notification AS RESTRICTIVE FOR SELECT TO portico_portal"
        " USING (kind NOT LIKE 'login.%')"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
