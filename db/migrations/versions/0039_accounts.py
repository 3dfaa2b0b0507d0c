"""Accounts of operators: the platform, licences, sign-up, consent, resellers, samples."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.protect import protect

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

PLATFORM = """
CREATE FUNCTION portico_platform() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Whether this transaction acts for the platform, whose staff run the installation.
    SELECT EXISTS (SELECT FROM account WHERE operator_id = portico_operator() AND platform)
$$;

CREATE FUNCTION platform_contact()
RETURNS TABLE (operator_id bigint, adviser text, whatsapp text, contact_email text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- Who runs the installation, for those who sign up and for every operator. One row or none.
    SELECT operator_id, adviser::text, whatsapp::text, contact_email::text FROM account WHERE platform
$$;

CREATE FUNCTION guard_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
-- An operator asks for its removal and hides its first steps; all else of its account is the platform's. No page
-- makes an operator the platform.
BEGIN
    IF current_user <> 'portico_portal' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.platform OR NEW.parent_id IS NOT NULL OR NOT portico_platform() THEN
            RAISE insufficient_privilege USING MESSAGE = 'accounts are opened by open_account()';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.platform, NEW.parent_id) IS DISTINCT FROM (OLD.platform, OLD.parent_id) THEN
        RAISE insufficient_privilege USING MESSAGE = 'no page changes whose an account is';
    END IF;
    IF NOT portico_platform() AND (
        NEW.suspended_at, NEW.suspended_reason, NEW.adviser, NEW.whatsapp, NEW.contact_email, NEW.country
    ) IS DISTINCT FROM (
        OLD.suspended_at, OLD.suspended_reason, OLD.adviser, OLD.whatsapp, OLD.contact_email, OLD.country
    ) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the platform changes this of an account';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION guard_account();

