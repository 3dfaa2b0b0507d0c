"""Cash desks: a cashier's own, open from the first coin to the count, and the report of each day's.

The report of a desk is a page that prints as it stands: what was in it, what came and went, what was counted.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import and_, func, or_, select

from billing.desks import close_desk, desk_sums, move_cash, open_desk, open_desk_of
from billing.foreign_cash import sums_of_desk, to_count
from billing.foreign_desks import exchange, move_foreign
from billing.payments import typed_amount
from crm.currencies import foreign_currencies
from crm.problems import Invalid
from db.models import (
    CashDesk,
    CashMovement,
    Collector,
    ForeignCash,
    Payment,
    PaymentMethod,
    Refund,
    Staff,
    Subscriber,
)
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.labels import choices
from portal.messages import done, refuse, warn
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.staff.billing.base import amount_of
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("desk", __name__, url_prefix="/desk")
blueprint.record_once(base.install)


class OpenForm(Form):
    opening = forms.text(_l("What is in the till now"))


class ForeignForm(Form):
    """Cash of another currency: taken to the bank, spent, handed over, added, or exchanged for that of the books."""

    kind = forms.choice(_l("What happens"))
    amount = forms.text(_l("Amount"))
    currency = forms.choice(_l("Currency"))
    got = forms.text(_l("Received for it"))
    into = forms.choice(_l("Where that went"))
    collector_id = forms.choice(_l("Collector"), numeric=True)
    description = forms.text(_l("Note"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session = context.db()
        self.kind.choices = [("exchange", _("Exchanged")), *choices("cash_kind")]
        taken = foreign_currencies(session, context.staff().operator_id)
        self.currency.choices = [(code, code) for code in taken]
        self.into.choices = [("till", _("Into this till")), ("bank", _("Bank account"))]
        collectors = session.scalars(select(Collector).where(Collector.active).order_by(Collector.name))
        self.collector_id.choices = [("", "–"), *((str(one.id), one.name) for one in collectors)]


class MoveForm(Form):
    kind = forms.choice(_l("What happens"))
    amount = forms.text(_l("Amount"))
    collector_id = forms.choice(_l("Collector"), numeric=True)
    description = forms.text(_l("Note"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind.choices = choices("cash_kind")
        collectors = context.db().scalars(select(Collector).where(Collector.active).order_by(Collector.name))
        self.collector_id.choices = [("", "–"), *((str(one.id), one.name) for one in collectors)]


class CloseForm(Form):
    counted = forms.text(_l("What was counted"))
    note = forms.text(_l("Note"))


MOVE, CLOSE, FOREIGN = "move-", "close-", "foreign-"
"""The forms stand on one page, so their fields have names of their own."""


@blueprint.get("/")
@requires(Permission.DESK)
def index() -> ResponseReturnValue:
    return _page()


@blueprint.post("/open")
@requires(Permission.DESK)
def open_now() -> ResponseReturnValue:
    session, form = context.db(), OpenForm()
    opening = amount_of(form, "opening", zero=True)
    foreign = _typed(form, "opening", foreign_currencies(session, context.staff().operator_id))
    if opening is not None and foreign is not None:
        try:
            open_desk(session, context.actor(), base.rules(), opening, context.now(), foreign)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Your cash desk is open. Cash that you register goes into it."))
            return redirect(url_for(".index"))
    return _page(open_form=form), 422


@blueprint.post("/move")
@requires(Permission.DESK)
def move() -> ResponseReturnValue:
    """Take cash to the bank, spend it, or take it from a collector."""
    form = MoveForm(prefix=MOVE)
    desk = _own()
    readable = form.validate()
    amount = amount_of(form)
    if desk is None:
        refuse(_("Your cash desk is closed. Open it before you take cash."))
        return redirect(url_for(".index"))
    if readable and amount is not None and _booked(form, partial(_move, desk, form, amount)):
        return redirect(url_for(".index"))
    return _page(move_form=form), 422


def _move(desk: CashDesk, form: MoveForm, amount: Decimal) -> None:
    session, rules, now = context.db(), base.rules(), context.now()
    note, collector = form.description.data or "", _handed_over_by(form)
    move_cash(session, context.actor(), rules, desk, form.kind.data, amount, note, now, collector)


@blueprint.post("/foreign")
@requires(Permission.DESK)
def foreign() -> ResponseReturnValue:
    """Move cash of another currency, or exchange it."""
    form = ForeignForm(prefix=FOREIGN)
    desk = _own()
    if desk is None:
        refuse(_("Your cash desk is closed. Open it before you take cash."))
        return redirect(url_for(".index"))
    readable = form.validate()
    amount = amount_of(form, currency=form.currency.data if readable else None)
    exchanged = form.kind.data == "exchange"
    got = amount_of(form, "got") if exchanged else None
    typed = readable and (got is not None or not exchanged)
    if typed and amount is not None and _booked(form, partial(_move_foreign, desk, form, amount, got)):
        return redirect(url_for(".index"))
    return _page(foreign_form=form), 422


def _move_foreign(desk: CashDesk, form: ForeignForm, amount: Decimal, got: Decimal | None) -> None:
    session, rules, now = context.db(), base.rules(), context.now()
    currency, note = form.currency.data, form.description.data or ""
    if got is not None:
        into_till = form.into.data == "till"
        exchange(session, context.actor(), rules, desk, currency, amount, got, note, now, into_till=into_till)
        return
    collector = _handed_over_by(form)
    move_foreign(session, context.actor(), rules, desk, form.kind.data, currency, amount, note, now, collector)


def _handed_over_by(form: MoveForm | ForeignForm) -> Collector | None:
    """Return the collector from whom cash comes; None where it goes elsewhere."""
    wanted = form.kind.data == "handover" and form.collector_id.data
    return context.db().get(Collector, form.collector_id.data) if wanted else None


def _booked(form: Form, book: Callable[[], None]) -> bool:
    """Book and commit. False where it was refused, and why is on the form."""
    try:
        book()
    except Invalid as invalid:
        context.db().rollback()
        put_on_form(form, invalid)
        return False
    context.db().commit()
    done(_("Booked."))
    return True


@blueprint.post("/close")
@requires(Permission.DESK)
def close() -> ResponseReturnValue:
    """Close the desk with what was counted; the report follows."""
    session, form = context.db(), CloseForm(prefix=CLOSE)
    desk = _own()
    if desk is None:
        refuse(_("Your cash desk is closed already."))
        return redirect(url_for(".index"))
    counted = amount_of(form, "counted", zero=True)
    foreign = _typed(form, "counted", [each.currency for each in to_count(session, desk)])
    if counted is not None and foreign is not None:
        desk_id = desk.id
        try:
            difference = close_desk(
                session, context.actor(), base.rules(), desk, counted, form.note.data or "", context.now(), foreign
            )
            even = not difference and all(each.counted == each.expected for each in sums_of_desk(session, desk))
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            if not even:
                warn(_("Closed with a difference. It is booked, and stands on the report."))
            else:
                done(_("Closed. It came out even."))
            return redirect(url_for(".report", desk_id=desk_id))
    return _page(close_form=form), 422


def _typed(form: Form, name: str, currencies: Sequence[str]) -> dict[str, Decimal] | None:
    """Return what was typed of other currencies, which are fields such as `opening-USD`; an empty one is left out.

    None where something cannot be read, which is said on top of the form.
    """
    rules, found = base.rules(), dict[str, Decimal]()
    for currency in currencies:
        typed = request.form.get(f"{name}-{currency}", "").replace("\0", "").strip()
        if not typed:
            continue
        try:
            found[currency] = typed_amount(typed, currency, rules.locale, f"{name}-{currency}", zero=True)
        except Invalid as invalid:
            put_on_form(form, invalid)
            return None
    return found


def _own() -> CashDesk | None:
    return open_desk_of(context.db(), context.staff().id)


def _page(
    open_form: OpenForm | None = None,
    move_form: MoveForm | None = None,
    close_form: CloseForm | None = None,
    foreign_form: ForeignForm | None = None,
) -> str:
    session = context.db()
    base.rules()
    desk = _own()
    last = select(CashDesk).where(CashDesk.staff_id == context.staff().id, CashDesk.closed_at.is_not(None))
    return render_template(
        "staff/billing/desk.html",
        desk=desk,
        sums=desk_sums(session, desk) if desk else None,
        lines=_lines(desk) if desk else [],
        foreign=to_count(session, desk) if desk else [],
        currencies=foreign_currencies(session, context.staff().operator_id),
        foreign_form=foreign_form or ForeignForm(formdata=None, prefix=FOREIGN),
        typed=request.form,
        open_form=open_form or OpenForm(formdata=None),
        move_form=move_form or MoveForm(formdata=None, prefix=MOVE),
        close_form=close_form or CloseForm(formdata=None, prefix=CLOSE),
        last=list(session.scalars(last.order_by(CashDesk.opened_at.desc()).limit(5))),
    )


# Reports of desks.


TABLE = Table(
    name="cash-desks",
    columns=(
        Column("opened", _l("Opened"), lambda row: row.CashDesk.opened_at, CashDesk.opened_at),
        Column("closed", _l("Closed"), lambda row: row.CashDesk.closed_at, wide=True),
        Column("cashier", _l("Cashier"), lambda row: row.cashier),
        Column("opening", _l("Opening"), lambda row: row.CashDesk.opening, numeric=True, wide=True),
        Column("expected", _l("Expected"), lambda row: row.CashDesk.expected, numeric=True),
        Column("counted", _l("Counted"), lambda row: row.CashDesk.counted, numeric=True),
        Column(
            "difference",
            _l("Difference"),
            lambda row: None if row.CashDesk.counted is None else row.CashDesk.counted - row.CashDesk.expected,
            numeric=True,
        ),
    ),
    order="-opened",
    tie=CashDesk.id,
    filters=(
        Filter(
            "state",
            _l("Any state"),
            lambda: choices("desk_state"),
            lambda value: CashDesk.closed_at.is_(None) if value == "open" else CashDesk.closed_at.is_not(None),
        ),
    ),
)


@blueprint.get("/all")
@requires(Permission.BILLING_REPORTS)
def every() -> ResponseReturnValue:
    """Everybody's desks."""
    query = select(CashDesk, Staff.name.label("cashier")).join(Staff, Staff.id == CashDesk.staff_id)
    return show(context.db(), TABLE, query, "staff/billing/desks.html")


