"""Pools: the list with how full they are, one pool with who holds what, the form, and a router's pools beside ours."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import String, case, cast, func, literal, null, or_, select, union_all
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import joinedload

from crm.jobs import start_job
from crm.pools import (
    ASSIGNMENTS,
    KINDS,
    PoolTerms,
    change_pool,
    create_pool,
    delete_pool,
    next_free,
    propose,
    size,
    terms_of_pool,
    usage_of,
)
from crm.problems import Invalid
from db.models import AccountingSession, AddressPool, Nas, Router, RouterPools, Service, Subscriber
from network.pools import LOOK, WRITE, compare, from_document, rows_wanted
from portal import context, forms
from portal.errors import put_on_form
from portal.labels import choices, label
from portal.messages import done
from portal.permissions import Permission, requires
from portal.router_page import router_or_404, router_page
from portal.tables import Column, Filter, Table, page_of, show

blueprint = Blueprint("pools", __name__)

NEARLY_FULL = 90.0
"""Per cent from which on a pool is shown as nearly full."""

TABLE = Table(
    name="pools",
    columns=(
        Column("name", _l("Name"), lambda row: row.name, AddressPool.name),
        Column("network", _l("Network"), lambda row: row.network, AddressPool.network),
        Column("kind", _l("Kind"), lambda row: label("pool_kind", row.kind), AddressPool.kind, wide=True),
        Column("assignment", _l("Given out"), lambda row: label("pool_assignment", row.assignment), wide=True),
        Column("length", _l("Length of each"), lambda row: row.prefix_length, exported_only=True),
        Column("router", _l("Router"), lambda row: row.nas.name if row.nas else "", wide=True),
        Column("size", _l("In all"), size, numeric=True, wide=True),
        Column("used", _l("In use"), lambda row: usage_of(context.db(), [row])[row.id].used, numeric=True),
    ),
    order="network",
    tie=AddressPool.id,
    filters=(
        Filter("kind", _l("Any kind"), lambda: choices("pool_kind"), lambda value: AddressPool.kind == value),
        Filter(
            "given", _l("Given out by anybody"), lambda: choices("pool_assignment"),
            lambda value: AddressPool.assignment == value,
        ),
    ),
    search=lambda words: AddressPool.name.icontains(words, autoescape=True)
    | cast(AddressPool.network, String).startswith(words, autoescape=True),
    search_hint=_l("Name or network"),
)  # fmt: skip


class PoolForm(forms.Watched):
    name = forms.text(_l("Name"), required=True)
    kind = forms.choice(_l("What it holds"))
    network = forms.text(_l("Network"), required=True)
    assignment = forms.choice(_l("Given out"), default="fixed")
    first_address = forms.text(_l("First address"))
    last_address = forms.text(_l("Last address"))
    prefix_length = forms.whole_number(_l("Length of each prefix"))
    nas_id = forms.choice(_l("Only at this router"), numeric=True)
    notes = forms.long_text(_l("Notes"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind.choices = [(kind, label("pool_kind", kind)) for kind in KINDS]
        self.assignment.choices = [(each, label("pool_assignment", each)) for each in ASSIGNMENTS]
        routers = context.db().execute(select(Nas.id, Nas.name).order_by(Nas.name))
        self.nas_id.choices = [("", _("At all routers")), *((row.id, row.name) for row in routers)]

    def terms(self) -> PoolTerms:
        four = self.kind.data == "ipv4"
        return PoolTerms(
            name=self.name.data or "",
            kind=self.kind.data,
            network=self.network.data or "",
            assignment=self.assignment.data,
            first_address=self.first_address.data if four else None,
            last_address=self.last_address.data if four else None,
            prefix_length=None if four else self.prefix_length.data,
            nas_id=self.nas_id.data,
            notes=self.notes.data or "",
        )


@blueprint.get("/pools/")
@requires(Permission.POOLS_VIEW)
def index() -> ResponseReturnValue:
    query = select(AddressPool).options(joinedload(AddressPool.nas))
    if "format" in request.args:
        return show(context.db(), TABLE, query, "")
    listing = page_of(context.db(), TABLE, query, request.args)
    return render_template(
        "staff/pools/index.html", listing=listing, usage=usage_of(context.db(), listing.rows), nearly=NEARLY_FULL
    )


@blueprint.route("/pools/new", methods=["GET", "POST"])
@requires(Permission.POOLS_EDIT)
def new_page() -> ResponseReturnValue:
    """A new pool; what a router has may stand in the URL, to be taken into the books."""
    asked = {name: request.args[name] for name in ("name", "kind", "network", "assignment") if name in request.args}
    form = PoolForm(data=asked | {"nas_id": request.args.get("nas_id", type=int)})
    if request.method == "POST" and form.validate():
        session = context.db()
        try:
            pool = create_pool(session, context.actor(), form.terms())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("%(pool)s is entered.", pool=pool.name))
            return redirect(url_for("pools.page", pool_id=pool.id))
    return render_template("staff/pools/form.html", form=form, pool=None), 422 if form.errors else 200


@blueprint.route("/pools/<int:pool_id>/edit", methods=["GET", "POST"])
@requires(Permission.POOLS_EDIT)
def edit(pool_id: int) -> ResponseReturnValue:
    pool, session = _pool(pool_id), context.db()
    if request.method == "GET":
        return render_template("staff/pools/form.html", form=forms.watched(_stored(pool)), pool=pool)
    session.refresh(pool, with_for_update={"of": AddressPool})
    form = PoolForm()
    if form.validate() and not form.changed_meanwhile(_stored(pool)):
        try:
            change_pool(session, context.actor(), pool, form.terms())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved."))
            return redirect(url_for("pools.page", pool_id=pool.id))
    page = render_template("staff/pools/form.html", form=form, pool=_pool(pool_id))
    return page, 409 if form.theirs is not None else 422


def _stored(pool: AddressPool) -> PoolForm:
    """Return the form as a pool is entered now."""
    terms = terms_of_pool(pool)
    return PoolForm(None, data={name: getattr(terms, name) for name in PoolTerms.__slots__})


@blueprint.post("/pools/<int:pool_id>/delete")
@requires(Permission.POOLS_EDIT)
def delete(pool_id: int) -> ResponseReturnValue:
    pool = _pool(pool_id)
    name = pool.name
    delete_pool(context.db(), context.actor(), pool)
    context.db().commit()
    done(_("%(pool)s is removed. Services keep their addresses, and routers their pools.", pool=name))
    return redirect(url_for("pools.index"))


# One pool, with who holds what.

_COLUMNS = {
    "ipv4": (Service.framed_ip, AccountingSession.framed_ip),
    "ipv6_line": (Service.framed_ipv6_prefix, AccountingSession.framed_ipv6_prefix),
    "ipv6_delegated": (Service.delegated_ipv6_prefix, AccountingSession.delegated_ipv6_prefix),
}


def _holders(pool: AddressPool) -> Any:
    """Return a query of who holds an address of the pool: by its service, by a live session, or by both."""
    of_service, of_session = _COLUMNS[pool.kind]
    network = func.cidr(str(pool.network))
    fixed = select(
        cast(of_service, INET).label("address"), Service.id.label("service_id"), literal(1).label("fixed"),
        null().label("session_id"), null().label("since"), literal("").label("user_name"),
    ).where(Service.state != "terminated", of_service.op("<<=")(network))  # fmt: skip
    live = select(
        cast(of_session, INET), AccountingSession.service_id, literal(0), AccountingSession.id,
        AccountingSession.started_at, AccountingSession.user_name,
    ).where(AccountingSession.ended_at.is_(None), of_session.op("<<=")(network))  # fmt: skip
    if pool.nas_id is not None:
        fixed = fixed.where(or_(Service.nas_id.is_(None), Service.nas_id == pool.nas_id))
        live = live.where(AccountingSession.nas_id == pool.nas_id)
    each = union_all(fixed, live).subquery()
    return (
        select(
            each.c.address,
            each.c.service_id,
            func.max(each.c.fixed).label("fixed"),
            func.max(each.c.session_id).label("session_id"),
            func.max(each.c.since).label("since"),
            func.max(each.c.user_name).label("user_name"),
        )
        .group_by(each.c.address, each.c.service_id)
        .subquery()
    )


def _holders_table(held: Any) -> Table:
    held_by = case((held.c.session_id.is_(None), "fixed"), (held.c.fixed == 1, "both"), else_="live")
    return Table(
        name="pool-addresses",
        columns=(
            Column("address", _l("Address"), lambda row: row.address, held.c.address),
            Column("subscriber", _l("Subscriber"), lambda row: row.subscriber or "", Subscriber.name),
            Column("service", _l("Service"), lambda row: row.service or row.user_name, Service.name, wide=True),
            Column("by", _l("Held by"), lambda row: held_words(row), held_by),
            Column("since", _l("Connected since"), lambda row: row.since, held.c.since, wide=True),
        ),
        order="address",
        tie=held.c.service_id,
        search=lambda words: (
            Subscriber.name.icontains(words, autoescape=True)
            | Service.name.icontains(words, autoescape=True)
            | func.host(held.c.address).startswith(words, autoescape=True)
        ),
        search_hint=_l("Address, subscriber or service"),
    )


def held_words(row: Any) -> str:
    if row.session_id is None:
        return str(_("Fixed, not connected"))
    return str(_("Fixed, connected") if row.fixed else _("Given by the router, connected"))


@blueprint.get("/pools/<int:pool_id>")
@requires(Permission.POOLS_VIEW)
def page(pool_id: int) -> ResponseReturnValue:
    pool = _pool(pool_id)
    session = context.db()
    held = _holders(pool)
    query = (
        select(
            held, Service.name.label("service"), Subscriber.name.label("subscriber"),
            Subscriber.id.label("subscriber_id"),
        )
        .outerjoin(Service, Service.id == held.c.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
    )  # fmt: skip
    return show(
        session,
        _holders_table(held),
        query,
        "staff/pools/page.html",
        pool=pool,
        usage=usage_of(session, [pool])[pool.id],
        free=next_free(session, pool),
        nearly=NEARLY_FULL,
        held_words=held_words,
    )


@blueprint.get("/pools/next")
@requires(Permission.SERVICES_EDIT)
def propose_next() -> ResponseReturnValue:
    """Return the field of the service form with the next free address in it; a part of that page."""
    kind = request.args.get("kind", "")
    if kind not in KINDS:
        abort(404)
    field = _COLUMNS[kind][0].key
    found = propose(context.db(), context.operator().id, kind, request.args.get("nas_id", type=int))
    return render_template(
        "staff/pools/proposal.html", field=field, kind=kind, found=found, typed=request.args.get(field, "")[:64]
    )


# The pools of a router.


@blueprint.get("/routers/<int:nas_id>/pools")
@requires(Permission.ROUTERS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    found = router_or_404(nas_id)
    session = context.db()
    state = session.get(RouterPools, nas_id)
    wanted = session.scalars(
        select(AddressPool).where(
            AddressPool.assignment == "dynamic", or_(AddressPool.nas_id.is_(None), AddressPool.nas_id == nas_id)
        )
    ).all()
    looked = state is not None and state.looked_at is not None
    compared = compare(rows_wanted(wanted), from_document(state.pools)) if state is not None and looked else []
    return router_page("staff/pools/router.html", found, compared=compared, pools_state=state, looked=looked)


@blueprint.post("/routers/<int:nas_id>/pools/<action>")
@requires(Permission.POOLS_EDIT)
def start(nas_id: int, action: str) -> ResponseReturnValue:
    """Begin to compare (`look`) or to put right (`write`) the pools of a router."""
    kind = {"look": LOOK, "write": WRITE}.get(action) or abort(404)
    found: Router = router_or_404(nas_id)
    job = start_job(context.db(), context.actor(), kind, {"nas_id": nas_id}, found.nas.name)
    context.db().commit()
    return redirect(url_for("jobs.page", job_id=job.id))


def _pool(pool_id: int) -> AddressPool:
    query = select(AddressPool).where(AddressPool.id == pool_id).options(joinedload(AddressPool.nas))
    return context.db().scalar(query) or abort(404)
