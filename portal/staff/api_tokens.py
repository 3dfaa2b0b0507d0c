"""The API's tokens: the list, making one, ending one; and the reference of the API, made of its own description.

A token is shown on the page that answers its making and nowhere again. Who makes it chooses among the scopes that they
could use themselves.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, or_, select
from wtforms import SelectMultipleField
from wtforms.widgets import CheckboxInput, ListWidget

from core.i18n import N_
from crm.api_tokens import TokenTerms, create_token, revoke_token
from crm.problems import Invalid
from db.models import ApiToken, Staff
from portal import context, forms
from portal.api.document import document
from portal.api.scopes import SCOPES, Scope, usable
from portal.auth import limiter
from portal.errors import put_on_form
from portal.labels import choices
from portal.messages import done
from portal.permissions import Permission, requires
from portal.tables import Column, Filter, Table, show

blueprint = Blueprint("api_tokens", __name__, url_prefix="/settings/api")

LIVES = {"30": N_("30 days"), "90": N_("90 days"), "365": N_("1 year"), "": N_("Until it is revoked")}
"""Days that a token may be good for."""


def state_of(token: ApiToken, maker: Staff) -> str:
    """Return active, revoked, expired, or stopped: its maker cannot sign in any more."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and token.expires_at <= context.now():
        return "expired"
    return "active" if maker.active and maker.awaits_password_since is None else "stopped"


def _in_state(state: str) -> ColumnElement[bool]:
    revoked = ApiToken.revoked_at.is_not(None)
    expired = and_(~revoked, ApiToken.expires_at.is_not(None), ApiToken.expires_at <= context.now())
    stopped = or_(~Staff.active, Staff.awaits_password_since.is_not(None))
    open_ended = or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > context.now())
    match state:
        case "revoked":
            return revoked
        case "expired":
            return expired
        case "stopped":
            return and_(~revoked, open_ended, stopped)
    return and_(~revoked, open_ended, ~stopped)


def _states() -> Sequence[tuple[str, Any]]:
    return choices("api_token_state")


TABLE = Table(
    name="api_tokens",
    columns=(
        Column("name", _l("Name"), lambda row: row.ApiToken.name, ApiToken.name),
        Column("prefix", _l("Begins with"), lambda row: row.ApiToken.prefix, wide=True),
        Column("state", _l("State"), lambda row: state_of(row.ApiToken, row.Staff), words="api_token_state"),
        Column("maker", _l("Made by"), lambda row: row.Staff.name, Staff.name, wide=True),
        Column("used", _l("Last used"), lambda row: row.ApiToken.last_used_at, ApiToken.last_used_at),
        Column("expires", _l("Good until"), lambda row: row.ApiToken.expires_at, ApiToken.expires_at, wide=True),
    ),
    order="name",
    tie=ApiToken.id,
    filters=(Filter("state", _l("Any state"), _states, _in_state),),
    search=lambda words: (
        ApiToken.name.icontains(words, autoescape=True) | ApiToken.prefix.startswith(words, autoescape=True)
    ),
    search_hint=_l("Name or beginning"),
)


class TokenForm(forms.Form):
    name = forms.text(_l("What it is for"), required=True)
    scopes = SelectMultipleField(
        _l("What it may do"),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        validate_choice=False,
    )
    life = forms.choice(_l("Good for"), default="365")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scopes.choices = [(scope.value, _(SCOPES[scope].words)) for scope in Scope if scope in may_give()]
        self.life.choices = [(days, _(words)) for days, words in LIVES.items()]

    def terms(self, now: datetime) -> TokenTerms:
        expires_at = now + timedelta(days=int(self.life.data)) if self.life.data else None
        return TokenTerms(self.name.data or "", tuple(self.scopes.data or ()), expires_at)


def may_give() -> frozenset[Scope]:
    """Return the scopes that who is signed in could use."""
    return usable([scope.value for scope in Scope], context.permissions())


@blueprint.get("/")
@requires(Permission.API_TOKENS)
def index() -> ResponseReturnValue:
    query = select(ApiToken, Staff).join(Staff, Staff.id == ApiToken.staff_id)
    return show(context.db(), TABLE, query, "staff/api_tokens/index.html", state_of=state_of)


@blueprint.get("/new")
@requires(Permission.API_TOKENS)
def new_page() -> ResponseReturnValue:
    return render_template("staff/api_tokens/new.html", form=TokenForm())


@blueprint.post("/new")
@requires(Permission.API_TOKENS)
@limiter.limit("60 per hour")
def create() -> ResponseReturnValue:
    form, session, now = TokenForm(), context.db(), context.now()
    if form.validate_on_submit():
        given = {scope.value for scope in may_give()}
        try:
            token, text = create_token(session, context.actor(), context.keyring(), form.terms(now), given, now)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            # Rendered and not redirected to: the token stands on this page alone, in no cookie and no address.
            return _page(token, text)
    return render_template("staff/api_tokens/new.html", form=form), 422


@blueprint.get("/<int:token_id>")
@requires(Permission.API_TOKENS)
def page(token_id: int) -> ResponseReturnValue:
    return _page(_token(token_id))


@blueprint.post("/<int:token_id>/revoke")
@requires(Permission.API_TOKENS)
def revoke(token_id: int) -> ResponseReturnValue:
    token = _token(token_id)
    if revoke_token(context.db(), context.actor(), token, context.now()):
        context.db().commit()
        done(_("%(name)s is revoked: its next request is refused.", name=token.name))
    return redirect(url_for(".page", token_id=token_id))


@blueprint.get("/reference")
@requires(Permission.API_TOKENS)
def reference() -> ResponseReturnValue:
    """The description of the API, for people."""
    described = document()
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append({**operation, "method": method.upper(), "path": path})
    return render_template(
        "staff/api_tokens/reference.html",
        tags=tags,
        schemas=described["components"]["schemas"],
        base=request.host_url.rstrip("/") + described["servers"][0]["url"],
    )


def _token(token_id: int) -> ApiToken:
    return context.db().get(ApiToken, token_id) or abort(404)


def _page(token: ApiToken, text: str | None = None) -> str:
    maker = context.db().get_one(Staff, token.staff_id)
    return render_template(
        "staff/api_tokens/page.html",
        token=token,
        text=text,
        maker=maker,
        token_state=state_of(token, maker),
        scopes=[(scope, SCOPES[Scope(scope)].words) for scope in token.scopes if scope in set(Scope)],
        address=url_for("api.openapi", _external=True).removesuffix("/openapi.json"),
    )
