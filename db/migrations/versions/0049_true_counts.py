"""Count the platform's subscribers as licences do, and the services of a reseller that are on plans of its own.

The list of operators and that of resellers counted those who own the vouchers in stock, so they said 46 where the
licence said 44. A parent was not told of services on its network that no plan of its own is behind.
"""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

OPERATORS = """
CREATE OR REPLACE FUNCTION platform_operators()
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
            WHERE subscriber.operator_id = operator.id AND subscriber.removed_at IS NULL
                AND NOT EXISTS (
                    SELECT FROM voucher_settings
                    WHERE voucher_settings.operator_id = operator.id
                        AND subscriber.id IN (
                            voucher_settings.stock_subscriber_id, voucher_settings.counter_subscriber_id
                        )
                )),
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
CREATE OR REPLACE FUNCTION reseller_usage()
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
            WHERE subscriber.operator_id = operator.id AND subscriber.removed_at IS NULL
                AND NOT EXISTS (
                    SELECT FROM voucher_settings
                    WHERE voucher_settings.operator_id = operator.id
                        AND subscriber.id IN (
                            voucher_settings.stock_subscriber_id, voucher_settings.counter_subscriber_id
                        )
                )),
        (SELECT count(*) FROM service WHERE service.operator_id = operator.id
            AND service.state IN ('active', 'suspended', 'paused')),
        (SELECT count(*) FROM session WHERE session.operator_id = operator.id AND session.ended_at IS NULL),
        (SELECT max(staff.last_login_at) FROM staff WHERE staff.operator_id = operator.id)
    FROM operator JOIN account ON account.operator_id = operator.id
    WHERE account.parent_id = portico_operator();
END $$;
"""


WHOLESALE = """
CREATE OR REPLACE FUNCTION wholesale_counts(wanted bigint)
RETURNS TABLE (reseller_id bigint, reseller text, plan_id bigint, plan text, price numeric, services bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- How many services each reseller has on each plan that its parent gives it, and then, without a plan, on others.
    SELECT * FROM (
        SELECT wholesale_price.reseller_id, operator.name::text, wholesale_price.plan_id, wholesale_price.name::text,
            wholesale_price.price,
            (SELECT count(*) FROM service WHERE service.operator_id = wholesale_price.reseller_id
                AND service.plan_id = wholesale_price.reseller_plan_id
                AND service.state IN ('active', 'suspended', 'paused'))
        FROM wholesale_price JOIN operator ON operator.id = wholesale_price.reseller_id
        WHERE wholesale_price.operator_id = wanted
        UNION ALL
        SELECT operator.id, operator.name::text, NULL, '', 0, count(*)
        FROM account
            JOIN operator ON operator.id = account.operator_id
            JOIN service ON service.operator_id = operator.id
        WHERE account.parent_id = wanted
            AND service.state IN ('active', 'suspended', 'paused')
            AND service.access_method <> 'voucher'
            AND NOT EXISTS (
                SELECT FROM wholesale_price
                WHERE wholesale_price.reseller_id = operator.id AND wholesale_price.reseller_plan_id = service.plan_id
            )
        GROUP BY operator.id, operator.name
    ) AS counted
    WHERE session_user <> 'portico_portal' OR wanted = portico_operator()
    ORDER BY 2, 1, 3 NULLS LAST, 4
$$;
"""


def upgrade() -> None:
    """Change the schema."""
    op.execute(OPERATORS)
    op.execute(RESELLERS)
    op.execute(WHOLESALE)
