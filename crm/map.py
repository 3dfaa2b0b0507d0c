"""The map: what of an operator's subscribers and network lies in a part of the world, in one query.

A subscriber is shown by what most needs somebody: suspended, then offline, then late with paying, then online. Whoever
has no line that could be seen to be up (none in use, or static addresses alone) is `other`: nothing is claimed of them.

A part with more than MOST_POINTS subscribers comes as cells of a grid with their counts. So an answer stays small, and
a browser has little to draw, however large the operator is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from crm.incidents import concerned_services
from db.models import Incident

STATES = ("online", "offline", "suspended", "late", "other")
MOST_POINTS = 5_000
CELL = 64
"""Width of a cell of the grid, in pixels of the map at its zoom."""

_STATE = """
CASE WHEN bool_or(s.state = 'suspended') THEN 'suspended'
     WHEN NOT coalesce(bool_or(s.state = 'active'), false) THEN 'other'
     WHEN NOT bool_or(o.service_id IS NOT NULL) AND bool_or(s.state = 'active' AND s.access_method <> 'queue')
         THEN 'offline'
     WHEN bool_or(s.state = 'active' AND s.management = 'automatic' AND s.paid_until < :today) THEN 'late'
     WHEN bool_or(o.service_id IS NOT NULL) THEN 'online'
     ELSE 'other' END
"""

# Only sessions of services in use count: who is suspended is on line in the walled garden, and is no less cut off.
_SHOWN = """
SELECT p.id, p.name, p.version, p.latitude::float8 AS latitude, p.longitude::float8 AS longitude, {state} AS state
FROM subscriber p
{join} service s ON s.subscriber_id = p.id AND s.operator_id = :operator_id
    AND s.state IN ('active', 'suspended', 'paused') {of_service}
LEFT JOIN session o ON o.service_id = s.id AND o.ended_at IS NULL AND o.operator_id = :operator_id
    AND s.state = 'active'
WHERE p.operator_id = :operator_id AND p.removed_at IS NULL
    AND p.latitude BETWEEN CAST(:south AS numeric) AND CAST(:north AS numeric)
    AND p.longitude BETWEEN CAST(:west AS numeric) AND CAST(:east AS numeric)
GROUP BY p.id
"""

_CELLS = """
SELECT avg(latitude) AS latitude, avg(longitude) AS longitude,
       count(*) FILTER (WHERE state = 'online') AS online, count(*) FILTER (WHERE state = 'offline') AS offline,
       count(*) FILTER (WHERE state = 'suspended') AS suspended, count(*) FILTER (WHERE state = 'late') AS late,
       count(*) FILTER (WHERE state = 'other') AS other
FROM ({shown}) AS shown {of_state}
GROUP BY floor((longitude + 180) / 360 * :cells),
         floor((0.5 - ln(tan(pi() / 4 + radians(least(greatest(latitude, -85), 85)) / 2)) / (2 * pi())) * :cells)
"""

_POINTS = """
SELECT id, latitude, longitude, state, name, version FROM ({shown}) AS shown {of_state} ORDER BY id LIMIT :most
"""

_MOST = """
SELECT percentile_disc(0.01) WITHIN GROUP (ORDER BY latitude), percentile_disc(0.01) WITHIN GROUP (ORDER BY longitude),
       percentile_disc(0.99) WITHIN GROUP (ORDER BY latitude), percentile_disc(0.99) WITHIN GROUP (ORDER BY longitude)
FROM (SELECT latitude, longitude FROM subscriber WHERE operator_id = :operator_id AND latitude IS NOT NULL
      UNION ALL SELECT latitude, longitude FROM site WHERE operator_id = :operator_id) AS places
"""

_PLACES = """
SELECT DISTINCT round(p.latitude, 3)::float8 AS latitude, round(p.longitude, 3)::float8 AS longitude
FROM subscriber p JOIN service s ON s.subscriber_id = p.id
WHERE p.operator_id = :operator_id AND s.id = ANY(:services) AND p.latitude IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the world in degrees; `zoom` is the map's, 0 to 20."""

    south: float
    west: float
    north: float
    east: float
    zoom: int


