"""The list of imports, the source of a new one, and where an import is."""

from flask import Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import delete, func, select, update
from wtforms import BooleanField

from crm.fields import SUBJECTS
from crm.jobs import OPEN, start_job
from db.audit import record
from db.models import CustomField, ImportBatch, ImportRow, Job, Nas, Router, RouterState
from network.importing.candidate import WITHOUT_SERVICE
from network.importing.files import recognise
from network.importing.jobs import READ, UNDO
from network.importing.sources import csv_file
from network.importing.staging import first_cut_off, stage
from network.importing.undo import hindrances
from portal import context
from portal.fields import Option
from portal.forms import Form, choice
from portal.i18n import number_locale
from portal.import_words import source_text
from portal.labels import label
from portal.messages import done, refuse
from portal.own_fields import own_fields
from portal.permissions import Permission, requires
from portal.staff.imports.base import blueprint, count_rows, find_batch, plans_on_sale
from portal.tables import Column, Table, show

FILE_PURPOSE = "import.file"
ROUTER_SOURCES = ("secrets", "queues", "leases", "hotspot")
PREVIEW = 5
"""Rows of a CSV file that are shown while its columns are named."""

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
    # The ids tell its fields from those of the form beside it.
    nas_id = choice(_l("Where these subscribers connect"), numeric=True, id="file_nas_id")
    tie = BooleanField(_l("Services may connect at this router only"), id="file_tie")


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
            form.form_errors.append(
                _(
                    "Choose a file. Nothing can be read in what you sent: it is empty, damaged,"
                    " or not the kind of file that it is called."
                )
            )
        else:
            form.form_errors.append(_("No users were found in this file. Below stands what it should hold."))
        return _first_step(_router_form(), form), 422
    batch = _new_batch(upload.source, upload.title, "columns", form.nas_id.data, form.tie.data)
    if upload.candidates is None:
        batch.content = context.keyring().seal(FILE_PURPOSE, upload.text)
        own = {field.title: field.id for field in _own_fields().values()}
        batch.options = csv_file.guess_columns(csv_file.take_apart(upload.text), own).document()
    else:
        stage(context.db(), context.keyring(), batch, upload.candidates)
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


def _first_step(router: RouterSource, file: FileSource) -> str:
    session = context.db()
    return render_template(
        "staff/imports/new.html", router=router, file=file, plans=plans_on_sale(session),
        sources=ROUTER_SOURCES,
    )  # fmt: skip


def _router_form() -> RouterSource:
    form = RouterSource(nas_id=request.args.get("nas_id", type=int))  # who comes from a router's page means that one
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
    batch = find_batch(batch_id)
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
        bad=count_rows(batch, ImportRow.state == "bad") if batch.state == "written" else 0,
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
    batch = find_batch(batch_id, "failed", "reading", "found", "writing")
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
    batch = find_batch(batch_id, "columns", "reading", "found", "failed")
    record(context.db(), context.actor(), "import.discard", "import", batch.id, None, {"source": batch.title})
    context.db().execute(delete(ImportBatch).where(ImportBatch.id == batch.id))
    context.db().commit()
    done(_("The import of %(title)s is discarded; nothing was written.", title=batch.title))
    return redirect(url_for("imports.index"))


# The columns of a CSV file.


@blueprint.get("/<int:batch_id>/columns")
@requires(Permission.IMPORTS)
def columns_page(batch_id: int) -> ResponseReturnValue:
    return _show_columns(find_batch(batch_id, "columns"))


@blueprint.post("/<int:batch_id>/columns")
@requires(Permission.IMPORTS)
def columns(batch_id: int) -> ResponseReturnValue:
    batch = find_batch(batch_id, "columns")
    file = _file(batch)
    meanings = tuple(request.form.get(f"column-{at}", "") for at in range(len(file.titles)))
    chosen = csv_file.Columns(
        request.form.get("access_method", ""), meanings, request.form.get("unit", "m"), "upload_first" in request.form,
        context.operator().currency, number_locale(),
    )  # fmt: skip
    named = [meaning for meaning in meanings if meaning]
    valid = (
        chosen.access_method in ("pppoe", "mac", "hotspot", "queue", WITHOUT_SERVICE)
        and chosen.unit in ("", "k", "m")
        and set(named) <= {*csv_file.COLUMNS, *_own_fields()}
    )
    if not valid:
        abort(400)
    batch.options = chosen.document()
    if len(named) != len(set(named)):
        return _show_columns(batch, _("Each meaning can be given to one column only.")), 422
    needed = {"pppoe": "login", "hotspot": "login", "mac": "mac", "queue": "framed_ip"}.get(
        chosen.access_method, "name"
    )
    if needed not in named and not (needed == "name" and {"first_name", "last_name"} & set(named)):
        missing = _("Say which column holds this: %(field)s.", field=_column_text(needed))
        return _show_columns(batch, missing), 422
    stage(context.db(), context.keyring(), batch, csv_file.candidates(file, chosen))
    context.db().commit()
    return redirect(url_for("imports.page", batch_id=batch.id))


def _show_columns(batch: ImportBatch, problem: str = "") -> str:
    file = _file(batch)
    preset = csv_file.program_of(file)
    return render_template(
        "staff/imports/columns.html", batch=batch, file=file, columns=csv_file.Columns.of(batch.options),
        preview=file.rows[:PREVIEW], problem=problem, most=csv_file.MOST_ROWS,
        meanings=[(column, _column_text(column)) for column in csv_file.COLUMNS],
        own=[(key, field.title) for key, field in _own_fields().items()], without_service=WITHOUT_SERVICE,
        program=preset.program if preset is not None else "",
    )  # fmt: skip


def _file(batch: ImportBatch) -> csv_file.CsvFile:
    assert batch.content is not None
    return csv_file.take_apart(context.keyring().open(FILE_PURPOSE, batch.content))


def _own_fields() -> dict[str, CustomField]:
    """Return the operator's own fields, each by the meaning of a column that holds it."""
    return {f"{csv_file.OWN}{field.id}": field for subject in SUBJECTS for field in own_fields(subject)}


def _column_text(column: str) -> str:
    return label("import_column", column)
