"""Routers: list with their state, form that tests the connection before saving, page, edit, delete.

A router is a NAS and its RouterOS API; the form enters both at once, or the API of a NAS that is there already.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from sqlalchemy.orm import contains_eager
from wtforms import BooleanField, PasswordField, RadioField
from wtforms.validators import Optional

from core.crypto import SecretUnreadable
from crm.nas import NasTerms, dependents, new_secret, terms_of_nas
from crm.problems import Invalid
from db.models import Nas, NasHeard, Router, RouterState
from network.access import PASSWORD_PURPOSE, access_of
from network.api import PORT, TLS_PORT, shown_certificate
from network.check import Check, check_router
from network.problems import RouterProblem
from network.routers import (
    RouterTerms,
    attach_router,
    change_router,
    create_router,
    delete_router,
    detach_router,
    entered_access,
    forget_certificate,
    note_check,
    pin_certificate,
    terms_of_router,
    would_move,
)
from network.shaper import NETWORK, files
from portal import context, forms
from portal.auth import limiter
from portal.errors import put_on_form
from portal.fields import Option, RateField
from portal.labels import choices
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.router_page import check_place, router_or_404, router_page
from portal.router_words import cause_title
from portal.staff.nas import QUIET, server_address
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("routers", __name__, url_prefix="/routers")

PATIENCE = 8.0
"""Seconds that somebody in front of a form waits for a router to take the connection and the password."""

HANDSHAKE_PATIENCE = 3.0


def _states() -> Sequence[tuple[str, Any]]:
    return choices("router_status")


def _status(row: Any) -> str:
    return row.RouterState.status if row.RouterState is not None else "unknown"


def _of_state(name: str) -> Any:
    """Return what gives a value of the state of a row; empty until the router was looked at."""
    return lambda row: getattr(row.RouterState, name) if row.RouterState is not None else None


TABLE = Table(
    name="routers",
    columns=(
        Column("name", _l("Name"), lambda row: row.Router.nas.name, Nas.name),
        Column(
            "address", _l("Address"), lambda row: str(row.Router.api_address or row.Router.nas.address), Nas.address
        ),
        Column("status", _l("State"), _status, RouterState.status),
        Column("cause", _l("Likely cause"), lambda row: cause_title(_of_state("cause")(row) or ""), exported_only=True),
        Column("since", _l("Since"), _of_state("status_since"), RouterState.status_since, wide=True),
        Column("version", _l("RouterOS"), _of_state("version"), RouterState.version, wide=True),
        Column("board", _l("Board"), _of_state("board"), RouterState.board, wide=True),
        Column("serial", _l("Serial number"), _of_state("serial"), exported_only=True),
        Column("checked", _l("Last checked"), _of_state("checked_at"), RouterState.checked_at, wide=True),
    ),
    order="name",
    tie=Nas.id,
    filters=(
        Filter(
            "state",
            _l("Any state"),
            _states,
            lambda value: func.coalesce(RouterState.status, "unknown") == value,
        ),
    ),
    search=lambda text: (
        Nas.name.icontains(text, autoescape=True)
        | func.host(Nas.address).startswith(text, autoescape=True)
        | func.host(Router.api_address).startswith(text, autoescape=True)
        | RouterState.identity.icontains(text, autoescape=True)
        | RouterState.serial.istartswith(text, autoescape=True)
    ),
    search_hint=_l("Name, address or serial number"),
)


class ApiForm(forms.Form):
    """How the API of a router is reached."""

    api_user = forms.text(_l("API user"), required=True)
    # Blanks are part of a password; the browser is asked not to fill in the person's own.
    api_password = PasswordField(_l("API password"), [Optional(strip_whitespace=False)])
    api_tls = BooleanField(_l("Speak TLS"))
    api_port = forms.whole_number(_l("API port"), required=True)
    api_address = forms.text(_l("API address"))
    wan_interface = forms.text(_l("WAN interface"))
    wan_download = RateField(_l("WAN capacity, download"))
    wan_upload = RateField(_l("WAN capacity, upload"))
    watched = BooleanField(_l("Watch this router"))

    def router_terms(self) -> RouterTerms:
        return RouterTerms(
            api_user=self.api_user.data or "",
            api_address=self.api_address.data,
            api_port=self.api_port.data or 0,
            api_tls=self.api_tls.data,
            wan_interface=self.wan_interface.data,
            wan_download=self.wan_download.data,
            wan_upload=self.wan_upload.data,
            watched=self.watched.data,
        )


class RouterForm(ApiForm):
    """A NAS and its API."""

    name = forms.text(_l("Name"), required=True)
    address = forms.text(_l("Address"), required=True)
    secret = forms.text(_l("RADIUS secret"))
    coa_port = forms.whole_number(_l("CoA port"), required=True)
    notes = forms.long_text(_l("Notes"))

    def nas_terms(self, base: NasTerms) -> NasTerms:
        """Return what is entered over what else the NAS has."""
        return replace(
            base,
            name=self.name.data or "",
            address=self.address.data or "",
            coa_port=self.coa_port.data or 0,
            notes=self.notes.data or "",
        )


class DeleteForm(forms.Form):
    what = RadioField(
        _l("What to delete"),
        choices=[
            Option("all", _l("The router: it may no longer ask over RADIUS either")),
            Option("api", _l("Only the access to its API: it stays a NAS, and its subscribers connect as before")),
        ],
        default="all",
    )
    move_to = forms.choice(_l("Services tied to it"))


@blueprint.get("/")
@requires(Permission.ROUTERS_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(Router, RouterState, NasHeard.last_packet_at)
        .join(Router.nas)
        .outerjoin(RouterState, RouterState.nas_id == Router.nas_id)
        .outerjoin(NasHeard, NasHeard.nas_id == Router.nas_id)
        .options(contains_eager(Router.nas))
    )
    without_api = select(Nas).where(~select(Router.nas_id).where(Router.nas_id == Nas.id).exists()).order_by(Nas.name)
    return show(
        context.db(),
        TABLE,
        query,
        "staff/routers/index.html",
        quiet=QUIET,
        without_api=context.db().scalars(without_api.limit(50)).all(),
    )


@blueprint.get("/new")
@requires(Permission.ROUTERS_EDIT)
def new_page() -> ResponseReturnValue:
    nas = _asked_nas()
    form_type = ApiForm if nas is not None else RouterForm
    return _show_form(form_type(**_EMPTY), nas=nas)


@blueprint.post("/new")
@requires(Permission.ROUTERS_EDIT)
def create() -> ResponseReturnValue:
    nas = _asked_nas()
    form = ApiForm() if nas is not None else RouterForm()
    if not form.validate_on_submit():
        return _show_form(form, nas=nas), 422
    session, actor, keyring = context.db(), context.actor(), context.keyring()
    password = form.api_password.data or ""
    try:
        entered = form.address.data or "" if isinstance(form, RouterForm) else str(nas.address if nas else "")
        check_place(entered, form.router_terms())
        if isinstance(form, RouterForm):
            secret = form.secret.data or new_secret()
            terms = form.nas_terms(NasTerms(name="", address=""))
            router = create_router(session, actor, keyring, terms, secret, form.router_terms(), password)
        else:
            assert nas is not None
            router = attach_router(session, actor, keyring, nas, form.router_terms(), password)
    except Invalid as invalid:
        put_on_form(form, invalid)
        return _show_form(form, nas=nas), 422
    session.commit()
    done(_("%(router)s is registered.", router=router.nas.name))
    _remember_certificate(router)
    return redirect(url_for("routers.page", nas_id=router.nas_id))


@blueprint.post("/test")
@requires(Permission.ROUTERS_EDIT)
@limiter.limit("30 per minute")
def test() -> ResponseReturnValue:
    """Test what stands in the form, saved or not. Nothing is stored, and no password comes back in the page."""
    router = router_or_404(int(request.args["router"])) if request.args.get("router", "").isdigit() else None
    nas = _asked_nas()
    form = ApiForm() if nas is not None else RouterForm()
    check = None
    if form.validate_on_submit():
        try:
            check = _check_entered(form, router, nas)
        except Invalid as invalid:
            put_on_form(form, invalid)
        except SecretUnreadable:
            form.api_password.errors = [*form.api_password.errors, _("The stored password cannot be read; enter it.")]
    # htmx swaps in what comes with 200 alone.
    fine = check is not None or "HX-Request" in request.headers
    return _show_form(form, nas=nas, router=router, check=check), 200 if fine else 422


@blueprint.get("/<int:nas_id>")
@requires(Permission.ROUTERS_VIEW)
def page(nas_id: int) -> ResponseReturnValue:
    return _show_page(router_or_404(nas_id))


@blueprint.get("/libreqos/<any('network.json', 'ShapedDevices.csv'):name>")
@requires(Permission.EXPORT)
def shaper_file(name: str) -> ResponseReturnValue:
    """Answer with a file that LibreQoS reads, as it would be written now."""
    text = files(context.db(), context.operator().id)[name]
    response = make_response(text)
    response.mimetype = "application/json" if name == NETWORK else "text/csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/<int:nas_id>/test")
@requires(Permission.ROUTERS_EDIT)
@limiter.limit("30 per minute")
def test_stored(nas_id: int) -> ResponseReturnValue:
    router = router_or_404(nas_id)
    try:
        access = access_of(router, context.keyring(), PATIENCE)
    except SecretUnreadable:
        refuse(_("The stored password of %(router)s cannot be read. Enter it again.", router=router.nas.name))
        return redirect(url_for("routers.edit_page", nas_id=nas_id))
    name, coa_port = router.nas.name, router.nas.coa_port
    context.db().rollback()  # no transaction is held open while a router takes its time
    check = check_router(access, server_address(), coa_port)
    router = router_or_404(nas_id)
    note_check(context.db(), router, check, context.now())
    context.db().commit()
    if check.good:
        done(_("%(router)s can be used.", router=name))
    return _show_page(router_or_404(nas_id), check)


@blueprint.post("/<int:nas_id>/certificate")
@requires(Permission.ROUTERS_EDIT)
def new_certificate(nas_id: int) -> ResponseReturnValue:
    """Take the next certificate that the router shows."""
    router = router_or_404(nas_id)
    forget_certificate(context.db(), context.actor(), router)
    context.db().commit()
    done(_("The next certificate that %(router)s shows is taken. Test the connection now.", router=router.nas.name))
    return redirect(url_for("routers.page", nas_id=nas_id))


@blueprint.get("/<int:nas_id>/edit")
@requires(Permission.ROUTERS_EDIT)
def edit_page(nas_id: int) -> ResponseReturnValue:
    router = router_or_404(nas_id)
    stored = {**_values_of(terms_of_nas(router.nas)), **_values_of(terms_of_router(router))}
    return _show_form(RouterForm(**{name: value for name, value in stored.items() if name in _FIELDS}), router=router)


@blueprint.post("/<int:nas_id>/edit")
@requires(Permission.ROUTERS_EDIT)
def edit(nas_id: int) -> ResponseReturnValue:
    router = router_or_404(nas_id)
    form = RouterForm()
    if form.validate_on_submit():
        try:
            check_place(form.address.data or "", form.router_terms())
            change_router(
                context.db(),
                context.actor(),
                context.keyring(),
                router,
                form.nas_terms(terms_of_nas(router.nas)),
                form.router_terms(),
                form.api_password.data or None,
            )
        except Invalid as invalid:
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("%(router)s is saved.", router=router.nas.name))
            _remember_certificate(router)
            return redirect(url_for("routers.page", nas_id=nas_id))
    return _show_form(form, router=router), 422


@blueprint.get("/<int:nas_id>/delete")
@requires(Permission.ROUTERS_EDIT)
def delete_page(nas_id: int) -> ResponseReturnValue:
    router = router_or_404(nas_id)
    return _ask_to_delete(router, _delete_form(router))


@blueprint.post("/<int:nas_id>/delete")
@requires(Permission.ROUTERS_EDIT)
def delete(nas_id: int) -> ResponseReturnValue:
    router = router_or_404(nas_id)
    form = _delete_form(router)
    if not form.validate_on_submit():
        return _ask_to_delete(router, form), 422
    name = router.nas.name
    session = context.db()
    if form.what.data == "api":
        detach_router(session, context.actor(), router)
        text = _("The access to the API of %(router)s is deleted; it stays a NAS.", router=name)
    else:
        move_to = session.get_one(Nas, int(form.move_to.data)) if form.move_to.data else None
        try:
            delete_router(session, context.actor(), router, move_to, context.now())
        except Invalid as invalid:
            put_on_form(form, invalid)
            return _ask_to_delete(router, form), 422
        text = _("%(nas)s is deleted; its packets are no longer answered.", nas=name)
    session.commit()
    done(text)
    return redirect(url_for("routers.index"))


_EMPTY = {"api_port": PORT, "coa_port": 3799, "watched": True}
_FIELDS = frozenset(name for name in dir(RouterForm) if not name.startswith("_"))


def _values_of(terms: Any) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in terms.__dataclass_fields__}


def _remember_certificate(router: Router) -> None:
    """Remember the first certificate of a router that was saved, if it can be reached now; else the first test does."""
    if not router.api_tls or router.api_fingerprint is not None:
        return
    nas_id = router.nas_id
    access = access_of(router, context.keyring(), HANDSHAKE_PATIENCE)
    context.db().rollback()  # no transaction is held open while a router takes its time
    with suppress(RouterProblem):
        shown = shown_certificate(access)
        pin_certificate(context.db(), router_or_404(nas_id), shown)
        context.db().commit()


def _asked_nas() -> Nas | None:
    """Return the NAS that the address asks to be given an API; None where a new one is entered."""
    asked = request.args.get("nas", "")
    if not asked:
        return None
    nas = context.db().get(Nas, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
    if nas is None or context.db().get(Router, nas.id) is not None:
        abort(404)
    return nas


def _check_entered(form: ApiForm, router: Router | None, nas: Nas | None) -> Check:
    """Test what is typed. A stored password goes only to where it was entered for."""
    address = form.address.data or "" if isinstance(form, RouterForm) else str(nas.address if nas else "")
    terms = form.router_terms()
    check_place(address, terms)
    password = form.api_password.data or ""
    fingerprint = None
    if router is not None and not would_move(router, address, terms):
        fingerprint = router.api_fingerprint
        password = password or context.keyring().open(PASSWORD_PURPOSE, router.api_password)
    access = entered_access(address, terms, password, PATIENCE, fingerprint)
    coa_port = form.coa_port.data if isinstance(form, RouterForm) else nas.coa_port if nas else None
    context.db().rollback()  # no transaction is held open while a router takes its time
    return check_router(access, server_address(), coa_port)


def _show_form(
    form: ApiForm, *, nas: Nas | None = None, router: Router | None = None, check: Check | None = None
) -> str:
    name = router_or_404(router.nas_id).nas.name if router is not None else nas.name if nas is not None else None
    return render_template(
        "staff/routers/form.html",
        form=form,
        nas_id=nas.id if nas is not None else None,
        router_id=router.nas_id if router is not None else None,
        name=name,
        check=check,
        port=PORT,
        tls_port=TLS_PORT,
    )


def _show_page(router: Router, check: Check | None = None) -> str:
    session = context.db()
    heard = session.scalar(select(NasHeard.last_packet_at).where(NasHeard.nas_id == router.nas_id))
    hanging = dependents(session, router.nas)
    return router_page("staff/routers/page.html", router, heard=heard, quiet=QUIET, hanging=hanging, check=check)


def _delete_form(router: Router) -> DeleteForm:
    others = context.db().scalars(select(Nas).where(Nas.id != router.nas_id).order_by(Nas.name)).all()
    form = DeleteForm()
    form.move_to.choices = [
        Option("", _("may connect at any router")),
        *(Option(str(other.id), _("move to %(nas)s", nas=other.name)) for other in others),
    ]
    return form


def _ask_to_delete(router: Router, form: DeleteForm) -> str:
    return render_template(
        "staff/routers/delete.html",
        router=router,
        nas=router.nas,
        form=form,
        hanging=dependents(context.db(), router.nas),
    )
