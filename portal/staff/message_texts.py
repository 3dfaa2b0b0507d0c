"""What messages say, per event, channel and language, with a preview for a real subscriber; and the channels."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, HiddenField, SelectMultipleField, TimeField
from wtforms.validators import Optional
from wtforms.widgets import CheckboxInput, ListWidget

from core.i18n import LANGUAGES
from crm.message_events import EVENTS, Event
from crm.message_settings import (
    SECRETS,
    SMS_KINDS,
    ChannelTerms,
    change_channels,
    change_words,
    changed_texts,
    check_words,
    mark_of,
    restore_words,
    terms_of_channels,
    words_as_kept,
)
from crm.messages import Voice
from crm.notices import EMAIL, Message, deliver
from crm.problems import ChangedMeanwhile, Invalid
from crm.texts import Words
from db.models import MessageSettings, Subscriber
from db.models.message import CHANNELS
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.labels import label
from portal.messages import done
from portal.permissions import Permission, requires
from portal.tables import matching

blueprint = Blueprint("message_texts", __name__, url_prefix="/message-texts")


class WordsForm(forms.Form):
    subject = forms.text(_l("Subject"))
    body = forms.long_text(_l("Text"))
    version = HiddenField()  # the mark of the words that were shown

    def words(self) -> Words:
        return Words(self.subject.data or "", (self.body.data or "").replace("\r\n", "\n"))


class ChannelsForm(forms.Form):
    channels = SelectMultipleField(_l("In use"), widget=ListWidget(prefix_label=False), option_widget=CheckboxInput())
    dial_prefix = forms.text(_l("Country code of phone numbers"))
    quiet_from = TimeField(_l("Quiet from"), [Optional()])
    quiet_until = TimeField(_l("until"), [Optional()])
    sms_kind = forms.choice(_l("SMS go by"))
    sms_url = forms.text(_l("Address of the gateway"))
    sms_body = forms.long_text(_l("What is posted"))
    sms_header = forms.text(_l("Name of the header with the secret"))
    sms_secret = forms.password(_l("Secret"))
    whatsapp_phone = forms.text(_l("Id of the phone number"))
    whatsapp_token = forms.password(_l("Access token"))
    whatsapp_template = forms.text(_l("Name of the template"))
    telegram_url = forms.text(_l("Bot"))
    incident_tell = BooleanField(_l("Tell subscribers of outages without being asked"))
    incident_delay = forms.whole_number(_l("After so many minutes"), required=True)
    incident_least = forms.whole_number(_l("From so many subscribers on"), required=True)
    version = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.channels.choices = [Option(each, label("message_channel", each)) for each in CHANNELS]
        self.sms_kind.choices = [Option(each, label("sms_kind", each)) for each in SMS_KINDS]

    def terms(self) -> ChannelTerms:
        values = {name: getattr(self, name).data for name in ChannelTerms.__slots__}
        for name in ("dial_prefix", "sms_body", "sms_header", "whatsapp_phone", "whatsapp_template"):
            values[name] = values[name] or ""
        for name in SECRETS:  # not sent to the browser: nothing entered keeps what is there
            values[name] = "" if f"forget_{name}" in request.form else values[name] or None
        wanted = values["channels"] or []
        values["channels"] = tuple(each for each in CHANNELS if each in wanted)
        return ChannelTerms(**values)


def kinds_of_text() -> list[tuple[str, Event]]:
    """Return the events in the order of their titles."""
    return sorted(EVENTS.items(), key=lambda each: (each[1].audience, str(_(each[1].title))))


def channels_of_event(event: Event) -> tuple[str, ...]:
    return (EMAIL,) if event.audience == "staff" else CHANNELS


@blueprint.get("/")
@requires(Permission.MESSAGES_EDIT)
def index() -> ResponseReturnValue:
    return render_template(
        "staff/message_texts/index.html", events=kinds_of_text(), channels_of=channels_of_event,
        changed=changed_texts(context.db(), context.operator().id), tabs=tabs(),
    )  # fmt: skip


def tabs() -> list[tuple[str, str, str, bool]]:
    shown = [("message_texts.index", _("Texts"), "message-language"), ("message_texts.channels", _("Channels"), "send")]
    return [(title, icon, url_for(endpoint), endpoint == request.endpoint) for endpoint, title, icon in shown]


@blueprint.route("/<event>/<channel>/<language>", methods=["GET", "POST"])
@requires(Permission.MESSAGES_EDIT)
def words(event: str, channel: str, language: str) -> ResponseReturnValue:
    """Write what an event says. The button that was pressed says whether to look at it, try it out, or keep it."""
    known = EVENTS.get(event)
    if known is None or language not in LANGUAGES or channel not in channels_of_event(known):
        abort(404)
    session, operator_id = context.db(), context.operator().id
    kept, own = words_as_kept(session, operator_id, event, channel, language)
    stored = {"subject": kept.subject, "body": kept.body, "version": mark_of(kept)}
    form = WordsForm(data=stored)
    step = request.form.get("do", "save")
    entered = form.words() if request.method == "POST" else kept
    shown = theirs = None
    try:
        check_words(entered, known.allowed, subject=channel == EMAIL)
        shown = _preview(event, entered, language)
        if request.method == "POST" and step == "save":
            change_words(session, context.actor(), event, channel, language, entered, form.version.data or "")
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".index"))
        if request.method == "POST" and step == "test":
            subject, body = shown[1], shown[2]
            person = context.staff()
            message = Message("test", EMAIL, person.email, language, subject or _(known.title), body)
            deliver(session, context.keyring(), operator_id, [message])
            session.commit()
            done(_("On its way to %(address)s.", address=person.email))
    except ChangedMeanwhile:
        session.rollback()
        kept, own = words_as_kept(session, operator_id, event, channel, language)
        theirs = forms.unlike(WordsForm(None, data={"subject": kept.subject, "body": kept.body}), form)
        forms.overwriting(form, mark_of(kept))
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
    page = render_template(
        "staff/message_texts/words.html", form=form, event=event, title=_(known.title), channel=channel,
        language=language, own=own, shown=shown, theirs=theirs, subscriber=_subscriber(),
        variables={name: _(text) for name, text in known.allowed.items()}, channels=channels_of_event(known),
    )  # fmt: skip
    return page, 409 if theirs is not None else 422 if form.errors else 200


@blueprint.post("/<event>/<channel>/<language>/restore")
@requires(Permission.MESSAGES_EDIT)
def restore(event: str, channel: str, language: str) -> ResponseReturnValue:
    """Go back to the words that come with Portico."""
    restore_words(context.db(), context.actor(), event, channel, language)
    context.db().commit()
    done(_("The words that come with Portico are back."))
    return redirect(url_for(".words", event=event, channel=channel, language=language))


@blueprint.route("/channels", methods=["GET", "POST"])
@requires(Permission.MESSAGES_EDIT)
def channels() -> ResponseReturnValue:
    session, operator_id = context.db(), context.operator().id
    form, theirs = ChannelsForm(data=_channels_data()), None
    if request.method == "POST" and form.validate():
        try:
            seen = forms.seen_version(form.version)
            change_channels(session, context.portal().settings, context.actor(), form.terms(), seen)
        except ChangedMeanwhile:
            session.rollback()
            data = _channels_data()
            theirs = forms.unlike(ChannelsForm(None, data=data), form)
            forms.overwriting(form, data["version"])
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".channels"))
    kept = session.get(MessageSettings, operator_id)
    page: Any = render_template(
        "staff/message_texts/channels.html", form=form, tabs=tabs(), theirs=theirs,
        kept={name for name in SECRETS if kept is not None and getattr(kept, name) is not None},
        mail=context.portal().settings.smtp_host is not None,
    )  # fmt: skip
    return page, 409 if theirs is not None else 422 if form.errors else 200


def _channels_data() -> dict[str, Any]:
    """Return what the form of the channels is filled with; the secrets stay here."""
    session, operator_id = context.db(), context.operator().id
    terms, kept = terms_of_channels(session, operator_id), session.get(MessageSettings, operator_id)
    shown = {name: getattr(terms, name) for name in ChannelTerms.__slots__ if name not in SECRETS}
    return {**shown, "version": str(kept.version if kept is not None else 0)}


def _subscriber() -> Subscriber | None:
    """Return whom the preview is for: the one that the URL or form names or looks for, or the one entered last."""
    number = request.values.get("subscriber", "").strip()[:200]
    query = select(Subscriber).where(Subscriber.operator_id == context.operator().id)
    if number.isascii() and number.isdigit() and len(number) < 18:
        found = context.db().scalar(query.where(Subscriber.id == int(number)))
        if found is not None:
            return found
    if number:
        wanted = Subscriber.id.in_(matching(func.search_subscribers, number))
        found = context.db().scalar(query.where(wanted).order_by(Subscriber.name, Subscriber.id).limit(1))
        if found is not None:
            return found
    return context.db().scalar(query.order_by(Subscriber.created_at.desc(), Subscriber.id.desc()).limit(1))


def _preview(event: str, words: Words, language: str) -> tuple[str, str, str]:
    """Return for whom it is, subject and text, with examples of what only the event knows."""
    person = _subscriber()
    name = person.name if person else "Ana Ruiz"
    voice = Voice(context.db(), context.keyring(), context.operator().id)
    known = EVENTS[event]
    examples: dict[str, Any] = {variable: f"[{_(text)}]" for variable, text in known.variables.items()}
    examples |= {"began": context.now()} if "began" in known.variables else {}
    subject, body = voice.written(event, words, voice.filled(name, language, examples))
    return name, subject, body
