"""Tickets: the page of one with all that is known of the subscriber, and what is done with it. See also `lists`."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import func, select

from core.i18n import LANGUAGES
from crm.brands import brand_of
from crm.help_desk import canned_text
from crm.problems import Invalid
from crm.ticket_alarms import tell_of_assignment
from crm.ticket_clock import OPEN_STATES, is_late
from crm.ticket_entries import entries_of, files_of
from crm.ticket_mail import address_of, mail_answer, mail_solved
from crm.tickets import (
    Call,
    TicketChanged,
    TicketDetails,
    answer,
    change_ticket,
    close,
    details_of,
    escalate,
    give_subscriber,
    log_call,
    merge,
    merged_into,
    note,
    open_ticket,
    reopen,
    solve,
)
from db.models import (
    AccountingSession,
    CannedAnswer,
    Incident,
    Staff,
    StoredFile,
    Subscriber,
    Ticket,
    TicketCategory,
    TicketEntry,
)
from portal import context, forms
from portal.errors import put_on_form
from portal.files import send_stored, store_uploads, take_files
from portal.labels import label
from portal.messages import done, warn
from portal.permissions import Permission, requires
from portal.staff.subscribers import find as find_subscriber
from portal.staff.subscribers import live_sessions, services_of
from portal.staff.tickets import tiles
from portal.staff.tickets.forms import (
    AnswerForm,
    CallForm,
    EscalateForm,
    MergeForm,
    NewForm,
    NoteForm,
    TicketForm,
    incident_title,
)
from portal.staff.tickets.lists import TABLE, listed, runs_late
from portal.tables import matching, show

__all__ = ["blueprint", "tiles"]
blueprint = Blueprint("tickets", __name__, url_prefix="/tickets")
take_files(blueprint, "create", "say", "add_note")


@blueprint.get("/")
@requires(Permission.TICKETS_VIEW)
def index() -> ResponseReturnValue:
    query = listed()
    if not request.args.get("state"):
        query = query.where(Ticket.closed_at.is_(None), Ticket.state != "solved")
    return show(context.db(), TABLE, query, "staff/tickets/index.html", is_late=runs_late)


@blueprint.get("/of/<int:subscriber_id>")
@requires(Permission.TICKETS_VIEW)
def support(subscriber_id: int) -> ResponseReturnValue:
    """Show a subscriber's tickets and phone calls: the tab of their page."""
    subscriber = find_subscriber(subscriber_id)
    session, services = context.db(), services_of(subscriber)
    mine = listed().where(Ticket.subscriber_id == subscriber.id).order_by(Ticket.id.desc()).limit(100)
    calls = (
        select(TicketEntry, Ticket)
        .join(Ticket, Ticket.id == TicketEntry.ticket_id)
        .where(Ticket.subscriber_id == subscriber.id, TicketEntry.kind == "call")
        .order_by(TicketEntry.id.desc())
        .limit(50)
    )
    return render_template(
        "staff/tickets/support.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        tickets=session.execute(mine).all(),
        calls=session.execute(calls).all(),
        is_late=runs_late,
    )


@blueprint.get("/new")
@requires(Permission.TICKETS_EDIT)
def new_page() -> ResponseReturnValue:
    form = NewForm()
    response = _new_page(form)
    context.db().commit()  # the desk was set up, if this is its first use
    return response


@blueprint.post("/new")
@requires(Permission.TICKETS_EDIT)
def create() -> ResponseReturnValue:
    session, form = context.db(), NewForm()
    if not form.validate():
        return _new_page(form), 422
    subscriber = _asked_subscriber()
    try:
        ticket = open_ticket(
            session,
            context.actor(),
            subscriber.id if subscriber else None,
            form.category.data,
            form.subject.data or "",
            form.text.data or "",
            store_uploads(session, context.staff().operator_id, "files"),
            form.incident_id.data,
            "incident" if form.incident_id.data else "staff",
            priority=form.priority.data or None,
            now=context.now(),
        )
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _new_page(form), 422
    session.commit()
    done(_("Ticket #%(number)s is open.", number=ticket.number))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.get("/<int:ticket_id>")
