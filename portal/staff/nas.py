"""NAS: list, create, page with the commands for the router, edit, secret, delete."""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField

from crm.nas import (
    NasTerms,
    change_secret,
    create_nas,
    delete_nas,
    dependents,
    new_secret,
    reveal_secret,
    routeros_snippet,
    terms_of_nas,
)
from crm.problems import Invalid
from db.models import AccountingSession, Nas, NasHeard, Router
from network.routers import change_nas_alone
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import Option
from portal.labels import choices
from portal.messages import done
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("nas", __name__, url_prefix="/nas")

QUIET = timedelta(minutes=15)
"""A NAS with subscribers sends an interim update every few minutes; one that is silent for longer is worth a look."""

_LIVE = (
    select(func.count())
    .where(AccountingSession.nas_id == Nas.id, AccountingSession.ended_at.is_(None))
    .correlate(Nas)
    .scalar_subquery()
)


def _enabled() -> Sequence[tuple[str, Any]]:
    return choices("enabled")


TABLE = Table(
    name="nas",
    columns=(
        Column("name", _l("Name"), lambda row: row.Nas.name, Nas.name),
        Column("address", _l("Address"), lambda row: str(row.Nas.address), Nas.address),
        Column("heard", _l("Last heard"), lambda row: row.last_packet_at, NasHeard.last_packet_at),
        Column("live", _l("Live sessions"), lambda row: row.live, numeric=True),
        Column("state", _l("State"), lambda row: row.Nas.enabled, wide=True),
        Column("notes", _l("Notes"), lambda row: row.Nas.notes, wide=True),
    ),
    order="name",
    tie=Nas.id,
    filters=(Filter("state", _l("Any state"), _enabled, lambda value: Nas.enabled.is_(value == "yes")),),
    search=lambda text: Nas.name.icontains(text, autoescape=True) | func.host(Nas.address).startswith(text),
    search_hint=_l("Name or address"),
)


class NasForm(forms.Watched):
    name = forms.text(_l("Name"), required=True)
    address = forms.text(_l("Address"), required=True)
    secret = forms.text(_l("Shared secret"))
    coa_port = forms.whole_number(_l("CoA port"), required=True)
    coa_address = forms.text(_l("CoA address"))
    coa_window = forms.whole_number(_l("CoA requests at once"), required=True)
    require_message_authenticator = BooleanField(_l("Demand Message-Authenticator on requests"))
    coa_message_authenticator = BooleanField(_l("Send Message-Authenticator in CoA"))
    coa_session_id = BooleanField(_l("Send Acct-Session-Id in CoA"))
    swap_directions = BooleanField(_l("Swap download and upload in accounting"))
    enabled = BooleanField(_l("In use"))
    notes = forms.long_text(_l("Notes"))

    def terms(self) -> NasTerms:
        return NasTerms(
            name=self.name.data or "",
            address=self.address.data or "",
            coa_address=self.coa_address.data,
            coa_port=self.coa_port.data or 0,
            coa_window=self.coa_window.data or 0,
            coa_message_authenticator=self.coa_message_authenticator.data,
            coa_session_id=self.coa_session_id.data,
            require_message_authenticator=self.require_message_authenticator.data,
            swap_directions=self.swap_directions.data,
            enabled=self.enabled.data,
            notes=self.notes.data or "",
        )


class DeleteForm(forms.Form):
    move_to = forms.choice(_l("Services tied to it"))


@blueprint.get("/")
@requires(Permission.NAS_VIEW)
def index() -> ResponseReturnValue:
    query = select(Nas, NasHeard.last_packet_at, _LIVE.label("live")).outerjoin(NasHeard, NasHeard.nas_id == Nas.id)
    return show(context.db(), TABLE, query, "staff/nas/index.html", quiet=QUIET)


@blueprint.get("/new")
@requires(Permission.NAS_EDIT)
def new_page() -> ResponseReturnValue:
    form = NasForm(coa_port=3799, coa_window=32, coa_session_id=True, enabled=True)
    return render_template("staff/nas/form.html", form=form, nas=None)


@blueprint.post("/new")
@requires(Permission.NAS_EDIT)
def create() -> ResponseReturnValue:
    form = NasForm()
    session = context.db()
    if form.validate_on_submit():
        secret = form.secret.data or new_secret()
        try:
            nas = create_nas(session, context.actor(), context.keyring(), form.terms(), secret)
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            session.commit()
            # Rendered and not redirected to: the secret stands on this page alone, in no cookie and no address.
            return _show_page(nas, secret, created=True)
    return render_template("staff/nas/form.html", form=form, nas=None), 422


