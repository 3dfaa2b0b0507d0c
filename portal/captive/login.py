"""The login of a hotspot: a code, or user name and password, and back to the router with the answer to its challenge.

Whether it is right only RADIUS says, so the page is asked for no more than the router would be. Back on the page with
the router's error, the reason stands there in RADIUS's own words.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from flask import Response, abort, g, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import select

from aaa.vouchers import clock_ends, octets_left, time_left
from core.codes import fold_code, like_a_code
from crm.brands import brand_of, icon, logo_of
from crm.captive import note_refused_host
from db.models import AccountingSession, CaptiveHotspot, Operator
from portal import context
from portal.captive import attempts
from portal.captive.arrivals import arrival_page
from portal.captive.frame import blueprint, lead_to
from portal.captive.place import db, place
from portal.captive.purchases import PASS_PREFIX, PREFIX, code_bought, refused_pass
from portal.captive.refused import notice_for
from portal.captive.variables import KEPT, BadVariables, Flaw, Visit, visit_of
from portal.permissions import public
from portal.subscriber.frame import host as my_host
from portal.subscriber.frame import portal_of
from radius.facts import FactsReader
from radius.messages import source_of

log = structlog.get_logger()
LONGEST_NAME, LONGEST_PASSWORD = 253, 128
STATUS_LASTS = 31 * 24 * 3600
CONNECTING = 20
"""Seconds within which accounting must have told of a login; before, the page waits for it."""
A_SECOND = timedelta(seconds=1)
ICON = 96
_A_DAY = 24 * 3600


@blueprint.get("/<token>")
@public
def page() -> ResponseReturnValue:
    if "card_of" in g:
        return _card(g.card_of)
    visit = _visit()
    if isinstance(visit, tuple):
        return visit
    if visit.error and (paying := refused_pass(visit.var)) is not None:
        return paying
    bought = None if visit.error else code_bought(visit.var)
    if bought is not None:
        return sent_to_router(visit, fold_code(bought))
    return _login_page(visit, said(visit.error))


@blueprint.post("/<token>")
@public
def login() -> ResponseReturnValue:
    """Send the phone back to its router with what was typed."""
    visit = _visit()
    if isinstance(visit, tuple):
        return visit
    code, user = request.form.get("code", "").strip(), request.form.get("user", "").strip()
    password = request.form.get("password", "")
    name = user or fold_code(code)
    if place().terms.ask_terms and not request.form.get("agree"):
        return _login_page(visit, _("Accept the terms to go on."), 422)
    if not name:
        return _login_page(visit, _("Type your code, or your user name and password."), 422)
    if len(name) > LONGEST_NAME or len(password) > LONGEST_PASSWORD or not name.isprintable():
        return _login_page(visit, _("That is too long for a code. Look at it again."), 422)
    if user and not password:
        return _login_page(visit, _("Enter your password."), 422)
    if password and visit.chap is None and not visit.secure:
        text = _("This hotspot would send your password where others can read it. Use a code, or ask us.")
        return _login_page(visit, text, 422)
    wait = attempts.pause(place(), visit.mac, time.time())
    if wait:
        text = _("You tried often. Wait %(seconds)s seconds, and look at it again meanwhile.", seconds=wait)
        return _login_page(visit, text, 429)
    return sent_to_router(visit, name, password)


def sent_to_router(visit: Visit, name: str, password: str = "") -> ResponseReturnValue:
    """Lead a phone to its router with a login.

    With a challenge, and for codes, by a redirect: no browser warns of it as of a form that leads from https to http,
    and it needs no script. A password that goes as it is goes in a form, and only over https.
    """
    back = status_url(visit)
    lead_to(visit.origin)
    if visit.chap is not None or not password:
        return redirect(visit.login_url(name, password, back), 303)
    return render_template("captive/leaving.html", visit=visit, name=name, password=password, back=back)


def status_url(visit: Visit) -> str:
    """Return the page that shows a phone what is left, signed so that it shows nobody else's."""
    text = _serializer().dumps([place().nas_id, visit.mac, visit.origin, round(time.time(), 3)])
    return url_for("captive.status", s=text, _external=True)


