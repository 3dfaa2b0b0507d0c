"""Operators as the platform sees them: what they use, their licence, suspended or not. Never who their subscribers are.

All figures come from one function of the database that answers the platform alone.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from flask import abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import BigInteger, Date, DateTime, Integer, String, case, column, func, or_, select, true

from core.i18n import N_
from core.money import rounded
from crm.accounts import restore, suspend
from crm.licences import (
    ANNUAL,
    DEMO,
    MONTHLY,
    LicenceTerms,
    give_licence,
    history_of,
    licence_of,
    next_until,
    today_of,
)
from crm.problems import Invalid
from db.audit import Actor, record
from db.models import Consent
from portal import context, forms
from portal.errors import problem_text, put_on_form
from portal.messages import done, refuse
from portal.permissions import for_platform, for_platform_owner
from portal.platform.views import blueprint
from portal.tables import Column, Filter, Table, show

_INSTANT = DateTime(timezone=True)
OPERATORS = (
    func.platform_operators()
    .table_valued(
        column("id", BigInteger), column("slug", String), column("name", String), column("country", String),
        column("created_at", _INSTANT), column("parent", String), column("subscribers", BigInteger),
        column("online", BigInteger), column("routers", BigInteger), column("last_sign_in", _INSTANT),
        column("stored", BigInteger), column("licence", String), column("subscriber_limit", Integer),
        column("period", String), column("until", Date), column("suspended_at", _INSTANT),
        column("removes_at", _INSTANT),
    )
    .alias("operators")
)  # fmt: skip
PERIODS = ((DEMO, N_("Demo")), (MONTHLY, N_("Monthly")), (ANNUAL, N_("Annual")))


def state_of(row: Any) -> str:
    """Return what an operator's account is like: the key of a badge."""
    if row.removes_at is not None:
        return "leaving"
    if row.suspended_at is not None:
        return "suspended"
    if row.until is not None and row.until < today_of(context.now()):
        return "lapsed"
    return "demo" if row.period == DEMO else "active"


def _in_state(state: str) -> Any:
    """Return the condition of the rows that show this badge: the same order of reasons as in `state_of`."""
    at = OPERATORS.c
    shown = case(
        (at.removes_at.is_not(None), "leaving"),
        (at.suspended_at.is_not(None), "suspended"),
        (at.until < today_of(context.now()), "lapsed"),
        (at.period == DEMO, "demo"),
        else_="active",
    )
    return shown == state


_STATES = (
    ("active", N_("With a licence")), ("demo", N_("Demo")), ("lapsed", N_("Licence ended")),
    ("suspended", N_("Suspended")), ("leaving", N_("Will be removed")),
)  # fmt: skip

TABLE = Table(
    name="operators",
    columns=(
        Column("name", _l("Operator"), lambda row: row.name, OPERATORS.c.name),
        Column("state", _l("State"), state_of),
        Column("licence", _l("Licence"), lambda row: row.licence or "", OPERATORS.c.licence),
        Column("subscribers", _l("Subscribers"), lambda row: row.subscribers, OPERATORS.c.subscribers, numeric=True),
        Column("limit", _l("of"), lambda row: row.subscriber_limit, OPERATORS.c.subscriber_limit, numeric=True),
        Column("online", _l("Online"), lambda row: row.online, OPERATORS.c.online, numeric=True, wide=True),
        Column("routers", _l("Routers"), lambda row: row.routers, OPERATORS.c.routers, numeric=True, wide=True),
        Column("until", _l("Until"), lambda row: row.until, OPERATORS.c.until, wide=True),
        Column("last", _l("Last signed in"), lambda row: row.last_sign_in, OPERATORS.c.last_sign_in, wide=True),
        Column("stored", _l("Files (bytes)"), lambda row: row.stored, OPERATORS.c.stored, numeric=True, wide=True),
        Column("country", _l("Country"), lambda row: row.country or "", OPERATORS.c.country, exported_only=True),
        Column("since", _l("Since"), lambda row: row.created_at, OPERATORS.c.created_at, exported_only=True),
    ),
    order="name",
    tie=OPERATORS.c.id,
    filters=(
        Filter("state", _l("Any state"), lambda: [(key, _(words)) for key, words in _STATES], _in_state),
    ),
    search=lambda words: or_(
        OPERATORS.c.name.icontains(words, autoescape=True), OPERATORS.c.slug.icontains(words, autoescape=True)
    ),
    search_hint=_l("Name of an operator"),
)  # fmt: skip


class LicenceForm(forms.Form):
    name = forms.text(_l("Name of the licence"), required=True)
    limit = forms.whole_number(_l("Subscribers"))
    period = forms.choice(_l("Paid"), validate_choice=False)
    price = forms.number(_l("Price"))
    currency = forms.text(_l("Currency"), required=True)
    until = forms.day(_l("Until"))
    note = forms.text(_l("Note"))

    def terms(self) -> LicenceTerms:
        return LicenceTerms(
            self.name.data or "", self.limit.data, self.period.data or "", self.price.data or Decimal(0),
            (self.currency.data or "").upper(), self.until.data, self.note.data or "",
        )  # fmt: skip


