"""Staff: who signs in, invited by e-mail, with the roles they have; switched off when they leave.

An invitation is a link to a page where the person chooses a password. It is sent by e-mail where a mail server is
configured, and shown once to whoever invites, who may pass it on. Only the link's hash is kept.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, insert, or_, select
from wtforms import SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget

from core.i18n import LANGUAGES
from crm.messages import tell_staff
from crm.notices import EMAIL, Message, values_of
from crm.problems import FieldProblem, Invalid, Problem
from crm.roles import changed_permissions
from crm.second_factors import factors_of, take_factors_away
from crm.staff import (
    LINK_HOLDS,
    StaffDetails,
    change_staff,
    demand_new_password,
    invite_staff,
    new_staff_link,
    require_power_over,
    reset_password,
    switch_staff,
)
from db.models import ROLES, AuditEntry, Notification, Staff
from portal import context, forms
from portal.auth import limiter, password_nobody_knows
from portal.errors import problem_text, put_on_form
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, permissions_of, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("people", __name__, url_prefix="/staff")
LINK_KIND = "staff.link"
"""The kind of messages that hold a link; the portal's database role cannot read them again."""


class PersonForm(forms.Watched):
    name = forms.text(_l("Name"), required=True)
    email = forms.text(_l("E-mail address"), required=True)
    roles = SelectMultipleField(
        _l("Roles"), widget=ListWidget(prefix_label=False), option_widget=CheckboxInput(), validate_choice=False
    )
    language = forms.choice(_l("Language"), validate_choice=False)

    def details(self) -> StaffDetails:
        return StaffDetails(
            self.email.data or "", self.name.data or "", self.roles.data or (), self.language.data or None
        )


def state_of(person: Staff) -> str:
    """Return active, invited or off: the key of a badge."""
    if not person.active:
        return "off"
    return "active" if person.awaits_password_since is None else "invited"


def _in_state(state: str) -> ColumnElement[bool]:
    waiting = Staff.awaits_password_since.is_not(None)
    match state:
        case "off":
            return ~Staff.active
        case "invited":
            return and_(Staff.active, waiting)
    return and_(Staff.active, ~waiting)


def _roles_text(person: Staff) -> str:
    return ", ".join(label("role", role) for role in ROLES if role in person.roles)


def _roles() -> Sequence[tuple[str, Any]]:
    return choices("role")


TABLE = Table(
    name="staff",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, Staff.name),
        Column("email", _l("E-mail address"), lambda row: row.email, Staff.email, wide=True),
        Column("roles", _l("Roles"), _roles_text),
        Column("state", _l("State"), state_of),
        Column("last", _l("Last signed in"), lambda row: row.last_login_at, Staff.last_login_at, wide=True),
        Column("language", _l("Language"), lambda row: LANGUAGES.get(row.language or "", ""), wide=True),
    ),
    order="name",
    tie=Staff.id,
    filters=(
        Filter("role", _l("Any role"), _roles, lambda value: Staff.roles.contains([value])),
        Filter("state", _l("Any state"), lambda: choices("staff_state"), _in_state),
    ),
    search=lambda text: or_(Staff.name.icontains(text, autoescape=True), Staff.email.icontains(text, autoescape=True)),
    search_hint=_l("Name or e-mail address"),
)


@blueprint.get("/")
@requires(Permission.STAFF_EDIT)
def index() -> ResponseReturnValue:
    return show(context.db(), TABLE, select(Staff), "staff/people/index.html", state_of=state_of)


@blueprint.get("/new")
@requires(Permission.STAFF_EDIT)
def new_page() -> ResponseReturnValue:
    return render_template("staff/people/new.html", form=_with_choices(PersonForm()), mailed=_mails())


@blueprint.post("/new")
@requires(Permission.STAFF_EDIT)
@limiter.limit("60 per hour")
def create() -> ResponseReturnValue:
    form = _with_choices(PersonForm())
    session, now = context.db(), context.now()
    if form.validate_on_submit():
        try:
            person = invite_staff(
                session, context.actor(), form.details(), roles_to_give(), password_nobody_knows(), now
            )
            token = new_staff_link(session, context.actor(), person, now)
            _send_link(person, _link(person, token), invited=True)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            # Rendered and not redirected to: the link stands on this page alone, in no cookie and no address.
            return _page(person, link=_link(person, token))
    return render_template("staff/people/new.html", form=form, mailed=_mails()), 422


