"""The demo's platform: who runs the installation, how they are reached, and the demo operator as their customer."""

import json
import tomllib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.settings import Settings
from crm.accounts import make_platform
from crm.licences import ANNUAL, LicenceTerms, give_licence, licence_of
from db.audit import Actor
from db.models import Account, Staff
from stack.accounts import piece_account, write_private_file

EMAIL = "platform@demo.example"


def open_platform(session: Session, operator_id: int, settings: Settings, password: str) -> str:
    """Make what is missing of the platform, and return the login of who runs it. `password` is a new one."""
    platform = make_platform(session, "demo", "Portico")
    account = session.get_one(Account, platform.id)
    if not account.adviser:
        account.adviser, account.whatsapp = "Valeria Montes", "+52 33 5555 0199"
        account.contact_email = EMAIL
    if session.get(Account, operator_id) is None:
        session.add(Account(operator_id=operator_id, country="MX"))
    session.flush()
    if licence_of(session, operator_id) is None:
        now = utc_now()
        terms = LicenceTerms("ISP 500", 500, ANNUAL, Decimal(590), "USD", (now + timedelta(days=364)).date())
        give_licence(session, Actor(operator_id, "demo"), operator_id, terms, now.date())
    path = settings.data_dir / "demo-platform.toml"
    person = session.scalar(select(Staff).where(Staff.operator_id == platform.id, Staff.email == EMAIL))
    kept = _kept(path)
    if person is None or kept is None:
        kept = password
        if person is None:
            person = Staff(operator_id=platform.id, email=EMAIL, name="Valeria Montes", roles=["manager"])
            session.add(person)
        person.password_hash = PasswordHasher().hash(kept)
        text = f"# Who runs the demo's installation.\npassword = {json.dumps(kept)}\n"
        write_private_file(path, text, piece_account(settings))
    session.flush()
    return f"{EMAIL}  {kept}"


def _kept(path: Path) -> str | None:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["password"])
    except (FileNotFoundError, tomllib.TOMLDecodeError, KeyError):
        return None