@requires(Permission.TICKETS_VIEW)
def page(ticket_id: int) -> ResponseReturnValue:
    return _page(_ticket(ticket_id))


@blueprint.post("/<int:ticket_id>/answer")
@requires(Permission.TICKETS_EDIT)
def say(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), AnswerForm()
    if not form.validate():
        return _page(ticket, answering=form), 422
    try:
        files = store_uploads(session, ticket.operator_id, "files")
        entry = answer(
            session, context.actor(), ticket, form.text.data or "", files,
            state=form.state.data, seen_entry=forms.seen_version(form.seen_entry), now=context.now(),
        )  # fmt: skip
    except TicketChanged as changed:
        session.rollback()  # what was merged meanwhile is answered where it went
        return _page(merged_into(session, _ticket(ticket_id)), answering=form, changed=changed.entries), 409
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), answering=form), 422
    sent = mail_answer(
        session, context.keyring(), context.portal().settings.public_url, ticket, entry, files=len(files)
    )
    session.commit()
    if sent is None:
        warn(_("The answer is kept, but there is no e-mail address it could go to: call or write by hand."))
    else:
        done(_("The answer goes to %(address)s.", address=sent.shown_address))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/note")
@requires(Permission.TICKETS_EDIT)
def add_note(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), NoteForm(prefix="note-")
    try:
        files = store_uploads(session, ticket.operator_id, "files")
        entry = note(session, context.actor(), ticket, form.text.data or "", files, now=context.now())
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), noting=form), 422
    session.commit()
    return redirect(url_for(".page", ticket_id=entry.ticket_id))


@blueprint.post("/<int:ticket_id>/call")
@requires(Permission.TICKETS_EDIT)
def add_call(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), CallForm(prefix="call-")
    if not form.validate():
        return _page(ticket, calling=form), 422
    seconds = form.minutes.data * 60 if form.minutes.data is not None else None
    try:
        entry = log_call(
            session,
            context.actor(),
            ticket,
            Call(form.direction.data, form.said.data or "", seconds),
            now=context.now(),
        )
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), calling=form), 422
    session.commit()
    done(_("The call is logged."))
    return redirect(url_for(".page", ticket_id=entry.ticket_id))


@blueprint.post("/<int:ticket_id>/edit")
@requires(Permission.TICKETS_EDIT)
def edit(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), TicketForm(prefix="change-")
    form.fill(ticket)
    if not form.validate():
        return _page(ticket, changing=form), 422
    before = ticket.queue, ticket.assigned_id
    try:
        change_ticket(
            session, context.actor(), ticket, form.details(), forms.seen_version(form.version), now=context.now()
        )
        tell_of_assignment(session, context.keyring(), context.actor(), ticket, before)
    except TicketChanged as changed:
        session.rollback()
        return _page(_ticket(ticket_id), changing=form, changed=changed.entries), 409
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), changing=form), 422
    session.commit()
    done(_("Saved."))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/take")
@requires(Permission.TICKETS_EDIT)
def take(ticket_id: int) -> ResponseReturnValue:
    """Give the ticket to who clicks, unless somebody else has taken it since."""
    session, ticket = context.db(), _ticket(ticket_id)
    values = {name: getattr(details_of(ticket), name) for name in TicketDetails.__slots__}
    details = TicketDetails(**{**values, "assigned_id": context.staff().id})
    try:
        change_ticket(session, context.actor(), ticket, details, request.form.get("version", 0, int), now=context.now())
    except TicketChanged as changed:
        session.rollback()
        return _page(_ticket(ticket_id), changed=changed.entries), 409
    session.commit()
    done(_("It is yours."))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/escalate")
