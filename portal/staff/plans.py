"""Rate plans: list, page, create, edit, archive."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Numeric, func, literal, literal_column, select, update
from wtforms import (
    FieldList,
    FormField,
    HiddenField,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired

from aaa.facts import CapAction, Span
from aaa.fair_use import MOST_STEPS
from billing.fair_use_preview import TRY, read_preview, start_trial
from core.rates import Burst, format_rate
from crm.attributes import BadAttribute, format_extra, parse_extra
from crm.currencies import foreign_currencies, in_books, price_in_books
from crm.jobs import OPEN
from crm.plan_items import items_of_plans, monthly_price
from crm.plans import (
    PlanTerms,
    change_plan,
    check_fair_use,
    create_plan,
    fingerprint,
    reach,
    set_archived,
    terms_of_plan,
    touches_live_sessions,
)
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.models import Job, RatePlan, Service
from portal import context, forms
from portal.errors import problem_text
from portal.fields import MinutesField, Option, RateField, ScaledField, VolumeField, seconds
from portal.formats import octets
from portal.messages import done
from portal.permissions import Permission, requires
from portal.reasons import CAP_ACTIONS
from portal.staff.plan_items import ItemForm
from portal.staff.plan_parts import (
    DAYS,
    SPANS,
    BonusForm,
    StepForm,
    WindowForm,
    read_bonus,
    read_steps,
    read_windows,
)
from portal.tables import Column, Filter, Table, show
from radius.mikrotik import mikrotik_rate_limit

blueprint = Blueprint("plans", __name__, url_prefix="/plans")


def _sold() -> list[tuple[str, Any]]:
    return [("sold", _("On sale")), ("archived", _("Archived"))]


COUNTED = 10_000
"""Services of a plan are counted so far in the list; its page counts them all."""

_IN_USE = (
    select(literal(1).label("one"))
    .where(Service.plan_id == RatePlan.id, Service.state != "terminated")
    .limit(COUNTED + 1)
    .correlate(RatePlan)
    .subquery()
)
_SERVICES = select(func.count()).select_from(_IN_USE).correlate(RatePlan).scalar_subquery()

BOOK_PRICE = literal_column(in_books("rate_plan.price", "rate_plan"), Numeric)
"""By this prices in several currencies are put in order."""

TABLE = Table(
    name="rate-plans",
    columns=(
        Column("name", _l("Name"), lambda row: row.RatePlan.name, RatePlan.name),
        Column("download", _l("Download"), lambda row: row.RatePlan.download, RatePlan.download, numeric=True),
        Column("upload", _l("Upload"), lambda row: row.RatePlan.upload, RatePlan.upload, numeric=True),
        Column(
            "cap", _l("Data cap"), lambda row: row.RatePlan.cap_octets, RatePlan.cap_octets, numeric=True, wide=True
        ),
        Column("price", _l("Price"), lambda row: row.RatePlan.price, BOOK_PRICE, numeric=True),
        Column("services", _l("Services"), lambda row: row.services, numeric=True),
        Column("rate_limit", "Mikrotik-Rate-Limit", lambda row: rate_limit(row.RatePlan), wide=True),
    ),
    order="name",
    tie=RatePlan.id,
    filters=(Filter("state", _l("State"), _sold, lambda value: RatePlan.archived.is_(value == "archived")),),
    search=lambda text: RatePlan.name.icontains(text, autoescape=True),
    search_hint=_l("Name of the plan"),
)


def rate_limit(plan: RatePlan) -> str:
    """Return what a router is told of the plan's rate."""
    return mikrotik_rate_limit(terms_of_plan(plan).rate)


