"""An operator's account for electronic invoices: format, country, provider and its key."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from billing.einvoice import Format, Provider, ProviderTrouble, Trouble, ubl
from billing.einvoice.provider import HttpProvider
from core.crypto import Keyring
from core.settings import Settings
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import EinvoiceSettings

KEY_PURPOSE = "einvoice.key"
FORMATS: dict[str, Format] = {"ubl": ubl.build}
TITLES = {"ubl": "UBL 2.1"}
LAB_PATH = "einvoice"
"""Where the lab's provider stands, beside those of payments."""


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What is entered; without `api_key` the one that is there stays, as long as the address does."""

    enabled: bool
    starts_on: date
    country: str
    provider_url: str
    api_key: str = ""
    format: str = "ubl"
    emulated: bool = False


def enter_account(session: Session, keyring: Keyring, actor: Actor, terms: AccountTerms) -> EinvoiceSettings:
    """Take over an operator's account. Raises Invalid."""
    kept = session.get(EinvoiceSettings, actor.operator_id, with_for_update=True, populate_existing=True)
    country, url, key = terms.country.strip().upper(), terms.provider_url.strip().rstrip("/"), terms.api_key.strip()
    problems = []
    if terms.format not in FORMATS:
        problems.append(FieldProblem("format", Problem.UNKNOWN_CHOICE))
    if len(country) != 2 or not (country.isascii() and country.isalpha()):
        problems.append(FieldProblem("country", Problem.UNKNOWN_CHOICE))
    if not terms.emulated and not _is_address(url):
        problems.append(FieldProblem("provider_url", Problem.NOT_A_WEB_ADDRESS))
    if len(key) > 300 or not key.isprintable():
        problems.append(FieldProblem("api_key", Problem.TOO_LONG, {"limit": "300"}))
    elif not key and kept is None:
        problems.append(FieldProblem("api_key", Problem.REQUIRED))
    elif not key and kept is not None and (kept.provider_url != url or kept.emulated != terms.emulated):
        # Whoever may enter an address could otherwise have the key sent to a server of their own.
        problems.append(FieldProblem("api_key", Problem.PASSWORD_AGAIN))
    if problems:
        raise Invalid(*problems)
    values: dict[str, Any] = {
        "enabled": terms.enabled,
        "starts_on": terms.starts_on,
        "format": terms.format,
        "country": country,
        "provider_url": url,
        "emulated": terms.emulated,
    }
    before = None if kept is None else {name: getattr(kept, name) for name in values}
    sealed = {"api_key": keyring.seal(KEY_PURPOSE, key)} if key else {}
    if kept is None:
        kept = EinvoiceSettings(operator_id=actor.operator_id, **values, **sealed)
        session.add(kept)
    else:
        for name, value in {**values, **sealed}.items():
            setattr(kept, name, value)
    session.flush()
    after = {**values, **({"api_key": "changed"} if key else {})}
    record(session, actor, "einvoice.settings", "operator", actor.operator_id, before, after)
    return kept


def provider_of(kept: EinvoiceSettings, settings: Settings) -> Provider:
    """Return who is spoken to for an account. Raises ProviderTrouble for the demo's account outside the demo."""
    key = settings.keyring.open(KEY_PURPOSE, kept.api_key)
    if not kept.emulated:
        return HttpProvider(kept.provider_url, key, local=settings.local_gateways)
    if not settings.demo:
        raise ProviderTrouble(Trouble.KEY)
    return HttpProvider(f"http://{settings.lab_address}:{settings.lab_gateway_port}/{LAB_PATH}", key, local=True)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and not (parts.username or parts.query or parts.fragment)
        and len(url) <= 300
        and url.isprintable()
    )
