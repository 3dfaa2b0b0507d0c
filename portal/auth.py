"""Signing in and out, and who is signed in. The only module that knows Flask-Login.

The cookie holds `operator:staff:version:key`, signed. The key opens a row of `crm.login_sessions`, which can be ended
from elsewhere; the version is the staff row's `session_version`, which ends all of a person's sessions when it is
raised. Nothing of the session before a sign-in outlives it. Guessing is slowed by `portal.sign_in_limits`; an unknown
address takes as long to refuse as a wrong password.

Who has a second factor is asked for it by `portal.two_factor`, before anything is open. Who must choose another
password, or has a role that needs a second factor and has none yet, is led to where that is done and nowhere else.
"""

import secrets
from base64 import b64encode
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy import text
from wtforms import EmailField, PasswordField
from wtforms.validators import InputRequired

from core.i18n import LANGUAGES
from crm.login_sessions import Limits, begin_session, device_of, device_words, end_session, person_of
from crm.messages import tell_staff
from crm.password_rules import LONGEST
from crm.second_factors import factor_roles, factors_of
from db.audit import Actor, record
from db.models import LoginSession, Staff
from portal import context
from portal.forms import Form
from portal.i18n import A_YEAR, LANGUAGE_COOKIE
from portal.permissions import Openness, Permission, public, requirement_of, signed_in
from portal.sign_in_limits import (
    FROM_EVERYWHERE,
    FROM_ONE_ADDRESS,
    FROM_ONE_PLACE,
    account_and_place,
    device_cookie,
    device_cookie_name,
    known_device,
    typed_email,
)

log = structlog.get_logger()
blueprint = Blueprint("auth", __name__)
limiter = Limiter(get_remote_address, in_memory_fallback_enabled=True, headers_enabled=True)
hasher = PasswordHasher()

FAILED = 401
PENDING = "second_factor_for"
PENDING_LASTS = timedelta(minutes=10)
_DEVICE_LASTS = timedelta(days=400)  # the longest that browsers keep a cookie
_UNTIL_PASSWORD = frozenset(("account.index", "account.password", "auth.sign_out", "auth.language"))
_UNTIL_FACTOR = frozenset(("auth.sign_out", "auth.language", "account.index", "account.password"))


class SignedIn(UserMixin):  # type: ignore[misc] # Flask-Login has no types
    """What Flask-Login keeps of a staff member in the cookie."""

    def __init__(self, staff: Staff, key: str, begun: LoginSession | None = None) -> None:
        self.staff = staff
        self.key = key
        self.begun = begun

    def get_id(self) -> str:
        return f"{self.staff.operator_id}:{self.staff.id}:{self.staff.session_version}:{self.key}"


class SignInForm(Form):
    email = EmailField(_l("E-mail address"), [InputRequired(_l("Enter your e-mail address."))])
    password = PasswordField(_l("Password"), [InputRequired(_l("Enter your password."))])


def check_password(stored: str, given: str) -> bool:
    """Tell whether a password is the one of an argon2 hash."""
    if len(given) > LONGEST:
        return False
    try:
        return hasher.verify(stored, given)
    except (VerificationError, InvalidHashError):
        return False


def hash_of_nothing() -> str:
    """Return what looks like a password's hash and is none's: to refuse by it takes as long as to refuse a real one.

    It is put together, not computed, so no start of a program waits for it.
    """
    salt, nothing = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2{hasher.type.name.lower()}$v={ARGON2_VERSION}${cost}${salt}${nothing}"


def password_nobody_knows() -> str:
    """Return the hash of a password that was thrown away: nobody signs in by it, and that takes as long to find out."""
    return hasher.hash(secrets.token_urlsafe(32))


def _failed(response: Response) -> bool:
    return response.status_code == FAILED


def _sign_in_form(form: SignInForm) -> str:
    return render_template("auth/sign_in.html", form=form, may_sign_up=context.portal().settings.sign_up_open)


@blueprint.get("/sign-in")
@public
def sign_in_page() -> ResponseReturnValue:
    if context.signed_in_staff() is not None:
        return redirect(_next_page())
    return _sign_in_form(SignInForm())