@requires(Permission.TICKETS_EDIT)
def hand_on(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), EscalateForm(prefix="on-")
    if not form.validate():
        return _page(ticket, escalating=form), 422
    before = ticket.queue, ticket.assigned_id
    try:
        escalate(session, context.actor(), ticket, form.queue.data, form.reason.data or "", now=context.now())
        tell_of_assignment(session, context.keyring(), context.actor(), ticket, before)
    except TicketChanged as changed:
        session.rollback()
        return _page(merged_into(session, _ticket(ticket_id)), escalating=form, changed=changed.entries), 409
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), escalating=form), 422
    session.commit()
    done(_("It is in the queue “%(queue)s” now.", queue=label("role", ticket.queue)))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/merge")
@requires(Permission.TICKETS_EDIT)
def merge_into(ticket_id: int) -> ResponseReturnValue:
    session, ticket, form = context.db(), _ticket(ticket_id), MergeForm(prefix="merge-")
    number = (form.into.data or "").lstrip("#")
    into = (
        session.scalar(select(Ticket).where(Ticket.number == int(number)))
        if number.isascii() and number.isdigit() and len(number) < 18
        else None
    )
    try:
        merge(session, context.actor(), ticket, into or ticket, now=context.now())
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_ticket(ticket_id), merging=form), 422
    session.commit()
    assert into is not None, "else it would not have been merged"
    done(_("It is part of #%(number)s now.", number=into.number))
    return redirect(url_for(".page", ticket_id=into.id))


@blueprint.post("/<int:ticket_id>/solve")
@requires(Permission.TICKETS_EDIT)
def mark_solved(ticket_id: int) -> ResponseReturnValue:
    """Solve it without words of one's own; the subscriber is told and asked how it went."""
    session, ticket = context.db(), _ticket(ticket_id)
    if solve(session, context.actor(), ticket, now=context.now()):
        entries = entries_of(session, ticket)
        mail_solved(session, context.keyring(), context.portal().settings.public_url, ticket, entries[-1].id)
    session.commit()
    done(_("Ticket #%(number)s is solved.", number=ticket.number))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/close")
@requires(Permission.TICKETS_EDIT)
def mark_closed(ticket_id: int) -> ResponseReturnValue:
    session, ticket = context.db(), _ticket(ticket_id)
    close(session, context.actor(), ticket, now=context.now())
    session.commit()
    done(_("Ticket #%(number)s is closed.", number=ticket.number))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.post("/<int:ticket_id>/reopen")
@requires(Permission.TICKETS_EDIT)
def open_again(ticket_id: int) -> ResponseReturnValue:
    session, ticket = context.db(), _ticket(ticket_id)
    reopen(session, context.actor(), ticket, now=context.now())
    session.commit()
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.get("/<int:ticket_id>/subscriber")
@requires(Permission.TICKETS_EDIT)
def subscriber_page(ticket_id: int) -> ResponseReturnValue:
    """Look for whose ticket it is, of one that an unknown sender wrote."""
    ticket, words = _ticket(ticket_id), request.args.get("q", "").strip()[:200]
    found: list[Subscriber] = []
    if words:
        query = select(Subscriber).where(Subscriber.id.in_(matching(func.search_subscribers, words)))
        found = list(context.db().scalars(query.order_by(Subscriber.name).limit(20)))
    return render_template("staff/tickets/subscriber.html", ticket=ticket, found=found, words=words)


@blueprint.post("/<int:ticket_id>/subscriber/<int:subscriber_id>")
@requires(Permission.TICKETS_EDIT)
def choose_subscriber(ticket_id: int, subscriber_id: int) -> ResponseReturnValue:
    session, ticket, subscriber = context.db(), _ticket(ticket_id), find_subscriber(subscriber_id)
    give_subscriber(session, context.actor(), ticket, subscriber)
    session.commit()
    done(_("It is a ticket of %(subscriber)s now.", subscriber=subscriber.name))
    return redirect(url_for(".page", ticket_id=ticket.id))


@blueprint.get("/<int:ticket_id>/files/<int:file_id>")
@requires(Permission.TICKETS_VIEW)
def file(ticket_id: int, file_id: int) -> ResponseReturnValue:
    session, ticket = context.db(), _ticket(ticket_id)
    files = files_of(session, entries_of(session, ticket))
    if not any(file_id == each.id for some in files.values() for each in some):
        abort(404)
    return send_stored(session.get_one(StoredFile, file_id), download="download" in request.args)


