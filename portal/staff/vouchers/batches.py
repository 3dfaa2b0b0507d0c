"""Vouchers: the batches, making one, printing and exporting its codes, giving it to a seller, cancelling it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import exists, func, select
from wtforms import SelectMultipleField

from aaa.vouchers import VoucherState
from billing.payments import typed_amount
from billing.voucher_cards import PRINT, opened_pdf
from billing.vouchers import SalesLine, sales
from core.clock import start_of_day
from core.codes import ALPHABET
from core.money import money_locale
from crm.jobs import start_job
from crm.problems import FieldProblem, Invalid, Problem
from crm.voucher_words import day_words, length_words, rate_words, what_it_buys
from crm.vouchers import (
    GUESSES,
    BatchTerms,
    activate,
    assign_batch,
    codes_like,
    counts,
    create_batch,
    find_code,
    guessing_takes,
    readable_codes,
    shortest_safe,
    state_expression,
    void_batch,
)
from db.audit import record
from db.models import (
    Collector,
    Nas,
    RatePlan,
    Service,
    Staff,
    Voucher,
    VoucherBatch,
    VoucherPrint,
    VoucherSale,
    VoucherSettings,
)
from portal import context, forms
from portal.errors import problem_text, put_on_form
from portal.fields import Option, RateField, VolumeField
from portal.i18n import reader_language
from portal.labels import choices
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing import base
from portal.tables import Column, Filter, Table, exported, page_of, show

blueprint = Blueprint("vouchers", __name__, url_prefix="/vouchers")

UNITS = {"minutes": 60, "hours": 3600, "days": 86_400}

TABLE = Table(
    name="voucher-batches",
    columns=(
        Column("name", _l("Batch"), lambda row: row.VoucherBatch.name, VoucherBatch.name),
        Column("created", _l("Made"), lambda row: row.VoucherBatch.created_at, VoucherBatch.created_at, wide=True),
        Column("buys", _l("Buys"), lambda row: ", ".join(buys(row.VoucherBatch)), wide=True),
        Column("seller", _l("Seller"), lambda row: row.seller or "", wide=True),
        Column("count", _l("Vouchers"), lambda row: row.VoucherBatch.count, VoucherBatch.count, numeric=True),
        Column("price", _l("Price"), lambda row: row.VoucherBatch.price, VoucherBatch.price, numeric=True),
        Column("left", _l("Not sold yet"), lambda row: row.left, numeric=True),
    ),
    order="-created",
    tie=VoucherBatch.id,
    search=lambda words: VoucherBatch.name.icontains(words, autoescape=True),
    search_hint=_l("Name of the batch"),
)


def _states() -> Sequence[tuple[str, Any]]:
    return choices("voucher_state")


VOUCHERS = Table(
    name="vouchers",
    title=_l("Vouchers"),
    columns=(
        Column("number", _l("Number"), lambda row: row.Voucher.number, Voucher.number, numeric=True),
        Column("state", _l("State"), lambda row: row.state, words="voucher_state"),
        Column("sold", _l("Sold on"), lambda row: row.sold_at),
        Column("first", _l("First login"), lambda row: row.Voucher.first_login_at, wide=True),
        Column("online", _l("Time online"), lambda row: row.Voucher.online_seconds, numeric=True, wide=True),
        Column("used", _l("Used"), lambda row: row.Voucher.octets, numeric=True, wide=True),
    ),
    order="number",
    tie=Voucher.service_id,
    filters=(
        Filter("state", _l("Any state"), _states, lambda value: state_expression(context.now()) == value),
    ),
)  # fmt: skip

CODES = Table(
    name="voucher-codes",
    columns=(
        Column("number", _l("Number"), lambda row: row[0].number),
        Column("code", _l("Code"), lambda row: row[1]),
    ),
    order="number",
    tie=None,
)

SALES = Table(
    name="voucher-sales",
    title=_l("Sales of vouchers"),
    columns=(
        Column("day", _l("Date"), lambda row: row.day),
        Column("seller", _l("Seller"), lambda row: row.seller),
        Column("batch", _l("Batch"), lambda row: row.batch),
        Column("sold", _l("Vouchers sold"), lambda row: row.sold, numeric=True),
        Column("refunded", _l("Taken back"), lambda row: row.refunded, numeric=True),
        Column("amount", _l("Amount"), lambda row: row.amount, numeric=True),
        Column("currency", _l("Currency"), lambda row: row.currency, exported_only=True),
    ),
    order="day",
    tie=None,
)


class BatchForm(forms.Form):
    name = forms.text(_l("Name"), required=True)
    count = forms.whole_number(_l("How many"), required=True)
    prefix = forms.text(_l("Prefix"))
    length = forms.whole_number(_l("Random characters"))
    plan_id = forms.choice(_l("Rate plan"), numeric=True)
    rate_download = RateField(_l("Download"))
    rate_upload = RateField(_l("Upload"))
    lasts = forms.whole_number(_l("Time from the first login"))
    lasts_unit = forms.choice(_l("Unit"))
    online = forms.whole_number(_l("Time online"))
    online_unit = forms.choice(_l("Unit"))
    octets = VolumeField(_l("Data"))
    ends_on = forms.day(_l("Good until"))
    best_before = forms.day(_l("First use until"))
    devices = forms.whole_number(_l("Devices at once"), required=True)
    nas_ids = SelectMultipleField(_l("Only at these routers"), coerce=int)
    price = forms.text(_l("Price"))
    activation = forms.choice(_l("Good for use"))
    template = forms.choice(_l("Paper"))
    seller = forms.choice(_l("Seller"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        session = context.db()
        plans = session.scalars(select(RatePlan).where(~RatePlan.archived).order_by(RatePlan.name))
        self.plan_id.choices = [Option(str(plan.id), plan.name) for plan in plans]
        units = [("minutes", _("minutes")), ("hours", _("hours")), ("days", _("days"))]
        self.lasts_unit.choices = self.online_unit.choices = units
        self.nas_ids.choices = [(nas.id, nas.name) for nas in session.scalars(select(Nas).order_by(Nas.name))]
        self.activation.choices = choices("voucher_activation")
        self.template.choices = choices("voucher_template")
        self.seller.choices = sellers()

    def terms(self) -> BatchTerms:
        """Return what was typed. Raises Invalid for a price that cannot be read."""
        operator = context.operator()
        locale = money_locale(operator.locale, operator.currency)
        price = typed_amount(self.price.data or "0", operator.currency, locale, "price", zero=True)
        staff_id, collector_id = seller_of(self.seller.data)
        return BatchTerms(
            name=self.name.data or "",
            count=self.count.data or 0,
            plan_id=self.plan_id.data or 0,
            price=price,
            prefix=self.prefix.data or "",
            length=self.length.data,
            lasts=_length(self.lasts.data, self.lasts_unit.data, "lasts"),
            online=_length(self.online.data, self.online_unit.data, "online"),
            ends_at=_end_of(self.ends_on.data),
            octets=self.octets.data,
            best_before=_end_of(self.best_before.data),
            devices=self.devices.data or 0,
            rate_download=self.rate_download.data,
            rate_upload=self.rate_upload.data,
            nas_ids=tuple(self.nas_ids.data or ()),
            activation=self.activation.data,
            template=self.template.data,
            seller_staff_id=staff_id,
            collector_id=collector_id,
        )


@blueprint.get("/")
@requires(Permission.VOUCHERS_VIEW)
def index() -> ResponseReturnValue:
    now = context.now()
    left = (
        select(func.count())
        .select_from(Voucher)
        .join(Service, Service.id == Voucher.service_id)
        .where(
            Voucher.batch_id == VoucherBatch.id,
            state_expression(now).in_(("stock", "unused")),
            ~exists().where(VoucherSale.voucher_id == Voucher.service_id),
        )
        .correlate(VoucherBatch)
        .scalar_subquery()
    )
    query = (
        select(VoucherBatch, func.coalesce(Collector.name, Staff.name).label("seller"), left.label("left"))
        .outerjoin(Collector, Collector.id == VoucherBatch.collector_id)
        .outerjoin(Staff, Staff.id == VoucherBatch.seller_staff_id)
    )
    return show(context.db(), TABLE, query, "staff/vouchers/index.html")


@blueprint.post("/find")
@requires(Permission.VOUCHERS_VIEW)
def find() -> ResponseReturnValue:
    """Look a code up. It comes by POST, so that it stands in no address and no log."""
    typed = request.form.get("code", "")
    voucher = find_code(context.db(), context.keyring(), context.staff().operator_id, typed)
    if voucher is None:
        refuse(_("No voucher has this code. Look for letters that were read wrongly, and at which operator it is."))
        return redirect(url_for("vouchers.index"))
    return redirect(url_for("voucher_codes.page", service_id=voucher.service_id))


@blueprint.get("/batches/new")
@requires(Permission.VOUCHERS_EDIT)
def new_page() -> ResponseReturnValue:
    form = BatchForm(count=100, devices=1, lasts_unit="hours", online_unit="hours", activation="sale")
    return _form_page(form)


@blueprint.post("/batches/new")
@requires(Permission.VOUCHERS_EDIT)
def create() -> ResponseReturnValue:
    form, session = BatchForm(), context.db()
    if form.validate():
        try:
            batch = create_batch(session, context.actor(), context.keyring(), form.terms(), context.now())
        except Invalid as invalid:
            put_on_form(form, _renamed(invalid))
        else:
            session.commit()
            done(ngettext("%(num)s voucher is made.", "%(num)s vouchers are made.", batch.count))
            return redirect(url_for("vouchers.batch", batch_id=batch.id))
    return _form_page(form), 422


@blueprint.get("/batches/<int:batch_id>")
@requires(Permission.VOUCHERS_VIEW)
def batch(batch_id: int) -> ResponseReturnValue:
    found, session, now = _batch(batch_id), context.db(), context.now()
    query = (
        select(Voucher, state_expression(now).label("state"), VoucherSale.sold_at)
        .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
        .join(Service, Service.id == Voucher.service_id)
        .outerjoin(VoucherSale, (VoucherSale.voucher_id == Voucher.service_id) & VoucherSale.refunded_at.is_(None))
        .where(Voucher.batch_id == found.id)
    )
    if request.args.get("format") is not None:
        return show(session, VOUCHERS, query, "")
    service = session.scalar(
        select(Service).join(Voucher, Voucher.service_id == Service.id).where(Voucher.batch_id == found.id).limit(1)
    )
    plan = session.get(RatePlan, service.plan_id) if service else None
    names = session.scalars(select(Nas.name).where(Nas.id.in_(found.nas_ids)).order_by(Nas.name)).all()
    prints = session.scalars(
        select(VoucherPrint).where(VoucherPrint.batch_id == found.id).order_by(VoucherPrint.id.desc()).limit(3)
    ).all()
    return render_template(
        "staff/vouchers/batch.html",
        batch=found,
        listing=page_of(session, VOUCHERS, query, request.args),
        counts=counts(session, [found.id], now)[found.id],
        states=list(VoucherState),
        service=service,
        plan=plan,
        routers=names,
        prints=prints,
        guessing=guessing_words(found.length, codes_like(session, found.operator_id, found.prefix, found.length)),
        sellers=sellers(),
        seller=seller_key(found),
        seller_name=dict(sellers()).get(seller_key(found), ""),
        templates=choices("voucher_template"),
    )


@blueprint.post("/batches/<int:batch_id>/print")
@requires(Permission.VOUCHERS_CODES)
def print_cards(batch_id: int) -> ResponseReturnValue:
    found, session = _batch(batch_id), context.db()
    parameters: dict[str, object] = {"batch": found.id, "template": request.form.get("template", found.template)}
    for name in ("first", "last"):
        typed = request.form.get(name, "").strip()
        if typed.isascii() and typed.isdigit() and len(typed) < 8:
            parameters[name] = int(typed)
    job = start_job(session, context.actor(), PRINT, parameters, found.name)
    session.commit()
    return redirect(url_for("jobs.page", job_id=job.id))


@blueprint.get("/prints/<int:print_id>")
@requires(Permission.VOUCHERS_CODES)
def printed(print_id: int) -> ResponseReturnValue:
    kept = context.db().get(VoucherPrint, print_id) or abort(404)
    answer = Response(opened_pdf(context.keyring(), kept.content), mimetype="application/pdf")
    answer.headers["Content-Disposition"] = f'inline; filename="vouchers-{kept.batch_id}.pdf"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.post("/batches/<int:batch_id>/codes.csv")
@requires(Permission.VOUCHERS_CODES)
def export_codes(batch_id: int) -> ResponseReturnValue:
    found, session = _batch(batch_id), context.db()
    vouchers = session.scalars(
        select(Voucher).where(Voucher.batch_id == found.id, Voucher.voided_at.is_(None)).order_by(Voucher.number)
    ).all()
    codes = readable_codes(session, context.actor(), context.keyring(), vouchers, "export")
    answer = exported(CODES, codes, "csv")
    session.commit()
    return answer


@blueprint.post("/batches/<int:batch_id>/assign")
@requires(Permission.VOUCHERS_EDIT)
def assign(batch_id: int) -> ResponseReturnValue:
    found = _batch(batch_id)
    staff_id, collector_id = seller_of(request.form.get("seller", ""))
    try:
        assign_batch(context.db(), context.actor(), found, staff_id, collector_id)
    except Invalid as invalid:
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("Saved."))
    return redirect(url_for("vouchers.batch", batch_id=batch_id))


@blueprint.post("/batches/<int:batch_id>/activate")
@requires(Permission.VOUCHERS_EDIT)
def activate_all(batch_id: int) -> ResponseReturnValue:
    found, session = _batch(batch_id), context.db()
    count = activate(session, found.id, context.now())
    record(session, context.actor(), "voucher_batch.activate", "voucher_batch", batch_id, None, {"vouchers": count})
    session.commit()
    done(ngettext("%(num)s voucher can be used now.", "%(num)s vouchers can be used now.", count))
    return redirect(url_for("vouchers.batch", batch_id=batch_id))


@blueprint.post("/batches/<int:batch_id>/void")
@requires(Permission.VOUCHERS_EDIT)
def void(batch_id: int) -> ResponseReturnValue:
    found, session = _batch(batch_id), context.db()
    try:
        count = void_batch(session, context.actor(), found, request.form.get("reason", ""), context.now())
    except Invalid:
        refuse(_("Say why they are cancelled."))
        return redirect(url_for("vouchers.batch", batch_id=batch_id))
    session.commit()
    done(ngettext("%(num)s voucher is cancelled.", "%(num)s vouchers are cancelled.", count))
    return redirect(url_for("vouchers.batch", batch_id=batch_id))


@blueprint.get("/sales")
@requires(Permission.BILLING_REPORTS)
def sales_report() -> ResponseReturnValue:
    today = context.now().astimezone(context.zone()).date()
    first = base.day_of(request.args.get("first", "")) or today.replace(day=1)
    last = base.day_of(request.args.get("last", "")) or today
    zone = context.zone()
    rows = sales(
        context.db(), context.operator(), start_of_day(first, zone), start_of_day(last + timedelta(days=1), zone)
    )
    if request.args.get("format"):
        return exported(SALES, rows, request.args["format"])
    return render_template(
        "staff/vouchers/sales.html",
        rows=rows,
        first=first,
        last=last,
        by_seller=_summed(rows, "seller"),
        by_batch=_summed(rows, "batch"),
        total=sum((row.amount for row in rows), Decimal(0)),
        sold=sum(row.sold - row.refunded for row in rows),
    )


def buys(batch: VoucherBatch) -> list[str]:
    """Return what the vouchers of a batch buy, in the reader's language."""
    return what_it_buys(batch, context.zone(), reader_language())