@blueprint.post("/sign-in")
@public
@limiter.limit(FROM_ONE_ADDRESS, deduct_when=_failed, exempt_when=known_device)
@limiter.limit(FROM_ONE_PLACE, key_func=account_and_place, deduct_when=_failed)
@limiter.limit(FROM_EVERYWHERE, key_func=typed_email, deduct_when=_failed, exempt_when=known_device)
def sign_in() -> ResponseReturnValue:
    form = SignInForm()
    if not form.validate_on_submit():
        return _sign_in_form(form), FAILED
    person = _authenticate(typed_email(), form.password.data or "")
    if person is None:
        log.info("sign_in_failed", address=request.remote_addr)
        form.form_errors.append(_("This e-mail address and password do not belong together. Check both."))
        return _sign_in_form(form), FAILED
    wanted, db = _next_page(), context.open_for(person.operator_id)
    device = device_of(db, person.id, device_cookie())
    trusted = device is not None and device.trusted_until is not None and device.trusted_until > context.now()
    if not trusted and factors_of(db, person.id).any:
        _forget_browser()
        session[PENDING] = [person.operator_id, person.id, person.session_version, context.now().timestamp(), wanted]
        db.commit()
        return redirect(url_for("two_factor.page"))
    let_in(person, "device" if trusted else "password")
    return redirect(wanted)


def _authenticate(email: str, password: str) -> Staff | None:
    """Return the staff member whose password it is, or None."""
    with context.portal().tenancy.session(None) as unbound:
        found = unbound.execute(text("SELECT * FROM staff_login(:email)"), {"email": email}).one_or_none()
    if not check_password(found.password_hash if found else hash_of_nothing(), password) or found is None:
        return None
    _leave_operator()
    person = context.open_for(found.operator_id).get_one(Staff, found.id)
    if hasher.check_needs_rehash(person.password_hash):
        person.password_hash = hasher.hash(password)
    return person


def _leave_operator() -> None:
    """Forget who was signed in until now: the same browser may sign in to another operator."""
    context.close_db()
    g.staff = None
    for name in ("operator", "permissions", "db_operator_id"):
        g.pop(name, None)


def _forget_browser() -> None:
    """Begin the session of this browser anew, so that nothing that was put into it before a sign-in counts after it."""
    logout_user()
    session.clear()
    g.pop("csrf_token", None)


def let_in(person: Staff, factor: str, *, trust: bool = False) -> None:
    """Sign a person in, in this browser, and tell them where that is news. Commits.

    `factor` is what the sign-in rests on beside the password, as `LoginSession.factor`. `trust`: ask this browser for
    no second factor for some time. The request's session must be of the person's operator.
    """
    db, now = context.open_for(person.operator_id), context.now()
    actor = Actor(person.operator_id, person.email, person.id, request.remote_addr)
    agent = request.user_agent.string
    begun = begin_session(db, person, device_cookie(), agent, request.remote_addr, factor, now, trust=trust)
    person.last_login_at = now
    record(db, actor, "staff.sign_in", "staff", person.id, None, {"with": factor})
    if begun.news:
        _tell(person, begun.news, agent, now)
    db.commit()
    _forget_browser()
    session.permanent = True  # it ends some hours after the last request, not only with the browser
    login_user(SignedIn(person, begun.key, db.get(LoginSession, begun.id)))
    g.staff = person
    _set_device_cookie(begun.device)


def _tell(person: Staff, news: str, agent: str, now: datetime) -> None:
    browser, system = device_words(agent)
    values: dict[str, str | datetime] = {
        "browser": " · ".join(filter(None, (browser, system))) or "?",
        "address": request.remote_addr or "?",
        "when": now.astimezone(ZoneInfo(context.db_operator(person.operator_id).timezone)),
        "sessions": f"{context.portal().settings.public_url}{url_for('account_sessions.index')}",
    }
    event = "sign_in_device" if news == "device" else "sign_in_place"
    tell_staff(context.open_for(person.operator_id), context.keyring(), person.operator_id, person.email, event, values)


def _set_device_cookie(token: str) -> None:
    @after_this_request
    def set_cookie(response: Response) -> Response:
        response.set_cookie(
            device_cookie_name(),
            token,
            max_age=_DEVICE_LASTS,
            httponly=True,
            samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )
        return response


def _next_page() -> str:
    """Return the page that was asked for before signing in; only ever one of ours."""
    wanted = request.args.get("next", "")
    return wanted if is_ours(wanted) else url_for("home.index")


def is_ours(address: str) -> bool:
    """Tell whether an address leads to a page of this portal, however a browser may read it."""
    # Browsers take \\ for / and drop tabs and line breaks before they look.
    plain = address.isprintable() and "\\" not in address and address.startswith("/") and not address.startswith("//")
    if not plain:
        return False
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc


@blueprint.post("/sign-out")
@signed_in
def sign_out() -> ResponseReturnValue:
    sign_this_browser_out()
    return redirect(url_for("auth.sign_in_page"))


