"""Searching and sorting subscribers and services by the tens of thousands.

Row-level security lets an index serve only comparisons that PostgreSQL knows not to leak, and LIKE is none of them. So
the searches are functions that run as the owner and check the operator themselves. Names are compared without accents
and case: who types "jose nunez" means José Núñez. They are sorted as people sort, Ñ after N.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SEARCH = r"""
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;

CREATE FUNCTION portico_fold(words text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    -- Declared immutable although unaccent() is not: it reads a dictionary that is never changed.
    SELECT lower(public.unaccent('public.unaccent'::regdictionary, words))
$$;

CREATE FUNCTION portico_subscriber_text(name text, email text, phone text, tax_id text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Everything of a subscriber that is searched for; the phone also without blanks and dashes.
    SELECT public.portico_fold(
        name || ' ' || coalesce(email, '') || ' ' || coalesce(phone, '') || ' '
        || coalesce(regexp_replace(phone, '[^0-9]', '', 'g'), '') || ' '
        || coalesce(tax_id, '') || ' ' || coalesce(address, ''))
$$;

ALTER TABLE subscriber ADD COLUMN search_text text NOT NULL
    GENERATED ALWAYS AS (portico_subscriber_text(name, email, phone, tax_id, address)) STORED;
CREATE INDEX ix_subscriber_search_text ON subscriber USING gin (search_text gin_trgm_ops);
DROP INDEX ix_subscriber_name;
CREATE INDEX ix_subscriber_name ON subscriber (operator_id, name COLLATE "und-x-icu", id);
CREATE INDEX ix_subscriber_created_at ON subscriber (operator_id, created_at, id);
CREATE INDEX ix_service_name ON service (operator_id, name, id);
CREATE INDEX ix_service_name_trigrams ON service USING gin (lower(name) gin_trgm_ops);
CREATE INDEX ix_service_created_at ON service (operator_id, created_at, id);

CREATE FUNCTION portico_pattern(word text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT '%' || regexp_replace(word, '([\\%_])', '\\\1', 'g') || '%'
$$;

CREATE FUNCTION search_subscribers(query text) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's subscribers in whose text every word of the query occurs.
DECLARE
    word text;
    conditions text := '';
BEGIN
    FOREACH word IN ARRAY (regexp_split_to_array(portico_fold(trim(query)), '\s+'))[1:8] LOOP
        conditions := conditions || format(' AND search_text LIKE %L', portico_pattern(word));
    END LOOP;
    RETURN QUERY EXECUTE 'SELECT id FROM subscriber WHERE operator_id = $1' || conditions USING portico_operator();
END $$;

CREATE FUNCTION search_services(query text) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's services found by user name, MAC address or subscriber.
DECLARE
    -- MAC addresses are stored with colons; people paste them with dashes.
    pattern text := portico_pattern(CASE
        WHEN query ~* '^[0-9a-f]{2}(-[0-9a-f]{2}){2,5}$' THEN replace(lower(query), '-', ':')
        ELSE lower(trim(query)) END);
BEGIN
    RETURN QUERY EXECUTE format('SELECT id FROM service WHERE operator_id = $1 AND lower(name) LIKE %L', pattern)
        USING portico_operator();
    RETURN QUERY SELECT service_id FROM service_mac
        WHERE operator_id = portico_operator() AND mac::text LIKE pattern;
    RETURN QUERY SELECT service.id FROM service
        WHERE subscriber_id = ANY (ARRAY(SELECT search_subscribers(query)));
END $$;

REVOKE ALL ON FUNCTION search_subscribers(text), search_services(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_subscribers(text), search_services(text) TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.execute(SEARCH)


def downgrade() -> None:
    raise NotImplementedError("nothing older than this schema was ever run")
