"""Materials: what a job uses up and nobody follows piece by piece, such as cable, plugs and masts.

The stock falls as work orders use it and may fall below zero: a technician in front of a roof is not kept from working
by a count that was never made.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from crm.work_orders import add_event, begin_step
from db.audit import Actor, record
from db.models import WORK_OPEN, Material, WorkOrder, WorkOrderMaterial

_MOST = Decimal(1_000_000)
_CENT = Decimal("0.01")


def save_material(
    session: Session,
    actor: Actor,
    material: Material | None,
    name: str,
    unit: str,
    stock: Decimal,
    reorder_at: Decimal,
    *,
    active: bool = True,
) -> Material:
    """Enter a material, or change one: a new `stock` is a count that was made. Raises Invalid."""
    name, unit = name.strip(), unit.strip()
    problems = [FieldProblem(field, Problem.REQUIRED) for field, value in (("name", name), ("unit", unit)) if not value]
    for field, value, limit in (("name", name, 100), ("unit", unit, 20)):
        if len(value) > limit or not value.isprintable():
            problems.append(FieldProblem(field, Problem.TOO_LONG, {"limit": str(limit)}))
    for field, amount, least in (("stock", stock, -_MOST), ("reorder_at", reorder_at, Decimal(0))):
        if not amount.is_finite() or not least <= amount <= _MOST:
            problems.append(FieldProblem(field, Problem.OUT_OF_RANGE, {"low": str(least), "high": str(_MOST)}))
    same = select(Material.id).where(
        Material.operator_id == actor.operator_id, func.lower(Material.name) == name.lower()
    )  # fmt: skip
    if session.scalar(same) not in (None, material.id if material is not None else None):
        problems.append(FieldProblem("name", Problem.TAKEN))
    if problems:
        raise Invalid(*problems)
    before = None if material is None else _audited(material)
    if material is None:
        material = Material(operator_id=actor.operator_id)
        session.add(material)
    material.name, material.unit, material.active = name, unit, active
    material.stock, material.reorder_at = stock.quantize(_CENT), reorder_at.quantize(_CENT)
    session.flush()
    action = "material.create" if before is None else "material.change"
    record(session, actor, action, "material", material.id, before, _audited(material))
    return material


def use_material(
    session: Session,
    actor: Actor,
    order: WorkOrder,
    material: Material,
    quantity: Decimal,
    now: datetime,
    key: str = "",
) -> None:
    """Note what an order used; a negative quantity takes back what was noted too much. Raises Invalid."""
    if not quantity.is_finite() or not 0 < abs(quantity) <= _MOST:
        raise Invalid(FieldProblem("quantity", Problem.NOT_POSITIVE))
    if material.operator_id != order.operator_id:
        raise Invalid(FieldProblem("material_id", Problem.UNKNOWN_CHOICE))
    if not begin_step(session, order, "material", (*WORK_OPEN, "done", "failed"), key):
        return
    quantity = quantity.quantize(_CENT)
    used = select(func.sum(WorkOrderMaterial.quantity)).where(
        WorkOrderMaterial.work_order_id == order.id, WorkOrderMaterial.material_id == material.id
    )
    if (session.scalar(used) or Decimal(0)) + quantity < 0 or quantity == 0:
        raise Invalid(FieldProblem("quantity", Problem.NOT_POSITIVE))
    session.refresh(material, with_for_update=True)
    material.stock -= quantity
    session.add(
        WorkOrderMaterial(
            operator_id=order.operator_id, work_order_id=order.id, material_id=material.id, quantity=quantity,
            author=actor.name,
        )
    )  # fmt: skip
    detail = {"material": material.name, "quantity": str(quantity), "unit": material.unit}
    add_event(session, actor, order, "material", now, detail=detail, key=key)


def used_by(session: Session, order: WorkOrder) -> Sequence[tuple[Material, Decimal]]:
    """Return what an order used of each material."""
    total = func.sum(WorkOrderMaterial.quantity)
    query = (
        select(Material, total)
        .join(WorkOrderMaterial, WorkOrderMaterial.material_id == Material.id)
        .where(WorkOrderMaterial.work_order_id == order.id)
        .group_by(Material.id)
        .having(total != 0)
        .order_by(Material.name)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def _audited(material: Material) -> dict[str, object]:
    return {name: getattr(material, name) for name in ("name", "unit", "stock", "reorder_at", "active")}
