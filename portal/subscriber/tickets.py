"""Help: the subscriber's tickets with their answers, a new one, and the ways to reach the provider."""

from collections.abc import Mapping

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import SelectField

from core.i18n import N_
from crm.problems import Invalid
from crm.ticket_entries import files_of, public_entries
from crm.tickets import (
    open_ticket,
    rate,
    reply,
)
from db.models import Ticket, TicketCategory
from portal import context
from portal.auth import limiter
from portal.errors import problem_text, put_on_form
from portal.files import send_stored, store_uploads
from portal.forms import Form, long_text, text
from portal.labels import Badge
from portal.messages import done, refuse
from portal.permissions import for_subscribers
from portal.subscriber.frame import actor, blueprint, db, me, mine, one_of_mine, operator

SHOWN = 50
STATES: Mapping[str, Badge] = {
    "new": Badge(N_("Arrived"), "blue", "inbox"),
    "open": Badge(N_("In work"), "azure", "tool"),
    "waiting_subscriber": Badge(N_("Waiting for you"), "orange", "message-question"),
    "waiting_others": Badge(N_("In work"), "azure", "tool"),
    "solved": Badge(N_("Solved"), "green", "check"),
    "closed": Badge(N_("Closed"), "secondary", "lock"),
}
"""States as the person reads them who waits: whom we wait for, if not for them, is ours."""
MOST_STARS = 5


class TicketForm(Form):
    category = SelectField(_l("What is it about?"))
    subject = text(_l("In a few words"), required=True)
    text = long_text(_l("What happens, and since when?"))


class ReplyForm(Form):
    text = long_text(_l("Your answer"))


def _who() -> str:
    return f"{operator().id}:{me().id}"


@blueprint.get("/<slug>/help")
@for_subscribers
def tickets() -> ResponseReturnValue:
    query = mine(Ticket).where(Ticket.merged_into_id.is_(None)).order_by(Ticket.updated_at.desc()).limit(SHOWN)
    return render_template("subscriber/tickets.html", tickets=list(db().scalars(query)), states=STATES)


@blueprint.get("/<slug>/help/new")
@for_subscribers
def new_ticket() -> ResponseReturnValue:
    return render_template("subscriber/ticket_new.html", form=_form())


@blueprint.post("/<slug>/help/new")
@for_subscribers
@limiter.limit("10 per hour; 30 per day", key_func=_who)
def send_ticket() -> ResponseReturnValue:
    form, session = _form(), db()
    if form.validate():
        try:
            files = store_uploads(session, operator().id, "files")
            ticket = open_ticket(
                session,
                actor(),
                me().id,
                int(form.category.data) if form.category.data else None,
                form.subject.data or "",
                form.text.data or "",
                files,
                source="portal",
                now=context.now(),
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            number = ticket.number
            session.commit()
            done(_("Your ticket %(number)s has arrived. The answer comes here and by e-mail.", number=number))
            return redirect(url_for(".ticket", ticket_id=ticket.id))
    return render_template("subscriber/ticket_new.html", form=form), 422


def _form() -> TicketForm:
    form = TicketForm()
    query = select(TicketCategory).where(TicketCategory.operator_id == operator().id, TicketCategory.active)
    found = db().scalars(query.order_by(TicketCategory.name)).all()
    # None is chosen beforehand: who does not look would send it to the role of the first in the alphabet.
    unsure = _("Choose, if one of these fits") if found else _("Something else")
    form.category.choices = [("", unsure), *((str(one.id), one.name) for one in found)]
    return form


@blueprint.get("/<slug>/help/<int:ticket_id>")
@for_subscribers
def ticket(ticket_id: int) -> ResponseReturnValue:
    return _page(one_of_mine(Ticket, ticket_id), ReplyForm())


def _page(found: Ticket, form: ReplyForm) -> str:
    entries = public_entries(db(), found)
    return render_template(
        "subscriber/ticket.html",
        ticket=found,
        state=STATES[found.state],
        entries=entries,
        files=files_of(db(), entries),
        form=form,
        done=found.state in ("solved", "closed"),
    )


@blueprint.post("/<slug>/help/<int:ticket_id>")
@for_subscribers
@limiter.limit("20 per hour", key_func=_who)
def answer_ticket(ticket_id: int) -> ResponseReturnValue:
    found, form, session = one_of_mine(Ticket, ticket_id), ReplyForm(), db()
    try:
        files = store_uploads(session, operator().id, "files")
        entry = reply(session, actor(), found, form.text.data or "", files, author=me().name, now=context.now())
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(one_of_mine(Ticket, ticket_id), form), 422
    stands_in = entry.ticket_id
    session.commit()
    done(_("Your answer has arrived."))
    mine_too = session.scalar(mine(Ticket).where(Ticket.id == stands_in))
    return redirect(url_for(".ticket", ticket_id=ticket_id if mine_too is None else stands_in))


@blueprint.post("/<slug>/help/<int:ticket_id>/rate")
@for_subscribers
def rate_ticket(ticket_id: int) -> ResponseReturnValue:
    found, session = one_of_mine(Ticket, ticket_id), db()
    typed = request.form.get("stars", "")
    if typed not in {str(stars) for stars in range(1, MOST_STARS + 1)}:
        abort(400)
    try:
        rate(session, actor(), found, int(typed), request.form.get("words", "")[:1000], context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("Thank you for telling us."))
    return redirect(url_for(".ticket", ticket_id=ticket_id))


@blueprint.get("/<slug>/help/<int:ticket_id>/files/<int:file_id>")
@for_subscribers
def ticket_file(ticket_id: int, file_id: int) -> ResponseReturnValue:
    """A file that stands in a ticket of the subscriber's own, where they may read it."""
    found = one_of_mine(Ticket, ticket_id)
    entries = public_entries(db(), found)
    files = (file for some in files_of(db(), entries).values() for file in some)
    return send_stored(next((file for file in files if file.id == file_id), None) or abort(404))
