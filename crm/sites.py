"""Sites and sectors: entering them, how loaded each sector is, and whether a place lies in what its antenna covers.

A sector is loaded in three ways, and any of them may be the first to hurt: how many services hang on it, how much speed
was sold to them against what the air carries, and what really went through in the busiest hour. Only services in use
count: nobody is crowded out by a terminated line.

Two people may have the same site open; who saves second without having seen the first one's change is told so.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import asin, atan2, cos, degrees, radians, sin, sqrt
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import MapSettings, Nas, Sector, Service, Site

SITE_KINDS = ("tower", "roof", "cabinet", "office", "other")
LINES_OF_SIGHT = ("clear", "partial", "blocked")
BUSIEST = timedelta(days=7)
"""The busiest hour is looked for in so many days."""
NEARLY_FULL = 80
"""Percent of what a sector can carry from which on it is called nearly full."""
EARTH = 6_371_000.0
_LIMITS = {"name": 80, "address": 300, "notes": 5000, "port": 100}
# What a browser is told to load pictures from stands in a header: a plain host name, and nothing that ends a directive.
_TILES = re.compile(
    r"https://((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9](?::[0-9]{1,5})?)"
    r"/[A-Za-z0-9/_.?&=%{}@-]*\Z"
)

_LOADS = """
WITH line AS (
    SELECT service.id, service.sector_id, service.state,
           coalesce(service.rate_download, rate_plan.download) AS download
    FROM service JOIN rate_plan ON rate_plan.id = service.plan_id
    WHERE service.operator_id = :operator_id AND service.sector_id = ANY(:sector_ids)
      AND service.state IN ('active', 'suspended', 'paused')
), busy AS (
    SELECT sector_id, max(octets) AS most FROM (
        SELECT line.sector_id, usage_hour.hour, sum(usage_hour.octets_out) AS octets
        FROM line JOIN usage_hour ON usage_hour.service_id = line.id
        WHERE usage_hour.operator_id = :operator_id AND usage_hour.hour >= :since
        GROUP BY line.sector_id, usage_hour.hour
    ) AS hours GROUP BY sector_id
)
SELECT line.sector_id, count(*) AS services,
       coalesce(sum(line.download) FILTER (WHERE line.state = 'active'), 0)::bigint AS sold,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM session WHERE session.service_id = line.id AND session.ended_at IS NULL
             AND session.operator_id = :operator_id)) AS live,
       coalesce(max(busy.most), 0)::bigint AS busiest
