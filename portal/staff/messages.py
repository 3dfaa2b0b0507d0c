"""Messages: what was sent to whom and what became of it; sending again, and by hand; one subscriber's own."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget

from billing.ladder import message_link
from core.i18n import N_
from crm.message_events import EVENTS
from crm.message_settings import Wishes, change_wishes, wishes_of
from crm.messages import Voice
from crm.notices import ADDRESS_PURPOSE, send_again, sent_by_hand
from crm.problems import Invalid
from db.audit import record
from db.models import Notification, Subscriber
from db.models.message import CHANNELS
from portal import context, forms
from portal.errors import put_on_form
from portal.home_tiles import Figure, Figures, tile
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import find, live_sessions, services_of
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("messages", __name__)

_KINDS = {
    "broadcast": _l("Broadcast"),
    "reminder": _l("Reminder to pay"),
    "document.invoice": _l("Invoice by e-mail"),
    "document.receipt": _l("Receipt by e-mail"),
    "document.credit_note": _l("Credit note by e-mail"),
    "test": _l("Test"),
}


def kind_text(kind: str) -> str:
    """Return what a message is about, in the reader's language."""
    if kind in EVENTS:
        return str(_(EVENTS[kind].title))
    return str(_KINDS.get(kind) or label("alert_kind", kind))


TABLE = Table(
    name="messages",
    columns=(
        Column("at", _l("When"), lambda row: row.Notification.created_at, Notification.created_at, wide=True),
        Column("what", _l("Message"), lambda row: row.Notification.subject),
        Column("kind", _l("About"), lambda row: kind_text(row.Notification.kind), wide=True),
        Column("to", _l("To"), lambda row: row.name or row.Notification.shown_address),
        Column("address", _l("Address"), lambda row: row.Notification.shown_address, exported_only=True),
        Column("state", _l("State"), lambda row: label("notification_state", row.Notification.state)),
        Column("error", _l("Why"), lambda row: row.Notification.error, wide=True),
    ),
    order="-at",
    tie=Notification.id,
    filters=(
        Filter(
            "state", _l("Any state"), lambda: choices("notification_state"), lambda value: Notification.state == value
        ),
        Filter(
            "channel", _l("Any channel"), lambda: choices("message_channel"),
            lambda value: Notification.channel == value,
        ),
        Filter(
            "kind", _l("About anything"),
            lambda: [*((key, kind_text(key)) for key in EVENTS), *((key, str(text)) for key, text in _KINDS.items())],
            lambda value: Notification.kind == value,
        ),
        Filter(
            "broadcast", _l("Any broadcast"), lambda: _number("broadcast"),
            lambda value: Notification.broadcast_id == int(value),
        ),
        Filter(
            "incident", _l("Any incident"), lambda: _number("incident"),
            lambda value: Notification.incident_id == int(value),
        ),
    ),
    search=lambda words: Notification.shown_address.icontains(words, autoescape=True)
    | Notification.subject.icontains(words, autoescape=True)
    | Subscriber.name.icontains(words, autoescape=True),
    search_hint=_l("Name, address or subject"),
)  # fmt: skip


def _number(key: str) -> list[tuple[str, str]]:
    """Return the one broadcast or incident that the URL names: pages of these lead here."""
    value = request.args.get(key, "")
    return [(value, f"№ {value}")] if value.isascii() and value.isdigit() and len(value) < 18 else []


@blueprint.get("/messages/")
@requires(Permission.MESSAGES_VIEW)
def index() -> ResponseReturnValue:
    query = select(Notification, Subscriber.name).outerjoin(Subscriber, Subscriber.id == Notification.subscriber_id)
    waiting = select(func.count()).where(Notification.state == "by_hand")
    return show(
        context.db(), TABLE, query, "staff/messages/index.html", kind_text=kind_text,
        by_hand=context.db().scalar(waiting) or 0, mail=context.portal().settings.smtp_host is not None,
    )  # fmt: skip


@blueprint.get("/messages/by-hand")
@requires(Permission.MESSAGES_SEND)
def by_hand() -> ResponseReturnValue:
    """Messages that a person sends from their own WhatsApp, the oldest first."""
    rows = context.db().execute(
        select(Notification, Subscriber.name)
        .outerjoin(Subscriber, Subscriber.id == Notification.subscriber_id)
        .where(Notification.state == "by_hand")
        .order_by(Notification.created_at, Notification.id)
        .limit(100)
    )
    shown = []
    for row in rows:
        phone = context.keyring().open(ADDRESS_PURPOSE, row.Notification.address)
        shown.append((row.Notification, row.name, message_link("whatsapp", phone, row.Notification.body)))
    return render_template("staff/messages/by_hand.html", messages=shown, kind_text=kind_text)


