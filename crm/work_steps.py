"""What a technician does on the spot, and how an order is completed.

Completing an installation is what makes somebody a paying subscriber, so it asks for what a hurried person forgets:
the points of the checklist that must be ticked off, the device, and what the operator wants besides (a link test that
went well, a photo, the subscriber's signature). A step that is missing is said by name; who may can complete all the
same, with a reason that stays on the order. Then the service is activated, billing follows by itself, and the login
of the subscriber's own page goes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from core.crypto import Keyring
from core.mac import NotAMac, parse_mac
from crm.equipment import EquipmentDetails, Whereabouts, create_equipment, find_equipment, installed_at, move_equipment
from crm.problems import FieldProblem, Invalid, Problem
from crm.services import activate, change_service, terms_of_service
from crm.subscriber_logins import give_login
from crm.subscribers import change_subscriber, details_of
from crm.work_orders import add_event, begin_step, settings_of
from db.audit import Actor, record
from db.models import (
    WORK_OPEN,
    CircuitTest,
    Equipment,
    SeenDevice,
    Service,
    StoredFile,
    Subscriber,
    WorkOrder,
    WorkOrderPhoto,
)

PHOTO_SUBJECTS = ("site", "device", "identity", "other")
SIGNED_KINDS = ("installation", "move")
IN_ORDER = "none"
"""The verdict of a circuit test that found no fault (network.circuit.Fault)."""
_DECIMETRE = Decimal("0.000001")
"""Of a degree."""
NO_DEVICE = "02:50:4f"
"""How the name of a service by MAC address begins until its device is known: locally administered, so nobody's."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A step without which an order is not complete: checklist (`text` says which point), device, link_test, …"""

    step: str
    text: str = ""


class StepsMissing(Exception):
    """The order cannot be completed yet."""

    def __init__(self, missing: Sequence[Missing]) -> None:
        super().__init__(", ".join(step.text or step.step for step in missing))
        self.missing = tuple(missing)


def has_no_device(service: Service) -> bool:
    """Tell whether a service by MAC address still waits for its device."""
    return service.access_method == "mac" and service.name.startswith(NO_DEVICE)


# On the spot.


def tick(
    session: Session, actor: Actor, order: WorkOrder, place: int, *, done: bool, now: datetime, key: str = ""
) -> None:
    """Tick off a point of the checklist, or take the tick back. Raises Invalid and WrongOrderState."""
    if not begin_step(session, order, "check", WORK_OPEN, key):
        return
    if not 0 <= place < len(order.checklist):
        raise Invalid(FieldProblem("place", Problem.UNKNOWN_CHOICE))
    item = order.checklist[place]
    if bool(item["done_at"]) == done and not key:
        return
    item["done_at"], item["done_by"] = (now.isoformat(), actor.name) if done else (None, "")
    flag_modified(order, "checklist")
    add_event(session, actor, order, "check", now, detail={"text": item["text"], "done": done}, key=key)


def add_photo(
    session: Session,
    actor: Actor,
    order: WorkOrder,
    file: StoredFile,
    subject: str,
    now: datetime,
    *,
    caption: str = "",
    position: tuple[Decimal, Decimal] | None = None,
    key: str = "",
) -> bool:
    """Keep a picture taken on the spot, and where. False: it came before, and `file` is not needed. Raises Invalid."""
    if subject not in PHOTO_SUBJECTS:
        raise Invalid(FieldProblem("subject", Problem.UNKNOWN_CHOICE))
    if not file.media_type.startswith("image/") or file.operator_id != order.operator_id:
        raise Invalid(FieldProblem("file", Problem.NOT_A_PICTURE))
    if position is not None:
        position = _on_earth(*position)
    if not begin_step(session, order, "photo", (*WORK_OPEN, "done", "failed"), key):
        return False
    latitude, longitude = position or (None, None)
    session.add(
        WorkOrderPhoto(
            operator_id=order.operator_id, work_order_id=order.id, file_id=file.id, subject=subject,
            caption=caption.strip()[:200], latitude=latitude, longitude=longitude, taken_at=now,
        )
    )  # fmt: skip
    add_event(session, actor, order, "photo", now, detail={"subject": subject, "file": file.id}, key=key)
    return True


def locate(
    session: Session,
    actor: Actor,
    order: WorkOrder,
    latitude: Decimal,
    longitude: Decimal,
    now: datetime,
    key: str = "",
) -> None:
    """Keep where the phone stands as where the order, and its subscriber, is. Raises Invalid and WrongOrderState."""
    latitude, longitude = _on_earth(latitude, longitude)
    if not begin_step(session, order, "locate", WORK_OPEN, key):
        return
    order.latitude, order.longitude = latitude, longitude
    if order.subscriber_id is not None and order.kind in SIGNED_KINDS:
        subscriber = session.get_one(Subscriber, order.subscriber_id)
        details = replace(details_of(subscriber), latitude=order.latitude, longitude=order.longitude)
        change_subscriber(session, actor, subscriber, details, subscriber.version)
    add_event(session, actor, order, "locate", now, body=f"{order.latitude}, {order.longitude}", key=key)


