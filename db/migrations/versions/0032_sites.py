"""Sites, sectors, which of them a service hangs on, and what maps show as ground."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "map_settings",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("tiles", sa.String(), server_default="", nullable=False),
        sa.Column("attribution", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_map_settings_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_map_settings")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default="tower", nullable=False),
        sa.Column("latitude", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("longitude", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('tower', 'roof', 'cabinet', 'office', 'other')", name=op.f("ck_site_kind")),
        sa.CheckConstraint("height BETWEEN 0 AND 1000", name=op.f("ck_site_height")),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90", name=op.f("ck_site_latitude")),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180", name=op.f("ck_site_longitude")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_site_nas_id_nas"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_site_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_index("ix_site_nas_id", "site", ["nas_id"], unique=False)
    op.create_index("uq_site_name", "site", ["operator_id", sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "sector",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("nas_id", sa.BigInteger(), nullable=True),
        sa.Column("port", sa.String(), server_default="", nullable=False),
        sa.Column("azimuth", sa.Integer(), server_default="0", nullable=False),
        sa.Column("beam_width", sa.Integer(), server_default="90", nullable=False),
        sa.Column("reach", sa.Integer(), server_default="3000", nullable=False),
        sa.Column("frequency", sa.Integer(), nullable=True),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("most_services", sa.Integer(), nullable=True),
        sa.Column("in_use", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("notes", sa.String(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("azimuth BETWEEN 0 AND 359", name=op.f("ck_sector_azimuth")),
        sa.CheckConstraint("beam_width BETWEEN 1 AND 360", name=op.f("ck_sector_beam_width")),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_sector_capacity")),
        sa.CheckConstraint("frequency BETWEEN 1 AND 300000", name=op.f("ck_sector_frequency")),
        sa.CheckConstraint("most_services > 0", name=op.f("ck_sector_most_services")),
        sa.CheckConstraint("reach BETWEEN 10 AND 100000", name=op.f("ck_sector_reach")),
        sa.ForeignKeyConstraint(["nas_id"], ["nas.id"], name=op.f("fk_sector_nas_id_nas"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_sector_operator_id_operator")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_sector_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sector")),
    )
    op.create_index("ix_sector_operator_id", "sector", ["operator_id", "site_id"], unique=False)
    op.create_index("uq_sector_name", "sector", ["site_id", sa.literal_column("lower(name)")], unique=True)
    op.create_index("uq_sector_port", "sector", ["nas_id", "port"], unique=True, postgresql_where=sa.text("port <> ''"))
    op.add_column("service", sa.Column("sector_id", sa.BigInteger(), nullable=True))
    op.add_column("service", sa.Column("line_of_sight", sa.String(), nullable=True))
    op.create_foreign_key(op.f("fk_service_sector_id_sector"), "service", "sector", ["sector_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_service_line_of_sight"), "service", "line_of_sight IN ('clear', 'partial', 'blocked')"
    )
    op.create_index("ix_service_sector_id", "service", ["sector_id"], postgresql_where=sa.text("sector_id IS NOT NULL"))
    op.create_index(
        "ix_subscriber_position",
        "subscriber",
        ["operator_id", "latitude", "longitude"],
        postgresql_where=sa.text("latitude IS NOT NULL"),
    )
    for table in ("site", "sector"):
        protect(table, "SELECT, INSERT, UPDATE, DELETE")
    protect("map_settings", "SELECT, INSERT, UPDATE")


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
