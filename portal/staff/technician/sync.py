"""Taking in what a phone brings, each step by itself, and saying what became of each.

The answer names every step by its key: `taken`, also where it came in before; `conflict`, with what became of the
plan and the order as it is now; `refused`, with the reason in words; or `held`, because a step of the same order
before it was not taken. A phone keeps what was not taken and shows it; nothing is dropped here.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from flask import abort, jsonify, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from core.clock import utc_now
from crm.field_steps import ADDING, KINDS, FieldStep, PlanChanged, plan_of, take_step
from crm.problems import ChangedMeanwhile, Invalid, WrongState
from crm.work_orders import WrongOrderState
from crm.work_steps import StepsMissing
from db.models import WorkOrder
from portal import context
from portal.auth import limiter
from portal.errors import problem_text, wrong_state_text
from portal.files import take_files
from portal.labels import label
from portal.permissions import Permission, requires
from portal.staff.technician.day import blueprint, link_facts, order_facts, owner
from portal.staff.work_orders.base import find_to_do, may_do
from portal.staff.work_orders.edit import order_state_text
from portal.staff.work_orders.link import begin_link_test

log = structlog.get_logger()
take_files(blueprint, "sync")

MOST_STEPS = 100
OLDEST = timedelta(days=60)
"""A phone whose clock says that a step is older than this has a wrong clock."""


@blueprint.post("/sync")
@requires(Permission.WORK_ORDERS_OWN)
@limiter.limit("120 per minute")
def sync() -> ResponseReturnValue:
    """Take a batch: `owner`, `steps` as JSON, and a file for each step that has one, called `file-` and its key."""
    if request.form.get("owner") != owner():
        return jsonify(error="owner"), 409
    try:
        steps = [_read(step) for step in json.loads(request.form.get("steps", ""))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        abort(400)
    if len(steps) > MOST_STEPS:
        abort(413)
    stopped: set[int] = set()
    results = []
    for step in steps:
        if step.order_id in stopped and step.kind not in ADDING:
            results.append({"key": step.key, "result": "held"})
            continue
        result = _take(step)
        if result["result"] != "taken":
            stopped.add(step.order_id)
        results.append({"key": step.key, **result})
    return jsonify(results=results)


def _read(step: Mapping[str, Any]) -> FieldStep:
    """Return a step of the phone's. Raises ValueError, TypeError, KeyError, AttributeError: not one of our phones."""
    key, order_id, values = step["key"], step["order"], step.get("values") or {}
    if not (isinstance(key, str) and 8 <= len(key) <= 100 and isinstance(order_id, int) and 0 < order_id < 2**31):
        raise ValueError("no key, or no order")
    if step["kind"] not in KINDS or not isinstance(values, dict) or "\\u0000" in json.dumps(values):
        raise ValueError("no such step")
    file = request.files.get(f"file-{key}")
    content = b""
    if file is not None:
        with file.stream:
            content = file.read()
    return FieldStep(key, order_id, step["kind"], _moment(step["at"]), str(step.get("plan", "")), values, content)


def _moment(text: str) -> datetime:
    """Return when a step was taken, by the phone's clock, as far as that can be."""
    moment, now = datetime.fromisoformat(text.replace("Z", "+00:00")), utc_now()
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment if now - OLDEST < moment < now else now


def _take(step: FieldStep) -> dict[str, Any]:
    """Do one step and commit, or say why not."""
    session = context.db()
    order = session.get(WorkOrder, step.order_id)
    if order is None:
        return {"result": "conflict", "how": "gone", "now": None}
    says = step.kind in ("note", "call") and context.may(Permission.WORK_ORDERS_VIEW)
    if not (may_do(order) or says):
        return {"result": "conflict", "how": "reassigned", "now": _now(order)}
    try:
        settings = context.portal().settings
        if step.kind == "open_again" and not context.may(Permission.WORK_ORDERS_EDIT):
            return {"result": "refused", "why": _("You may not open it again.")}
        take_step(session, context.actor(), context.keyring(), order, step, settings.public_url, utc_now())
    except PlanChanged as problem:
        session.rollback()
        log.info("field_step_conflict", work_order_id=order.id, step=step.kind, how=problem.how)
        return {"result": "conflict", "how": problem.how, "now": _now(order)}
    except WrongOrderState as problem:
        session.rollback()
        return {"result": "refused", "why": order_state_text(problem)}
    except Invalid as invalid:
        session.rollback()
        return {"result": "refused", "why": " ".join(problem_text(problem) for problem in invalid.problems)}
    except StepsMissing as problem:
        session.rollback()
        missing = "; ".join(one.text or label("work_missing", one.step) for one in problem.missing)
        return {"result": "refused", "why": _("It is not complete yet: %(missing)s.", missing=missing)}
    except WrongState as problem:
        session.rollback()
        return {"result": "refused", "why": wrong_state_text(problem)}
    except ChangedMeanwhile:
        session.rollback()
        return {"result": "refused", "why": _("Somebody else changed it meanwhile. Look at it and try again.")}
    session.commit()
    # Opening an order again takes its window away; what the phone did besides is of this plan now.
    return {"result": "taken", **({"plan": plan_of(order, context.staff().id)} if step.kind == "open_again" else {})}


def _now(order: WorkOrder) -> dict[str, Any]:
    session = context.db()
    session.refresh(order)
    facts = order_facts(order)
    session.commit()
    return facts


@blueprint.get("/orders/<int:order_id>/link")
@requires(Permission.WORK_ORDERS_OWN)
def link(order_id: int) -> ResponseReturnValue:
    """Whether the line is up, and how its test stands: asked for again while one is under way."""
    return jsonify(link_facts(find_to_do(order_id)))


@blueprint.post("/orders/<int:order_id>/link")
@requires(Permission.WORK_ORDERS_OWN)
@limiter.limit("30 per minute")
def test_link(order_id: int) -> ResponseReturnValue:
    order, session = find_to_do(order_id), context.db()
    try:
        begin_link_test(order)
    except Invalid as invalid:
        session.rollback()
        return jsonify(why=" ".join(problem_text(problem) for problem in invalid.problems)), 422
    except WrongOrderState as problem:
        session.rollback()
        return jsonify(why=order_state_text(problem)), 422
    session.commit()
    return jsonify(link_facts(order))
