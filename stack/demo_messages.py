"""What the demo's subscribers are told: channels, a message that waits for a person, and planned work."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.incidents import IncidentDetails, open_by_hand
from crm.message_settings import ChannelTerms, change_channels
from crm.messages import Value, tell_subscriber
from db.audit import Actor
from db.models import MessageSettings, Nas, Subscriber

ACTOR = "demo"


def tell_demo(session: Session, settings: Settings, operator_id: int, now: datetime) -> None:
    """Set up the demo operator's channels once, with a little to see; nothing where somebody set them before."""
    if session.get(MessageSettings, operator_id) is not None:
        return
    actor = Actor(operator_id, ACTOR)
    terms = ChannelTerms(channels=("email", "whatsapp"), dial_prefix="+52", incident_tell=True, incident_delay=1)
    change_channels(session, settings, actor, terms)
    nas_id = session.scalar(select(Nas.id).where(Nas.operator_id == operator_id).order_by(Nas.id).limit(1))
    if nas_id is None:
        return
    begins = (now + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    work = IncidentDetails(
        "router", "Cambio de antena en la torre", nas_id, begins=begins, expected_until=begins + timedelta(hours=2),
        planned=True,
    )  # fmt: skip
    incident = open_by_hand(session, actor, work, now)
    reader = session.scalar(
        select(Subscriber)
        .where(Subscriber.operator_id == operator_id, Subscriber.phone.is_not(None))
        .order_by(Subscriber.id)
        .limit(1)
    )  # fmt: skip
    if reader is not None:
        values: dict[str, Value] = {"what": incident.title, "began": begins, "expected": ""}
        tell_subscriber(session, settings.keyring, reader, "incident_planned", values, urgent=True)
