"""A ticket by its link, without signing in: what was said, what to add, and how it went.

The link stands in each mail about the ticket. It holds a key that cannot be guessed and opens this ticket alone; what
it shows is what was written to the subscriber anyway.
"""

from flask import Blueprint, Flask, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.problems import Invalid
from crm.ticket_entries import files_of, public_entries
from crm.ticket_mail import operator_of_link, ticket_of_link
from crm.tickets import (
    rate,
    reply,
)
from db.audit import Actor
from db.models import Operator, StoredFile, Subscriber, Ticket
from portal import context, forms
from portal.auth import limiter
from portal.errors import put_on_form
from portal.files import send_stored, store_uploads, take_files
from portal.i18n import LANGUAGE_COOKIE
from portal.messages import done
from portal.permissions import public

blueprint = Blueprint("ticket", __name__, url_prefix="/ticket")
take_files(blueprint, "add")


def _link_text() -> str:
    """What attempts are counted by: a whole village may come from one address, and links cannot be guessed."""
    return str((request.view_args or {}).get("text", ""))


class AddForm(forms.Form):
    text = forms.long_text(_l("Add something"))


@blueprint.get("/<text>")
@public
@limiter.limit("60 per minute", key_func=_link_text)
def page(text: str) -> ResponseReturnValue:
    session, ticket = _opened(text)
    return _page(session, ticket, text, AddForm())


@blueprint.post("/<text>")
@public
@limiter.limit("6 per minute; 30 per hour", key_func=_link_text)
def add(text: str) -> ResponseReturnValue:
    session, ticket = _opened(text)
    form = AddForm()
    try:
        files = store_uploads(session, ticket.operator_id, "files")
        actor = _actor(session, ticket)
        reply(session, actor, ticket, form.text.data or "", files, author=actor.name, now=context.now())
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(session, _opened(text)[1], text, form), 422
    session.commit()
    done(_("Thank you. We read it and answer."))
    return redirect(url_for(".page", text=text))


@blueprint.post("/<text>/rate")
@public
@limiter.limit("10 per minute", key_func=_link_text)
def stars(text: str) -> ResponseReturnValue:
    session, ticket = _opened(text)
    if ticket.state not in ("solved", "closed") or ticket.merged_into_id is not None:
        abort(409)
    try:
        words = request.form.get("words", "")
        given = request.form.get("stars", 0, int)
        rate(session, _actor(session, ticket), ticket, given, words, context.now())
    except Invalid:
        abort(400)
    session.commit()
    done(_("Thank you for telling us."))
    return redirect(url_for(".page", text=text))


@blueprint.get("/<text>/files/<int:file_id>")
@public
@limiter.limit("120 per minute", key_func=_link_text)
def file(text: str, file_id: int) -> ResponseReturnValue:
    session, ticket = _opened(text)
    files = files_of(session, public_entries(session, ticket))
    if not any(file_id == each.id for some in files.values() for each in some):
        abort(404)
    return send_stored(session.get_one(StoredFile, file_id))


def _opened(text: str) -> tuple[Session, Ticket]:
    """Return the ticket of a link, with a session of its operator; 404 for any other."""
    operator_id = operator_of_link(text)
    if operator_id is None:
        abort(404)
    person = context.signed_in_staff()
    if person is not None and person.operator_id != operator_id:
        # The request's session acts for the operator of who is signed in; this page is another's.
        context.close_db()
        g.staff = None
    session = context.open_for(operator_id)
    ticket = ticket_of_link(session, text)
    if ticket is None:
        abort(404)
    if ticket.language in LANGUAGES and LANGUAGE_COOKIE not in request.cookies:
        g.language = ticket.language
    return session, ticket


def _actor(session: Session, ticket: Ticket) -> Actor:
    subscriber = session.get(Subscriber, ticket.subscriber_id) if ticket.subscriber_id is not None else None
    name = subscriber.name if subscriber else ticket.sender or "–"
    return Actor(ticket.operator_id, name, None, request.remote_addr)


def _page(session: Session, ticket: Ticket, text: str, form: AddForm) -> str:
    entries = public_entries(session, ticket)
    return render_template(
        "ticket/page.html",
        operator=session.get_one(Operator, ticket.operator_id),
        ticket=ticket,
        entries=entries,
        files=files_of(session, entries),
        form=form,
        text=text,
        may_rate=ticket.state in ("solved", "closed") and ticket.merged_into_id is None,
    )


def install(app: Flask) -> None:
    app.register_blueprint(blueprint)
