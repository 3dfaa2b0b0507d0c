"""What an operator decides for all of its subscribers: the walled garden, and when the unpaid are turned away."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta

from sqlalchemy.orm import Session

from aaa.facts import Garden, GardenCause, OutageAction, SuspendedAction
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Operator

LONGEST_NAME = 63
"""Octets of a list's or a pool's name on a router."""
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=1)
SHORTEST_OUTAGE, LONGEST_OUTAGE = timedelta(minutes=5), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What is entered. Rates in bit/s."""

    suspended_action: str
    grace_days: int
    cut_off_day: int
    garden_download: int
    garden_upload: int
    garden_address_list: str
    active_address_list: str
    garden_pool: str | None
    garden_timeout: timedelta | None
    dhcp_timeout: timedelta | None
    outage_action: str = "keep"
    outage_after: timedelta | None = timedelta(hours=1)
    gardens: Mapping[GardenCause, Garden] = field(default_factory=dict)


def garden_lists(operator: Operator) -> frozenset[str]:
    """Return every address list of an operator that means: in the walled garden."""
    own = {garden["address_list"] for garden in operator.gardens.values() if garden.get("address_list")}
    return frozenset({operator.garden_address_list, *own})


def terms_of_policy(operator: Operator) -> PolicyTerms:
    stored = {one.name: getattr(operator, one.name) for one in fields(PolicyTerms) if one.name != "gardens"}
    gardens = {GardenCause(cause): Garden(**garden) for cause, garden in operator.gardens.items()}
    return PolicyTerms(**stored, gardens=gardens)


def change_policy(session: Session, actor: Actor, operator: Operator, terms: PolicyTerms) -> None:
    """Take over an operator's policy; live sessions follow by themselves. Raises Invalid."""
    problems = list(_problems(terms))
    if problems:
        raise Invalid(*problems)
    before = _plain(terms_of_policy(operator))
    after = _plain(terms)
    for name, value in after.items():
        setattr(operator, name, value)
    session.flush()
    record(session, actor, "operator.policy", "operator", operator.id, before, after)


def _plain(terms: PolicyTerms) -> dict[str, object]:
    plain: dict[str, object] = {one.name: getattr(terms, one.name) for one in fields(terms)}
    plain["gardens"] = {
        cause.value: asdict(garden) for cause, garden in sorted(terms.gardens.items()) if garden != Garden()
    }
    return plain


def _problems(terms: PolicyTerms) -> list[FieldProblem]:
    problems = []
    if terms.suspended_action not in set(SuspendedAction):
        problems.append(FieldProblem("suspended_action", Problem.UNKNOWN_CHOICE))
    for name, low, high in (("grace_days", 0, 365), ("cut_off_day", 1, 31)):
        if not low <= getattr(terms, name) <= high:
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": str(low), "high": str(high)}))
    problems += [
        FieldProblem(name, Problem.NOT_POSITIVE)
        for name in ("garden_download", "garden_upload")
        if getattr(terms, name) <= 0
    ]
    for name in ("garden_timeout", "dhcp_timeout"):
        length = getattr(terms, name)
        if length is None or not SHORTEST <= length <= LONGEST:
            problems.append(FieldProblem(name, Problem.OUT_OF_RANGE, {"low": "1", "high": "1440"}))
    if terms.outage_action not in set(OutageAction):
        problems.append(FieldProblem("outage_action", Problem.UNKNOWN_CHOICE))
    if terms.outage_after is None or not SHORTEST_OUTAGE <= terms.outage_after <= LONGEST_OUTAGE:
        problems.append(FieldProblem("outage_after", Problem.OUT_OF_RANGE, {"low": "5", "high": "10080"}))
    names = {
        "garden_address_list": terms.garden_address_list,
        "active_address_list": terms.active_address_list,
        "garden_pool": terms.garden_pool,
    }
    for cause, garden in terms.gardens.items():
        names[f"{cause.value}_address_list"] = garden.address_list
        names[f"{cause.value}_pool"] = garden.pool
    for name, value in names.items():
        if not value:
            if name in ("garden_address_list", "active_address_list"):
                problems.append(FieldProblem(name, Problem.REQUIRED))
        elif len(value.encode()) > LONGEST_NAME:
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": str(LONGEST_NAME)}))
        elif not value.isprintable() or value != value.strip():
            problems.append(FieldProblem(name, Problem.NAME_CHARACTERS))
        elif name.endswith("_list") and name != "active_address_list" and value == terms.active_address_list:
            # RouterOS takes an address off a list on a CoA only when another list is named.
            problems.append(FieldProblem(name, Problem.TAKEN))
    return problems
