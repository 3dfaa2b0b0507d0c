"""Sales on the homes: new subscribers, and services that were sold and not connected yet."""

from datetime import datetime, time, timedelta

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import and_, func, select

from core.i18n import N_
from db.models import RatePlan, Service, Subscriber
from portal import context
from portal.formats import ago, number
from portal.home_tiles import Figure, Figures, Line, Lines, tile
from portal.permissions import Permission
from portal.staff.billing import base

SHOWN = 8
LONG = timedelta(days=7)
"""Who has waited longer than this for their connection is worth a call."""


@tile("new_subscribers", N_("New subscribers"), ("sales", "manager"), Permission.SUBSCRIBERS_VIEW, order=14)
def new_subscribers() -> Figures:
    """This month's new subscribers against the last one's up to the same day, and those of today."""
    today, zone = base.today(), context.zone()
    first = today.replace(day=1)
    last_first = base.month_before(first)
    begins = [datetime.combine(day, time(), zone) for day in (today, first, last_first)]
    until_then = min(begins[2] + (context.now() - begins[1]), begins[1])
    row = (
        context.db()
        .execute(
            select(
                func.count().filter(Subscriber.created_at >= begins[0]),
                func.count().filter(Subscriber.created_at >= begins[1]),
                func.count().filter(Subscriber.created_at < until_then),
            ).where(Subscriber.created_at >= begins[2])
        )
        .one()
    )
    note = _("%(number)s by this day of the last one", number=number(row[2]))
    url = url_for("subscribers.index", sort="-created")
    return Figures(
        (
            Figure(number(row[1]), _("new subscribers this month"), "user-plus", url, note, "green"),
            Figure(number(row[0]), _("new subscribers today"), "user-check", url, colour="teal"),
        )
    )


@tile(
    "pending",
    N_("Sold and not connected yet"),
    ("sales", "technical"),
    Permission.SUBSCRIBERS_VIEW,
    order=32,
    wide=True,
)
def pending() -> Lines:
    """Services that wait for their first connection, those that have waited longest first.

    Vouchers in stock are pending services too, but nobody was sold a line.
    """
    session = context.db()
    waiting = and_(Service.state == "pending", Service.access_method != "voucher")
    rows = session.execute(
        select(Service.id, Service.name, Service.created_at, Service.subscriber_id, Subscriber.name.label("subscriber"))
        .add_columns(RatePlan.name.label("plan"))
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(RatePlan, RatePlan.id == Service.plan_id)
        .where(waiting)
        .order_by(Service.created_at)
        .limit(SHOWN)
    )
    late = context.now() - LONG
    return Lines(
        [
            Line(
                row.subscriber,
                url_for("subscribers.page", subscriber_id=row.subscriber_id),
                f"{row.name} · {row.plan}",
                ago(row.created_at),
                alarming=row.created_at < late,
            )
            for row in rows
        ],
        _("Everything that was sold is connected"),
        url_for("services.index", state="pending"),
        session.scalar(select(func.count()).select_from(Service).where(waiting)),
    )
