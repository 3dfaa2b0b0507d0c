"""Webhooks: which addresses are told of what, what they answered, and sending it again."""

import json
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Select, func, select
from wtforms import BooleanField, SelectMultipleField

from crm.problems import Invalid
from crm.webhooks import (
    EVENTS,
    EVERYTHING,
    KEPT,
    TEST,
    EndpointTerms,
    add_endpoint,
    body_of,
    change_endpoint,
    delete_endpoint,
    host_of,
    replace_secret,
    replay,
    replay_failed,
    reveal_secret,
    send_test,
    switch_endpoint,
)
from db.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")

SINCE = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "all": KEPT}

TABLE = Table(
    name="webhook-deliveries",
    title=_l("Deliveries"),
    columns=(
        Column("at", _l("When"), lambda row: row.WebhookDelivery.created_at, WebhookDelivery.id),
        Column("event", _l("Event"), lambda row: row.event),
        Column("state", _l("State"), lambda row: label("delivery_state", row.WebhookDelivery.state)),
        Column("attempts", _l("Attempts"), lambda row: row.WebhookDelivery.attempts, numeric=True, wide=True),
        Column("answer", _l("Answer"), lambda row: row.WebhookDelivery.status or row.WebhookDelivery.error),
        Column("key", _l("Id"), lambda row: row.key, exported_only=True),
    ),
    order="-at",
    tie=WebhookDelivery.id,
    filters=(
        Filter(
            "state", _l("Any state"), lambda: choices("delivery_state"), lambda value: WebhookDelivery.state == value
        ),
        Filter(
            "event", _l("Any event"), lambda: [(name, name) for name in (*EVENTS, TEST)],
            lambda value: WebhookEvent.event == value,
        ),
    ),
    search=lambda words: WebhookEvent.key.startswith(words, autoescape=True),
    search_hint=_l("Id of the event"),
)  # fmt: skip


class EndpointForm(forms.Form):
    address = forms.text(_l("Address"), required=True)
    notes = forms.text(_l("What it is for"))
    everything = BooleanField(_l("Every event, also those of later versions"))
    events = SelectMultipleField(_l("Events"))

    def terms(self) -> EndpointTerms:
        wanted = (EVERYTHING,) if self.everything.data else tuple(self.events.data or ())
        return EndpointTerms(self.address.data or "", wanted, self.notes.data or "")


class ReplayForm(forms.Form):
    since = forms.choice(_l("Failed in the last"), choices=[
        Option("hour", _l("hour")), Option("day", _l("24 hours")), Option("week", _l("7 days")),
        Option("all", _l("30 days")),
    ])  # fmt: skip


@blueprint.get("/")
@requires(Permission.WEBHOOKS)
def index() -> ResponseReturnValue:
    session = context.db()
    lately = (
        select(WebhookDelivery.endpoint_id, WebhookDelivery.state, func.count())
        .where(WebhookDelivery.created_at > context.now() - timedelta(days=1))
        .group_by(WebhookDelivery.endpoint_id, WebhookDelivery.state)
    )
    counts: dict[int, dict[str, int]] = {}
    for endpoint_id, state, count in session.execute(lately):
        counts.setdefault(endpoint_id, {})[state] = count
    endpoints = session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.id)).all()
    return render_template(
        "staff/webhooks/index.html", endpoints=endpoints, counts=counts, state_of=state_of, host_of=host_of
    )


@blueprint.get("/events")
@requires(Permission.WEBHOOKS)
def events() -> ResponseReturnValue:
    """What each event means and looks like."""
    shown = [(name, _(event.title), _pretty(dict(event.example))) for name, event in EVENTS.items()]
    return render_template("staff/webhooks/events.html", events=shown)


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.WEBHOOKS)
def new() -> ResponseReturnValue:
    form = _form(EndpointForm())
    if request.method == "POST" and form.validate():
        try:
            endpoint, secret = add_endpoint(
                context.db(), context.actor(), context.keyring(), context.portal().settings, form.terms()
            )
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            # Rendered and not redirected to: the secret stands on this page alone, in no cookie and no address.
            return _page(endpoint, secret)
    return _form_page(form, None)


@blueprint.route("/<int:endpoint_id>/edit", methods=["GET", "POST"])
@requires(Permission.WEBHOOKS)
def edit(endpoint_id: int) -> ResponseReturnValue:
    endpoint = _endpoint(endpoint_id)
    kept = {"address": endpoint.url, "notes": endpoint.notes, "everything": EVERYTHING in endpoint.events}
    form = _form(EndpointForm(data={**kept, "events": list(endpoint.events)}))
    if request.method == "POST" and form.validate():
        try:
            change_endpoint(context.db(), context.actor(), context.portal().settings, endpoint, form.terms())
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved."))
            return redirect(url_for(".page", endpoint_id=endpoint_id))
    return _form_page(form, endpoint)


@blueprint.get("/<int:endpoint_id>")
@requires(Permission.WEBHOOKS)
def page(endpoint_id: int) -> ResponseReturnValue:
    """An endpoint and what it was told; the list of deliveries can be searched, filtered and exported."""
    return _page(_endpoint(endpoint_id), None)


