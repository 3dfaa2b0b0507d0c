"""NAS: reading, entering, changing and deleting what asks over RADIUS. Their secrets are set and never answered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from crm.nas import (
    LONGEST_NAME,
    SHORTEST_SECRET,
    NasTerms,
    change_secret,
    create_nas,
    delete_nas,
    terms_of_nas,
)
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.models import Nas, NasHeard, Router
from network.routers import change_nas_alone, delete_router
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.paging import page_of
from portal.api.resources.rows import one
from portal.api.scopes import Scope
from portal.api.values import Absent, Given, Page, PageAsked, RowId, Shown, string

TAG = "Network"


class NasShown(Shown):
    """What asks over RADIUS."""

    by_itself: ClassVar = frozenset({"has_router", "last_heard_at"})

    id: int
    name: str
    address: str
    coa_address: str | None = Field(description="Where CoA goes, when not to `address`.")
    coa_port: int
    coa_window: int = Field(description="CoA requests at once.")
    coa_message_authenticator: bool = Field(description="Sent in CoA.")
    coa_session_id: bool = Field(description="Acct-Session-Id is sent in CoA.")
    require_message_authenticator: bool = Field(description="Demanded of its requests.")
    swap_directions: bool = Field(description="It reports download and upload the other way round.")
    enabled: bool
    notes: str
    has_router: bool = Field(description="Its RouterOS API is known: see /routers.")
    last_heard_at: datetime | None = Field(description="When its last packet came, no finer than ten seconds.")
    created_at: datetime


class _Terms(Given):
    """What may be left out of a NAS."""

    coa_address: string(45) | None = None  # type: ignore[valid-type]
    coa_port: int = Field(3799, ge=1, le=65535)
    coa_window: int = Field(32, ge=1, le=200)
    coa_message_authenticator: bool = False
    coa_session_id: bool = True
    require_message_authenticator: bool = False
    swap_directions: bool = False
    enabled: bool = True
    notes: string(5000) = ""  # type: ignore[valid-type]


class NasSecretGiven(Given):
    secret: string(64, SHORTEST_SECRET) = Field(  # type: ignore[valid-type]
        description="The shared secret of RADIUS; never answered.",
        examples=["kT4vW9qLzX2mB7nR"],
        json_schema_extra={"writeOnly": True},
    )


class NasGiven(_Terms, NasSecretGiven):
    """A NAS to be entered. An address is one NAS's of the whole installation."""

    name: string(LONGEST_NAME, 1) = Field(examples=["North tower"])  # type: ignore[valid-type]
    address: string(45, 1) = Field(  # type: ignore[valid-type]
        description="Its packets come from here.", examples=["10.20.0.1"]
    )


class NasChange(_Terms):
    """What to change of a NAS; what is left out stays."""

    name: string(LONGEST_NAME, 1) = ""  # type: ignore[valid-type]
    address: string(45, 1) = ""  # type: ignore[valid-type]


class NasAsked(PageAsked):
    name: string(100) | Absent = Field(None, description="A part of the name.")  # type: ignore[valid-type]
    enabled: bool | Absent = None


class NasDeleting(Given):
    model_config = ConfigDict(strict=False)  # parameters are texts

    move_to: RowId | Absent = Field(None, description="The NAS that services tied to it are tied to; else to none.")


def _shown(rows: Sequence[Nas]) -> list[NasShown]:
    session, ids = frame.db(), [row.id for row in rows]
    heard = session.execute(select(NasHeard.nas_id, NasHeard.last_packet_at).where(NasHeard.nas_id.in_(ids)))
    at = {row.nas_id: row.last_packet_at for row in heard}
    routers = set(session.scalars(select(Router.nas_id).where(Router.nas_id.in_(ids))))
    return [
        NasShown(
            id=row.id,
            has_router=row.id in routers,
            last_heard_at=at.get(row.id),
            created_at=row.created_at,
            **{name: getattr(terms_of_nas(row), name) for name in NasTerms.__dataclass_fields__},
        )
        for row in rows
    ]


def _after(nas: Nas) -> NasShown:
    frame.db().flush()
    frame.db().refresh(nas)
    return _shown([nas])[0]


def held(nas: Nas) -> Nas:
    """Return a NAS that nobody else changes until this request is done. Raises ChangedMeanwhile where somebody did."""
    seen = terms_of_nas(nas)
    frame.db().refresh(nas, with_for_update=True)
    if terms_of_nas(nas) != seen:
        raise ChangedMeanwhile
    return nas


@operation("GET", "/nas", Scope.NETWORK_READ, tag=TAG, summary="List NAS", answer=Page[NasShown])
def nas_index(query: NasAsked) -> Page[NasShown]:
    found = select(Nas)
    if query.name is not None:
        found = found.where(Nas.name.icontains(query.name, autoescape=True))
    if query.enabled is not None:
        found = found.where(Nas.enabled.is_(query.enabled))
    return page_of(frame.db(), found, [Nas.id], query, _shown)


@operation("GET", "/nas/<int:nas_id>", Scope.NETWORK_READ, tag=TAG, summary="Read a NAS", answer=NasShown, single=True)
def nas_show(nas_id: int) -> NasShown:
    return _shown([one(Nas, nas_id)])[0]


@operation("POST", "/nas", Scope.NETWORK_WRITE, tag=TAG, summary="Enter a NAS", answer=NasShown, status=201,
           location="/nas/{id}")  # fmt: skip
def nas_create(body: NasGiven) -> NasShown:
    """It is answered within a second. No operation answers a secret: give the same to the router."""
    terms = NasTerms(**body.model_dump(exclude={"secret"}))
    return _after(create_nas(frame.db(), frame.actor(), context.keyring(), terms, body.secret))


@operation("PATCH", "/nas/<int:nas_id>", Scope.NETWORK_WRITE, tag=TAG, summary="Change a NAS", answer=NasShown,
           shown_by=nas_show)  # fmt: skip
def nas_change(nas_id: int, body: NasChange) -> NasShown:
    """Its next packet is judged by it. The address of one whose router is asked there is changed on the router."""
    nas = held(one(Nas, nas_id))
    change_nas_alone(
        frame.db(), frame.actor(), nas, replace(terms_of_nas(nas), **body.model_dump(exclude_unset=True))
    )  # fmt: skip
    return _after(nas)


@operation("POST", "/nas/<int:nas_id>/secret", Scope.NETWORK_SECRETS, tag=TAG, summary="Set the secret of a NAS",
           status=204)  # fmt: skip
def nas_secret(nas_id: int, body: NasSecretGiven) -> None:
    """The router must get it, too: until then its packets are dropped."""
    change_secret(frame.db(), frame.actor(), context.keyring(), one(Nas, nas_id), body.secret)


@operation("DELETE", "/nas/<int:nas_id>", Scope.NETWORK_WRITE, tag=TAG, summary="Delete a NAS", status=204)
def nas_delete(nas_id: int, query: NasDeleting) -> None:
    """From now on its packets are not answered, and its open sessions are closed. Its router goes with it."""
    session, nas = frame.db(), one(Nas, nas_id)
    target = None if query.move_to is None else session.get(Nas, query.move_to)
    if query.move_to is not None and (target is None or target is nas):
        raise Invalid(FieldProblem("move_to", Problem.UNKNOWN_CHOICE))
    router = session.get(Router, nas.id, options=[joinedload(Router.nas)])
    if router is not None:
        delete_router(session, frame.actor(), router, target, context.now())
    else:
        delete_nas(session, frame.actor(), nas, target, context.now())
