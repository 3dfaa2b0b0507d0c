"""Router logins: staff log in to routers with a name and password of their own, and the group that their role gets.

The password is needed in clear by CHAP, so it is sealed rather than hashed, and must not be the portal's. Whoever
leaves is refused by every router at once: radiusd answers only for those who are active, and no router keeps a copy.
"""

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ROLES, Nas, RouterGroup, RouterLogin, Staff

PURPOSE = "router_login.password"
GROUPS = ("full", "write", "read")
SHORTEST, LONGEST = 10, 128  # RADIUS hides a PAP password in blocks of 16 octets, 128 at most (RFC 2865 §5.2)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}\Z")
_OF_THE_ROUTER = ("admin", "portico")
"""Users that routers have themselves: RADIUS is asked only for names that a router does not know."""


def set_router_login(
    session: Session, actor: Actor, keyring: Keyring, person: Staff, name: str, password: str
) -> RouterLogin:
    """Set a person's name and password on routers. Raises Invalid."""
    name = name.strip()
    problems = []
    if not _NAME.match(name):
        problems.append(FieldProblem("name", Problem.NAME_CHARACTERS if name else Problem.REQUIRED))
    elif name.lower() in _OF_THE_ROUTER or session.scalar(
        select(RouterLogin.staff_id).where(
            RouterLogin.operator_id == person.operator_id,
            func.lower(RouterLogin.name) == name.lower(),
            RouterLogin.staff_id != person.id,
        )
    ):
        problems.append(FieldProblem("name", Problem.TAKEN))
    if len(password) < SHORTEST:
        problems.append(FieldProblem("password", Problem.TOO_SHORT, {"limit": str(SHORTEST)}))
    elif len(password.encode()) > LONGEST:
        problems.append(FieldProblem("password", Problem.TOO_LONG, {"limit": str(LONGEST)}))
    if problems:
        raise Invalid(*problems)
    login = session.get(RouterLogin, person.id)
    before = None if login is None else {"name": login.name}
    if login is None:
        login = RouterLogin(staff_id=person.id, operator_id=person.operator_id)
        session.add(login)
    login.name, login.password, login.changed_at = name, keyring.seal(PURPOSE, password), utc_now()
    session.flush()
    record(session, actor, "router_login.set", "staff", person.id, before, {"name": name, "password": "changed"})
    return login


def remove_router_login(session: Session, actor: Actor, login: RouterLogin) -> None:
    """Let a person into no router any more."""
    session.delete(login)
    session.flush()
    record(session, actor, "router_login.remove", "staff", login.staff_id, {"name": login.name}, None)


def allow_routers(session: Session, actor: Actor, login: RouterLogin, nas_ids: Sequence[int] | None) -> None:
    """Say which NAS let a person in; None is all of them. Those of another operator are passed over."""
    before = {"nas": login.nas_ids}
    if nas_ids is not None:
        own = select(Nas.id).where(Nas.operator_id == login.operator_id, Nas.id.in_(nas_ids)).order_by(Nas.id)
        nas_ids = list(session.scalars(own))
    login.nas_ids = None if nas_ids is None else list(nas_ids)
    session.flush()
    record(session, actor, "router_login.routers", "staff", login.staff_id, before, {"nas": login.nas_ids})


def groups_of(session: Session, operator_id: int) -> dict[str, str]:
    """Return the group of each role that has one."""
    rows = session.execute(
        select(RouterGroup.role, RouterGroup.router_group).where(RouterGroup.operator_id == operator_id)
    )
    return {row.role: row.router_group for row in rows}


def set_groups(session: Session, actor: Actor, groups: Mapping[str, str | None]) -> None:
    """Say which group each role gets on routers; None or a role not named gets none. Raises Invalid."""
    wanted = {role: group for role, group in groups.items() if group}
    problems = [
        FieldProblem(role, Problem.UNKNOWN_CHOICE)
        for role, group in wanted.items()
        if role not in ROLES or group not in GROUPS
    ]
    if problems:
        raise Invalid(*problems)
    before = groups_of(session, actor.operator_id)
    if wanted == before:
        return
    session.execute(delete(RouterGroup).where(RouterGroup.operator_id == actor.operator_id))
    session.add_all(
        RouterGroup(operator_id=actor.operator_id, role=role, router_group=group) for role, group in wanted.items()
    )
    session.flush()
    record(session, actor, "router_login.groups", "operator", actor.operator_id, before, wanted)