def guessing_words(length: int, codes: int) -> str:
    """Return how long guessing a first code takes, as a sentence."""
    takes = guessing_takes(length, codes)
    years = takes.days // 365
    if years >= 1:
        how_long = ngettext("about %(num)s year", "about %(num)s years", min(years, 1_000_000))
    else:
        how_long = ngettext("about %(num)s day", "about %(num)s days", takes.days)
    sentence: str = _(
        "Somebody with a thousand devices, %(rate)s tries a minute in all, would guess a first of %(codes)s codes in "
        "%(time)s.",
        rate=GUESSES,
        codes=codes,
        time=how_long,
    )
    return sentence


def sellers() -> list[tuple[str, str]]:
    """Return who may be given a batch, as choices: nobody in particular, staff, collectors."""
    session = context.db()
    staff = session.scalars(select(Staff).where(Staff.active).order_by(Staff.name))
    collectors = session.scalars(select(Collector).where(Collector.active).order_by(Collector.name))
    return [
        ("", _("Anybody who sells vouchers")),
        *((f"s{person.id}", person.name) for person in staff),
        *((f"c{one.id}", _("%(name)s (collector)", name=one.name)) for one in collectors),
    ]


def seller_of(key: str) -> tuple[int | None, int | None]:
    """Return the ids of staff and collector that a choice of `sellers()` names."""
    number = int(key[1:]) if key[1:].isascii() and key[1:].isdigit() and len(key) < 18 else None
    return (number, None) if key.startswith("s") else (None, number) if key.startswith("c") else (None, None)


