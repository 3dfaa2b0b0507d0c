"""Broadcasts: choose whom, write what, see how many it reaches, send it once; and what became of it."""

import secrets
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, HiddenField

from core.i18n import LANGUAGES
from crm.broadcasts import (
    STATES,
    BroadcastTerms,
    Selection,
    check_broadcast,
    preview,
    results_of,
    selected,
    start_broadcast,
    stop_broadcast,
    terms_of_broadcast,
    words_for,
)
from crm.message_events import COMMON
from crm.messages import Voice
from crm.notices import EMAIL, Message, deliver
from crm.problems import Invalid
from crm.texts import Words
from db.models import Broadcast, Job, Nas, Notification, RatePlan, Sector, Site, Staff, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.labels import label
from portal.messages import done, warn
from portal.permissions import Permission, requires
from portal.tables import Column, Table, show

blueprint = Blueprint("broadcasts", __name__, url_prefix="/broadcasts")

_MESSAGES = (
    select(func.count())
    .where(Notification.broadcast_id == Broadcast.id, Notification.state != "dropped")
    .correlate(Broadcast)
    .scalar_subquery()
)
TABLE = Table(
    name="broadcasts",
    columns=(
        Column("at", _l("When"), lambda row: row.Broadcast.created_at, Broadcast.created_at),
        Column("title", _l("Title"), lambda row: row.Broadcast.title, Broadcast.title),
        Column("by", _l("By"), lambda row: row.by or "", wide=True),
        Column("messages", _l("Messages"), lambda row: row.messages, numeric=True),
    ),
    order="-at",
    tie=Broadcast.id,
    search=lambda words: Broadcast.title.icontains(words, autoescape=True),
)


class BroadcastForm(forms.Form):
    title = forms.text(_l("Title, for you"), required=True)
    plan_id = forms.choice(_l("Rate plan"), numeric=True)
    nas_id = forms.choice(_l("Router"), numeric=True)
    sector = forms.text(_l("Port of the router"))
    place = forms.choice(_l("Site or sector"))
    state = forms.choice(_l("State of the service"))
    area = forms.text(_l("Address contains"))
    overdue = BooleanField(_l("Only with an invoice that is overdue"))
    en_subject = forms.text(_l("Subject"))
    en_body = forms.long_text(_l("Text"))
    es_subject = forms.text(_l("Subject"))
    es_body = forms.long_text(_l("Text"))
    about_account = BooleanField(_l("It is about their service: send it to those who unsubscribed too"))
    urgent = BooleanField(_l("Urgent: in quiet hours too, and by every channel"))
    token = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session = context.db()
        plans = session.execute(select(RatePlan.id, RatePlan.name).order_by(RatePlan.name))
        routers = session.execute(select(Nas.id, Nas.name).order_by(Nas.name))
        self.plan_id.choices = [("", _("Any rate plan")), *((row.id, row.name) for row in plans)]
        self.nas_id.choices = [("", _("Any router")), *((row.id, row.name) for row in routers)]
        self.place.choices = [("", _("Any site")), *_places()]
        self.state.choices = [("", _("Any state")), *((each, label("service_state", each)) for each in STATES)]

    def terms(self) -> BroadcastTerms:
        texts = {}
        for language in sorted(LANGUAGES, key=lambda each: each != context.operator().locale[:2]):
            subject, body = self[f"{language}_subject"].data or "", self[f"{language}_body"].data or ""
            if subject or body:
                texts[language] = Words(subject, body.replace("\r\n", "\n"))
        selection = Selection(
            self.plan_id.data, self.nas_id.data, self.sector.data or "", self.state.data, self.overdue.data,
            self.area.data or "", **_place_of(self.place.data),
        )  # fmt: skip
        return BroadcastTerms(self.title.data or "", selection, texts, self.about_account.data, self.urgent.data)


@blueprint.get("/")
@requires(Permission.MESSAGES_SEND)
def index() -> ResponseReturnValue:
    query = select(Broadcast, Staff.name.label("by"), _MESSAGES.label("messages")).outerjoin(
        Staff, Staff.id == Broadcast.staff_id
    )
    return show(context.db(), TABLE, query, "staff/broadcasts/index.html")


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.MESSAGES_SEND)
def new() -> ResponseReturnValue:
    """Write a broadcast; look at whom it reaches; try it out on oneself; send it."""
    session, operator_id = context.db(), context.operator().id
    asked = {
        "nas_id": request.args.get("nas_id", type=int), "plan_id": request.args.get("plan_id", type=int),
        "sector": request.args.get("sector", ""), "place": request.args.get("place", ""),
    }  # fmt: skip
    form = BroadcastForm(data={**asked, "token": secrets.token_hex(16)})
    reach, examples = None, []
    if request.method == "POST" and form.validate():
        terms, step = form.terms(), request.form.get("do", "preview")
        try:
            check_broadcast(session, operator_id, terms)
            reach = preview(session, context.keyring(), operator_id, terms, context.now())
            examples = _examples(terms)
            if step == "test":
                _try_out(terms)
            if step == "send" and _seen() == reach.reached:
                broadcast, first = start_broadcast(session, context.actor(), terms, form.token.data or "")
                session.commit()
                if not first:
                    warn(_("This broadcast was sent already; it is not sent twice."))
                return redirect(url_for(".page", number=broadcast.id))
            if step == "send":
                warn(_("Whom it reaches changed since you looked. Nothing is sent yet."))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
            reach = None
    page: Any = render_template(
        "staff/broadcasts/new.html", form=form, reach=reach, examples=examples, all_languages=LANGUAGES,
        variables={name: _(text) for name, text in COMMON.items()},
    )  # fmt: skip
    return page, 422 if form.errors else 200


