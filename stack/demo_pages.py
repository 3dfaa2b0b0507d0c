"""The demo's pages for subscribers: a brand, what they may do, and one of them who can sign in with a password.

Everybody else of the demo signs in as in life, by a code that is mailed; without a mail server it waits in the list of
messages. The one with a password owes something, so that there is something to pay.
"""

import json
import tomllib
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.brands import Allowed, BrandDetails, brand_of, change_allowed, change_brand
from crm.subscriber_logins import login_of
from db.audit import Actor
from db.models import Brand, Operator, RatePlan, Service, Subscriber
from stack.accounts import piece_account, write_private_file
from stack.demo_billing import OVERDUE

OFFERED = ("Hogar 10", "Hogar 20 Plus", "Hogar 50")


def open_pages(session: Session, operator_id: int, settings: Settings, password: str) -> str:
    """Set up what is missing of the subscribers' pages; return where they are, and a login. `password` is a new one."""
    operator, actor = session.get_one(Operator, operator_id), Actor(operator_id, "demo")
    if session.get(Brand, operator_id) is None:
        change_brand(session, actor, BrandDetails(phone="+52 33 5555 0100", whatsapp="+52 33 5555 0100"))
        plans = session.scalars(
            select(RatePlan.id).where(RatePlan.operator_id == operator_id, RatePlan.name.in_(OFFERED))
        ).all()
        allowed = Allowed(plan_change="at_once", offered_plans=tuple(plans), may_pause=True)
        change_allowed(session, actor, allowed)
    url = f"{brand_of(session, operator).portal_url(settings.public_url)}/"
    subscriber = session.scalar(
        select(Subscriber)
        .join(Service, Service.subscriber_id == Subscriber.id)
        .where(Service.operator_id == operator_id, Service.name.in_(OVERDUE), Subscriber.email.is_not(None))
        .order_by(Subscriber.id)
        .limit(1)
    )
    if subscriber is None:
        return url
    path = settings.data_dir / "demo-subscriber.toml"
    login, kept = login_of(session, operator_id, subscriber.id), _kept(path)
    if kept is None or login.password_hash is None:
        kept = password
        login.password_hash = PasswordHasher().hash(kept)
        text = f"# The demo's subscriber who signs in with a password.\npassword = {json.dumps(kept)}\n"
        write_private_file(path, text, piece_account(settings))
    login.given_at = login.given_at or utc_now()
    session.flush()
    return f"{url}  {subscriber.email}  {kept}"


def _kept(path: Path) -> str | None:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["password"])
    except (FileNotFoundError, tomllib.TOMLDecodeError, KeyError):
        return None
