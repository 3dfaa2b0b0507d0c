"""The statements with which a batch of journal records is read against and written to PostgreSQL (radius.batch)."""

SILENCE = "10 minutes"
"""A NAS of which nothing was heard for longer was silent as a whole."""
KNOWN_OF_A_KEY = 4
"""Sessions looked at for one key; some devices use one session id for ever."""

NEW_SESSION = """session (
    started_at, operator_id, nas_id, service_id, acct_session_id, user_name, calling_station_id, called_station_id,
    nas_port_id, nas_identifier, nas_ip_address, kind, mac, framed_ip, framed_ipv6_prefix, delegated_ipv6_prefix,
    updated_at, ended_at, session_time, octets_in, octets_out, packets_in, packets_out, input_octets, output_octets,
    terminate_cause, ended_by, terms_id, reported_rate, interim_interval
)"""

TEMPORARY_TABLES = (
    """
    CREATE TEMPORARY TABLE changed_session (
        id bigint, started double precision, heard double precision, ended double precision,
        stored_end double precision, ended_by text, cause text, session_time bigint, octets_in bigint,
        octets_out bigint, packets_in bigint, packets_out bigint, input_octets bigint, output_octets bigint,
        framed_ip inet, framed_ipv6_prefix cidr, delegated_ipv6_prefix cidr, reported_rate text, service_id bigint,
        terms_id bytea, interim_interval integer
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE wanted_session (nas_id bigint, acct_session_id text, user_name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE asking_session (operator_id bigint, nas_id bigint, acct_session_id text, user_name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE asked_name (number integer, rank integer, operator_id bigint, namespace text, name text)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE replaced_session (service_id bigint, mac macaddr, kind text, at double precision)
    ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE grown_hour (
        service_id bigint, hour bigint, operator_id bigint, octets_in bigint, octets_out bigint
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE grown_period (
        service_id bigint, begins double precision, ends double precision, operator_id bigint,
        octets_in bigint, octets_out bigint, octets_free bigint
    ) ON COMMIT DELETE ROWS
    """,
)

# The columns are those of SessionState, in its order.
STATES = f"""
SELECT s.nas_id, s.operator_id, s.acct_session_id, s.user_name, s.calling_station_id,
       extract(epoch FROM s.started_at)::double precision, extract(epoch FROM s.updated_at)::double precision,
       s.kind, s.mac::text, s.id, s.service_id, s.session_time, s.input_octets, s.output_octets, s.octets_in,
       s.octets_out, s.packets_in, s.packets_out, extract(epoch FROM s.ended_at)::double precision, s.ended_by,
       s.terminate_cause, host(s.framed_ip), s.framed_ipv6_prefix::text, s.delegated_ipv6_prefix::text,
       s.reported_rate, s.terms_id, s.interim_interval, s.called_station_id, s.nas_port_id, s.nas_identifier,
       host(s.nas_ip_address)
FROM wanted_session k
CROSS JOIN LATERAL (
    SELECT * FROM session
    WHERE session.nas_id = k.nas_id AND session.acct_session_id = k.acct_session_id
      AND session.user_name = k.user_name AND session.started_at >= %s AND session.started_at < %s
    ORDER BY session.started_at DESC LIMIT {KNOWN_OF_A_KEY}
) s
"""  # noqa: S608 - a constant

# What somebody else has changed about the end of a session stays, unless its Stop has come.
CHANGE_SESSIONS = """
UPDATE session s SET
    updated_at = to_timestamp(c.heard),
    ended_at = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                    THEN to_timestamp(c.ended) ELSE s.ended_at END,
    ended_by = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                    THEN c.ended_by ELSE s.ended_by END,
    terminate_cause = CASE WHEN c.ended_by = 'stop' OR s.ended_at IS NOT DISTINCT FROM to_timestamp(c.stored_end)
                           THEN c.cause ELSE s.terminate_cause END,
    session_time = c.session_time, octets_in = c.octets_in, octets_out = c.octets_out, packets_in = c.packets_in,
    packets_out = c.packets_out, input_octets = c.input_octets, output_octets = c.output_octets,
    framed_ip = c.framed_ip, framed_ipv6_prefix = c.framed_ipv6_prefix,
    delegated_ipv6_prefix = c.delegated_ipv6_prefix, reported_rate = c.reported_rate,
    service_id = coalesce(s.service_id, c.service_id), terms_id = coalesce(s.terms_id, c.terms_id),
    interim_interval = c.interim_interval
FROM changed_session c
WHERE s.id = c.id AND s.started_at = to_timestamp(c.started)
"""

ADD_HOURS = """
INSERT INTO usage_hour (service_id, hour, operator_id, octets_in, octets_out)
SELECT service_id, to_timestamp(hour * 3600), operator_id, octets_in, octets_out FROM grown_hour
ON CONFLICT (service_id, hour) DO UPDATE SET
    octets_in = usage_hour.octets_in + excluded.octets_in, octets_out = usage_hour.octets_out + excluded.octets_out
"""

