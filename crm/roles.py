"""What an operator's roles may do, where its manager has narrowed or widened them.

What a role may do everywhere is code (`portal.permissions`); only the differences are stored, so that a permission that
comes with a later version is given as that version means it. Permissions are plain texts here.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.audit import Actor, record
from db.models import RolePermission


def changed_permissions(session: Session, operator_id: int, roles: Iterable[str]) -> dict[str, dict[str, bool]]:
    """Return for each role that differs its permissions that do: whether the operator allows them."""
    found: dict[str, dict[str, bool]] = {}
    rows = session.execute(
        select(RolePermission.role, RolePermission.permission, RolePermission.allowed).where(
            RolePermission.operator_id == operator_id, RolePermission.role.in_(list(roles))
        )
    )
    for row in rows:
        found.setdefault(row.role, {})[row.permission] = row.allowed
    return found


def set_permissions(
    session: Session, actor: Actor, role: str, wanted: Mapping[str, bool], everywhere: Iterable[str]
) -> bool:
    """Store what a role may do at this operator, and return whether that changed anything.

    `wanted` says it of every permission that was asked about; `everywhere` is what the role may do without any of this.
    """
    before = changed_permissions(session, actor.operator_id, [role]).get(role, {})
    usual = set(everywhere)
    after = {permission: allowed for permission, allowed in wanted.items() if allowed != (permission in usual)}
    # What was not asked about belongs to another version of Portico, and may come back.
    after |= {permission: allowed for permission, allowed in before.items() if permission not in wanted}
    if after == before:
        return False
    session.execute(
        delete(RolePermission).where(RolePermission.operator_id == actor.operator_id, RolePermission.role == role)
    )
    session.add_all(
        RolePermission(operator_id=actor.operator_id, role=role, permission=permission, allowed=allowed)
        for permission, allowed in after.items()
    )
    session.flush()
    allowed_before = sorted(name for name in wanted if before.get(name, name in usual))
    allowed_after = sorted(name for name, allowed in wanted.items() if allowed)
    given = [name for name in allowed_after if name not in allowed_before]
    taken = [name for name in allowed_before if name not in allowed_after]
    record(session, actor, "role.change", "role", None, None, {"role": role, "given": given, "taken": taken})
    return True
