"""Equipment: the inventory of devices, who has each, and how it came there.

    stock → with a technician → installed → returned → stock …      broken and lost from anywhere, and back

A device is told by its serial number or its MAC address, either of which its label shows and a scanner reads. A change
of hands is a move, which stays in its history with who did it and by which work order. What is counted by the metre is
`crm.materials`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from core.mac import NotAMac, find_mac, parse_mac
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import EQUIPMENT_KINDS, EQUIPMENT_STATES, Equipment, EquipmentMove, Service, Staff, Subscriber

MOST_LINES = 2_000
"""Of one import: a pallet, with room to spare."""
_LIMITS = {"model": 100, "serial": 100, "place": 200, "notes": 2000}
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "modelo", "name", "nombre"),
    "serial": ("serial", "serial number", "serie", "número de serie", "numero de serie", "s/n", "sn"),
    "mac": ("mac", "mac address", "dirección mac", "direccion mac"),
    "kind": ("kind", "type", "tipo", "clase"),
    "place": ("place", "lugar", "ubicación", "ubicacion"),
}


@dataclass(frozen=True, slots=True)
class EquipmentDetails:
    """What is entered for a device. `mac` is text as typed."""

    kind: str = "cpe"
    model: str = ""
    serial: str = ""
    mac: str | None = None
    place: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a device is, or goes: `staff_id` when a technician has it, `subscriber_id` when it is installed."""

    state: str
    place: str = ""
    staff_id: int | None = None
    subscriber_id: int | None = None
    service_id: int | None = None


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line of a pasted list: its number, what it says, and what is wrong with it."""

    number: int
    details: EquipmentDetails
    problems: tuple[FieldProblem, ...]


def details_of_device(device: Equipment) -> EquipmentDetails:
    return EquipmentDetails(**{field.name: getattr(device, field.name) for field in fields(EquipmentDetails)})


def create_equipment(session: Session, actor: Actor, details: EquipmentDetails, now: datetime) -> Equipment:
    """Enter a device, in stock. Raises Invalid."""
    details = _checked(session, actor.operator_id, details, None)
    device = Equipment(operator_id=actor.operator_id, **asdict(details), state="stock", moved_at=now)
    session.add(device)
    session.flush()
    _note_move(session, actor, device, "", "", None, now)
    record(session, actor, "equipment.create", "equipment", device.id, None, asdict(details))
    return device


def change_equipment(session: Session, actor: Actor, device: Equipment, details: EquipmentDetails, seen: int) -> None:
    """Change what was entered for a device, of version `seen`. Raises Invalid and ChangedMeanwhile."""
    session.refresh(device, with_for_update=True)
    if device.version != seen:
        raise ChangedMeanwhile
    details = _checked(session, actor.operator_id, details, device.id)
    before = asdict(details_of_device(device))
    for name, value in asdict(details).items():
        if getattr(device, name) != value:
            setattr(device, name, value)
    session.flush()
    record(session, actor, "equipment.change", "equipment", device.id, before, asdict(details))


def move_equipment(
    session: Session,
    actor: Actor,
    device: Equipment,
    to: Whereabouts,
    now: datetime,
    note: str = "",
    work_order_id: int | None = None,
) -> None:
    """Give a device to somebody, install it, take it back. Raises Invalid.

    One that is installed must come back before it is installed elsewhere: two places for one device are a mistake of
    the list or of the label, and both want to be looked at.
    """
    session.flush()
    session.refresh(device, with_for_update=True)
    problems = _problems_of(session, device.operator_id, to)
    if device.state == "installed" and to.state == "installed" and device.subscriber_id != to.subscriber_id:
        problems.append(FieldProblem("state", Problem.INSTALLED_ELSEWHERE, _holder(session, device)))
    if problems:
        raise Invalid(*problems)
    before = _where(device)
    device.state, device.place = to.state, to.place.strip()
    device.staff_id = to.staff_id if to.state == "technician" else None
    device.subscriber_id = to.subscriber_id if to.state == "installed" else None
    device.service_id = to.service_id if to.state == "installed" else None
    after = _where(device)
    if before == after:
        return
    device.moved_at = now
    session.flush()
    _note_move(session, actor, device, before["equipment_state"], note.strip()[:500], work_order_id, now)
    record(session, actor, "equipment.move", "equipment", device.id, before, after)


def find_equipment(session: Session, operator_id: int, label: str) -> Equipment | None:
    """Return the device of a label: its MAC address in any spelling, or its serial number in any case."""
    label = label.replace("\0", "").strip()
    named: list[ColumnElement[bool]] = [func.lower(Equipment.serial) == label.lower()]
    mac = find_mac(label)
    if mac is not None:
        named.append(Equipment.mac == mac)
    if not label:
        return None
    query = select(Equipment).where(Equipment.operator_id == operator_id, or_(*named)).order_by(Equipment.id)
    return session.scalars(query.limit(1)).first()


def moves_of(session: Session, device: Equipment) -> list[EquipmentMove]:
    """Return the device's moves, the newest first."""
    query = select(EquipmentMove).where(EquipmentMove.equipment_id == device.id).order_by(EquipmentMove.id.desc())
    return list(session.scalars(query))


def installed_at(session: Session, service: Service) -> list[Equipment]:
    """Return the devices that hang at a service; they are to be recovered when it ends."""
    query = select(Equipment).where(Equipment.service_id == service.id, Equipment.state == "installed")
    return list(session.scalars(query.order_by(Equipment.id)))


