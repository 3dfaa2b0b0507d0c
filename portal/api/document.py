"""The description of the API as an OpenAPI 3.1 document, made of the operations as they are declared."""

import json
import re
from functools import cache
from typing import Any

from flask import Response
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from portal.api import repeats
from portal.api.operations import JSON, MERGE_PATCH, OPERATIONS, Operation, needs_body, open_to_all
from portal.api.problems import MEDIA_TYPE, Kind
from portal.api.scopes import SCOPES
from portal.api.values import LARGEST_ID

VERSION = "1.0.0"
_REFERENCE = "#/components/schemas/{model}"
_ALWAYS = (
    Kind.UNAUTHENTICATED, Kind.SCOPE_MISSING, Kind.OPERATOR_SUSPENDED, Kind.TOO_MANY, Kind.UNAVAILABLE, Kind.SLOW,
    Kind.MALFORMED, Kind.ERROR,
)  # fmt: skip
_PLACE = re.compile(r"<(int|string):([a-z_]+)>")

DESCRIPTION = """\
Everything is JSON over HTTPS. A program signs in with `Authorization: Bearer <token>`; a token is made under
*Settings > API*, belongs to one operator and may do what its scopes say, as long as its maker may do it too.

* **Money** is a decimal text with its currency, **rates** are bit/s, **volumes** octets, **instants** RFC 3339 in UTC,
  **days** `YYYY-MM-DD` of the operator's calendar, **ids** the numbers that the portal's addresses show.
* **Lists** come in pages: `limit` (at most 200) and `cursor`, which is `next` of the page before. The header `Link`
  has the address of the next page.
* **Errors** are `application/problem+json` (RFC 9457); compare `type`, show `detail`. `Accept-Language` chooses `en`
  or `es`.
* **Repeats**: a POST with an `Idempotency-Key` is done once within 24 hours; the same request is answered with the
  same answer and `Idempotency-Replayed: true`. Requests about money need a key.
* **Changes**: the answer to a GET of one thing has an `ETag`. A PATCH needs it as `If-Match` and is refused with 412
  where somebody changed the thing meanwhile.
* **Limits**: the headers `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` say how many requests are
  left in this minute.
"""


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    schemas, references = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for made in OPERATIONS:
        paths.setdefault(_PLACE.sub(r"{\2}", made.path), {})[made.method.lower()] = _operation(made, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Portico", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(made.tag for made in OPERATIONS)],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _scopes_text()}},
            "schemas": {**schemas, "Problem": _problem_schema()},
            "headers": {
                name: {"description": words, "schema": {"type": "integer"}}
                for name, words in (
                    ("RateLimit-Limit", "Requests that the token may make in a minute."),
                    ("RateLimit-Remaining", "How many of them are left."),
                    ("RateLimit-Reset", "Seconds until they are counted anew."),
                )
            },
        },
    }


def _scopes_text() -> str:
    lines = [f"* `{scope}`: {meaning.words}" for scope, meaning in SCOPES.items()]
    return "Scopes:\n\n" + "\n".join(lines)


