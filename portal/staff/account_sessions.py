"""Where a staff member is signed in, and ending it."""

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from core.i18n import N_
from crm.login_sessions import device_words, end_session, end_sessions, sessions_of
from db.audit import record
from portal import context
from portal.auth import limits_of_sessions, this_session
from portal.messages import done
from portal.permissions import signed_in

blueprint = Blueprint("account_sessions", __name__, url_prefix="/account/sessions")

FACTORS = {
    "password": N_("password alone"),
    "device": N_("password, in a trusted browser"),
    "code": N_("password and app"),
    "passkey": N_("password and passkey"),
    "recovery": N_("password and recovery code"),
}


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    present, limits = this_session(), limits_of_sessions()
    rows = sessions_of(context.db(), context.staff().id, limits, context.now())
    return render_template(
        "staff/account/sessions.html",
        rows=[(row, *device_words(row.user_agent)) for row in rows],
        present=present.id if present else None,
        factors=FACTORS,
        limits=limits,
    )


@blueprint.post("/<int:session_id>/end")
@signed_in
def end(session_id: int) -> ResponseReturnValue:
    session = context.db()
    if not end_session(session, context.actor(), context.staff().id, session_id, "revoked", context.now()):
        abort(404)
    session.commit()
    done(_("That browser is signed out."))
    return redirect(url_for(".index"))


@blueprint.post("/end-others")
@signed_in
def end_others() -> ResponseReturnValue:
    session, present, person = context.db(), this_session(), context.staff()
    count = end_sessions(session, person, "revoked", context.now(), keep=present.id if present else None)
    record(session, context.actor(), "staff.session_end", "staff", person.id, None, {"sessions": count})
    session.commit()
    done(ngettext("%(num)d other browser is signed out.", "%(num)d other browsers are signed out.", count))
    return redirect(url_for(".index"))
