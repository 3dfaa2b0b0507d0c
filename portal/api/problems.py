"""What goes wrong, as `application/problem+json` (RFC 9457).

Each kind has a type, `urn:portico:problem:<kind>`, that programs may compare; `title` says what the kind is and
`detail` what it was this time. What is wrong with single fields stands in `errors`: where (a JSON pointer into the
body, RFC 6901, or the name of a parameter), which rule, and a sentence in the language of Accept-Language.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from typing import Any

import structlog
from flask import Flask, Response, current_app, g, request
from flask_babel import gettext as _
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from billing.gateways import ProviderTrouble
from billing.rules import BillingOff
from core.i18n import DEFAULT_LANGUAGE, LANGUAGES, N_
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, WrongState
from crm.work_orders import WrongOrderState
from crm.work_steps import StepsMissing
from portal.errors import http_error, problem_text, wrong_state_text
from portal.labels import label
from radius.by_hand import SessionOver

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
PREFIX = "/api/"


class Kind(Enum):
    """A kind of problem: its name in the type, its status, and what it says of itself (a message id)."""

    MALFORMED = ("malformed", 400, N_("The request cannot be read"))
    KEY_MISSING = ("idempotency-key-missing", 400, N_("This request needs an Idempotency-Key"))
    BAD_CURSOR = ("bad-cursor", 400, N_("The cursor is none of ours"))
    UNAUTHENTICATED = ("unauthenticated", 401, N_("A valid token is needed"))
    SCOPE_MISSING = ("scope-missing", 403, N_("The token may not do this"))
    OPERATOR_SUSPENDED = ("operator-suspended", 403, N_("The operator is suspended"))
    NOT_FOUND = ("not-found", 404, N_("There is no such thing"))
    METHOD = ("method-not-allowed", 405, N_("This address does not take this method"))
    WRONG_STATE = ("wrong-state", 409, N_("Its state does not allow this"))
    CONFLICT = ("conflict", 409, N_("Somebody else changed the same thing"))
    STILL_RUNNING = ("still-running", 409, N_("A request with this Idempotency-Key is still running"))
    STEPS_MISSING = ("steps-missing", 409, N_("Steps of the work order are missing"))
    BILLING_OFF = ("billing-off", 409, N_("The operator does not bill with Portico"))
    CHANGED = ("changed-meanwhile", 412, N_("It was changed since it was read"))
    TOO_LARGE = ("too-large", 413, N_("The body is too large"))
    MEDIA_TYPE = ("media-type", 415, N_("The body must be JSON"))
    INVALID = ("invalid", 422, N_("What was sent cannot be taken over"))
    KEY_REUSED = ("idempotency-key-reused", 422, N_("This Idempotency-Key belongs to another request"))
    MATCH_MISSING = ("if-match-missing", 428, N_("A change needs If-Match"))
    TOO_MANY = ("too-many-requests", 429, N_("Too many requests"))
    ERROR = ("error", 500, N_("Something went wrong here"))
    PROVIDER = ("provider-refused", 502, N_("The payment provider did not do it"))
    UNAVAILABLE = ("unavailable", 503, N_("The database cannot be reached at the moment"))
    SLOW = ("too-slow", 503, N_("The request took too long and was ended"))

    def __init__(self, word: str, status: int, title: str) -> None:
        self.word = word
        self.status = status
        self.title = title

    @property
    def urn(self) -> str:
        return f"urn:portico:problem:{self.word}"


_BY_STATUS = {
    400: Kind.MALFORMED,
    404: Kind.NOT_FOUND,
    405: Kind.METHOD,
    413: Kind.TOO_LARGE,
    415: Kind.MEDIA_TYPE,
    429: Kind.TOO_MANY,
}


class ApiProblem(Exception):
    """A problem that the API finds by itself. `errors` are entries of the member of that name."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        errors: Iterable[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{kind.word}: {detail}")
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = members


def answer(problem: ApiProblem) -> Response:
    """Return the response that says what went wrong."""
    kind = problem.kind
    use_language()
    body: dict[str, Any] = {"type": kind.urn, "title": str(_(kind.title)), "status": kind.status}
    if problem.detail:
        body["detail"] = problem.detail
    body.update(problem.members)
    if problem.errors:
        body["errors"] = problem.errors
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, kind.status, {**problem.headers, "Content-Language": g.language}, mimetype=MEDIA_TYPE)


def invalid_fields(found: Invalid, members: Collection[str], parameters: Collection[str] = ()) -> ApiProblem:
    """Return what the domain says is wrong with what was entered: where in the body, or in which parameter.

    What names neither (the payment of the address is refunded already) is about the request as a whole.
    """
    return ApiProblem(Kind.INVALID, errors=[_field_error(each, members, parameters) for each in found.problems])


