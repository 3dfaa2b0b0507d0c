"""The rules of the help desk: hours and promises, categories, canned answers, the mailbox."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField, HiddenField

from core.i18n import LANGUAGES
from crm.help_desk import (
    VARIABLES,
    CannedDetails,
    CategoryDetails,
    DeskDetails,
    categories,
    change_desk,
    delete_canned,
    desk_of,
    save_canned,
    save_category,
)
from crm.mailbox import (
    MailboxDetails,
    MailboxTrouble,
    access_of,
    count_unseen,
    delete_mailbox,
    save_mailbox,
)
from crm.problems import ChangedMeanwhile, Invalid
from crm.working_time import parse_spans, spans_text
from db.models import TICKET_PRIORITIES, CannedAnswer, HelpDesk, Mailbox, ReceivedMail, Ticket, TicketCategory
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.labels import choices, label
from portal.messages import done, warn
from portal.permissions import Permission, requires

blueprint = Blueprint("help_desk", __name__, url_prefix="/help-desk")

_DAYS = (
    _l("Monday"),
    _l("Tuesday"),
    _l("Wednesday"),
    _l("Thursday"),
    _l("Friday"),
    _l("Saturday"),
    _l("Sunday"),
)


class _DeskForm(forms.Form):
    reopen_days = forms.whole_number(_l("Days in which an answer reopens a solved ticket"), required=True)
    close_days = forms.whole_number(_l("Days after which a solved ticket is closed"), required=True)
    acknowledge = BooleanField(_l("Tell who writes a mail that it arrived"))
    version = HiddenField()


def _with_rows() -> type[_DeskForm]:
    """Return the form with its fields for each day and each priority."""
    fields: dict[str, Any] = {}
    for day, name in enumerate(_DAYS, 1):
        fields[f"day_{day}"] = forms.text(name)
    for priority in TICKET_PRIORITIES:
        fields[f"{priority}_first"] = forms.whole_number(_l("First answer, minutes"), required=True)
        fields[f"{priority}_solve"] = forms.whole_number(_l("Solution, minutes"), required=True)
        fields[f"{priority}_always"] = BooleanField(_l("By day and night"))
    return type("DeskForm", (_DeskForm,), fields)


DeskForm = _with_rows()


class CategoryForm(forms.Form):
    name = forms.text(_l("Name"), required=True)
    queue = forms.choice(_l("Queue"))
    priority = forms.choice(_l("Priority"))
    active = BooleanField(_l("In use"))
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue.choices = [Option(value, text) for value, text in choices("role")]
        self.priority.choices = [Option(value, text) for value, text in choices("ticket_priority")]


class CannedForm(forms.Form):
    title = forms.text(_l("Title"), required=True)
    text_es = forms.long_text("Español")
    text_en = forms.long_text("English")
    active = BooleanField(_l("In use"))
    version = HiddenField()

    def details(self) -> CannedDetails:
        texts = {language: self[f"text_{language}"].data or "" for language in LANGUAGES}
        return CannedDetails(self.title.data or "", texts, active=self.active.data)


class MailboxForm(forms.Form):
    address = forms.text(_l("E-mail address"), required=True)
    host = forms.text(_l("IMAP server"), required=True)
    port = forms.whole_number(_l("Port"), required=True)
    security = forms.choice(
        _l("Encryption"),
        choices=[Option("tls", "TLS"), Option("starttls", "STARTTLS"), Option("none", _l("None"))],
    )
    user_name = forms.text(_l("User name"), required=True)
    password = forms.password(_l("Password"))
    folder = forms.text(_l("Folder"), required=True)
    active = BooleanField(_l("Read it every minute"))
    version = HiddenField()

    def details(self) -> MailboxDetails:
        return MailboxDetails(
            address=self.address.data or "",
            host=self.host.data or "",
            port=self.port.data or 0,
            security=self.security.data,
            user_name=self.user_name.data or "",
            password=self.password.data or "",
            folder=self.folder.data or "",
            active=self.active.data,
        )


@blueprint.get("/")
@requires(Permission.HELP_DESK_SETTINGS)
def index() -> ResponseReturnValue:
    desk = desk_of(context.db(), context.staff().operator_id)
    context.db().commit()  # it was set up, if this is its first use
    return _desk_page(_desk_form(desk))


@blueprint.post("/")
@requires(Permission.HELP_DESK_SETTINGS)
def change() -> ResponseReturnValue:
    session, form = context.db(), DeskForm()
    if not form.validate():
        return _desk_page(form), 422
    try:
        change_desk(session, context.actor(), _desk_details(form), forms.seen_version(form.version))
    except ChangedMeanwhile:
        session.rollback()
        desk = desk_of(session, context.staff().operator_id)
        titles = {
            f"{priority}_{name}": f"{label('ticket_priority', priority)}: {form[f'{priority}_{name}'].label.text}"
            for priority in TICKET_PRIORITIES
            for name in ("first", "solve", "always")
        }
        theirs = forms.unlike(_desk_form(desk, blank=True), form, titles)
        return _desk_page(forms.overwriting(form, desk.version), theirs), 409
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _desk_page(form), 422
    session.commit()
    done(_("Saved. It holds for what is opened from now on; clocks that run go on as they were set."))
    return redirect(url_for(".index"))


@blueprint.get("/categories")
@requires(Permission.HELP_DESK_SETTINGS)
def category_list() -> ResponseReturnValue:
    found = categories(context.db(), context.staff().operator_id, all_of_them=True)
    context.db().commit()
    return render_template("staff/tickets/categories.html", categories=found)


@blueprint.route("/categories/new", methods=["GET", "POST"])
@blueprint.route("/categories/<int:category_id>", methods=["GET", "POST"])
@requires(Permission.HELP_DESK_SETTINGS)
def category_page(category_id: int | None = None) -> ResponseReturnValue:
    session = context.db()
    category = None if category_id is None else session.get(TicketCategory, category_id) or abort(404)
    if request.method == "GET":
        form = CategoryForm(obj=category) if category else CategoryForm(queue="support", priority="normal", active=True)
        return _category_page(form, category)
    form = CategoryForm()
    if form.validate():
        details = CategoryDetails(form.name.data or "", form.queue.data, form.priority.data, form.active.data)
        try:
            save_category(session, context.actor(), category, details, forms.seen_version(form.version))
        except ChangedMeanwhile:
            session.rollback()
            assert category is not None, "a new one has no version"
            theirs = forms.unlike(CategoryForm(None, obj=category), form)
            return _category_page(forms.overwriting(form, category.version), category, theirs), 409
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".category_list"))
    return _category_page(form, category), 422


@blueprint.get("/canned")
@requires(Permission.HELP_DESK_SETTINGS)
def canned_list() -> ResponseReturnValue:
    found = context.db().scalars(select(CannedAnswer).order_by(CannedAnswer.title)).all()
    return render_template("staff/tickets/canned.html", canned=found, languages_known=LANGUAGES)


@blueprint.route("/canned/new", methods=["GET", "POST"])
@blueprint.route("/canned/<int:canned_id>", methods=["GET", "POST"])
@requires(Permission.HELP_DESK_SETTINGS)
def canned_page(canned_id: int | None = None) -> ResponseReturnValue:
    session = context.db()
    canned = None if canned_id is None else session.get(CannedAnswer, canned_id) or abort(404)
    if request.method == "GET":
        return _canned_page(CannedForm(data=_canned_data(canned) if canned else {"active": True}), canned)
    form = CannedForm()
    if form.validate():
        try:
            save_canned(session, context.actor(), canned, form.details(), forms.seen_version(form.version))
        except ChangedMeanwhile:
            session.rollback()
            assert canned is not None, "a new one has no version"
            theirs = forms.unlike(CannedForm(None, data=_canned_data(canned)), form)
            return _canned_page(forms.overwriting(form, canned.version), canned, theirs), 409
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".canned_list"))
    return _canned_page(form, canned), 422


@blueprint.post("/canned/<int:canned_id>/delete")
@requires(Permission.HELP_DESK_SETTINGS)
def remove_canned(canned_id: int) -> ResponseReturnValue:
    session = context.db()
    delete_canned(session, context.actor(), session.get(CannedAnswer, canned_id) or abort(404))
    session.commit()
    done(_("Removed."))
    return redirect(url_for(".canned_list"))


@blueprint.get("/mailbox")
@requires(Permission.HELP_DESK_SETTINGS)
def mailbox() -> ResponseReturnValue:
    kept = _mailbox()
    if kept is None:
        form = MailboxForm(port=993, security="tls", folder="INBOX", active=True, version="0")
    else:
        form = MailboxForm(obj=kept, password=None)
    return _mailbox_page(form)


@blueprint.post("/mailbox")
@requires(Permission.HELP_DESK_SETTINGS)
def change_mailbox() -> ResponseReturnValue:
    """Keep the mailbox, and try it: what is wrong with it is said, and it is kept all the same."""
    session, form = context.db(), MailboxForm()
    if not form.validate():
        return _mailbox_page(form), 422
    try:
        kept = save_mailbox(
            session, context.actor(), context.keyring(), form.details(), forms.seen_version(form.version)
        )
    except ChangedMeanwhile:
        session.rollback()
        stored = _mailbox()
        theirs = forms.unlike(MailboxForm(None, obj=stored), form)
        return _mailbox_page(forms.overwriting(form, stored.version if stored else 0), theirs), 409
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _mailbox_page(form), 422
    session.commit()
    if kept.active:
        _try(kept)
    return redirect(url_for(".mailbox"))


@blueprint.post("/mailbox/delete")
@requires(Permission.HELP_DESK_SETTINGS)
def remove_mailbox() -> ResponseReturnValue:
    delete_mailbox(context.db(), context.actor())
    context.db().commit()
    done(_("The mailbox is not read any more. Its tickets stay."))
    return redirect(url_for(".mailbox"))


def _try(kept: Mailbox) -> None:
    try:
        waiting = count_unseen(access_of(kept, context.keyring(), context.portal().settings))
    except MailboxTrouble as problem:
        warn(_("Saved, but the mailbox does not open: %(why)s", why=trouble_text(str(problem))))
    else:
        done(_("Saved, and it opens. %(count)s mails wait in it; they become tickets within a minute.", count=waiting))


def trouble_text(trouble: str) -> str:
    """Return what is wrong with a mailbox, and in brackets what its server says of it."""
    kind, _colon, said = trouble.partition(":")
    words = label("mailbox_trouble", kind)
    return f"{words} ({said.strip()})" if said.strip() else words


def _desk_form(desk: HelpDesk, *, blank: bool = False) -> Any:
    """Return the form as the desk fills it; with `blank` whatever was sent."""
    values: dict[str, Any] = {f"day_{day}": spans_text(spans) for day, spans in desk.hours.items()}
    for priority, row in desk.targets.items():
        values |= {f"{priority}_{name}": row[name] for name in ("first", "solve", "always")}
    values |= {name: getattr(desk, name) for name in ("reopen_days", "close_days", "acknowledge")}
    return DeskForm(*((None,) if blank else ()), **values, version=str(desk.version))


def _desk_details(form: Any) -> DeskDetails:
    """Return what was entered. Raises Invalid for hours that are none."""
    hours = {}
    for day in range(1, 8):
        if spans := parse_spans(form[f"day_{day}"].data or "", f"day_{day}"):
            hours[str(day)] = [list(span) for span in spans]
    targets = {
        priority: {
            "first": form[f"{priority}_first"].data,
            "solve": form[f"{priority}_solve"].data,
            "always": form[f"{priority}_always"].data,
        }
        for priority in TICKET_PRIORITIES
    }
    return DeskDetails(hours, targets, form.reopen_days.data, form.close_days.data, form.acknowledge.data)


# Below here: the pages. `theirs` is where what is stored now is unlike what was typed, for who saves second.


def _desk_page(form: Any, theirs: Any = None) -> str:
    return render_template("staff/tickets/rules.html", form=form, priorities=TICKET_PRIORITIES, theirs=theirs)


def _category_page(form: CategoryForm, category: TicketCategory | None, theirs: Any = None) -> str:
    return render_template("staff/tickets/category_form.html", form=form, category=category, theirs=theirs)


def _canned_page(form: CannedForm, canned: CannedAnswer | None, theirs: Any = None) -> str:
    return render_template(
        "staff/tickets/canned_form.html", form=form, canned=canned, variables=VARIABLES, theirs=theirs
    )


def _canned_data(canned: CannedAnswer) -> dict[str, Any]:
    texts = {f"text_{language}": text for language, text in canned.texts.items()}
    return {"title": canned.title, "active": canned.active, "version": str(canned.version), **texts}


def _mailbox_page(form: MailboxForm, theirs: Any = None) -> str:
    kept = _mailbox()
    received = context.db().execute(
        select(ReceivedMail, Ticket.number)
        .outerjoin(Ticket, Ticket.id == ReceivedMail.ticket_id)
        .order_by(ReceivedMail.created_at.desc())
        .limit(30)
    )
    return render_template(
        "staff/tickets/mailbox.html",
        form=form,
        theirs=theirs,
        mailbox=kept,
        trouble=trouble_text(kept.trouble) if kept and kept.trouble else "",
        received=received.all(),
    )


def _mailbox() -> Mailbox | None:
    return context.db().get(Mailbox, context.staff().operator_id)
