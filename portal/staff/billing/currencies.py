"""Other currencies: which are taken beside the one of the books, and what they are worth each day.

A rate is shown with its direction, since whoever types its inverse is off by hundreds. One that is far from the last is
saved only when somebody says that it is meant; a file is shown as it was understood before it is saved.
"""

from collections.abc import Sequence
from typing import Any

from babel import Locale
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import select
from wtforms import FileField, HiddenField

from core.money import format_exchange_rate
from crm.currencies import (
    MOST_LINES,
    Jump,
    NewRate,
    RateJump,
    currencies_in_use,
    enter_rates,
    foreign_currencies,
    is_good,
    latest_rates,
    rate_days,
    read_rates,
    set_rate_days,
    switch_off,
    switch_on,
    typed_rate,
)
from crm.problems import Invalid
from db.models import ExchangeRate, Staff
from portal import context, forms
from portal.errors import problem_text, put_on_form
from portal.forms import Form
from portal.i18n import reader_language
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing import base

blueprint = Blueprint("currencies", __name__, url_prefix="/settings/currencies")
blueprint.record_once(base.install)

SHOWN = 30
LARGEST_FILE = 200_000


class CurrencyForm(Form):
    currency = forms.choice(_l("Currency"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Locale(reader_language()).currencies
        own = (context.operator().currency, *foreign_currencies(context.db(), context.staff().operator_id))
        codes = [code for code in currencies_in_use() if code not in own]
        self.currency.choices = [("", "–"), *((code, f"{code}: {names.get(code, code)}") for code in codes)]


class RateForm(Form):
    currency = HiddenField()
    day = forms.day(_l("Date"), required=True)
    rate = forms.text(_l("Exchange rate"))
    sure = HiddenField()


class FileForm(Form):
    file = FileField(_l("CSV file of rates"))
    content = HiddenField()
    sure = HiddenField()


class DaysForm(Form):
    rate_days = forms.whole_number(_l("A rate is good for"), required=True)


@blueprint.get("/")
@requires(Permission.BILLING_SETTINGS)
def index() -> ResponseReturnValue:
    return _page()


@blueprint.post("/")
@requires(Permission.BILLING_SETTINGS)
def add() -> ResponseReturnValue:
    """Take another currency from now on."""
    session, form = context.db(), CurrencyForm()
    if form.validate():
        try:
            switch_on(session, context.actor(), form.currency.data)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(currency)s is taken from now on. Enter its rate.", currency=form.currency.data))
            return redirect(url_for(".index"))
    return _page(currency_form=form), 422


@blueprint.post("/<currency>/off")
@requires(Permission.BILLING_SETTINGS)
def remove(currency: str) -> ResponseReturnValue:
    """Take a currency no more."""
    session = context.db()
    try:
        switch_off(session, context.actor(), currency)
    except Invalid as invalid:
        session.rollback()
        refuse(problem_text(invalid.problems[0]))
    else:
        session.commit()
        done(_("%(currency)s is taken no more. What was paid in it stays as it is.", currency=currency))
    return redirect(url_for(".index"))


@blueprint.post("/rates")
@requires(Permission.BILLING_SETTINGS)
def rate() -> ResponseReturnValue:
    """Enter a rate; one that is far from the last is asked about first."""
    session, form = context.db(), RateForm()
    jumps: tuple[Jump, ...] = ()
    if form.validate():
        try:
            typed = typed_rate(form.rate.data or "", base.rules().locale)
            new = [NewRate(form.currency.data or "", form.day.data or base.today(), typed)]
            # What was confirmed is this number and no other that is typed after it.
            count = enter_rates(session, context.actor(), new, base.today(), sure=form.sure.data == f"{typed:f}")
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except RateJump as jump:
            session.rollback()
            jumps = jump.jumps
            form.sure.data, form.sure.raw_data = f"{typed:f}", None
        else:
            session.commit()
            done(_("The rate is saved.") if count else _("This rate is there already."))
            return redirect(url_for(".index"))
    return _page(rate_form=form, jumps=jumps), 409 if jumps else 422


@blueprint.post("/file")
@requires(Permission.BILLING_SETTINGS)
def file() -> ResponseReturnValue:
    """Show what a file says, and save it when that is confirmed."""
    session, form, sent = context.db(), FileForm(), request.files.get("file")
    content = form.content.data or ""
    if sent is not None and sent.filename:
        content = sent.read(LARGEST_FILE + 1).decode("utf-8-sig", "replace").replace("\0", "")
        form.content.data, form.content.raw_data = content, None
    found: list[NewRate] = []
    jumps: tuple[Jump, ...] = ()
    try:
        if len(content) > LARGEST_FILE:
            content = ""
            form.file.errors = [_("The file has more than %(limit)s lines. Split it.", limit=MOST_LINES)]
            return _page(file_form=form), 422
        found = read_rates(content, base.rules().locale, foreign_currencies(session, context.staff().operator_id))
        with session.begin_nested():
            count = enter_rates(session, context.actor(), found, base.today(), "file", sure=form.sure.data == "yes")
            if form.sure.data != "yes":
                session.get_nested_transaction().rollback()  # type: ignore[union-attr] # it was begun just above
    except Invalid as invalid:
        session.rollback()
        form.file.errors = [problem_text(each) for each in invalid.problems]
        return _page(file_form=form), 422
    except RateJump as jump:
        session.rollback()
        jumps, count = jump.jumps, 0
    if form.sure.data == "yes":
        session.commit()
        done(ngettext("%(num)s rate is saved.", "%(num)s rates are saved.", count))
        return redirect(url_for(".index"))
    session.rollback()
    form.sure.data, form.sure.raw_data = "yes", None
    return _page(file_form=form, found=found, file_jumps=jumps)


@blueprint.post("/days")
@requires(Permission.BILLING_SETTINGS)
def days() -> ResponseReturnValue:
    """Set how long a rate is good for."""
    session, form = context.db(), DaysForm()
    base.rules()
    if form.validate():
        try:
            set_rate_days(session, context.actor(), form.rate_days.data or 0)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for(".index"))
    return _page(days_form=form), 422


def _page(
    currency_form: CurrencyForm | None = None,
    rate_form: RateForm | None = None,
    file_form: FileForm | None = None,
    days_form: DaysForm | None = None,
    jumps: Sequence[Jump] = (),
    found: Sequence[NewRate] = (),
    file_jumps: Sequence[Jump] = (),
) -> str:
    session, operator_id = context.db(), context.staff().operator_id
    base.rules()
    taken, today = foreign_currencies(session, operator_id), base.today()
    kept, good_for = latest_rates(session, operator_id, today, taken), rate_days(session, operator_id)
    failed = rate_form.currency.data if rate_form else None
    cards = [
        (
            currency,
            kept.get(currency),
            currency in kept and is_good(kept[currency], today, good_for),
            rate_form if rate_form and currency == failed else RateForm(formdata=None, data={"day": today}),
        )
        for currency in taken
    ]
    history = (
        select(ExchangeRate, Staff.name)
        .outerjoin(Staff, Staff.id == ExchangeRate.staff_id)
        .order_by(ExchangeRate.day.desc(), ExchangeRate.id.desc())
        .limit(SHOWN)
    )
    return render_template(
        "staff/billing/currencies.html",
        cards=cards,
        failed=failed,
        jumps=jumps,
        history=list(session.execute(history)),
        currency_form=currency_form or CurrencyForm(formdata=None),
        file_form=file_form or FileForm(formdata=None),
        days_form=days_form or DaysForm(formdata=None, data={"rate_days": good_for}),
        found=found,
        file_jumps=file_jumps,
        written=lambda value: format_exchange_rate(value, base.rules().locale),
    )
