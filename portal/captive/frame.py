"""The frame of all captive pages: whose they are, in which language, and what a phone's small browser may do there.

They load one style sheet, the operator's colour and icon, and a script of a few lines, all from here, and work without
the script. Nobody is signed in: a form hands on what the router said, and is checked again each time, so a cookie that
a small browser refuses is not missed.
"""

from typing import Any

from flask import Blueprint, Response, current_app, g, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from billing.links import read_link
from core.i18n import DEFAULT_LANGUAGE, languages_of
from portal import context
from portal.captive.place import place_of
from portal.i18n import LANGUAGE_COOKIE

blueprint = Blueprint("captive", __name__, url_prefix="/captive")
SPOKEN = languages_of("captive")
"""A phone of a guest may speak more languages than the rest of the portal."""
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'self'"
)


@blueprint.url_value_preprocessor
def _enter(endpoint: str | None, values: dict[str, Any] | None) -> None:
    token = values.pop("token", None) if values else None
    if token is not None and endpoint == "captive.page" and read_link(token) is None:
        g.card_of = token  # the short name of an operator: what a printed card leads to
        speak(DEFAULT_LANGUAGE)
    elif token is not None:
        g.place = place_of(token)
        close_foreign_session(g.place.operator.id)
        g.operator = g.place.operator  # its currency and time zone, as filters read them
        speak(g.place.operator.locale)


@blueprint.url_defaults
def _put_token(endpoint: str, values: dict[str, Any]) -> None:
    if "token" not in values and "place" in g and current_app.url_map.is_endpoint_expecting(endpoint, "token"):
        values["token"] = g.place.token


def close_foreign_session(operator_id: int) -> None:
    """Let go of the session of somebody of another operator's staff, who looks at this page in the same browser."""
    if g.get("db_operator_id") not in (None, operator_id):
        context.close_db()
    g.staff = None


def speak(locale: str) -> None:
    """Choose the language: what was chosen on the page, in this browser, by the phone, by the operator."""
    wanted = (
        request.values.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.accept_languages.best_match(list(SPOKEN)),
        locale[:2],
    )
    g.language = next((one for one in wanted if one and one in SPOKEN), DEFAULT_LANGUAGE)


def lead_to(*origins: str) -> None:
    """Let the forms of this page lead to other hosts as well: the router's, which was checked."""
    g.form_origins = origins


@blueprint.after_request
def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = " ".join((POLICY, *g.get("form_origins", ())))
    response.headers["Referrer-Policy"] = "no-referrer"  # an address holds what the router said of the phone
    return response


@blueprint.context_processor
def _values() -> dict[str, object]:
    return {"place": g.get("place"), "brand": g.place.brand if "place" in g else None, "spoken": SPOKEN}


@blueprint.errorhandler(HTTPException)
def _http_error(problem: HTTPException) -> ResponseReturnValue:
    code = problem.code or 500
    if problem.response is not None or code < 400:
        return problem.get_response()
    if "language" not in g:
        speak(DEFAULT_LANGUAGE)
    return render_template("captive/problem.html", code=code), code
