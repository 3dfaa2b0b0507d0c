"""Tickets of the help desk, and the files stored with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "stored_file": "SELECT, INSERT, DELETE",
    "help_desk": "SELECT, INSERT, UPDATE",
    "ticket_category": "SELECT, INSERT, UPDATE",
    "ticket": "SELECT, INSERT, UPDATE",
    "ticket_entry": "SELECT, INSERT, UPDATE (ticket_id, message_id)",
    "ticket_file": "SELECT, INSERT",
    "canned_answer": "SELECT, INSERT, UPDATE, DELETE",
    "mailbox": "SELECT, INSERT, UPDATE, DELETE",
    "received_mail": "SELECT, INSERT",
}


def upgrade() -> None:
    op.create_table(
        "help_desk",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hours", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("targets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reopen_days", sa.Integer(), server_default="14", nullable=False),
        sa.Column("close_days", sa.Integer(), server_default="3", nullable=False),
        sa.Column("acknowledge", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("close_days BETWEEN 1 AND 365", name=op.f("ck_help_desk_close_days")),
        sa.CheckConstraint("reopen_days BETWEEN 0 AND 365", name=op.f("ck_help_desk_reopen_days")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_help_desk_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_help_desk")),
    )
    op.create_table(
        "mailbox",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("security", sa.String(), server_default="tls", nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=False),
        sa.Column("folder", sa.String(), server_default="INBOX", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trouble", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("security IN ('tls', 'starttls', 'none')", name=op.f("ck_mailbox_security")),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_mailbox_port")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_mailbox_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_mailbox")),
    )
    op.create_table(
        "stored_file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("size = octet_length(content)", name=op.f("ck_stored_file_size")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_stored_file_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_file")),
    )
    op.create_index("ix_stored_file_operator_id", "stored_file", ["operator_id", "id"], unique=False)
    op.create_table(
        "ticket_category",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), server_default="support", nullable=False),
        sa.Column("priority", sa.String(), server_default="normal", nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("priority IN ('urgent', 'high', 'normal', 'low')", name=op.f("ck_ticket_category_priority")),
        sa.CheckConstraint(
            "queue IN ('manager', 'sales', 'support', 'finance', 'technical')", name=op.f("ck_ticket_category_queue")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ticket_category_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_category")),
    )
    op.create_index(
        "uq_ticket_category_name", "ticket_category", ["operator_id", sa.literal_column("lower(name)")], unique=True
    )
    op.create_table(
        "canned_answer",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("category_id", sa.BigInteger(), nullable=True),
        sa.Column("texts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["ticket_category.id"], name=op.f("fk_canned_answer_category_id_ticket_category")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_canned_answer_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canned_answer")),
    )
    op.create_index(
        "uq_canned_answer_title", "canned_answer", ["operator_id", sa.literal_column("lower(title)")], unique=True
    )
    op.create_table(
        "ticket",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("category_id", sa.BigInteger(), nullable=True),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("assigned_id", sa.BigInteger(), nullable=True),
        sa.Column("merged_into_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), server_default="", nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("language", sa.String(), server_default="en", nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("first_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_left", sa.Integer(), nullable=True),
        sa.Column("first_met", sa.Boolean(), nullable=True),
        sa.Column("solve_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("solve_left", sa.Integer(), nullable=True),
        sa.Column("solve_met", sa.Boolean(), nullable=True),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            sa.Computed("LEAST(first_due_at, solve_due_at)", persisted=True),
            nullable=True,
        ),
        sa.Column("reopened", sa.Integer(), server_default="0", nullable=False),
        sa.Column("satisfaction", sa.Integer(), nullable=True),
        sa.Column("satisfaction_words", sa.String(), server_default="", nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("solved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("priority IN ('urgent', 'high', 'normal', 'low')", name=op.f("ck_ticket_priority")),
        sa.CheckConstraint(
            "queue IN ('manager', 'sales', 'support', 'finance', 'technical')", name=op.f("ck_ticket_queue")
        ),
        sa.CheckConstraint(
            "source IN ('staff', 'portal', 'email', 'captive', 'incident')", name=op.f("ck_ticket_source")
        ),
        sa.CheckConstraint(
            "state IN ('new', 'open', 'waiting_subscriber', 'waiting_others', 'solved', 'closed')",
            name=op.f("ck_ticket_state"),
        ),
        sa.CheckConstraint("satisfaction BETWEEN 1 AND 5", name=op.f("ck_ticket_satisfaction")),
        sa.ForeignKeyConstraint(["assigned_id"], ["staff.id"], name=op.f("fk_ticket_assigned_id_staff")),
        sa.ForeignKeyConstraint(
            ["category_id"], ["ticket_category.id"], name=op.f("fk_ticket_category_id_ticket_category")
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_ticket_incident_id_incident"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["merged_into_id"], ["ticket.id"], name=op.f("fk_ticket_merged_into_id_ticket")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ticket_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscriber.id"], name=op.f("fk_ticket_subscriber_id_subscriber"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket")),
    )
    op.create_index("ix_ticket_created_at", "ticket", ["operator_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_ticket_due_at",
        "ticket",
        ["operator_id", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "ix_ticket_incident_id",
        "ticket",
        ["incident_id"],
        unique=False,
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ticket_solved_at", "ticket", ["solved_at"], unique=False, postgresql_where=sa.text("state = 'solved'")
    )
    op.create_index("ix_ticket_subscriber_id", "ticket", ["subscriber_id", "id"], unique=False)
    op.create_index("uq_ticket_number", "ticket", ["operator_id", "number"], unique=True)
    op.create_table(
        "received_mail",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("ticket_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("outcome IN ('ticket', 'answer', 'ignored')", name=op.f("ck_received_mail_outcome")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_received_mail_operator_id_operator")),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"], name=op.f("fk_received_mail_ticket_id_ticket")),
        sa.PrimaryKeyConstraint("operator_id", "message_id", name=op.f("pk_received_mail")),
    )
    op.create_index("ix_received_mail_created_at", "received_mail", ["operator_id", "created_at"], unique=False)
    op.create_table(
        "ticket_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("body", sa.String(), server_default="", nullable=False),
        sa.Column("quoted", sa.String(), server_default="", nullable=False),
        sa.Column("direction", sa.String(), server_default="", nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("message_id", sa.String(), server_default="", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(kind = 'call') = (direction <> '')", name=op.f("ck_ticket_entry_call")),
        sa.CheckConstraint("direction IN ('', 'in', 'out')", name=op.f("ck_ticket_entry_direction")),
        sa.CheckConstraint("kind IN ('message', 'answer', 'note', 'call', 'event')", name=op.f("ck_ticket_entry_kind")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_ticket_entry_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_ticket_entry_staff_id_staff")),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"], name=op.f("fk_ticket_entry_ticket_id_ticket")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_entry")),
    )
    op.create_index(
        "ix_ticket_entry_message_id",
        "ticket_entry",
        ["operator_id", "message_id"],
        unique=False,
        postgresql_where=sa.text("message_id <> ''"),
    )
    op.create_index("ix_ticket_entry_ticket_id", "ticket_entry", ["ticket_id", "id"], unique=False)
    op.create_table(
        "ticket_file",
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["ticket_entry.id"], name=op.f("fk_ticket_file_entry_id_ticket_entry")),
        sa.ForeignKeyConstraint(["file_id"], ["stored_file.id"], name=op.f("fk_ticket_file_file_id_stored_file")),
        sa.PrimaryKeyConstraint("entry_id", "file_id", name=op.f("pk_ticket_file")),
    )
    op.create_index("ix_ticket_file_file_id", "ticket_file", ["file_id"], unique=False)
    # What a mail says beside its text: Message-ID, In-Reply-To, Reply-To, Auto-Submitted.
    op.add_column(
        "notification", sa.Column("headers", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False)
    )
    for table, rights in PORTAL_RIGHTS.items():
        protect(table, rights)


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
