"""Putting the portal together from the settings of an installation."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask, Response, abort, request
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter, Map

from core.i18n import LANGUAGES
from core.settings import BadSettings, Settings
from db.session import Tenancy, make_engine, tenancy_key
from portal import (
    api,
    assets,
    audit_words,
    auth,
    captive,
    context,
    errors,
    forgotten,
    formats,
    gate,
    health,
    i18n,
    labels,
    pay,
    permissions,
    platform,
    radius_words,
    router_words,
    signup,
    staff,
    subscriber,
    ticket_links,
    two_factor,
    unsubscribe,
)
from portal.content_policy import CONTENT_SECURITY_POLICY
from portal.navigation import may_open, navigation

THEMES = ("light", "dark")


def create_app(settings: Settings, *, testing: bool = False) -> Flask:
    """Return the portal as a WSGI application. Raises BadSettings when it is not told its database.

    `testing` lets unexpected errors through to the caller instead of turning them into a page.
    """
    if settings.portal_database_url is None:
        raise BadSettings("PORTICO_PORTAL_DATABASE_URL is not set")
    app = Flask(__name__)
    keyring = settings.keyring
    app.testing = testing
    app.config.update(
        SECRET_KEY=keyring.derive("portal.cookies"),
        # The prefix keeps a neighbouring host of the same domain from writing it.
        SESSION_COOKIE_NAME="__Host-portico_session" if settings.portal_https else "portico_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.portal_https,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.portal_idle_hours),
        MAX_CONTENT_LENGTH=2 * 1024 * 1024,
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(days=365),  # addresses of assets carry their content's hash
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session, so that a form left open is not lost
        WTF_CSRF_SSL_STRICT=settings.portal_https,
        RATELIMIT_STORAGE_URI=_limits_storage(settings),
        RATELIMIT_KEY_PREFIX="portal",
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.globals.update(
        may=context.may,
        Permission=permissions.Permission,
        navigation=navigation,
        may_open=may_open,
        csrf_value=generate_csrf,
        now=context.now,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    if settings.portal_proxies:
        hops = settings.portal_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    engine = make_engine(
        settings.portal_database_url.get_secret_value(),
        pool_size=settings.portal_threads,
        max_overflow=4,
        connect_args={"connect_timeout": 3},
    )
    app.url_map.converters["int"] = _RowId
    app.before_request(_refuse_nul)
    app.extensions["portico"] = context.Portal(settings, keyring, engine, Tenancy(engine, tenancy_key(keyring)))
    csrf = CSRFProtect(app)
    i18n.install(app)
    formats.install(app)
    labels.install(app)
    audit_words.install(app)
    radius_words.install(app)
    router_words.install(app)
    assets.install(app)
    health.install(app)
    subscriber.install(app)  # before auth: its host names lead past the sign-in of staff
    captive.install(app)  # before auth as well: who is sent here by a router asked for somebody else's first page
    auth.install(app)
    gate.install(app)  # after auth, which says who is there
    app.register_blueprint(two_factor.blueprint)
    app.register_blueprint(forgotten.blueprint)
    staff.install(app)
    signup.install(app)
    platform.install(app)
    pay.install(app)
    ticket_links.install(app)
    unsubscribe.install(app)
    errors.install(app)
    api.install(app, csrf)
    app.teardown_appcontext(context.close_db)
    app.after_request(_protect)
    app.context_processor(_page_values)
    return app


class _RowId(IntegerConverter):
    """A number in an address that a row may have: others lead nowhere, instead of to an error of the database."""

    def __init__(self, url_map: Map, *args: Any, **options: Any) -> None:
        super().__init__(url_map, *args, **{"max": 2**63 - 1, **options})


def _refuse_nul() -> None:
    """Refuse an address with a NUL, which no text of the database can be compared with."""
    if "\0" in request.path or any("\0" in value for value in request.args.values()):
        abort(400)


def _page_values() -> dict[str, object]:
    """What every page may use; macros see only the globals."""
    return {
        "signed_in": context.signed_in_staff(),
        "operator": context.operator() if context.signed_in_staff() else None,
        "language": i18n.reader_language(),
        "languages": LANGUAGES,
        "theme": request.cookies.get("portico_theme") if request.cookies.get("portico_theme") in THEMES else None,
    }


def _protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(self)")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        # Pages show one person's view of one operator; no cache may keep them.
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _limits_storage(settings: Settings) -> str:
    """Return where attempts are counted, as `limits` writes addresses; in memory without Redis."""
    if settings.redis_url is None:
        return "memory://"
    url = settings.redis_url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        number = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        return f"redis+unix://{parts.path}?db={number}"
    return url
