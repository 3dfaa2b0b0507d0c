"""Watching: all routers at a glance, graphs of one, incidents, alerts and who is told."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Float, cast, func, select
from wtforms import BooleanField, SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget

from core.i18n import LANGUAGES
from crm.notices import Message, checked_address, deliver, shown_address
from crm.problems import Invalid
from db.audit import record
from db.models import Alert, AlertRecipient, Incident, Nas, Notification, Router, RouterState
from network.monitoring.alerts import CONGESTED, KINDS, RECIPIENT_PURPOSE
from portal import context, forms
from portal.errors import put_on_form
from portal.graphs import RANGES, interface_series, router_series
from portal.labels import choices, label
from portal.messages import done
from portal.permissions import Permission, requires
from portal.router_page import router_or_404, router_page
from portal.router_words import cause_title
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("monitoring", __name__)

LATE = timedelta(minutes=5)
"""The monitor has not reported for so long: what the pages show is old."""


def _fact(name: str) -> Any:
    return cast(RouterState.facts[name].astext, Float)


def _value(name: str) -> Any:
    return lambda row: row.RouterState.facts.get(name) if row.RouterState is not None else None


def _statuses() -> Sequence[tuple[str, Any]]:
    return choices("router_status")


GATEWAYS = Table(
    name="gateways",
    columns=(
        Column("name", _l("Router"), lambda row: row.Nas.name, Nas.name),
        Column("status", _l("State"), lambda row: row.status, RouterState.status, words="router_status"),
        Column("cause", _l("Likely cause"), lambda row: cause_title(row.RouterState.cause if row.RouterState else ""),
               exported_only=True),
        Column("since", _l("Since"), lambda row: row.RouterState.status_since if row.RouterState else None,
               RouterState.status_since, wide=True),
        Column("wan_download", _l("WAN down"), _value("wan_download"), _fact("wan_download"), numeric=True),
        Column("wan_upload", _l("WAN up"), _value("wan_upload"), _fact("wan_upload"), numeric=True, wide=True),
        Column("authenticated", _l("Authenticated"), _value("authenticated"), _fact("authenticated"), numeric=True),
        Column("waiting", _l("Waiting"), _value("waiting"), _fact("waiting"), numeric=True, wide=True),
        Column("cpu", _l("CPU"), _value("cpu"), _fact("cpu"), numeric=True, wide=True),
        Column("memory", _l("Memory"), _value("memory"), _fact("memory"), numeric=True, wide=True),
        Column("temperature", _l("°C"), _value("temperature"), _fact("temperature"), numeric=True, wide=True),
    ),
    order="name",
    tie=Nas.id,
    filters=(
        Filter("status", _l("Any state"), _statuses,
               lambda value: func.coalesce(RouterState.status, "unknown") == value),
    ),
    search=lambda words: Nas.name.icontains(words, autoescape=True) | func.host(Nas.address).startswith(words),
    search_hint=_l("Name or address"),
)  # fmt: skip


ALERTS = Table(
    name="alerts",
    title=_l("Alerts"),
    columns=(
        Column("at", _l("Began"), lambda row: row.Alert.opened_at, Alert.opened_at),
        Column("kind", _l("What"), lambda row: label("alert_kind", row.Alert.kind)),
        Column("router", _l("Router"), lambda row: row.name, Nas.name),
        Column("told", _l("Told"), lambda row: row.Alert.told, wide=True),
        Column("closed", _l("Ended"), lambda row: row.Alert.closed_at, Alert.closed_at),
    ),
    order="-at",
    tie=Alert.id,
    filters=(
        Filter("kind", _l("Any kind"), lambda: choices("alert_kind"), lambda value: Alert.kind == value),
        Filter("open", _l("Open and over"), lambda: [("yes", _l("Open")), ("no", _l("Over"))],
               lambda value: Alert.closed_at.is_(None) if value == "yes" else Alert.closed_at.is_not(None)),
    ),
)  # fmt: skip

NOTICES = Table(
    name="notifications",
    columns=(
        Column("at", _l("When"), lambda row: row.created_at, Notification.created_at),
        Column("subject", _l("Subject"), lambda row: row.subject),
        Column("to", _l("To"), lambda row: row.shown_address, wide=True),
        Column("state", _l("State"), lambda row: row.state, Notification.state, words="notification_state"),
        Column("error", _l("Answer"), lambda row: row.error, wide=True),
    ),
    order="-at",
    tie=Notification.id,
    filters=(
        Filter("state", _l("Any state"), lambda: choices("notification_state"),
               lambda value: Notification.state == value),
    ),
)  # fmt: skip


class RecipientForm(forms.Form):
    name = forms.text(_l("Name"), required=True)
    channel = forms.choice(_l("Channel"))
    address = forms.text(_l("Address"))
    language = forms.choice(_l("Language"))
    kinds = SelectMultipleField(_l("Tell of"), widget=ListWidget(prefix_label=False), option_widget=CheckboxInput())
    active = BooleanField(_l("In use"))


def tabs() -> list[tuple[str, str, str, bool]]:
    """Return the tabs of the area as the macro draws them."""
    shown = [
        ("monitoring.index", _("Routers"), "router"),
        ("clients.talkers", _("Top talkers"), "arrows-sort"),
        ("incidents.index", _("Incidents"), "urgent"),
        ("monitoring.alerts", _("Alerts"), "bell"),
        ("monitoring.notices", _("Messages sent"), "mail"),
    ]
    if context.may(Permission.ALERTS_EDIT):
        shown.append(("monitoring.recipients", _("Who is told"), "address-book"))
    return [(title, icon, url_for(endpoint), endpoint == request.endpoint) for endpoint, title, icon in shown]


def state_of(incident: Incident) -> str:
    """Return whether an incident is over, open, to come, or only what the monitor guesses."""
    if incident.closed_at is not None:
        return "over"
    if incident.proposed:
        return "proposed"
    return "to_come" if incident.opened_at > context.now() else "open"


@blueprint.get("/monitoring/")
@requires(Permission.ROUTERS_VIEW)
def index() -> ResponseReturnValue:
    session = context.db()
    status = func.coalesce(RouterState.status, "unknown").label("status")
    query = (
        select(Router, Nas, RouterState, status)
        .join(Nas, Nas.id == Router.nas_id)
        .outerjoin(RouterState, RouterState.nas_id == Router.nas_id)
    )
    counts = dict.fromkeys(("online", "offline", "unknown"), 0)
    for row in session.execute(
        select(status, func.count().label("number"))
        .select_from(Router)
        .outerjoin(RouterState, RouterState.nas_id == Router.nas_id)
        .group_by(status)
    ):
        counts[row.status] = row.number
    open_alerts = session.scalar(select(func.count()).select_from(Alert).where(Alert.closed_at.is_(None))) or 0
    open_incidents = session.scalars(
        select(Incident)
        .where(Incident.closed_at.is_(None))
        .order_by(Incident.planned, Incident.opened_at.desc())  # what nobody planned first
        .limit(5)
    ).all()
    checked = session.scalar(select(func.max(RouterState.checked_at)))
    return show(
        session,
        GATEWAYS,
        query,
        "staff/monitoring/index.html",
        tabs=tabs(),
        counts=counts,
        open_alerts=open_alerts,
        open_incidents=open_incidents,
        state_of=state_of,
        late=checked is not None and context.now() - checked > LATE,
        checked=checked,
        congested=CONGESTED,
    )


@blueprint.get("/monitoring/routers/<int:nas_id>")
@requires(Permission.ROUTERS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    """State and graphs of one router; `range` and `interface` in the URL."""
    found = router_or_404(nas_id)
    session = context.db()
    shown = RANGES.get(request.args.get("range", ""), RANGES["6h"])
    interval = timedelta(seconds=context.portal().settings.monitor_interval)
    points = router_series(session, nas_id, shown, context.now(), interval)
    state = session.get(RouterState, nas_id)
    names = sorted(state.facts.get("interfaces", {})) if state is not None else []
    interface = request.args.get("interface", found.wan_interface or "")
    if interface not in names:
        interface = ""
    wan = interface == (found.wan_interface or "") and bool(interface)
    traffic = points
    if interface and not wan:
        traffic = interface_series(session, nas_id, interface, shown, context.now(), interval)
    polls = sum(point["polls"] or 0 for point in points)
    answered = sum(point["answered"] or 0 for point in points)
    return router_page(
        "staff/monitoring/router.html",
        found,
        shown=shown,
        ranges=RANGES,
        points=points,
        traffic=traffic,
        interface=interface,
        interfaces=names,
        wan=wan,
        lines=_lines(found) if wan else "",
        availability=100 * answered / polls if polls else None,
        alerts=session.scalars(select(Alert).where(Alert.nas_id == nas_id, Alert.closed_at.is_(None))).all(),
    )


def _lines(found: Router) -> str:
    """Return the levels that the WAN graph marks, as its script reads them: Mbit/s, colour and text of each."""
    capacity = max(found.wan_download or 0, found.wan_upload or 0) / 1e6
    if not capacity:
        return ""
    full = _("Capacity")
    nearly = _("Nearly full (%(percent)s %%)", percent=round(CONGESTED * 100))
    return f"{capacity:g},#626976,{full};{capacity * CONGESTED:g},#f76707,{nearly}"


@blueprint.get("/monitoring/alerts")
@requires(Permission.ROUTERS_VIEW)
def alerts() -> ResponseReturnValue:
    query = select(Alert, Nas.name.label("name")).join(Nas, Nas.id == Alert.nas_id)
    return show(context.db(), ALERTS, query, "staff/monitoring/alerts.html", tabs=tabs())


@blueprint.get("/monitoring/notices")
@requires(Permission.ROUTERS_VIEW)
def notices() -> ResponseReturnValue:
    query = select(Notification).where(Notification.kind.in_((*KINDS, "test")))
    return show(context.db(), NOTICES, query, "staff/monitoring/notices.html", tabs=tabs())


# Who is told.


@blueprint.get("/monitoring/recipients")
@requires(Permission.ALERTS_EDIT)
def recipients() -> ResponseReturnValue:
    rows = context.db().scalars(select(AlertRecipient).order_by(AlertRecipient.name)).all()
    shown = [(row, shown_address(row.channel, _address(row))) for row in rows]
    return render_template(
        "staff/monitoring/recipients.html",
        tabs=tabs(),
        recipients=shown,
        mail=context.portal().settings.smtp_host is not None,
    )


@blueprint.get("/monitoring/recipients/new")
@requires(Permission.ALERTS_EDIT)
def new_recipient() -> ResponseReturnValue:
    form = _with_choices(RecipientForm(channel="email", language=context.operator().locale[:2], active=True))
    form.kinds.data = list(KINDS)
    return render_template("staff/monitoring/recipient.html", form=form, recipient=None)


@blueprint.post("/monitoring/recipients/new")
@requires(Permission.ALERTS_EDIT)
def create_recipient() -> ResponseReturnValue:
    return _save_recipient(None)


@blueprint.get("/monitoring/recipients/<int:recipient_id>")
@requires(Permission.ALERTS_EDIT)
def edit_recipient(recipient_id: int) -> ResponseReturnValue:
    found = _recipient(recipient_id)
    form = _with_choices(RecipientForm(obj=found))
    # The address of a channel holds its password and is not sent back to a browser.
    form.address.data = _address(found) if found.channel == "email" else ""
    return render_template("staff/monitoring/recipient.html", form=form, recipient=found)


@blueprint.post("/monitoring/recipients/<int:recipient_id>")
@requires(Permission.ALERTS_EDIT)
def change_recipient(recipient_id: int) -> ResponseReturnValue:
    return _save_recipient(_recipient(recipient_id))


@blueprint.post("/monitoring/recipients/<int:recipient_id>/delete")
@requires(Permission.ALERTS_EDIT)
def delete_recipient(recipient_id: int) -> ResponseReturnValue:
    found = _recipient(recipient_id)
    session = context.db()
    record(session, context.actor(), "recipient.delete", "alert_recipient", found.id, _audited(found), None)
    session.delete(found)
    session.commit()
    done(_("%(name)s is no longer told.", name=found.name))
    return redirect(url_for("monitoring.recipients"))


@blueprint.post("/monitoring/recipients/<int:recipient_id>/test")
@requires(Permission.ALERTS_EDIT)
def try_recipient(recipient_id: int) -> ResponseReturnValue:
    """Send one message, so that somebody sees that it arrives before it has to."""
    found = _recipient(recipient_id)
    session = context.db()
    message = Message(
        "test",
        found.channel,
        _address(found),
        found.language,
        _("Portico can reach you here"),
        _("%(staff)s of %(company)s tried out whether alerts arrive. There is nothing to do.",
          staff=context.staff().name, company=context.operator().name),
    )  # fmt: skip
    deliver(session, context.keyring(), found.operator_id, [message])
    session.commit()
    done(_("A message to %(name)s is on its way; see under Messages sent.", name=found.name))
    return redirect(url_for("monitoring.notices"))


def _save_recipient(found: AlertRecipient | None) -> ResponseReturnValue:
    form = _with_choices(RecipientForm())
    session = context.db()
    if form.validate_on_submit():
        address = form.address.data or ""
        try:
            kept = found is not None and not address and form.channel.data == found.channel
            address = _address(found) if found is not None and kept else checked_address(form.channel.data, address)
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            before = _audited(found) if found is not None else None
            if found is None:
                found = AlertRecipient(operator_id=context.operator().id)
                session.add(found)
            if not kept:
                found.address = context.keyring().seal(RECIPIENT_PURPOSE, address)
            found.name, found.channel = form.name.data or "", form.channel.data
            found.language, found.kinds, found.active = form.language.data, form.kinds.data or [], form.active.data
            session.flush()
            action = "recipient.create" if before is None else "recipient.change"
            after = _audited(found) | ({} if kept or before is None else {"address": "changed"})
            record(session, context.actor(), action, "alert_recipient", found.id, before, after)
            session.commit()
            done(_("%(name)s is saved.", name=found.name))
            return redirect(url_for("monitoring.recipients"))
    return render_template("staff/monitoring/recipient.html", form=form, recipient=found), 422


def _recipient(recipient_id: int) -> AlertRecipient:
    return context.db().get(AlertRecipient, recipient_id) or abort(404)


def _address(found: AlertRecipient) -> str:
    return context.keyring().open(RECIPIENT_PURPOSE, found.address)


def _audited(found: AlertRecipient) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("name", "channel", "language", "kinds", "active")}


def _with_choices(form: RecipientForm) -> RecipientForm:
    form.channel.choices = choices("notice_channel")
    form.language.choices = list(LANGUAGES.items())
    form.kinds.choices = [(kind, label("alert_kind", kind)) for kind in KINDS]
    return form