def seller_key(batch: VoucherBatch) -> str:
    if batch.seller_staff_id is not None:
        return f"s{batch.seller_staff_id}"
    return f"c{batch.collector_id}" if batch.collector_id is not None else ""


def install(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals.update(
        voucher_buys=buys,
        voucher_rate=rate_words,
        voucher_length=lambda seconds: length_words(seconds, reader_language()),
        voucher_day=lambda instant: day_words(instant, context.zone(), reader_language()),
    )


blueprint.record_once(install)


def _summed(rows: Sequence[SalesLine], name: str) -> list[tuple[str, int, Decimal]]:
    found: dict[str, tuple[int, Decimal]] = {}
    for row in rows:
        sold, amount = found.get(getattr(row, name), (0, Decimal(0)))
        found[getattr(row, name)] = sold + row.sold - row.refunded, amount + row.amount
    return [(key, *sums) for key, sums in sorted(found.items(), key=lambda item: -item[1][1])]


def _form_page(form: BatchForm) -> str:
    operator_id = context.staff().operator_id
    asked = min(max(form.count.data or 100, 1), 10_000)
    exists = context.db().get(VoucherSettings, operator_id) is not None
    like = codes_like(context.db(), operator_id, "", shortest_safe(asked)) if exists else 0
    shortest = shortest_safe(asked + like)
    return render_template(
        "staff/vouchers/form.html",
        form=form,
        shortest=shortest,
        guessing=guessing_words(shortest, asked + like),
        alphabet=ALPHABET,
        has_plans=bool(form.plan_id.choices),
    )


def _renamed(invalid: Invalid) -> Invalid:
    """Return problems with the names that the form has for them."""
    names = {"ends_at": "ends_on"}
    return Invalid(
        *(FieldProblem(names.get(one.field, one.field), one.problem, one.detail) for one in invalid.problems)
    )


def _length(number: int | None, unit: str, name: str) -> timedelta | None:
    if number is None:
        return None
    if not 0 < number < 10_000_000:
        raise Invalid(FieldProblem(name, Problem.NOT_POSITIVE))
    return timedelta(seconds=number * UNITS.get(unit, 60))


def _end_of(day: date | None) -> datetime | None:
    """Return the instant at which a day ends where the operator is."""
    return None if day is None else start_of_day(day + timedelta(days=1), context.zone())


def _batch(batch_id: int) -> VoucherBatch:
    return context.db().get(VoucherBatch, batch_id) or abort(404)
