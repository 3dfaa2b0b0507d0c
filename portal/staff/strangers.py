"""An online payment that nobody began here: look for whose it is, and register it for them."""

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.gateways import PaymentState, ProviderPayment, ProviderTrouble
from billing.gateways.accounts import TITLES
from billing.gateways.strangers import NOT_OURS, assign_payment, payment_told_of
from core.money import format_money, money_locale
from crm.problems import Invalid
from db.models import Gateway, GatewayEvent
from portal import context
from portal.errors import problem_text
from portal.i18n import reader_language
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing.base import number_of, searched_people
from portal.staff.provider_words import trouble_text

blueprint = Blueprint("strangers", __name__, url_prefix="/gateways/told")


@blueprint.get("/<int:event_id>")
@requires(Permission.PAYMENTS_EDIT)
def page(event_id: int) -> ResponseReturnValue:
    """What the provider has of it, and the subscribers that the words typed find."""
    session, event = context.db(), _event(event_id)
    words, found = searched_people()
    came: ProviderPayment | None = None
    known = True
    if event.outcome == NOT_OURS:
        try:
            came = payment_told_of(session, context.portal().settings, event)
        except ProviderTrouble as trouble:
            known = False
            flash(trouble_text(trouble), "warning")
    if came is not None and came.state is not PaymentState.PAID:
        came = None
    return render_template(
        "staff/documents/stranger.html",
        event=event,
        came=came,
        known=known,
        amount=format_money(came.amount, came.currency, money_locale(reader_language(), came.currency)) if came else "",
        assignable=event.outcome == NOT_OURS,
        provider=TITLES[session.get_one(Gateway, event.gateway_id).kind],
        words=words,
        found=found,
    )


@blueprint.post("/<int:event_id>/assign/<int:subscriber_id>")
@requires(Permission.PAYMENTS_EDIT)
def assign(event_id: int, subscriber_id: int) -> ResponseReturnValue:
    """Register what came for the subscriber that was chosen."""
    session, event, settings = context.db(), _event(event_id), context.portal().settings
    try:
        payment = assign_payment(session, settings, context.actor(), event, subscriber_id, context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    except ProviderTrouble as trouble:
        session.rollback()
        flash(trouble_text(trouble), "warning")
    else:
        session.commit()
        done(_("Registered as receipt %(number)s.", number=number_of(payment)))
        return redirect(url_for("payments.page", payment_id=payment.id))
    return redirect(url_for(".page", event_id=event_id))


def _event(event_id: int) -> GatewayEvent:
    return context.db().get(GatewayEvent, event_id) or abort(404)
