"""The hotspots of a router: where their login pages are, and whether they are as the operator decided.

Read over the API: a hotspot's pages are at its profile's `dns-name` and `hotspot-address`, and where it names none, at
the addresses of its interface. So logins find their way without anybody typing these, and a router that was given
another address is known by it within minutes.

What the setup script put there is kept right: how long devices are remembered, and what opens without a login. That
the script was here is told by what it left: our rows of the walled garden, and the former settings that it wrote down.
Where it was not, the hotspot is the operator's own, and is only read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.gateways.hosts import HOSTS, to_pay_at
from crm.captive import captive_terms
from db.models import Brand, CaptiveHotspot, CaptiveSettings, Nas, Router, VoucherBatch
from network.api import RouterAccess, RouterApi, open_router
from network.problems import Cause, RouterProblem
from network.scripts_hotspot import GARDEN, login_methods
from network.scripts_steps import BEFORE
from network.values import NotAValue, parse_duration
from network.words import Row

_SERVERS, _PROFILES, _USERS = "/ip/hotspot", "/ip/hotspot/profile", "/ip/hotspot/user/profile"
_WALLED = "/ip/hotspot/walled-garden"
_NO_ADDRESS = "0.0.0.0"  # noqa: S104 - what RouterOS shows where a profile names none
_OURS = frozenset(login_methods(1, offer_trial=True))


@dataclass(frozen=True, slots=True)
class WantedHotspot:
    """What an operator decided. `patterns` are what opens without a login besides what the script was told."""

    remember_days: int = 0
    offer_trial: bool = False
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hotspots:
    """What a router has. `profiles` are those in use that ask RADIUS; `set_up` are those that the script changed."""

    hosts: tuple[str, ...]
    profiles: tuple[Row, ...] = ()
    users: Row | None = None
    garden: tuple[Row, ...] = ()  # our rows
    set_up: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A change that makes a router's hotspot as it should be: of one row, of a new one (no id), or its removal."""

    menu: str
    id: str
    fields: Mapping[str, str]

    @property
    def told(self) -> str:
        """The change in RouterOS's own words, for people."""
        if not self.fields:
            return f"{self.menu} remove"
        return f"{self.menu} {'set' if self.id else 'add'} " + " ".join(f"{k}={v}" for k, v in self.fields.items())


def read_hotspots(router: RouterApi) -> Hotspots:
    """Read a router's hotspots; those that are disabled do not count. Raises RouterProblem."""
    try:
        servers = [row for row in router.rows(_SERVERS, "interface", "profile", "disabled") if _on(row)]
    except RouterProblem as problem:
        if problem.cause is Cause.VERSION:  # the package is not installed
            return Hotspots(())
        raise
    if not servers:
        return Hotspots(())
    fields = ("name", "dns-name", "hotspot-address", "login-by", "use-radius", "http-cookie-lifetime")
    profiles = {row["name"]: row for row in router.rows(_PROFILES, *fields)}
    addresses = router.rows("/ip/address", "address", "interface", "disabled")
    hosts: list[str] = []
    for server in servers:
        profile = profiles.get(server.get("profile", "default"), {})
        own = profile.get("hotspot-address", _NO_ADDRESS)
        hosts.append(profile.get("dns-name", "").lower())
        if own != _NO_ADDRESS:
            hosts.append(own)
        else:
            behind = [row for row in addresses if row.get("interface") == server.get("interface") and _on(row)]
            hosts += [row["address"].partition("/")[0] for row in behind]
    used = {server.get("profile", "default") for server in servers}
    kept = [row for row in router.rows("/system/script", "name", comment=BEFORE) if _of_hotspot(row["name"])]
    users = router.rows(_USERS, "add-mac-cookie", "mac-cookie-timeout", name="default")
    return Hotspots(
        tuple(dict.fromkeys(filter(None, hosts))),
        tuple(row for name, row in profiles.items() if name in used and row.get("use-radius") in ("true", "yes")),
        next(iter(users), None),
        tuple(router.rows(_WALLED, "dst-host", comment=GARDEN)),
        bool(kept),
    )


