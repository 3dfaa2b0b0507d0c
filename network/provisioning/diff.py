"""The difference between what a router should hold and what it holds, with the steps that end each difference.

What is ours carries our marker in its comment; nothing else is ever changed or removed. One exception begins with
somebody else's: an unmarked queue for exactly the address of a service that has none is taken over as it stands,
because a second one for the same address would never see a packet.

A difference may be what a person on the router meant: another rate, a queue switched off. Such a difference waits
for a person, who makes the router right or takes the router's value. What nobody can have meant, a queue that is
missing after a reset, an address on the wrong list, whatever keeps a suspended subscriber online, is put right as
soon as it is seen.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from network.provisioning.notation import (
    read_priorities,
    read_rates,
    read_spans,
    write_burst,
    write_minimum,
    write_rates,
)
from network.provisioning.want import LOWEST_PRIORITY, WantedQueue, marked, marker
from network.words import ForeignText, Row

QUEUES = "/queue/simple"
LISTS = "/ip/firewall/address-list"
QUEUE_FIELDS = (
    "name", "target", "parent", "dst", "packet-marks", "max-limit", "limit-at", "burst-limit", "burst-threshold",
    "burst-time", "priority", "disabled", "dynamic", "comment",
)  # fmt: skip
LIST_FIELDS = ("list", "address", "disabled", "dynamic", "comment")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Field(StrEnum):
    """What a difference is about."""

    QUEUE = "queue"  # there is none, or one too many
    ADDRESS = "address"
    RATE = "rate"
    BURST = "burst"
    MINIMUM = "minimum"
    PRIORITY = "priority"
    SWITCHED_OFF = "switched_off"
    COPY = "copy"  # a second queue with our marker: WinBox copies comments
    LIST = "list"
    HELD = "held"  # kept on the garden's list by an entry that is not ours
    COVERED = "covered"  # a broader queue further up takes its packets
    UNKNOWN = "unknown"  # our marker, of a service that was never at this router


TAKEABLE = frozenset((Field.ADDRESS, Field.RATE))
"""Fields whose value on the router can be taken over as the service's own."""
ADVICE = frozenset((Field.HELD, Field.COVERED))
"""Differences that only the ISP's people can end, on the router."""


@dataclass(frozen=True, slots=True)
class Add:
    path: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Set:
    path: str
    id: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Remove:
    path: str
    id: str


Step = Add | Set | Remove


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference at one service. `wanted` and `found` are in RouterOS's notation, empty for nothing there.

    `meant` says that a person on the router may have wanted it so.
    """

    service_id: int
    field: Field
    item: str  # its name on the router
    wanted: str
    found: str
    steps: tuple[Step, ...] = ()
    meant: bool = False

    @property
    def adopts(self) -> bool:
        """Whether a queue of the ISP's own people gets our marker."""
        return self.field is Field.QUEUE and bool(self.wanted and self.found)


@dataclass(frozen=True, slots=True)
class Have:
    """What a router holds: rows of QUEUES in its order, and of LISTS."""

    queues: Sequence[Row]
    entries: Sequence[Row]


@dataclass(slots=True)
class _Ours:
    queues: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """A router as the comparison of one service looks at it."""

    ours: Mapping[int, _Ours]
    unmarked: Mapping[Address, Row]  # enabled queues of others, by their one address
    names: set[str]
    listed: Mapping[tuple[str, str], Row]  # entries of others in force, by list and address
    holders: dict[tuple[str, str], int]  # services whose entries of ours have a list and address, as steps are planned
    broad: Sequence[tuple[int, Network, Row]]  # queues of others that take a whole network, by position
    positions: Mapping[str, int]


def compare(
    wants: Mapping[int, WantedQueue], have: Have, *, known: Collection[int], undecided: Collection[int] = ()
) -> list[Difference]:
    """Return every difference, in the order in which their steps should be carried out.

    `known` are services that this router holds or held, so that what is left of them is ours to remove. `undecided`
    are services of it that have no standing decision yet, and are left as they are.
    """
    place = _survey(have)
    found = [
        _left_over(service_id, place.ours[service_id], service_id in known)
        for service_id in sorted(place.ours.keys() - wants.keys() - set(undecided))
    ]
    for each in place.ours.keys() - wants.keys() - set(undecided):
        for row in place.ours[each].entries:
            place.holders.pop(_key(row), None)
    # Who is cut off comes first: their names and addresses may be what others are about to get.
    for want in sorted(wants.values(), key=lambda want: (want.open, want.service_id)):
        found += _compare_one(want, place)
    return found


def due(differences: Iterable[Difference], pending: Collection[int]) -> list[Difference]:
    """Return what is to be carried out: what nobody can have meant, and all of what was changed here since."""
    return [each for each in differences if each.steps and (not each.meant or each.service_id in pending)]


def managed(have: Have) -> int:
    """Return how many queues carry our marker."""
    return sum(1 for row in have.queues if marked(row.get("comment", "")) is not None)


