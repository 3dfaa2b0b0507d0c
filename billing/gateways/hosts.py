"""Which hosts a browser must reach to pay with a provider, for walled gardens.

A hotspot opens what matches a pattern (`*` is any text). A firewall's list of addresses takes names only, whose
addresses the router looks up itself, so each provider has both. Narrow on purpose: whatever is open here is open to
people who have not paid. The page or app by which a bank asks its customer to confirm a card (3-D Secure) may be
anywhere: for that there are passes (`crm.passes`).
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.gateways.accounts import active_accounts


@dataclass(frozen=True, slots=True)
class ProviderHosts:
    """`source` is where the provider says so."""

    patterns: tuple[str, ...]
    names: tuple[str, ...]
    source: str


_COUNTRIES = ("com", "com.ar", "com.br", "com.co", "com.mx", "com.pe", "com.uy", "cl")

HOSTS = {
    "stripe": ProviderHosts(
        ("*.stripe.com", "*.stripe.network", "*.stripecdn.com"),
        (
            "checkout.stripe.com", "js.stripe.com", "api.stripe.com", "hooks.stripe.com", "m.stripe.com",
            "m.stripe.network", "b.stripecdn.com",
        ),
        "https://docs.stripe.com/ips#stripe-domains",
    ),
    "mercadopago": ProviderHosts(
        (*(f"*.mercadopago.{country}" for country in _COUNTRIES), "*.mlstatic.com", "api.mercadolibre.com"),
        (
            *(f"www.mercadopago.{country}" for country in _COUNTRIES), "api.mercadopago.com", "sdk.mercadopago.com",
            "secure-fields.mercadopago.com", "http2.mlstatic.com", "secure.mlstatic.com", "api.mercadolibre.com",
        ),
        "https://www.mercadopago.com.mx/developers/es/docs/checkout-pro/landing",
    ),
}  # fmt: skip


def to_pay_at(session: Session, operator_id: int) -> ProviderHosts:
    """Return the hosts of all providers that an operator's subscribers may pay with."""
    found = [HOSTS[each.kind] for each in active_accounts(session, operator_id) if each.kind in HOSTS]
    return ProviderHosts(
        tuple(pattern for each in found for pattern in each.patterns),
        tuple(name for each in found for name in each.names),
        "",
    )