@blueprint.post("/messages/<int:number>/sent")
@requires(Permission.MESSAGES_SEND)
def mark_sent(number: int) -> ResponseReturnValue:
    found = _message(number)
    if not sent_by_hand(context.db(), found, context.staff().id, context.now()):
        refuse(_("Somebody sent this message already."))
    context.db().commit()
    return redirect(url_for(".by_hand"))


@blueprint.post("/messages/<int:number>/again")
@requires(Permission.MESSAGES_SEND)
def again(number: int) -> ResponseReturnValue:
    """Try a message once more that was given up."""
    found, session = _message(number), context.db()
    if send_again(session, found, context.staff().id, context.now()):
        record(session, context.actor(), "message.again", "notification", found.id, None, {"to": found.shown_address})
        session.commit()
        done(_("The message to %(address)s is on its way again.", address=found.shown_address))
    else:
        refuse(_("This message has gone out already."))
    back = request.form.get("next", "")
    return redirect(back if back.startswith(("/messages/", "/subscribers/")) else url_for(".index"))


# One subscriber.


class WishesForm(forms.Form):
    channels = SelectMultipleField(
        _l("Tell by"), widget=ListWidget(prefix_label=False), option_widget=CheckboxInput()
    )  # fmt: skip
    telegram_chat = forms.text(_l("Telegram chat"))
    news = BooleanField(_l("Also what is not about the account, such as offers"))


@blueprint.route("/subscribers/<int:subscriber_id>/messages", methods=["GET", "POST"])
@requires(Permission.MESSAGES_VIEW)
def subscriber(subscriber_id: int) -> ResponseReturnValue:
    """What a subscriber was told, and what they want to be told."""
    person, session = find(subscriber_id), context.db()
    wishes = wishes_of(session, person)
    form = WishesForm(data={name: getattr(wishes, name) for name in Wishes.__slots__})
    form.channels.choices = [(each, label("message_channel", each)) for each in CHANNELS]
    if request.method == "POST":
        if not context.may(Permission.SUBSCRIBERS_EDIT):
            abort(403)
        if form.validate():
            entered = Wishes(tuple(form.channels.data or ()), form.telegram_chat.data or "", form.news.data)
            try:
                change_wishes(session, context.actor(), person, entered, context.now())
            except Invalid as invalid:
                session.rollback()
                put_on_form(form, invalid)
            else:
                session.commit()
                done(_("Saved."))
                return redirect(url_for(".subscriber", subscriber_id=subscriber_id))
        person = find(subscriber_id)
    services = services_of(person)
    rows = session.scalars(
        select(Notification)
        .where(Notification.subscriber_id == person.id)
        .order_by(Notification.created_at.desc(), Notification.id.desc())
        .limit(100)
    ).all()
    order = Voice(session, context.keyring(), person.operator_id).channels.order
    page: Any = render_template(
        "staff/messages/subscriber.html", subscriber=person, services=services, live=live_sessions(services),
        messages=rows, form=form, kind_text=kind_text,
        in_use=", ".join(label("message_channel", each) for each in order),
    )  # fmt: skip
    return page, 422 if form.errors else 200


def _message(number: int) -> Notification:
    return context.db().get(Notification, number) or abort(404)


@tile("messages", N_("Messages"), ("support", "manager"), Permission.MESSAGES_SEND, order=70)
def messages_tile() -> Figures | None:
    """What of messages waits for a person."""
    session, figures = context.db(), []
    waiting = session.scalar(select(func.count()).where(Notification.state == "by_hand"))
    if waiting:
        figures.append(
            Figure(str(waiting), _("messages to send by hand"), "hand-stop", url_for("messages.by_hand"))
        )  # fmt: skip
    failed = session.scalar(
        select(func.count()).where(
            Notification.state == "failed", Notification.created_at > context.now() - timedelta(days=1)
        )
    )
    if failed:
        url = url_for("messages.index", state="failed")
        figures.append(Figure(str(failed), _("messages failed since yesterday"), "mail-off", url, alarming=True))
    return Figures(figures) if figures else None