def _schemas() -> tuple[dict[str, Any], dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for made in OPERATIONS:
        wanted += [(made.answer, "serialization")] if made.answer is not None else []
        wanted += [(made.body, "validation")] if made.body is not None else []
    references, definitions = models_json_schema(wanted, ref_template=_REFERENCE)
    schemas = definitions.get("$defs", {})
    for made in OPERATIONS:
        if made.method == "PATCH" and made.body is not None:
            named = references[(made.body, "validation")]["$ref"].rpartition("/")[2]
            for member in schemas[named]["properties"].values():
                member.pop("default", None)  # what is left out stays as it is
    return schemas, references  # type: ignore[return-value]


def _operation(made: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{made.view.__module__.rpartition('.')[2]}_{made.name}",
        "tags": [made.tag],
        "summary": made.summary,
        "parameters": [*_path_parameters(made), *_query_parameters(made), *_header_parameters(made)],
        "responses": _responses(made, references),
    }
    if made.view.__doc__:
        described["description"] = " ".join(made.view.__doc__.split())
    if made.scope is not None:
        described["x-scope"] = made.scope.value
    if made.body is not None:
        content = {"schema": references[(made.body, "validation")]}
        types = (JSON, MERGE_PATCH) if made.method == "PATCH" else (JSON,)
        needed = needs_body(made.body) or made.method == "PATCH"
        described["requestBody"] = {"required": needed, "content": dict.fromkeys(types, content)}
    return described


def _path_parameters(made: Operation) -> list[dict[str, Any]]:
    number = {"schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}, "example": 1}
    word = {"schema": {"type": "string", "pattern": "^[a-z_]{1,60}$"}, "example": "subscribers"}
    return [
        {"name": name, "in": "path", "required": True, **(number if kind == "int" else word)}
        for kind, name in _PLACE.findall(made.path)
    ]


def _query_parameters(made: Operation) -> list[dict[str, Any]]:
    if made.query is None:
        return []
    schema = made.query.model_json_schema()
    parameters = []
    for name, described in schema.get("properties", {}).items():
        kept = {key: value for key, value in described.items() if key not in ("title", "default", "description")}
        if "default" in described and described["default"] is not None:
            kept["default"] = described["default"]
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": kept}
        if "description" in described:
            parameter["description"] = described["description"]
        parameters.append(parameter)
    return parameters


def _header_parameters(made: Operation) -> list[dict[str, Any]]:
    headers = []
    if made.method == "POST" and made.remembered:
        words = "Makes a repeated request be done once. Any text that is new for each new request, such as a UUID."
        schema = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}
        headers.append(
            {"name": repeats.HEADER, "in": "header", "required": made.key, "description": words, "schema": schema}
        )
    if made.shown_by is not None:
        words = "The ETag of what was read."
        schema = {"type": "string"}
        headers.append({"name": "If-Match", "in": "header", "required": True, "description": words, "schema": schema})
    if made.single and made.method == "GET":
        words = "An ETag: 304 where it is still the same."
        schema = {"type": "string"}
        headers.append(
            {"name": "If-None-Match", "in": "header", "required": False, "description": words, "schema": schema}
        )
    return headers


def _kinds(made: Operation) -> list[Kind]:
    kinds = [*_ALWAYS, *made.gives]
    if _PLACE.search(made.path):
        kinds.append(Kind.NOT_FOUND)
    if made.body is not None:
        kinds += [Kind.TOO_LARGE, Kind.MEDIA_TYPE]
    kinds.append(Kind.INVALID)
    if made.method == "POST":
        kinds.append(Kind.CONFLICT)
    if made.method == "POST" and made.remembered:
        kinds += [Kind.KEY_REUSED, Kind.STILL_RUNNING] + ([Kind.KEY_MISSING] if made.key else [])
    if made.shown_by is not None:
        kinds += [Kind.CHANGED, Kind.MATCH_MISSING, Kind.CONFLICT]
    if made.query is not None and "cursor" in made.query.model_fields:
        kinds.append(Kind.BAD_CURSOR)
    return list(dict.fromkeys(kinds))


def _responses(made: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    limits = {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    }
    done: dict[str, Any] = {"description": "Done", "headers": dict(limits)}
    if made.answer is not None:
        done["content"] = {JSON: {"schema": references[(made.answer, "serialization")]}}
    if made.files:
        done["content"] = {media_type: {} for media_type in made.files}
    for name, there in (
        ("ETag", made.single or made.shown_by is not None),
        ("Location", bool(made.location)),
        (repeats.REPLAYED, made.method == "POST" and made.remembered),
        ("Link", made.query is not None and "cursor" in made.query.model_fields),
    ):
        if there:
            done["headers"][name] = {"schema": {"type": "string"}}
    responses = {str(made.status): done}
    if made.single:
        responses["304"] = {"description": "It is still the same"}
    kinds: dict[int, list[Kind]] = {}
    for kind in _kinds(made):
        kinds.setdefault(kind.status, []).append(kind)
    for status, found in sorted(kinds.items()):
        content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
        content["examples"] = {kind.word: {"value": _example(kind)} for kind in found}
        description = "; ".join(kind.title for kind in found)
        responses[str(status)] = {"description": description, "content": {MEDIA_TYPE: content}}
    return responses


def _example(kind: Kind) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": kind.urn, "title": kind.title, "status": kind.status}
    if kind is Kind.INVALID:
        wrong = {"pointer": "#/name", "rule": "required", "detail": "This is needed."}
        shown["errors"] = [wrong]
    return shown


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "What went wrong (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "enum": [kind.urn for kind in Kind]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "scope": {**text, "description": "The scope that is missing."},
            "why": {**text, "description": "`missing`: not given to the token. `lost`: its maker may no longer do it."},
            "state": {**text, "description": "The state that does not allow the step."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["rule", "detail"],
                    "properties": {
                        "pointer": {**text, "description": "JSON pointer into the body."},
                        "parameter": {**text, "description": "Name of a parameter."},
                        "rule": text,
                        "detail": text,
                    },
                },
            },
        },
    }


@cache
def _text() -> str:
    return json.dumps(document(), ensure_ascii=False, indent=1)


def _serve() -> Response:
    return Response(_text(), mimetype=JSON)


open_to_all("/openapi.json", "openapi", _serve)
