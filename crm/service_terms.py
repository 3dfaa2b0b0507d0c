"""What may be entered for a service, as far as it can be told without the database.

Names, addresses, prefixes, routes and devices are text as people type it; what is stored is one spelling of each.
"""

import ipaddress
from dataclasses import dataclass, replace

from aaa.facts import AccessMethod, Extra, MacBinding
from core.mac import NotAMac, find_mac, parse_mac
from crm.attributes import BadAttribute, check_extra
from crm.problems import FieldProblem, Invalid, Problem

LONGEST_NAME = 253  # octets, RFC 2865 §5
LONGEST_PASSWORD = 128  # octets, RFC 2865 §5.2
WITH_PASSWORD = frozenset({AccessMethod.PPPOE, AccessMethod.HOTSPOT})
ENTERED = (
    AccessMethod.PPPOE,
    AccessMethod.MAC,
    AccessMethod.LINE,
    AccessMethod.HOTSPOT,
    AccessMethod.QUEUE,
)  # vouchers are made in batches
LINES_OF_SIGHT = ("clear", "partial", "blocked")


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """What somebody enters for a service. Rates are bit/s; prefixes, routes and addresses are text as typed."""

    access_method: str
    name: str
    plan_id: int
    nas_id: int | None = None
    sector_id: int | None = None
    line_of_sight: str | None = None  # clear, partial or blocked, as who installed it saw it
    management: str = "automatic"
    framed_ip: str | None = None
    framed_routes: tuple[str, ...] = ()
    framed_ipv6_prefix: str | None = None
    delegated_ipv6_prefix: str | None = None
    pool: str | None = None
    rate_download: int | None = None
    rate_upload: int | None = None
    session_limit: int = 1
    mac_binding: str = "any"
    macs: tuple[str, ...] = ()
    max_macs: int = 1
    extra: tuple[Extra, ...] = ()


def problems_alone(terms: ServiceTerms, password: str | None) -> tuple[ServiceTerms, list[FieldProblem]]:
    """Return the terms as they would be stored, and what is wrong with them and the password.

    Only what can be told without the database, for who checks thousands and looks for doubles by itself: that the
    plan and the NAS exist, and that name and addresses are nobody else's, is not asked. Raises Invalid for an access
    method that is not entered by people.
    """
    problems = password_problems(terms.access_method, password)
    return checked_alone(terms, problems), problems


def checked_alone(terms: ServiceTerms, problems: list[FieldProblem]) -> ServiceTerms:
    """Return the terms as they are stored, and add what is wrong with them whatever else there is."""
    if terms.access_method not in ENTERED:
        raise Invalid(FieldProblem("access_method", Problem.UNKNOWN_CHOICE))
    terms = replace(
        terms,
        name=_checked_name(terms, problems),
        framed_ip=_checked_ip(terms.framed_ip, problems),
        framed_routes=_checked_routes(terms.framed_routes, problems),
        framed_ipv6_prefix=_checked_prefix("framed_ipv6_prefix", terms.framed_ipv6_prefix, problems),
        delegated_ipv6_prefix=_checked_prefix("delegated_ipv6_prefix", terms.delegated_ipv6_prefix, problems),
        macs=_checked_macs(terms.macs, problems),
        extra=_checked_extra(terms.extra, problems),
    )
    if terms.management not in ("automatic", "manual"):
        problems.append(FieldProblem("management", Problem.UNKNOWN_CHOICE))
    if terms.mac_binding not in set(MacBinding):
        problems.append(FieldProblem("mac_binding", Problem.UNKNOWN_CHOICE))
    if terms.line_of_sight not in (None, *LINES_OF_SIGHT):
        problems.append(FieldProblem("line_of_sight", Problem.UNKNOWN_CHOICE))
    if terms.mac_binding == MacBinding.FIXED and not terms.macs:
        problems.append(FieldProblem("macs", Problem.REQUIRED))
    if terms.access_method == AccessMethod.QUEUE and terms.framed_ip is None:
        problems.append(FieldProblem("framed_ip", Problem.REQUIRED))
    if terms.access_method == AccessMethod.QUEUE and terms.nas_id is None:
        problems.append(FieldProblem("nas_id", Problem.REQUIRED))
    if (terms.rate_download is None) != (terms.rate_upload is None):
        missing = "rate_download" if terms.rate_download is None else "rate_upload"
        problems.append(FieldProblem(missing, Problem.BOTH_OR_NEITHER))
    problems += [
        FieldProblem(name, Problem.NOT_POSITIVE)
        for name in ("rate_download", "rate_upload")
        if (getattr(terms, name) or 1) <= 0
    ]
    if terms.pool is not None and (len(terms.pool.encode()) > 63 or not terms.pool.isprintable()):
        problems.append(FieldProblem("pool", Problem.TOO_LONG, {"limit": "63"}))
    problems += _range("session_limit", terms.session_limit, 0, 1000)
    problems += _range("max_macs", terms.max_macs, 1, 100)
    return terms