# When an operator has moved its cut-off day, the period that begins ends those that it overlaps: a service is never in
# two periods at once.
ADD_PERIODS = """
WITH counted AS (
    INSERT INTO usage_period AS u
        (service_id, period_start, period_end, operator_id, octets_in, octets_out, octets_free)
    SELECT service_id, to_timestamp(begins), to_timestamp(ends), operator_id, octets_in, octets_out, octets_free
    FROM grown_period
    ON CONFLICT (service_id, period_start) DO UPDATE SET
        period_end = excluded.period_end, octets_in = u.octets_in + excluded.octets_in,
        octets_out = u.octets_out + excluded.octets_out, octets_free = u.octets_free + excluded.octets_free
    RETURNING u.service_id, u.period_start, u.period_end, xmax = 0 AS begun
)
UPDATE usage_period u SET period_end = greatest(u.period_start, least(u.period_end, c.period_start))
FROM counted c
WHERE c.begun AND u.service_id = c.service_id AND u.period_start <> c.period_start
  AND u.period_start < c.period_end AND u.period_end > c.period_start
"""

# The plans that bound what is used, with all that the loader needs of them.
BOUNDED_PLANS = """
SELECT id, cap_octets, steps, bonus_hours, rollover_periods, rollover_most FROM rate_plan
WHERE cap_octets IS NOT NULL OR steps <> '[]' OR bonus_hours <> '[]'
"""

PLANS_OF = "SELECT id, plan_id FROM service WHERE id = ANY(%s::bigint[]) AND plan_id = ANY(%s)"

# The services that have just reached the cap or a step of their plan, in the period that is running.
CAPPED = """
SELECT DISTINCT g.service_id
FROM grown_period g
JOIN service s ON s.id = g.service_id
JOIN unnest(%s::bigint[], %s::bigint[]) AS t(plan_id, octets) ON t.plan_id = s.plan_id
JOIN usage_period u ON u.service_id = g.service_id AND u.period_start = to_timestamp(g.begins)
CROSS JOIN LATERAL (
    SELECT u.octets_in + u.octets_out - u.octets_free AS now,
           t.octets + u.rolled_over + CASE WHEN s.top_up_until > now() THEN s.top_up_octets ELSE 0 END AS allowed
) x
WHERE x.allowed <= x.now AND x.allowed > x.now - (g.octets_in + g.octets_out - g.octets_free)
  AND now() >= u.period_start AND now() < u.period_end
"""

# Only the latest day and week are kept; what comes late for an earlier one is in usage_hour alone.
ADD_SPANS = """
INSERT INTO usage_span AS u (service_id, span, begins, ends, operator_id, octets)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[])
ON CONFLICT (service_id, span) DO UPDATE SET
    begins = greatest(u.begins, excluded.begins), ends = greatest(u.ends, excluded.ends),
    octets = CASE WHEN u.begins = excluded.begins THEN u.octets + excluded.octets
                  WHEN u.begins < excluded.begins THEN excluded.octets ELSE u.octets END
RETURNING service_id, span, begins, octets
"""

# The periods that these services have begun without being told yet what they may use in them.
BEGUN_PERIODS = """
SELECT u.service_id, u.period_start, u.period_end, u.octets_in + u.octets_out - u.octets_free, u.cap_octets,
       u.period_start <= now() AND u.period_end > now() AND u.cap_octets IS NULL
FROM usage_period u
WHERE u.service_id = ANY(%(ids)s) AND EXISTS (
    SELECT FROM usage_period n WHERE n.service_id = u.service_id AND n.period_start <= now() AND n.period_end > now()
      AND n.cap_octets IS NULL)
ORDER BY u.service_id, u.period_start
"""

ALLOW_PERIODS = """
UPDATE usage_period u SET cap_octets = n.cap, rolled_over = n.rolled
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[]) AS n(service_id, begins, cap, rolled)
WHERE u.service_id = n.service_id AND u.period_start = n.begins
"""

# What vouchers have used, counted anew from all their sessions: it does not matter in which order accounting came.
COUNT_VOUCHERS = """
UPDATE voucher v SET
    online_seconds = greatest(v.online_seconds, u.seconds), octets = greatest(v.octets, u.octets),
    first_login_at = least(v.first_login_at, u.first), code = NULL
FROM (
    SELECT s.service_id, sum(s.session_time) AS seconds, sum(s.octets_in + s.octets_out) AS octets,
           min(s.started_at) AS first
    FROM session s JOIN voucher w ON w.service_id = s.service_id
    WHERE s.service_id = ANY(%s::bigint[]) GROUP BY s.service_id
) u
WHERE v.service_id = u.service_id
"""

START_VOUCHERS = """
UPDATE voucher v SET first_login_at = e.at, code = NULL
FROM (
    SELECT id, to_timestamp(min(at)) AS at FROM unnest(%s::bigint[], %s::double precision[]) AS n(id, at) GROUP BY id
) e
WHERE v.service_id = e.id AND (v.first_login_at IS NULL OR v.first_login_at > e.at)
"""

