"""Who looks at a subscriber's page, of which operator, and what they may see: the door of all pages under /my/.

The operator is named by the address, `/my/<short name>/`, or by its own host name, and the request's database session
is bound to it before anything else is looked up. Who is signed in stands in a cookie of its own, signed with another
key than that of staff and sent to these pages alone, so neither opens the other's. It names operator, subscriber and
`session_version`, which a new password raises, and the staff member in whose eyes the pages are looked at, if any.

A browser that messages go to has a cookie that says which it is, so that they end with the sign-out, or with
somebody else's sign-in, whatever the browser's own part of it comes to.

Row-level security keeps to the operator. What keeps to the subscriber is `mine()`, through which every query of these
pages goes that is not about the operator itself.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from flask import Blueprint, Response, abort, current_app, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session, selectinload
from werkzeug.exceptions import HTTPException

from core.i18n import DEFAULT_LANGUAGE, LANGUAGES
from crm.brands import Allowed, Branding, allowed_by, brand_of
from crm.push import sign_off
from db.audit import Actor
from db.models import AccountingSession, Operator, PushBrowser, Service, Subscriber, SubscriberLogin
from portal import context
from portal.files import expect_files
from portal.i18n import A_YEAR, LANGUAGE_COOKIE
from portal.messages import refuse
from portal.permissions import Openness, requirement_of

blueprint = Blueprint("my", __name__, url_prefix="/my")

COOKIE = "portico_my"
TOLD_COOKIE = "portico_my_push"
LASTS = 30 * 24 * 3600
"""Seconds that a browser stays signed in without coming back."""
RENEWED = 24 * 3600
LOOK_LASTS = 15 * 60
"""Seconds that staff may look with a subscriber's eyes."""
_PURPOSE = "subscriber.cookies"
_WITH_FILES = ("my.send_ticket", "my.answer_ticket")

Row = TypeVar("Row")


# Who and whose.


def db() -> Session:
    """Return this request's session, bound to the operator of the address."""
    return context.open_for(operator().id)


def operator() -> Operator:
    found: Operator = g.operator
    return found


def brand() -> Branding:
    found: Branding = g.brand
    return found


def allowed() -> Allowed:
    """Return what the operator lets its subscribers do."""
    found: Allowed = g.allowed
    return found


def me() -> Subscriber:
    """Return who is signed in. Only for routes that need it."""
    found: Subscriber | None = g.subscriber
    if found is None:
        raise RuntimeError("nobody is signed in")
    return found


def looked_at_by() -> int | None:
    """Return the id of the staff member who looks with the subscriber's eyes, None where it is the subscriber."""
    found: int | None = g.get("looked_at_by")
    return found


def actor() -> Actor:
    """Return who acts, for the audit log: the subscriber, on their own page."""
    return Actor(me().operator_id, f"{me().name} (subscriber)", None, request.remote_addr)


def mine(model: type[Any]) -> Select[Any]:
    """Return a query for the rows of a model that are the subscriber's own. Every query of these pages begins here."""
    columns: Any = model
    owner = columns.id if model is Subscriber else columns.subscriber_id
    return select(model).where(columns.operator_id == me().operator_id, owner == me().id)


def one_of_mine(model: type[Row], row_id: int) -> Row:
    """Return one row of the subscriber's own; 404 for everybody else's, as for one that does not exist."""
    columns: Any = model
    found: Row = db().scalar(mine(model).where(columns.id == row_id)) or abort(404)
    return found


def my_services() -> list[Service]:
    """Return the subscriber's access lines that have not ended, each with its plan."""
    query = mine(Service).where(Service.state != "terminated", Service.access_method != "voucher")
    return list(db().scalars(query.options(selectinload(Service.plan)).order_by(Service.id)))


def my_service(service_id: int) -> Service:
    """Return one of them with its plan, or answer 404."""
    return next((service for service in my_services() if service.id == service_id), None) or abort(404)


