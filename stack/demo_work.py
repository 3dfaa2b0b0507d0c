"""The demo's sales and visits: some leads, installations before and behind the technician, a little equipment."""

from datetime import datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import local_date
from core.crypto import Keyring
from crm.equipment import EquipmentDetails, Whereabouts, create_equipment, move_equipment
from crm.leads import LeadDetails, create_lead, move_lead
from crm.materials import save_material
from crm.subscribers import SubscriberDetails, create_subscriber
from crm.work_orders import WorkOrderDetails, begin, create_work_order, fail
from crm.work_steps import bind_device, complete, tick
from crm.workflow import Sale, change_checklist, sell
from db.audit import Actor
from db.models import Equipment, Operator, RatePlan, Service, Staff, Subscriber, WorkSettings

CHECKLISTS = {
    "installation": "* Línea de vista a la torre\n* Cable sujeto y sellado\nRouter con el nombre del cliente\n"
    "Se explicó la página del cliente",
    "repair": "* Causa encontrada\nCable y conectores revisados",
}
LEADS = (
    (
        "Rosa Elena Hernández",
        "+52 771 555 2101",
        "referral",
        "Hogar 20 Plus",
        "new",
        "Llamar para acordar la visita",
        0,
    ),
    ("Taquería El Güero", "+52 771 555 2102", "walk_in", "Negocio 100", "contacted", "Enviar cotización", -1),
    ("Ignacio Muñoz Peña", "+52 771 555 2103", "phone", "Hogar 10", "quoted", "Confirmar precio del mástil", 2),
    ("Escuela Benito Juárez", "+52 771 555 2104", "website", None, "lost", "", None),
)
STOCK = (("LiteBeam 5AC", "F4E2C6D00{0:02d}"), ("hAP ax lite", "HE90{0:02d}X"))


def work_demo(session: Session, operator_id: int, keyring: Keyring, public_url: str, now: datetime) -> None:
    """Enter it, unless somebody looked at work orders before."""
    if session.get(WorkSettings, operator_id) is not None:
        return
    operator = session.get_one(Operator, operator_id)
    zone = ZoneInfo(operator.timezone)
    today = local_date(now, zone)
    people = {
        role: session.scalars(
            select(Staff).where(Staff.operator_id == operator_id, Staff.roles.contains([role])).limit(1)
        ).one_or_none()
        for role in ("sales", "technical")
    }
    seller, technician = (
        Actor(operator_id, person.email, person.id) if person else Actor(operator_id, "demo")
        for person in (people["sales"], people["technical"])
    )
    plans = {
        plan.name: plan.id for plan in session.scalars(select(RatePlan).where(RatePlan.operator_id == operator_id))
    }
    for kind, text in CHECKLISTS.items():
        change_checklist(session, seller, kind, text)
    for name, phone, source, plan, state, step, days in LEADS:
        on = today + timedelta(days=days) if days is not None else None
        details = LeadDetails(
            name, phone, source=source, plan_id=plans.get(plan or ""), next_step=step, next_step_on=on
        )  # fmt: skip
        lead = create_lead(session, seller, details)
        if state != "new":
            move_lead(session, seller, lead, state, now, "Eligió otra compañía" if state == "lost" else "")
    save_material(session, technician, None, "Cable UTP exterior", "m", Decimal(305), Decimal(100))
    save_material(session, technician, None, "Mástil 3 m", "pza", Decimal(4), Decimal(5))
    devices = [
        create_equipment(session, technician, EquipmentDetails(model=model, serial=serial.format(number), mac=mac), now)
        for number in range(1, 4)
        for (model, serial), mac in zip(STOCK, (f"f4:e2:c6:d0:00:{number:02x}", None), strict=True)
    ]
    if technician.staff_id is not None:
        move_equipment(session, seller, devices[0], Whereabouts("technician", staff_id=technician.staff_id), now)

    def window(days: int, hour: int) -> tuple[datetime, datetime]:
        start = datetime.combine(today + timedelta(days=days), time(hour), zone)
        return start, start + timedelta(hours=2)

    plan_id = min(plans.values())
    for name, days, hour in (("Guadalupe Ríos Ávila", 0, 10), ("Panadería La Espiga", 1, 9), ("Tomás Cruz", None, 0)):
        details_of_person = SubscriberDetails(
            name, phone="+52 771 555 2200", email="cliente@demo.example", address="Calle Hidalgo 12, Pachuca",
            latitude=Decimal("20.1227"), longitude=Decimal("-98.7362"),
        )  # fmt: skip
        subscriber = create_subscriber(session, seller, details_of_person)
        sale = Sale(
            plan_id, window=window(days, hour) if days is not None else None,
            technician_id=technician.staff_id if days is not None else None,
        )  # fmt: skip
        sold = sell(session, seller, keyring, subscriber, sale, now)
        if days == 0 and sold.order is not None:
            begin(session, technician, sold.order, now)
            tick(session, technician, sold.order, 0, done=True, now=now)
            bind_device(session, technician, sold.order, devices[0].mac or "", now)
    _install_one(session, seller, technician, keyring, public_url, devices[2], plan_id, now)
    gone = (
        (devices[4], Whereabouts("installed", subscriber_id=_first_of(session, operator_id))),
        (devices[4], Whereabouts("returned", place="Bodega")),
        (devices[3], Whereabouts("broken", place="Taller")),
    )
    for device, to in gone:
        move_equipment(session, technician, device, to, now, "Se mojó" if to.state == "broken" else "")
    service = session.scalars(
        select(Service).where(Service.operator_id == operator_id, Service.state == "active").order_by(Service.id)
    ).first()
    if service is not None:
        repair = create_work_order(
            session, seller, WorkOrderDetails("repair", service_id=service.id, priority="high",
                                              description="Se corta por las tardes."), now,
        )  # fmt: skip
        fail(session, technician, repair, "No había nadie en casa", now)
    start, end = window(2, 8)
    create_work_order(
        session, technician,
        WorkOrderDetails("expansion", title="Sector nuevo en Torre Norte", priority="low", address="San Cristóbal",
                         window_start=start, window_end=end), now,
    )  # fmt: skip


def _install_one(
    session: Session,
    seller: Actor,
    technician: Actor,
    keyring: Keyring,
    public_url: str,
    device: Equipment,
    plan_id: int,
    now: datetime,
) -> None:
    """A sale of the day before yesterday that was installed yesterday, which the reports tell of."""
    sold_at, at = now - timedelta(days=2), now - timedelta(days=1)
    person = SubscriberDetails(
        "Rosalba Ortega Luna", phone="+52 771 555 2206", email="rosalba@demo.example",
        address="Av. Juárez 40, Pachuca", latitude=Decimal("20.1262"), longitude=Decimal("-98.7391"),
    )  # fmt: skip
    subscriber = create_subscriber(session, seller, person)
    sale = Sale(plan_id, window=(at, at + timedelta(hours=2)), technician_id=technician.staff_id)
    order = sell(session, seller, keyring, subscriber, sale, sold_at).order
    if order is None:
        return
    begin(session, technician, order, at)
    for place in range(len(order.checklist)):
        tick(session, technician, order, place, done=True, now=at)
    bind_device(session, technician, order, device.mac or "", at)
    complete(session, technician, keyring, order, public_url, now, override_reason="Firmó en papel", done_at=at)


def _first_of(session: Session, operator_id: int) -> int:
    return session.scalars(
        select(Subscriber.id).where(Subscriber.operator_id == operator_id).order_by(Subscriber.id).limit(1)
    ).one()