def _newest_session(mac: str) -> AccountingSession | None:
    """Return the session that a device began last at this hotspot."""
    return db().scalar(
        select(AccountingSession)
        .where(
            AccountingSession.operator_id == place().operator.id,
            AccountingSession.mac == mac,
            AccountingSession.nas_id == place().nas_id,
        )
        .order_by(AccountingSession.started_at.desc(), AccountingSession.id.desc())
        .limit(1)
    )


@blueprint.get("/<token>/status")
@public
def status() -> ResponseReturnValue:
    """Time and data left, and the way to log out."""
    try:
        nas_id, mac, origin, left_at = _serializer().loads(request.args.get("s", ""), max_age=STATUS_LASTS)
        made = datetime.fromtimestamp(left_at, UTC)
    except (BadSignature, ValueError, TypeError):
        return _problem(Flaw.MISSING)
    if nas_id != place().nas_id:
        return _problem(Flaw.MISSING)
    newest = _newest_session(mac)
    lead_to(origin)
    session = newest if newest is not None and newest.ended_at is None else None
    if session is not None:
        attempts.forget(place(), mac)
    # What this login began has been heard of, and is over. Routers cut the time of what they tell to whole seconds.
    known = newest is not None and newest.ended_at is not None and newest.started_at >= made - A_SECOND
    return render_template(
        "captive/status.html",
        session=session,
        left=left_of(session) if session is not None else {},
        connecting=not known and session is None and (context.now() - made).total_seconds() < CONNECTING,
        logout=f"{origin}/logout",
        login=f"{origin}/login",
    )


@blueprint.get("/<token>/api")
@public
def api() -> ResponseReturnValue:
    """RFC 8908: what a phone asks by itself, to show its user the way to the login and what is left."""
    said: dict[str, Any] = {"captive": True, "user-portal-url": url_for("captive.page", _external=True)}
    said["venue-info-url"] = said["user-portal-url"]
    session = db().scalar(
        select(AccountingSession)
        .where(
            AccountingSession.operator_id == place().operator.id,
            AccountingSession.nas_id == place().nas_id,
            AccountingSession.framed_ip == request.remote_addr,
            AccountingSession.ended_at.is_(None),
        )
        .order_by(AccountingSession.started_at.desc(), AccountingSession.id.desc())
        .limit(1)
    )
    if session is not None:
        left = left_of(session)
        said["captive"] = False
        said |= {name: left[key] for name, key in _API_NAMES if left.get(key) is not None}
        said["can-extend-session"] = place().sells
    response = jsonify(said)
    response.mimetype = "application/captive+json"
    response.headers["Cache-Control"] = "private, no-store"
    return response


_API_NAMES = (("seconds-remaining", "seconds"), ("bytes-remaining", "octets"))


def left_of(session: AccountingSession) -> dict[str, Any]:
    """Return seconds and octets left, and when the clock ends it, of a session by a voucher; nothing for others."""
    if session.service_id is None:
        return {}
    connection = db().connection().connection.driver_connection
    found = list(FactsReader(connection, context.now()).services([session.service_id]))  # type: ignore[arg-type]
    voucher = found[0].service.voucher if found else None
    if voucher is None:
        return {}
    left = time_left(voucher, context.now())
    return {
        "seconds": None if left is None else max(0, int(left.total_seconds())),
        "octets": octets_left(voucher),
        "ends": clock_ends(voucher, context.now()),
    }


@blueprint.get("/<token>/login.html")
@public
def router_page() -> ResponseReturnValue:
    """The login page for the router to fetch and keep. It is filled in there, for each phone."""
    response = Response(render_template("captive/router.html", url=url_for("captive.page", _external=True)))
    response.headers["Cache-Control"] = "no-cache"
    return response


# What the pages look like.


@blueprint.get("/<token>/brand.css")
@public
def colours() -> ResponseReturnValue:
    found = place().brand
    text = f":root {{ --colour: {found.colour}; --on: {found.on_colour}; --link: {found.link} }}\n"
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ --link: {found.link_dark} }} }}\n"
    return _kept(Response(text + dark, mimetype="text/css"))


