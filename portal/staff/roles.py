"""Roles: what each may do, and where this operator's manager has narrowed or widened it."""

import hashlib
import json

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from crm.roles import changed_permissions, set_permissions
from db.models import ROLES
from portal import context
from portal.messages import done, refuse
from portal.permission_words import areas
from portal.permissions import MANAGER, MANAGERS_ALONE, ROLE_PERMISSIONS, Permission, permissions_of, requires

blueprint = Blueprint("roles", __name__, url_prefix="/roles")
NARROWED = tuple(role for role in ROLES if role != MANAGER)


@blueprint.get("/")
@requires(Permission.ROLES_EDIT)
def index() -> ResponseReturnValue:
    changed = _changed()
    return render_template(
        "staff/roles/index.html",
        listed_areas=list(areas()),
        roles=ROLES,
        allowed={role: permissions_of([role], changed) for role in ROLES},
        usual=ROLE_PERMISSIONS,
        manager=MANAGER,
        managers_alone=MANAGERS_ALONE,
        changed=changed,
        seen=_digest(changed),
    )


@blueprint.post("/")
@requires(Permission.ROLES_EDIT)
def save() -> ResponseReturnValue:
    """Store the ticks. Who had the page open while a colleague saved is shown the new ticks instead."""
    if request.form.get("seen") != _digest(_changed()):
        refuse(_("Somebody else has changed the roles meanwhile. Nothing of yours is saved: look at the ticks again."))
        return redirect(url_for(".index"))
    ticked = set(request.form.getlist("allowed"))
    session, own = context.db(), context.permissions()
    changed = False
    for role in NARROWED:
        wanted = {each.value: f"{role}:{each}" in ticked for each in Permission if each in own - MANAGERS_ALONE}
        changed |= set_permissions(session, context.actor(), role, wanted, ROLE_PERMISSIONS[role])
    session.commit()
    done(_("The roles are saved; they hold from everybody's next click.") if changed else _("Nothing was changed."))
    return redirect(url_for(".index"))


@blueprint.post("/<role>/usual")
@requires(Permission.ROLES_EDIT)
def make_usual(role: str) -> ResponseReturnValue:
    """Let a role do again what it may do everywhere."""
    if role in NARROWED:
        usual = ROLE_PERMISSIONS[role]
        wanted = {each.value: each in usual for each in Permission}
        if set_permissions(context.db(), context.actor(), role, wanted, usual):
            context.db().commit()
            done(_("The role may do what it may do everywhere."))
    return redirect(url_for(".index"))


def _changed() -> dict[str, dict[str, bool]]:
    return changed_permissions(context.db(), context.staff().operator_id, ROLES)


def _digest(changed: dict[str, dict[str, bool]]) -> str:
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:16]