FROM line LEFT JOIN busy ON busy.sector_id = line.sector_id
GROUP BY line.sector_id
"""


@dataclass(frozen=True, slots=True)
class SiteDetails:
    """What somebody enters for a site. `height` is metres above the ground."""

    name: str
    latitude: Decimal | None
    longitude: Decimal | None
    kind: str = "tower"
    address: str = ""
    height: int | None = None
    nas_id: int | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class SectorDetails:
    """What somebody enters for a sector: degrees, metres, MHz and bit/s."""

    name: str
    nas_id: int | None = None
    port: str = ""
    azimuth: int = 0
    beam_width: int = 90
    reach: int = 3000
    frequency: int | None = None
    capacity: int | None = None
    most_services: int | None = None
    in_use: bool = True
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How loaded a sector is. Rates are bit/s towards subscribers; `busiest` is the mean of the busiest hour."""

    services: int = 0
    live: int = 0
    sold: int = 0
    busiest: int = 0

    def percent(self, sector: Sector) -> int | None:
        """Return how full the sector is by what is fullest, traffic or places; None where nothing says its limits."""
        shares = []
        if sector.capacity:
            shares.append(100 * self.busiest // sector.capacity)
        if sector.most_services:
            shares.append(100 * self.services // sector.most_services)
        return max(shares, default=None)

    def oversold(self, sector: Sector) -> float | None:
        """Return how many times the capacity was sold."""
        return self.sold / sector.capacity if sector.capacity else None


@dataclass(frozen=True, slots=True)
class Aim:
    """How a place lies to a sector: metres from its site, degrees from north as seen there, whether it is covered."""

    distance: int
    bearing: int
    in_beam: bool
    in_reach: bool


def details_of_site(site: Site) -> SiteDetails:
    return SiteDetails(**{field.name: getattr(site, field.name) for field in fields(SiteDetails)})


def details_of_sector(sector: Sector) -> SectorDetails:
    return SectorDetails(**{field.name: getattr(sector, field.name) for field in fields(SectorDetails)})


def create_site(session: Session, actor: Actor, details: SiteDetails) -> Site:
    """Enter a site. Raises Invalid."""
    details = _checked_site(session, details)
    site = Site(operator_id=actor.operator_id, **asdict(details))
    _save(session, site)
    record(session, actor, "site.create", "site", site.id, None, asdict(details))
    return site


def change_site(session: Session, actor: Actor, site: Site, details: SiteDetails, seen: int) -> None:
    """Change a site of which version `seen` was shown. Raises Invalid and ChangedMeanwhile."""
    _lock(session, site, seen)
    details = _checked_site(session, details)
    _change(session, actor, "site", site, asdict(details_of_site(site)), asdict(details))


def move_site(session: Session, actor: Actor, site: Site, place: tuple[Decimal, Decimal], seen: int) -> None:
    """Put a site at a latitude and longitude. Raises Invalid and ChangedMeanwhile."""
    change_site(session, actor, site, replace(details_of_site(site), latitude=place[0], longitude=place[1]), seen)


def delete_site(session: Session, actor: Actor, site: Site) -> bool:
    """Remove a site without sectors. False: it has some."""
    if session.scalar(select(func.count()).where(Sector.site_id == site.id)):
        return False
    record(session, actor, "site.delete", "site", site.id, asdict(details_of_site(site)), None)
    session.delete(site)
    session.flush()
    return True


def create_sector(session: Session, actor: Actor, site: Site, details: SectorDetails) -> Sector:
    """Enter a sector of a site. Raises Invalid."""
    details = _checked_sector(session, details)
    sector = Sector(operator_id=actor.operator_id, site_id=site.id, **asdict(details))
    _save(session, sector)
    record(session, actor, "sector.create", "sector", sector.id, None, {**asdict(details), "site": site.name})
    return sector


def change_sector(session: Session, actor: Actor, sector: Sector, details: SectorDetails, seen: int) -> None:
    """Change a sector of which version `seen` was shown. Raises Invalid and ChangedMeanwhile."""
    _lock(session, sector, seen)
    details = _checked_sector(session, details)
    _change(session, actor, "sector", sector, asdict(details_of_sector(sector)), asdict(details))


def delete_sector(session: Session, actor: Actor, sector: Sector) -> bool:
    """Remove a sector that no service hangs on, not even a terminated one. False: some do."""
    if session.scalar(select(func.count()).where(Service.sector_id == sector.id)):
        return False
    record(session, actor, "sector.delete", "sector", sector.id, asdict(details_of_sector(sector)), None)
    session.delete(sector)
    session.flush()
    return True


def sector_loads(session: Session, operator_id: int, sector_ids: Sequence[int], now: datetime) -> dict[int, Load]:
    """Return how loaded each of some sectors is; those that nothing hangs on are not loaded."""
    loads = dict.fromkeys(sector_ids, Load())
    values = {"operator_id": operator_id, "sector_ids": list(sector_ids), "since": now - BUSIEST}
    for row in session.execute(text(_LOADS), values):
        loads[row.sector_id] = Load(row.services, row.live, row.sold, row.busiest * 8 // 3600)
    return loads


def aim(site: Site, sector: Sector, latitude: Decimal, longitude: Decimal) -> Aim:
    """Return how a place lies to a sector, over a round earth without hills: what stands between is not seen."""
    start, end = radians(site.latitude), radians(latitude)
    across = radians(longitude) - radians(site.longitude)
    half = sin((end - start) / 2) ** 2 + cos(start) * cos(end) * sin(across / 2) ** 2
    distance = 2 * EARTH * asin(sqrt(min(half, 1.0)))
    bearing = degrees(
        atan2(sin(across) * cos(end), cos(start) * sin(end) - sin(start) * cos(end) * cos(across))
    )  # fmt: skip
    off = abs((bearing - sector.azimuth + 180) % 360 - 180)
    return Aim(
        round(distance), round(bearing) % 360, off <= sector.beam_width / 2 or distance < 1, distance <= sector.reach
    )  # fmt: skip


def tile_host(tiles: str) -> str | None:
    """Return the host that a map's pictures come from; None where the address is none that may stand in a header."""
    found = _TILES.match(tiles)
    return found.group(1) if found else None


def change_map(session: Session, actor: Actor, tiles: str, attribution: str) -> None:
    """Say where maps take their ground from; an empty address is a plain grid. Raises Invalid."""
    tiles, attribution = tiles.strip(), " ".join(attribution.split())
    problems = []
    if tiles and (tile_host(tiles) is None or not all(part in tiles for part in ("{z}", "{x}", "{y}"))):
        problems.append(FieldProblem("tiles", Problem.NOT_A_WEB_ADDRESS))
    if len(tiles) > 500:
        problems.append(FieldProblem("tiles", Problem.TOO_LONG, {"limit": "500"}))
    if len(attribution) > 200:
        problems.append(FieldProblem("attribution", Problem.TOO_LONG, {"limit": "200"}))
    if problems:
        raise Invalid(*problems)
    stored = session.get(MapSettings, actor.operator_id)
    if stored is None:
        stored = MapSettings(operator_id=actor.operator_id, tiles="", attribution="")
        session.add(stored)
    before = {"tiles": stored.tiles, "attribution": stored.attribution}
    stored.tiles, stored.attribution = tiles, attribution
    session.flush()
    record(session, actor, "map.change", "map", actor.operator_id, before, {"tiles": tiles, "attribution": attribution})


# Below here: what the above is made of.


def _lock(session: Session, row: Site | Sector, seen: int) -> None:
    session.refresh(row, with_for_update=True)
    if row.version != seen:
        raise ChangedMeanwhile


def _change(
    session: Session, actor: Actor, entity: str, row: Site | Sector, before: dict[str, Any], after: dict[str, Any]
) -> None:
    for name, value in after.items():
        if getattr(row, name) != value:
            setattr(row, name, value)
    _save(session, row)
    record(session, actor, f"{entity}.change", entity, row.id, before, after)


def _save(session: Session, row: Site | Sector) -> None:
    """Write in a savepoint: two people may take the same name at once, and the index refuses the second."""
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError as refused:
        for index, field in (("uq_site_name", "name"), ("uq_sector_name", "name"), ("uq_sector_port", "port")):
            if index in str(refused.orig):
                raise Invalid(FieldProblem(field, Problem.TAKEN)) from None
        raise


def _checked_site(session: Session, details: SiteDetails) -> SiteDetails:
    details = _tidy(details)
    problems = _common_problems(session, details)
    for name, most in (("latitude", 90), ("longitude", 180)):
        degrees_ = getattr(details, name)
        if degrees_ is None:
            problems.append(FieldProblem(name, Problem.REQUIRED))
        elif not degrees_.is_finite() or abs(degrees_) > most:
            problems.append(FieldProblem(name, Problem.NOT_A_POSITION))
    if details.kind not in SITE_KINDS:
        problems.append(FieldProblem("kind", Problem.UNKNOWN_CHOICE))
    problems += _range("height", details.height, 0, 1000)
    if problems:
        raise Invalid(*problems)
    assert details.latitude is not None
    assert details.longitude is not None
    exact = Decimal("0.000001")
    return replace(details, latitude=details.latitude.quantize(exact), longitude=details.longitude.quantize(exact))


def _checked_sector(session: Session, details: SectorDetails) -> SectorDetails:
    details = _tidy(details)
    problems = _common_problems(session, details)
    if details.port and details.nas_id is None:
        problems.append(FieldProblem("nas_id", Problem.REQUIRED))
    problems += _range("azimuth", details.azimuth, 0, 359)
    problems += _range("beam_width", details.beam_width, 1, 360)
    problems += _range("reach", details.reach, 10, 100_000)
    problems += _range("frequency", details.frequency, 1, 300_000)
    problems += _range("capacity", details.capacity, 1, 10**13)
    problems += _range("most_services", details.most_services, 1, 100_000)
    if problems:
        raise Invalid(*problems)
    return details


def _tidy(details: Any) -> Any:
    lines = {
        name: " ".join(getattr(details, name).split()) for name in ("name", "address", "port") if hasattr(details, name)
    }
    return replace(details, **lines, notes=details.notes.replace("\0", "").strip())


def _common_problems(session: Session, details: SiteDetails | SectorDetails) -> list[FieldProblem]:
    problems = []
    if not details.name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    for name, limit in _LIMITS.items():
        value = getattr(details, name, "")
        if len(value) > limit:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(limit)}))
        elif name != "notes" and not value.isprintable():
            problems.append(FieldProblem(name, Problem.NAME_CHARACTERS))
    if details.nas_id is not None and session.get(Nas, details.nas_id) is None:
        problems.append(FieldProblem("nas_id", Problem.UNKNOWN_NAS))
    return problems


def _range(name: str, value: int | None, low: int, high: int) -> list[FieldProblem]:
    if value is None or low <= value <= high:
        return []
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)})]