def bind_device(session: Session, actor: Actor, order: WorkOrder, label: str, now: datetime, key: str = "") -> str:
    """Tie a device to the order's service, and return its MAC address. Raises Invalid and WrongOrderState.

    `label` is a MAC address in any spelling, or the serial number of a device of the inventory that has one. A service
    by MAC address gets it as its name; of others it is kept among their devices. What the order had bound before by
    mistake is let go of.
    """
    service = session.get(Service, order.service_id) if order.service_id is not None else None
    if service is None or service.state == "terminated":
        raise Invalid(FieldProblem("device", Problem.NO_SERVICE))
    device = find_equipment(session, order.operator_id, label)
    try:
        mac = device.mac if device is not None and device.mac else parse_mac(label)
    except NotAMac:
        raise Invalid(FieldProblem("device", Problem.NOT_A_MAC)) from None
    if not begin_step(session, order, "device", WORK_OPEN, key):
        return order.device_mac or mac
    session.refresh(service)
    terms = terms_of_service(session, service)
    if service.access_method == "mac":
        terms = replace(terms, name=mac)
    else:
        kept = tuple(known for known in terms.macs if known not in (mac, order.device_mac))
        terms = replace(terms, macs=(*kept, mac), max_macs=max(terms.max_macs, len(kept) + 1))
    try:
        change_service(session, actor, service, terms, service.version)
    except Invalid as invalid:
        raise Invalid(*(replace(problem, field="device") for problem in invalid.problems)) from None
    _let_go(session, actor, order, service, mac, now)
    if device is None:
        device = create_equipment(session, actor, EquipmentDetails(mac=mac), now)
    place = Whereabouts("installed", subscriber_id=service.subscriber_id, service_id=service.id)
    try:
        move_equipment(session, actor, device, place, now, work_order_id=order.id)
    except Invalid as invalid:
        raise Invalid(*(replace(problem, field="device") for problem in invalid.problems)) from None
    session.execute(delete(SeenDevice).where(SeenDevice.operator_id == order.operator_id, SeenDevice.mac == mac))
    order.device_mac = mac
    add_event(session, actor, order, "device", now, detail={"mac": mac, "serial": device.serial}, key=key)
    return mac


def recover_device(
    session: Session, actor: Actor, order: WorkOrder, device: Equipment, state: str, now: datetime, key: str = ""
) -> None:
    """Take a device down: the technician has it, or it is broken or lost. Raises Invalid and WrongOrderState.

    A service that goes on no longer lets it in by its MAC address, where it has a list of devices.
    """
    if state not in ("technician", "returned", "broken", "lost"):
        raise Invalid(FieldProblem("state", Problem.UNKNOWN_CHOICE))
    if device.operator_id != order.operator_id or device.subscriber_id != order.subscriber_id:
        raise Invalid(FieldProblem("device", Problem.UNKNOWN_CHOICE))
    if not begin_step(session, order, "recover", (*WORK_OPEN, "done", "failed"), key):
        return
    service = session.get(Service, device.service_id) if device.service_id is not None else None
    if service is not None and service.state != "terminated" and device.mac:
        terms = terms_of_service(session, service)
        macs = tuple(mac for mac in terms.macs if mac != device.mac)
        if macs != terms.macs and (macs or terms.mac_binding != "fixed"):
            change_service(session, actor, service, replace(terms, macs=macs), service.version)
    staff_id = actor.staff_id if state == "technician" else None
    move_equipment(session, actor, device, Whereabouts(state, staff_id=staff_id), now, work_order_id=order.id)
    detail = {"mac": device.mac, "serial": device.serial, "state": state}
    add_event(session, actor, order, "recover", now, detail=detail, key=key)


def note_link_test(session: Session, actor: Actor, order: WorkOrder, test_id: int, now: datetime) -> None:
    """Keep which circuit test of its service was made for an order. Raises Invalid and WrongOrderState."""
    test = session.get(CircuitTest, test_id)
    if test is None or order.service_id is None or test.service_id != order.service_id:
        raise Invalid(FieldProblem("test", Problem.UNKNOWN_CHOICE))
    begin_step(session, order, "link_test", WORK_OPEN)
    order.circuit_test_id = test.id
    add_event(session, actor, order, "link_test", now, detail={"test": test.id})


def sign(
    session: Session, actor: Actor, order: WorkOrder, name: str, signature: StoredFile, now: datetime, key: str = ""
) -> None:
    """Keep that the subscriber, or who stood in for them, signed. Raises Invalid and WrongOrderState."""
    name = " ".join(name.replace("\0", "").split())
    if not name:
        raise Invalid(FieldProblem("signed_name", Problem.REQUIRED))
    if len(name) > 200 or not name.isprintable():
        raise Invalid(FieldProblem("signed_name", Problem.TOO_LONG, {"limit": "200"}))
    if signature.media_type != "image/png" or signature.operator_id != order.operator_id:
        raise Invalid(FieldProblem("signature", Problem.NOT_A_PICTURE))
    if begin_step(session, order, "sign", WORK_OPEN, key):
        order.signed_name, order.signature_id, order.signed_at = name, signature.id, now
        add_event(session, actor, order, "sign", now, body=name, key=key)


