"""What other machines ask: is it alive, can it work, what did it count.

- `/healthz` and `/readyz`: the portal itself. Anybody may ask, and learns no more than yes or no.
- `/healthz/<piece>` and `/readyz/<piece>`: another piece of this machine, asked at its socket (`core.status`).
- `/metrics`: what all of them counted, and counts of the whole installation, in Prometheus's text format. They name
  no operator, router or subscriber.
- `/health`: both in one, as dashboards knew it.

The last three are for this machine, and with `PORTICO_METRICS_TOKEN` for whoever sends it.
"""

import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

import prometheus_client
from flask import Blueprint, Flask, Response, abort, g, request
from flask.typing import ResponseReturnValue
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from core.settings import Settings
from core.status import PIECES, Check, ask, exposition, families, readiness, udp_port_is_bound
from db.status import database, image, redis
from portal import context
from portal.permissions import public

blueprint = Blueprint("health", __name__)

REQUESTS = prometheus_client.Counter(
    "portico_http_requests", "Requests to the portal by page and outcome", ["page", "method", "status"]
)
SECONDS = prometheus_client.Histogram(
    "portico_http_seconds",
    "Seconds that the portal took for a page",
    ["page"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)

# What `installation_metrics()` of the database counts: the words for it, and its label.
_COUNTED: dict[str, tuple[str, list[str]]] = {
    "routers": ("Watched routers by state", ["status"]),
    "sessions_open": ("Accounting sessions that are open", []),
    "orders": ("Orders to routers that are not done", ["state"]),
    "order_results": ("Requests to NAS in the last five minutes by what came of them", ["result"]),
    "notifications_late_seconds": ("Seconds for which the message that is due the longest has waited", []),
    "webhooks_waiting": ("Deliveries to webhooks that wait for their turn", []),
    "webhook_endpoints": ("Addresses of webhooks by how they are", ["state"]),
    "jobs": ("Jobs that are not done", ["state"]),
    "alerts_open": ("Open alerts", ["kind"]),
    "incidents_open": ("Open incidents", ["scope"]),
    "notifications_waiting": ("Notices that have not been taken yet", []),
    "poll_age_seconds": ("Seconds since any router was polled", []),
    "image_age_seconds": ("Seconds since a node's image was known to be current", ["node"]),
    "load_age_seconds": ("Seconds since a node's journal was loaded", ["node"]),
    "journal_backlog_bytes": ("Accounting of a node that is not loaded yet", ["node"]),
}


@blueprint.get("/healthz")
@public
def alive() -> ResponseReturnValue:
    """Say that the portal answers: a process that does not say so is started again."""
    return {"status": "alive"}


@blueprint.get("/readyz")
@public
def ready() -> ResponseReturnValue:
    """Say whether the portal can do its work: a proxy sends nobody to one that cannot."""
    found = readiness(portal_checks(context.portal().settings))
    well = all(each == "ok" for each in found.values())
    answer: dict[str, Any] = {"status": "ready" if well else "not ready"}
    if may_read():
        answer["checks"] = found
    return answer, 200 if well else 503


@blueprint.get("/healthz/<piece>")
@public
def piece_alive(piece: str) -> ResponseReturnValue:
    return _of(piece, "/healthz")


@blueprint.get("/readyz/<piece>")
@public
def piece_ready(piece: str) -> ResponseReturnValue:
    return _of(piece, "/readyz")


@blueprint.get("/health")
@public
def health() -> ResponseReturnValue:
    """Say whether the portal and its database work: 200 or 503. Details only for those who may read the metrics."""
    try:
        with context.portal().tenancy.session(None) as session:
            rows = session.execute(text("SELECT * FROM installation_health()")).all()
    except SQLAlchemyError:
        return {"status": "down", "database": False}, 503
    answer: dict[str, Any] = {"status": "up", "database": True}
    if may_read():
        answer["nodes"] = [
            {
                "name": row.node,
                "image_age_seconds": row.image_age.total_seconds() if row.image_age is not None else None,
                "load_age_seconds": row.load_age.total_seconds() if row.load_age is not None else None,
                "journal_backlog_bytes": row.journal_backlog,
            }
            for row in rows
        ]
    return answer


@blueprint.get("/metrics")
@public
def metrics() -> ResponseReturnValue:
    """Say what was counted, for whoever has the token or is this machine."""
    if not may_read():
        abort(403)
    settings = context.portal().settings
    found: dict[str, Metric] = {}
    up = GaugeMetricFamily("portico_piece_ready", "Whether a piece can do its work; missing where it runs elsewhere",
                           labels=["piece"])  # fmt: skip
    for family in families():
        _merge(found, family, "portal")
    up.add_metric(["portal"], float(all(each == "ok" for each in readiness(portal_checks(settings)).values())))
    for piece in PIECES:
        try:
            status, _said = asked(settings, piece, "/readyz")
            counted = "" if piece == "radiusd" else ask(settings.run_dir, piece, "/metrics")[1]
        except FileNotFoundError:
            continue
        except OSError:
            status, counted = 503, ""
        up.add_metric([piece], float(status == 200))
        for family in text_string_to_metric_families(counted):
            _merge(found, family, piece)
    with context.portal().tenancy.session(None) as session:
        rows = session.execute(text("SELECT name, label, value FROM installation_metrics()")).all()
    content = exposition([*_counted(rows), up, *found.values()])
    return Response(content, content_type="text/plain; version=0.0.4; charset=utf-8")


def portal_checks(settings: Settings) -> dict[str, Check]:
    assert settings.portal_database_url is not None
    checks: dict[str, Check] = {"database": database(settings.portal_database_url.get_secret_value())}
    if settings.redis_url is not None:
        checks["redis"] = redis(settings.redis_url.get_secret_value())
    return checks


def asked(settings: Settings, piece: str, path: str) -> tuple[int, str]:
    """Return what a piece of this machine says. Raises OSError; FileNotFoundError where it does not run here."""
    if piece != "radiusd":
        return ask(settings.run_dir, piece, path)

    def listens() -> str:
        both = udp_port_is_bound(settings.auth_port) and udp_port_is_bound(settings.acct_port)
        return "" if both else "it does not listen"

    checks: dict[str, Check] = {"ports": listens}
    if path == "/readyz" and settings.portal_database_url is not None:
        checks["image"] = image(settings, settings.portal_database_url.get_secret_value())
    found = readiness(checks)
    found = {name: found[name] for name in checks}
    well = all(each == "ok" for each in found.values())
    said = {"piece": piece, "status": "ready" if well else "not ready", "checks": found}
    return 200 if well else 503, json.dumps(said)


def may_read() -> bool:
    """Tell whether a request has the token, or without one set, comes from this machine and not through a proxy."""
    token = context.portal().settings.metrics_token
    if token is not None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), token.get_secret_value().encode())
    # A proxy on this machine would make everybody look as if they were here.
    return request.remote_addr in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers


