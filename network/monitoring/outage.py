"""Outages: many sessions of one router or sector that end inside a minute are one event, not many.

Who hangs up, runs out of time or is disconnected by us has not lost the network; whose line vanished has. When enough
of those that were up at a router vanish together, its subscribers are in the dark, and that is one incident. If they
all hung on one port of it (`NAS-Port-Id`: a sector, an access point, an OLT port), the incident is the sector's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)
LEAST = 5
"""Fewer sessions than this are a coincidence."""
SHARE = 0.4
"""Of the sessions that were up, so many must be lost."""
GATHERING = timedelta(minutes=5)
GATHERED_LEAST, GATHERED_SHARE = 3, 0.5
"""So many of a sector or site, and such a share of them, that go off line within that time, are proposed as one."""
RETURNED = 0.8
"""An incident is over when so many of what it ended are back."""
NETWORK_LEAST, NETWORK_SHARE = 3, 0.5
"""So many routers of an operator, and such a share of them, that go offline together are one event."""

# RFC 2866 §5.10, and how a session ended that had no Stop of its own (session.ended_by).
LOST_CAUSES = frozenset(
    ("lost-carrier", "lost-service", "nas-reboot", "nas-error", "port-error", "nas-request", "port-unneeded")
)
LOST_BY = frozenset(("reboot", "accounting-on", "accounting-off", "stale"))


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that is no longer up."""

    session_id: int
    operator_id: int
    nas_id: int
    sector: str
    service_id: int | None
    user_name: str
    ended_at: datetime
    cause: str
    sector_id: int | None = None  # the antenna that the service hangs on, where somebody said so
    site_id: int | None = None


@dataclass(frozen=True, slots=True)
class Gathering:
    """Subscribers of one sector, or of a site (`sector_id` None), who went off line within minutes of each other."""

    operator_id: int
    site_id: int
    sector_id: int | None
    before: int
    members: tuple[Ended, ...]

    @property
    def at(self) -> datetime:
        return min(one.ended_at for one in self.members)


@dataclass(frozen=True, slots=True)
class Outage:
    """What ended together. `before` is how many were up there; `sector` is empty when it is the whole router."""

    operator_id: int
    nas_id: int
    sector: str
    before: int
    members: tuple[Ended, ...]

    @property
    def at(self) -> datetime:
        return min(one.ended_at for one in self.members)


def was_lost(cause: str | None, ended_by: str | None) -> bool:
    """Tell whether a session ended because the network went away, by its terminate cause or how it was closed."""
    if ended_by in LOST_BY:
        return True
    return ended_by == "stop" and (cause or "").lower().replace(" ", "-") in LOST_CAUSES


def find_outages(lost: Iterable[Ended], up: Mapping[tuple[int, str], int]) -> list[Outage]:
    """Return the outages among sessions that were lost lately.

    `up` says how many sessions are up now at each (NAS, sector). A router whose sectors are all concerned is one
    outage; otherwise each sector that is concerned is one.
    """
    by_nas: dict[int, list[Ended]] = defaultdict(list)
    for one in lost:
        by_nas[one.nas_id].append(one)
    up_by_nas: dict[int, int] = defaultdict(int)
    for (nas_id, _sector), count in up.items():
        up_by_nas[nas_id] += count
    found = []
    for nas_id, ended in by_nas.items():
        together = _densest(ended)
        before = up_by_nas[nas_id] + len(together)
        sectors = {one.sector for one in together}
        if _enough(len(together), before) and not _one_sector_of_several(nas_id, sectors, up):
            found.append(Outage(together[0].operator_id, nas_id, "", before, tuple(together)))
            continue
        for sector in sorted(sectors):
            of_sector = _densest([one for one in ended if one.sector == sector])
            before = up.get((nas_id, sector), 0) + len(of_sector)
            if sector and _enough(len(of_sector), before):
                found.append(Outage(of_sector[0].operator_id, nas_id, sector, before, tuple(of_sector)))
    return found


def find_gatherings(lost: Iterable[Ended], up: Mapping[tuple[int, int], int]) -> list[Gathering]:
    """Return the sites and sectors that lost too many of their subscribers lately for a coincidence.

    What a router shows inside a minute is certain; an antenna whose power fails lets one subscriber go after the
    other, and few hang on it. So this asks for less, and what it finds is proposed to a person. `up` says how many
    sessions are up now at each (site, sector). A site of which several sectors are concerned is one finding.
    """
    by_site: dict[int, list[Ended]] = defaultdict(list)
    for one in lost:
        if one.site_id is not None and one.sector_id is not None:
            by_site[one.site_id].append(one)
    found = []
    for site_id, ended in by_site.items():
        there = sum(count for (site, _sector), count in up.items() if site == site_id)
        together = _densest(ended, GATHERING)
        if len({one.sector_id for one in together}) > 1 and _gathered(len(together), there + len(together)):
            found.append(Gathering(together[0].operator_id, site_id, None, there + len(together), tuple(together)))
            continue
        for sector_id in sorted({one.sector_id or 0 for one in ended}):
            together = _densest([one for one in ended if one.sector_id == sector_id], GATHERING)
            before = up.get((site_id, sector_id), 0) + len(together)
            if _gathered(len(together), before):
                found.append(Gathering(together[0].operator_id, site_id, sector_id, before, tuple(together)))
    return found


def is_over(members: int, back: int) -> bool:
    """Tell whether enough of an incident's subscribers are back."""
    return back >= members * RETURNED


def network_is_down(offline: int, watched: int) -> bool:
    """Tell whether so many routers went offline together that the fault lies before them."""
    return offline >= NETWORK_LEAST and offline >= watched * NETWORK_SHARE


def _enough(lost: int, before: int) -> bool:
    return lost >= LEAST and lost >= before * SHARE


def _gathered(lost: int, before: int) -> bool:
    return lost >= GATHERED_LEAST and lost >= before * GATHERED_SHARE


def _one_sector_of_several(nas_id: int, sectors: set[str], up: Mapping[tuple[int, str], int]) -> bool:
    """Tell whether all that was lost hung on one port while others of the router go on."""
    others = {sector for (nas, sector), count in up.items() if nas == nas_id and count and sector not in sectors}
    return len(sectors) == 1 and "" not in sectors and bool(others)


def _densest(ended: list[Ended], within: timedelta = WINDOW) -> list[Ended]:
    """Return the largest group that ended within so long."""
    ordered = sorted(ended, key=lambda one: one.ended_at)
    best: list[Ended] = []
    first = 0
    for last, one in enumerate(ordered):
        while one.ended_at - ordered[first].ended_at > within:
            first += 1
        if last + 1 - first > len(best):
            best = ordered[first : last + 1]
    return best
