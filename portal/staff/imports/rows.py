"""Steps 2 and 3 of an import: what was found, and what becomes of each."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import ColumnElement, Select, false, func, or_, select, update

from core.numbers import read_number
from crm.fields import SUBJECTS
from crm.plans import PlanTerms, create_plan
from crm.problems import Invalid
from db.models import ImportBatch, ImportRow, RatePlan, Service, Subscriber
from network.importing.candidate import WITHOUT_SERVICE
from network.importing.matching import Action
from network.importing.sources import csv_file
from network.importing.staging import examine, give_plan, proposed_plans
from network.importing.writing import replaced_by
from portal import context
from portal.audit_words import field_text
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form, choice, day, text
from portal.i18n import number_locale
from portal.import_words import problems_of
from portal.labels import choices, label
from portal.messages import done, refuse
from portal.own_fields import own_fields
from portal.permissions import Permission, requires
from portal.staff.imports.base import (
    BAD,
    DOUBLE,
    OTHER_PRICE,
    blueprint,
    count_rows,
    find_batch,
    plans_on_sale,
    tally_of,
)
from portal.tables import Column, Filter, Table, show


def _actions() -> Sequence[tuple[str, Any]]:
    return choices("import_action")


def _looks() -> Sequence[tuple[str, Any]]:
    return [
        ("bad", _("Cannot be written")),
        ("double", _("Resembles something")),
        ("planless", _("Without a plan")),
        ("disabled", _("Disabled there")),
        ("price", _("Costs another price there")),
        ("changed", _("Decided by hand")),
    ]


def _looking(value: str) -> ColumnElement[bool]:
    conditions: dict[str, ColumnElement[bool]] = {
        "bad": BAD,
        "double": DOUBLE,
        "planless": ImportRow.plan_id.is_(None) & (ImportRow.access_method != WITHOUT_SERVICE),
        "disabled": ImportRow.disabled.is_(True),
        "price": OTHER_PRICE,
        "changed": ImportRow.decided.is_(True),
    }
    return conditions.get(value, false())


def _search(words: str) -> ColumnElement[bool]:
    return or_(
        ImportRow.name.icontains(words, autoescape=True),
        ImportRow.subscriber_name.icontains(words, autoescape=True),
        ImportRow.comment.icontains(words, autoescape=True),
        ImportRow.profile.icontains(words, autoescape=True),
        func.host(ImportRow.framed_ip).startswith(words, autoescape=True),
    )


ROWS = Table(
    name="import",
    columns=(
        Column("line", _l("Line"), lambda row: row.ImportRow.line, ImportRow.line, numeric=True),
        Column("subscriber", _l("Subscriber"), lambda row: row.ImportRow.subscriber_name, ImportRow.subscriber_name),
        Column("name", _l("Service"), lambda row: row.ImportRow.name, ImportRow.name),
        Column("ip", _l("Address"), lambda row: row.ImportRow.framed_ip, ImportRow.framed_ip),
        Column("mac", _l("MAC address"), lambda row: row.ImportRow.mac, exported_only=True),
        Column("download", _l("Rate"), lambda row: row.ImportRow.download, ImportRow.download),
        Column("upload", _l("Upload"), lambda row: row.ImportRow.upload, exported_only=True),
        Column("plan", _l("Rate plan"), lambda row: row.plan),
        Column("comment", _l("Comment"), lambda row: row.ImportRow.comment, wide=True),
        Column("action", _l("Becomes"), lambda row: label("import_action", row.ImportRow.action), exported_only=True),
    ),
    order="line",
    tie=ImportRow.id,
    filters=(
        Filter("look", _l("All rows"), _looks, _looking),
        Filter("action", _l("Any decision"), _actions, lambda value: ImportRow.action == value),
    ),
    search=_search,
    search_hint=_l("Name, user, address, comment"),
    count_up_to=csv_file.MOST_ROWS,
)
DECISIONS = replace(
    ROWS,
    columns=(
        ROWS.columns[0],
        ROWS.columns[1],
        Column("why", _l("What to know"), lambda row: "; ".join(problems_of(row.ImportRow))),
        Column("plan", _l("Rate plan"), lambda row: row.plan),
        Column("action", _l("Becomes"), lambda row: label("import_action", row.ImportRow.action), ImportRow.action),
    ),
)

LIST = ("look", "action", "q", "sort", "page")
"""What the address of a list of rows says about it; kept over a decision."""


@blueprint.get("/<int:batch_id>/found")
@requires(Permission.IMPORTS)
def found(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "found")
    session = context.db()
    waiting = (
        ImportRow.plan_id.is_(None), ImportRow.action != "ignore", ImportRow.access_method != WITHOUT_SERVICE
    )  # fmt: skip
    planless = count_rows(batch, *waiting)
    unlimited = count_rows(batch, *waiting, ImportRow.download.is_(None))
    return show(
        session, ROWS, rows_of(batch), "staff/imports/found.html", batch=batch, tally=tally_of(batch),
        planless=planless, unlimited=unlimited, proposals=proposed_plans(session, batch) if planless else [],
        other_price=count_rows(batch, OTHER_PRICE),
        plans=plans_on_sale(session), may_plan=context.may(Permission.PLANS_EDIT),
    )  # fmt: skip


@blueprint.post("/<int:batch_id>/plans")
@requires(Permission.IMPORTS)
def plans(batch_id: int) -> ResponseReturnValue:
    """Give rows of one rate a plan that exists, or one that is made for them here."""
    batch = find_batch(batch_id, "found")
    session = context.db()
    rate = _rate_of(request.form.get("rate", ""))
    wanted = request.form.get("plan", "")
    if wanted == "new":
        if not context.may(Permission.PLANS_EDIT) or rate is None:
            abort(403)
        try:
            price = _price_of(request.form.get("price", ""))
            terms = PlanTerms(request.form.get("name", ""), rate[0], rate[1], price=price)
            plan = create_plan(session, context.actor(), terms)
        except ValueError:
            refuse(_("The price is not a number."))
            return redirect(url_for("imports.found", batch_id=batch.id))
        except Invalid as invalid:
            form = Form()
            put_on_form(form, invalid)
            refuse(str(form.form_errors[0]))
            return redirect(url_for("imports.found", batch_id=batch.id))
    else:
        plan = _plan(wanted)
    count = give_plan(session, batch, rate, plan.id)
    examine(session, batch)
    session.commit()
    done(ngettext("%(num)s row has the plan %(plan)s now.", "%(num)s rows have the plan %(plan)s now.", count,
                  plan=plan.name))  # fmt: skip
    return redirect(url_for("imports.found", batch_id=batch.id))


@blueprint.get("/<int:batch_id>/rows")
@requires(Permission.IMPORTS)
def decisions(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "found")
    session = context.db()
    return show(
        session, DECISIONS, rows_of(batch), "staff/imports/rows.html", batch=batch, tally=tally_of(batch),
        plans=plans_on_sale(session),
    )  # fmt: skip


@blueprint.post("/<int:batch_id>/rows")
@requires(Permission.IMPORTS)
def decide(batch_id: int) -> ResponseReturnValue:
    """Keep the decisions of one page of rows, or one decision for all that the filters let through."""
    batch = find_batch(batch_id, "found")
    session = context.db()
    whole = request.form.get("all", "")
    if whole:
        if whole not in set(Action):
            abort(400)
        ids = [row.ImportRow.id for row in session.execute(_filtered(rows_of(batch)))]
        for begin in range(0, len(ids), 5000):
            session.execute(
                update(ImportRow)
                .where(ImportRow.id.in_(ids[begin : begin + 5000]))
                .values(action=whole, decided=True)
                .execution_options(synchronize_session=False)
            )
        done(ngettext("%(num)s row decided.", "%(num)s rows decided.", len(ids)))
    else:
        _decide_page(batch)
    session.flush()
    session.expire_all()
    examine(session, find_batch(batch_id, "found"))
    session.commit()
    args: dict[str, Any] = {name: request.form[name] for name in LIST if request.form.get(name)}
    return redirect(url_for("imports.decisions", batch_id=batch_id, **args))


def _decide_page(batch: ImportBatch) -> None:
    given = {name: value for name, value in request.form.items() if name.startswith(("action-", "plan-"))}
    ids = {int(name.partition("-")[2]) for name in given if name.partition("-")[2].isdigit()}
    plans = {plan.id for plan in plans_on_sale(context.db())}
    query = select(ImportRow).where(ImportRow.batch_id == batch.id, ImportRow.id.in_(ids))
    for row in context.db().scalars(query):
        action = given.get(f"action-{row.id}", row.action)
        if action != row.action and action in set(Action):
            row.action, row.decided = action, True
        plan = given.get(f"plan-{row.id}", "")
        if plan.isdigit() and int(plan) != row.plan_id and int(plan) in plans:
            row.plan_id, row.decided = int(plan), True
    done(_("Your decisions are kept."))


class RowForm(Form):
    subscriber_name = text(_l("Subscriber"), required=True)
    name = text(_l("User name or MAC address"), required=True)
    framed_ip = text(_l("Fixed IPv4 address"))
    plan_id = choice(_l("Rate plan"), numeric=True)
    phone = text(_l("Phone"))
    paid_until = day(_l("Paid until"))
    action = choice(_l("Becomes"))


@blueprint.get("/<int:batch_id>/rows/<int:row_id>")
@requires(Permission.IMPORTS)
def row_page(batch_id: int, row_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id)
    row = _row(batch, row_id)
    form = _row_form(row, RowForm(obj=row))
    return render_template(
        "staff/imports/row.html", batch=batch, row=row, form=form, changes=changes_of(row), own=_own_of(row)
    )


@blueprint.post("/<int:batch_id>/rows/<int:row_id>")
@requires(Permission.IMPORTS)
def save_row(batch_id: int, row_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "found")
    row = _row(batch, row_id)
    form = _row_form(row, RowForm())
    address = form.framed_ip.data if form.framed_ip is not None else None
    if form.validate_on_submit() and (address is None or _is_ipv4(address)):
        row.subscriber_name, row.phone = form.subscriber_name.data or "", form.phone.data
        row.action, row.decided = form.action.data, True
        if row.access_method != WITHOUT_SERVICE:
            row.name, row.framed_ip = form.name.data or "", address
            row.plan_id, row.paid_until = form.plan_id.data, form.paid_until.data
        context.db().flush()
        examine(context.db(), batch)
        context.db().commit()
        done(_("Your decisions are kept."))
        return redirect(url_for("imports.decisions", batch_id=batch.id))
    if form.framed_ip is not None and address is not None and not _is_ipv4(address):
        form.framed_ip.errors = [_("This is not an IP address, such as 10.20.0.15.")]
    return render_template(
        "staff/imports/row.html", batch=batch, row=row, form=form, changes=changes_of(row), own=_own_of(row)
    ), 422


def _row_form(row: ImportRow, form: RowForm) -> RowForm:
    plans = plans_on_sale(context.db())
    form.plan_id.choices = [Option("", _("none yet")), *(Option(plan.id, plan.name) for plan in plans)]
    form.action.choices = [Option(value, title) for value, title in choices("import_action")]
    if row.access_method == WITHOUT_SERVICE:
        for of_service in ("name", "framed_ip", "plan_id", "paid_until"):
            del form[of_service]
    return form


def _own_of(row: ImportRow) -> list[tuple[str, str]]:
    """Return what a row has for the operator's own fields, each with its title."""
    fields = [field for subject in SUBJECTS for field in own_fields(subject)]
    return [(field.title, row.custom[str(field.id)]) for field in fields if str(field.id) in row.custom]


