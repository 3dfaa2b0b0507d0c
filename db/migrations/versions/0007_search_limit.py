"""Searches that stop when they have found enough.

One or two letters match half of the subscribers. Nobody reads those, so a page asks for as many as it will show and
count; only an export asks for all (NULL).
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SEARCH = r"""
DROP FUNCTION search_subscribers(text);
DROP FUNCTION search_services(text);

CREATE FUNCTION search_subscribers(query text, most integer DEFAULT 2001) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's subscribers in whose text every word of the query occurs, at most so many.
DECLARE
    word text;
    conditions text := '';
BEGIN
    FOREACH word IN ARRAY (regexp_split_to_array(portico_fold(trim(query)), '\s+'))[1:8] LOOP
        conditions := conditions || format(' AND search_text LIKE %L', portico_pattern(word));
    END LOOP;
    RETURN QUERY EXECUTE 'SELECT id FROM subscriber WHERE operator_id = $1' || conditions || ' LIMIT $2'
        USING portico_operator(), most;
END $$;

CREATE FUNCTION search_services(query text, most integer DEFAULT 2001) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
-- Ids of the operator's services found by user name, MAC address or subscriber, at most so many of each.
DECLARE
    -- MAC addresses are stored with colons; people paste them with dashes.
    pattern text := portico_pattern(CASE
        WHEN query ~* '^[0-9a-f]{2}(-[0-9a-f]{2}){2,5}$' THEN replace(lower(query), '-', ':')
        ELSE lower(trim(query)) END);
BEGIN
    RETURN QUERY EXECUTE
        format('SELECT id FROM service WHERE operator_id = $1 AND lower(name) LIKE %L LIMIT $2', pattern)
        USING portico_operator(), most;
    IF query ~ '[:-]' THEN
        RETURN QUERY SELECT service_id FROM service_mac
            WHERE operator_id = portico_operator() AND mac::text LIKE pattern LIMIT most;
    END IF;
    RETURN QUERY SELECT service.id FROM service
        WHERE subscriber_id = ANY (ARRAY(SELECT search_subscribers(query, most)));
END $$;

REVOKE ALL ON FUNCTION search_subscribers(text, integer), search_services(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_subscribers(text, integer), search_services(text, integer)
    TO portico_portal, portico_system;
"""


def upgrade() -> None:
    op.execute(SEARCH)


def downgrade() -> None:
    raise NotImplementedError("nothing older than this schema was ever run")