def steps(found: Hotspots, wanted: WantedHotspot) -> list[Step]:
    """Return what makes a router's hotspots as they should be, where the script set them up."""
    made: list[Step] = []
    if found.set_up:
        for profile in found.profiles:
            fields = {}
            has = frozenset(profile.get("login-by", "").split(","))
            should = login_methods(wanted.remember_days, wanted.offer_trial)
            if has & _OURS != frozenset(should):  # what is not ours, such as https, stays
                fields["login-by"] = ",".join((*should, *sorted(has - _OURS - {""})))
            if wanted.remember_days and not _lasts(profile.get("http-cookie-lifetime"), wanted.remember_days):
                fields["http-cookie-lifetime"] = f"{wanted.remember_days}d"
            if fields:
                made.append(Step(_PROFILES, profile[".id"], fields))
        if found.users is not None:
            made += _of_users(found.users, wanted.remember_days)
    if found.garden:
        known = frozenset(pattern for each in HOSTS.values() for pattern in each.patterns)
        has = frozenset(row.get("dst-host", "") for row in found.garden)
        mark = {"action": "allow", "comment": GARDEN}
        made += [Step(_WALLED, "", {"dst-host": each, **mark}) for each in wanted.patterns if each not in has]
        gone = [row for row in found.garden if row.get("dst-host", "") in known - frozenset(wanted.patterns)]
        made += [Step(_WALLED, row[".id"], {}) for row in gone]
    return made


def take(router: RouterApi, changes: Iterable[Step]) -> None:
    """Carry steps out. Raises RouterProblem."""
    for step in changes:
        if not step.fields:
            router.remove(step.menu, step.id)
        elif step.id:
            router.set(step.menu, step.id, **step.fields)
        else:
            router.add(step.menu, **step.fields)


def wanted_by(session: Session, operator_id: int, public_host: str) -> WantedHotspot:
    """Return what an operator decided. `public_host` is that of the portal."""
    terms = captive_terms(session, operator_id)
    own = session.scalar(select(Brand.host).where(Brand.operator_id == operator_id))
    patterns = (public_host, own or "", *to_pay_at(session, operator_id).patterns)
    return WantedHotspot(terms.remember_days, terms.offer_trial, tuple(dict.fromkeys(filter(None, patterns))))


def routers_to_look_at(session: Session, most: int) -> list[tuple[int, int]]:
    """Return operator and NAS of the routers of operators with captive pages or vouchers, the longest unseen first."""
    uses = select(CaptiveSettings.operator_id).union(
        select(CaptiveHotspot.operator_id), select(VoucherBatch.operator_id)
    )
    query = (
        select(Router.operator_id, Router.nas_id)
        .join(Nas, Nas.id == Router.nas_id)
        .outerjoin(CaptiveHotspot, CaptiveHotspot.nas_id == Router.nas_id)
        .where(Nas.enabled, Router.operator_id.in_(uses))
        .order_by(CaptiveHotspot.looked_at.asc().nulls_first(), Router.nas_id)
        .limit(most)
    )
    return [(row.operator_id, row.nas_id) for row in session.execute(query)]


def keep_hotspots(access: RouterAccess, wanted: WantedHotspot) -> tuple[Hotspots, list[Step]]:
    """Read a router's hotspots and put right what is not as it should be. Raises RouterProblem."""
    with open_router(access) as router:
        found = read_hotspots(router)
        changes = steps(found, wanted)
        take(router, changes)
    return found, changes


def note_look(
    session: Session, operator_id: int, nas_id: int, now: datetime, found: Hotspots | None, problem: str = ""
) -> None:
    """Write down what a look at a router brought; None where it could not be read, which changes no address."""
    values: dict[str, object] = {"looked_at": now, "look_problem": problem}
    if found is not None:
        values["found_hosts"] = list(found.hosts)
    row = {"nas_id": nas_id, "operator_id": operator_id, **values}
    session.execute(insert(CaptiveHotspot).values(row).on_conflict_do_update(index_elements=["nas_id"], set_=values))


def _of_users(row: Row, days: int) -> list[Step]:
    remembers = row.get("add-mac-cookie") in ("true", "yes")
    if not days:
        return [Step(_USERS, row[".id"], {"add-mac-cookie": "no"})] if remembers else []
    if remembers and _lasts(row.get("mac-cookie-timeout"), days):
        return []
    return [Step(_USERS, row[".id"], {"add-mac-cookie": "yes", "mac-cookie-timeout": f"{days}d"})]


def _lasts(text: str | None, days: int) -> bool:
    try:
        return parse_duration(text or "") == timedelta(days=days)
    except NotAValue:
        return False


def _on(row: Row) -> bool:
    return row.get("disabled", "false") in ("false", "no")


def _of_hotspot(name: str) -> bool:
    return name.startswith(f"{BEFORE}-hotspot")