@blueprint.get("/<int:staff_id>")
@requires(Permission.STAFF_EDIT)
def page(staff_id: int) -> ResponseReturnValue:
    return _page(_person(staff_id))


@blueprint.post("/<int:staff_id>")
@requires(Permission.STAFF_EDIT)
def edit(staff_id: int) -> ResponseReturnValue:
    person, session = _person(staff_id), context.db()
    session.refresh(person, with_for_update=True)
    form = _with_choices(PersonForm())
    if form.validate_on_submit() and not form.changed_meanwhile(_stored(person)):
        try:
            change_staff(session, context.actor(), person, form.details(), roles_to_give())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(name)s is saved. Whose roles changed signs in again.", name=person.name))
            return redirect(url_for(".page", staff_id=staff_id))
    return _page(_person(staff_id), form=form), 409 if form.theirs is not None else 422


@blueprint.post("/<int:staff_id>/active")
@requires(Permission.STAFF_EDIT)
def switch(staff_id: int) -> ResponseReturnValue:
    """Let somebody in again, or sign them out and keep them out."""
    person, session = _person(staff_id), context.db()
    active = request.form.get("active") == "yes"
    try:
        switch_staff(session, context.actor(), person, active=active, may_give=roles_to_give())
    except Invalid as invalid:
        session.rollback()
        refuse(_problems_text(invalid))
    else:
        session.commit()
        if active:
            done(_("%(name)s may sign in again.", name=person.name))
        else:
            undo = url_for(".switch", staff_id=staff_id)
            done(
                _("%(name)s is signed out everywhere and cannot sign in any more.", name=person.name),
                undo,
                active="yes",
            )
    return redirect(url_for(".page", staff_id=staff_id))


@blueprint.post("/<int:staff_id>/link")
@requires(Permission.STAFF_EDIT)
@limiter.limit("60 per hour")
def link(staff_id: int) -> ResponseReturnValue:
    """Make a new link for somebody who has not chosen a password yet, or take their password away and make one."""
    person, session, now = _person(staff_id), context.db(), context.now()
    invited = person.awaits_password_since is not None
    try:
        if not person.active:
            raise Invalid(FieldProblem("roles", Problem.ALREADY_DONE))
        if not invited:
            reset_password(session, context.actor(), person, roles_to_give(), password_nobody_knows(), now)
        elif not set(person.roles) <= roles_to_give():
            raise Invalid(FieldProblem("roles", Problem.MORE_THAN_OWN))
        token = new_staff_link(session, context.actor(), person, now)
        _send_link(person, _link(person, token), invited=invited)
    except Invalid as invalid:
        session.rollback()
        refuse(_problems_text(invalid))
        return redirect(url_for(".page", staff_id=staff_id))
    session.commit()
    return _page(person, link=_link(person, token))


@blueprint.post("/<int:staff_id>/must-change")
@requires(Permission.STAFF_EDIT)
def must_change(staff_id: int) -> ResponseReturnValue:
    """Have somebody choose another password when they sign in next, or at their next click."""
    person, session = _person(staff_id), context.db()
    try:
        demand_new_password(session, context.actor(), person, roles_to_give())
    except Invalid as invalid:
        session.rollback()
        refuse(_problems_text(invalid))
    else:
        session.commit()
        done(_("%(name)s chooses another password before anything else.", name=person.name))
    return redirect(url_for(".page", staff_id=staff_id))


@blueprint.post("/<int:staff_id>/take-factors")
@requires(Permission.STAFF_EDIT)
@limiter.limit("30 per hour")
def take_factors(staff_id: int) -> ResponseReturnValue:
    """Remove the second factors of somebody who has lost theirs, and tell them."""
    person, session = _person(staff_id), context.db()
    try:
        require_power_over(person, roles_to_give())
        if person.id == context.staff().id:
            raise Invalid(FieldProblem("roles", Problem.NOT_ONESELF))
        take_factors_away(session, context.actor(), person, context.now())
        values = {"who": context.staff().name}
        tell_staff(session, context.keyring(), person.operator_id, person.email, "sign_in_reset", values)
    except Invalid as invalid:
        session.rollback()
        refuse(_problems_text(invalid))
    else:
        session.commit()
        done(_("%(name)s signs in with the password alone now, and was told so.", name=person.name))
    return redirect(url_for(".page", staff_id=staff_id))


