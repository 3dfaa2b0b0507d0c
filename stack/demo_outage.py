"""The demo's outage: one sector of a tower whose subscribers went off line minutes ago, and nobody has said yet why.

What the monitor guesses of such a sector it proposes to the staff (`network.monitoring.outage`). It closes by itself
after a day, since nobody of that sector dials in.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.sites import SectorDetails, create_sector
from db.audit import Actor
from db.models import AccountingSession, Incident, IncidentMember, Sector, Service, Site, Subscriber
from stack.demo_people import IN_THE_DARK, SUR, M

SECTOR = "Sur C, El Mirador"
AGO = timedelta(minutes=12)
HOUSES = ((16, -10), (20, -14), (13, -17), (22, -19))
"""Where the subscribers live, north and east of the tower, in thousandths of a degree."""


def darken_demo(session: Session, operator_id: int, now: datetime) -> None:
    """Let it happen, unless the sector is there already or its tower is not."""
    site = session.scalar(select(Site).where(Site.operator_id == operator_id, Site.name == SUR))
    known = session.scalar(select(Sector.id).where(Sector.operator_id == operator_id, Sector.name == SECTOR))
    if site is None or site.nas_id is None or known is not None:
        return
    details = SectorDetails(
        SECTOR, site.nas_id, azimuth=325, beam_width=70, reach=3500, frequency=5580, capacity=80 * M, most_services=12
    )
    sector = create_sector(session, Actor(operator_id, "demo"), site, details)
    names = [line.user for line in IN_THE_DARK]
    rows = session.execute(
        select(Service, Subscriber)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(Service.operator_id == operator_id, Service.name.in_(names))
        .order_by(Service.id)
    ).all()
    incident = Incident(
        operator_id=operator_id, scope="sector", nas_id=site.nas_id, site_id=site.id, sector_id=sector.id,
        proposed=True, before=len(rows), lost=len(rows), opened_at=now - AGO,
    )  # fmt: skip
    session.add(incident)
    session.flush()
    for number, (service, subscriber) in enumerate(rows):
        north, east = HOUSES[number % len(HOUSES)]
        service.sector_id = sector.id
        subscriber.latitude = site.latitude + Decimal(north) / 1000
        subscriber.longitude = site.longitude + Decimal(east) / 1000
        ended = now - AGO + timedelta(seconds=40 * number)
        lost = AccountingSession(
            operator_id=operator_id, nas_id=site.nas_id, service_id=service.id, acct_session_id=f"81d0{number:04x}",
            user_name=service.name, kind="ppp", nas_port_id="ether3", mac=f"a4:50:46:20:00:{number:02x}",
            framed_ip=f"10.64.9.{number + 10}", started_at=ended - timedelta(hours=5), updated_at=ended, ended_at=ended,
            session_time=5 * 3600, octets_in=90 * M, octets_out=1400 * M, terminate_cause="Lost-Carrier",
            ended_by="stop",
        )  # fmt: skip
        session.add(lost)
        session.flush()
        session.add(
            IncidentMember(
                incident_id=incident.id, session_id=lost.id, operator_id=operator_id, nas_id=site.nas_id,
                service_id=service.id, user_name=service.name, ended_at=ended, cause="Lost-Carrier",
            )
        )  # fmt: skip
    session.flush()