@blueprint.get("/<int:desk_id>")
@requires(Permission.DESK)
def report(desk_id: int) -> ResponseReturnValue:
    session = context.db()
    desk = session.get(CashDesk, desk_id) or abort(404)
    if desk.staff_id != context.staff().id and not context.may(Permission.BILLING_REPORTS):
        abort(403)
    valid = (Payment.desk_id == desk.id, Payment.voided_at.is_(None))
    by_method = session.execute(
        select(PaymentMethod.name, func.count().label("count"), func.sum(Payment.amount).label("amount"))
        .join(PaymentMethod, PaymentMethod.id == Payment.method_id)
        .where(*valid, Payment.foreign_amount.is_(None))
        .group_by(PaymentMethod.name)
        .order_by(PaymentMethod.name)
    )
    return render_template(
        "staff/billing/desk_report.html",
        desk=desk,
        cashier=session.get_one(Staff, desk.staff_id),
        sums=desk_sums(session, desk),
        lines=_lines(desk),
        by_method=list(by_method),
        foreign=sums_of_desk(session, desk),
    )


def _lines(desk: CashDesk) -> list[dict[str, Any]]:
    """Return what went through a desk, oldest first: `at`, `kind`, `what`, `amount`, `payment_id`, `voided`.

    What is in another currency has its amount beside that of the books, with its `currency`.
    """
    session = context.db()
    payments = session.execute(
        select(Payment, Subscriber.name)
        .join(Subscriber, Subscriber.id == Payment.subscriber_id)
        .where(Payment.desk_id == desk.id)
    )
    lines: list[dict[str, Any]] = [
        {
            "at": payment.created_at, "kind": _("Receipt %(number)s", number=base.number_of(payment)), "what": name,
            "amount": payment.amount, "payment_id": payment.id, "voided": payment.voided_at is not None,
            "foreign": payment.foreign_amount, "currency": payment.foreign_currency,
        }
        for payment, name in payments
    ]  # fmt: skip
    refunds = session.execute(
        select(Refund, Payment).join(Payment, Payment.id == Refund.payment_id).where(Refund.desk_id == desk.id)
    )
    lines += [
        {
            "at": refund.created_at, "kind": _("Refund of %(number)s", number=base.number_of(payment)),
            "what": refund.reason, "amount": -refund.amount, "payment_id": payment.id, "voided": False,
            "foreign": None if refund.foreign_amount is None else -refund.foreign_amount,
            "currency": payment.foreign_currency,
        }
        for refund, payment in refunds
    ]  # fmt: skip
    kinds = {**dict(choices("cash_kind")), "exchange": _("Exchanged"), "counted": _("Difference of the count"),
             "void": _("Receipt voided")}  # fmt: skip
    lines += [
        {
            "at": row.created_at, "kind": kinds[row.kind], "what": row.description, "amount": row.amount,
            "payment_id": None, "voided": False, "foreign": None, "currency": None,
        }
        for row in session.scalars(
            select(CashMovement).where(CashMovement.desk_id == desk.id, CashMovement.kind != "exchange")
        )
    ]  # fmt: skip
    of_others = and_(ForeignCash.kind == "void", Payment.desk_id.is_distinct_from(desk.id))
    moved = (
        select(ForeignCash)
        .outerjoin(Payment, Payment.id == ForeignCash.payment_id)
        .where(
            ForeignCash.desk_id == desk.id,
            or_(ForeignCash.kind.not_in(("payment", "void", "refund", "settled")), of_others),
        )
    )
    lines += [
        {
            "at": row.created_at, "kind": kinds[row.kind], "what": row.description,
            "amount": row.value if row.got is None else row.got, "payment_id": row.payment_id, "voided": False,
            "foreign": row.amount, "currency": row.currency,
        }
        for row in session.scalars(moved)
    ]  # fmt: skip
    return sorted(lines, key=lambda line: line["at"])
