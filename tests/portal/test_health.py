"""What other machines ask the portal: alive, ready, and all that was counted."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import core.status
import db.status
from core.status import serve

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def pieces(installation):
    """A worker and a loader that say they are ready."""
    servers = [serve(installation.run_dir, name, {"database": lambda: ""}) for name in ("worker", "loader")]
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()
        Path(str(server.server_address)).unlink()


def test_anybody_learns_whether_the_portal_lives_and_can_work_and_no_more(app):
    browser = app.test_client()
    away = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert (browser.get("/healthz", **away).status_code, browser.get("/healthz", **away).json) == (
        200, {"status": "alive"},
    )  # fmt: skip
    assert browser.get("/readyz", **away).json == {"status": "ready"}
    assert browser.get("/readyz").json == {"status": "ready", "checks": {"database": "ok", "redis": "ok"}}
    assert browser.get("/health").json["status"] == "up"
    for closed in ("/readyz/worker", "/healthz/worker", "/metrics"):
        assert browser.get(closed, **away).status_code == 403
        assert browser.get(closed, headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 403


@pytest.mark.fault
def test_a_schema_that_is_not_this_codes_is_not_ready(app, monkeypatch):
    monkeypatch.setattr(db.status, "newest_schema", lambda: "9999")
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "not ready")
    assert re.fullmatch(r"schema \d{4}, not 9999", answer.json["checks"]["database"])


def test_another_piece_is_asked_at_its_socket(app, pieces):
    browser = app.test_client()
    assert browser.get("/readyz/worker").json["status"] == "ready"
    pieces[0].checks = {"redis": lambda: "away"}
    answer = browser.get("/readyz/worker")
    assert (answer.status_code, answer.json["checks"]) == (503, {"redis": "away"})
    gone = browser.get("/healthz/monitor")
    assert (gone.status_code, gone.json["status"]) == (503, "gone")
    radiusd = browser.get("/readyz/radiusd")
    assert (radiusd.status_code, radiusd.json["checks"]["image"]) == (503, "no image")
    assert browser.get("/readyz/kernel").status_code == 404


def test_metrics_hold_what_the_pieces_counted_and_name_nobody(app, isp, pieces):
    pieces[1].checks = {"database": lambda: "away"}
    browser = app.test_client()
    browser.get("/sign-in")
    browser.get("/no/such/page/of-ana-lopez")
    page = browser.get("/metrics").text
    found = {family.name: family for family in text_string_to_metric_families(page)}
    ready = {sample.labels["piece"]: sample.value for sample in found["portico_piece_ready"].samples}
    assert ready == {"portal": 1.0, "worker": 1.0, "loader": 0.0, "radiusd": 0.0}
    asked = {sample.labels["page"] for sample in found["portico_http_requests"].samples}
    assert {"auth.sign_in", "none"} & asked >= {"none"}
    assert "of-ana-lopez" not in page
    assert "tower-1" not in page
    samples = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ", page, re.M)
    assert len(samples) == len(set(samples)), "Prometheus takes each but once"


def named() -> set[str]:
    """Return every metric of ours that the dashboard and the alert rules name."""
    board = json.loads((DEPLOY / "grafana" / "portico.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = (DEPLOY / "prometheus" / "portico.yml").read_text()
    return set(re.findall(r"\bportico_[a-z_]+", "\n".join([*asked, rules])))


def declared() -> set[str]:
    """Return every metric that some piece may export, as the code declares them."""
    root = DEPLOY.parent
    files = [
        path for part in ("portal", "worker", "radius", "crm", "stack", "core") for path in (root / part).rglob("*.py")
    ]
    code = "\n".join(path.read_text() for path in files)
    found = set()
    for kind, name in re.findall(r'(Counter|Gauge|Histogram|GaugeMetricFamily)\(\s*"(portico_[a-z_]+)"', code):
        found |= {f"{name}_total"} if kind == "Counter" else {name}
        found |= {f"{name}_bucket"} if kind == "Histogram" else set()
    from portal.health import _COUNTED

    return found | {f"portico_{name}" for name in _COUNTED}


def test_dashboard_and_alerts_name_only_what_is_exported():
    assert named() - declared() == set()
    assert len(named()) > 20


def test_pieces_are_those_that_the_stack_starts():
    from stack.programs import PROGRAMS

    assert {*core.status.PIECES, "portal", "lab"} == set(PROGRAMS)  # the portal asks, and the lab is no piece of an ISP
