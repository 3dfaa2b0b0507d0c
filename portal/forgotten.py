"""A new password for staff who have forgotten theirs: a link by e-mail, good once and for an hour.

Whoever asks is told the same whether or not the address is known. The link begins with the address in the settings
and never with what the request calls this host: otherwise a stranger could have a link of ours sent that leads to them.
"""

from datetime import timedelta

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session
from wtforms import EmailField
from wtforms.validators import InputRequired

from core.i18n import LANGUAGES
from crm.notices import EMAIL, Message, values_of
from crm.staff import new_staff_link
from db.audit import Actor
from db.models import Notification, Operator, Staff, StaffLink
from portal import context
from portal.auth import limiter
from portal.forms import Form
from portal.messages import done
from portal.permissions import public
from portal.sign_in_limits import typed_email

blueprint = Blueprint("forgotten", __name__)
HOLDS = timedelta(hours=1)
MOST_LINKS = 3  # an hour: so many mails a stranger may have sent to somebody
LINK_KIND = "staff.link"


class ForgottenForm(Form):
    email = EmailField(_l("E-mail address"), [InputRequired(_l("Enter your e-mail address."))])


@blueprint.get("/sign-in/forgotten")
@public
def page() -> ResponseReturnValue:
    return render_template("auth/forgotten.html", form=ForgottenForm())


@blueprint.post("/sign-in/forgotten")
@public
@limiter.limit("10 per minute; 40 per hour")
def ask() -> ResponseReturnValue:
    form = ForgottenForm()
    if not form.validate_on_submit():
        return render_template("auth/forgotten.html", form=form), 422
    _send(typed_email())
    done(
        _("If staff sign in with this address, a link to choose a new password is on its way. It works for an hour."),
    )
    return redirect(url_for("auth.sign_in_page"))


def _send(email: str) -> None:
    """Send the link, if the address is somebody's and did not get too many."""
    tenancy, now = context.portal().tenancy, context.now()
    with tenancy.session(None) as unbound:
        found = unbound.execute(text("SELECT id, operator_id FROM staff_login(:email)"), {"email": email}).one_or_none()
    if found is None:
        return
    with tenancy.session(found.operator_id) as session:
        person = session.get_one(Staff, found.id)
        lately = StaffLink.staff_id == person.id, StaffLink.created_at > now - HOLDS
        if (session.scalar(select(func.count()).select_from(StaffLink).where(*lately)) or 0) >= MOST_LINKS:
            return
        actor = Actor(person.operator_id, person.email, person.id, request.remote_addr)
        token = new_staff_link(session, actor, person, now, HOLDS)
        message = _message(session, person, token)
        # Not `deliver()`, which reads the row's id back: our role may write this kind of message and not read it.
        values = values_of(context.keyring(), person.operator_id, message)
        session.execute(insert(Notification).values(**values).inline())
        session.commit()


def _message(session: Session, person: Staff, token: str) -> Message:
    operator = session.get_one(Operator, person.operator_id)
    language = person.language or operator.locale.partition("-")[0]
    language = language if language in LANGUAGES else "en"
    path = url_for("welcome.page", operator_id=person.operator_id, token=token)
    address = f"{context.portal().settings.public_url}{path}"
    with force_locale(language):
        subject = _("Choose a new password for %(company)s", company=operator.name)
        body = "\n\n".join(
            (
                _("Hello %(name)s,", name=person.name),
                _(
                    "somebody asked for a new password for your access to the portal of %(company)s.",
                    company=operator.name,
                ),
                _("Open this link within an hour and choose one. It works once:"),
                address,
                _("If it was not you, leave this message alone: your password stays as it is."),
            )
        )
    return Message(LINK_KIND, EMAIL, person.email, language, subject, body)