class SuspendForm(forms.Form):
    reason = forms.text(_l("Reason, as the operator's staff read it"), required=True)


class AskForm(forms.Form):
    reason = forms.text(_l("What for"), required=True)
    hours = forms.whole_number(_l("For how many hours"), required=True)


@dataclass(frozen=True, slots=True)
class Forms:
    licence: LicenceForm
    suspend: SuspendForm
    ask: AskForm


@blueprint.get("/")
@for_platform
def index() -> ResponseReturnValue:
    return show(context.db(), TABLE, select(OPERATORS).where(true()), "platform/operators.html", state_of=state_of,
                signed_up=context.portal().settings.sign_up_open)  # fmt: skip


@blueprint.get("/operators/<int:operator_id>")
@for_platform
def operator(operator_id: int) -> ResponseReturnValue:
    return page_of(operator_id)


@blueprint.post("/operators/<int:operator_id>/licence")
@for_platform_owner
def license_operator(operator_id: int) -> ResponseReturnValue:
    row, session = find(operator_id), context.db()
    form = _with_periods(LicenceForm())
    if form.validate_on_submit():
        terms, today = form.terms(), today_of(context.now())
        try:
            made = give_licence(session, context.actor(), operator_id, terms, today)
            with context.portal().tenancy.acting_for(session, operator_id):
                values = {"name": made.name, "limit": made.subscriber_limit, "until": made.until}
                record(session, theirs(operator_id), "licence.give", "operator", operator_id, None, values)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(name)s has the licence %(licence)s from now on.", name=row.name, licence=made.name))
            return redirect(url_for(".operator", operator_id=operator_id))
    return page_of(operator_id, licence=form), 422


@blueprint.post("/operators/<int:operator_id>/suspend")
@for_platform_owner
def suspend_operator(operator_id: int) -> ResponseReturnValue:
    row, session, form = find(operator_id), context.db(), SuspendForm()
    if form.validate_on_submit():
        try:
            act_for = context.portal().tenancy.acting_for
            suspend(session, context.actor(), act_for, operator_id, form.reason.data or "", context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            undo = url_for(".restore_operator", operator_id=operator_id)
            done(_("%(name)s is suspended: its staff are kept out, its subscribers stay on line.", name=row.name), undo)
            return redirect(url_for(".operator", operator_id=operator_id))
    return page_of(operator_id, suspend=form), 422


@blueprint.post("/operators/<int:operator_id>/restore")
@for_platform_owner
def restore_operator(operator_id: int) -> ResponseReturnValue:
    row, session = find(operator_id), context.db()
    try:
        restore(session, context.actor(), context.portal().tenancy.acting_for, operator_id)
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("The staff of %(name)s can work again.", name=row.name))
    return redirect(url_for(".operator", operator_id=operator_id))


def find(operator_id: int) -> Any:
    """Return an operator with its figures; 404 for one that there is not, and for the platform itself."""
    row = context.db().execute(select(OPERATORS).where(OPERATORS.c.id == operator_id)).one_or_none()
    return row or abort(404)


def theirs(operator_id: int) -> Actor:
    """Return who acts, as the operator's audit log names them: its own log knows no staff of ours."""
    return replace(context.actor(), operator_id=operator_id, staff_id=None)


def page_of(
    operator_id: int, licence: LicenceForm | None = None, suspend: SuspendForm | None = None, ask: AskForm | None = None
) -> str:
    row, session = find(operator_id), context.db()
    consents = session.scalars(
        select(Consent)
        .where(Consent.operator_id == operator_id, Consent.asker_operator_id == context.staff().operator_id)
        .order_by(Consent.id.desc())
        .limit(10)
    )
    return render_template(
        "platform/operator.html",
        row=row,
        state_now=state_of(row),
        forms=Forms(
            licence or _proposed(operator_id),
            suspend or SuspendForm(formdata=None),
            ask or AskForm(formdata=None, hours=4),
        ),
        history=history_of(session, operator_id),
        consents=consents.all(),
        periods={key: _(words) for key, words in PERIODS},
        untils={key: f"{next_until(key, today_of(context.now())) or ''}" for key, _words in PERIODS},
    )


def _proposed(operator_id: int) -> LicenceForm:
    """Return the form filled with what most will enter: what there is, or a month of a first licence."""
    kept, today = licence_of(context.db(), operator_id), today_of(context.now())
    if kept is None or kept.period == DEMO:
        currency = kept.currency if kept else "USD"
        values: dict[str, Any] = {
            "name": "ISP 100", "limit": 100, "period": MONTHLY, "currency": currency,
            "until": next_until(MONTHLY, today),
        }  # fmt: skip
    else:
        values = {
            "name": kept.name, "limit": kept.subscriber_limit, "period": kept.period,
            "price": rounded(kept.price, kept.currency),
            "currency": kept.currency, "note": kept.note, "until": next_until(kept.period, today),
        }  # fmt: skip
    return _with_periods(LicenceForm(formdata=None, data=values))


def _with_periods(form: LicenceForm) -> LicenceForm:
    form.period.choices = [(key, _(words)) for key, words in PERIODS]
    return form