def foreign(have: Have) -> int:
    """Return how many queues the ISP's own people made."""
    return sum(1 for row in have.queues if marked(row.get("comment", "")) is None and not _yes(row, "dynamic"))


def _survey(have: Have) -> _Place:
    ours: defaultdict[int, _Ours] = defaultdict(_Ours)
    unmarked: dict[Address, Row] = {}
    broad = []
    parents = {row.get("parent", "none") for row in have.queues}
    for position, row in enumerate(have.queues):
        service_id = marked(row.get("comment", ""))
        if service_id is not None and not _yes(row, "dynamic"):
            ours[service_id].queues.append(row)
            continue
        if _yes(row, "disabled"):
            continue
        address = _only_address(row.get("target", ""))
        if address is not None and not _yes(row, "dynamic"):
            unmarked.setdefault(address, row)
        elif row.get("name", "") not in parents and not row.get("dst") and not row.get("packet-marks"):
            broad += [(position, network, row) for network in _networks(row.get("target", ""))]
    listed: dict[tuple[str, str], Row] = {}
    for row in have.entries:
        service_id = marked(row.get("comment", ""))
        if service_id is not None and not _yes(row, "dynamic"):
            ours[service_id].entries.append(row)
        elif not _yes(row, "disabled"):
            listed.setdefault(_key(row), row)
    return _Place(
        ours,
        unmarked,
        {row.get("name", "") for row in have.queues},
        listed,
        {_key(row): service_id for service_id, rows in ours.items() for row in rows.entries},
        broad,
        {row[".id"]: position for position, row in enumerate(have.queues)},
    )


def _compare_one(want: WantedQueue, place: _Place) -> Iterator[Difference]:
    ours = place.ours.get(want.service_id, _Ours())
    if not want.open:  # the list first: from then on the rules hold, whatever the queue does
        yield from _compare_list(want, ours, place)
    queue = ours.queues[0] if ours.queues else None
    if queue is None:
        queue = place.unmarked.get(ipaddress.ip_address(want.address))
        if queue is None:
            yield _missing(want, place)
        else:
            yield _adopted(want, queue)
    if queue is not None:
        yield from _compare_queue(want, queue, place)
    if len(ours.queues) > 1:
        copies = ours.queues[1:]
        names = ", ".join(copy.get("name", "") for copy in copies)
        steps = tuple(Remove(QUEUES, copy[".id"]) for copy in copies)
        yield Difference(want.service_id, Field.COPY, names, "", names, steps, meant=want.open)
    if want.open:
        yield from _compare_list(want, ours, place)


def _left_over(service_id: int, ours: _Ours, known: bool) -> Difference:
    queues = tuple(Remove(QUEUES, row[".id"]) for row in ours.queues)
    entries = tuple(Remove(LISTS, row[".id"]) for row in ours.entries)
    names = ", ".join([row.get("name", "") for row in ours.queues] or [row.get("address", "") for row in ours.entries])
    kind = Field.QUEUE if known else Field.UNKNOWN
    return Difference(service_id, kind, names, "", names, entries + queues, meant=not known)


def _missing(want: WantedQueue, place: _Place) -> Difference:
    name = free_name(want, place.names)
    place.names.add(name)
    fields = {"name": name, "target": want.target, **_rate_fields(want), "comment": marker(want.service_id)}
    return Difference(want.service_id, Field.QUEUE, name, name, "", (Add(QUEUES, fields),))


def free_name(want: WantedQueue, taken: Collection[str]) -> str:
    """Return a name for a new queue: names are unique on a router, and another's is not ours to change."""
    for name in (want.name, f"{want.name} #{want.service_id}"):
        if name not in taken:
            return name
    return f"{want.name} #{want.service_id} {want.address}"


def _adopted(want: WantedQueue, queue: Row) -> Difference:
    name = queue.get("name", "")
    comment = _with_marker(queue.get("comment", ""), want.service_id)
    return Difference(
        want.service_id, Field.QUEUE, name, name, name, (Set(QUEUES, queue[".id"], {"comment": comment}),)
    )


def _with_marker(comment: str, service_id: int) -> str:
    """Return somebody's comment with the marker behind it, octet for octet where it is not UTF-8."""
    if isinstance(comment, ForeignText):
        return ForeignText(comment.octets + f" {marker(service_id)}".encode())
    return f"{comment} {marker(service_id)}".strip()


def _rate_fields(want: WantedQueue) -> dict[str, str]:
    rate = want.rate
    priority = rate.priority or LOWEST_PRIORITY
    return {
        "max-limit": write_rates(rate.upload, rate.download),
        "limit-at": write_minimum(rate),
        **write_burst(rate.burst),
        "priority": f"{priority}/{priority}",
    }


