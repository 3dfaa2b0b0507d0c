"""NAS and routers, without their secrets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from db.models import Nas, NasHeard, Router, RouterState
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Page, PageAsked, Rate, Shown, string

TAG = "Network"
Status = Literal["unknown", "online", "offline"]


class NasShown(Shown):
    """What asks over RADIUS."""

    id: int
    name: str
    address: str
    coa_address: str | None = Field(description="Where CoA goes, when not to `address`.")
    coa_port: int
    enabled: bool
    notes: str
    has_router: bool = Field(description="Its RouterOS API is known: see /routers.")
    last_heard_at: datetime | None = Field(description="When its last packet came, no finer than ten seconds.")
    created_at: datetime


class RouterShown(Shown):
    """The RouterOS side of a NAS, and what was last seen of it."""

    nas_id: int
    name: str
    api_address: str
    api_port: int
    api_tls: bool
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


class NasAsked(PageAsked):
    name: string(100) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]
    enabled: bool | Absent = None


class RoutersAsked(PageAsked):
    status: Status | Absent = None


def _nas_shown(rows: Sequence[Nas]) -> list[NasShown]:
    session, ids = frame.db(), [row.id for row in rows]
    heard = session.execute(select(NasHeard.nas_id, NasHeard.last_packet_at).where(NasHeard.nas_id.in_(ids)))
    at = {row.nas_id: row.last_packet_at for row in heard}
    routers = set(session.scalars(select(Router.nas_id).where(Router.nas_id.in_(ids))))
    return [
        NasShown(
            id=row.id,
            name=row.name,
            address=str(row.address),
            coa_address=None if row.coa_address is None else str(row.coa_address),
            coa_port=row.coa_port,
            enabled=row.enabled,
            notes=row.notes,
            has_router=row.id in routers,
            last_heard_at=at.get(row.id),
            created_at=row.created_at,
        )
        for row in rows
    ]


def _routers_shown(rows: Sequence[Router]) -> list[RouterShown]:
    session, ids = frame.db(), [row.nas_id for row in rows]
    nas = {found.id: found for found in session.scalars(select(Nas).where(Nas.id.in_(ids)))}
    states = {found.nas_id: found for found in session.scalars(select(RouterState).where(RouterState.nas_id.in_(ids)))}
    shown = []
    for row in rows:
        state = states.get(row.nas_id)
        shown.append(
            RouterShown(
                nas_id=row.nas_id,
                name=nas[row.nas_id].name,
                api_address=str(row.api_address or nas[row.nas_id].address),
                api_port=row.api_port,
                api_tls=row.api_tls,
                watched=row.watched,
                wan_interface=row.wan_interface,
                wan_download=row.wan_download,
                wan_upload=row.wan_upload,
                status=state.status if state else "unknown",
                status_since=state.status_since if state else None,
                checked_at=state.checked_at if state else None,
                identity=state.identity if state else "",
                version=state.version if state else "",
                board=state.board if state else "",
                serial=state.serial if state else "",
            )
        )
    return shown


@operation("GET", "/nas", Scope.NETWORK_READ, tag=TAG, summary="List NAS", answer=Page[NasShown])
def nas_index(query: NasAsked) -> Page[NasShown]:
    found = select(Nas)
    if query.name is not None:
        found = found.where(Nas.name.icontains(query.name, autoescape=True))
    if query.enabled is not None:
        found = found.where(Nas.enabled.is_(query.enabled))
    return page_of(frame.db(), found, [Nas.id], query, _nas_shown)


@operation("GET", "/nas/<int:nas_id>", Scope.NETWORK_READ, tag=TAG, summary="Read a NAS", answer=NasShown, single=True)
def nas_show(nas_id: int) -> NasShown:
    return _nas_shown([one(Nas, nas_id)])[0]


@operation("GET", "/routers", Scope.NETWORK_READ, tag=TAG, summary="List routers", answer=Page[RouterShown])
def routers(query: RoutersAsked) -> Page[RouterShown]:
    found = select(Router)
    if query.status is not None:
        in_state = select(RouterState.nas_id).where(RouterState.nas_id == Router.nas_id)
        known = in_state.where(RouterState.status == query.status).exists()
        found = found.where(known | ~in_state.exists() if query.status == "unknown" else known)
    return page_of(frame.db(), found, [Router.nas_id], query, _routers_shown)


@operation("GET", "/routers/<int:nas_id>", Scope.NETWORK_READ, tag=TAG, summary="Read a router", answer=RouterShown,
           single=True)  # fmt: skip
def router(nas_id: int) -> RouterShown:
    return _routers_shown([one(Router, nas_id)])[0]
