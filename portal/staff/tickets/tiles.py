"""What the help desk puts on the homes: what waits in the queues of a role, what is late, what is one's own."""

from datetime import timedelta

from flask import request, url_for
from flask_babel import gettext as _
from sqlalchemy import func, select

from core.i18n import N_
from crm.ticket_clock import is_late
from db.models import ROLES, Subscriber, Ticket
from portal import context
from portal.formats import local_minute
from portal.home_tiles import Figure, Figures, Line, Lines, tile
from portal.permissions import Permission

SHOWN = 6
SOON = timedelta(hours=2)

_OPEN = (Ticket.closed_at.is_(None), Ticket.state != "solved")


@tile("tickets", N_("Tickets"), ROLES, Permission.TICKETS_VIEW, order=20)
def counts() -> Figures | None:
    """Count what is new and what is late in the queue of the role whose home this is."""
    queue = _queue()
    row = (
        context.db()
        .execute(
            select(
                func.count().filter(Ticket.state == "new").label("new"),
                func.count().filter(Ticket.due_at < context.now() + SOON).label("soon"),
                func.count().filter(Ticket.due_at < context.now()).label("late"),
            ).where(*_OPEN, Ticket.queue == queue)
        )
        .one()
    )
    return Figures(
        [
            Figure(str(row.new), _("new tickets"), "sparkles", url_for("tickets.index", queue=queue, state="new")),
            Figure(
                str(row.soon),
                _("tickets due within two hours"),
                "alarm",
                url_for("tickets.index", queue=queue),
                note=_("%(count)s late", count=row.late) if row.late else "",
                alarming=bool(row.late),
            ),
        ]
    )


@tile("my_tickets", N_("Tickets that are due first"), ROLES, Permission.TICKETS_VIEW, order=30)
def due_first() -> Lines:
    """List what is mine, or nobody's yet in the queue of the role, by when it breaches."""
    queue, person = _queue(), context.staff()
    query = (
        select(Ticket, Subscriber.name)
        .outerjoin(Subscriber, Subscriber.id == Ticket.subscriber_id)
        .where(
            *_OPEN,
            Ticket.due_at.is_not(None),
            (Ticket.assigned_id == person.id) | ((Ticket.queue == queue) & Ticket.assigned_id.is_(None)),
        )
        .order_by(Ticket.due_at, Ticket.id)
        .limit(SHOWN)
    )
    lines = [
        Line(
            f"#{ticket.number} {ticket.subject}",
            url_for("tickets.page", ticket_id=ticket.id),
            note=name or ticket.sender,
            end=str(local_minute(ticket.due_at)),
            badge=("ticket_state", ticket.state),
            alarming=is_late(ticket, context.now()),
        )
        for ticket, name in context.db().execute(query)
    ]
    return Lines(lines, empty=_("No ticket waits for you."), url=url_for("tickets.index", whose="queue"))


def _queue() -> str:
    """Return the role whose home is shown: as the page itself decides it."""
    mine = [role for role in ROLES if role in context.staff().roles]
    asked = request.args.get("role", "")
    return asked if asked in mine else mine[0] if mine else ""