def install(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.begun_at = time.monotonic()


def _end(response: Response) -> Response:
    page = request.endpoint or "none"  # the names of views are few; addresses hold numbers
    if page != "static" and "begun_at" in g:
        SECONDS.labels(page).observe(time.monotonic() - g.begun_at)
        REQUESTS.labels(page, request.method, str(response.status_code)).inc()
    return response


def _of(piece: str, path: str) -> ResponseReturnValue:
    if not may_read():
        abort(403)
    if piece not in PIECES:
        abort(404)
    try:
        status, said = asked(context.portal().settings, piece, path)
    except OSError as problem:
        status, said = 503, json.dumps({"piece": piece, "status": "gone", "why": type(problem).__name__})
    return Response(said, status, content_type="application/json")


def _merge(found: dict[str, Metric], family: Metric, piece: str) -> None:
    """Add what a piece counted to what others counted by the same name, told apart by a label."""
    kept = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            kept.add_sample(sample.name, {**sample.labels, "piece": piece}, sample.value)


def _counted(rows: Sequence[Any]) -> list[Metric]:
    found: dict[str, GaugeMetricFamily] = {}
    for name, shown, value in rows:
        what, labels = _COUNTED[name]
        family = found.setdefault(name, GaugeMetricFamily(f"portico_{name}", what, labels=labels))
        family.add_metric([shown] if labels else [], float(value))
    return list(found.values())
