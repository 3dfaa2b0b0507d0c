"""The operator's account: its licence and how to get more, consent to others, and leaving.

Everybody sees how many places there are and whom to ask, since whoever enters a subscriber may find none left. Consent
and leaving are the manager's.
"""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import insert, select

from crm.accounts import (
    GRACE,
    Contact,
    ask_removal,
    contact_of,
    end_consent,
    give_consent,
    grant_consent,
    keep_after_all,
    write_to_platform,
)
from crm.jobs import start_job
from crm.leaving import EXPORT, exports_of
from crm.licences import history_of, standing_of, today_of
from crm.notices import EMAIL, Message, values_of
from crm.problems import Invalid
from db.audit import record
from db.models import AccountRequest, Consent, Notification, Operator
from portal import context, forms
from portal.auth import limiter
from portal.errors import problem_text, put_on_form
from portal.files import send_stored
from portal.home_tiles import remembered
from portal.messages import done, refuse
from portal.permissions import Permission, requires, signed_in

blueprint = Blueprint("licence", __name__, url_prefix="/licence")
HOURS = (1, 4, 24, 72, 168)


class ContactForm(forms.Form):
    phone = forms.text(_l("Phone or WhatsApp, if we should call"))
    words = forms.long_text(_l("What do you need?"))


class RemovalForm(forms.Form):
    typed = forms.text(_l("Name of your company"), required=True)


@blueprint.get("")
@signed_in
def index() -> ResponseReturnValue:
    return _page(ContactForm(), RemovalForm())


@blueprint.post("/contact")
@signed_in
@limiter.limit("10 per hour")
def contact() -> ResponseReturnValue:
    """Write to whoever runs the installation: kept in its list, and mailed."""
    session, form, person = context.db(), ContactForm(), context.staff()
    if form.validate_on_submit():
        try:
            made = write_to_platform(
                session, context.actor(), person.name, person.email, form.phone.data or "", form.words.data or ""
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            _mail(contact_of(session), made)
            session.commit()
            done(_("Sent. We answer to %(email)s.", email=person.email))
            return redirect(url_for(".index"))
    return _page(form, RemovalForm()), 422


@blueprint.post("/consents")
@requires(Permission.ACCOUNT_EDIT)
def give() -> ResponseReturnValue:
    """Let the platform act here without having asked."""
    session = context.db()
    platform = contact_of(session)
    if platform is None:
        abort(404)
    typed = request.form.get("hours", "")
    try:
        hours = int(typed) if typed.isascii() and typed.isdigit() else 0
        give_consent(session, context.actor(), platform.operator_id, hours, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(
            ngettext(
                "The platform may act here for %(num)s hour. You can end it at any time.",
                "The platform may act here for %(num)s hours. You can end it at any time.",
                hours,
            )
        )
    return redirect(url_for(".index") + "#consent")


@blueprint.post("/consents/<int:consent_id>/grant")
@requires(Permission.ACCOUNT_EDIT)
def grant(consent_id: int) -> ResponseReturnValue:
    """Say yes to what is asked."""
    session, consent = context.db(), _consent(consent_id)
    try:
        grant_consent(session, context.actor(), consent, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        remembered.forget("consents", consent.operator_id)
        done(_("They may act here now."))
    return redirect(url_for(".index") + "#consent")


@blueprint.post("/consents/<int:consent_id>/end")
@requires(Permission.ACCOUNT_EDIT)
def end(consent_id: int) -> ResponseReturnValue:
    """Say no to what is asked, or end what was given."""
    end_consent(context.db(), context.actor(), _consent(consent_id), context.now())
    context.db().commit()
    remembered.forget("consents", context.operator().id)
    done(_("Nobody acts here by it any more."))
    return redirect(url_for(".index") + "#consent")


def _consent(consent_id: int) -> Consent:
    """Return a consent of this operator, not one that it asked of others."""
    found = context.db().get(Consent, consent_id)
    if found is None or found.operator_id != context.staff().operator_id:
        abort(404)
    return found


@blueprint.post("/exports")
@requires(Permission.ACCOUNT_EDIT)
@limiter.limit("10 per hour")
def export() -> ResponseReturnValue:
    """Have all that the operator owns put into a file."""
    job = start_job(context.db(), context.actor(), EXPORT, {})
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.get("/exports/<int:file_id>")
@requires(Permission.ACCOUNT_EDIT)
def download(file_id: int) -> ResponseReturnValue:
    session, operator_id = context.db(), context.staff().operator_id
    found = next((file for file in exports_of(session, operator_id) if file.id == file_id), None) or abort(404)
    record(session, context.actor(), "account.download", "stored_file", found.id)
    session.commit()
    return send_stored(found, download=True)


@blueprint.post("/removal")
@requires(Permission.ACCOUNT_EDIT)
def remove() -> ResponseReturnValue:
    session, form = context.db(), RemovalForm()
    if form.validate_on_submit():
        try:
            ask_removal(session, context.actor(), form.typed.data or "", context.operator(), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("All of it will be removed in %(days)s days. Until then it can be taken back.", days=GRACE.days))
            return redirect(url_for(".index"))
    return _page(ContactForm(), form), 422


@blueprint.post("/removal/keep")
@requires(Permission.ACCOUNT_EDIT)
def keep() -> ResponseReturnValue:
    keep_after_all(context.db(), context.actor(), context.staff().operator_id)
    context.db().commit()
    done(_("Nothing will be removed."))
    return redirect(url_for(".index"))


def _page(form: ContactForm, removal: RemovalForm) -> str:
    session, operator_id = context.db(), context.staff().operator_id
    standing = standing_of(session, operator_id)
    consents = session.scalars(
        select(Consent).where(Consent.operator_id == operator_id).order_by(Consent.id.desc()).limit(20)
    ).all()
    return render_template(
        "staff/licence/index.html",
        standing=standing,
        days=standing.days_left(today_of(context.now())),
        contact=contact_of(session),
        history=history_of(session, operator_id),
        form=form,
        removal=removal,
        account=context.account(),
        consents=consents,
        hours=HOURS,
        grace=GRACE.days,
        exports=exports_of(session, operator_id) if context.may(Permission.ACCOUNT_EDIT) else (),
    )


def _mail(platform: Contact | None, made: AccountRequest) -> None:
    """Queue the mail to the platform's contact, in English and Spanish alike the words of who wrote."""
    if platform is None or not platform.email:
        return
    session, operator = context.db(), context.db().get_one(Operator, made.operator_id)
    with force_locale("en"):
        subject = _("%(company)s asks about its licence", company=operator.name)
        who = f"{made.name} <{made.email}> {made.phone}".strip()
        body = "\n\n".join((who, made.words))
    message = Message("account.request", EMAIL, platform.email, "en", subject, body)
    values = values_of(context.keyring(), operator.id, message)
    session.execute(insert(Notification).values(**values).inline())
