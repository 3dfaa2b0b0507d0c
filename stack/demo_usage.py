"""What the demo's lines have used in the last weeks, so that graphs, forecasts and previews have something to show.

Made once, before anybody has used anything. A line follows the day: little at night, most in the evening, and some days
more than others; what a line with a cap has used since its period began is the sum of its hours.
"""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

SPAN = timedelta(days=31)
_DAY = (14, 8, 5, 4, 4, 6, 12, 22, 30, 34, 36, 40, 46, 48, 44, 46, 52, 60, 74, 92, 100, 96, 70, 34)
"""How much of the busiest hour each hour of the day is, in percent."""
_FILL = """
WITH line AS (
  SELECT s.id, s.operator_id, coalesce(s.terminated_at, s.suspended_at, :now) AS until, p.download, u.period_start,
         u.octets_in + u.octets_out AS used
  FROM service s
  JOIN rate_plan p ON p.id = s.plan_id
  LEFT JOIN usage_period u ON u.service_id = s.id AND u.period_start <= :now AND u.period_end > :now
  WHERE s.operator_id = :operator_id AND s.access_method = 'pppoe' AND s.activated_at < :since
), each AS (
  SELECT line.*, hour, (CAST(:day AS int[]))[1 + extract(hour FROM hour AT TIME ZONE :zone)::int]
         * (70 + (line.id * 31 + extract(doy FROM hour AT TIME ZONE :zone)::int * 17) % 61) / 100.0 AS weight
  FROM line,
       generate_series(date_trunc('hour', CAST(:since AS timestamptz)), :now - interval '1 hour', '1 hour') AS hour
  WHERE hour >= coalesce(period_start, hour) AND hour < until
), amount AS (
  SELECT id, hour, operator_id, CASE WHEN used IS NULL THEN download / 8 * 3600 * weight / 2000
         ELSE used * weight / sum(weight) OVER (PARTITION BY id) END AS octets
  FROM each
)
INSERT INTO usage_hour (service_id, hour, operator_id, octets_in, octets_out)
SELECT id, hour, operator_id, octets / 8, octets - octets / 8 FROM amount
ON CONFLICT DO NOTHING
"""


def use_demo(session: Session, operator_id: int, zone: str, now: datetime) -> None:
    """Fill in the past weeks of the operator's lines; nothing where there is usage already."""
    where = {"operator_id": operator_id}
    if session.scalar(text("SELECT true FROM usage_hour WHERE operator_id = :operator_id LIMIT 1"), where):
        return
    session.execute(text(_FILL), {**where, "now": now, "since": now - SPAN, "zone": zone, "day": list(_DAY)})
