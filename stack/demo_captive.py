"""The demo's captive page: the hotspot on the plaza, whose router fetches its login page from the portal.

Whoever opens the hotspot's address in a browser is a phone behind it: led to the captive page, let on by a code, or by
one that is bought there from the emulated providers.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.links import LinkFor, link_key, signed
from core.crypto import Keyring
from core.settings import Settings
from crm.captive import CaptiveTerms, change_captive_terms, change_hosts
from db.audit import Actor
from db.models import CaptiveSettings, Nas, VoucherBatch

FETCHED_AT = (5, 20, 60)
"""Seconds after the lab's start: the portal may come up later."""


def hotspot_port(settings: Settings) -> int:
    """Return the port of the hotspot's own pages, at its router's address: beside that of the router's API."""
    return settings.lab_api_port + 1


def open_hotspot(session: Session, operator_id: int, settings: Settings, keyring: Keyring, name: str) -> str:
    """Set the captive pages up where nobody has; return where the hotspot of a NAS is, empty where there is none."""
    nas = session.scalar(select(Nas).where(Nas.operator_id == operator_id, Nas.name == name))
    if nas is None:
        return ""
    link_key(session, keyring, operator_id)  # kept before the lab's file is written, which holds what it signs
    host = f"{nas.address}:{hotspot_port(settings)}"
    if session.get(CaptiveSettings, operator_id) is None:
        sold = select(VoucherBatch.id).where(VoucherBatch.operator_id == operator_id, VoucherBatch.price > 0)
        actor = Actor(operator_id, "demo")
        change_captive_terms(session, actor, CaptiveTerms(batch_ids=tuple(session.scalars(sold).all()[:3])))
        change_hosts(session, actor, nas.id, (host,))
    return f"http://{host}/"


def fetches(session: Session, operator_id: int, settings: Settings, keyring: Keyring, name: str) -> list[str]:
    """Return the lab's orders by which the router of a NAS fetches its login page."""
    nas = session.scalar(select(Nas).where(Nas.operator_id == operator_id, Nas.name == name))
    if nas is None:
        return []
    key = link_key(session, keyring, operator_id)
    token = signed(key, LinkFor.HOTSPOT, operator_id, nas.id)
    url = f"http://127.0.0.1:{settings.portal_port}/captive/{token}/login.html"
    text = f"/tool fetch url={url} dst-path=hotspot/login.html"
    lines = []
    for seconds in FETCHED_AT:
        lines += ["", "[[event]]", f"at = {seconds}", 'do = "paste"', f'router = "{name}"', f"text = '{text}'"]
    return lines
