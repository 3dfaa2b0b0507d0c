"""Online payments for the staff: the accounts with providers, and what was begun with them."""

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from billing.gateways import ProviderTrouble
from billing.gateways.accounts import TITLES, enter_account, switch_account, try_account
from billing.gateways.checkouts import webhook_url
from billing.gateways.strangers import is_open
from crm.problems import Invalid
from db.models import Checkout, Gateway, GatewayEvent, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.provider_words import trouble_text

blueprint = Blueprint("gateways", __name__, url_prefix="/gateways")


class KeysForm(Form):
    kind = forms.choice(_l("Provider"), choices=[Option(kind, title) for kind, title in TITLES.items()])
    secret_key = forms.password(_l("Secret key or access token"), required=True)
    webhook_secret = forms.password(_l("Secret that webhooks are signed with"), required=True)


@blueprint.get("/")
@requires(Permission.BILLING_SETTINGS)
def index() -> ResponseReturnValue:
    return _page(KeysForm())


@blueprint.post("/")
@requires(Permission.BILLING_SETTINGS)
def enter() -> ResponseReturnValue:
    """Store keys; what was stored before is never shown again."""
    session, form = context.db(), KeysForm()
    if form.validate():
        try:
            enter_account(
                session,
                context.keyring(),
                context.actor(),
                form.kind.data,
                form.secret_key.data or "",
                form.webhook_secret.data or "",
            )
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Stored. Subscribers can pay with %(provider)s now.", provider=TITLES[form.kind.data]))
            return redirect(url_for(".index"))
    return _page(form), 422


@blueprint.post("/<int:gateway_id>/switch")
@requires(Permission.BILLING_SETTINGS)
def switch(gateway_id: int) -> ResponseReturnValue:
    session = context.db()
    gateway = session.get(Gateway, gateway_id) or abort(404)
    switch_account(session, context.actor(), gateway, not gateway.active)
    session.commit()
    return redirect(url_for(".index"))


@blueprint.post("/<int:gateway_id>/try")
@requires(Permission.BILLING_SETTINGS)
def attempt(gateway_id: int) -> ResponseReturnValue:
    """Say whether the provider knows the key that is stored, before a subscriber finds out."""
    session = context.db()
    gateway = session.get(Gateway, gateway_id) or abort(404)
    try:
        try_account(gateway, context.portal().settings)
    except ProviderTrouble as trouble:
        flash(trouble_text(trouble), "warning")
    else:
        done(_("%(provider)s answers, and knows the key.", provider=TITLES[gateway.kind]))
    return redirect(url_for(".index"))


def _page(form: KeysForm) -> str:
    session, settings = context.db(), context.portal().settings
    accounts = session.scalars(select(Gateway).order_by(Gateway.id)).all()
    begun = session.execute(
        select(Checkout, Subscriber.name.label("subscriber"), Gateway.kind)
        .join(Subscriber, Subscriber.id == Checkout.subscriber_id)
        .join(Gateway, Gateway.id == Checkout.gateway_id)
        .order_by(Checkout.id.desc())
        .limit(50)
    ).all()
    unknown = session.execute(
        select(GatewayEvent, Gateway.kind)
        .join(Gateway, Gateway.id == GatewayEvent.gateway_id)
        .where(is_open(), GatewayEvent.provider_payment.is_not(None))
        .order_by(GatewayEvent.id.desc())
        .limit(20)
    ).all()
    return render_template(
        "staff/documents/gateways.html",
        unknown=unknown,
        form=form,
        accounts=[(account, TITLES[account.kind], webhook_url(settings, account)) for account in accounts],
        begun=begun,
        titles=TITLES,
    )