def live_sessions(services: Iterable[Service]) -> list[AccountingSession]:
    """Return the open sessions of the subscriber's services, the newest first."""
    query = select(AccountingSession).where(
        AccountingSession.service_id.in_([service.id for service in services]), AccountingSession.ended_at.is_(None)
    )
    return list(db().scalars(query.order_by(AccountingSession.started_at.desc()).limit(50)))


# The cookie.


def sign_in(subscriber: Subscriber, login: SubscriberLogin) -> Response:
    """Return the way to the first page, with this browser signed in. What it was before is forgotten."""
    for name in [key for key in session if key == "csrf_token" or key.startswith("my_")]:
        session.pop(name)  # nothing that was put here before the sign-in goes on after it
    response: Response = redirect(url_for("my.home"))  # type: ignore[assignment]
    _write(response, _cookie_text(subscriber, login.session_version, None), LASTS)
    told = told_here()
    if told is not None and told.subscriber_id != subscriber.id:
        _tell_no_more(response, told, Actor(subscriber.operator_id, "another subscriber", None, request.remote_addr))
    return response


def forget(response: Response) -> Response:
    """Sign this browser out. Messages of who signs out come to it no more."""
    told = told_here()
    if told is not None and looked_at_by() is None and told.subscriber_id == me().id:
        _tell_no_more(response, told, actor())
    response.delete_cookie(COOKIE, path=_path(operator().slug))
    return response


def told_here() -> PushBrowser | None:
    """Return which of the browsers that messages go to this one is, None where they do not."""
    try:
        operator_id, browser_id = _serializer("my-push").loads(request.cookies.get(TOLD_COOKIE, ""))
    except (BadSignature, ValueError, TypeError):
        return None
    return db().get(PushBrowser, browser_id) if operator_id == operator().id else None


def remember_told(response: Response, browser_id: int) -> None:
    """Let this browser know which of those that messages go to it is."""
    _write(response, _serializer("my-push").dumps([operator().id, browser_id]), A_YEAR, name=TOLD_COOKIE)


def _tell_no_more(response: Response, told: PushBrowser, actor: Actor) -> None:
    sign_off(db(), actor, told)
    db().commit()
    response.delete_cookie(TOLD_COOKIE, path=_path(operator().slug))


def look_as(response: Response, viewed: Subscriber, slug: str, version: int, staff_id: int) -> Response:
    """Let staff look at a subscriber's pages in this browser, for a quarter of an hour, without changing anything."""
    text = _serializer().dumps([viewed.operator_id, viewed.id, version, staff_id])
    _write(response, text, LOOK_LASTS, slug)
    return response


def _cookie_text(subscriber: Subscriber, version: int, staff_id: int | None) -> str:
    return str(_serializer().dumps([subscriber.operator_id, subscriber.id, version, staff_id]))


def _write(response: Response, text: str | bytes, seconds: int, slug: str | None = None, name: str = COOKIE) -> None:
    response.set_cookie(
        name,
        text if isinstance(text, str) else text.decode(),
        max_age=seconds,
        path=_path(slug or operator().slug),
        httponly=True,
        samesite="Lax",
        secure=current_app.config["SESSION_COOKIE_SECURE"],
    )


def _path(slug: str) -> str:
    """Where the cookie is sent: a browser may be signed in with several operators."""
    return f"/my/{slug}/"


def _serializer(salt: str = "my") -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(context.keyring().derive(_PURPOSE), salt=salt)


def _signed_in(bound: Session) -> Subscriber | None:
    """Return who the cookie is for, or None when it is no longer good."""
    try:
        value, made = _serializer().loads(request.cookies.get(COOKIE, ""), max_age=LASTS, return_timestamp=True)
        operator_id, subscriber_id, version, staff_id = value
    except (BadSignature, ValueError, TypeError):
        return None
    age = context.now().timestamp() - made.timestamp()
    if operator_id != operator().id or (staff_id is not None and age > LOOK_LASTS):
        return None
    subscriber = bound.get(Subscriber, subscriber_id)
    login = bound.get(SubscriberLogin, subscriber_id)
    if subscriber is None or subscriber.removed_at is not None:
        return None
    if version != (login.session_version if login is not None else 1):
        return None
    g.looked_at_by = staff_id
    g.cookie_renewed = staff_id is None and age > RENEWED
    g.session_version = version
    return subscriber


