"""Routers: the RouterOS side of a NAS. Passwords of their APIs are set and never answered."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from crm.nas import terms_of_nas
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.models import Nas, Router, RouterState
from network.api import PORT
from network.routers import RouterTerms, attach_router, change_router, detach_router, terms_of_router
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.network import TAG, held
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Given, Page, PageAsked, Rate, RowId, Shown, string
from portal.router_page import check_place

Status = Literal["unknown", "online", "offline"]


class RouterShown(Shown):
    """The RouterOS side of a NAS, and what was last seen of it."""

    by_itself: ClassVar = frozenset(
        {"name", "status", "status_since", "checked_at", "identity", "version", "board", "serial"}
    )

    nas_id: int
    name: str
    api_address: str
    api_port: int
    api_tls: bool
    api_user: str
    watched: bool = Field(description="Polled each minute, and alerted about.")
    wan_interface: str | None
    wan_download: Rate | None
    wan_upload: Rate | None
    status: Status
    status_since: datetime | None
    checked_at: datetime | None
    identity: str
    version: str = Field(description="Of RouterOS.")
    board: str
    serial: str


class _Terms(Given):
    """What may be left out of a router."""

    api_address: string(45) | None = Field(  # type: ignore[valid-type]
        None, description="Where its API is, when not at the NAS's address."
    )
    api_port: int = Field(PORT, ge=1, le=65535)
    api_tls: bool = False
    wan_interface: string(100) | None = None  # type: ignore[valid-type]
    wan_download: Rate | None = None
    wan_upload: Rate | None = None
    watched: bool = True


class RouterGiven(_Terms):
    """The RouterOS side of a NAS that has none yet."""

    nas_id: RowId
    api_user: string(100, 1) = Field(examples=["portico"])  # type: ignore[valid-type]
    api_password: string(400, 1) = Field(  # type: ignore[valid-type]
        description="Never answered.", examples=["k3b7-9xqa"], json_schema_extra={"writeOnly": True}
    )


class RouterChange(_Terms):
    """What to change of a router; what is left out stays."""

    api_user: string(100, 1) = ""  # type: ignore[valid-type]
    api_password: string(400, 1) | None = Field(  # type: ignore[valid-type]
        None,
        description="Needed where address, port or TLS change, since it is sent there.",
        json_schema_extra={"writeOnly": True},
    )


class RoutersAsked(PageAsked):
    status: Status | Absent = None


def _shown(rows: Sequence[Router]) -> list[RouterShown]:
    session, ids = frame.db(), [row.nas_id for row in rows]
    nas = {found.id: found for found in session.scalars(select(Nas).where(Nas.id.in_(ids)))}
    states = {found.nas_id: found for found in session.scalars(select(RouterState).where(RouterState.nas_id.in_(ids)))}
    shown = []
    for row in rows:
        state = states.get(row.nas_id)
        values = asdict(terms_of_router(row))
        values["api_address"] = str(row.api_address or nas[row.nas_id].address)
        shown.append(
            RouterShown(
                nas_id=row.nas_id,
                name=nas[row.nas_id].name,
                status=state.status if state else "unknown",
                status_since=state.status_since if state else None,
                checked_at=state.checked_at if state else None,
                identity=state.identity if state else "",
                version=state.version if state else "",
                board=state.board if state else "",
                serial=state.serial if state else "",
                **values,
            )
        )
    return shown


def _with_nas(nas_id: int) -> Router:
    """Return a router as it is now, with its NAS; nobody else changes it until this request is done."""
    query = select(Router).where(Router.nas_id == nas_id).options(joinedload(Router.nas)).with_for_update(of=Router)
    return frame.db().scalars(query.execution_options(populate_existing=True)).one()


def _after(router: Router) -> RouterShown:
    frame.db().flush()
    frame.db().refresh(router)
    return _shown([router])[0]


@operation("GET", "/routers", Scope.NETWORK_READ, tag=TAG, summary="List routers", answer=Page[RouterShown])
def index(query: RoutersAsked) -> Page[RouterShown]:
    found = select(Router)
    if query.status is not None:
        in_state = select(RouterState.nas_id).where(RouterState.nas_id == Router.nas_id)
        known = in_state.where(RouterState.status == query.status).exists()
        found = found.where(known | ~in_state.exists() if query.status == "unknown" else known)
    return page_of(frame.db(), found, [Router.nas_id], query, _shown)


@operation("GET", "/routers/<int:nas_id>", Scope.NETWORK_READ, tag=TAG, summary="Read a router", answer=RouterShown,
           single=True)  # fmt: skip
def show(nas_id: int) -> RouterShown:
    return _shown([one(Router, nas_id)])[0]


@operation("POST", "/routers", Scope.NETWORK_WRITE, tag=TAG, summary="Enter the API of a NAS", answer=RouterShown,
           status=201, location="/routers/{nas_id}")  # fmt: skip
def create(body: RouterGiven) -> RouterShown:
    """It is polled within a minute; nothing is sent to it before this is answered."""
    session = frame.db()
    nas = session.get(Nas, body.nas_id)
    if nas is None:
        raise Invalid(FieldProblem("nas_id", Problem.UNKNOWN_CHOICE))
    if session.get(Router, nas.id) is not None:
        raise Invalid(FieldProblem("nas_id", Problem.ALREADY_DONE))
    terms = RouterTerms(**body.model_dump(exclude={"nas_id", "api_password"}))
    check_place(str(nas.address), terms)
    return _after(attach_router(session, frame.actor(), context.keyring(), nas, terms, body.api_password))


@operation("PATCH", "/routers/<int:nas_id>", Scope.NETWORK_WRITE, tag=TAG, summary="Change a router",
           answer=RouterShown, shown_by=show)  # fmt: skip
def change(nas_id: int, body: RouterChange) -> RouterShown:
    session, before = frame.db(), terms_of_router(one(Router, nas_id))
    nas = held(one(Nas, nas_id))
    router = _with_nas(nas_id)
    if terms_of_router(router) != before:
        raise ChangedMeanwhile
    terms = replace(before, **body.model_dump(exclude_unset=True, exclude={"api_password"}))
    check_place(str(nas.address), terms)
    change_router(session, frame.actor(), context.keyring(), router, terms_of_nas(nas), terms, body.api_password)
    return _after(router)


@operation("DELETE", "/routers/<int:nas_id>", Scope.NETWORK_WRITE, tag=TAG, summary="Forget the API of a NAS",
           status=204)  # fmt: skip
def remove(nas_id: int) -> None:
    """It stays a NAS, and its subscribers connect as before."""
    one(Router, nas_id)
    detach_router(frame.db(), frame.actor(), _with_nas(nas_id))
