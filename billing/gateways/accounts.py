"""An operator's accounts with providers: keys, and the way to pay that their payments are booked under."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.gateways import Provider, ProviderTrouble, Trouble
from core.crypto import Keyring
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import GATEWAYS, Gateway, PaymentMethod

KEY_PURPOSE = "gateway.key"
WEBHOOK_PURPOSE = "gateway.webhook"
TITLES = {"stripe": "Stripe", "mercadopago": "Mercado Pago"}
NOBODYS = "0"
"""The number of a payment that no provider has."""


def enter_account(
    session: Session,
    keyring: Keyring,
    actor: Actor,
    kind: str,
    secret_key: str,
    webhook_secret: str,
    *,
    emulated: bool = False,
) -> Gateway:
    """Store an operator's keys for a provider, in place of those there were. Raises Invalid."""
    problems = [] if kind in GATEWAYS else [FieldProblem("kind", Problem.UNKNOWN_CHOICE)]
    for name, value in (("secret_key", secret_key), ("webhook_secret", webhook_secret)):
        if not value.strip():
            problems.append(FieldProblem(name, Problem.REQUIRED))
        elif len(value) > 300 or not value.strip().isprintable():
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": "300"}))
    if problems:
        raise Invalid(*problems)
    gateway = session.scalar(
        select(Gateway).where(Gateway.operator_id == actor.operator_id, Gateway.kind == kind).with_for_update()
    )
    sealed: dict[str, Any] = {
        "secret_key": keyring.seal(KEY_PURPOSE, secret_key.strip()),
        "webhook_secret": keyring.seal(WEBHOOK_PURPOSE, webhook_secret.strip()),
        "emulated": emulated,
        "active": True,
    }
    if gateway is None:
        gateway = Gateway(
            operator_id=actor.operator_id, kind=kind, method_id=_method(session, actor.operator_id, kind), **sealed
        )
        session.add(gateway)
    else:
        for name, value in sealed.items():
            setattr(gateway, name, value)
    session.flush()
    record(session, actor, "gateway.keys", "gateway", gateway.id, None, {"kind": kind, "keys": "changed"})
    return gateway


def switch_account(session: Session, actor: Actor, gateway: Gateway, active: bool) -> None:
    """Offer a provider to subscribers, or no longer. What was begun with it is still taken."""
    before, gateway.active = {"active": gateway.active}, active
    session.flush()
    record(session, actor, "gateway.switch", "gateway", gateway.id, before, {"active": active})


def active_accounts(session: Session, operator_id: int) -> list[Gateway]:
    return list(
        session.scalars(select(Gateway).where(Gateway.operator_id == operator_id, Gateway.active).order_by(Gateway.id))
    )


def provider_of(gateway: Gateway, settings: Settings) -> Provider:
    """Return who is spoken to for an account. Raises ProviderTrouble for the demo's account outside the demo."""
    from billing.gateways.mercado_pago import MercadoPago
    from billing.gateways.stripe import Stripe

    api_url = None
    if gateway.emulated:
        if not settings.demo:
            raise ProviderTrouble(Trouble.KEY)
        api_url = f"http://{settings.lab_address}:{settings.lab_gateway_port}/{gateway.kind}"
    keyring = settings.keyring
    keys = keyring.open(KEY_PURPOSE, gateway.secret_key), keyring.open(WEBHOOK_PURPOSE, gateway.webhook_secret)
    return Stripe(*keys, api_url) if gateway.kind == "stripe" else MercadoPago(*keys, api_url)


def try_account(gateway: Gateway, settings: Settings) -> None:
    """Ask a provider for a payment that nobody made: it says so to whom it knows. Raises ProviderTrouble.

    The secret of webhooks is not tried by it: that one shows with the first of them.
    """
    try:
        provider_of(gateway, settings).payment(NOBODYS)
    except ProviderTrouble as trouble:
        if trouble.trouble is not Trouble.REFUSED:
            raise


def _method(session: Session, operator_id: int, kind: str) -> int:
    """Return the way to pay that a provider's payments are booked under, made at the first use."""
    method = session.scalar(
        select(PaymentMethod).where(PaymentMethod.operator_id == operator_id, PaymentMethod.gateway == kind)
    )
    if method is None:
        taken = session.scalar(
            select(PaymentMethod.id).where(PaymentMethod.operator_id == operator_id, PaymentMethod.name == TITLES[kind])
        )
        name = f"{TITLES[kind]} (online)" if taken else TITLES[kind]
        method = PaymentMethod(operator_id=operator_id, name=name, account="card", gateway=kind)
        session.add(method)
        session.flush()
    return method.id
