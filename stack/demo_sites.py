"""The demo's network on the ground: two towers with five sectors, and where its subscribers live."""

from collections import Counter
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.sites import SectorDetails, SiteDetails, create_sector, create_site
from db.audit import Actor
from db.models import Nas, Sector, Service, Site, Subscriber

M = 1_000_000
# A tower, where it stands, and its sectors: name, azimuth, capacity in bit/s, most services.
TOWERS = (
    ("Torre Norte", "20.145000", "-98.745000", (("Norte A", 60, 150 * M, 12), ("Norte B", 180, 150 * M, 40),
                                                ("Norte C", 300, 80 * M, 8))),
    ("Torre Sur", "20.095000", "-98.765000", (("Sur A", 45, 200 * M, 30), ("Sur B", 225, 120 * M, 30))),
)  # fmt: skip
SPREAD = Decimal("0.0065")  # degrees between neighbours


def place_demo(session: Session, operator_id: int) -> None:
    """Put it on the map, unless there are sites already."""
    if session.scalar(select(Site.id).where(Site.operator_id == operator_id).limit(1)) is not None:
        return
    actor = Actor(operator_id, "demo")
    routers = {nas.name: nas.id for nas in session.scalars(select(Nas).where(Nas.operator_id == operator_id))}
    sectors: dict[str, list[Sector]] = {}
    sites: dict[str, Site] = {}
    for name, latitude, longitude, antennas in TOWERS:
        details = SiteDetails(
            name, Decimal(latitude), Decimal(longitude), height=30, nas_id=routers.get(name), address="Pachuca"
        )  # fmt: skip
        sites[name] = create_site(session, actor, details)
        sectors[name] = [
            create_sector(
                session, actor, sites[name],
                SectorDetails(title, routers.get(name), azimuth=azimuth, beam_width=120, reach=3500, frequency=5500,
                              capacity=capacity, most_services=most),
            )
            for title, azimuth, capacity, most in antennas
        ]  # fmt: skip
    names = {number: name for name, number in routers.items()}
    rows = session.execute(
        select(Service, Subscriber)
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(Service.operator_id == operator_id, Service.access_method != "voucher")
        .order_by(Service.id)
    )
    hung: Counter[str] = Counter()
    for number, (service, subscriber) in enumerate(rows.all()):
        name = names.get(service.nas_id or 0) or TOWERS[number % 2][0]
        site = sites.get(name) or sites[TOWERS[0][0]]
        here = sectors[site.name]
        sector = here[hung[site.name] % len(here)]
        hung[site.name] += 1
        service.sector_id = sector.id
        service.line_of_sight = "partial" if number % 7 == 3 else "clear"
        if subscriber.latitude is None:
            subscriber.latitude, subscriber.longitude = _beside(site, sector, number)
    session.flush()


def _beside(site: Site, sector: Sector, number: int) -> tuple[Decimal, Decimal]:
    """Return a place that the sector covers: the further out, the later the subscriber came."""
    out = SPREAD * (1 + number % 4)
    aside = Decimal(number % 5 - 2) * Decimal("0.0021")
    north = {60: 1, 180: -1, 300: 1, 45: 1, 225: -1}[sector.azimuth]
    east = {60: 1, 180: 0, 300: -1, 45: 1, 225: -1}[sector.azimuth]
    if not east:
        return site.latitude + north * out / 2, site.longitude + aside
    return site.latitude + north * out / 2 + aside, site.longitude + east * out * Decimal("0.8")