# The door.


@blueprint.url_value_preprocessor
def _take_slug(endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.slug = values.pop("slug", None) if values else None
    if endpoint in _WITH_FILES:
        expect_files()  # before anything reads the form


@blueprint.url_defaults
def _put_slug(endpoint: str, values: dict[str, Any]) -> None:
    if "slug" not in values and g.get("slug") and current_app.url_map.is_endpoint_expecting(endpoint, "slug"):
        values["slug"] = g.slug


@blueprint.before_request
def _enter() -> ResponseReturnValue | None:
    """Find the operator and who is signed in, and let the request through to what this person may have."""
    found = portal_of(g.slug, host())
    if found is None:
        abort(404)
    g.slug = found.slug
    bound = context.open_for(found.id)
    g.operator = bound.get_one(Operator, found.id)
    g.brand, g.allowed = brand_of(bound, g.operator), allowed_by(bound, g.operator.id)
    g.subscriber = None
    if not g.allowed.enabled:
        abort(404)
    g.subscriber = _signed_in(bound)
    g.language = _language()
    requirement = requirement_of(current_app.view_functions[request.endpoint or ""])
    if requirement is Openness.PUBLIC:
        return None
    if requirement is not Openness.SUBSCRIBER:
        abort(403)
    if g.subscriber is None:
        return redirect(url_for("my.sign_in_page"))
    if looked_at_by() is not None and request.method not in ("GET", "HEAD") and request.endpoint != "my.sign_out":
        abort(403)  # staff look, and change nothing in a subscriber's name
    return None


def host() -> str:
    """Return the host name that the browser asked for."""
    return request.host.rpartition(":")[0].lower() if ":" in request.host else request.host.lower()


def portal_of(slug: str | None, host: str) -> Any:
    """Return id and short name of the operator whose pages an address or a host leads to, or None."""
    with context.portal().tenancy.session(None) as unbound:
        query = text("SELECT * FROM subscriber_portal(:slug, :host)")
        return unbound.execute(query, {"slug": slug, "host": host}).one_or_none()


def _language() -> str:
    """What was chosen in this browser, then what the subscriber wants, then what the browser wants."""
    wanted = (
        request.cookies.get(LANGUAGE_COOKIE),
        g.subscriber.language if g.subscriber is not None else None,
        request.accept_languages.best_match(list(LANGUAGES)),
        operator().locale[:2],
    )
    return next((language for language in wanted if language and language in LANGUAGES), DEFAULT_LANGUAGE)


@blueprint.after_request
def _renew(response: Response) -> Response:
    if g.get("cookie_renewed") and COOKIE not in response.headers.get("Set-Cookie", ""):
        _write(response, _cookie_text(me(), g.session_version, None), LASTS)
    return response


@blueprint.context_processor
def _values() -> dict[str, object]:
    """What every page of a subscriber may use."""
    return {
        "operator": g.get("operator"),
        "brand": g.get("brand"),
        "allowed": g.get("allowed"),
        "subscriber": g.get("subscriber"),
        "looking": looked_at_by() is not None,
        "asset_version": g.brand.version if "brand" in g else 0,
    }


@blueprint.errorhandler(HTTPException)
def _http_error(problem: HTTPException) -> ResponseReturnValue:
    """Errors in the operator's clothes, with a way back that is the subscriber's."""
    code = problem.code or 500
    if problem.response is not None or code < 400:
        return problem.get_response()
    if "brand" not in g:
        return render_template("errors/error.html", code=code), code
    return render_template("subscriber/error.html", code=code), code


def refuse_again() -> None:
    """Say that what a form sent is no longer so."""
    refuse(_("Nothing was changed. Look at it again before you go on."))
