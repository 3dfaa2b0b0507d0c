"""Imports: a wizard in four steps, from what a router or a file holds to subscribers and services.

    source → what was found → what becomes of each → summary → written, and undone while nothing depends on it

Each step is a page with an address. What was found is stored, so the wizard can be left and come back to; nothing
becomes a subscriber before the summary is agreed to.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import ColumnElement, Select, case, delete, false, func, or_, select, update
from sqlalchemy.orm import Session
from wtforms import BooleanField

from crm.jobs import OPEN, start_job
from crm.plans import PlanTerms, create_plan
from crm.problems import Invalid
from db.audit import record
from db.models import ImportBatch, ImportRow, Job, Nas, RatePlan, Router, RouterState, Service, Subscriber, VpnPeer
from db.models.vpn import VpnPeerState
from network.importing.files import LARGEST, recognise
from network.importing.jobs import READ, UNDO, WRITE
from network.importing.matching import Action
from network.importing.sources import csv_file
from network.importing.staging import Checked, examine, first_cut_off, give_plan, proposed_plans, stage
from network.importing.undo import hindrances
from network.importing.writing import replaced_by
from portal import context, import_words
from portal.errors import put_on_form
from portal.fields import Option
from portal.forms import Form, choice, day, text
from portal.import_words import findings_of, problems_of, source_text
from portal.labels import choices, field_text, label
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, defused, show

blueprint = Blueprint("imports", __name__, url_prefix="/imports")
FILE_PURPOSE = "import.file"
ROUTER_SOURCES = ("secrets", "queues", "leases")
PREVIEW = 5
"""Rows of a CSV file that are shown while its columns are named."""
DIFFERENCES = 20
"""Updates of which the summary shows what changes; the others stand in the rows."""


@blueprint.url_value_preprocessor
def _take_large_files(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    # Before anything reads the form: the rest of the portal takes far less.
    request.max_content_length = LARGEST


# The list of imports.

BATCHES = Table(
    name="imports",
    columns=(
        Column("at", _l("When"), lambda row: row.ImportBatch.created_at, ImportBatch.created_at),
        Column("title", _l("From"), lambda row: row.ImportBatch.title, ImportBatch.title),
        Column("source", _l("Source"), lambda row: source_text(row.ImportBatch.source), wide=True),
        Column("rows", _l("Rows"), lambda row: row.rows, numeric=True),
        Column("state", _l("State"), lambda row: label("import_state", row.ImportBatch.state)),
    ),
    order="-at",
    tie=ImportBatch.id,
)


@blueprint.get("/")
@requires(Permission.IMPORTS)
def index() -> ResponseReturnValue:
    rows = select(func.count()).where(ImportRow.batch_id == ImportBatch.id).correlate(ImportBatch).scalar_subquery()
    return show(context.db(), BATCHES, select(ImportBatch, rows.label("rows")), "staff/imports/index.html")


# Step 1: the source.


class RouterSource(Form):
    nas_id = choice(_l("Router"), numeric=True)
    source = choice(_l("What to read"))
    tie = BooleanField(_l("Services may connect at this router only"))


class FileSource(Form):
    nas_id = choice(_l("Where these subscribers connect"), numeric=True)
    tie = BooleanField(_l("Services may connect at this router only"))


@blueprint.get("/new")
@requires(Permission.IMPORTS)
def new_page() -> ResponseReturnValue:
    return _first_step(_router_form(), _file_form())


@blueprint.post("/router")
@requires(Permission.IMPORTS)
def from_router() -> ResponseReturnValue:
    form = _router_form()
    if not form.validate_on_submit() or form.nas_id.data is None:
        return _first_step(form, _file_form()), 422
    nas = context.db().get(Nas, form.nas_id.data) or abort(404)
    batch = _new_batch(form.source.data, nas.name, "reading", nas.id, form.tie.data or form.source.data == "queues")
    _read(batch)
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.post("/file")
@requires(Permission.IMPORTS)
def from_file() -> ResponseReturnValue:
    form = _file_form()
    files = {file.filename or str(at): file.read() for at, file in enumerate(request.files.getlist("files"))}
    upload = recognise(files)
    if not form.validate_on_submit() or upload is None or upload.candidates == []:
        if upload is None:
            form.form_errors.append(_("Choose a file. What you sent was empty."))
        else:
            form.form_errors.append(_("No users were found in this file. Below stands what it should hold."))
        return _first_step(_router_form(), form), 422
    batch = _new_batch(upload.source, upload.title, "columns", form.nas_id.data, form.tie.data)
    if upload.candidates is None:
        batch.content = context.keyring().seal(FILE_PURPOSE, upload.text)
        batch.options = csv_file.guess_columns(csv_file.take_apart(upload.text)).document()
    else:
        stage(context.db(), context.keyring(), batch, upload.candidates)
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


def _first_step(router: RouterSource, file: FileSource) -> str:
    session = context.db()
    return render_template(
        "staff/imports/new.html", router=router, file=file, plans=_plans_on_sale(session),
        sources=ROUTER_SOURCES,
    )  # fmt: skip


def _router_form() -> RouterSource:
    form = RouterSource()
    routers = context.db().execute(
        select(Nas.id, Nas.name, RouterState.status)
        .join(Router, Router.nas_id == Nas.id)
        .outerjoin(RouterState, RouterState.nas_id == Nas.id)
        .order_by(Nas.name)
    )
    form.nas_id.choices = [
        Option(row.id, row.name if row.status == "online" else _("%(router)s (not seen online)", router=row.name))
        for row in routers
    ]
    form.source.choices = [Option(source, source_text(source)) for source in ROUTER_SOURCES]
    return form


def _file_form() -> FileSource:
    form = FileSource()
    names = context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))
    form.nas_id.choices = [Option("", _("at any router")), *(Option(row.id, row.name) for row in names)]
    return form


def _new_batch(source: str, title: str, state: str, nas_id: int | None, tie: bool) -> ImportBatch:
    operator = context.operator()
    today = context.now().astimezone(context.zone()).date()
    batch = ImportBatch(
        operator_id=operator.id,
        staff_id=context.staff().id,
        nas_id=nas_id,
        source=source,
        title=title,
        state=state,
        tie=bool(tie) and nas_id is not None,
        paid_until=first_cut_off(today, operator.cut_off_day),
        options={},
        counts={},
    )
    context.db().add(batch)
    context.db().flush()
    return batch


def _read(batch: ImportBatch) -> None:
    batch.state, batch.problem, batch.detail = "reading", "", ""
    job = start_job(context.db(), context.actor(), READ, {"batch_id": batch.id}, batch.title)
    batch.job_id = job.id
    context.db().flush()


# Where an import is.


@blueprint.get("/<int:batch_id>")
@requires(Permission.IMPORTS)
def page(batch_id: int) -> ResponseReturnValue:
    """Show an import at the step that it has come to."""
    batch = _batch(batch_id)
    session = context.db()
    job = session.get(Job, batch.job_id) if batch.job_id else None
    _mark_as_told(job)
    if batch.state in ("columns", "found"):
        url = url_for("imports.columns_page" if batch.state == "columns" else "imports.found", batch_id=batch.id)
        if "HX-Request" in request.headers:  # what waited for the router goes on by itself
            return Response(headers={"HX-Redirect": url})
        return redirect(url)
    under_way = batch.state in ("reading", "writing") and job is not None and job.state in OPEN
    hindered = hindrances(session, batch) if batch.state == "written" and not (job and job.state in OPEN) else []
    return render_template(
        "staff/imports/page.html", batch=batch, job=job, under_way=under_way, hindered=hindered,
        undoing=batch.state == "written" and job is not None and job.kind == UNDO and job.state in OPEN,
        bad=_count(batch, ImportRow.state == "bad") if batch.state == "written" else 0,
        shadows=batch.source == "secrets" and batch.nas_id is not None,
    )  # fmt: skip


def _mark_as_told(job: Job | None) -> None:
    """Say that who is signed in knows how a job ended: its import is before them."""
    if job is not None and job.state not in OPEN and job.staff_id == context.staff().id and not job.told:
        context.db().execute(update(Job).where(Job.id == job.id).values(told=True))
        context.db().commit()


@blueprint.post("/<int:batch_id>/again")
@requires(Permission.IMPORTS)
def again(batch_id: int) -> ResponseReturnValue:
    """Read the router once more; or go back to the decisions after a writing that did not come about."""
    batch = _batch(batch_id, "failed", "reading", "found", "writing")
    job = context.db().get(Job, batch.job_id) if batch.job_id else None
    if job is not None and job.state in OPEN:
        refuse(_("It is still under way."))
    elif batch.state == "writing":
        batch.state = "found"
    elif batch.source in ROUTER_SOURCES:
        _read(batch)
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.post("/<int:batch_id>/discard")
@requires(Permission.IMPORTS)
def discard(batch_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "columns", "reading", "found", "failed")
    record(context.db(), context.actor(), "import.discard", "import", batch.id, None, {"source": batch.title})
    context.db().execute(delete(ImportBatch).where(ImportBatch.id == batch.id))
    context.db().commit()
    done(_("The import of %(title)s is discarded; nothing was written.", title=batch.title))
    return redirect(url_for("imports.index"))


# The columns of a CSV file.


@blueprint.get("/<int:batch_id>/columns")
@requires(Permission.IMPORTS)
def columns_page(batch_id: int) -> ResponseReturnValue:
    return _show_columns(_batch(batch_id, "columns"))


@blueprint.post("/<int:batch_id>/columns")
@requires(Permission.IMPORTS)
def columns(batch_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "columns")
    file = _file(batch)
    meanings = tuple(request.form.get(f"column-{at}", "") for at in range(len(file.titles)))
    chosen = csv_file.Columns(
        request.form.get("access_method", ""), meanings, request.form.get("unit", "m"), "upload_first" in request.form
    )
    named = [meaning for meaning in meanings if meaning]
    valid = (
        chosen.access_method in ("pppoe", "mac", "hotspot", "queue")
        and chosen.unit in ("", "k", "m")
        and set(named) <= set(csv_file.COLUMNS)
    )
    if not valid:
        abort(400)
    batch.options = chosen.document()
    if len(named) != len(set(named)):
        return _show_columns(batch, _("Each meaning can be given to one column only.")), 422
    needed = {"pppoe": "login", "hotspot": "login", "mac": "mac", "queue": "framed_ip"}[chosen.access_method]
    if needed not in named:
        missing = _("Say which column holds this: %(field)s.", field=_column_text(needed))
        return _show_columns(batch, missing), 422
    stage(context.db(), context.keyring(), batch, csv_file.candidates(file, chosen))
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


def _show_columns(batch: ImportBatch, problem: str = "") -> str:
    file = _file(batch)
    return render_template(
        "staff/imports/columns.html", batch=batch, file=file, columns=csv_file.Columns.of(batch.options),
        preview=file.rows[:PREVIEW], problem=problem, most=csv_file.MOST_ROWS,
        meanings=[(column, _column_text(column)) for column in csv_file.COLUMNS],
    )  # fmt: skip


def _file(batch: ImportBatch) -> csv_file.CsvFile:
    assert batch.content is not None
    return csv_file.take_apart(context.keyring().open(FILE_PURPOSE, batch.content))


def _column_text(column: str) -> str:
    return label("import_column", column)


# Steps 2 and 3: what was found, and what becomes of each.

_BAD = func.jsonb_array_length(ImportRow.problems) > 0
_DOUBLE = func.jsonb_array_length(ImportRow.duplicates) > 0


def _actions() -> Sequence[tuple[str, Any]]:
    return choices("import_action")


def _looks() -> Sequence[tuple[str, Any]]:
    return [
        ("bad", _("Cannot be written")),
        ("double", _("Resembles something")),
        ("planless", _("Without a plan")),
        ("disabled", _("Disabled there")),
        ("changed", _("Decided by hand")),
    ]


def _looking(value: str) -> ColumnElement[bool]:
    conditions: dict[str, ColumnElement[bool]] = {
        "bad": _BAD,
        "double": _DOUBLE,
        "planless": ImportRow.plan_id.is_(None),
        "disabled": ImportRow.disabled.is_(True),
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


_WHAT = case((ImportRow.framed_ip.is_not(None), func.host(ImportRow.framed_ip)), else_=ImportRow.key)
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
    batch = _batch(batch_id, "found")
    session = context.db()
    planless = _count(batch, ImportRow.plan_id.is_(None), ImportRow.action != "ignore")
    unlimited = _count(batch, ImportRow.plan_id.is_(None), ImportRow.download.is_(None), ImportRow.action != "ignore")
    return show(
        session, ROWS, _rows(batch), "staff/imports/found.html", batch=batch, tally=_tally(batch),
        planless=planless, unlimited=unlimited, proposals=proposed_plans(session, batch) if planless else [],
        plans=_plans_on_sale(session), may_plan=context.may(Permission.PLANS_EDIT),
    )  # fmt: skip


@blueprint.post("/<int:batch_id>/plans")
@requires(Permission.IMPORTS)
def plans(batch_id: int) -> ResponseReturnValue:
    """Give rows of one rate a plan that exists, or one that is made for them here."""
    batch = _batch(batch_id, "found")
    session = context.db()
    rate = _rate_of(request.form.get("rate", ""))
    wanted = request.form.get("plan", "")
    if wanted == "new":
        if not context.may(Permission.PLANS_EDIT) or rate is None:
            abort(403)
        try:
            plan = create_plan(session, context.actor(), PlanTerms(request.form.get("name", ""), rate[0], rate[1]))
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
    batch = _batch(batch_id, "found")
    session = context.db()
    return show(
        session, DECISIONS, _rows(batch), "staff/imports/rows.html", batch=batch, tally=_tally(batch),
        plans=_plans_on_sale(session),
    )  # fmt: skip


@blueprint.post("/<int:batch_id>/rows")
@requires(Permission.IMPORTS)
def decide(batch_id: int) -> ResponseReturnValue:
    """Keep the decisions of one page of rows, or one decision for all that the filters let through."""
    batch = _batch(batch_id, "found")
    session = context.db()
    whole = request.form.get("all", "")
    if whole:
        if whole not in set(Action):
            abort(400)
        ids = [row.ImportRow.id for row in session.execute(_filtered(_rows(batch)))]
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
    examine(session, _batch(batch_id, "found"))
    session.commit()
    args: dict[str, Any] = {name: request.form[name] for name in LIST if request.form.get(name)}
    return redirect(url_for("imports.decisions", batch_id=batch_id, **args))


def _decide_page(batch: ImportBatch) -> None:
    given = {name: value for name, value in request.form.items() if name.startswith(("action-", "plan-"))}
    ids = {int(name.partition("-")[2]) for name in given if name.partition("-")[2].isdigit()}
    plans = {plan.id for plan in _plans_on_sale(context.db())}
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
    batch = _batch(batch_id)
    row = _row(batch, row_id)
    form = _row_form(row, RowForm(obj=row))
    return render_template("staff/imports/row.html", batch=batch, row=row, form=form, changes=_changes(row))


@blueprint.post("/<int:batch_id>/rows/<int:row_id>")
@requires(Permission.IMPORTS)
def save_row(batch_id: int, row_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "found")
    row = _row(batch, row_id)
    form = _row_form(row, RowForm())
    address = form.framed_ip.data
    if form.validate_on_submit() and (address is None or _is_ipv4(address)):
        row.subscriber_name, row.name = form.subscriber_name.data or "", form.name.data or ""
        row.framed_ip, row.plan_id, row.phone = address, form.plan_id.data, form.phone.data
        row.paid_until, row.action, row.decided = form.paid_until.data, form.action.data, True
        context.db().flush()
        examine(context.db(), batch)
        context.db().commit()
        done(_("Your decisions are kept."))
        return redirect(url_for("imports.decisions", batch_id=batch.id))
    if address is not None and not _is_ipv4(address):
        form.framed_ip.errors = [_("This is not an IP address, such as 10.20.0.15.")]
    return render_template("staff/imports/row.html", batch=batch, row=row, form=form, changes=_changes(row)), 422


def _row_form(row: ImportRow, form: RowForm) -> RowForm:
    plans = _plans_on_sale(context.db())
    form.plan_id.choices = [Option("", _("none yet")), *(Option(plan.id, plan.name) for plan in plans)]
    form.action.choices = [Option(value, title) for value, title in choices("import_action")]
    return form


def _is_ipv4(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)


def _changes(row: ImportRow) -> list[tuple[str, object, object]]:
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


# Step 4: the summary, and writing.


class SummaryForm(Form):
    paid_until = day(_l("Paid until"))


@blueprint.get("/<int:batch_id>/summary")
@requires(Permission.IMPORTS)
def summary(batch_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "found")
    checked = examine(context.db(), batch)
    context.db().commit()
    return _show_summary(batch, checked, SummaryForm(obj=batch))


@blueprint.post("/<int:batch_id>/write")
@requires(Permission.IMPORTS)
def write(batch_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "found")
    form = SummaryForm()
    checked = examine(context.db(), batch)
    if not form.validate_on_submit() or not any(one.terms is not None for one in checked):
        if not form.errors:
            form.form_errors.append(_("There is no row that could be written."))
        return _show_summary(batch, checked, form), 422
    batch.paid_until = form.paid_until.data
    batch.state = "writing"
    job = start_job(context.db(), context.actor(), WRITE, {"batch_id": batch.id}, batch.title)
    batch.job_id = job.id
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.post("/<int:batch_id>/undo")
@requires(Permission.IMPORTS)
def undo(batch_id: int) -> ResponseReturnValue:
    batch = _batch(batch_id, "written")
    if hindrances(context.db(), batch):
        refuse(_("This import cannot be undone any more; the page says why."))
    else:
        job = start_job(context.db(), context.actor(), UNDO, {"batch_id": batch.id}, batch.title)
        batch.job_id = job.id
        context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


@blueprint.get("/<int:batch_id>/bad.csv")
@requires(Permission.IMPORTS)
def bad_rows(batch_id: int) -> ResponseReturnValue:
    """The rows that were not, or cannot be, written: with line and reason, to put right and import again."""
    batch = _batch(batch_id)
    text_file = io.StringIO()
    writer = csv.writer(text_file)
    titles = ("line", "subscriber", "name", "address", "mac", "download", "upload", "profile", "comment", "reason")
    writer.writerow(titles)
    query = select(ImportRow).where(ImportRow.batch_id == batch.id, _BAD | (ImportRow.state == "bad"))
    for row in context.db().scalars(query.order_by(ImportRow.line)):
        reasons = problems_of(row) or [words for bars, words in findings_of(row) if bars]
        values = (
            row.line, row.subscriber_name, row.name or row.key, str(row.framed_ip or ""), row.mac or "",
            row.download or "", row.upload or "", row.profile, row.comment, " ".join(reasons),
        )  # fmt: skip
        writer.writerow([defused(value) for value in values])
    return Response(
        text_file.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="import-{batch.id}-not-written.csv"'},
    )


def _show_summary(batch: ImportBatch, checked: Sequence[Checked], form: SummaryForm) -> str:
    session = context.db()
    writable = [one for one in checked if one.terms is not None]
    per_plan: dict[int | None, int] = {}
    for one in writable:
        per_plan[one.row.plan_id] = per_plan.get(one.row.plan_id, 0) + 1
    names = {plan.id: plan.name for plan in session.scalars(select(RatePlan))}
    updates = [one.row for one in writable if one.action is Action.UPDATE]
    return render_template(
        "staff/imports/summary.html", batch=batch, form=form,
        created=sum(one.action in (Action.NEW, Action.ADD) for one in writable), updated=len(updates),
        ignored=sum(one.action is Action.IGNORE for one in checked),
        bad=[one for one in checked if one.terms is None and one.action is not Action.IGNORE],
        suspended=sum(one.row.disabled and one.action is not Action.UPDATE for one in writable),
        plans=sorted((names.get(plan_id or 0, _("as before")), count) for plan_id, count in per_plan.items()),
        changes=[(row, _changes(row)) for row in updates[:DIFFERENCES]],
        preflight=_preflight(session, batch),
    )  # fmt: skip


def _preflight(session: Session, batch: ImportBatch) -> list[tuple[bool, str]]:
    """Return what should be so before an import: whether it is, and the sentence."""
    found = []
    if batch.nas_id is not None and session.get(Router, batch.nas_id) is not None:
        state = session.get(RouterState, batch.nas_id)
        online = state is not None and state.status == "online"
        found.append((online, _("The router is online.") if online else _("The router was not online when last seen.")))
    peer = session.scalar(select(VpnPeer).where(VpnPeer.nas_id == batch.nas_id)) if batch.nas_id else None
    if peer is not None:
        seen = session.get(VpnPeerState, peer.id)
        recent = seen is not None and seen.handshake_at is not None
        up = (
            recent
            and seen is not None
            and seen.handshake_at is not None
            and context.now() - seen.handshake_at < timedelta(minutes=5)
        )
        found.append((bool(up), _("Its VPN is up.") if up else _("Its VPN is down.")))
    plans = len(_plans_on_sale(session))
    found.append((plans > 0, _("Rate plans are configured.") if plans else _("There is no rate plan yet.")))
    return found


# Below here: what the above is made of.


def _batch(batch_id: int, *states: str) -> ImportBatch:
    """Return an import; what it asks for must fit the step it is at, or the browser is sent there."""
    batch: ImportBatch = context.db().get(ImportBatch, batch_id) or abort(404)
    if states and batch.state not in states:
        abort(redirect(url_for("imports.page", batch_id=batch.id)))
    return batch


def _row(batch: ImportBatch, row_id: int) -> ImportRow:
    row = context.db().get(ImportRow, row_id)
    return row if row is not None and row.batch_id == batch.id else abort(404)


def _rows(batch: ImportBatch) -> Select[*tuple[Any, ...]]:
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


def _count(batch: ImportBatch, *conditions: ColumnElement[bool]) -> int:
    return context.db().scalar(select(func.count()).where(ImportRow.batch_id == batch.id, *conditions)) or 0


def _tally(batch: ImportBatch) -> dict[str, int]:
    """Return how many rows there are, and of them those of each decision, bad and doubled."""
    row = context.db().execute(
        select(
            func.count().label("all"),
            *(func.count().filter(ImportRow.action == action.value).label(action.value) for action in Action),
            func.count().filter(_BAD).label("bad"),
            func.count().filter(_DOUBLE).label("double"),
        ).where(ImportRow.batch_id == batch.id)
    ).one()  # fmt: skip
    return dict(row._mapping)


def _plans_on_sale(session: Session) -> Sequence[RatePlan]:
    return session.scalars(select(RatePlan).where(RatePlan.archived.is_(False)).order_by(RatePlan.name)).all()


def _plan(wanted: str) -> RatePlan:
    plan = context.db().get(RatePlan, int(wanted)) if wanted.isdigit() else None
    return plan if plan is not None and not plan.archived else abort(400)


def _rate_of(written: str) -> tuple[int, int] | None:
    """Read `download/upload` in bit/s from a form; "" is rows without a rate."""
    if not written:
        return None
    download, _slash, upload = written.partition("/")
    if not (download.isdigit() and upload.isdigit()):
        abort(400)
    return int(download), int(upload)


def _install(state: BlueprintSetupState) -> None:
    import_words.install(state.app)  # type: ignore[arg-type] # it is the application


blueprint.record_once(_install)