@blueprint.get("/<int:nas_id>")
@requires(Permission.NAS_VIEW)
def page(nas_id: int) -> ResponseReturnValue:
    return _show_page(_nas(nas_id), None)


@blueprint.post("/<int:nas_id>/secret")
@requires(Permission.NAS_SECRET)
def show_secret(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    secret = reveal_secret(context.db(), context.actor(), context.keyring(), nas)
    context.db().commit()
    return _show_page(nas, secret)


@blueprint.post("/<int:nas_id>/new-secret")
@requires(Permission.NAS_SECRET)
def replace_secret(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    secret = new_secret()
    change_secret(context.db(), context.actor(), context.keyring(), nas, secret)
    context.db().commit()
    return _show_page(nas, secret, replaced=True)


def _stored(nas: Nas) -> NasForm:
    """Return the form as a NAS is entered now; its secret is in no form."""
    return NasForm(None, obj=terms_of_nas(nas))


@blueprint.get("/<int:nas_id>/edit")
@requires(Permission.NAS_EDIT)
def edit_page(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    return render_template("staff/nas/form.html", form=forms.watched(_stored(nas)), nas=nas)


@blueprint.post("/<int:nas_id>/edit")
@requires(Permission.NAS_EDIT)
def edit(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    context.db().refresh(nas, with_for_update=True)
    name = nas.name
    form = NasForm()
    if form.validate_on_submit() and not form.changed_meanwhile(_stored(nas)):
        try:
            change_nas_alone(context.db(), context.actor(), nas, form.terms())
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("%(nas)s is saved; its next packet is judged by it.", nas=nas.name))
            return redirect(url_for("nas.page", nas_id=nas.id))
    page = render_template("staff/nas/form.html", form=form, nas=nas, name=name)
    return page, 409 if form.theirs is not None else 422


@blueprint.get("/<int:nas_id>/delete")
@requires(Permission.NAS_EDIT)
def delete_page(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    return render_template(
        "staff/nas/delete.html", nas=nas, form=_delete_form(nas), hanging=dependents(context.db(), nas)
    )


@blueprint.post("/<int:nas_id>/delete")
@requires(Permission.NAS_EDIT)
def delete(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    form = _delete_form(nas)
    if not form.validate_on_submit():
        return _ask_to_delete(nas, form), 422
    target = _nas(int(form.move_to.data)) if form.move_to.data else None
    try:
        delete_nas(context.db(), context.actor(), nas, target, context.now())
    except Invalid as invalid:
        put_on_form(form, invalid)
        return _ask_to_delete(nas, form), 422
    context.db().commit()
    done(_("%(nas)s is deleted; its packets are no longer answered.", nas=nas.name))
    return redirect(url_for("nas.index"))


def _ask_to_delete(nas: Nas, form: DeleteForm) -> str:
    return render_template("staff/nas/delete.html", nas=nas, form=form, hanging=dependents(context.db(), nas))


def _nas(nas_id: int) -> Nas:
    return context.db().get(Nas, nas_id) or abort(404)


def _delete_form(nas: Nas) -> DeleteForm:
    others = context.db().scalars(select(Nas).where(Nas.id != nas.id).order_by(Nas.name)).all()
    form = DeleteForm()
    form.move_to.choices = [
        Option("", _("may connect at any router")),
        *(Option(str(other.id), _("move to %(nas)s", nas=other.name)) for other in others),
    ]
    return form


def _show_page(nas: Nas, secret: str | None, *, created: bool = False, replaced: bool = False) -> ResponseReturnValue:
    settings = context.portal().settings
    session = context.db()
    heard = session.scalar(select(NasHeard.last_packet_at).where(NasHeard.nas_id == nas.id))
    snippet = routeros_snippet(nas, secret or _("SECRET"), server_address(), settings.auth_port, settings.acct_port)
    return render_template(
        "staff/nas/page.html",
        nas=nas,
        heard=heard,
        has_api=session.get(Router, nas.id) is not None,
        quiet=QUIET,
        hanging=dependents(session, nas),
        secret=secret,
        snippet=snippet,
        created=created,
        replaced=replaced,
    )


def server_address() -> str:
    """Return the address that routers should ask: what the settings say, else what the browser came to."""
    settings = context.portal().settings
    for address in (settings.coa_source, settings.radius_address):
        if address is not None and not ipaddress.ip_address(address).is_unspecified:
            return address
    return urlsplit(f"//{request.host}").hostname or request.host