def _is_ipv4(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)


def changes_of(row: ImportRow) -> list[tuple[str, object, object]]:
    """Return what an update of this row would change: field, what is stored, what would be."""
    service = context.db().get(Service, row.target_id) if row.action == "update" and row.target_id else None
    if service is None or row.state != "found":
        return []
    person = context.db().get_one(Subscriber, service.subscriber_id)
    wanted = replaced_by(row, service, person)
    plans = {plan.id: plan.name for plan in context.db().scalars(select(RatePlan))}
    found: list[tuple[str, object, object]] = []
    for stored, values in ((service, wanted["service"]), (person, wanted["subscriber"])):
        for name, value in values.items():
            before = getattr(stored, name)
            if name == "plan_id":
                before, value = plans.get(before, before), plans.get(int(str(value)), value)
            found.append((field_text(name), before, value))
    if row.password is not None:
        found.append((field_text("password"), "•••", _("the one of the import")))
    return found


def _row(batch: ImportBatch, row_id: int) -> ImportRow:
    row = context.db().get(ImportRow, row_id)
    return row if row is not None and row.batch_id == batch.id else abort(404)


def rows_of(batch: ImportBatch) -> Select[*tuple[Any, ...]]:
    return (
        select(ImportRow, RatePlan.name.label("plan"))
        .outerjoin(RatePlan, RatePlan.id == ImportRow.plan_id)
        .where(ImportRow.batch_id == batch.id)
    )


def _filtered(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Narrow rows as the posted form says that the list was narrowed."""
    for one in DECISIONS.filters:
        value = request.form.get(one.key, "")
        if value and value in {key for key, _title in one.choices()}:
            query = query.where(one.where(value))
    words = request.form.get("q", "").replace("\0", "").strip()[:200]
    return query.where(_search(words)) if words else query


def _plan(wanted: str) -> RatePlan:
    plan = context.db().get(RatePlan, int(wanted)) if wanted.isdigit() else None
    return plan if plan is not None and not plan.archived else abort(400)


def _price_of(written: str) -> Decimal:
    """Read the price of a new plan; none is 0. Raises ValueError."""
    return read_number(written, number_locale()) if written.strip() else Decimal(0)


def _rate_of(written: str) -> tuple[int, int] | None:
    """Read `download/upload` in bit/s from a form; "" is rows without a rate."""
    if not written:
        return None
    download, _slash, upload = written.partition("/")
    if not (download.isdigit() and upload.isdigit()):
        abort(400)
    return int(download), int(upload)
