"""What subscribers do with their lines by themselves: another plan, a boost, a pause, their devices."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.boosts import boost, boosted_until, offer_of
from billing.following import follow_service
from billing.plan_offers import PlanOffer, check_rates, plan_offer
from billing.rules import BillingRules, rules_of
from billing.top_ups import top_up, top_up_offer, topped_up
from core.i18n import translator
from core.mac import NotAMac, parse_mac
from crm.currencies import price_in_books
from crm.devices import devices_of, forget_device
from crm.plan_items import items_of_plans, monthly_price
from crm.plan_requests import ask_for_plan, check_choice, offered_plans, open_request, withdraw_request
from crm.problems import FieldProblem, Invalid, Problem, WrongState
from crm.services import change_plan_of, pause, resume
from db.models import RatePlan, Service
from portal import context
from portal.errors import problem_text, wrong_state_text
from portal.formats import local_minute
from portal.messages import done, refuse
from portal.permissions import for_subscribers
from portal.staff.boosts import ON_THE_INVOICE
from portal.subscriber import frame
from portal.subscriber.frame import actor, blueprint, db, my_service, my_services, operator
from portal.subscriber.home import is_billed


def _took(step: Callable[[], object]) -> bool:
    """Take a step and commit it; where it cannot be taken, undo it and say why."""
    try:
        step()
    except WrongState as problem:
        db().rollback()
        refuse(wrong_state_text(problem))
    except Invalid as invalid:
        db().rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        db().commit()
        return True
    return False


def _rules() -> BillingRules | None:
    return rules_of(db(), operator().id) if is_billed() else None


# Another plan.


@blueprint.get("/<slug>/services/<int:service_id>/plan")
@for_subscribers
def plans(service_id: int) -> ResponseReturnValue:
    """The plans that are offered; with `?plan=`, what that one costs, before it is chosen."""
    service, allowed = my_service(service_id), frame.allowed()
    offered = offered_plans(db(), operator().id, allowed)
    if not offered:
        abort(404)
    wish = open_request(db(), service.id)
    shown = _offer(service, request.args.get("plan", ""))
    service = my_service(service_id)
    offered = offered_plans(db(), operator().id, allowed)
    items = items_of_plans(db(), offered)
    return render_template(
        "subscriber/plans.html",
        service=service,
        plans=offered,
        items=items,
        monthly={plan.id: monthly_price(plan, items[plan.id], _book_price(plan)) for plan in offered},
        wished=db().get(RatePlan, wish.plan_id) if wish is not None else None,
        offer=shown,
        billed=is_billed(),
    )


def _book_price(plan: RatePlan) -> Decimal:
    return price_in_books(db(), plan, context.now().astimezone(context.zone()).date())


def _offer(service: Service, typed: str) -> PlanOffer | None:
    """Return what the plan that was asked for costs; nothing where it cannot be chosen."""
    if not (typed.isascii() and typed.isdigit() and len(typed) < 18):
        return None
    rules = _rules()
    try:
        plan = check_choice(db(), frame.allowed(), service, int(typed))
        if rules is None:
            return PlanOffer(plan, Decimal(0), _book_price(service.plan), _book_price(plan))
        return plan_offer(db(), actor(), rules, service, plan, context.now())
    except (Invalid, WrongState):
        return None
    finally:
        db().rollback()  # and with it the locks that the look took


@blueprint.post("/<slug>/services/<int:service_id>/plan")
@for_subscribers
def choose_plan(service_id: int) -> ResponseReturnValue:
    service, allowed, session = my_service(service_id), frame.allowed(), db()
    typed = request.form.get("plan", "")
    plan_id = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else 0

    def change() -> None:
        session.refresh(service, with_for_update=True)
        plan = check_choice(session, allowed, service, plan_id)
        rules, now = _rules(), context.now()
        if rules is not None:
            try:
                check_rates(session, rules, service, plan, rules.today(now))
            except Invalid:  # whose words are for staff
                raise Invalid(FieldProblem("plan_id", Problem.NOT_OFFERED)) from None
        change_plan_of(session, actor(), service, plan.id)
        if rules is not None:
            follow_service(session, actor(), rules, service, now)

    if allowed.plan_change == "at_once":
        if _took(change):
            done(_("You have the new plan. Your line follows within seconds."))
    elif _took(lambda: ask_for_plan(session, actor(), allowed, service, plan_id, context.now())):
        done(_("Your wish has arrived. You hear from us as soon as somebody has looked at it."))
    return redirect(url_for(".home"))


@blueprint.post("/<slug>/services/<int:service_id>/plan/withdraw")
@for_subscribers
def withdraw_plan(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    if _took(lambda: withdraw_request(db(), actor(), service, context.now())):
        done(_("Your wish for another plan is withdrawn."))
    return redirect(url_for(".home"))


# A boost.


@blueprint.route("/<slug>/services/<int:service_id>/boost", methods=["GET", "POST"])
@for_subscribers
def boost_page(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    offer, now = offer_of(service.plan), context.now()
    if offer is None or not frame.allowed().may_boost:
        abort(404)
    if request.method == "GET":
        until = boosted_until(service, now)
        return render_template("subscriber/boost.html", service=service, offer=offer, until=until, billed=is_billed())
    said = {"hours": service.plan.boost_hours, "service": service.name}
    description = translator(operator().locale)(ON_THE_INVOICE) % said
    typed, reached = request.form.get("seen", ""), []
    try:
        seen = datetime.fromisoformat(typed) if typed else None
    except ValueError:
        abort(400)
    if _took(lambda: reached.append(boost(db(), actor(), service, description, seen, now))):
        done(_("%(name)s is faster until %(until)s.", name=service.name, until=local_minute(reached[0])))
    return redirect(url_for(".home"))


# More data.


@blueprint.route("/<slug>/services/<int:service_id>/top-up", methods=["GET", "POST"])
@for_subscribers
def top_up_page(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    offer, now = top_up_offer(service.plan), context.now()
    if offer is None or not frame.allowed().may_boost:
        abort(404)
    if request.method == "GET":
        bought = topped_up(service, now)
        return render_template(
            "subscriber/top_up.html", service=service, offer=offer, bought=bought, billed=is_billed()
        )
    typed = request.form.get("seen", "")
    seen = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else -1
    if _took(lambda: top_up(db(), actor(), service, seen, now)):
        done(_("You have more data. Your line follows within seconds."))
    return redirect(url_for(".home"))


# A pause.


@blueprint.route("/<slug>/services/<int:service_id>/pause", methods=["GET", "POST"])
@for_subscribers
def pause_page(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    if not frame.allowed().may_pause:
        abort(404)
    if request.method == "GET":
        return render_template("subscriber/pause.html", service=service)
    if _took(lambda: pause(db(), actor(), service)):
        done(_("Your service is paused. You can resume it here at any time."))
    return redirect(url_for(".home"))


@blueprint.post("/<slug>/services/<int:service_id>/resume")
@for_subscribers
def resume_now(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    if not frame.allowed().may_pause:
        abort(404)
    if _took(lambda: resume(db(), actor(), service)):
        done(_("Your service is active again."))
    return redirect(url_for(".home"))


# Devices.


@blueprint.get("/<slug>/devices")
@for_subscribers
def devices() -> ResponseReturnValue:
    services = my_services()
    return render_template(
        "subscriber/devices.html",
        lines=[(service, devices_of(db(), service)) for service in services],
        live=frame.live_sessions(services),
    )


@blueprint.post("/<slug>/services/<int:service_id>/devices/forget")
@for_subscribers
def forget(service_id: int) -> ResponseReturnValue:
    service = my_service(service_id)
    try:
        mac = parse_mac(request.form.get("mac", ""))
    except NotAMac:
        abort(400)
    if _took(lambda: forget_device(db(), actor(), service, mac)):
        done(_("The device is forgotten. The next one that connects takes its place."))
    return redirect(url_for(".devices"))
