"""What the demo's programs are told: one takes what it is sent, the other's server is broken, to see both logs."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.webhooks import EndpointTerms, add_endpoint, send_test
from db.audit import Actor
from db.models import WebhookEndpoint
from lab.gateways import HOOKS


def listen_demo(session: Session, settings: Settings, operator_id: int) -> None:
    """Enter two endpoints at the lab and send each a test; nothing where there is one, or no demo."""
    if not settings.demo or session.scalar(
        select(WebhookEndpoint.id).where(WebhookEndpoint.operator_id == operator_id).limit(1)
    ):
        return
    actor = Actor(operator_id, "demo")
    lab = f"http://127.0.0.1:{settings.lab_gateway_port}/{HOOKS}"
    for path, events, notes in (
        ("erp", ("invoice.issued", "payment.recorded", "service.suspended", "service.restored"), "Contabilidad"),
        ("broken", ("ticket.opened", "router.offline"), "Su servidor contesta 500"),
    ):
        terms = EndpointTerms(f"{lab}/{path}", events, notes)
        endpoint, _secret = add_endpoint(session, actor, settings.keyring, settings, terms)
        send_test(session, actor, endpoint)
