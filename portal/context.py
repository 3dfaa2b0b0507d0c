"""What a view works with: the database session of its request, who is signed in, the operator, the time.

The session is bound to the operator of the signed-in staff member when it is opened, so whatever a view selects, it
sees that operator's rows. It is opened by the first use and closed, uncommitted work undone, at the end of the request.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from flask import current_app, g, request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from core.settings import Settings
from crm.accounts import account_of
from crm.roles import changed_permissions
from db.audit import Actor
from db.models import Account, Operator, Staff
from db.session import Tenancy
from portal.permissions import PLATFORMS_OWN, Permission, permissions_of


@dataclass(frozen=True, slots=True)
class Portal:
    """What the views of one application share."""

    settings: Settings
    keyring: Keyring
    engine: Engine
    tenancy: Tenancy

    def close(self) -> None:
        """Close the connections to PostgreSQL."""
        self.engine.dispose()


def portal() -> Portal:
    shared: Portal = current_app.extensions["portico"]
    return shared


def keyring() -> Keyring:
    return portal().keyring


def open_for(operator_id: int) -> Session:
    """Return this request's session, bound to an operator. One request acts for one operator only."""
    if "db" not in g:
        g.db = portal().tenancy.open(operator_id)
        g.db_operator_id = operator_id
    if g.db_operator_id != operator_id:
        raise RuntimeError("this request already acts for another operator")
    session: Session = g.db
    return session


def db() -> Session:
    """Return this request's session, bound to the operator of who is signed in."""
    return open_for(staff().operator_id)


def close_db(_problem: BaseException | None = None) -> None:
    session: Session | None = g.pop("db", None)
    if session is not None:
        session.close()


def leave_operator() -> None:
    """Forget whom this request acts for, so that it may sign somebody of another operator in."""
    close_db()
    g.staff = None
    for name in ("operator", "permissions", "db_operator_id", "account"):
        g.pop(name, None)


def signed_in_staff() -> Staff | None:
    """Return who is signed in, or None. `portal.auth` says who it is before each view."""
    person: Staff | None = g.get("staff")
    return person


def staff() -> Staff:
    """Return who is signed in. Only for routes that need it."""
    person = signed_in_staff()
    if person is None:
        raise RuntimeError("nobody is signed in")
    return person


def operator() -> Operator:
    """Return the operator of who is signed in."""
    if "operator" not in g:
        g.operator = db().get_one(Operator, staff().operator_id)
    found: Operator = g.operator
    return found


def db_operator(operator_id: int) -> Operator:
    """Return the operator that this request acts for, whether or not anybody is signed in."""
    return open_for(operator_id).get_one(Operator, operator_id)


def account() -> Account:
    """Return the account of who is signed in: whose customer the operator is, and whether it may be here at all."""
    if "account" not in g:
        g.account = account_of(db(), staff().operator_id)
    found: Account = g.account
    return found


def zone() -> ZoneInfo:
    """Return the operator's time zone, in which all its people read dates."""
    return ZoneInfo(operator().timezone)


def now() -> datetime:
    """Return the time of this request: one instant for the whole of it."""
    if "now" not in g:
        g.now = utc_now()
    instant: datetime = g.now
    return instant


def actor() -> Actor:
    """Return who acts, for the audit log."""
    person = staff()
    return Actor(person.operator_id, person.email, person.id, request.remote_addr)


def permissions() -> frozenset[Permission]:
    """Return what who is signed in may do at this operator, looked up once for a request."""
    person = signed_in_staff()
    if person is None:
        return frozenset()
    if "permissions" not in g:
        found = permissions_of(person.roles, changed_permissions(db(), person.operator_id, person.roles))
        g.permissions = found & PLATFORMS_OWN if account().platform else found
    kept: frozenset[Permission] = g.permissions
    return kept


def may(permission: Permission) -> bool:
    """Tell whether who is signed in has a permission."""
    return permission in permissions()