@dataclass(frozen=True, slots=True)
class Only:
    """What a map is narrowed to. `nas_id` is where a service is on line, or is bound to."""

    state: str | None = None
    plan_id: int | None = None
    sector_id: int | None = None
    nas_id: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What lies in a part: cells (latitude, longitude, a count for each of STATES), or the subscribers themselves."""

    counts: dict[str, int]
    cells: list[tuple[float, ...]] = field(default_factory=list)
    points: list[tuple[Any, ...]] = field(default_factory=list)  # id, latitude, longitude, state, name, version


@dataclass(frozen=True, slots=True)
class Area:
    """Where an open incident takes the connection: corners of the hull of those concerned, as (latitude, longitude)."""

    incident: Incident
    corners: list[tuple[float, float]]
    subscribers: int


def shown_in(session: Session, operator_id: int, part: Part, only: Only, today: date) -> Shown:
    """Return the subscribers in a part of the map. `today` is the operator's day, against which payment is late."""
    of_service = []
    if only.plan_id is not None:
        of_service.append("AND s.plan_id = :plan_id")
    if only.sector_id is not None:
        of_service.append("AND s.sector_id = :sector_id")
    if only.nas_id is not None:
        of_service.append(
            "AND (s.nas_id = :nas_id OR s.sector_id IN (SELECT id FROM sector WHERE nas_id = :nas_id) OR EXISTS (SELECT"
            " FROM session WHERE session.service_id = s.id AND session.ended_at IS NULL AND session.nas_id = :nas_id))"
        )
    shown = _SHOWN.format(state=_STATE, join="JOIN" if of_service else "LEFT JOIN", of_service=" ".join(of_service))
    of_state = "WHERE state = :state" if only.state else ""
    values = {
        "operator_id": operator_id, "south": part.south, "north": part.north, "west": part.west, "east": part.east,
        "plan_id": only.plan_id, "sector_id": only.sector_id, "nas_id": only.nas_id, "state": only.state,
        "today": today, "cells": 2.0**part.zoom * 256 / CELL, "most": MOST_POINTS,
    }  # fmt: skip
    # Where statistics lag behind, as after an import, PostgreSQL takes all subscribers for one row and looks for the
    # sessions of each by itself: 50,000 took minutes. Joined by hashing they take half a second in any case.
    session.execute(text("SET LOCAL enable_nestloop = off"))
    shown_now = _shown_now(session, shown, of_state, values)
    session.execute(text("SET LOCAL enable_nestloop = on"))
    return shown_now


def _shown_now(session: Session, shown: str, of_state: str, values: dict[str, Any]) -> Shown:
    cells = session.execute(text(_CELLS.format(shown=shown, of_state=of_state)), values).all()
    counts = {state: sum(getattr(cell, state) for cell in cells) for state in STATES}
    if sum(counts.values()) > MOST_POINTS:
        return Shown(counts, cells=[(round(cell[0], 6), round(cell[1], 6), *cell[2:]) for cell in cells])
    if not cells:
        return Shown(counts)
    points = session.execute(text(_POINTS.format(shown=shown, of_state=of_state)), values).all()
    return Shown(counts, points=[tuple(point) for point in points])


def most_of(session: Session, operator_id: int) -> list[float] | None:
    """Return south, west, north and east of what an operator has on the map, but for the outermost hundredth.

    A mistyped position would otherwise open the map on half of the world. None where there is nothing yet.
    """
    row = session.execute(text(_MOST), {"operator_id": operator_id}).one()
    return None if row[0] is None else [float(corner) for corner in row]


def areas_of_incidents(session: Session, operator_id: int, now: Any) -> list[Area]:
    """Return where the open incidents are, the newest first. One of nobody with a position has no corners."""
    query = select(Incident).where(
        Incident.operator_id == operator_id, Incident.closed_at.is_(None), Incident.opened_at <= now
    )
    areas = []
    for incident in session.scalars(query.order_by(Incident.opened_at.desc()).limit(20)):
        services = concerned_services(session, incident)
        rows = session.execute(text(_PLACES), {"operator_id": operator_id, "services": list(services)})
        areas.append(Area(incident, hull((row.latitude, row.longitude) for row in rows), len(services)))
    return areas


def hull(places: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the smallest convex area that holds all the places (Andrew's monotone chain)."""
    ordered = sorted(set(places))
    if len(ordered) < 3:
        return ordered
    return [*_half(ordered), *_half(ordered[::-1])]


def _half(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    for place in ordered:
        while len(corners) >= 2 and _turn(corners[-2], corners[-1], place) <= 0:
            corners.pop()
        corners.append(place)
    return corners[:-1]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
