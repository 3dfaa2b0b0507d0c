"""Signing in and out, and who is signed in. The only module that knows Flask-Login.

The cookie holds `operator:staff:version`, signed. The version is the staff row's `session_version`: raising it (a new
password, a manager's click) ends every browser's session at its next request. Guessing is slowed by counting failed
attempts per address and per e-mail address; an unknown address takes as long to refuse as a wrong password.
"""

import secrets
from urllib.parse import urlsplit

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
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

from core.clock import utc_now
from core.i18n import LANGUAGES
from crm.password_rules import LONGEST
from db.audit import Actor, record
from db.models import Staff
from portal import context
from portal.forms import Form
from portal.i18n import A_YEAR, LANGUAGE_COOKIE
from portal.permissions import Openness, Permission, public, requirement_of, signed_in

log = structlog.get_logger()
blueprint = Blueprint("auth", __name__)
limiter = Limiter(get_remote_address, in_memory_fallback_enabled=True, headers_enabled=True)
hasher = PasswordHasher()

_NOBODY = hasher.hash("no staff member has this password")
FAILED = 401


class SignedIn(UserMixin):  # type: ignore[misc] # Flask-Login has no types
    """What Flask-Login keeps of a staff member in the cookie."""

    def __init__(self, staff: Staff) -> None:
        self.staff = staff

    def get_id(self) -> str:
        return f"{self.staff.operator_id}:{self.staff.id}:{self.staff.session_version}"


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


def password_nobody_knows() -> str:
    """Return the hash of a password that was thrown away: nobody signs in by it, and that takes as long to find out."""
    return hasher.hash(secrets.token_urlsafe(32))


def _typed_email() -> str:
    return request.form.get("email", "").strip().lower()[:320]


def _failed(response: Response) -> bool:
    return response.status_code == FAILED


@blueprint.get("/sign-in")
@public
def sign_in_page() -> ResponseReturnValue:
    if context.signed_in_staff() is not None:
        return redirect(_next_page())
    return render_template("auth/sign_in.html", form=SignInForm())


@blueprint.post("/sign-in")
@public
@limiter.limit("30 per minute; 200 per hour", deduct_when=_failed)
@limiter.limit("5 per minute; 30 per hour", key_func=_typed_email, deduct_when=_failed)
def sign_in() -> ResponseReturnValue:
    form = SignInForm()
    if not form.validate_on_submit():
        return render_template("auth/sign_in.html", form=form), FAILED
    person = _authenticate(_typed_email(), form.password.data or "")
    if person is None:
        log.info("sign_in_failed", address=request.remote_addr)
        form.form_errors.append(_("This e-mail address and password do not belong together. Check both."))
        return render_template("auth/sign_in.html", form=form), FAILED
    session.permanent = True  # it ends after 12 hours without a request, not only with the browser
    login_user(SignedIn(person))
    return redirect(_next_page())


def _authenticate(email: str, password: str) -> Staff | None:
    """Return the staff member, with the sign-in noted, or None. Commits."""
    with context.portal().tenancy.session(None) as unbound:
        found = unbound.execute(text("SELECT * FROM staff_login(:email)"), {"email": email}).one_or_none()
    if not check_password(found.password_hash if found else _NOBODY, password) or found is None:
        return None
    db = context.open_for(found.operator_id)
    person = db.get_one(Staff, found.id)
    person.last_login_at = utc_now()
    if hasher.check_needs_rehash(person.password_hash):
        person.password_hash = hasher.hash(password)
    record(
        db,
        Actor(person.operator_id, person.email, person.id, request.remote_addr),
        "staff.sign_in",
        "staff",
        person.id,
    )
    db.commit()
    return person


def _next_page() -> str:
    """Return the page that was asked for before signing in; only ever one of ours."""
    wanted = request.args.get("next", "")
    parts = urlsplit(wanted)
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return wanted if ours else url_for("home.index")


@blueprint.post("/sign-out")
@signed_in
def sign_out() -> ResponseReturnValue:
    logout_user()
    return redirect(url_for("auth.sign_in_page"))


@blueprint.post("/language")
@public
def language() -> ResponseReturnValue:
    """Switch the language, for this browser and, when signed in, for the person."""
    chosen = request.form.get("language", "")
    back = request.form.get("next", "")
    response = redirect(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/")
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
    login_user(SignedIn(person))


def _load(cookie: str) -> SignedIn | None:
    """Return who a cookie is for, or None when it is no longer good."""
    parts = cookie.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    operator_id, staff_id, version = map(int, parts)
    person = context.open_for(operator_id).get(Staff, staff_id)
    if person is None or not person.active or person.session_version != version:
        return None
    return SignedIn(person)


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
    if requirement is Openness.SIGNED_IN:
        return None
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