@blueprint.post("/<int:endpoint_id>/secret")
@requires(Permission.WEBHOOKS)
def show_secret(endpoint_id: int) -> ResponseReturnValue:
    endpoint = _endpoint(endpoint_id)
    secret = reveal_secret(context.db(), context.actor(), context.keyring(), endpoint)
    context.db().commit()
    return _page(endpoint, secret)


@blueprint.post("/<int:endpoint_id>/new-secret")
@requires(Permission.WEBHOOKS)
def new_secret(endpoint_id: int) -> ResponseReturnValue:
    endpoint = _endpoint(endpoint_id)
    secret = replace_secret(context.db(), context.actor(), context.keyring(), endpoint, context.now())
    context.db().commit()
    return _page(endpoint, secret)


@blueprint.post("/<int:endpoint_id>/test")
@requires(Permission.WEBHOOKS)
def test(endpoint_id: int) -> ResponseReturnValue:
    delivery = send_test(context.db(), context.actor(), _endpoint(endpoint_id))
    context.db().commit()
    return redirect(url_for(".delivery", delivery_id=delivery.id))


@blueprint.post("/<int:endpoint_id>/switch")
@requires(Permission.WEBHOOKS)
def switch(endpoint_id: int) -> ResponseReturnValue:
    endpoint = _endpoint(endpoint_id)
    switch_endpoint(context.db(), context.actor(), endpoint, on=not endpoint.active, now=context.now())
    context.db().commit()
    done(_("It is told again from now on.") if endpoint.active else _("It is told nothing any more."))
    return redirect(url_for(".page", endpoint_id=endpoint_id))


@blueprint.post("/<int:endpoint_id>/replay")
@requires(Permission.WEBHOOKS)
def replay_all(endpoint_id: int) -> ResponseReturnValue:
    form = ReplayForm()
    if not form.validate():
        abort(400)
    since = context.now() - SINCE[form.since.data]
    count = replay_failed(context.db(), context.actor(), _endpoint(endpoint_id), since, context.now())
    context.db().commit()
    if count:
        done(_("%(count)s are sent again.", count=count))
    else:
        refuse(_("Nothing failed in this time."))
    return redirect(url_for(".page", endpoint_id=endpoint_id))


@blueprint.post("/<int:endpoint_id>/delete")
@requires(Permission.WEBHOOKS)
def delete(endpoint_id: int) -> ResponseReturnValue:
    delete_endpoint(context.db(), context.actor(), _endpoint(endpoint_id))
    context.db().commit()
    done(_("The webhook is deleted, and its log with it."))
    return redirect(url_for(".index"))


@blueprint.get("/deliveries/<int:delivery_id>")
@requires(Permission.WEBHOOKS)
def delivery(delivery_id: int) -> ResponseReturnValue:
    one = context.db().get(WebhookDelivery, delivery_id) or abort(404)
    event = context.db().get_one(WebhookEvent, one.event_id)
    return render_template(
        "staff/webhooks/delivery.html", one=one, event=event, endpoint=_endpoint(one.endpoint_id), host_of=host_of,
        body=_pretty(json.loads(body_of(event))),
        tries=[(datetime.fromisoformat(each["at"]), each) for each in reversed(one.tries)],
    )  # fmt: skip


@blueprint.post("/deliveries/<int:delivery_id>/replay")
@requires(Permission.WEBHOOKS)
def replay_one(delivery_id: int) -> ResponseReturnValue:
    one = context.db().get(WebhookDelivery, delivery_id) or abort(404)
    again = replay(context.db(), context.actor(), one, context.now())
    context.db().commit()
    if again:
        done(_("It is sent again, under the same id."))
    else:
        refuse(_("It is on its way already."))
    return redirect(url_for(".delivery", delivery_id=delivery_id))


def state_of(endpoint: WebhookEndpoint) -> str:
    """Return how an endpoint is, for its badge."""
    if not endpoint.active:
        return "off"
    return "failing" if endpoint.failures else "well"


def _endpoint(endpoint_id: int) -> WebhookEndpoint:
    return context.db().get(WebhookEndpoint, endpoint_id) or abort(404)


def _form(form: EndpointForm) -> EndpointForm:
    form.events.choices = [Option(name, _(event.title)) for name, event in EVENTS.items()]
    return form


def _form_page(form: EndpointForm, endpoint: WebhookEndpoint | None) -> ResponseReturnValue:
    page = render_template(
        "staff/webhooks/form.html", form=form, endpoint=endpoint,
        events=[(name, _(event.title)) for name, event in EVENTS.items()],
    )  # fmt: skip
    return page, 422 if form.errors else 200


def _page(endpoint: WebhookEndpoint, secret: str | None) -> ResponseReturnValue:
    query: Select[WebhookDelivery, str, str] = (
        select(WebhookDelivery, WebhookEvent.event, WebhookEvent.key)
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.endpoint_id == endpoint.id)
    )
    return show(
        context.db(), TABLE, query, "staff/webhooks/page.html", endpoint=endpoint, secret=secret,
        replay_form=ReplayForm(since="day"), state_of=state_of, host_of=host_of,
        old_valid=endpoint.previous_until is not None and endpoint.previous_until > context.now(),
    )  # fmt: skip


def _pretty(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2)