def sign_this_browser_out() -> None:
    """End the session of this browser, and have it forget everything. Commits."""
    begun = this_session()
    if begun is not None:
        end_session(context.db(), context.actor(), begun.staff_id, begun.id, "signed_out", context.now())
        context.db().commit()
    _forget_browser()


@blueprint.post("/language")
@public
def language() -> ResponseReturnValue:
    """Switch the language, for this browser and, when signed in, for the person."""
    chosen = request.form.get("language", "")
    back = request.form.get("next", "")
    response = redirect(back if is_ours(back) else "/")
    if chosen in LANGUAGES:
        person = context.signed_in_staff()
        if person is not None:
            person.language = chosen
            context.db().commit()
        response.set_cookie(
            LANGUAGE_COOKIE,
            chosen,
            max_age=A_YEAR,
            httponly=True,
            samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )
    return response


def sign_in_again(person: Staff) -> None:
    """Keep this browser signed in after `session_version` was raised."""
    login_user(SignedIn(person, current_user.key, current_user.begun))


def this_session() -> LoginSession | None:
    """Return the session of this browser, None where nobody is signed in."""
    begun: LoginSession | None = current_user.begun if current_user.is_authenticated else None
    return begun


def by_person() -> str:
    """Return what a person's own attempts are counted under: not the address, which a whole office shares."""
    return str(session.get("_user_id") or get_remote_address())


def limits_of_sessions() -> Limits:
    """Return how long sessions of staff last at this installation."""
    settings = context.portal().settings
    return Limits(timedelta(hours=settings.portal_idle_hours), timedelta(days=settings.portal_session_days))


def _load(cookie: str) -> SignedIn | None:
    """Return who a cookie is for, or None when it is no longer good."""
    parts = cookie.split(":")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts[:3]):
        return None
    operator_id, staff_id, version = map(int, parts[:3])
    db = context.open_for(operator_id)
    found = person_of(db, staff_id, parts[3], limits_of_sessions(), context.now())
    if found is None or not found[0].active or found[0].session_version != version:
        return None
    return SignedIn(found[0], parts[3], found[1])


def _first_of_all(person: Staff, endpoint: str) -> str | None:
    """Return the address of what somebody must do before anything else, or None."""
    if person.must_change_password:
        if endpoint in _UNTIL_PASSWORD:
            return None
        flash(_("Choose another password first. Your manager has asked for it."), "warning")
        return url_for("account.index")
    if endpoint in _UNTIL_FACTOR or endpoint.startswith("factors."):
        return None
    db = context.db()
    if factor_roles(db, person.operator_id) & set(person.roles) and not factors_of(db, person.id).any:
        flash(_("Your role needs a second factor. Set one up first; it takes two minutes."), "warning")
        return url_for("factors.index")
    return None


def _guard() -> ResponseReturnValue | None:
    """Let a request through to its view only when the view says that this person may have it."""
    if request.endpoint == "static":
        return None
    if any("\0" in value for value in request.values.values()):
        abort(400)  # no keyboard makes it, and PostgreSQL cannot hold it
    if request.blueprint in ("my", "api"):
        return None  # other audiences, whom frames of their own let in; staff are nobody there
    # Flask-Login looks the person up at the first use of `current_user`.
    g.staff = current_user.staff if current_user.is_authenticated else None
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:
        return None  # not found: Flask answers
    requirement = requirement_of(view)
    if requirement is Openness.PUBLIC:
        return None
    if g.staff is None:
        if request.headers.get("HX-Request"):
            return Response(status=204, headers={"HX-Redirect": url_for("auth.sign_in_page")})
        if request.method == "GET" and request.path != "/":
            flash(_("Sign in to go on."), "info")
            return redirect(url_for("auth.sign_in_page", next=request.full_path.rstrip("?")))
        return redirect(url_for("auth.sign_in_page"))
    first = _first_of_all(g.staff, request.endpoint or "")
    if first is not None:
        if request.headers.get("HX-Request"):
            return Response(status=204, headers={"HX-Redirect": first})
        return redirect(first)
    if requirement is Openness.SIGNED_IN:
        return None
    if requirement in (Openness.PLATFORM, Openness.PLATFORM_OWNER):
        if not context.account().platform:
            abort(404)
        return None if requirement is Openness.PLATFORM or "manager" in g.staff.roles else abort(403)
    if not isinstance(requirement, Permission) or not context.may(requirement):
        abort(403)
    return None


def install(app: Flask) -> None:
    limiter.init_app(app)
    login = LoginManager()
    login.session_protection = None  # it compares the browser's address, which changes on phones
    login.user_loader(_load)
    login.init_app(app, add_context_processor=False)  # error pages must not look anybody up
    app.before_request(_guard)
    app.register_blueprint(blueprint)