# The end.


def missing_steps(session: Session, order: WorkOrder) -> list[Missing]:
    """Return what is yet to be done before the order is complete."""
    missing = [
        Missing("checklist", item["text"]) for item in order.checklist if item["required"] and not item["done_at"]
    ]
    if order.kind == "recovery":
        hanging = exists().where(Equipment.subscriber_id == order.subscriber_id, Equipment.state == "installed")
        if order.service_id is not None:
            hanging = hanging.where(Equipment.service_id == order.service_id)
        if session.scalar(select(hanging)):
            missing.append(Missing("recover"))
    if order.kind not in SIGNED_KINDS:
        return missing
    settings = settings_of(session, order.operator_id)
    if order.kind == "installation":
        service = session.get(Service, order.service_id) if order.service_id is not None else None
        if service is None or service.state == "terminated":
            missing.append(Missing("service"))
        elif has_no_device(service) or (settings.needs_device and not order.device_mac):
            missing.append(Missing("device"))
    if settings.needs_link_test and not _link_is_good(session, order):
        missing.append(Missing("link_test"))
    photos = exists().where(WorkOrderPhoto.work_order_id == order.id)
    if settings.needs_photo and not session.scalar(select(photos)):
        missing.append(Missing("photo"))
    if settings.needs_signature and order.signed_at is None:
        missing.append(Missing("signature"))
    return missing


def complete(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    order: WorkOrder,
    public_url: str,
    now: datetime,
    *,
    override_reason: str = "",
    done_at: datetime | None = None,
    key: str = "",
) -> bool:
    """Complete an order; False where that came in before. `done_at` is when it was done, where that is not now.

    An installation activates its service from now on, whenever it was done: until it is activated nobody is let in, and
    nobody pays for days without service. With `override_reason` steps may be missing; whether the person may is the
    caller's business. Raises StepsMissing, Invalid and WrongOrderState.
    """
    reason = override_reason.replace("\0", "").strip()
    if len(reason) > 500:
        raise Invalid(FieldProblem("reason", Problem.TOO_LONG, {"limit": "500"}))
    if not begin_step(session, order, "complete", WORK_OPEN, key):
        return False
    missing = missing_steps(session, order)
    service = session.get(Service, order.service_id) if order.service_id is not None else None
    impossible = order.kind == "installation" and service is not None and has_no_device(service)
    if missing and (not reason or impossible):
        raise StepsMissing(missing)
    at = min(done_at or now, now)
    order.state, order.ended_at = "done", at
    order.started_at = order.started_at or at
    order.missing = [step.text or step.step for step in missing]
    order.override_reason = reason if missing else ""
    if order.technician_id is None:
        order.technician_id = actor.staff_id
    detail: dict[str, object] = {"missing": order.missing} if missing else {}
    if order.kind == "installation" and service is not None and service.state == "pending":
        activate(session, actor, service, now)
        detail["activated"] = service.name
    if (
        order.kind == "installation"
        and order.subscriber_id is not None
        and settings_of(session, order.operator_id).give_login
    ):
        login = give_login(session, keyring, session.get_one(Subscriber, order.subscriber_id), public_url, now)
        order.login_given_at = login.given_at if login is not None else None
        detail["login"] = login is not None
    add_event(session, actor, order, "complete", at, body=order.override_reason, detail=detail, key=key)
    after = {
        "work_state": "done",
        "signed_name": order.signed_name,
        "missing": order.missing,
        "reason": order.override_reason,
    }
    record(session, actor, "work_order.complete", "work_order", order.id, {"work_state": "open"}, after)
    return True


def _let_go(session: Session, actor: Actor, order: WorkOrder, service: Service, mac: str, now: datetime) -> None:
    """Give back to the technician what this order had bound before."""
    for device in installed_at(session, service):
        if order.device_mac is not None and device.mac == order.device_mac and device.mac != mac:
            back = Whereabouts("technician" if actor.staff_id else "stock", staff_id=actor.staff_id)
            move_equipment(session, actor, device, back, now, work_order_id=order.id)


def _on_earth(latitude: Decimal, longitude: Decimal) -> tuple[Decimal, Decimal]:
    """Return a position to the decimetre. Raises Invalid for what is none."""
    if not (latitude.is_finite() and longitude.is_finite() and abs(latitude) <= 90 and abs(longitude) <= 180):
        raise Invalid(FieldProblem("latitude", Problem.NOT_A_POSITION))
    return latitude.quantize(_DECIMETRE), longitude.quantize(_DECIMETRE)


def _link_is_good(session: Session, order: WorkOrder) -> bool:
    test = session.get(CircuitTest, order.circuit_test_id) if order.circuit_test_id is not None else None
    return test is not None and test.verdict == IN_ORDER