def read_list(session: Session, operator_id: int, text: str) -> list[ReadLine]:
    """Return what a pasted list says, line by line, with what is wrong with each; nothing is written.

    Columns are separated by tabs, semicolons or commas, in the order model, serial number, MAC address, kind, place,
    or as a first line names them. Raises Invalid when there are too many lines.
    """
    text = text.replace("\0", "")
    rows = [
        row for row in csv.reader(io.StringIO(text), delimiter=_separator(text)) if any(cell.strip() for cell in row)
    ]
    if len(rows) > MOST_LINES:
        raise Invalid(FieldProblem("lines", Problem.LIMIT_REACHED, {"limit": str(MOST_LINES)}))
    names, first = _header(rows)
    read: list[ReadLine] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows[first:], first + 1):
        values: dict[str, Any] = {
            name: row[place].strip() for place, name in enumerate(names) if name and place < len(row)
        }
        values["kind"] = values.get("kind", "").lower() or "cpe"
        values["mac"] = values.get("mac") or None
        details = EquipmentDetails(**values)
        problems: tuple[FieldProblem, ...] = ()
        try:
            details = _checked(session, operator_id, details, None)
        except Invalid as invalid:
            problems = tuple(invalid.problems)
        for key in (details.serial.lower(), details.mac or ""):
            if key and seen.setdefault(key, number) != number:
                problems = (*problems, FieldProblem("serial", Problem.SAME_AS_LINE, {"line": str(seen[key])}))
        read.append(ReadLine(number, details, problems))
    return read


def enter_list(session: Session, actor: Actor, lines: Sequence[ReadLine], now: datetime) -> int:
    """Enter the lines without problems and return how many there were."""
    good = [line for line in lines if not line.problems]
    for line in good:
        create_equipment(session, actor, line.details, now)
    return len(good)


# Below here: what the above is made of.


def _checked(session: Session, operator_id: int, details: EquipmentDetails, own: int | None) -> EquipmentDetails:
    problems = []
    values = asdict(details)
    for name, limit in _LIMITS.items():
        values[name] = values[name].replace("\0", "").strip()
        if len(values[name]) > limit:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
        elif name != "notes" and not values[name].isprintable():
            problems.append(FieldProblem(name, Problem.NAME_CHARACTERS))
    if values["kind"] not in EQUIPMENT_KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    try:
        values["mac"] = parse_mac(values["mac"]) if values["mac"] else None
    except NotAMac:
        problems.append(FieldProblem("mac", Problem.NOT_A_MAC))
        values["mac"] = None
    else:
        if not values["serial"] and values["mac"] is None:
            problems.append(FieldProblem("serial", Problem.SERIAL_OR_MAC))
        elif values["mac"] and _taken(session, operator_id, own, Equipment.mac == values["mac"]):
            problems.append(FieldProblem("mac", Problem.TAKEN))
    if values["serial"] and _taken(session, operator_id, own, func.lower(Equipment.serial) == values["serial"].lower()):
        problems.append(FieldProblem("serial", Problem.TAKEN))
    if problems:
        raise Invalid(*problems)
    return EquipmentDetails(**values)


def _taken(session: Session, operator_id: int, own: int | None, same: ColumnElement[bool]) -> bool:
    found = session.scalar(select(Equipment.id).where(Equipment.operator_id == operator_id, same))
    return found is not None and found != own


def _problems_of(session: Session, operator_id: int, to: Whereabouts) -> list[FieldProblem]:
    if to.state not in EQUIPMENT_STATES:
        return [FieldProblem("state", Problem.UNKNOWN_CHOICE)]
    problems = []
    if len(to.place) > _LIMITS["place"]:
        problems.append(FieldProblem("place", Problem.TOO_LONG, {"limit": str(_LIMITS["place"])}))
    if to.state == "technician" and not _is_ours(session, operator_id, Staff, to.staff_id):
        problems.append(FieldProblem("staff_id", Problem.REQUIRED))
    if to.state == "installed":
        if not _is_ours(session, operator_id, Subscriber, to.subscriber_id):
            problems.append(FieldProblem("subscriber_id", Problem.REQUIRED))
        service = session.get(Service, to.service_id) if to.service_id is not None else None
        if to.service_id is not None and (service is None or service.subscriber_id != to.subscriber_id):
            problems.append(FieldProblem("service_id", Problem.UNKNOWN_CHOICE))
    return problems


def _is_ours(session: Session, operator_id: int, model: Any, row_id: int | None) -> bool:
    return row_id is not None and getattr(session.get(model, row_id), "operator_id", None) == operator_id


def _holder(session: Session, device: Equipment) -> dict[str, str]:
    return {"subscriber": session.get_one(Subscriber, device.subscriber_id).name}


def _where(device: Equipment) -> dict[str, Any]:
    names = ("place", "staff_id", "subscriber_id", "service_id")
    return {"equipment_state": device.state, **{name: getattr(device, name) for name in names}}


def _note_move(
    session: Session, actor: Actor, device: Equipment, before: str, note: str, work_order_id: int | None, now: datetime
) -> None:
    session.add(
        EquipmentMove(
            operator_id=device.operator_id, equipment_id=device.id, before=before, after=device.state,
            place=device.place, staff_id=device.staff_id, subscriber_id=device.subscriber_id,
            service_id=device.service_id, work_order_id=work_order_id, author=actor.name, note=note, at=now,
        )
    )  # fmt: skip
    session.flush()


def _separator(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max("\t;,", key=line.count)


def _header(rows: list[list[str]]) -> tuple[list[str], int]:
    """Return what the columns are, and how many lines at the top say so."""
    if rows:
        named = [
            next((name for name, words in _COLUMNS.items() if cell.strip().lower() in words), "") for cell in rows[0]
        ]
        if "serial" in named or "mac" in named:
            return named, 1
    return list(_COLUMNS), 0