def roles_to_give() -> frozenset[str]:
    """Return the roles that who is signed in may give and take: those that allow nothing beyond their own."""
    own = context.permissions()
    changed = changed_permissions(context.db(), context.staff().operator_id, ROLES)
    return frozenset(role for role in ROLES if permissions_of([role], changed) <= own)


def _person(staff_id: int) -> Staff:
    return context.db().get(Staff, staff_id) or abort(404)


def _problems_text(invalid: Invalid) -> str:
    return " ".join(problem_text(problem) for problem in invalid.problems)


def _with_choices(form: PersonForm) -> PersonForm:
    form.roles.choices = choices("role")
    default = LANGUAGES.get(context.operator().locale.partition("-")[0], "")
    everybody = _("as the company (%(language)s)", language=default) if default else _("as the company")
    form.language.choices = [("", everybody), *LANGUAGES.items()]
    return form


def _stored(person: Staff) -> PersonForm:
    """Return the form as somebody is entered now."""
    values = {"name": person.name, "email": person.email, "roles": sorted(person.roles), "language": person.language}
    return _with_choices(PersonForm(None, data=values))


def _page(person: Staff, *, form: PersonForm | None = None, link: str = "") -> str:
    form = form or forms.watched(_stored(person))
    about = and_(AuditEntry.entity == "staff", AuditEntry.entity_id == person.id)
    entries = context.db().scalars(
        select(AuditEntry)
        .where(
            AuditEntry.operator_id == person.operator_id,
            or_(about, AuditEntry.staff_id == person.id),
        )
        .order_by(AuditEntry.id.desc())
        .limit(15)
    )
    return render_template(
        "staff/people/page.html",
        person=person,
        name=person.name,
        state_now=state_of(person),
        form=form,
        link=link,
        mailed=_mails(),
        has=factors_of(context.db(), person.id),
        days=LINK_HOLDS.days,
        entries=entries.all(),
    )


def _mails() -> bool:
    return context.portal().settings.smtp_host is not None


def _link(person: Staff, token: str) -> str:
    """Return the address of the page where a person chooses a password.

    It begins with the address in the settings, never with what a request calls this host: it goes out by mail.
    """
    return (
        f"{context.portal().settings.public_url}{url_for('welcome.page', operator_id=person.operator_id, token=token)}"
    )


def _send_link(person: Staff, address: str, *, invited: bool) -> None:
    """Send the link where mail is configured. Raises Invalid for an address that no mail could reach."""
    if not _mails():
        return
    language = person.language or context.operator().locale.partition("-")[0]
    language = language if language in LANGUAGES else "en"
    with force_locale(language):
        subject, body = _mail(person, address, context.now() + LINK_HOLDS, invited=invited)
    message = Message(LINK_KIND, EMAIL, person.email, language, subject, body)
    # Not `deliver()`, which reads the row's id back: our role may write this kind of message and not read it.
    values = values_of(context.keyring(), person.operator_id, message)
    context.db().execute(insert(Notification).values(**values).inline())


def _mail(person: Staff, address: str, until: datetime, *, invited: bool) -> tuple[str, str]:
    company, who, days = context.operator().name, context.staff().name, (until - context.now()).days
    if invited:
        subject = _("Your access to %(company)s", company=company)
        first = _("%(who)s has given you access to the portal of %(company)s.", who=who, company=company)
    else:
        subject = _("Choose a new password for %(company)s", company=company)
        first = _("%(who)s has reset your password for the portal of %(company)s.", who=who, company=company)
    return str(subject), "\n\n".join(
        (
            _("Hello %(name)s,", name=person.name),
            first,
            _("Open this link and choose a password. It works once, for %(days)s days:", days=days),
            address,
            _("You sign in with your e-mail address %(email)s.", email=person.email),
        )
    )
