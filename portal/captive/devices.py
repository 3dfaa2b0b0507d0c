"""The page of a device that a hotspot does not let in by itself: why, its number, and how to get help."""

from flask import g, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from aaa.decision import Reason
from core.i18n import translator
from crm.problems import Invalid
from crm.tickets import open_ticket
from db.audit import Actor
from portal import context
from portal.auth import limiter
from portal.captive.frame import blueprint, lead_to
from portal.captive.login import kept_variables, visit_or_page
from portal.captive.place import db, place
from portal.captive.refused import DEVICE_TROUBLES, said_of
from portal.captive.variables import Visit
from portal.errors import problem_text
from portal.permissions import public

LONGEST_TEXT, LONGEST_CONTACT = 2000, 200


@blueprint.get("/<token>/device")
@public
@limiter.limit("120 per minute")
def device() -> ResponseReturnValue:
    """Say why a device is not let in by itself, and what helps."""
    visit = visit_or_page()
    return visit if isinstance(visit, tuple) else _page(visit)


@blueprint.post("/<token>/device")
@public
@limiter.limit("10 per hour", key_func=lambda: f"{place().operator.id}:{request.form.get('mac', '')[:17]}")
@limiter.limit("60 per hour", key_func=lambda: f"{place().operator.id}:{place().nas_id}:devices")
def ask_about_device() -> ResponseReturnValue:
    """Open a ticket with the device's number in it. Nobody is signed in, so it is nobody's yet."""
    visit = visit_or_page()
    if isinstance(visit, tuple):
        return visit
    contact, words = (request.form.get(name, "").strip() for name in ("contact", "text"))
    if not contact or not words:
        return _page(visit, error=_("Tell us who you are and what it is about."), code=422)
    say = translator(place().operator.locale)
    trouble = DEVICE_TROUBLES.get(said_of(visit, context.now()) or Reason.MAC_NOT_REGISTERED)
    title = say(trouble.title) if trouble is not None else ""
    body = f"{contact[:LONGEST_CONTACT]}\n\n{words[:LONGEST_TEXT]}\n\n{visit.mac.upper()} {visit.ip}"
    actor = Actor(place().operator.id, "captive page", None, request.remote_addr)
    try:
        open_ticket(
            db(), actor, None, None, f"{title}: {visit.mac.upper()}", body, source="captive", language=g.language,
            now=context.now(),
        )  # fmt: skip
    except Invalid as invalid:
        db().rollback()
        return _page(visit, error=" ".join(problem_text(each) for each in invalid.problems), code=422)
    db().commit()
    return _page(visit, done=_("Your message has arrived. You hear from us."))


def _page(visit: Visit, *, error: str = "", done: str = "", code: int = 200) -> ResponseReturnValue:
    lead_to(visit.origin)
    reason = said_of(visit, context.now())
    made = render_template(
        "captive/device.html",
        visit=visit,
        trouble=DEVICE_TROUBLES.get(reason) if reason is not None else None,
        kept=kept_variables(),
        error=error,
        done=done,
        portal_url=place().brand.portal_url(context.portal().settings.public_url),
    )
    return made, code
