"""What the API can do: each operation is declared once, and routed, checked and documented from that.

    @operation("POST", "/payments", Scope.PAYMENTS_WRITE, tag="Payments", summary="…", answer=PaymentShown, status=201)
    def register(body: PaymentGiven) -> PaymentShown:

A function gets the numbers of its address, `query` where it declares a model of parameters, `body` where it declares
one of a body, both checked; it returns a model, and leaves committing to here.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Response, g, request
from pydantic import BaseModel, ValidationError

from crm.problems import Invalid
from portal.api import frame, repeats
from portal.api.problems import ApiProblem, Kind, invalid_fields, invalid_json
from portal.api.scopes import Scope
from portal.api.values import Shown
from portal.permissions import Openness, public

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """One method of one address. `key`: it needs an Idempotency-Key. `shown_by`: the view whose ETag a PATCH compares.

    `remembered`: a POST's answer is kept for its key; of one that answers a secret nothing is kept, and no key taken.
    `gives` are the kinds of problems that it may answer with, besides those that any may. `files` are the media types
    of what is answered as it is instead of as JSON. `largest` is the most octets of a body.
    """

    method: str
    path: str
    scope: Scope | None
    tag: str
    summary: str
    view: Callable[..., Any]
    answer: type[BaseModel] | None
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    key: bool
    single: bool
    shown_by: Callable[..., BaseModel] | None
    gives: tuple[Kind, ...]
    location: str
    remembered: bool
    files: tuple[str, ...]
    largest: int
    name: str = field(default="")


OPERATIONS: list[Operation] = []


def operation(
    method: str,
    path: str,
    scope: Scope | None,
    *,
    tag: str,
    summary: str,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    key: bool = False,
    single: bool = False,
    shown_by: Callable[..., BaseModel] | None = None,
    gives: tuple[Kind, ...] = (),
    location: str = "",
    remembered: bool = True,
    files: tuple[str, ...] = (),
    largest: int = frame.LARGEST_BODY,
) -> Callable[[View], View]:
    """Declare an operation. `single`: a GET of one thing, which has an ETag. `location`: where a new thing is found."""

    def declare(view: View) -> View:
        hints = inspect.get_annotations(view, eval_str=True)
        name = view.__name__
        made = Operation(
            method, path, scope, tag, summary, view, answer, status, hints.get("body"), hints.get("query"), key, single,
            shown_by, gives, location, remembered, files, largest, name,
        )  # fmt: skip
        OPERATIONS.append(made)

        def run(**numbers: int) -> Response:
            return _run(made, numbers)

        run.__dict__["requirement"] = Openness.TOKEN
        endpoint = f"{view.__module__.rpartition('.')[2]}_{name}"
        frame.LARGER_BODIES[f"{frame.blueprint.name}.{endpoint}"] = largest
        frame.blueprint.add_url_rule(
            path.replace("<int:", "<row:"), endpoint, run, methods=[method], provide_automatic_options=False
        )
        return view

    return declare


def open_to_all(path: str, name: str, view: Callable[[], Response]) -> None:
    """Route what needs no token and is no operation, such as the document itself."""
    frame.blueprint.add_url_rule(path, name, public(view), methods=["GET"], provide_automatic_options=False)


def _run(made: Operation, numbers: dict[str, int]) -> Response:
    frame.require(made.scope)
    arguments: dict[str, Any] = dict(numbers)
    if made.query is not None:
        arguments["query"] = _parameters(made.query)
    elif request.args:
        raise ApiProblem(Kind.INVALID, errors=[_unknown_parameter(name) for name in request.args])
    if made.body is not None:
        types = (JSON, MERGE_PATCH) if made.method == "PATCH" else (JSON,)
        arguments["body"] = _body(made.body, types, made.largest)
    if made.method == "GET":
        return _perform(made, arguments)
    if made.method == "POST" and made.remembered:
        return repeats.once(lambda: _perform(made, arguments), needed=made.key)
    if made.shown_by is not None:
        _match(made.shown_by(**numbers))
    response = _perform(made, arguments)
    frame.db().commit()
    return response


def _perform(made: Operation, arguments: dict[str, Any]) -> Response:
    try:
        result = made.view(**arguments)
    except Invalid as invalid:
        raise invalid_fields(invalid, _fields(made.body), _fields(made.query)) from None
    if isinstance(result, Response):
        return result.make_conditional(request)  # type: ignore[return-value] # werkzeug's is Flask's here
    if made.answer is None:
        frame.db().flush()
        return Response(status=made.status)
    text = _written(result)
    response = Response(text, made.status, mimetype=JSON)
    if made.single or made.shown_by is not None:
        response.headers["ETag"] = _etag(result, text)
    if made.location:
        response.headers["Location"] = f"{frame.blueprint.url_prefix}{made.location.format_map(vars(result))}"
    if made.method == "GET":
        if made.single:
            response.make_conditional(request)
        if g.get("api_next"):
            response.headers["Link"] = f'<{g.api_next}>; rel="next"'
    return response


def _fields(model: type[BaseModel] | None) -> frozenset[str]:
    return frozenset(() if model is None else model.model_fields)


def _written(result: BaseModel) -> str:
    return result.model_dump_json()


def _etag(shown: BaseModel, text: str) -> str:
    """Return the mark of what is shown: of what people enter, and, where it has such, of what changes by itself."""
    if isinstance(shown, Shown) and shown.by_itself:
        entered = shown.model_dump_json(exclude=set(shown.by_itself))
        return f'"{_digest(entered)}.{_digest(text)}"'
    return f'"{_digest(text)}"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _match(shown: BaseModel) -> None:
    """Go on only where what people entered is what the program has seen. Raises ApiProblem.

    A router that went off meanwhile, say, was changed by nobody.
    """
    if "If-Match" not in request.headers:
        raise ApiProblem(Kind.MATCH_MISSING)
    if request.if_match.star_tag:
        return
    mine = _etag(shown, _written(shown)).strip('"').partition(".")[0]
    if mine not in {(each or "").partition(".")[0] for each in request.if_match.as_set()}:
        raise ApiProblem(Kind.CHANGED)


def _parameters(model: type[BaseModel]) -> BaseModel:
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        errors = [{"parameter": name, "rule": "repeated", "detail": "stands there twice"} for name in repeated]
        raise ApiProblem(Kind.INVALID, errors=errors)
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as found:
        raise invalid_json(found, parameters=True) from None


def needs_body(model: type[BaseModel]) -> bool:
    """Tell whether something must be said in a body, or all of it may be left out."""
    return any(each.is_required() for each in model.model_fields.values())


def _unknown_parameter(name: str) -> dict[str, str]:
    return {"parameter": name, "rule": "extra_forbidden", "detail": "unknown"}


def _body(model: type[BaseModel], types: tuple[str, ...], largest: int) -> BaseModel:
    text = request.get_data(cache=True)
    if len(text) > largest:  # of no length that was said beforehand
        raise ApiProblem(Kind.TOO_LARGE)
    if not text and not request.mimetype and request.method == "POST" and not needs_body(model):
        text = b"{}"
    elif request.mimetype not in types:
        raise ApiProblem(Kind.MEDIA_TYPE, headers={"Accept": ", ".join(types)})
    try:
        return model.model_validate_json(text)
    except ValidationError as found:
        raise invalid_json(found) from None
