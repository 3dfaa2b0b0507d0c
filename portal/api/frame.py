"""The door of the API: which token asks, of which operator, how often, and what it may.

A token is a bearer token (RFC 6750) and nothing else opens this door: the portal's cookies are not looked at here, so
there is nothing a foreign page could make a browser send. The request's database session is bound to the operator that
the token names, as a page's is to that of who is signed in, and the maker's permissions are narrowed to the scopes.
"""

import time
from functools import cache

import structlog
from flask import Blueprint, Response, current_app, g, request
from limits import RateLimitItem, RateLimitItemPerMinute
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm.accounts import account_of
from crm.api_tokens import Claimed, find_token, note_use, parse_token, use_is_stale
from crm.roles import changed_permissions
from db.audit import Actor
from db.models import ApiToken
from portal import context
from portal.api.problems import HANDLERS, ApiProblem, Kind, use_language
from portal.api.scopes import SCOPES, Scope, usable
from portal.auth import limiter
from portal.permissions import Openness, Permission, permissions_of, requirement_of

log = structlog.get_logger()
blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
LARGEST_BODY = 256 * 1024
LARGER_BODIES: dict[str, int] = {}
"""What else an endpoint takes, in octets."""
SLOWEST = "20s"
"""That one statement of the database may take."""
REFUSED = RateLimitItemPerMinute(30)
"""Requests without a good token that an address may make."""

for _found, _handler in HANDLERS.items():
    blueprint.register_error_handler(_found, _handler)


def token() -> ApiToken:
    """Return the token of this request."""
    found: ApiToken = g.api_token
    return found


def db() -> Session:
    """Return this request's session, bound to the token's operator."""
    return context.db()


def actor() -> Actor:
    """Return who acts, for the audit log: the token, of no staff member."""
    return Actor(token().operator_id, f"API: {token().name} ({token().prefix})", None, request.remote_addr)


def require(scope: Scope | None) -> None:
    """Go on only where the token has a scope that its maker could still use. Raises ApiProblem."""
    if scope is None or scope in g.api_scopes:
        return
    why = "missing" if scope not in token().scopes else "lost"
    raise ApiProblem(
        Kind.SCOPE_MISSING,
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        scope=scope.value,
        why=why,
    )


def makers_permissions() -> frozenset[Permission]:
    """Return what the token's maker may do, for what asks more than a scope."""
    found: frozenset[Permission] = g.api_makers_permissions
    return found


@blueprint.before_request
def _enter() -> None:
    use_language()
    largest = LARGER_BODIES.get(request.endpoint or "", LARGEST_BODY)
    if (request.content_length or 0) > largest:
        raise ApiProblem(Kind.TOO_LARGE)
    request.max_content_length = largest + 1  # of no length that was said beforehand
    if requirement_of(current_app.view_functions[request.endpoint or ""]) is not Openness.TOKEN:
        return
    claimed = _claimed()
    session = context.open_for(claimed.operator_id)
    session.execute(text("SELECT set_config('statement_timeout', :longest, true)"), {"longest": SLOWEST})
    found = find_token(session, context.keyring(), claimed, context.now())
    if found is None:
        raise _unauthenticated("invalid_token")
    g.api_token, g.staff, g.operator = found
    if not g.operator.active or account_of(session, claimed.operator_id).suspended_at is not None:
        raise ApiProblem(Kind.OPERATOR_SUSPENDED)
    roles = g.staff.roles
    permissions = permissions_of(roles, changed_permissions(session, claimed.operator_id, roles))
    g.api_makers_permissions = permissions
    g.api_scopes = usable(token().scopes, permissions)
    g.permissions = frozenset().union(*(SCOPES[scope].needs for scope in g.api_scopes))
    _count_request()
    if use_is_stale(token(), context.now()):
        with context.portal().tenancy.session(claimed.operator_id) as apart:  # kept whatever becomes of the request
            note_use(apart, token().id, request.remote_addr, context.now())
            apart.commit()


def _claimed() -> Claimed:
    """Return what the Authorization header claims. Raises ApiProblem."""
    given = request.authorization
    if given is None or given.type != "bearer" or given.token is None:
        raise _unauthenticated("")
    claimed = parse_token(given.token)
    if claimed is None:
        raise _unauthenticated("invalid_token")
    return claimed


def _unauthenticated(error: str) -> ApiProblem:
    """Return the refusal of who has no good token; who comes too often with none is told to wait."""
    allowed, _left, wait = _hit(REFUSED, f"refused/{request.remote_addr}")
    if not allowed:
        return ApiProblem(Kind.TOO_MANY, headers={"Retry-After": str(wait)})
    challenge = 'Bearer realm="portico"' + (f', error="{error}"' if error else "")
    return ApiProblem(Kind.UNAUTHENTICATED, headers={"WWW-Authenticate": challenge})


@cache
def _per_minute(requests: int) -> RateLimitItem:
    return RateLimitItemPerMinute(requests)


def _count_request() -> None:
    """Count a request of the token. Raises ApiProblem where there were too many in this minute."""
    limit = _per_minute(context.portal().settings.api_requests_per_minute)
    allowed, left, wait = _hit(limit, f"token/{token().id}")
    g.api_limits = {"RateLimit-Limit": limit.amount, "RateLimit-Remaining": left, "RateLimit-Reset": wait}
    if not allowed:
        raise ApiProblem(Kind.TOO_MANY, headers={"Retry-After": str(wait)})


def _hit(limit: RateLimitItem, name: str) -> tuple[bool, int, int]:
    """Count one, and return whether it is allowed, how many are left, and the seconds until more are.

    Without Redis nothing is counted and everything allowed, as in the whole portal.
    """
    try:
        allowed = limiter.limiter.hit(limit, "api", name)
        window = limiter.limiter.get_window_stats(limit, "api", name)
    except RedisError as problem:
        log.warning("api_requests_not_counted", why=type(problem).__name__)
        return True, limit.amount, 0
    return allowed, max(0, window.remaining), max(1, int(window.reset_time - time.time()) + 1)


@blueprint.after_request
def _put_headers(response: Response) -> Response:
    for name, value in g.get("api_limits", {}).items():
        response.headers[name] = str(value)
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.vary.update(("Authorization", "Accept-Language"))
    return response