@blueprint.get("/<token>/icon.png")
@public
def picture() -> ResponseReturnValue:
    """The operator's logo, small: a logo may be larger than all of the page."""
    content = icon(place().brand, logo_of(db(), place().operator.id), ICON)
    return _kept(Response(content, mimetype="image/png"))


def _kept(response: Response) -> Response:
    response.headers["Cache-Control"] = f"public, max-age={_A_DAY}"
    return response


def _visit() -> Visit | tuple[str, int]:
    """Return what the router says of this phone, or the page that says why it cannot be used."""
    try:
        return visit_of(request.form if request.method == "POST" else request.args, place().hosts)
    except BadVariables as problem:
        log.info("captive_variables", operator_id=place().operator.id, nas_id=place().nas_id, flaw=problem.flaw)
        if problem.flaw is Flaw.FOREIGN:
            session = db()
            known = session.get(CaptiveHotspot, place().nas_id)
            if known is None or known.refused_host != problem.host:
                note_refused_host(session, place().operator.id, place().nas_id, problem.host, context.now())
                session.commit()
        return _problem(problem.flaw)


def _card(slug: str) -> ResponseReturnValue:
    """Lead who scanned a printed card to the login page of the operator's hotspots, with the code filled in."""
    found = portal_of(slug, my_host()) or abort(404)
    session = context.open_for(found.id)
    brand = brand_of(session, session.get_one(Operator, found.id))
    code = fold_code(request.args.get("code", ""))[:60]
    hotspots = session.scalars(select(CaptiveHotspot).order_by(CaptiveHotspot.nas_id).limit(20))
    hosts = list(dict.fromkeys(each[0] for one in hotspots if (each := [*one.hosts, *one.found_hosts])))[:5]
    return render_template("captive/card.html", brand=brand, code=code, hosts=hosts)


def visit_or_page() -> Visit | tuple[str, int]:
    """Return what the router says of this phone, or the page that says why it cannot be used."""
    return _visit()


def _problem(flaw: Flaw) -> tuple[str, int]:
    host = next(iter(place().hosts), None)
    return render_template("captive/problem.html", code=400, flaw=flaw, host=host), 400


def kept_variables() -> dict[str, str]:
    """Return what the forms of a page hand on."""
    return {name: request.values.get(name, "") for name in KEPT}


def _login_page(visit: Visit, error: str = "", code: int = 200) -> ResponseReturnValue:
    lead_to(visit.origin)
    kept = kept_variables()
    typed, user = request.form.get("code", ""), request.form.get("user", "")
    if visit.var.startswith(PASS_PREFIX):
        pass
    elif visit.error and like_a_code(visit.user):  # to be mended, not typed anew
        typed = visit.user
    elif visit.error:
        user = visit.user
    typed = typed or ("" if visit.var.startswith((PREFIX, PASS_PREFIX)) else visit.var)
    code_typed = typed or (request.args.get("code", "")[:60])
    notice = notice_for(visit, context.now())
    trial_url = visit.trial_url(status_url(visit)) if place().terms.offer_trial and visit.trial else None
    if not (error or notice or code_typed or user or trial_url) and request.method == "GET":
        return arrival_page(kept), code
    made = render_template(
        "captive/login.html",
        kept=kept,
        query=kept,
        error=error,
        notice=notice,
        code=code_typed,
        user=user,
        trial_url=trial_url,
    )
    return made, code


def said(error: str) -> str:
    """Return what the router said, in the reader's language where it is a text of RADIUS or of RouterOS."""
    if not error:
        return ""
    lower = error.lower()
    if "not responding" in lower:
        return str(_("The network does not answer at the moment. Try again in a minute; your code is not lost."))
    if "challenge response" in lower:
        return str(_("The page was open for too long. Try again."))
    if lower.startswith("invalid username or password"):
        return str(_("This is not right. Look at it again."))
    if "uptime limit" in lower:
        return str(_("The free time of this device is used up for today."))
    if "no more sessions" in lower:
        return str(_("It is in use on another device."))
    source = source_of(error)
    return error if source is None else str(_(source))


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(context.keyring().derive("captive.status"), salt="captive")