class PlanForm(forms.Form):
    name = StringField(_l("Name"), [InputRequired(_l("Give the plan a name."))])
    price = forms.number(_l("Price a month"))
    price_currency = forms.choice(_l("Currency"), validate_choice=False)
    download = RateField(_l("Download"), [InputRequired(_l("This is needed."))])
    upload = RateField(_l("Upload"), [InputRequired(_l("This is needed."))])
    burst_download = RateField(_l("Burst download"))
    burst_upload = RateField(_l("Burst upload"))
    burst_threshold_download = RateField(_l("Threshold download"))
    burst_threshold_upload = RateField(_l("Threshold upload"))
    burst_seconds = ScaledField(_l("Averaged over"))
    priority = SelectField(_l("Priority"))
    minimum_download = RateField(_l("Guaranteed download"))
    minimum_upload = RateField(_l("Guaranteed upload"))
    cap_octets = VolumeField(_l("Data cap of a billing period"))
    cap_action = SelectField(_l("When it is reached"))
    throttle_download = RateField(_l("Then download"))
    throttle_upload = RateField(_l("Then upload"))
    boost_download = RateField(_l("Download while boosted"))
    boost_upload = RateField(_l("Upload while boosted"))
    boost_hours = forms.whole_number(_l("For so many hours"))
    boost_price = forms.number(_l("Price of a boost"))
    steps = FieldList(FormField(StepForm), _l("Steps of fair use"), max_entries=MOST_STEPS)
    bonus_hours = FieldList(FormField(BonusForm), _l("Hours that count less"))
    rollover_periods = forms.whole_number(_l("What is left may be used for"))
    rollover_most = VolumeField(_l("At the most"))
    top_up_octets = VolumeField(_l("Volume of a top-up"))
    top_up_price = forms.number(_l("Price of a top-up"))
    top_ups_automatic = forms.whole_number(_l("Bought by itself"))
    windows = FieldList(FormField(WindowForm), _l("Time windows"))
    pool = StringField(_l("Address pool"))
    ipv6_pool = StringField(_l("IPv6 pool"))
    delegated_ipv6_pool = StringField(_l("Delegated IPv6 pool"))
    address_list = StringField(_l("Address list"))
    session_timeout = MinutesField(_l("Session timeout"))
    idle_timeout = MinutesField(_l("Idle timeout"))
    interim_interval = MinutesField(_l("Interim updates every"))
    extra = TextAreaField(_l("Extra RADIUS attributes"))
    seen = HiddenField()
    agreed = HiddenField()

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.foreign = foreign_currencies(context.db(), context.staff().operator_id)
        self.price_currency.choices = [(code, code) for code in (context.operator().currency, *self.foreign)]
        self.priority.choices = [Option("", _("None")), *(Option(str(n)) for n in range(1, 9))]
        self.cap_action.choices = [Option(action.value, _(text)) for action, text in CAP_ACTIONS.items()]
        if request.method == "GET":
            self.windows.append_entry()
            self.bonus_hours.append_entry()
        while len(self.steps) < MOST_STEPS:
            self.steps.append_entry({"span": Span.MONTH.value})

    def terms(self) -> PlanTerms:
        """Return what was entered. Raises Invalid for what cannot even be read."""
        problems = []
        extra: tuple[tuple[str, str, str], ...] = ()
        try:
            extra = parse_extra(self.extra.data or "")
        except BadAttribute as refused:
            problems.append(_attribute_problem(refused))
        parts = (
            "burst_download",
            "burst_upload",
            "burst_threshold_download",
            "burst_threshold_upload",
            "burst_seconds",
        )
        values = [self[name].data for name in parts]
        burst = None
        if any(value is not None for value in values):
            problems += [
                FieldProblem(name, Problem.REQUIRED) for name, value in zip(parts, values, strict=True) if value is None
            ]
            burst = Burst(*values) if None not in values else None
        windows = read_windows(self.windows, problems)
        steps = read_steps(self.steps, problems)
        bonus_hours = read_bonus(self.bonus_hours, problems)
        if problems:
            raise Invalid(*problems)
        return PlanTerms(
            name=self.name.data or "",
            price=self.price.data or Decimal(0),
            price_currency=_foreign(self.price_currency.data),
            download=self.download.data or 0,
            upload=self.upload.data or 0,
            burst=burst,
            priority=int(self.priority.data) if self.priority.data else None,
            minimum_download=self.minimum_download.data,
            minimum_upload=self.minimum_upload.data,
            cap_octets=self.cap_octets.data,
            cap_action=CapAction(self.cap_action.data),
            throttle_download=self.throttle_download.data,
            throttle_upload=self.throttle_upload.data,
            boost_download=self.boost_download.data,
            boost_upload=self.boost_upload.data,
            boost_hours=self.boost_hours.data,
            boost_price=self.boost_price.data,
            windows=windows,
            steps=steps,
            bonus_hours=bonus_hours,
            rollover_periods=self.rollover_periods.data or 0,
            rollover_most=self.rollover_most.data,
            top_up_octets=self.top_up_octets.data,
            top_up_price=self.top_up_price.data,
            top_ups_automatic=self.top_ups_automatic.data or 0,
            pool=_word(self.pool.data),
            ipv6_pool=_word(self.ipv6_pool.data),
            delegated_ipv6_pool=_word(self.delegated_ipv6_pool.data),
            address_list=_word(self.address_list.data),
            session_timeout=self.session_timeout.length,
            idle_timeout=self.idle_timeout.length,
            interim_interval=self.interim_interval.length or timedelta(minutes=5),
            extra=extra,
        )

    def show_problems(self, invalid: Invalid) -> None:
        """Put each problem beside its field, with rates and volumes in words."""
        for problem in invalid.problems:
            field = self._field(problem.field)
            text = problem_text(_in_words(problem, field))
            if field is None:
                self.form_errors.append(text)
            else:
                field.errors = [*field.errors, text]

    def _field(self, name: str) -> Any:
        if name in self:
            return self[name]
        parts = name.split("-")
        repeated = parts[0] in ("windows", "steps", "bonus_hours")
        if len(parts) == 3 and repeated and int(parts[1]) < len(self[parts[0]]):
            return self[parts[0]][int(parts[1])].form[parts[2]]
        return None


