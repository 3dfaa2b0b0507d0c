"""The gate behind signing in: who is suspended, who acts with consent, and who belongs to the platform.

It stands after `portal.auth` and before each page of the staff. Subscribers' own pages do not pass through it: what an
operator owes the platform is not their affair.
"""

from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, Flask, abort, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import func, select

from crm.accounts import contact_of, end_consent, holds
from crm.licences import DEMO, REMIND, Standing, standing_of, today_of
from db.audit import Actor, record
from db.models import Consent
from portal import context
from portal.auth import sign_this_browser_out
from portal.formats import local_day, local_minute
from portal.home_tiles import remembered
from portal.permissions import PLATFORMS_OWN, Openness, Permission, requirement_of, signed_in

blueprint = Blueprint("gate", __name__)

_ALWAYS = frozenset(("auth.sign_out", "auth.language"))
_PLATFORMS = frozenset(("account", "account_sessions", "factors", "two_factor", "platform", "auth"))
"""Blueprints for everybody who signs in that make sense without subscribers."""
_KEPT = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Note:
    """A line above every page: `colour` of the theme, what it says, and where to go: a link, or a button to `post`."""

    colour: str
    icon: str
    text: str
    url: str = ""
    action: str = ""
    post: bool = False


def _gate() -> ResponseReturnValue | None:
    person = context.signed_in_staff()
    endpoint = request.endpoint or ""
    view = current_app.view_functions.get(endpoint)
    if person is None or view is None or endpoint in _ALWAYS or requirement_of(view) is Openness.PUBLIC:
        return None
    account = context.account()
    if account.suspended_at is not None:
        contact = contact_of(context.db())
        page = render_template("errors/suspended.html", reason=account.suspended_reason, contact=contact)
        return page, 403
    consent = _acting_by()
    if consent is not None and not holds(consent, context.now()):
        end_consent(context.db(), Actor(person.operator_id, "consent"), consent, context.now())
        context.db().commit()
        flash(_("The consent has ended, and with it your being there."), "info")
        return redirect(url_for("auth.sign_in_page"))
    if account.platform:
        return _for_platform(view)
    return None


@blueprint.post("/acting/end")
@signed_in
def leave() -> ResponseReturnValue:
    """End acting in an operator's place before its time. The consent holds on: entering again is one click."""
    consent = _acting_by() or abort(404)
    session, person = context.db(), context.staff()
    record(session, Actor(person.operator_id, person.name, None, request.remote_addr), "consent.leave", "consent",
           consent.id, None, {"who": person.name})  # fmt: skip
    session.commit()
    sign_this_browser_out()
    flash(_("You act for nobody any more. Sign in as yourself."), "info")
    return redirect(url_for("auth.sign_in_page"))


def _for_platform(view: object) -> ResponseReturnValue | None:
    """Keep the platform's staff to its own pages: they have no subscribers to look at."""
    requirement = requirement_of(view) if callable(view) else None
    own = requirement in (Openness.PLATFORM, Openness.PLATFORM_OWNER) or requirement in PLATFORMS_OWN
    if own or request.blueprint in _PLATFORMS:
        return None
    if request.method == "GET" and requirement is Openness.SIGNED_IN:
        return redirect(url_for("platform.index"))
    return abort(404)


def _acting_by() -> Consent | None:
    """Return by which consent who is signed in acts here; None for the operator's own people."""
    person = context.staff()
    if not person.email.endswith(".invalid"):
        return None
    return context.db().scalar(select(Consent).where(Consent.staff_id == person.id))


def account_notes() -> list[Note]:
    """Return what stands above every page of an operator: that it is nearly full, who acts, what is asked."""
    if context.signed_in_staff() is None or context.account().platform:
        return []
    notes, account = [], context.account()
    consent = _acting_by()
    if consent is not None and consent.until is not None:
        notes.append(
            Note(
                "purple",
                "user-shield",
                _("You act for %(company)s with its consent until %(when)s. All that you do is recorded as yours.",
                  company=context.operator().name, when=local_minute(consent.until)),
                url_for("gate.leave"),
                _("End it now"),
                post=True,
            )
        )  # fmt: skip
    url = url_for("licence.index")
    if account.removes_at is not None:
        text = _("%(company)s will be removed with all that it has on %(day)s.", company=context.operator().name,
                 day=local_day(account.removes_at))  # fmt: skip
        notes.append(Note("danger", "trash", text, url, _("Look at it")))
    operator_id = account.operator_id
    if context.may(Permission.ACCOUNT_EDIT):
        asked = remembered.give("consents", operator_id, _KEPT, lambda: _asked(operator_id))
        if asked:
            notes.append(Note("info", "user-question", _("Somebody asks for leave to act here in your place."), url,
                              _("Look at it")))  # fmt: skip
    if request.endpoint == "licence.index":
        return notes  # the page says it itself
    standing = remembered.give("standing", operator_id, _KEPT, lambda: standing_of(context.db(), operator_id))
    if standing.limit is not None and standing.limit <= 100:  # few enough to be counted for each page
        standing = standing_of(context.db(), operator_id)
    note = _licence_note(standing)
    return [*notes, note] if note else notes


def _licence_note(standing: Standing) -> Note | None:
    url, action = url_for("licence.index", _anchor="contact"), _("How to go on")
    days = standing.days_left(today_of(context.now()))
    if standing.lapsed:
        text = _("Your licence has ended. Everything goes on for who is here; new subscribers need a licence.")
        return Note("danger", "license", text, url, action)
    if standing.full:
        text = _(
            "Your licence has places for %(limit)s subscribers, and you have %(used)s."
            " Everything goes on for them; a new one needs a place.",
            limit=standing.limit,
            used=standing.used,
        )
        return Note("warning", "license", text, url, action)
    if days is not None and days <= max(REMIND):
        text = ngettext("Your licence holds for %(num)s day more.", "Your licence holds for %(num)s days more.", days)
        return Note("warning", "license", text, url, action)
    if standing.nearly_full or standing.period == DEMO:
        text = _("%(used)s of the %(limit)s subscribers of your licence are there.", used=standing.used,
                 limit=standing.limit)  # fmt: skip
        return Note("info", "license", text, url, action)
    return None


def _asked(operator_id: int) -> int:
    query = select(func.count()).where(
        Consent.operator_id == operator_id, Consent.granted_at.is_(None), Consent.ended_at.is_(None)
    )
    return context.db().scalar(query) or 0


def install(app: Flask) -> None:
    app.before_request(_gate)
    app.register_blueprint(blueprint)
    app.jinja_env.globals.update(account_notes=account_notes)
