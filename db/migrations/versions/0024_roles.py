"""Roles: what each may do at an operator, staff who choose their password by a link, and the search that they share."""

import sqlalchemy as sa
from alembic import op

from db.protect import protect

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

SEARCH = r"""
CREATE FUNCTION search_people(query text, most integer) RETURNS TABLE (subscriber_id bigint, service_id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- The operator's subscribers and services that a few letters most likely mean, likeliest first: names and user names
-- that begin with them; then, where too few do, those in which they occur. That needs three letters of a word, without
-- which no index of trigrams helps. About as many as `most` are returned.
DECLARE
    folded text := portico_fold(trim(query));
    beginning text := regexp_replace(portico_fold(trim(query)), '([\\%_])', '\\\1', 'g') || '%';
    conditions text := '';
    longest integer := 0;
    found integer := 0;
    step integer;
    word text;
BEGIN
    IF folded = '' THEN
        RETURN;
    END IF;
    FOREACH word IN ARRAY (regexp_split_to_array(folded, '\s+'))[1:8] LOOP
        conditions := conditions || format(' AND search_text LIKE %L', portico_pattern(word));
        longest := greatest(longest, length(word));
    END LOOP;
    RETURN QUERY EXECUTE format('SELECT id, NULL::bigint FROM subscriber'
        ' WHERE operator_id = $1 AND search_text LIKE %L LIMIT $2', beginning) USING portico_operator(), most;
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found < most THEN
        RETURN QUERY EXECUTE format('SELECT service.subscriber_id, id FROM service'
            ' WHERE operator_id = $1 AND lower(name) LIKE %L LIMIT $2', beginning) USING portico_operator(), most;
        GET DIAGNOSTICS step = ROW_COUNT;
        found := found + step;
    END IF;
    IF found < most AND longest >= 3 THEN
        RETURN QUERY EXECUTE 'SELECT id, NULL::bigint FROM subscriber WHERE operator_id = $1' || conditions
            || ' LIMIT $2' USING portico_operator(), most;
        GET DIAGNOSTICS step = ROW_COUNT;
        found := found + step;
    END IF;
    IF found < most AND length(folded) >= 3 THEN
        RETURN QUERY EXECUTE format('SELECT service.subscriber_id, id FROM service'
            ' WHERE operator_id = $1 AND lower(name) LIKE %L LIMIT $2', portico_pattern(folded))
            USING portico_operator(), most;
    END IF;
END $$;

REVOKE ALL ON FUNCTION search_people(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_people(text, integer) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.execute(SEARCH)
    op.add_column("staff", sa.Column("awaits_password_since", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "role_permission",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("permission", sa.String(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_role_permission_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "role", "permission", name=op.f("pk_role_permission")),
    )
    op.create_table(
        "staff_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("staff_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_staff_link_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff.id"], name=op.f("fk_staff_link_staff_id_staff"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_link")),
    )
    op.create_index("ix_staff_link_staff_id", "staff_link", ["staff_id"], unique=False)
    op.create_index("uq_staff_link_token", "staff_link", ["operator_id", "token_hash"], unique=True)
    protect("role_permission", "SELECT, INSERT, UPDATE, DELETE")
    protect("staff_link", "SELECT, INSERT, UPDATE (used_at)")
    # These messages hold such a link. The portal's pages show what was sent to whoever may see alerts.
    op.execute(
        "CREATE POLICY staff_links ON notification AS RESTRICTIVE FOR SELECT TO portico_portal"
        " USING (kind <> 'staff.link')"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
