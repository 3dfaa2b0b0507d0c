"""Requests that come twice: with an Idempotency-Key they are done once, and answered twice.

The answer is a row of the transaction in which the request did its work, so after a crash either both are there or
neither. While a request runs, its key is locked; who sends it meanwhile is told so. Only what was done is remembered:
a request that was refused changed nothing and may be sent again with the same key once its cause is gone.
"""

import hashlib
import hmac
import re
from collections.abc import Callable

from flask import Response, request
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from crm.api_tokens import ANSWERS_KEPT, TOKEN_PURPOSE
from db.models import ApiAnswer
from portal import context
from portal.api import frame
from portal.api.problems import ApiProblem, Kind

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")


def once(perform: Callable[[], Response], *, needed: bool) -> Response:
    """Do a request once for its key and return the answer, the remembered one where it was done before.

    `perform` leaves its work uncommitted. Raises ApiProblem.
    """
    key = request.headers.get(HEADER)
    session = frame.db()
    if key is None:
        if needed:
            raise ApiProblem(Kind.KEY_MISSING)
        response = perform()
        session.commit()
        return response
    if not _KEY.match(key):
        raise ApiProblem(Kind.MALFORMED, "Idempotency-Key: 1-255 printable ASCII characters")
    fingerprint = _fingerprint()
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_lock(key)))):
        raise ApiProblem(Kind.STILL_RUNNING, headers={"Retry-After": "1"})
    known = _known(session, key)
    if known is not None:
        if known.fingerprint != fingerprint:
            raise ApiProblem(Kind.KEY_REUSED)
        return Response(known.body, known.status, {**known.headers, REPLAYED: "true"})
    response = perform()
    session.add(
        ApiAnswer(
            token_id=frame.token().id,
            key=key,
            operator_id=frame.token().operator_id,
            fingerprint=fingerprint,
            status=response.status_code,
            headers={name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
            body=response.get_data(as_text=True),
        )
    )
    session.commit()
    return response


def _known(session: Session, key: str) -> ApiAnswer | None:
    """Return the answer that is remembered; one that is too old is forgotten."""
    mine = (ApiAnswer.token_id == frame.token().id, ApiAnswer.key == key)
    too_old = ApiAnswer.created_at < context.now() - ANSWERS_KEPT
    session.execute(delete(ApiAnswer).where(*mine, too_old).execution_options(synchronize_session=False))
    return session.scalar(select(ApiAnswer).where(*mine))


def _fingerprint() -> bytes:
    """Return a hash of the request, under a key that is not in the database: a body may hold a password."""
    key = context.keyring().open(TOKEN_PURPOSE, frame.token().secret_hash).encode()
    asked = f"{request.method} {request.full_path}\n".encode()
    return hmac.digest(key, asked + request.get_data(cache=True), "sha256")


def _lock(key: str) -> int:
    digest = hashlib.sha256(f"api_answer/{frame.token().id}/{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