def invalid_json(found: ValidationError, *, parameters: bool = False) -> ApiProblem:
    """Return where a body, or parameters of the address, are not as the document says."""
    errors = []
    for each in found.errors(include_url=False, include_context=False, include_input=False):
        if each["type"] == "json_invalid":
            return ApiProblem(Kind.MALFORMED, each["msg"])
        place = [str(part) for part in each["loc"]]
        where = {"parameter": ".".join(place)} if parameters else {"pointer": pointer(place)}
        errors.append({**where, "rule": each["type"], "detail": each["msg"]})
    return ApiProblem(Kind.INVALID, errors=errors)


def pointer(place: Iterable[str]) -> str:
    """Return a JSON pointer (RFC 6901) as a fragment: `#/amount/value`; the whole body is `#`."""
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)


def _field_error(found: FieldProblem, members: Collection[str], parameters: Collection[str]) -> dict[str, str]:
    error = {"rule": found.problem.value, "detail": problem_text(found)}
    for name in (found.field, f"{found.field}_id"):
        if name in parameters:
            return {"parameter": name, **error}
        if name in members:
            return {"pointer": pointer([name]), **error}
    parts = found.field.split("-")  # of a list or an object: `steps-0-octets`
    if parts[0] in members:
        return {"pointer": pointer(parts), **error}
    return {"pointer": pointer([]), **error}


def use_language() -> str:
    """Speak the language that Accept-Language asks for, and return its code."""
    g.language = request.accept_languages.best_match(list(LANGUAGES)) or DEFAULT_LANGUAGE
    return str(g.language)


def _http(problem: HTTPException) -> Response:
    if problem.response is not None:
        return problem.get_response()  # type: ignore[return-value] # werkzeug's is Flask's here
    kind = _BY_STATUS.get(problem.code or 500, Kind.ERROR)
    headers = {}
    if kind is Kind.METHOD:
        headers["Allow"] = ", ".join(getattr(problem, "valid_methods", None) or ())
    return answer(ApiProblem(kind, headers=headers))


def _database(problem: OperationalError | InterfaceError) -> Response:
    """The database is away, or a statement took too long. Nothing was changed."""
    why = type(problem.orig).__name__
    log.error("database_unreachable", path=request.path, error=why)
    g.staff = None  # nothing more can be asked of it
    kind = Kind.SLOW if why == "QueryCanceled" else Kind.UNAVAILABLE
    return answer(ApiProblem(kind, headers={"Retry-After": "5"}))


def _wrong_state(problem: WrongState) -> Response:
    return answer(ApiProblem(Kind.WRONG_STATE, wrong_state_text(problem), state=problem.state))


def _wrong_order_state(problem: WrongOrderState) -> Response:
    return answer(ApiProblem(Kind.WRONG_STATE, state=problem.state))


def _steps_missing(problem: StepsMissing) -> Response:
    errors = [{"rule": one.step, "detail": one.text or label("work_missing", one.step)} for one in problem.missing]
    return answer(ApiProblem(Kind.STEPS_MISSING, errors=errors))


def _provider(problem: ProviderTrouble) -> Response:
    """Nothing was booked; what the provider may have done all the same, it does not do twice."""
    return answer(ApiProblem(Kind.PROVIDER, problem.detail or problem.trouble))


def _conflict(problem: IntegrityError) -> Response:
    """Two at once wanted what only one can have, and the database refused the second."""
    log.warning("api_conflict", path=request.path, error=type(problem.orig).__name__)
    return answer(ApiProblem(Kind.CONFLICT))


def _unexpected(problem: Exception) -> Response:
    if current_app.testing:
        raise problem
    log.exception("request_failed", path=request.path, error=type(problem).__name__)
    return answer(ApiProblem(Kind.ERROR))


HANDLERS: Mapping[type[Exception], Callable[[Any], Response]] = {
    ApiProblem: answer,
    ChangedMeanwhile: lambda _found: answer(ApiProblem(Kind.CHANGED)),
    StaleDataError: lambda _found: answer(ApiProblem(Kind.CHANGED)),
    WrongState: _wrong_state,
    WrongOrderState: _wrong_order_state,
    StepsMissing: _steps_missing,
    ProviderTrouble: _provider,
    SessionOver: lambda _found: answer(ApiProblem(Kind.WRONG_STATE, state="ended")),
    BillingOff: lambda _found: answer(ApiProblem(Kind.BILLING_OFF)),
    IntegrityError: _conflict,
    OperationalError: _database,
    InterfaceError: _database,
    HTTPException: _http,
    Exception: _unexpected,
}


def _elsewhere(problem: HTTPException) -> Any:
    """Answer for addresses that lead to no view: as a problem under /api/, as a page everywhere else."""
    if request.path.startswith(PREFIX):
        return _http(problem)
    return http_error(problem)


def install(app: Flask) -> None:
    """Let addresses under /api/ that lead nowhere be answered like the others.

    For all errors at once: a handler of one code would come before those of the blueprints, and subscribers would see
    the staff's page.
    """
    app.register_error_handler(HTTPException, _elsewhere)