# Below here: what the pages are made of.


def _page(
    ticket: Ticket,
    *,
    answering: AnswerForm | None = None,
    noting: NoteForm | None = None,
    calling: CallForm | None = None,
    escalating: EscalateForm | None = None,
    merging: MergeForm | None = None,
    changing: TicketForm | None = None,
    changed: Any = (),
) -> str:
    """Return the page of a ticket; a form that was refused is shown as it was typed."""
    session = context.db()
    entries = entries_of(session, ticket)
    subscriber = session.get(Subscriber, ticket.subscriber_id) if ticket.subscriber_id is not None else None
    services = services_of(subscriber) if subscriber else []
    newest = max((entry.id for entry in entries), default=0)
    answering = answering or AnswerForm(None)
    answering.seen_entry.data = str(newest)
    if changing is None:
        changing = TicketForm(None, prefix="change-", obj=details_of(ticket))
        changing.fill(ticket)
    changing.version.data = str(ticket.version)
    canned = session.scalars(select(CannedAnswer).where(CannedAnswer.active).order_by(CannedAnswer.title)).all()
    values = {
        "subscriber": subscriber.name if subscriber else "",
        "ticket": f"#{ticket.number}",
        "subject": ticket.subject,
        "staff": context.staff().name,
        "operator": brand_of(session, context.operator()).name,
    }
    last = (
        select(AccountingSession)
        .where(AccountingSession.service_id.in_([service.id for service in services]))
        .order_by(AccountingSession.started_at.desc())
        .limit(1)
    )
    return render_template(
        "staff/tickets/page.html",
        ticket=ticket,
        entries=entries,
        files=files_of(session, entries),
        subscriber=subscriber,
        services=[service for service in services if service.state != "terminated"],
        last_session=session.scalar(last) if services else None,
        category=session.get(TicketCategory, ticket.category_id) if ticket.category_id is not None else None,
        assigned=session.get(Staff, ticket.assigned_id) if ticket.assigned_id is not None else None,
        incident=session.get(Incident, ticket.incident_id) if ticket.incident_id is not None else None,
        merged_into=session.get(Ticket, ticket.merged_into_id) if ticket.merged_into_id is not None else None,
        address=address_of(session, ticket),
        canned=[(each.title, canned_text(each, ticket.language, values)) for each in canned],
        late=is_late(ticket, context.now()),
        is_open=ticket.state in OPEN_STATES,
        answering=answering,
        noting=noting or NoteForm(None, prefix="note-"),
        calling=calling or CallForm(None, prefix="call-"),
        escalating=escalating or EscalateForm(None, prefix="on-", queue="technical"),
        merging=merging or MergeForm(None, prefix="merge-"),
        changing=changing,
        changed=changed,
        shown_change=_shown_change,
        language_name=LANGUAGES.get(ticket.language, ticket.language),
    )


def _shown_change(name: str, value: Any) -> str:
    """Return a value of a ticket's field as people read it."""
    session = context.db()
    if value in (None, ""):
        return "–"
    match name:
        case "state":
            return label("ticket_state", value)
        case "priority":
            return label("ticket_priority", value)
        case "queue":
            return label("role", value)
        case "assigned_id":
            person = session.get(Staff, value)
            return person.name if person else "–"
        case "category_id":
            category = session.get(TicketCategory, value)
            return category.name if category else "–"
        case "incident_id":
            incident = session.get(Incident, value)
            return incident_title(session, incident) if incident else "–"
        case "subscriber_id":
            subscriber = session.get(Subscriber, value)
            return subscriber.name if subscriber else "–"
    return str(value)


def _new_page(form: NewForm) -> str:
    return render_template("staff/tickets/new.html", form=form, subscriber=_asked_subscriber())


def _asked_subscriber() -> Subscriber | None:
    asked = request.values.get("subscriber_id", "")
    return find_subscriber(int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 18 else None


def _ticket(ticket_id: int) -> Ticket:
    return context.db().get(Ticket, ticket_id) or abort(404)
