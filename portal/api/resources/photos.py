"""Photos and signatures of work orders: reading and sending what was seen on the spot."""

import base64
import binascii
from datetime import datetime
from decimal import Decimal
from typing import Literal

from flask import Response
from pydantic import Field
from sqlalchemy import select

from crm.files import JPEG, LARGEST, PICTURES, PNG, store_file
from crm.problems import FieldProblem, Invalid, Problem
from crm.work_steps import add_photo
from db.models import StoredFile, WorkOrder, WorkOrderPhoto
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.problems import ApiProblem, Kind
from portal.api.resources.rows import one
from portal.api.resources.work_orders import TAG
from portal.api.scopes import Scope
from portal.api.values import Given, Instant, Shown, string
from portal.files import send_stored

Subject = Literal["site", "device", "identity", "other"]
_LONGEST = (LARGEST + 2) // 3 * 4
"""Characters of the largest picture in base64."""


class PhotoShown(Shown):
    """A picture taken on the spot."""

    id: int
    subject: Subject
    caption: str
    latitude: float | None = Field(description="Where the phone was.")
    longitude: float | None
    taken_at: datetime
    media_type: Literal["image/jpeg", "image/png"]
    size: int = Field(description="octets")


class PhotosShown(Shown):
    """All photos of a work order, the oldest first."""

    items: list[PhotoShown]


class PhotoGiven(Given):
    picture: str = Field(
        min_length=1,
        max_length=_LONGEST,
        description="A JPEG, PNG or WebP of up to 10 MB in base64. It is kept upright, at most 2560 pixels wide or high"
        " and without what it says beside its pixels.",
        examples=["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="],
        json_schema_extra={"contentEncoding": "base64"},
    )
    subject: Subject = "site"
    caption: string(200) = ""  # type: ignore[valid-type]
    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180, description="Both of the pair, or neither.")
    taken_at: Instant | None = Field(None, description="Where that is not now.")


@operation("GET", "/work-orders/<int:order_id>/photos", Scope.WORK_ORDERS_READ, tag=TAG,
           summary="List the photos of a work order", answer=PhotosShown, single=True)  # fmt: skip
def index(order_id: int) -> PhotosShown:
    order = one(WorkOrder, order_id)
    return PhotosShown(items=_photos(order.id))


@operation("POST", "/work-orders/<int:order_id>/photos", Scope.WORK_ORDERS_WRITE, tag=TAG,
           summary="Add a photo to a work order", answer=PhotoShown, status=201, gives=(Kind.WRONG_STATE,),
           largest=_LONGEST + 10_000)  # fmt: skip
def create(order_id: int, body: PhotoGiven) -> PhotoShown:
    session, order, now = frame.db(), one(WorkOrder, order_id), context.now()
    if (body.latitude is None) != (body.longitude is None):
        raise Invalid(FieldProblem("longitude", Problem.BOTH_OR_NEITHER))
    position = None
    if body.latitude is not None and body.longitude is not None:
        position = Decimal(str(body.latitude)), Decimal(str(body.longitude))
    try:
        content = base64.b64decode(body.picture, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(FieldProblem("picture", Problem.NOT_A_PICTURE)) from None
    file = store_file(session, order.operator_id, "photo.jpg", content, PICTURES, field="picture")
    taken_at = min(body.taken_at or now, now)
    add_photo(session, frame.actor(), order, file, body.subject, taken_at, caption=body.caption, position=position)
    session.flush()
    return next(each for each in _photos(order.id) if each.id == file.id)


@operation("GET", "/work-orders/<int:order_id>/photos/<int:photo_id>", Scope.WORK_ORDERS_READ, tag=TAG,
           summary="Read a photo of a work order", files=(JPEG, PNG))  # fmt: skip
def show(order_id: int, photo_id: int) -> Response:
    """The picture itself, as `media_type` of the list says."""
    if frame.db().get(WorkOrderPhoto, (order_id, photo_id)) is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return send_stored(one(StoredFile, photo_id))


@operation("GET", "/work-orders/<int:order_id>/signature", Scope.WORK_ORDERS_READ, tag=TAG,
           summary="Read the signature of a work order", files=(PNG,))  # fmt: skip
def signature(order_id: int) -> Response:
    """The picture itself. 404 where nobody has signed yet."""
    order = one(WorkOrder, order_id)
    if order.signature_id is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return send_stored(one(StoredFile, order.signature_id))


def _photos(order_id: int) -> list[PhotoShown]:
    photo, file = WorkOrderPhoto, StoredFile
    query = (
        select(
            photo.file_id.label("id"), photo.subject, photo.caption, photo.latitude, photo.longitude, photo.taken_at,
            file.media_type, file.size,
        )
        .join(file, file.id == photo.file_id)
        .where(photo.work_order_id == order_id)
        .order_by(photo.taken_at, photo.file_id)
    )  # fmt: skip
    return [PhotoShown.model_validate(row) for row in frame.db().execute(query)]