def _compare_queue(want: WantedQueue, queue: Row, place: _Place) -> Iterator[Difference]:
    name = queue.get("name", "")

    def differs(kind: Field, wanted: str, found: str, **fields: str) -> Difference:
        step = Set(QUEUES, queue[".id"], {key.replace("_", "-"): value for key, value in fields.items()})
        return Difference(want.service_id, kind, name, wanted, found, (step,), meant=want.open)

    fields = _rate_fields(want)
    address = ipaddress.ip_address(want.address)
    target = queue.get("target", "")
    if _only_address(target) != address:
        yield differs(Field.ADDRESS, want.target, target, target=want.target)
    found = queue.get("max-limit", "0/0")
    if read_rates(found) != read_rates(fields["max-limit"]):
        yield differs(Field.RATE, fields["max-limit"], found, max_limit=fields["max-limit"])
    bursts = ("burst-limit", "burst-threshold", "burst-time")
    if _burst(queue) != _burst(fields):
        wanted = " ".join(fields[key] for key in bursts)
        had = " ".join(queue.get(key, "0/0") for key in bursts)
        yield differs(Field.BURST, wanted, had, **{key: fields[key] for key in bursts})
    for kind, key, read, default in (
        (Field.MINIMUM, "limit-at", read_rates, "0/0"),
        (Field.PRIORITY, "priority", read_priorities, "8/8"),
    ):
        had = queue.get(key, default)
        if read(had) != read(fields[key]):
            yield differs(kind, fields[key], had, **{key: fields[key]})
    if _yes(queue, "disabled"):
        yield differs(Field.SWITCHED_OFF, "", "disabled", disabled="no")
    over = _covering(address, queue, place)
    if over is not None:
        yield Difference(want.service_id, Field.COVERED, name, "", over.get("name", ""), (), meant=True)


def _covering(address: Address, queue: Row, place: _Place) -> Row | None:
    """Return the queue of others that is asked before `queue` and takes its packets: the first that matches counts."""
    position = place.positions[queue[".id"]]
    for above, network, row in place.broad:
        if above < position and address.version == network.version and address in network:
            return row
    return None


def _compare_list(want: WantedQueue, ours: _Ours, place: _Place) -> Iterator[Difference]:
    key = (want.address_list, want.address)
    right = [row for row in ours.entries if _key(row) == key]
    others = [row for row in ours.entries if _key(row) != key]
    steps: list[Step] = []
    if right:
        if _yes(right[0], "disabled"):
            steps.append(Set(LISTS, right[0][".id"], {"disabled": "no"}))
        others += right[1:]
    elif key in place.listed:
        pass  # somebody put it there; a second entry is refused by RouterOS, and not needed
    else:
        steps += _make_room(key, place)
        if others:
            moved = others.pop(0)
            place.holders.pop(_key(moved), None)
            new = {"list": want.address_list, "address": want.address, "disabled": "no"}
            steps.append(Set(LISTS, moved[".id"], new))
        else:
            entry = {"list": want.address_list, "address": want.address, "comment": marker(want.service_id)}
            steps.append(Add(LISTS, entry))
    for row in others:
        place.holders.pop(_key(row), None)
        steps.append(Remove(LISTS, row[".id"]))
    if steps:
        had = ", ".join(f"{row.get('list', '')} {row.get('address', '')}" for row in ours.entries)
        yield Difference(want.service_id, Field.LIST, want.name, " ".join(key), had, tuple(steps))
    held = place.listed.get((want.garden_list, want.address))
    if want.open and want.garden_list != want.address_list and held is not None and not _yes(held, "dynamic"):
        yield Difference(
            want.service_id, Field.HELD, want.name, "", " ".join((want.garden_list, want.address)), (), True
        )


def _make_room(key: tuple[str, str], place: _Place) -> Iterator[Step]:
    """Take an entry of ours out of the way: two services that swap addresses would refuse each other for ever."""
    holder = place.holders.pop(key, None)
    if holder is None:
        return
    entries = place.ours[holder].entries
    for row in [row for row in entries if _key(row) == key]:
        entries.remove(row)
        yield Remove(LISTS, row[".id"])


def _burst(fields: Mapping[str, str]) -> tuple[object, ...] | None:
    """Return what a burst comes to; None for none, whatever its other fields say."""
    limit = read_rates(fields.get("burst-limit", "0/0"))
    if limit == (0, 0):
        return None
    return limit, read_rates(fields.get("burst-threshold", "0/0")), read_spans(fields.get("burst-time", "0s/0s"))


def _networks(target: str) -> list[Network]:
    """Return the networks of a target; interfaces, which may stand there too, are none."""
    networks: list[Network] = []
    for part in target.split(","):
        try:
            networks.append(ipaddress.ip_network(part.strip(), strict=False))
        except ValueError:
            continue
    return networks


def _only_address(target: str) -> Address | None:
    networks = _networks(target)
    if len(networks) == 1 and networks[0].prefixlen == networks[0].max_prefixlen and "," not in target:
        return networks[0].network_address
    return None


def _key(entry: Row) -> tuple[str, str]:
    return entry.get("list", ""), _plain(entry.get("address", ""))


def _plain(address: str) -> str:
    return address.removesuffix("/32").removesuffix("/128")


def _yes(row: Mapping[str, str], key: str) -> bool:
    return row.get(key) in ("true", "yes")
