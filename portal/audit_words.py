"""The audit log in words: who did what, and what a field was and is, with names in the place of ids."""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import Flask, g
from flask_babel import gettext as _
from sqlalchemy import select

from db.models import AuditEntry, Staff
from portal import context
from portal.audit_actions import ACTIONS
from portal.audit_fields import FIELDS, KINDS, NAMED
from portal.formats import local_minute
from portal.labels import label

_OURSELVES = frozenset(
    ("billing", "dunning", "incidents", "monitor", "receipts", "retention", "sign-up", "subscriber logins", "worker")
)
_SUBSCRIBER = " (subscriber)"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")
NO_MAIL = ".invalid"
"""How the addresses end that `crm.accounts` gives to whoever acts with consent."""


def actor_text(actor: str) -> str:
    """Return who did something: a person as the log names them, and Portico where nobody did."""
    if actor in _OURSELVES:
        return str(_("Portico, by itself"))
    if actor.endswith(_SUBSCRIBER):
        return str(_("%(name)s (subscriber)", name=actor.removesuffix(_SUBSCRIBER)))
    return _name_of_who_acts(actor) if actor.endswith(NO_MAIL) else actor


def action_text(action: str) -> str:
    """Return what an audit entry says was done."""
    return _(ACTIONS[action]) if action in ACTIONS else action


def field_text(name: str) -> str:
    """Return what a field is called."""
    return _(FIELDS[name]) if name in FIELDS else name.replace("_", " ")


def value_text(name: str, value: object) -> object:
    """Return the value of a field as people read it: a stored word in the reader's language, a row's name for its id.

    An instant is shown as of the operator's clock. Others are as they are; so is the id of a row that is gone.
    """
    if name in NAMED and isinstance(value, int):
        known = _known_names()
        if (NAMED[name], value) not in known:
            _learn_names(NAMED[name], {value})
        return known.get((NAMED[name], value)) or value
    if name in KINDS and isinstance(value, str) and value:
        return label(KINDS[name], value)
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return local_minute(datetime.fromisoformat(value))
    return value


def load_names(entries: Iterable[AuditEntry]) -> None:
    """Learn the names that some entries need, with a query for each kind of row and not for each entry."""
    wanted: dict[Any, set[int]] = defaultdict(set)
    for entry in entries:
        for name, value in (*(entry.before or {}).items(), *(entry.after or {}).items()):
            if name in NAMED and isinstance(value, int):
                wanted[NAMED[name]].add(value)
    for model, ids in wanted.items():
        _learn_names(model, ids)


def _name_of_who_acts(actor: str) -> str:
    """Return the name of somebody of the platform who acted here with consent: their address says nobody's name."""
    if "acting_names" not in g:
        found = context.db().execute(select(Staff.email, Staff.name).where(Staff.email.endswith(NO_MAIL)))
        g.acting_names = {row.email: row.name for row in found}
    return str(g.acting_names.get(actor, actor))


def _known_names() -> dict[tuple[Any, int], str | None]:
    """Return the names that this request has learnt by now, None for rows that are gone."""
    if "row_names" not in g:
        g.row_names = {}
    found: dict[tuple[Any, int], str | None] = g.row_names
    return found


def _learn_names(model: Any, ids: set[int]) -> None:
    known = _known_names()
    known.update(((model, number), None) for number in ids)
    rows = context.db().execute(select(model.id, model.name).where(model.id.in_(ids)))
    known.update(((model, row.id), row.name) for row in rows)


def install(app: Flask) -> None:
    app.jinja_env.globals.update(
        action_text=action_text,
        actor_text=actor_text,
        field_text=field_text,
        load_names=load_names,
        value_text=value_text,
    )
