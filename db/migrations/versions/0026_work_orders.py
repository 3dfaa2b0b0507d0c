"""Leads, work orders and equipment."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "lead": "SELECT, INSERT, UPDATE",
    "equipment": "SELECT, INSERT, UPDATE",
    "equipment_move": "SELECT, INSERT",
    "work_settings": "SELECT, INSERT, UPDATE",
    "work_checklist": "SELECT, INSERT, UPDATE, DELETE",
    "work_order": "SELECT, INSERT, UPDATE",
    "work_order_event": "SELECT, INSERT",
    "work_order_photo": "SELECT, INSERT",
    "material": "SELECT, INSERT, UPDATE",
    "work_order_material": "SELECT, INSERT",
}


def upgrade() -> None:
    op.create_table(
        "material",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("stock", sa.Numeric(precision=12, scale=2), server_default="0", nullable=False),
        sa.Column("reorder_at", sa.Numeric(precision=12, scale=2), server_default="0", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("reorder_at >= 0", name=op.f("ck_material_reorder_at")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_material_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_material")),
    )
    op.create_index("uq_material_name", "material", ["operator_id", sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "work_checklist",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "kind IN ('installation', 'maintenance', 'repair', 'move', 'recovery', 'expansion')",
            name=op.f("ck_work_checklist_kind"),
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_work_checklist_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "kind", name=op.f("pk_work_checklist")),
    )
    op.create_table(
        "work_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("needs_device", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("needs_link_test", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("needs_photo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("needs_signature", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("give_login", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("minutes", sa.Integer(), server_default="120", nullable=False),
        sa.Column("told", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{technical}'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("minutes BETWEEN 15 AND 1440", name=op.f("ck_work_settings_minutes")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_work_settings_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_work_settings")),
    )
    op.create_table(
        "lead",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("source", sa.String(), server_default="other", nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("seller_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("lost_reason", sa.String(), server_default="", nullable=False),
        sa.Column("next_step", sa.String(), server_default="", nullable=False),
        sa.Column("next_step_on", sa.Date(), nullable=True),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'won') = (subscriber_id IS NOT NULL)", name=op.f("ck_lead_won")),
        sa.CheckConstraint("(state IN ('won', 'lost')) = (closed_at IS NOT NULL)", name=op.f("ck_lead_closed")),
        sa.CheckConstraint(
            "source IN ('phone', 'walk_in', 'website', 'referral', 'campaign', 'door', 'other')",
            name=op.f("ck_lead_source"),
        ),
        sa.CheckConstraint("state IN ('new', 'contacted', 'quoted', 'won', 'lost')", name=op.f("ck_lead_state")),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_lead_position_whole")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_lead_operator_id_operator")),
        sa.ForeignKeyConstraint(["plan_id"], ["rate_plan.id"], name=op.f("fk_lead_plan_id_rate_plan")),
        sa.ForeignKeyConstraint(["seller_id"], ["staff.id"], name=op.f("fk_lead_seller_id_staff")),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name=op.f("fk_lead_subscriber_id_subscriber")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lead")),
    )
    op.create_index("ix_lead_created_at", "lead", ["operator_id", "created_at", "id"], unique=False)
    op.create_index("ix_lead_state", "lead", ["operator_id", "state", "id"], unique=False)
    op.create_index("ix_lead_subscriber_id", "lead", ["subscriber_id"], unique=False)
    op.create_table(
        "equipment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), server_default="cpe", nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("serial", sa.String(), server_default="", nullable=False),
        sa.Column("mac", postgresql.MACADDR(), nullable=True),
        sa.Column("state", sa.String(), server_default="stock", nullable=False),
        sa.Column("place", sa.String(), server_default="", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'installed') = (subscriber_id IS NOT NULL)", name=op.f("ck_equipment_installed")),
        sa.CheckConstraint(
            "(state = 'technician') = (staff_id IS NOT NULL)", name=op.f("ck_equipment_with_technician")
        ),
        sa.CheckConstraint(
            "kind IN ('cpe', 'router', 'antenna', 'switch', 'power', 'other')", name=op.f("ck_equipment_kind")
        ),
        sa.CheckConstraint("serial <> '' OR mac IS NOT NULL", name=op.f("ck_equipment_has_a_name")),
        sa.CheckConstraint(
            "state IN ('stock', 'technician', 'installed', 'returned', 'broken', 'lost')",
            name=op.f("ck_equipment_state"),
        ),
        sa.CheckConstraint("service_id IS NULL OR subscriber_id IS NOT NULL", name=op.f("ck_equipment_service")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_equipment_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_equipment_service_id_service")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_equipment_staff_id_staff")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_equipment_subscriber_id_subscriber")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_equipment")),
    )
    op.create_index("ix_equipment_service_id", "equipment", ["service_id"], unique=False)
    op.create_index("ix_equipment_staff_id", "equipment", ["staff_id"], unique=False)
    op.create_index("ix_equipment_state", "equipment", ["operator_id", "state", "id"], unique=False)
    op.create_index("ix_equipment_subscriber_id", "equipment", ["subscriber_id"], unique=False)
    op.create_index(
        "uq_equipment_mac",
        "equipment",
        ["operator_id", "mac"],
        unique=True,
        postgresql_where=sa.text("mac IS NOT NULL"),
    )
    op.create_index(
        "uq_equipment_serial",
        "equipment",
        ["operator_id", sa.literal_column("lower(serial)")],
        unique=True,
        postgresql_where=sa.text("serial <> ''"),
    )
    op.create_table(
        "work_order",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="open", nullable=False),
        sa.Column("priority", sa.String(), server_default="normal", nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("lead_id", sa.BigInteger(), nullable=True),
        sa.Column("ticket_id", sa.BigInteger(), nullable=True),
        sa.Column("seller_id", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("contact_name", sa.String(), server_default="", nullable=False),
        sa.Column("contact_phone", sa.String(), nullable=True),
        sa.Column("technician_id", sa.BigInteger(), nullable=True),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checklist", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("device_mac", sa.String(), nullable=True),
        sa.Column("circuit_test_id", sa.BigInteger(), nullable=True),
        sa.Column("login_given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_name", sa.String(), server_default="", nullable=False),
        sa.Column("signature_id", sa.BigInteger(), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.Column("missing", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("override_reason", sa.String(), server_default="", nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(signed_at IS NULL) = (signed_name = '')", name=op.f("ck_work_order_signed")),
        sa.CheckConstraint(
            "(state IN ('done', 'failed', 'cancelled')) = (ended_at IS NOT NULL)", name=op.f("ck_work_order_ended")
        ),
        sa.CheckConstraint(
            "kind IN ('installation', 'maintenance', 'repair', 'move', 'recovery', 'expansion')",
            name=op.f("ck_work_order_kind"),
        ),
        sa.CheckConstraint("priority IN ('urgent', 'high', 'normal', 'low')", name=op.f("ck_work_order_priority")),
        sa.CheckConstraint("state <> 'scheduled' OR window_start IS NOT NULL", name=op.f("ck_work_order_scheduled")),
        sa.CheckConstraint(
            "state IN ('open', 'scheduled', 'on_the_way', 'in_work', 'done', 'failed', 'cancelled')",
            name=op.f("ck_work_order_state"),
        ),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_work_order_position_whole")),
        sa.CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", name=op.f("ck_work_order_window_whole")),
        sa.CheckConstraint("window_end > window_start", name=op.f("ck_work_order_window")),
        sa.ForeignKeyConstraint(["lead_id"], ["lead.id"], name=op.f("fk_work_order_lead_id_lead")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_work_order_operator_id_operator")),
        sa.ForeignKeyConstraint(["seller_id"], ["staff.id"], name=op.f("fk_work_order_seller_id_staff")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_work_order_service_id_service")),
        sa.ForeignKeyConstraint(
            ["signature_id"], ["stored_file.id"], name=op.f("fk_work_order_signature_id_stored_file")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_work_order_subscriber_id_subscriber")
        ),
        sa.ForeignKeyConstraint(["technician_id"], ["staff.id"], name=op.f("fk_work_order_technician_id_staff")),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"], name=op.f("fk_work_order_ticket_id_ticket")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order")),
    )
    op.create_index("ix_work_order_ended_at", "work_order", ["operator_id", "ended_at"], unique=False)
    op.create_index(
        "ix_work_order_open",
        "work_order",
        ["operator_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('open', 'scheduled', 'on_the_way', 'in_work')"),
    )
    op.create_index("ix_work_order_service_id", "work_order", ["service_id"], unique=False)
    op.create_index("ix_work_order_subscriber_id", "work_order", ["subscriber_id", "id"], unique=False)
    op.create_index("ix_work_order_technician_id", "work_order", ["technician_id", "window_start"], unique=False)
    op.create_index(
        "ix_work_order_ticket_id",
        "work_order",
        ["ticket_id"],
        unique=False,
        postgresql_where=sa.text("ticket_id IS NOT NULL"),
    )
    op.create_index("ix_work_order_window", "work_order", ["operator_id", "window_start", "id"], unique=False)
    op.create_index("uq_work_order_number", "work_order", ["operator_id", "number"], unique=True)
    op.create_table(
        "equipment_move",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("equipment_id", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("place", sa.String(), server_default="", nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("service_id", sa.BigInteger(), nullable=True),
        sa.Column("work_order_id", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["equipment_id"],
            ["equipment.id"],
            name=op.f("fk_equipment_move_equipment_id_equipment"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_equipment_move_operator_id_operator")),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_equipment_move_service_id_service")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_equipment_move_staff_id_staff")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_equipment_move_subscriber_id_subscriber")
        ),
        sa.ForeignKeyConstraint(
            ["work_order_id"], ["work_order.id"], name=op.f("fk_equipment_move_work_order_id_work_order")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_equipment_move")),
    )
    op.create_index("ix_equipment_move_equipment_id", "equipment_move", ["equipment_id", "id"], unique=False)
    op.create_table(
        "work_order_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("work_order_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.String(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("key", sa.String(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_work_order_event_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_work_order_event_staff_id_staff")),
        sa.ForeignKeyConstraint(
            ["work_order_id"], ["work_order.id"], name=op.f("fk_work_order_event_work_order_id_work_order")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order_event")),
    )
    op.create_index("ix_work_order_event_work_order_id", "work_order_event", ["work_order_id", "id"], unique=False)
    op.create_index(
        "uq_work_order_event_key",
        "work_order_event",
        ["work_order_id", "key"],
        unique=True,
        postgresql_where=sa.text("key <> ''"),
    )
    op.create_table(
        "work_order_material",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("work_order_id", sa.BigInteger(), nullable=False),
        sa.Column("material_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_work_order_material_quantity")),
        sa.ForeignKeyConstraint(
            ["material_id"], ["material.id"], name=op.f("fk_work_order_material_material_id_material")
        ),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_work_order_material_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(
            ["work_order_id"], ["work_order.id"], name=op.f("fk_work_order_material_work_order_id_work_order")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order_material")),
    )
    op.create_index("ix_work_order_material_work_order_id", "work_order_material", ["work_order_id"], unique=False)
    op.create_table(
        "work_order_photo",
        sa.Column("work_order_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), server_default="site", nullable=False),
        sa.Column("caption", sa.String(), server_default="", nullable=False),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "subject IN ('site', 'device', 'identity', 'other')", name=op.f("ck_work_order_photo_subject")
        ),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_work_order_photo_position_whole")),
        sa.ForeignKeyConstraint(["file_id"], ["stored_file.id"], name=op.f("fk_work_order_photo_file_id_stored_file")),
        sa.ForeignKeyConstraint(
            ["work_order_id"], ["work_order.id"], name=op.f("fk_work_order_photo_work_order_id_work_order")
        ),
        sa.PrimaryKeyConstraint("work_order_id", "file_id", name=op.f("pk_work_order_photo")),
    )
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
