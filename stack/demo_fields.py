"""The demo's own fields: what its people want to know of a subscriber and of a service, with values in some."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.fields import FieldDetails, add_field, fields_of, set_values
from db.audit import Actor
from db.models import Service, Subscriber

OF_SUBSCRIBERS = (
    FieldDetails("subscriber", "Zona", "choice", ("Centro", "San Cristóbal", "El Mirador"), listed=True),
    FieldDetails("subscriber", "Altura del mástil (m)", "number", listed=True),
    FieldDetails("subscriber", "Número de contrato"),
)
OF_SERVICES = (
    FieldDetails("service", "Cable (m)", "number", listed=True),
    FieldDetails("service", "Equipo en comodato", "yes_no", listed=True),
)
DESCRIBED = 24
"""So many subscribers, and the services of theirs, have values: enough for a page of the list."""


def describe_demo(session: Session, operator_id: int) -> None:
    """Enter them, unless the operator has fields already."""
    actor = Actor(operator_id, "demo")
    if fields_of(session, operator_id, "subscriber") or fields_of(session, operator_id, "service"):
        return
    mine = [add_field(session, actor, details).id for details in OF_SUBSCRIBERS]
    theirs = [add_field(session, actor, details).id for details in OF_SERVICES]
    zones = OF_SUBSCRIBERS[0].choices
    for number, subscriber in enumerate(_some(session, operator_id)):
        values = (
            zones[number % len(zones)],
            "" if number % 5 == 4 else f"{3 + number % 4 * 1.5}",
            f"C-{1200 + number}",
        )
        set_values(session, actor, subscriber, dict(zip(mine, values, strict=True)))
        for service in session.scalars(select(Service).where(Service.subscriber_id == subscriber.id)):
            about = (str(15 + number * 7 % 40), "yes" if number % 3 else "no")
            set_values(session, actor, service, dict(zip(theirs, about, strict=True)))


def _some(session: Session, operator_id: int) -> Sequence[Subscriber]:
    mine = select(Subscriber).where(Subscriber.operator_id == operator_id, Subscriber.removed_at.is_(None))
    return session.scalars(mine.order_by(Subscriber.id).limit(DESCRIBED)).all()