CLOSE_RESTARTED = """
UPDATE session s SET ended_at = to_timestamp(p.at), ended_by = p.by
FROM unnest(%s::bigint[], %s::double precision[], %s::text[]) AS p(nas_id, at, by)
WHERE s.nas_id = p.nas_id AND s.ended_at IS NULL AND s.started_at < to_timestamp(p.at) AND NOT s.id = ANY(%s::bigint[])
RETURNING s.service_id
"""

CLOSE_REPLACED = """
UPDATE session s SET ended_at = to_timestamp(p.at), ended_by = 'superseded'
FROM replaced_session p
WHERE s.service_id = p.service_id AND s.mac = p.mac AND s.kind = p.kind AND s.ended_at IS NULL
  AND s.started_at < to_timestamp(p.at) AND NOT s.id = ANY(%s::bigint[])
  AND s.started_at + s.session_time * interval '1 second' <= to_timestamp(p.at + %s)
RETURNING s.service_id
"""

CLOSE_REBOOTED = """
UPDATE session SET ended_at = to_timestamp(%(at)s), ended_by = 'reboot'
WHERE nas_id = %(nas_id)s AND ended_at IS NULL AND NOT id = ANY(%(read)s::bigint[])
  AND acct_session_id ~ '^8[0-6][0-9a-f]{6}$' AND left(acct_session_id, 2) = %(prefix)s
  AND substr(acct_session_id, 3, 1) <> %(digit)s
  AND started_at < to_timestamp(%(at)s)
  AND started_at + session_time * interval '1 second' <= to_timestamp(%(at)s + %(slack)s)
RETURNING service_id
"""

SERVICE_FACTS = """
SELECT service.id, service.operator_id, service.session_limit,
       extract(epoch FROM rate_plan.interim_interval)::integer
FROM service JOIN rate_plan ON rate_plan.id = service.plan_id
WHERE service.id = ANY(%s::bigint[])
"""

ACCEPTED = """
SELECT k.nas_id, k.acct_session_id, k.user_name, e.service_id, e.terms_id
FROM asking_session k
CROSS JOIN LATERAL (
    SELECT service_id, terms_id FROM auth_event
    WHERE auth_event.operator_id = k.operator_id AND auth_event.user_name = k.user_name
      AND auth_event.nas_id = k.nas_id AND auth_event.acct_session_id = k.acct_session_id
      AND auth_event.at >= %s AND auth_event.terms_id IS NOT NULL AND auth_event.service_id IS NOT NULL
    ORDER BY auth_event.at DESC LIMIT 1
) e
"""

NAMED = """
SELECT DISTINCT ON (k.number) k.number, s.id
FROM asked_name k
JOIN service s ON s.operator_id = k.operator_id AND s.name = k.name AND s.state <> 'terminated'
     AND k.namespace = CASE s.access_method
         WHEN 'mac' THEN 'm' WHEN 'voucher' THEN 'v' WHEN 'line' THEN 'l' ELSE 'n' END
ORDER BY k.number, k.rank
"""

LEARNERS = """
SELECT s.id, s.operator_id, s.max_macs - (SELECT count(*) FROM service_mac m WHERE m.service_id = s.id)
FROM service s WHERE s.id = ANY(%s::bigint[]) AND s.mac_binding = 'learn'
  AND s.max_macs > (SELECT count(*) FROM service_mac m WHERE m.service_id = s.id)
"""

SEEN = """
INSERT INTO seen_device AS d
    (operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, first_seen_at, last_seen_at)
SELECT operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, at, at
FROM unnest(%s::bigint[], %s::macaddr[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
            %s::timestamptz[])
     AS n(operator_id, mac, nas_id, kind, called_station_id, nas_port_id, times, at)
ON CONFLICT (operator_id, mac) DO UPDATE SET
    nas_id = excluded.nas_id, kind = excluded.kind, called_station_id = excluded.called_station_id,
    nas_port_id = excluded.nas_port_id, times = d.times + excluded.times,
    last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
"""

FORGET_SEEN = """
DELETE FROM seen_device d USING (
    SELECT mac FROM seen_device WHERE operator_id = %(operator)s ORDER BY last_seen_at DESC OFFSET %(most)s
) old
WHERE d.operator_id = %(operator)s AND d.mac = old.mac
"""

HEARD = f"""
INSERT INTO nas_heard AS h (nas_id, last_packet_at, talking_since, operator_id)
SELECT nas_id, at, at, operator_id
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS n(nas_id, at, operator_id)
ON CONFLICT (nas_id) DO UPDATE SET
    talking_since = CASE WHEN excluded.last_packet_at > h.last_packet_at + interval '{SILENCE}'
                         THEN excluded.last_packet_at ELSE h.talking_since END,
    last_packet_at = greatest(h.last_packet_at, excluded.last_packet_at), operator_id = excluded.operator_id
"""  # noqa: S608 - a constant
