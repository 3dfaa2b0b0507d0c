"""Sign-ups, requests, and how the platform is reached."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select, text

from crm.accounts import change_contact
from crm.problems import Invalid
from db.audit import record
from db.models import AccountRequest, SignUp
from portal import context, forms
from portal.errors import put_on_form
from portal.messages import done
from portal.permissions import for_platform, for_platform_owner
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("platform", __name__, url_prefix="/platform")


class SettingsForm(forms.Form):
    adviser = forms.text(_l("Adviser"))
    whatsapp = forms.text(_l("WhatsApp number"))
    contact_email = forms.text(_l("E-mail address for requests"))


SIGN_UPS = Table(
    name="sign-ups",
    columns=(
        Column("at", _l("Asked"), lambda row: row.created_at, SignUp.created_at),
        Column("name", _l("Name"), lambda row: row.name, SignUp.name),
        Column("email", _l("E-mail address"), lambda row: row.email, SignUp.email),
        Column("used", _l("Account opened"), lambda row: row.used_at, SignUp.used_at),
        Column("address", _l("From"), lambda row: row.address or "", wide=True),
    ),
    order="-at",
    tie=SignUp.id,
    filters=(
        Filter(
            "state",
            _l("Opened or not"),
            lambda: (("opened", _("Opened")), ("waiting", _("Not opened"))),
            lambda value: SignUp.used_at.is_not(None) if value == "opened" else SignUp.used_at.is_(None),
        ),
    ),
    search=lambda words: SignUp.email.icontains(words, autoescape=True) | SignUp.name.icontains(words, autoescape=True),
    search_hint=_l("Name or e-mail address"),
)


@blueprint.get("/sign-ups")
@for_platform
def sign_ups() -> ResponseReturnValue:
    operator_id = context.staff().operator_id
    return show(
        context.db(), SIGN_UPS, select(SignUp).where(SignUp.operator_id == operator_id), "platform/sign_ups.html",
        is_open=context.portal().settings.sign_up_open,
    )  # fmt: skip


@blueprint.get("/requests")
@for_platform
def requests() -> ResponseReturnValue:
    names = {row.id: row.name for row in context.db().execute(text("SELECT id, name FROM platform_operators()"))}
    rows = context.db().scalars(
        select(AccountRequest).order_by(AccountRequest.done_at.is_not(None), AccountRequest.id.desc()).limit(200)
    )
    return render_template("platform/requests.html", requests=rows.all(), names=names)


@blueprint.post("/requests/<int:request_id>/done")
@for_platform
def finish(request_id: int) -> ResponseReturnValue:
    """Take a request off the list of what waits, or put it back."""
    found = context.db().get(AccountRequest, request_id) or abort(404)
    found.done_at = None if found.done_at else context.now()
    action = "account.request_done" if found.done_at else "account.request_open"
    context.db().flush()
    record(context.db(), context.actor(), action, "account_request", found.id)
    context.db().commit()
    return redirect(url_for(".requests"))


@blueprint.route("/settings", methods=["GET", "POST"])
@for_platform_owner
def settings() -> ResponseReturnValue:
    form = SettingsForm(obj=context.account())
    if request.method == "POST" and form.validate():
        try:
            change_contact(
                context.db(), context.actor(), form.adviser.data or "", form.whatsapp.data or "",
                form.contact_email.data or "",
            )  # fmt: skip
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved. Every operator reads it on its page of the licence."))
            return redirect(url_for(".settings"))
    return render_template("platform/settings.html", form=form), 422 if form.errors else 200
