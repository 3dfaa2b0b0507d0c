"""Dunning: who is cut tonight, what waits for a hand, what was sent, where books and network disagree, the ladder."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from babel import Locale
from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select, update
from wtforms import BooleanField, Field, SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget, TextArea

from aaa.cut_off import holiday_choices
from billing.cut_offs import cut_off_rule
from billing.dunning import due_invoices, ladder_as_kept
from billing.dunning_lists import by_hand, cuts, disagreement, hold, spared
from billing.dunning_settings import (
    LadderTerms,
    add_step,
    change_ladder,
    change_words,
    remove_step,
    steps_of,
    terms_of_ladder,
    words_of,
)
from billing.ladder import VARIABLES, Step, Words, message_link
from billing.rules import BillingOff
from core.i18n import LANGUAGES
from crm.problems import Invalid, WrongState
from crm.services import restore, suspend
from db.models import DunningDone, DunningSettings, DunningStep, Invoice, Notification, Service, Subscriber
from portal import context, forms
from portal.errors import put_on_form, wrong_state_text
from portal.forms import Form
from portal.i18n import reader_language
from portal.labels import choices
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("dunning", __name__, url_prefix="/billing/dunning")

DAY = timedelta(days=1)
SHOWN = 200
"""Rows of a list of this page; the sums above it are of all of them."""


@blueprint.record_once
def install(state: Any) -> None:
    state.app.jinja_env.globals.update(message_link=message_link)


@blueprint.get("/")
@requires(Permission.BILLING_VIEW)
def index() -> ResponseReturnValue:
    """Who is cut within a day unless they pay, and who is reminded tomorrow."""
    session, operator, now = context.db(), context.operator(), context.now()
    tonight = cuts(session, operator, now, now + DAY, 100_000)
    kept = session.get(DunningSettings, operator.id)
    told = 0
    if kept is not None and kept.enabled:
        try:
            ladder = ladder_as_kept(session, operator.id, kept)
            tomorrow = ladder.rules.today(now) + DAY
            told = len(due_invoices(session, ladder, tomorrow))
        except BillingOff:
            kept = None
    return render_template(
        "staff/dunning/index.html",
        cuts=tonight[:SHOWN],
        count=len(tonight),
        owed=_sum(each.owed for each in tonight),
        told=told,
        on=kept is not None and kept.enabled,
        spared=spared(session, operator, now, SHOWN),
        waiting=len(by_hand(session, operator, now)) + _listed_count(),
        rule=cut_off_rule(operator),
    )


def _sum(amounts: Any) -> Decimal:
    return sum(amounts, Decimal(0))


def _listed_count() -> int:
    return len(_listed(1000))


# What waits for a hand.


@blueprint.get("/by-hand")
@requires(Permission.BILLING_VIEW)
def hand() -> ResponseReturnValue:
    return render_template(
        "staff/dunning/by_hand.html",
        services=by_hand(context.db(), context.operator(), context.now()),
        messages=_listed(SHOWN),
    )


def _listed(most: int) -> list[Any]:
    """Return the messages that somebody is to send, of invoices that are still open."""
    query = (
        select(DunningDone, Subscriber.name.label("subscriber"))
        .join(Subscriber, Subscriber.id == DunningDone.subscriber_id)
        .join(Invoice, Invoice.id == DunningDone.invoice_id)
        .where(DunningDone.outcome == "listed", Invoice.paid + Invoice.credited < Invoice.total)
        .order_by(DunningDone.created_at, DunningDone.invoice_id)
        .limit(most)
    )
    return list(context.db().execute(query))


@blueprint.post("/by-hand/services/<int:service_id>/<step>")
@requires(Permission.SERVICES_SUSPEND)
def settle(service_id: int, step: str) -> ResponseReturnValue:
    """Cut a service that is managed by hand, or let it back."""
    session, service = context.db(), _service(service_id)
    try:
        if step == "suspend":
            suspend(session, context.actor(), service, "overdue", "", context.now())
        elif step == "restore":
            restore(session, context.actor(), service)
        else:
            abort(404)
    except WrongState as wrong:
        session.rollback()
        refuse(wrong_state_text(wrong))
    else:
        session.commit()
        message = _("%(name)s is suspended.") if step == "suspend" else _("%(name)s is restored.")
        done(message % {"name": service.name})
    return redirect(url_for(".hand"))


@blueprint.post("/by-hand/messages/<int:invoice_id>")
@requires(Permission.BILLING_EDIT)
def sent(invoice_id: int) -> ResponseReturnValue:
    """Note that somebody has sent a message of the list."""
    context.db().execute(
        update(DunningDone)
        .where(
            DunningDone.invoice_id == invoice_id,
            DunningDone.stage == request.form.get("stage", ""),
            DunningDone.outcome == "listed",
        )
        .values(outcome="done", staff_id=context.staff().id)
    )
    context.db().commit()
    done(_("Noted as sent."))
    return redirect(url_for(".hand"))


def _service(service_id: int) -> Service:
    service = context.db().get(Service, service_id)
    if service is None:
        abort(404)
    return service


# A day that staff gives.


class HoldForm(Form):
    until = forms.day(_l("Until, that day included"))
    reason = forms.text(_l("Why"))


@blueprint.route("/hold/<int:service_id>", methods=["GET", "POST"])
@requires(Permission.BILLING_EDIT)
def hold_page(service_id: int) -> ResponseReturnValue:
    """Leave a service alone until a day, or end that."""
    session, service = context.db(), _service(service_id)
    form = HoldForm(data={"until": service.held_until})
    if request.method == "POST" and form.validate():
        try:
            back = hold(
                session, context.actor(), context.operator(), service, form.until.data, form.reason.data or "",
                context.now(),
            )  # fmt: skip
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except WrongState as wrong:
            session.rollback()
            refuse(wrong_state_text(wrong))
            return redirect(url_for(".index"))
        else:
            session.commit()
            if form.until.data is None:
                done(_("%(name)s is cut and reminded like everybody again.", name=service.name))
            elif back:
                done(_("%(name)s is restored and left alone until that day is over.", name=service.name))
            else:
                done(_("%(name)s is left alone until that day is over.", name=service.name))
            return redirect(url_for(".index"))
    service = _service(service_id)
    subscriber = session.get_one(Subscriber, service.subscriber_id)
    page = render_template("staff/dunning/hold.html", form=form, service=service, subscriber=subscriber)
    return page, 422 if form.errors else 200


# What was sent.


def _state(row: Any) -> str:
    return str(row.sending or row.DunningDone.outcome)


LOG = Table(
    name="reminders",
    title=_l("Reminders"),
    columns=(
        Column("at", _l("Time"), lambda row: row.DunningDone.created_at, DunningDone.created_at),
        Column("subscriber", _l("Subscriber"), lambda row: row.subscriber),
        Column("invoice", _l("Invoice"), lambda row: f"{row.prefix}{row.number}"),
        Column("channel", _l("Channel"), lambda row: row.DunningDone.channel, wide=True, words="dunning_channel"),
        Column("address", _l("To"), lambda row: row.DunningDone.address, wide=True),
        Column("subject", _l("Message"), lambda row: row.DunningDone.subject, wide=True),
        Column("state", _l("State"), _state),
    ),
    order="-at",
    tie=DunningDone.invoice_id,
    filters=(
        Filter(
            "outcome",
            _l("Any outcome"),
            lambda: choices("dunning_outcome"),
            lambda value: DunningDone.outcome == value,
        ),
        Filter(
            "subscriber",
            _l("Anybody"),
            lambda: _one_subscriber(),
            lambda value: DunningDone.subscriber_id == int(value),
        ),
    ),
)


def _one_subscriber() -> list[tuple[str, str]]:
    """Return the subscriber of the address as the only choice: people come here from the record."""
    wanted = request.args.get("subscriber", "")
    if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 15:
        return []
    subscriber = context.db().get(Subscriber, int(wanted))
    return [(wanted, subscriber.name)] if subscriber else []


@blueprint.get("/messages")
@requires(Permission.BILLING_VIEW)
def messages() -> ResponseReturnValue:
    query = (
        select(
            DunningDone,
            Subscriber.name.label("subscriber"),
            Invoice.prefix,
            Invoice.number,
            Notification.state.label("sending"),
            Notification.error,
        )
        .join(Subscriber, Subscriber.id == DunningDone.subscriber_id)
        .join(Invoice, Invoice.id == DunningDone.invoice_id)
        .outerjoin(Notification, Notification.id == DunningDone.notification_id)
    )
    return show(context.db(), LOG, query, "staff/dunning/messages.html")


# Where books and network disagree.


@blueprint.get("/disagreement")
@requires(Permission.BILLING_VIEW)
def odd() -> ResponseReturnValue:
    found = disagreement(context.db(), context.operator(), context.now())
    return render_template(
        "staff/dunning/odd.html",
        found=found,
        lost=_sum(each.price for each in found.paid_but_off),
        owed=_sum(each.owed for each in found.unpaid_but_on),
    )


# The ladder.


class DaysField(Field):
    """Days, one a line."""

    widget: Any = TextArea()

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "\n".join(day.isoformat() for day in self.data or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.data = []
        for line in (valuelist[0] if valuelist else "").split():
            try:
                self.data.append(date.fromisoformat(line))
            except ValueError:
                raise ValueError(_("%(line)s is not a date, such as 2027-04-30.", line=line[:30])) from None


class LadderForm(Form):
    enabled = BooleanField(_l("Send reminders, charge late fees, terminate"))
    send_hour = forms.whole_number(_l("Reminders from"), required=True)
    late_fees = BooleanField(_l("Charge the late fee of the billing rules"))
    terminate_months = forms.whole_number(_l("Terminate after"))
    alert_address = forms.text(_l("Tell by e-mail when books and network disagree"))
    cut_off_hour = forms.whole_number(_l("Cut off at"), required=True)
    weekdays = SelectMultipleField(
        _l("Cut off on"), coerce=int, widget=ListWidget(prefix_label=False), option_widget=CheckboxInput()
    )
    country = forms.choice(_l("Not on public holidays of"))
    subdivision = forms.text(_l("State or province"))
    days_off = DaysField(_l("Nor on these days"), render_kw={"rows": 3})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        locale = Locale.parse(reader_language())
        names = sorted((str(locale.territories.get(code, code)), code) for code in holiday_choices())
        self.country.choices = [("", _("Holidays do not matter")), *((code, name) for name, code in names)]
        self.weekdays.choices = [
            (number + 1, str(locale.days["format"]["wide"][number]).capitalize()) for number in range(7)
        ]

    def terms(self) -> LadderTerms:
        return LadderTerms(
            enabled=self.enabled.data,
            send_hour=-1 if self.send_hour.data is None else self.send_hour.data,
            late_fees=self.late_fees.data,
            terminate_months=self.terminate_months.data,
            alert_address=self.alert_address.data or "",
            cut_off_hour=-1 if self.cut_off_hour.data is None else self.cut_off_hour.data,
            weekdays=tuple(sorted(self.weekdays.data or ())),
            country=self.country.data or None,
            subdivision=self.subdivision.data or None,
            days_off=tuple(sorted(set(self.days_off.data or ()))),
        )


class StepForm(Form):
    days = forms.whole_number(_l("Days after the due day"), required=True)
    channel = forms.choice(_l("Channel"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.channel.choices = choices("dunning_channel")


class WordsForm(Form):
    subject = forms.text(_l("Subject"), required=True)
    body = forms.long_text(_l("Text"))


@blueprint.route("/ladder", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def ladder() -> ResponseReturnValue:
    terms = terms_of_ladder(context.db(), context.operator())
    form = LadderForm(data={name: getattr(terms, name) for name in LadderTerms.__slots__})
    if request.method == "POST" and form.validate():
        try:
            change_ladder(context.db(), context.actor(), context.operator(), form.terms())
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved. Who is cut when follows within seconds."))
            return redirect(url_for(".ladder"))
    return _ladder_page(form, StepForm(formdata=None))


@blueprint.post("/ladder/steps")
@requires(Permission.BILLING_SETTINGS)
def new_step() -> ResponseReturnValue:
    form = StepForm()
    if form.validate():
        try:
            step = Step(-1000 if form.days.data is None else form.days.data, form.channel.data)
            add_step(context.db(), context.actor(), context.operator().id, step)
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("The reminder is on the ladder."))
            return redirect(url_for(".ladder"))
    terms = terms_of_ladder(context.db(), context.operator())
    own = LadderForm(formdata=None, data={name: getattr(terms, name) for name in LadderTerms.__slots__})
    return _ladder_page(own, form)


def _ladder_page(form: LadderForm, step_form: StepForm) -> ResponseReturnValue:
    steps = steps_of(context.db(), context.operator().id)
    page = render_template(
        "staff/dunning/ladder.html",
        form=form,
        step_form=step_form,
        steps=steps,
        languages=LANGUAGES,
        kept=context.db().get(DunningSettings, context.operator().id) is not None,
    )
    return page, 422 if form.errors or step_form.errors else 200


def _step(step_id: int) -> DunningStep:
    step = context.db().get(DunningStep, step_id)
    if step is None:
        abort(404)
    return step


@blueprint.post("/ladder/steps/<int:step_id>/remove")
@requires(Permission.BILLING_SETTINGS)
def drop_step(step_id: int) -> ResponseReturnValue:
    remove_step(context.db(), context.actor(), _step(step_id))
    context.db().commit()
    done(_("The reminder is off the ladder."))
    return redirect(url_for(".ladder"))


@blueprint.route("/ladder/steps/<int:step_id>/<language>", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def words(step_id: int, language: str) -> ResponseReturnValue:
    """What a reminder says in a language."""
    if language not in LANGUAGES:
        abort(404)
    step = _step(step_id)
    said = words_of(context.db(), step, language)
    form = WordsForm(data={"subject": said.subject, "body": said.body})
    if request.method == "POST" and form.validate():
        try:
            typed = Words(form.subject.data or "", (form.body.data or "").replace("\r\n", "\n"))
            change_words(context.db(), context.actor(), step, language, typed)
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved."))
            return redirect(url_for(".ladder"))
    page = render_template(
        "staff/dunning/words.html",
        form=form,
        step=_step(step_id),
        of_language=LANGUAGES[language],
        variables={name: _(text) for name, text in VARIABLES.items()},
    )
    return page, 422 if form.errors else 200
