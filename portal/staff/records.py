"""What an operator keeps of a subscriber beside the services: its own fields, documents, and personal data."""

from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from core.i18n import N_
from crm.documents import KINDS as DOCUMENT_KINDS
from crm.documents import add_document, remove_document
from crm.fields import (
    KINDS,
    SUBJECTS,
    FieldDetails,
    add_field,
    change_listed,
    fields_of,
    remove_field,
    set_values,
    values_of,
)
from crm.jobs import start_job
from crm.personal_data import ERASE, NotErasable, check_erasable, export_person
from crm.problems import FieldProblem, Invalid, Problem
from crm.retention import standing_hold
from db.models import CustomField, Service, StoredFile, Subscriber, SubscriberDocument
from portal import context, own_fields
from portal.errors import problem_text
from portal.files import send_stored, take_files, uploads
from portal.forms import mark_of
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.subscribers import find, live_sessions, services_of

blueprint = Blueprint("records", __name__)
take_files(blueprint, "upload")
blueprint.record_once(lambda state: own_fields.install(state.app))  # type: ignore[arg-type] # it is the application

DOCUMENT_WORDS = {
    "identity": N_("Identity card"),
    "contract": N_("Contract"),
    "address": N_("Proof of address"),
    "photo": N_("Photo"),
    "other": N_("Other"),
}
SUBJECT_WORDS = {"subscriber": N_("Subscriber"), "service": N_("Service")}
KIND_WORDS = {
    "text": N_("Text"),
    "number": N_("A number"),
    "date": N_("Date"),
    "choice": N_("Choice"),
    "yes_no": N_("Yes or no"),
}
WHY_NOT = {
    "hold": N_("Nothing was erased: this person is under a legal hold."),
    "services": N_("A service is not ended yet. End all services first."),
    "debt": N_("Something is still owed. Settle or credit it first."),
}


@blueprint.get("/subscribers/<int:subscriber_id>/record")
@requires(Permission.SUBSCRIBERS_VIEW)
def page(subscriber_id: int) -> ResponseReturnValue:
    return _show(subscriber_id)


@blueprint.post("/subscribers/<int:subscriber_id>/record")
@requires(Permission.SUBSCRIBERS_EDIT)
def save(subscriber_id: int) -> ResponseReturnValue:
    """Save the fields of the subscriber, or of one of the services."""
    session, subscriber = context.db(), find(subscriber_id)
    service_id = request.form.get("service", type=int)
    service = session.get(Service, service_id) if service_id else None
    if service_id and (service is None or service.subscriber_id != subscriber.id):
        abort(404)
    subject = service or subscriber
    kind = "service" if service else "subscriber"
    fields = fields_of(session, subscriber.operator_id, kind)
    typed = {field.id: request.form.get(f"custom-{field.id}", "") for field in fields}
    session.refresh(subject, with_for_update=True)
    stored = values_of(session, subject)
    if request.form.get("mark", mark_of(stored)) != mark_of(stored):
        titles = [(field.title, stored.get(field.id, ""), typed[field.id]) for field in fields]
        theirs = [each for each in titles if each[1] != each[2]]
        return _show(subscriber_id, typed=(service_id or 0, typed), theirs=theirs), 409
    try:
        set_values(session, context.actor(), subject, typed)
    except Invalid as invalid:
        session.rollback()
        return _show(subscriber_id, _by_field(invalid), (service_id or 0, typed)), 422
    session.commit()
    done(_("Saved."))
    return redirect(url_for(".page", subscriber_id=subscriber_id))


@blueprint.post("/subscribers/<int:subscriber_id>/documents")
@requires(Permission.DOCUMENTS_EDIT)
def upload(subscriber_id: int) -> ResponseReturnValue:
    session, subscriber = context.db(), find(subscriber_id)
    try:
        files = uploads("file")
        if not files:
            raise Invalid(FieldProblem("file", Problem.REQUIRED))
        for name, content in files:
            kind, note = request.form.get("kind", ""), request.form.get("note", "")
            add_document(session, context.actor(), subscriber, kind, note, name, content)
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
        return redirect(url_for(".page", subscriber_id=subscriber_id))
    session.commit()
    done(_("The document is kept."))
    return redirect(url_for(".page", subscriber_id=subscriber_id))


@blueprint.get("/subscribers/documents/<int:document_id>")
@requires(Permission.DOCUMENTS_VIEW)
def document(document_id: int) -> ResponseReturnValue:
    found = context.db().get(SubscriberDocument, document_id) or abort(404)
    return send_stored(context.db().get_one(StoredFile, found.file_id), download="download" in request.args)


@blueprint.post("/subscribers/documents/<int:document_id>/delete")
@requires(Permission.DOCUMENTS_EDIT)
def delete_document(document_id: int) -> ResponseReturnValue:
    session = context.db()
    found = session.get(SubscriberDocument, document_id) or abort(404)
    subscriber_id = found.subscriber_id
    remove_document(session, context.actor(), found)
    session.commit()
    done(_("The document is removed."))
    return redirect(url_for(".page", subscriber_id=subscriber_id))


