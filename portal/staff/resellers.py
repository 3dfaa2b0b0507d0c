"""Resellers: operators under this one, what they have in sums, the plans they get, and what they owe each month."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import BigInteger, DateTime, String, column, func, insert, select, true

from billing.wholesale import counts_of
from core.i18n import LANGUAGES
from core.money import rounded
from crm.accounts import ask_consent
from crm.notices import EMAIL, Message, values_of
from crm.problems import Invalid
from crm.resellers import Made, ResellerDetails, create_reseller, give_plan
from crm.staff import LINK_HOLDS
from db.models import Consent, Notification, RatePlan, WholesaleStatement
from portal import context, forms
from portal.acting import enter_by
from portal.auth import limiter, password_nobody_knows
from portal.errors import put_on_form
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("resellers", __name__, url_prefix="/resellers")

_INSTANT = DateTime(timezone=True)
RESELLERS = (
    func.reseller_usage()
    .table_valued(
        column("id", BigInteger), column("slug", String), column("name", String), column("created_at", _INSTANT),
        column("subscribers", BigInteger), column("services", BigInteger), column("online", BigInteger),
        column("last_sign_in", _INSTANT),
    )
    .alias("resellers")
)  # fmt: skip

TABLE = Table(
    name="resellers",
    columns=(
        Column("name", _l("Reseller"), lambda row: row.name, RESELLERS.c.name),
        Column("subscribers", _l("Subscribers"), lambda row: row.subscribers, RESELLERS.c.subscribers, numeric=True),
        Column("services", _l("Services"), lambda row: row.services, RESELLERS.c.services, numeric=True),
        Column("online", _l("Online"), lambda row: row.online, RESELLERS.c.online, numeric=True),
        Column("last", _l("Last signed in"), lambda row: row.last_sign_in, RESELLERS.c.last_sign_in, wide=True),
    ),
    order="name",
    tie=RESELLERS.c.id,
    search=lambda words: RESELLERS.c.name.icontains(words, autoescape=True),
    search_hint=_l("Name of a reseller"),
)


def _lines(row: WholesaleStatement) -> str:
    return "; ".join(f"{each['plan']}: {each['services']} × {each['price']} = {each['amount']}" for each in row.lines)


def _those() -> list[tuple[str, str]]:
    rows = context.db().execute(select(RESELLERS.c.id, RESELLERS.c.name).order_by(RESELLERS.c.name))
    return [(str(row.id), row.name) for row in rows]


STATEMENTS = Table(
    name="wholesale-statements",
    columns=(
        Column("month", _l("Month"), lambda row: row.month, WholesaleStatement.month),
        Column("reseller", _l("Reseller"), lambda row: row.reseller, WholesaleStatement.reseller),
        Column("lines", _l("Services × wholesale price"), _lines, wide=True),
        Column("total", _l("Total"), lambda row: row.total, WholesaleStatement.total, numeric=True),
    ),
    order="-month",
    tie=WholesaleStatement.id,
    filters=(
        Filter(
            "reseller",
            _l("Any reseller"),
            _those,
            lambda value: WholesaleStatement.reseller_id == (int(value) if value.isdigit() else 0),
        ),
    ),
)


class NewForm(forms.Form):
    name = forms.text(_l("Name of the reseller"), required=True)
    manager = forms.text(_l("Its manager"), required=True)
    email = forms.text(_l("E-mail address of the manager"), required=True)

    def details(self) -> ResellerDetails:
        return ResellerDetails(self.name.data or "", self.manager.data or "", self.email.data or "")


class PlanForm(forms.Form):
    plan_id = forms.choice(_l("Rate plan"), numeric=True, validate_choice=False)
    price = forms.number(_l("Wholesale price"), required=True)


class AskForm(forms.Form):
    reason = forms.text(_l("What for"), required=True)
    hours = forms.whole_number(_l("For how many hours"), required=True)


@blueprint.before_request
def _no_resellers_of_resellers() -> None:
    if context.signed_in_staff() is not None and context.account().parent_id is not None:
        abort(404)


@blueprint.get("")
@requires(Permission.ACCOUNT_EDIT)
def index() -> ResponseReturnValue:
    return show(context.db(), TABLE, select(RESELLERS).where(true()), "staff/resellers/index.html")


@blueprint.get("/statements")
@requires(Permission.ACCOUNT_EDIT)
def statements() -> ResponseReturnValue:
    mine = WholesaleStatement.operator_id == context.staff().operator_id
    return show(context.db(), STATEMENTS, select(WholesaleStatement).where(mine), "staff/resellers/statements.html")


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.ACCOUNT_EDIT)
@limiter.limit("20 per hour", methods=["POST"])
def create() -> ResponseReturnValue:
    form, session = NewForm(), context.db()
    if form.validate_on_submit():
        act_for, parent = context.portal().tenancy.acting_for, context.operator()
        try:
            made = create_reseller(
                session, act_for, context.actor(), parent, context.account().country, form.details(),
                password_nobody_knows(), context.now(),
            )  # fmt: skip
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            link = _mail(made)
            session.commit()
            # Rendered and not redirected to: the link stands on this page alone, in no cookie and no address.
            return _page(made.operator_id, link=link)
    return render_template("staff/resellers/new.html", form=form), 422 if form.errors else 200


@blueprint.get("/<int:reseller_id>")
@requires(Permission.ACCOUNT_EDIT)
def page(reseller_id: int) -> ResponseReturnValue:
    return _page(reseller_id)


@blueprint.post("/<int:reseller_id>/plans")
@requires(Permission.ACCOUNT_EDIT)
def plans(reseller_id: int) -> ResponseReturnValue:
    """Give a plan, or another price for one that was given."""
    row, session, form = _find(reseller_id), context.db(), PlanForm()
    plan = session.get(RatePlan, form.plan_id.data or 0)
    if form.validate_on_submit() and plan is not None and form.price.data is not None:
        try:
            give_plan(session, context.portal().tenancy.acting_for, context.actor(), reseller_id, plan, form.price.data)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(reseller)s sells %(plan)s from now on.", reseller=row.name, plan=plan.name))
            return redirect(url_for(".page", reseller_id=reseller_id))
    return _page(reseller_id, form=form), 422


@blueprint.post("/<int:reseller_id>/consents")
@requires(Permission.ACCOUNT_EDIT)
def ask(reseller_id: int) -> ResponseReturnValue:
    """Ask the reseller to let us act in its place."""
    row, session, form = _find(reseller_id), context.db(), AskForm()
    if form.validate_on_submit():
        act_for, hours = context.portal().tenancy.acting_for, form.hours.data or 0
        try:
            ask_consent(session, context.actor(), act_for, reseller_id, form.reason.data or "", hours, context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("The managers of %(name)s see the request on every page.", name=row.name))
            return redirect(url_for(".page", reseller_id=reseller_id))
    return _page(reseller_id, asking=form), 422


@blueprint.post("/<int:reseller_id>/consents/<int:consent_id>/enter")
@requires(Permission.ACCOUNT_EDIT)
def enter(reseller_id: int, consent_id: int) -> ResponseReturnValue:
    _find(reseller_id)
    if enter_by(reseller_id, consent_id):
        return redirect(url_for("home.index"))
    refuse(_("This consent does not hold, or not any more."))
    return redirect(url_for(".page", reseller_id=reseller_id))


def _find(reseller_id: int) -> Any:
    row = context.db().execute(select(RESELLERS).where(RESELLERS.c.id == reseller_id)).one_or_none()
    return row or abort(404)


def _page(reseller_id: int, *, form: PlanForm | None = None, asking: AskForm | None = None, link: str = "") -> str:
    row, session, operator = _find(reseller_id), context.db(), context.operator()
    form = form or PlanForm(formdata=None)
    offers = session.execute(select(RatePlan.id, RatePlan.name).where(~RatePlan.archived).order_by(RatePlan.name))
    form.plan_id.choices = [(each.id, each.name) for each in offers]
    given = [each for each in counts_of(session, operator.id) if each.reseller_id == reseller_id]
    consents = session.scalars(
        select(Consent)
        .where(Consent.operator_id == reseller_id, Consent.asker_operator_id == operator.id)
        .order_by(Consent.id.desc())
        .limit(5)
    )
    return render_template(
        "staff/resellers/page.html",
        row=row,
        form=form,
        asking=asking or AskForm(formdata=None, hours=4),
        given=[(each, rounded(each.price * each.services, operator.currency)) for each in given],
        consents=consents.all(),
        link=link,
    )


def _mail(made: Made) -> str:
    """Return the address by which the manager chooses a password, and mail it where a mail server is set."""
    # Never what the request calls this host, as in `portal.forgotten`.
    path = url_for("welcome.page", operator_id=made.operator_id, token=made.token)
    address = f"{context.portal().settings.public_url}{path}"
    if context.portal().settings.smtp_host is None:
        return address
    language = context.operator().locale.partition("-")[0]
    with force_locale(language if language in LANGUAGES else "en"):
        subject = _("Your access to %(company)s", company=_find(made.operator_id).name)
        body = "\n\n".join(
            (
                _("Hello %(name)s,", name=made.person.name),
                _("Open this link and choose a password. It works once, for %(days)s days:", days=LINK_HOLDS.days),
                address,
            )
        )
    message = Message("staff.link", EMAIL, made.person.email, language, str(subject), body)
    values = values_of(context.keyring(), context.staff().operator_id, message)
    context.db().execute(insert(Notification).values(**values).inline())
    return address