def password_problems(access_method: str, password: str | None) -> list[FieldProblem]:
    if not password:
        return [FieldProblem("password", Problem.REQUIRED)] if access_method in WITH_PASSWORD else []
    if len(password.encode()) > LONGEST_PASSWORD:
        return [FieldProblem("password", Problem.TOO_LONG, {"limit": str(LONGEST_PASSWORD)})]
    if not password.isprintable():
        return [FieldProblem("password", Problem.NAME_CHARACTERS)]
    return []


def is_address(text: str | None) -> bool:
    """Tell whether PostgreSQL would read it too; if not, that is a problem already found."""
    try:
        ipaddress.ip_interface(text or "")
    except ValueError:
        return False
    return True


# Below here: what the above is made of.


def _checked_name(terms: ServiceTerms, problems: list[FieldProblem]) -> str:
    name = terms.name
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif terms.access_method == AccessMethod.MAC:
        try:
            return parse_mac(name)
        except NotAMac:
            problems.append(FieldProblem("name", Problem.NOT_A_MAC))
    elif name != name.strip() or not name.isprintable():
        problems.append(FieldProblem("name", Problem.NAME_CHARACTERS))
    elif len(name.encode()) > LONGEST_NAME:
        problems.append(FieldProblem("name", Problem.NAME_TOO_LONG))
    return name


def _checked_ip(text: str | None, problems: list[FieldProblem]) -> str | None:
    if text is None:
        return None
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        problems.append(FieldProblem("framed_ip", Problem.NOT_AN_ADDRESS))
        return text
    if address.version != 4:
        problems.append(FieldProblem("framed_ip", Problem.NOT_IPV4))
    elif address.is_unspecified or address.is_multicast or int(address) >= 0xFFFFFFFE:
        # 255.255.255.254 and .255 mean "as the NAS or the user likes" (RFC 2865 §5.8).
        problems.append(FieldProblem("framed_ip", Problem.NOT_AN_ADDRESS))
    return str(address)


def _checked_prefix(field: str, text: str | None, problems: list[FieldProblem]) -> str | None:
    if text is None:
        return None
    try:
        interface = ipaddress.IPv6Interface(text.strip())
    except ValueError:
        problems.append(FieldProblem(field, Problem.NOT_A_PREFIX))
        return text
    if "/" not in text or interface.network.is_multicast:
        problems.append(FieldProblem(field, Problem.NOT_A_PREFIX))
    elif interface.ip != interface.network.network_address:
        problems.append(FieldProblem(field, Problem.HOST_BITS, {"network": str(interface.network)}))
    return str(interface.network)


def _checked_routes(routes: tuple[str, ...], problems: list[FieldProblem]) -> tuple[str, ...]:
    """Framed-Route is `network [gateway [metric]]` (RFC 2865 §5.22)."""
    checked = []
    for route in routes:
        words = route.split()
        try:
            network, *rest = words
            ipaddress.IPv4Network(network)
            if rest:
                ipaddress.IPv4Address(rest[0])
            if len(rest) > 2 or not all(metric.isdigit() for metric in rest[1:]):
                raise ValueError(route)
        except ValueError:
            problems.append(FieldProblem("framed_routes", Problem.NOT_A_ROUTE))
            return routes
        checked.append(" ".join(words))
    if len(checked) > 20:
        problems.append(FieldProblem("framed_routes", Problem.NOT_A_ROUTE))
    return tuple(checked)


def _checked_macs(macs: tuple[str, ...], problems: list[FieldProblem]) -> tuple[str, ...]:
    found = [find_mac(mac) for mac in macs]
    if None in found or len(found) > 100:
        problems.append(FieldProblem("macs", Problem.NOT_A_MAC))
        return macs
    return tuple(sorted({mac for mac in found if mac is not None}))


def _checked_extra(extra: tuple[Extra, ...], problems: list[FieldProblem]) -> tuple[Extra, ...]:
    try:
        return check_extra(extra)
    except BadAttribute as refused:
        problems.append(FieldProblem("extra", Problem.ATTRIBUTE, {"name": refused.name, "flaw": refused.flaw.value}))
        return extra


def _range(name: str, value: int, low: int, high: int) -> list[FieldProblem]:
    if low <= value <= high:
        return []
    return [FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)})]