def _seen() -> int:
    typed = request.form.get("seen", "")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 10 else -1


def _examples(terms: BroadcastTerms) -> list[tuple[str, str, str]]:
    """Return what a reader of each language gets: name, subject and text, filled in for the first who is meant."""
    session, operator = context.db(), context.operator()
    today = context.now().astimezone(context.zone()).date()
    ids = selected(session, operator.id, terms.selection, today).order_by(Subscriber.id).limit(1)
    person = session.scalar(select(Subscriber).where(Subscriber.id.in_(ids)))
    voice = Voice(session, context.keyring(), operator.id)
    name = person.name if person else "Ana Ruiz"
    return [
        (LANGUAGES[language], *voice.written("broadcast", words, voice.filled(name, language, {})))
        for language, words in terms.texts.items()
    ]


def _try_out(terms: BroadcastTerms) -> None:
    """Send the broadcast to who writes it."""
    session, person = context.db(), context.staff()
    voice = Voice(session, context.keyring(), person.operator_id)
    language = voice.language_of(person)
    subject, body = voice.written("broadcast", words_for(terms, language), voice.filled(person.name, language, {}))
    deliver(session, context.keyring(), person.operator_id, [
        Message("test", EMAIL, person.email, language, subject, body)
    ])  # fmt: skip
    session.commit()
    done(_("On its way to %(address)s.", address=person.email))


@blueprint.get("/<int:number>")
@requires(Permission.MESSAGES_SEND)
def page(number: int) -> ResponseReturnValue:
    session, broadcast = context.db(), _broadcast(number)
    terms = terms_of_broadcast(broadcast)
    selection = terms.selection
    plan = session.get(RatePlan, selection.plan_id) if selection.plan_id else None
    nas = session.get(Nas, selection.nas_id) if selection.nas_id else None
    return render_template(
        "staff/broadcasts/page.html", broadcast=broadcast, terms=terms, plan=plan, nas=nas,
        place=_place_name(selection), results=results_of(session, broadcast), all_languages=LANGUAGES,
        job=session.get(Job, broadcast.job_id) if broadcast.job_id else None,
        sender=session.get(Staff, broadcast.staff_id) if broadcast.staff_id else None,
    )  # fmt: skip


@blueprint.post("/<int:number>/stop")
@requires(Permission.MESSAGES_SEND)
def stop(number: int) -> ResponseReturnValue:
    """Take back what has not left yet."""
    dropped = stop_broadcast(context.db(), context.actor(), _broadcast(number), context.now())
    context.db().commit()
    done(_("Stopped: %(count)s messages were taken back.", count=dropped))
    return redirect(url_for(".page", number=number))


def _places() -> list[tuple[str, str]]:
    """Return each site with its sectors behind it, as choices."""
    query = (
        select(Site.id, Site.name, Sector.id.label("sector_id"), Sector.name.label("sector"))
        .outerjoin(Sector, (Sector.site_id == Site.id) & Sector.in_use)
        .order_by(func.lower(Site.name), Site.id, Sector.name)
    )
    found: dict[str, str] = {}
    for row in context.db().execute(query):
        found.setdefault(f"site-{row.id}", row.name)
        if row.sector_id is not None:
            found[f"sector-{row.sector_id}"] = f"{row.name} · {row.sector}"
    return list(found.items())


def _place_of(chosen: str) -> dict[str, int]:
    """Return what a choice of `_places()` means in a selection."""
    kind, _dash, number = chosen.partition("-")
    return {f"{kind}_id": int(number)} if number else {}


def _place_name(selection: Selection) -> str:
    chosen = f"sector-{selection.sector_id}" if selection.sector_id else f"site-{selection.site_id}"
    return dict(_places()).get(chosen, "")


def _broadcast(number: int) -> Broadcast:
    return context.db().get(Broadcast, number) or abort(404)
