"""The devices of a service that binds MAC addresses, as its subscriber may change them."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Service, ServiceMac


def devices_of(session: Session, service: Service) -> list[ServiceMac]:
    """Return the devices that may use a service, the oldest first."""
    query = select(ServiceMac).where(ServiceMac.service_id == service.id).order_by(ServiceMac.created_at)
    return list(session.scalars(query.order_by(ServiceMac.mac)))


def forget_device(session: Session, actor: Actor, service: Service, mac: str) -> None:
    """Forget a device that was learned by itself, so that the next one that connects is learned in its place.

    One that staff entered stays: the line may hang on it. Raises Invalid when there is no such device.
    """
    gone = session.execute(
        delete(ServiceMac)
        .where(ServiceMac.service_id == service.id, ServiceMac.mac == mac, ServiceMac.learned)
        .returning(ServiceMac.mac)
    ).scalar_one_or_none()
    if gone is None:
        raise Invalid(FieldProblem("mac", Problem.ALREADY_DONE))
    record(session, actor, "service.forget_device", "service", service.id, {"mac": mac}, {"mac": None})
