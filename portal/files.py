"""Files in and out of the portal: what a form brings is judged by `crm.files`, what goes out is never run.

A stored file comes with the type that its content deserves and with `nosniff`, so that no browser finds another one.
Only pictures are shown in the page; all else is saved. `sandbox` gives whatever is opened a place of its own, without
scripts and without our cookies.
"""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from crm.files import DOCUMENTS, LARGEST, PICTURES, store_file
from crm.problems import FieldProblem, Invalid, Problem
from db.models import StoredFile

MOST_FILES = 10
_POLICY = "default-src 'none'; img-src 'self'; style-src 'none'; sandbox"


def expect_files(count: int = MOST_FILES, most: int = LARGEST) -> None:
    """Let this request be as large as its files may be. To be called before anything of the form is read."""
    request.max_content_length = min(count, 3) * most + 1_000_000


def take_files(blueprint: Blueprint, *views: str) -> None:
    """Let those views of a blueprint take files; the rest of the portal takes far less in a request.

    The check of the CSRF token reads the form before the view runs, so the view itself would say it too late.
    """
    endpoints = {f"{blueprint.name}.{view}" for view in views}

    def expect(endpoint: str | None, _values: dict[str, Any] | None) -> None:
        if endpoint in endpoints:
            expect_files()

    blueprint.url_value_preprocessor(expect)


def uploads(field: str) -> list[tuple[str, bytes]]:
    """Return the name and content of each file that a form brings in `field`, unjudged. Raises Invalid: too many."""
    chosen = [file for file in request.files.getlist(field) if file.filename]
    if len(chosen) > MOST_FILES:
        raise Invalid(FieldProblem(field, Problem.LIMIT_REACHED, {"limit": str(MOST_FILES)}))
    found = []
    for file in chosen:
        with file.stream:  # a large one is a file on disk meanwhile
            found.append((file.filename or "", file.read()))
    return found


def store_uploads(
    session: Session, operator_id: int, field: str, allowed: Collection[str] = DOCUMENTS
) -> list[StoredFile]:
    """Keep the files that a form brings in `field`. Raises Invalid, of that field."""
    return [store_file(session, operator_id, name, content, allowed, field=field) for name, content in uploads(field)]


def send_stored(file: StoredFile, *, download: bool = False) -> Response:
    """Answer with a file. The caller has checked that this person may have it."""
    response = Response(file.content, mimetype=file.media_type)
    shown = "inline" if file.media_type in PICTURES and not download else "attachment"
    plain = file.name.encode("ascii", "replace").decode().replace('"', "_").replace("?", "_")
    response.headers["Content-Disposition"] = f"{shown}; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name)}"
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
