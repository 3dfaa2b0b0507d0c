"""Removed subscribers: who can still come back and until when, bringing one back, and what keeps one from it."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from core.i18n import N_
from crm.problems import Invalid
from crm.undelete import NotBroughtBack, bring_back, remove_subscriber
from db.models import Service, Subscriber, SubscriberRemoval
from portal import context
from portal.errors import problem_text
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import BY_NAME
from portal.tables import Column, Table, show

blueprint = Blueprint("removed", __name__)

TROUBLE = {
    "services": N_("a service is not ended"),
    "debt": N_("something is owed"),
    "hold": N_("a legal hold stands"),
}

TABLE = Table(
    name="removed",
    title=_l("Removed subscribers"),
    columns=(
        Column("name", _l("Name"), lambda row: row.Subscriber.name, BY_NAME),
        Column("removed", _l("Removed"), lambda row: row.SubscriberRemoval.removed_at, SubscriberRemoval.removed_at),
        Column("by", _l("By"), lambda row: row.SubscriberRemoval.author, wide=True),
        Column("reason", _l("Why"), lambda row: row.SubscriberRemoval.reason, wide=True),
        Column("until", _l("Can come back until"), lambda row: row.SubscriberRemoval.erase_at,
               SubscriberRemoval.erase_at),
    ),
    order="-removed",
    tie=Subscriber.id,
    search=lambda words: func.strpos(Subscriber.search_text, func.portico_fold(words)) > 0,
    search_hint=_l("Name, phone, e-mail, address"),
)  # fmt: skip


def _removed() -> Any:
    return (
        select(SubscriberRemoval, Subscriber)
        .join(Subscriber, Subscriber.id == SubscriberRemoval.subscriber_id)
        .where(SubscriberRemoval.erased_at.is_(None))
    )


@blueprint.get("/subscribers/removed")
@requires(Permission.SUBSCRIBERS_REMOVE)
def index() -> ResponseReturnValue:
    return show(
        context.db(), TABLE, _removed(), "staff/removed/index.html",
        trouble={name: _(words) for name, words in TROUBLE.items()},
    )  # fmt: skip


@blueprint.get("/subscribers/removed/<int:subscriber_id>")
@requires(Permission.SUBSCRIBERS_VIEW)
def page(subscriber_id: int) -> ResponseReturnValue:
    """Where links to somebody who was removed lead, from an invoice or a ticket."""
    return _show(subscriber_id)


@blueprint.post("/subscribers/<int:subscriber_id>/remove")
@requires(Permission.SUBSCRIBERS_REMOVE)
def remove(subscriber_id: int) -> ResponseReturnValue:
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)
    try:
        remove_subscriber(session, context.actor(), subscriber, request.form.get("reason", ""), context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        return redirect(url_for("records.page", subscriber_id=subscriber_id))
    session.commit()
    done(
        _("%(name)s is removed and can come back for 30 days.", name=subscriber.name),
        undo=url_for("removed.come_back", subscriber_id=subscriber_id),
    )
    return redirect(url_for("subscribers.index"))


@blueprint.post("/subscribers/removed/<int:subscriber_id>/bring-back")
@requires(Permission.SUBSCRIBERS_REMOVE)
def come_back(subscriber_id: int) -> ResponseReturnValue:
    session = context.db()
    removal = session.get(SubscriberRemoval, subscriber_id) or abort(404)
    try:
        subscriber = bring_back(session, context.actor(), removal)
    except NotBroughtBack as problem:
        session.rollback()
        taken = [(each.service, problem_text(each.problem)) for each in problem.taken]
        return _show(subscriber_id, taken=taken), 409
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        return redirect(url_for(".page", subscriber_id=subscriber_id))
    session.commit()
    done(_("%(name)s is back, and each service is as it was.", name=subscriber.name))
    return redirect(url_for("subscribers.page", subscriber_id=subscriber_id))


def _show(subscriber_id: int, taken: list[tuple[str, str]] | None = None) -> str:
    session = context.db()
    found = session.execute(
        select(SubscriberRemoval, Subscriber)
        .join(Subscriber, Subscriber.id == SubscriberRemoval.subscriber_id)
        .where(Subscriber.id == subscriber_id)
    ).one_or_none()
    if found is None:
        abort(404)
    removal, subscriber = found
    states = {kept["id"]: kept["state"] for kept in removal.services}
    services = session.scalars(select(Service).where(Service.id.in_(list(states))).order_by(Service.id)).all()
    return render_template(
        "staff/removed/page.html",
        subscriber=subscriber,
        removal=removal,
        services=services,
        states=states,
        taken=taken or [],
        trouble={name: _(words) for name, words in TROUBLE.items()},
    )
