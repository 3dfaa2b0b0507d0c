"""Matching: which plan a candidate has, and whom it resembles.

A plan is told by its name, where the router's profile is called like it, and otherwise by its rate. Doubles are looked
for within the import and among what is stored: the same user name, address or MAC address, and names that sound
alike. What follows from one is proposed here and decided by a person.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import islice

from aaa.facts import AccessMethod
from core.rates import RateLimit, format_rate
from network.importing.candidate import WITHOUT_SERVICE, Candidate, Finding, folded, sound_of

MOST_NAMED = 3
"""Doubles of one kind that are named for a row; more would only say the same."""


class Likeness(StrEnum):
    """What two have in common."""

    NAME = "name"
    ADDRESS = "address"
    MAC = "mac"
    SIMILAR = "similar"


class Action(StrEnum):
    """What becomes of a candidate. ADD makes a new one although there is a double."""

    NEW = "new"
    UPDATE = "update"
    IGNORE = "ignore"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Known:
    """A service that is stored, as far as a candidate may resemble it.

    Of a subscriber without one, `access_method` is WITHOUT_SERVICE and `service_id` 0.
    """

    service_id: int
    subscriber_id: int
    subscriber: str
    access_method: str
    name: str
    framed_ip: str | None
    nas_id: int | None
    macs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Double:
    """One likeness: to a stored service, or to another row of the import (`line`)."""

    likeness: Likeness
    value: str
    subscriber: str
    line: int | None = None
    service_id: int | None = None
    subscriber_id: int | None = None

    def document(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """A rate plan as far as it can be told by. `capped`: it has a data cap, which no rate on a router says."""

    id: int
    name: str
    rate: RateLimit
    capped: bool = False


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan that would fit candidates for which there is none.

    `prices` is what its rows cost where they come from, each with how many say so, the most frequent first.
    """

    name: str
    download: int
    upload: int
    rows: int
    prices: tuple[tuple[Decimal, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed for a row."""

    action: Action
    target_id: int | None
    doubles: tuple[Double, ...]


class Plans:
    """Finds the plan of a candidate."""

    def __init__(self, offers: Sequence[PlanOffer]) -> None:
        self._by_name = {folded(offer.name): offer for offer in reversed(offers)}
        self._by_rate: dict[tuple[int, int], PlanOffer] = {}
        self._by_download: dict[int, list[PlanOffer]] = defaultdict(list)
        self._with_burst: dict[RateLimit, PlanOffer] = {}
        for offer in offers:
            if offer.capped:
                continue  # by the rate alone, somebody would be slowed down or cut who never agreed to a cap
            self._by_rate.setdefault((offer.rate.download, offer.rate.upload), offer)
            self._by_download[offer.rate.download].append(offer)
            self._with_burst.setdefault(offer.rate, offer)

    def guess(self, candidate: Candidate) -> int | None:
        """Return the plan that a candidate seems to have."""
        if candidate.profile and (named := self._by_name.get(folded(candidate.profile))):
            return named.id
        rate = candidate.rate
        if rate is None:
            return None
        found = self._with_burst.get(rate) or self._by_rate.get((rate.download, rate.upload))
        if found is None and rate.download % 1024 == 0 and rate.upload % 1024 == 0:
            # 10240k is how some write ten megabits, though RouterOS's k is 1000.
            found = self._by_rate.get((rate.download * 1000 // 1024, rate.upload * 1000 // 1024))
        if found is None and any(finding is Finding.RATE_FROM_TEXT for finding, _detail in candidate.findings):
            # A comment says `10M` and means the download; one plan with that is the one.
            same = self._by_download[rate.download]
            found = same[0] if len(same) == 1 else None
        return found.id if found else None


def new_plans(rows: Iterable[tuple[int, int, str, Decimal | None]], taken: Iterable[str]) -> list[NewPlan]:
    """Propose a plan for each (download, upload) of rows without one, the most frequent first.

    A plan is called as the profile of its rows if they have one profile alone, and by its rate otherwise. It costs what
    most of those rows cost that name a price.
    """
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    prices: dict[tuple[int, int], Counter[Decimal]] = defaultdict(Counter)
    for download, upload, profile, price in rows:
        groups[download, upload].append(profile)
        if price is not None:
            prices[download, upload][price] += 1
    names = {folded(name) for name in taken}
    proposed = []
    for (download, upload), profiles in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        name = profiles[0] if len(set(profiles)) == 1 and profiles[0] not in ("", "default") else ""
        if not name or folded(name) in names:
            name = f"{format_rate(download)} / {format_rate(upload)}"
        number, wanted = 2, name
        while folded(name) in names:
            name, number = f"{wanted} ({number})", number + 1
        names.add(folded(name))
        asked = tuple(sorted(prices[download, upload].items(), key=lambda one: (-one[1], one[0])))
        proposed.append(NewPlan(name, download, upload, len(profiles), asked))
    return proposed


def propose(candidates: Sequence[Candidate], known: Iterable[Known], nas_id: int | None) -> list[Proposal]:
    """Return a proposal for each candidate. `nas_id` is the router that their services would be tied to, if any."""
    stored = _Index(known, nas_id)
    seen = _Batch(candidates)
    return [_proposal(candidate, stored.doubles(candidate), seen.doubles(candidate)) for candidate in candidates]


def _proposal(candidate: Candidate, stored: list[tuple[Double, Known]], within: list[Double]) -> Proposal:
    doubles = (*(double for double, _known in stored), *within)
    if candidate.access_method == WITHOUT_SERVICE:
        # A name is all that a person without a service is told by.
        twice = stored or any(double.line is not None and double.line < candidate.line for double in within)
        return Proposal(Action.IGNORE if twice or candidate.doubtful else Action.NEW, None, doubles)
    earlier = [
        double
        for double in within
        if double.likeness is not Likeness.SIMILAR and double.line is not None and double.line < candidate.line
    ]
    own = {
        service.service_id
        for double, service in stored
        if double.likeness is not Likeness.SIMILAR and service.access_method == candidate.access_method
    }
    named = [
        service.service_id
        for double, service in stored
        if double.likeness is Likeness.NAME and service.access_method == candidate.access_method
    ]
    if candidate.barred or candidate.doubtful:
        return Proposal(Action.IGNORE, named[0] if named else None, doubles)
    if candidate.disabled and candidate.access_method != AccessMethod.PPPOE:
        # A disabled queue or lease says nothing about whether somebody may connect; a disabled secret does.
        return Proposal(Action.IGNORE, named[0] if named else None, doubles)
    if earlier:
        return Proposal(Action.IGNORE, None, doubles)
    if named or len(own) == 1:
        return Proposal(Action.UPDATE, named[0] if named else next(iter(own)), doubles)
    if any(double.likeness is not Likeness.SIMILAR for double, _service in stored):
        return Proposal(Action.IGNORE, None, doubles)
    return Proposal(Action.NEW, None, doubles)


class _Index:
    """What is stored, by what a candidate may share with it."""

    def __init__(self, known: Iterable[Known], nas_id: int | None) -> None:
        self._nas_id = nas_id
        self._names: dict[str, list[Known]] = defaultdict(list)
        self._addresses: dict[str, list[Known]] = defaultdict(list)
        self._macs: dict[str, list[Known]] = defaultdict(list)
        self._sounds: dict[str, list[Known]] = defaultdict(list)
        self._people: dict[str, list[Known]] = defaultdict(list)
        people: set[int] = set()
        for service in known:
            if service.access_method != WITHOUT_SERVICE:
                self._names[service.name].append(service)
            self._people[folded(service.subscriber)].append(service)
            if service.framed_ip is not None:
                self._addresses[service.framed_ip].append(service)
            macs = {*service.macs, service.name} if service.access_method == AccessMethod.MAC else set(service.macs)
            for mac in macs:
                self._macs[mac].append(service)
            if service.subscriber_id not in people and (sound := sound_of(service.subscriber)):
                self._sounds[sound].append(service)
            people.add(service.subscriber_id)

    def doubles(self, candidate: Candidate) -> list[tuple[Double, Known]]:
        found: list[tuple[Double, Known]] = []
        exact = set()
        for likeness, value, services in (
            (Likeness.NAME, candidate.name, self._names.get(candidate.name, [])),
            (Likeness.ADDRESS, candidate.framed_ip, self._addresses.get(candidate.framed_ip or "", [])),
            (Likeness.MAC, candidate.mac, self._macs.get(candidate.mac or "", [])),
        ):
            if likeness is Likeness.ADDRESS and self._nas_id is not None:
                # The same address may live behind two routers, when both services are tied to theirs.
                services = [one for one in services if one.nas_id in (None, self._nas_id)]
            for service in services[:MOST_NAMED]:
                if likeness is Likeness.MAC and service.name == candidate.name:
                    continue
                exact.add(service.subscriber_id)
                found.append((_stored(likeness, value or "", service), service))
        sounding = self._sounds.get(sound_of(candidate.subscriber), [])
        if candidate.access_method == WITHOUT_SERVICE and not sounding:
            sounding = self._people.get(folded(candidate.subscriber), [])[:1]
        alike = (one for one in sounding if one.subscriber_id not in exact)
        found += [
            (_stored(Likeness.SIMILAR, service.subscriber, service), service) for service in islice(alike, MOST_NAMED)
        ]
        return found


class _Batch:
    """The rows of the import, by what they may share."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._shared: dict[tuple[Likeness, str], list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            for key in _keys(candidate):
                self._shared[key].append(candidate)

    def doubles(self, candidate: Candidate) -> list[Double]:
        found = []
        exact = set()
        for likeness, value in _keys(candidate):
            # Only the first few are looked at: thousands may be called "cliente nuevo".
            others = (other for other in self._shared[likeness, value] if other.line != candidate.line)
            for other in islice(others, MOST_NAMED):
                if likeness is Likeness.SIMILAR and other.line in exact:
                    continue
                exact.add(other.line)
                shown = other.subscriber if likeness is Likeness.SIMILAR else value
                found.append(Double(likeness, shown, other.subscriber or other.name, other.line))
        return found


def _keys(candidate: Candidate) -> Iterable[tuple[Likeness, str]]:
    if candidate.name and candidate.access_method != AccessMethod.MAC:
        yield Likeness.NAME, candidate.name
    if candidate.framed_ip:
        yield Likeness.ADDRESS, candidate.framed_ip
    if candidate.mac:
        yield Likeness.MAC, candidate.mac
    if sound := sound_of(candidate.subscriber):
        yield Likeness.SIMILAR, sound
    elif candidate.access_method == WITHOUT_SERVICE:
        yield Likeness.SIMILAR, folded(candidate.subscriber)


def _stored(likeness: Likeness, value: str, service: Known) -> Double:
    return Double(likeness, value, service.subscriber, None, service.service_id or None, service.subscriber_id)


def double_of(document: Mapping[str, object]) -> Double:
    """Return a double as it was stored."""
    return Double(**{**document, "likeness": Likeness(str(document["likeness"]))})  # type: ignore[arg-type]