CREATE FUNCTION open_account(
    new_slug text, new_name text, new_locale text, new_currency text, new_zone text, new_country text, places integer
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Enter an operator: the platform a customer with a demo of so many places, an operator a reseller of its own.
DECLARE
    actor bigint := portico_operator();
    made bigint;
BEGIN
    IF actor IS NULL OR EXISTS (SELECT FROM account WHERE operator_id = actor AND parent_id IS NOT NULL) THEN
        RAISE insufficient_privilege USING MESSAGE = 'this operator opens no accounts';
    END IF;
    INSERT INTO operator (slug, name, locale, currency, timezone)
        VALUES (new_slug, new_name, new_locale, new_currency, new_zone) RETURNING id INTO made;
    INSERT INTO account (operator_id, parent_id, country)
        VALUES (made, CASE WHEN portico_platform() THEN NULL ELSE actor END, new_country);
    IF portico_platform() THEN
        INSERT INTO licence (operator_id, name, subscriber_limit, period, currency, made_by)
            VALUES (made, 'Demo', places, 'demo', new_currency, 'sign-up');
    END IF;
    RETURN made;
END $$;
"""

LICENCE = """
CREATE FUNCTION licence_standing(wanted bigint, hold boolean)
RETURNS TABLE (
    root bigint, name text, period text, until date, lapsed boolean, granted integer, subscriber_limit integer,
    used bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- How many subscribers an operator and its resellers may have together, and have. `hold` keeps others from taking a
-- place until this transaction ends. A licence that has run out allows what a demo does.
DECLARE
    head bigint;
    found licence%ROWTYPE;
BEGIN
    IF session_user = 'portico_portal' AND wanted IS DISTINCT FROM portico_operator() AND NOT portico_platform() THEN
        RETURN;
    END IF;
    SELECT coalesce(account.parent_id, wanted) INTO head FROM account WHERE account.operator_id = wanted;
    head := coalesce(head, wanted);
    SELECT * INTO found FROM licence WHERE licence.operator_id = head ORDER BY licence.id DESC LIMIT 1;
    root := head;
    name := coalesce(found.name, '');
    period := found.period;
    until := found.until;
    granted := found.subscriber_limit;
    lapsed := coalesce(found.until < current_date, false);
    subscriber_limit := CASE WHEN lapsed THEN least(found.subscriber_limit, 10) ELSE found.subscriber_limit END;
    IF hold AND subscriber_limit IS NULL THEN
        used := 0;  -- nobody asks: counting a million for each that is entered would be for nothing
        RETURN NEXT;
        RETURN;
    ELSIF hold THEN
        PERFORM pg_advisory_xact_lock(7439, head::integer);
    END IF;
    SELECT count(*) INTO used FROM subscriber
        WHERE subscriber.operator_id IN (
            SELECT head UNION ALL SELECT account.operator_id FROM account WHERE account.parent_id = head
        )
        AND subscriber.removed_at IS NULL
        AND NOT EXISTS (
            SELECT FROM voucher_settings
            WHERE voucher_settings.operator_id = subscriber.operator_id
                AND subscriber.id IN (voucher_settings.stock_subscriber_id, voucher_settings.counter_subscriber_id)
        );
    RETURN NEXT;
END $$;

CREATE FUNCTION platform_operators()
RETURNS TABLE (
    id bigint, slug text, name text, country text, created_at timestamptz, parent text, subscribers bigint,
    online bigint, routers bigint, last_sign_in timestamptz, stored bigint, licence text, subscriber_limit integer,
    period text, until date, suspended_at timestamptz, removes_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
    -- Every operator with what it uses, for the platform's pages and nobody else.
BEGIN
    RETURN QUERY
    SELECT operator.id, operator.slug::text, operator.name::text, account.country::text, operator.created_at,
        parent.name::text,
        (SELECT count(*) FROM subscriber
            WHERE subscriber.operator_id = operator.id AND subscriber.removed_at IS NULL),
        (SELECT count(*) FROM session WHERE session.operator_id = operator.id AND session.ended_at IS NULL),
        (SELECT count(*) FROM nas WHERE nas.operator_id = operator.id),
        (SELECT max(staff.last_login_at) FROM staff WHERE staff.operator_id = operator.id),
        (SELECT coalesce(sum(stored_file.size), 0) FROM stored_file
            WHERE stored_file.operator_id = operator.id),
        newest.name::text, newest.subscriber_limit, newest.period::text, newest.until, account.suspended_at,
        account.removes_at
    FROM operator
    LEFT JOIN account ON account.operator_id = operator.id
    LEFT JOIN operator AS parent ON parent.id = account.parent_id
    LEFT JOIN LATERAL (
        SELECT * FROM licence WHERE licence.operator_id = operator.id ORDER BY licence.id DESC LIMIT 1
    ) AS newest ON true
    WHERE portico_platform() AND account.platform IS NOT TRUE;
END $$;
"""

RESELLERS = """
CREATE FUNCTION reseller_usage()
RETURNS TABLE (
    id bigint, slug text, name text, created_at timestamptz, subscribers bigint, services bigint, online bigint,
    last_sign_in timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
    -- Sums of the resellers of the operator that this transaction acts for; never who their subscribers are.
BEGIN
    RETURN QUERY
    SELECT operator.id, operator.slug::text, operator.name::text, operator.created_at,
        (SELECT count(*) FROM subscriber
            WHERE subscriber.operator_id = operator.id AND subscriber.removed_at IS NULL),
        (SELECT count(*) FROM service WHERE service.operator_id = operator.id
            AND service.state IN ('active', 'suspended', 'paused')),
        (SELECT count(*) FROM session WHERE session.operator_id = operator.id AND session.ended_at IS NULL),
        (SELECT max(staff.last_login_at) FROM staff WHERE staff.operator_id = operator.id)
    FROM operator JOIN account ON account.operator_id = operator.id
    WHERE account.parent_id = portico_operator();
END $$;

CREATE FUNCTION wholesale_counts(wanted bigint)
RETURNS TABLE (reseller_id bigint, reseller text, plan_id bigint, plan text, price numeric, services bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- How many services each reseller has on each plan that its parent gives it.
    SELECT wholesale_price.reseller_id, operator.name::text, wholesale_price.plan_id, wholesale_price.name::text,
        wholesale_price.price,
        (SELECT count(*) FROM service WHERE service.operator_id = wholesale_price.reseller_id
            AND service.plan_id = wholesale_price.reseller_plan_id
            AND service.state IN ('active', 'suspended', 'paused'))
    FROM wholesale_price JOIN operator ON operator.id = wholesale_price.reseller_id
    WHERE wholesale_price.operator_id = wanted
        AND (session_user <> 'portico_portal' OR wanted = portico_operator())
    ORDER BY 2, 4
$$;
"""

REMOVAL = """
CREATE FUNCTION remove_operator(doomed bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '20s' AS $$
-- Remove an operator whose days of grace are over, with every row that is its own, whatever tables there are.
-- What guards books and logs against changes is switched off meanwhile, which holds all writers up for some seconds;
-- what tells radiusd of changes is not.
DECLARE
    guarded record;
    owned text;
    waiting text[];
    stuck text[];
BEGIN
    IF NOT EXISTS (
        SELECT FROM account WHERE operator_id = doomed AND removes_at <= now() AND NOT platform
    ) THEN
        RAISE EXCEPTION 'operator % is not to be removed now', doomed;
    END IF;
    IF EXISTS (SELECT FROM account WHERE parent_id = doomed) THEN
        RAISE EXCEPTION 'operator % has resellers', doomed;
    END IF;
    SELECT array_agg(relation.oid::regclass::text) INTO waiting
        FROM pg_class AS relation
        JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid AND attribute.attname = 'operator_id'
        WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
            AND NOT relation.relispartition;
    FOR guarded IN
        SELECT held.tgrelid::regclass::text AS place, held.tgname AS name
        FROM pg_trigger AS held JOIN pg_proc AS run ON run.oid = held.tgfoid
        WHERE NOT held.tgisinternal AND held.tgparentid = 0 AND run.proname NOT LIKE 'log\\_%'
            AND held.tgrelid::regclass::text = ANY (waiting || 'operator'::text) AND held.tgenabled = 'O'
    LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', guarded.place, guarded.name);
    END LOOP;
    DELETE FROM sign_up WHERE made_operator_id = doomed;
    DELETE FROM consent WHERE asker_operator_id = doomed;
    DELETE FROM wholesale_price WHERE reseller_id = doomed;
    LOOP
        stuck := '{}';
        FOREACH owned IN ARRAY waiting LOOP
            BEGIN
                EXECUTE format('DELETE FROM %s WHERE operator_id = $1', owned) USING doomed;
            EXCEPTION WHEN foreign_key_violation THEN
                stuck := stuck || owned;
            END;
        END LOOP;
        EXIT WHEN stuck = '{}';
        IF stuck = waiting THEN
            RAISE EXCEPTION 'these tables hold each other: %', stuck;
        END IF;
        waiting := stuck;
    END LOOP;
    DELETE FROM operator WHERE id = doomed;
    FOR guarded IN
        SELECT held.tgrelid::regclass::text AS place, held.tgname AS name
        FROM pg_trigger AS held
        JOIN pg_class AS relation ON relation.oid = held.tgrelid
        WHERE NOT held.tgisinternal AND held.tgparentid = 0 AND held.tgenabled = 'D'
            AND relation.relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', guarded.place, guarded.name);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION remove_operator(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION remove_operator(bigint) TO portico_system;
"""

FUNCTIONS = (
    "portico_platform()",
    "platform_contact()",
    "open_account(text, text, text, text, text, text, integer)",
    "licence_standing(bigint, boolean)",
    "platform_operators()",
    "reseller_usage()",
    "wholesale_counts(bigint)",
)
OURS = "operator_id = (SELECT portico_operator())"
BY_PLATFORM = "(SELECT portico_platform())"


def upgrade() -> None:
    # Here already, because the functions that count subscribers leave out those who were removed.
    op.execute("ALTER TABLE subscriber ADD COLUMN removed_at timestamptz")
    op.create_table(
        "account",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("country", sa.String(), nullable=True),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspended_reason", sa.String(), server_default="", nullable=False),
        sa.Column("removal_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removal_asked_by", sa.String(), server_default="", nullable=False),
        sa.Column("removes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("adviser", sa.String(), server_default="", nullable=False),
        sa.Column("whatsapp", sa.String(), server_default="", nullable=False),
        sa.Column("contact_email", sa.String(), server_default="", nullable=False),
        sa.Column("first_steps_hidden", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "parent_id IS NULL OR (parent_id <> operator_id AND NOT platform)", name=op.f("ck_account_parent")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_account_operator_id_operator")),
        sa.ForeignKeyConstraint(["parent_id"], ["operator.id"], name=op.f("fk_account_parent_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_account")),
    )
    op.create_index(
        "ix_account_parent_id",
        "account",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index("uq_account_platform", "account", ["platform"], unique=True, postgresql_where=sa.text("platform"))
    op.create_table(
        "account_request",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), server_default="", nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_account_request_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_request")),
    )
    op.create_index("ix_account_request_operator_id", "account_request", ["operator_id"], unique=False)
    op.create_table(
        "licence",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("subscriber_limit", sa.Integer(), nullable=True),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=4), server_default="0", nullable=False),
        sa.Column("currency", sa.String(), server_default="USD", nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("reminded", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("period IN ('demo', 'monthly', 'annual')", name=op.f("ck_licence_period")),
        sa.CheckConstraint("subscriber_limit > 0 AND price >= 0", name=op.f("ck_licence_amounts")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_licence_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licence")),
    )
    op.create_index("ix_licence_operator_id", "licence", ["operator_id", "id"], unique=False)
    op.create_table(
        "sample_row",
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("entity_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_sample_row_operator_id_operator")),
        sa.PrimaryKeyConstraint("operator_id", "entity", "entity_id", name=op.f("pk_sample_row")),
    )
    op.create_table(
        "sign_up",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_operator_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_sign_up_operator_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_up")),
    )
    op.create_index("ix_sign_up_email", "sign_up", [sa.literal_column("lower(email)"), "created_at"], unique=False)
    op.create_index("uq_sign_up_token", "sign_up", ["token_hash"], unique=True)
    op.create_table(
        "wholesale_statement",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("reseller_id", sa.BigInteger(), nullable=False),
        sa.Column("reseller", sa.String(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operator.id"], name=op.f("fk_wholesale_statement_operator_id_operator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wholesale_statement")),
    )
    op.create_index("uq_wholesale_statement_month", "wholesale_statement", ["reseller_id", "month"], unique=True)
    op.create_table(
        "consent",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("asker_operator_id", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(), server_default="", nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted_by", sa.String(), server_default="", nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("staff_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("hours BETWEEN 1 AND 168", name=op.f("ck_consent_hours")),
        sa.ForeignKeyConstraint(
            ["asker_operator_id"], ["operator.id"], name=op.f("fk_consent_asker_operator_id_operator")
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_consent_operator_id_operator")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_consent_staff_id_staff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index("ix_consent_asker", "consent", ["asker_operator_id"], unique=False)
    op.create_index("ix_consent_operator_id", "consent", ["operator_id", "id"], unique=False)
    op.create_index(
        "ix_consent_staff_id", "consent", ["staff_id"], unique=True, postgresql_where=sa.text("staff_id IS NOT NULL")
    )
    op.create_table(
        "wholesale_price",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("reseller_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("reseller_plan_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_wholesale_price_price")),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], name=op.f("fk_wholesale_price_operator_id_operator")),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["rate_plan.id"], name=op.f("fk_wholesale_price_plan_id_rate_plan"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["reseller_id"], ["operator.id"], name=op.f("fk_wholesale_price_reseller_id_operator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wholesale_price")),
    )
    op.create_index("ix_wholesale_price_operator_id", "wholesale_price", ["operator_id"], unique=False)
    op.create_index("uq_wholesale_price_plan", "wholesale_price", ["reseller_id", "plan_id"], unique=True)

    op.execute(PLATFORM)
    op.execute(LICENCE)
    op.execute(RESELLERS)
    op.execute(REMOVAL)
    op.execute("INSERT INTO account (operator_id) SELECT id FROM operator")
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO portico_portal, portico_system")
    protect("account", "SELECT, INSERT, UPDATE")
    protect("sign_up", "SELECT, INSERT, UPDATE (used_at, made_operator_id, expires_at)")
    protect("consent", "SELECT, INSERT, UPDATE")
    protect("account_request", "SELECT, INSERT, UPDATE (done_at)")
    protect("wholesale_price", "SELECT, INSERT, UPDATE, DELETE")
    protect("wholesale_statement", "SELECT")
    protect("sample_row", "SELECT, INSERT, DELETE")
    # An operator reads its licence and does not write it.
    op.execute("ALTER TABLE licence ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenancy ON licence FOR SELECT TO portico_portal USING ({OURS})")
    op.execute("GRANT SELECT, INSERT ON licence TO portico_portal")
    for table in ("licence", "account", "account_request"):
        op.execute(
            f"CREATE POLICY platform ON {table} TO portico_portal USING ({BY_PLATFORM}) WITH CHECK ({BY_PLATFORM})"
        )
    # Who asks for consent may ask, and see what came of it; giving it is the operator's alone.
    op.execute(
        "CREATE POLICY asker_reads ON consent FOR SELECT TO portico_portal"
        " USING (asker_operator_id = (SELECT portico_operator()))"
    )
    op.execute(
        "CREATE POLICY asker_asks ON consent FOR INSERT TO portico_portal WITH CHECK ("
        "asker_operator_id = (SELECT portico_operator()) AND granted_at IS NULL AND staff_id IS NULL"
        f" AND ({BY_PLATFORM} OR operator_id IN (SELECT id FROM reseller_usage())))"
    )
    # These messages hold a link to an account that is not opened yet.
    op.execute(
        "CREATE POLICY account_links ON notification AS RESTRICTIVE FOR SELECT TO portico_portal"
        " USING (kind <> 'account.link')"
    )


def downgrade() -> None:
    raise NotImplementedError("nothing older was ever run; restore a backup instead")