@blueprint.post("/subscribers/<int:subscriber_id>/personal-data")
@requires(Permission.PERSONAL_DATA)
def export(subscriber_id: int) -> ResponseReturnValue:
    """Hand out all that is kept. A POST, since the audit log notes it."""
    session = context.db()
    content = export_person(session, context.actor(), find(subscriber_id))
    session.commit()
    headers = {
        "Content-Disposition": f'attachment; filename="personal-data-{subscriber_id}.zip"',
        "Cache-Control": "no-store",
    }
    return Response(content, mimetype="application/zip", headers=headers)


@blueprint.post("/subscribers/<int:subscriber_id>/erase")
@requires(Permission.PERSONAL_DATA)
def erase(subscriber_id: int) -> ResponseReturnValue:
    """Erase a person whose name was typed once more."""
    session = context.db()
    subscriber = session.get(Subscriber, subscriber_id) or abort(404)  # one who was removed may be erased at once, too
    if request.form.get("name", "").strip() != subscriber.name:
        refuse(_("Nothing was erased: type the name exactly as it stands above."))
        return redirect(url_for(".page", subscriber_id=subscriber_id))
    try:
        check_erasable(session, subscriber)
    except NotErasable as problem:
        refuse(_(WHY_NOT[problem.why]))
        return redirect(url_for(".page", subscriber_id=subscriber_id))
    parameters = {"subscriber_id": subscriber.id, "actor": context.actor().name}
    job = start_job(session, context.actor(), ERASE, parameters, f"#{subscriber.id}")
    session.commit()
    return redirect(url_for("jobs.page", job_id=job.id))


# The operator's own fields.


@blueprint.get("/settings/fields")
@requires(Permission.SETTINGS_EDIT)
def fields_page() -> ResponseReturnValue:
    return _show_fields({}, {})


@blueprint.post("/settings/fields")
@requires(Permission.SETTINGS_EDIT)
def add() -> ResponseReturnValue:
    form = request.form
    details = FieldDetails(
        form.get("subject", ""),
        form.get("title", ""),
        form.get("kind", ""),
        tuple(form.get("choices", "").splitlines()),
        "required" in form,
        "listed" in form,
    )
    try:
        made = add_field(context.db(), context.actor(), details)
    except Invalid as invalid:
        context.db().rollback()
        return _show_fields(_by_field(invalid), form.to_dict()), 422
    title = made.title
    context.db().commit()
    done(_("The field %(title)s is added.", title=title))
    return redirect(url_for(".fields_page"))


@blueprint.post("/settings/fields/<int:field_id>/listed")
@requires(Permission.SETTINGS_EDIT)
def list_field(field_id: int) -> ResponseReturnValue:
    """Show a field as a column of the list of subscribers or services, or no longer."""
    field = context.db().get(CustomField, field_id) or abort(404)
    change_listed(context.db(), context.actor(), field, listed=not field.listed)
    context.db().commit()
    done(_("Saved."))
    return redirect(url_for(".fields_page"))


@blueprint.post("/settings/fields/<int:field_id>/delete")
@requires(Permission.SETTINGS_EDIT)
def remove(field_id: int) -> ResponseReturnValue:
    session = context.db()
    field = session.get(CustomField, field_id) or abort(404)
    title = field.title
    count = remove_field(session, context.actor(), field)
    session.commit()
    done(_("The field %(title)s is removed, with %(count)s values.", title=title, count=count))
    return redirect(url_for(".fields_page"))


def _show_fields(problems: dict[str, str], typed: dict[str, str]) -> str:
    session, operator_id = context.db(), context.staff().operator_id
    return render_template(
        "staff/records/fields.html",
        fields=[field for subject in SUBJECTS for field in fields_of(session, operator_id, subject)],
        subjects=SUBJECT_WORDS,
        kinds={kind: KIND_WORDS[kind] for kind in KINDS},
        problems=problems,
        typed=typed,
    )


def _show(
    subscriber_id: int,
    problems: dict[str, str] | None = None,
    typed: tuple[int, Any] = (-1, {}),
    theirs: list[tuple[str, str, str]] | None = None,
) -> str:
    session, subscriber = context.db(), find(subscriber_id)
    services = services_of(subscriber)
    service_fields = fields_of(session, subscriber.operator_id, "service")
    forms = [
        (0, subscriber.name, fields_of(session, subscriber.operator_id, "subscriber"), values_of(session, subscriber))
    ]
    if service_fields:
        forms += [
            (service.id, service.name, service_fields, values_of(session, service))
            for service in services
            if service.state != "terminated"
        ]
    documents = session.execute(
        select(SubscriberDocument, StoredFile.name, StoredFile.size)
        .join(StoredFile, StoredFile.id == SubscriberDocument.file_id)
        .where(SubscriberDocument.subscriber_id == subscriber.id)
        .order_by(SubscriberDocument.id.desc())
    ).all()
    return render_template(
        "staff/records/page.html",
        subscriber=subscriber,
        services=services,
        live=live_sessions(services),
        forms=forms,
        problems=problems or {},
        typed=typed,
        theirs=theirs,
        mark_of=mark_of,
        documents=documents,
        standing_hold=standing_hold(session, subscriber.id),
        kinds={kind: DOCUMENT_WORDS[kind] for kind in DOCUMENT_KINDS},
    )


def _by_field(invalid: Invalid) -> dict[str, str]:
    return {problem.field: problem_text(problem) for problem in invalid.problems}