@blueprint.get("/")
@requires(Permission.PLANS_VIEW)
def index() -> ResponseReturnValue:
    plans = select(RatePlan, _SERVICES.label("services"))
    return show(context.db(), TABLE, plans, "staff/plans/index.html", rate_limit=rate_limit, counted=COUNTED)


@blueprint.get("/<int:plan_id>")
@requires(Permission.PLANS_VIEW)
def page(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    items = items_of_plans(context.db(), [plan])[plan.id]
    may_sell = context.may(Permission.PLANS_EDIT) and not plan.archived
    book_price = price_in_books(context.db(), plan, context.now().astimezone(context.zone()).date())
    return render_template(
        "staff/plans/page.html",
        plan=plan,
        items=items,
        book_price=book_price,
        monthly=monthly_price(plan, items, book_price),
        item_form=ItemForm(formdata=None) if may_sell else None,
        terms=terms_of_plan(plan),
        rate_limit=rate_limit(plan),
        reach=reach(context.db(), [plan.id])[plan.id],
        cap_action=_(CAP_ACTIONS[CapAction(plan.cap_action)]),
        days={number: _(name) for number, name in DAYS.items()},
        spans={span: _(text) for span, text in SPANS.items()},
    )


@blueprint.get("/new")
@requires(Permission.PLANS_EDIT)
def new_page() -> ResponseReturnValue:
    form = PlanForm(interim_interval=300, cap_action=CapAction.NOTHING.value)
    return render_template("staff/plans/form.html", form=form, plan=None, warning=None, trial=None)


@blueprint.post("/new")
@requires(Permission.PLANS_EDIT)
def create() -> ResponseReturnValue:
    form = PlanForm()
    session = context.db()
    if form.validate_on_submit():
        try:
            plan = create_plan(session, context.actor(), form.terms())
        except Invalid as invalid:
            form.show_problems(invalid)
        else:
            session.commit()
            done(_("%(plan)s is created.", plan=plan.name))
            return redirect(url_for("plans.page", plan_id=plan.id))
    return render_template("staff/plans/form.html", form=form, plan=None, warning=None, trial=None), 422


@blueprint.get("/<int:plan_id>/edit")
@requires(Permission.PLANS_EDIT)
def edit_page(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    return render_template("staff/plans/form.html", form=_filled(plan), plan=plan, warning=None, trial=None)


@blueprint.post("/<int:plan_id>/edit")
@requires(Permission.PLANS_EDIT)
def edit(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    form = PlanForm()
    session = context.db()
    warning = None
    if form.validate_on_submit():
        try:
            terms = form.terms()
            touched = reach(session, [plan.id])[plan.id].live_sessions
            changes = touches_live_sessions(terms_of_plan(plan), replace(terms, name=plan.name))
            if touched and changes and form.agreed.data != "yes":
                form.agreed.data, form.agreed.raw_data = "yes", None
                warning = touched
            else:
                change_plan(session, context.actor(), plan, terms, form.seen.data or "")
        except Invalid as invalid:
            form.show_problems(invalid)
        except ChangedMeanwhile:
            form.form_errors.append(
                _(
                    "Somebody else has changed this plan since you opened it. Open it again in another tab, compare,"
                    " and enter your change there."
                )
            )
        else:
            if warning is None:
                session.commit()
                done(_("%(plan)s is saved.", plan=plan.name))
                return redirect(url_for("plans.page", plan_id=plan.id))
    status = 200 if warning else 422
    return render_template("staff/plans/form.html", form=form, plan=plan, warning=warning, trial=None), status


@blueprint.post("/<int:plan_id>/try")
@requires(Permission.PLANS_EDIT)
def try_out(plan_id: int) -> ResponseReturnValue:
    """Have it found out what the rules that were entered would have done last month; nothing is saved."""
    plan = _plan(plan_id)
    form = PlanForm()
    trial = None
    if form.validate_on_submit():
        try:
            terms = form.terms()
            check_fair_use(terms)
            trial = start_trial(context.db(), context.actor(), plan, terms)
            context.db().commit()
        except Invalid as invalid:
            form.show_problems(invalid)
    status = 200 if trial else 422
    return render_template("staff/plans/form.html", form=form, plan=plan, warning=None, trial=trial), status


@blueprint.get("/<int:plan_id>/tried/<int:job_id>")
@requires(Permission.PLANS_EDIT)
def tried(plan_id: int, job_id: int) -> ResponseReturnValue:
    """What the rules would have done, or how far the trying is; the form of the plan shows this page's middle."""
    plan, session = _plan(plan_id), context.db()
    job = session.get(Job, job_id)
    if job is None or job.kind != TRY or job.parameters["plan"] != plan.id:
        abort(404)
    if job.state not in OPEN and not job.told and job.staff_id == context.staff().id:
        session.execute(update(Job).where(Job.id == job.id).values(told=True))
        session.commit()
    return render_template(
        "staff/plans/trial.html",
        plan=plan,
        trial=job,
        tried=read_preview(job.outcome) if job.state == "done" else None,
        under_way=job.state in OPEN,
        spans={span: _(text) for span, text in SPANS.items()},
    )


@blueprint.post("/<int:plan_id>/archive")
@requires(Permission.PLANS_EDIT)
def archive(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    set_archived(context.db(), context.actor(), plan, True)
    context.db().commit()
    done(
        _("%(plan)s is archived: it is no longer sold, and whoever has it keeps it.", plan=plan.name),
        undo=url_for("plans.restore", plan_id=plan.id),
    )
    return redirect(url_for("plans.page", plan_id=plan.id))


@blueprint.post("/<int:plan_id>/restore")
@requires(Permission.PLANS_EDIT)
def restore(plan_id: int) -> ResponseReturnValue:
    plan = _plan(plan_id)
    set_archived(context.db(), context.actor(), plan, False)
    context.db().commit()
    done(_("%(plan)s is sold again.", plan=plan.name))
    return redirect(url_for("plans.page", plan_id=plan.id))


def _foreign(currency: str | None) -> str | None:
    """Return the currency of a price where it is another than that of the books."""
    return None if not currency or currency == context.operator().currency else currency


def _plan(plan_id: int) -> RatePlan:
    return context.db().get(RatePlan, plan_id) or abort(404)


def _filled(plan: RatePlan) -> PlanForm:
    terms = terms_of_plan(plan)
    burst = terms.burst
    return PlanForm(
        name=terms.name,
        price=terms.price.quantize(Decimal("0.01")),
        price_currency=terms.price_currency or context.operator().currency,
        download=terms.download,
        upload=terms.upload,
        burst_download=burst.download if burst else None,
        burst_upload=burst.upload if burst else None,
        burst_threshold_download=burst.threshold_download if burst else None,
        burst_threshold_upload=burst.threshold_upload if burst else None,
        burst_seconds=burst.seconds if burst else None,
        priority=str(terms.priority or ""),
        minimum_download=terms.minimum_download,
        minimum_upload=terms.minimum_upload,
        cap_octets=terms.cap_octets,
        cap_action=terms.cap_action.value,
        throttle_download=terms.throttle_download,
        throttle_upload=terms.throttle_upload,
        boost_download=terms.boost_download,
        boost_upload=terms.boost_upload,
        boost_hours=terms.boost_hours,
        boost_price=None if terms.boost_price is None else terms.boost_price.quantize(Decimal("0.01")),
        windows=[
            {
                "days": list(window.days),
                "begin": window.begin,
                "until": window.until,
                "download": window.download,
                "upload": window.upload,
            }
            for window in terms.windows
        ],
        steps=[step.document() for step in terms.steps],
        bonus_hours=[bonus.document() for bonus in terms.bonus_hours],
        rollover_periods=terms.rollover_periods or None,
        rollover_most=terms.rollover_most,
        top_up_octets=terms.top_up_octets,
        top_up_price=None if terms.top_up_price is None else terms.top_up_price.quantize(Decimal("0.01")),
        top_ups_automatic=terms.top_ups_automatic or None,
        pool=terms.pool,
        ipv6_pool=terms.ipv6_pool,
        delegated_ipv6_pool=terms.delegated_ipv6_pool,
        address_list=terms.address_list,
        session_timeout=seconds(terms.session_timeout),
        idle_timeout=seconds(terms.idle_timeout),
        interim_interval=seconds(terms.interim_interval),
        extra=format_extra(terms.extra),
        seen=fingerprint(plan),
    )


def _word(text: str | None) -> str | None:
    return (text or "").strip() or None


def _attribute_problem(refused: BadAttribute) -> FieldProblem:
    return FieldProblem("extra", Problem.ATTRIBUTE, {"name": refused.name, "flaw": refused.flaw.value})


def _in_words(problem: FieldProblem, field: Any) -> FieldProblem:
    if problem.problem is not Problem.OUT_OF_RANGE:
        return problem
    if isinstance(field, RateField):
        return replace(problem, detail={key: format_rate(int(value)) for key, value in problem.detail.items()})
    if isinstance(field, VolumeField):
        return replace(problem, detail={key: octets(int(value)) for key, value in problem.detail.items()})
    return problem
