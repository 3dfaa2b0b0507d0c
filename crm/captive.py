"""What an operator decides about its captive pages, and where the login pages of its hotspots are."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import CaptiveHotspot, CaptiveSettings, VoucherBatch

MOST_HOSTS = 10
LONGEST_MEMORY = 30  # days
LONGEST_PASS = 15  # minutes


@dataclass(frozen=True, slots=True)
class CaptiveTerms:
    """`remember_days` is how long a router remembers a device by its MAC address, `paying_minutes` how long who is
    paying is on line (`crm.passes`); 0 is not at all.
    """

    ask_terms: bool = False
    offer_trial: bool = False
    remember_days: int = 0
    batch_ids: tuple[int, ...] = ()
    paying_minutes: int = 5


def captive_terms(session: Session, operator_id: int) -> CaptiveTerms:
    """Return what an operator decided."""
    row = session.get(CaptiveSettings, operator_id)
    if row is None:
        return CaptiveTerms()
    return CaptiveTerms(row.ask_terms, row.offer_trial, row.remember_days, tuple(row.batch_ids), row.paying_minutes)


def change_captive_terms(session: Session, actor: Actor, wanted: CaptiveTerms) -> None:
    """Change what captive pages do. Raises Invalid."""
    problems = []
    if not 0 <= wanted.remember_days <= LONGEST_MEMORY:
        problems.append(FieldProblem("remember_days", Problem.OUT_OF_RANGE, {"low": "0", "high": str(LONGEST_MEMORY)}))
    if not 0 <= wanted.paying_minutes <= LONGEST_PASS:
        problems.append(FieldProblem("paying_minutes", Problem.OUT_OF_RANGE, {"low": "0", "high": str(LONGEST_PASS)}))
    chosen = sorted(set(wanted.batch_ids))
    known = select(VoucherBatch.id).where(
        VoucherBatch.operator_id == actor.operator_id, VoucherBatch.id.in_(chosen), VoucherBatch.voided_at.is_(None)
    )
    if len(session.scalars(known).all()) != len(chosen):
        problems.append(FieldProblem("batch_ids", Problem.UNKNOWN_CHOICE))
    if problems:
        raise Invalid(*problems)
    before = captive_terms(session, actor.operator_id)
    row = settings_row(session, actor.operator_id)
    for name, value in asdict(wanted).items():
        setattr(row, name, chosen if name == "batch_ids" else value)
    session.flush()
    record(session, actor, "captive.change", "captive_settings", None, asdict(before), asdict(wanted))


def settings_row(session: Session, operator_id: int) -> CaptiveSettings:
    """Return the row of an operator's decisions, made with its first one."""
    made = insert(CaptiveSettings).values(operator_id=operator_id).on_conflict_do_nothing()
    session.execute(made)
    return session.get_one(CaptiveSettings, operator_id)


def hosts_of(session: Session, nas_id: int) -> tuple[str, ...]:
    """Return the names and addresses that staff entered for the login page of a NAS's hotspot."""
    row = session.get(CaptiveHotspot, nas_id)
    return tuple(row.hosts) if row is not None else ()


def login_hosts(session: Session, nas_id: int) -> tuple[str, ...]:
    """Return where the login page of a NAS's hotspot is: what was entered, and what was read from its router."""
    row = session.get(CaptiveHotspot, nas_id)
    return tuple(dict.fromkeys((*row.hosts, *row.found_hosts))) if row is not None else ()


def change_hosts(session: Session, actor: Actor, nas_id: int, hosts: tuple[str, ...]) -> None:
    """Say where the login page of a hotspot is. Raises Invalid."""
    if len(hosts) > MOST_HOSTS:
        raise Invalid(FieldProblem("hosts", Problem.OUT_OF_RANGE, {"low": "0", "high": str(MOST_HOSTS)}))
    before = hosts_of(session, nas_id)
    row = session.get(CaptiveHotspot, nas_id)
    if row is None:
        row = CaptiveHotspot(nas_id=nas_id, operator_id=actor.operator_id)
        session.add(row)
    row.hosts = list(dict.fromkeys(hosts))
    if row.refused_host in row.hosts:
        row.refused_host, row.refused_at = None, None
    session.flush()
    record(session, actor, "captive.hosts", "nas", nas_id, {"hosts": list(before)}, {"hosts": row.hosts})


def note_refused_host(session: Session, operator_id: int, nas_id: int, host: str, now: datetime) -> None:
    """Remember where a phone wanted to log in that is not the router's, for somebody to look at. The caller commits."""
    values = {"nas_id": nas_id, "operator_id": operator_id, "refused_host": host, "refused_at": now}
    seen = {"refused_host": host, "refused_at": now}
    session.execute(insert(CaptiveHotspot).values(values).on_conflict_do_update(index_elements=["nas_id"], set_=seen))
