"""Row-level security, roles, the change log's triggers, the audit chain, default partitions.

The portal's role gets the rights listed here and nothing else: a table that is not listed is closed to it. A test
walks the catalogue and holds every table to that.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PORTAL_RIGHTS = {
    "operator": "SELECT, UPDATE",
    "staff": "SELECT, INSERT, UPDATE",
    "subscriber": "SELECT, INSERT, UPDATE, DELETE",
    "rate_plan": "SELECT, INSERT, UPDATE, DELETE",
    "nas": "SELECT, INSERT, UPDATE, DELETE",
    "service": "SELECT, INSERT, UPDATE, DELETE",
    "service_mac": "SELECT, INSERT, UPDATE, DELETE",
    "seen_device": "SELECT, DELETE",
    "session": "SELECT, UPDATE (ended_at, ended_by, terminate_cause)",
    "usage_hour": "SELECT",
    "usage_period": "SELECT",
    "auth_event": "SELECT",
    "terms": "SELECT, INSERT",
    "service_grant": "SELECT",
    "enforcement_order": "SELECT, INSERT, UPDATE (state, finished_at, next_attempt_at, outcome)",
    "enforcement_attempt": "SELECT",
    "audit_entry": "SELECT, INSERT",
}

ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portico_system') THEN
        CREATE ROLE portico_system NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portico_portal') THEN
        CREATE ROLE portico_portal NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO portico_system, portico_portal;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO portico_system;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO portico_system;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO portico_system;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO portico_system;
"""

OPERATOR = """
CREATE FUNCTION portico_operator() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- The operator that this transaction acts for, or NULL. The setting is 'id:signature'; see db.session.
DECLARE
    claim text := current_setting('portico.operator', true);
    id text := split_part(claim, ':', 1);
    key bytea;
BEGIN
    IF claim IS NULL OR claim = '' OR id !~ '^[0-9]{1,18}$' THEN
        RETURN NULL;
    END IF;
    SELECT tenancy_key.key INTO key FROM tenancy_key WHERE tenancy_key.id = 1;
    IF encode(sha256(key || convert_to(id, 'UTF8') || key), 'hex') = split_part(claim, ':', 2) THEN
        RETURN id::bigint;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION staff_login(login text)
RETURNS TABLE (id bigint, operator_id bigint, password_hash text, session_version integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- What signing in needs before the operator is known. One row or none.
    SELECT staff.id, staff.operator_id, staff.password_hash, staff.session_version
    FROM staff WHERE lower(staff.email) = lower(login) AND staff.active
$$;

CREATE FUNCTION installation_health()
RETURNS TABLE (node text, image_age interval, load_age interval, journal_backlog bigint, report jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- What the pieces of each node last reported, for the dashboard of any operator.
    SELECT name, now() - image_updated_at, now() - loaded_at, journal_backlog, report FROM node
$$;

REVOKE ALL ON FUNCTION portico_operator(), staff_login(text), installation_health() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION portico_operator(), staff_login(text), installation_health()
    TO portico_portal, portico_system;
"""

CHANGES = """
CREATE FUNCTION log_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Arguments: the kind logged, and the column of the changed rows that holds its id.
DECLARE
    changed bigint[];
BEGIN
    EXECUTE format('SELECT array_agg(DISTINCT %I) FROM changed', TG_ARGV[1]) INTO changed;
    IF changed IS NOT NULL THEN
        INSERT INTO change_log (kind, ids) VALUES (TG_ARGV[0], changed);
        PERFORM pg_notify('portico_change', TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION log_subscriber_language() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Of a subscriber, only the language is part of what radiusd answers.
DECLARE
    changed bigint[];
BEGIN
    SELECT array_agg(service.id) INTO changed
    FROM after_rows JOIN before_rows USING (id) JOIN service ON service.subscriber_id = after_rows.id
    WHERE after_rows.language IS DISTINCT FROM before_rows.language;
    IF changed IS NOT NULL THEN
        INSERT INTO change_log (kind, ids) VALUES ('service', changed);
        PERFORM pg_notify('portico_change', 'service');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER log_language AFTER UPDATE ON subscriber
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION log_subscriber_language();
"""

LOGGED = {
    "service": ("service", "id"),
    "service_mac": ("service", "service_id"),
    "rate_plan": ("plan", "id"),
    "nas": ("nas", "id"),
    "operator": ("operator", "id"),
}

AUDIT = """
CREATE FUNCTION chain_audit_entry() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- One operator's entries are added one after the other, so that each can carry the hash of the one before.
DECLARE
    previous bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(7461, NEW.operator_id::integer);
    NEW.id := nextval(pg_get_serial_sequence('audit_entry', 'id'));
    NEW.at := clock_timestamp();
    SELECT hash INTO previous FROM audit_entry WHERE operator_id = NEW.operator_id ORDER BY id DESC LIMIT 1;
    NEW.hash := audit_hash(previous, NEW);
    RETURN NEW;
END $$;

CREATE FUNCTION audit_hash(previous bytea, entry audit_entry) RETURNS bytea
LANGUAGE sql STABLE SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
    SELECT sha256(coalesce(previous, ''::bytea) || convert_to(jsonb_build_array(
        entry.id, entry.operator_id, extract(epoch FROM entry.at), entry.actor, entry.staff_id, entry.address,
        entry.action, entry.entity, entry.entity_id, entry.before, entry.after)::text, 'UTF8'))
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER chain BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION chain_audit_entry();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_entry EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for table in ("session", "usage_hour", "auth_event"):
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    op.execute(ROLES)
    op.execute(OPERATOR)
    for table, rights in PORTAL_RIGHTS.items():
        tenant = "id" if table == "operator" else "operator_id"
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenancy ON {table} TO portico_portal"
            f" USING ({tenant} = (SELECT portico_operator())) WITH CHECK ({tenant} = (SELECT portico_operator()))"
        )
        op.execute(f"GRANT {rights} ON {table} TO portico_portal")
    op.execute(CHANGES)
    for table, (kind, column) in LOGGED.items():
        for event, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            op.execute(
                f"CREATE TRIGGER log_{event.lower()} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed"
                f" FOR EACH STATEMENT EXECUTE FUNCTION log_change('{kind}', '{column}')"
            )
    op.execute(AUDIT)


def downgrade() -> None:
    raise NotImplementedError("the first schema has nothing to go back to; restore a backup instead")
