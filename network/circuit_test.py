"""Asking for a circuit test: the books first, then the router, and what each showed as soon as it is known.

Runs as a job, so nobody waits in front of a page that does not come. Each step is written in a transaction of its own;
`network.circuit.judge()` says in the end what they mean together. A router that is away or answers nonsense is a
finding, never an error.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from core.clock import utc_now
from core.crypto import SecretUnreadable
from crm.jobs import RunningJob
from db.models import (
    AccountingSession,
    AuthEvent,
    CircuitTest,
    Nas,
    NasHeard,
    RatePlan,
    Router,
    RouterState,
    Service,
    ServiceGrant,
    ServiceMac,
)
from network.access import access_of
from network.api import RouterAccess, RouterApi, open_router
from network.check import Mark
from network.circuit import LOSSY, Facts, Finding, Others, Ping, Step, Way, judge
from network.circuit_link import find_device, leased_address
from network.circuit_rate import measure
from network.monitoring.live import Line
from network.monitoring.outage import was_lost
from network.problems import Cause, RouterProblem
from network.values import NotAValue, parse_duration

TEST = "circuit.test"
"""Parameters: `test_id`, and `rate` where the speed is to be measured, too: somebody is there to use the line."""

PATIENCE = 8.0
"""Seconds for the login, and for each command."""
PINGS, NEIGHBOUR_PINGS = 10, 3
NEIGHBOURS = 3
LATELY = timedelta(minutes=30)
HEARD = timedelta(minutes=10)
"""A router whose RADIUS packets came within this time is up."""
REFUSED_WITHIN = timedelta(hours=1)
_STARTED_WITHIN = timedelta(days=40)  # so that only the last partitions are looked at
_NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class _Line:
    """What the books say about one line."""

    service_id: int
    operator_id: int
    static: bool
    kind: str  # of its session, or of its last one
    address: str | None  # that is its own now
    macs: tuple[str, ...]
    nas_id: int | None
    nas_name: str
    sector: str
    access: RouterAccess | None
    heard_at: datetime | None  # when its router last sent a RADIUS packet
    user_name: str  # of its session, or of the service
    sold: int  # bit/s towards the subscriber


@dataclass(slots=True)
class _Test:
    """A test under way: its steps and facts so far."""

    job: RunningJob
    id: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)

    def add(
        self, step: Step, mark: Mark, finding: Finding | Cause, values: Mapping[str, object] = _NOTHING, words: str = ""
    ) -> None:
        told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
        self.steps.append(
            {"step": step.value, "mark": mark.value, "finding": finding.value, "values": told, "words": words}
        )
        self.write()
        self.job.advance()

    def know(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def write(self, **columns: Any) -> None:
        with self.job.session() as session:
            row = session.get(CircuitTest, self.id)
            if row is not None:
                row.steps = list(self.steps)
                for name, value in columns.items():
                    setattr(row, name, value)
                session.commit()


def run_circuit_test(job: RunningJob) -> Mapping[str, object]:
    """Test one line and keep what was found. Begun again, it forgets what an earlier try had found."""
    test = _Test(job, int(job.parameters["test_id"]))
    rate = bool(job.parameters.get("rate"))
    job.plan(len(Step) - (not rate))
    now = utc_now()
    with job.session() as session:
        row = session.get(CircuitTest, test.id)
        if row is None or row.operator_id != job.operator_id or row.verdict is not None:
            return {}
        line = _read_line(session, job, row.service_id)
    test.write(nas_id=line.nas_id, nas_name=line.nas_name, sector=line.sector, address=line.address)
    _look_at_books(test, line, now)
    _ask_router(test, line, now, rate=rate)
    verdict = judge(test.facts)
    test.write(verdict=verdict.fault.value, why=verdict.why.value, finished_at=utc_now())
    return {"verdict": verdict.fault.value, "why": verdict.why.value}


# The books.


def _read_line(session: Session, job: RunningJob, service_id: int) -> _Line:
    service = session.get_one(Service, service_id)
    live = _newest(session, service_id, up=True)
    last = live or _newest(session, service_id, up=False)
    nas_id = live.nas_id if live else service.nas_id or (last.nas_id if last else None)
    nas = session.get(Nas, nas_id) if nas_id is not None else None
    if nas is None or nas.operator_id != job.operator_id:
        nas_id, nas = None, None
    router = (
        session.scalar(select(Router).where(Router.nas_id == nas_id).options(joinedload(Router.nas)))
        if nas_id
        else None
    )
    access = None
    if router is not None:
        with suppress(SecretUnreadable):
            access = access_of(router, job.keyring, PATIENCE)
    plan = session.get_one(RatePlan, service.plan_id)
    heard = session.get(NasHeard, nas_id) if nas_id is not None else None
    address = live.framed_ip if live is not None and live.framed_ip is not None else service.framed_ip
    macs = {mac for mac in (last.mac if last else None,) if mac}
    macs |= set(session.scalars(select(ServiceMac.mac).where(ServiceMac.service_id == service_id)))
    if service.access_method == "mac":
        macs.add(service.name)
    return _Line(
        service_id=service_id,
        operator_id=job.operator_id,
        user_name=live.user_name if live is not None else service.name,
        sold=service.rate_download or plan.download,
        static=service.access_method == "queue",
        kind=last.kind if last else "",
        address=None if address is None else str(address),
        macs=tuple(sorted(macs)),
        nas_id=nas_id,
        nas_name=nas.name if nas is not None else "",
        sector=_sector_of(last) if last is not None and last.nas_id == nas_id else "",
        access=access,
        heard_at=heard.last_packet_at if heard is not None else None,
    )


def _newest(session: Session, service_id: int, *, up: bool) -> AccountingSession | None:
    query = select(AccountingSession).where(AccountingSession.service_id == service_id)
    query = query.where(AccountingSession.ended_at.is_(None)) if up else query
    return session.scalar(query.order_by(AccountingSession.started_at.desc()).limit(1))


def _sector_of(session: AccountingSession) -> str:
    return session.nas_port_id or session.called_station_id


def _look_at_books(test: _Test, line: _Line, now: datetime) -> None:
    with test.job.session() as session:
        _look_at_session(session, test, line, now)
        _look_at_account(session, test, line, now)
        sector, router = _others(session, line, now)
        others = select(RouterState.status).where(
            RouterState.operator_id == line.operator_id,
            RouterState.nas_id.is_distinct_from(line.nas_id),
            RouterState.status != "unknown",
        )
        states = list(session.scalars(others))
    test.know(sector=sector, router=router, routers=len(states), routers_out=states.count("offline"))


def _look_at_session(session: Session, test: _Test, line: _Line, now: datetime) -> None:
    if line.static:
        test.know(session=None)
        test.add(Step.SESSION, Mark.OK, Finding.STATIC)
        return
    last = _newest(session, line.service_id, up=True) or _newest(session, line.service_id, up=False)
    if last is None:
        test.add(Step.SESSION, Mark.FAILED, Finding.NEVER_ONLINE)
    elif last.ended_at is not None:
        cause = last.terminate_cause or last.ended_by or ""
        test.add(Step.SESSION, Mark.FAILED, Finding.OFFLINE, {"ended": last.ended_at, "cause": cause})
    else:
        stale = now - last.updated_at > 2 * timedelta(seconds=last.interim_interval) + timedelta(minutes=1)
        test.know(session=True, stale=stale)
        told = {"since": last.started_at, "heard": last.updated_at}
        if stale:
            test.add(Step.SESSION, Mark.WARNING, Finding.ONLINE_STALE, told)
        else:
            test.add(Step.SESSION, Mark.OK, Finding.ONLINE, told)


def _look_at_account(session: Session, test: _Test, line: _Line, now: datetime) -> None:
    grant = session.get(ServiceGrant, line.service_id)
    outcome = grant.outcome if grant is not None else "accept"
    asked = session.scalar(
        select(AuthEvent)
        .where(AuthEvent.service_id == line.service_id, AuthEvent.at > now - REFUSED_WITHIN)
        .order_by(AuthEvent.at.desc())
        .limit(1)
    )
    refused = asked is not None and asked.outcome == "reject" and not test.facts.session
    test.know(account=outcome, refused=refused)
    if outcome == "accept" and asked is not None and refused:
        test.add(Step.ACCOUNT, Mark.FAILED, Finding.REFUSED, {"reason": asked.reason, "at": asked.at})
    elif outcome == "accept" or grant is None:
        test.add(Step.ACCOUNT, Mark.OK, Finding.ALLOWED)
    else:
        garden = outcome == "garden"
        finding = Finding.GARDEN if garden else Finding.CLOSED
        test.add(Step.ACCOUNT, Mark.WARNING if garden else Mark.FAILED, finding, {"reason": grant.reason})


def _others(session: Session, line: _Line, now: datetime) -> tuple[Others, Others]:
    """Return how the other lines of the same sector stand, and those of the whole router."""
    if line.nas_id is None:
        return Others(), Others()
    sector = func.coalesce(func.nullif(AccountingSession.nas_port_id, ""), AccountingSession.called_station_id)
    here = select(AccountingSession.service_id, sector).where(
        AccountingSession.nas_id == line.nas_id,
        AccountingSession.service_id.is_not(None),
        AccountingSession.service_id != line.service_id,
    )
    up = {row[0]: row[1] for row in session.execute(here.where(AccountingSession.ended_at.is_(None)))}
    ended = here.add_columns(AccountingSession.terminate_cause, AccountingSession.ended_by).where(
        AccountingSession.ended_at > now - LATELY,
        AccountingSession.ended_at <= now,
        AccountingSession.started_at > now - _STARTED_WITHIN,
    )
    lost = {
        service_id: where
        for service_id, where, cause, ended_by in session.execute(ended)
        if was_lost(cause, ended_by) and service_id not in up
    }
    everywhere = Others(len(up), len(lost))
    if not line.sector:
        return Others(), everywhere
    return Others(list(up.values()).count(line.sector), list(lost.values()).count(line.sector)), everywhere


# The router.


def _ask_router(test: _Test, line: _Line, now: datetime, *, rate: bool) -> None:
    steps = (Step.PING, Step.LINK, Step.RATE) if rate else (Step.PING, Step.LINK)
    heard = line.heard_at is not None and now - line.heard_at < HEARD
    told = {"heard": line.heard_at} if line.heard_at is not None else {}
    if line.access is None:
        test.know(way=Way.DEAF if heard else Way.UNKNOWN)
        test.add(Step.ROUTER, Mark.UNKNOWN, Finding.NO_ROUTER if line.nas_id is None else Finding.NO_API, told)
        _not_asked(test, *steps)
        _tell_of_others(test)
        return
    reached = False
    try:
        with _opened(test, line.access) as router:
            reached = True
            _ask_about_line(test, line, router)
            if rate:
                _measure_rate(test, line, router)
    except RouterProblem as problem:
        if not reached:
            alive = heard or problem.cause in _ALIVE
            test.know(way=Way.DEAF if alive else Way.OUT)
            test.add(Step.ROUTER, Mark.WARNING if alive else Mark.FAILED, problem.cause, told, problem.detail)
        else:
            _add_missing(test, problem, steps)
    _not_asked(test, *steps)
    _tell_of_others(test)


_ALIVE = frozenset(
    (Cause.REFUSED, Cause.CLOSED, Cause.TLS, Cause.PASSWORD, Cause.PERMISSION, Cause.GARBAGE, Cause.TRAP)
)
"""Causes that somebody at the other end gives: the router, or whatever stands in its place, has power and a way."""


@contextmanager
def _opened(test: _Test, access: RouterAccess) -> Iterator[RouterApi]:
    started = time.monotonic()
    with open_router(access) as router:
        version = str(router.version)
        test.know(way=Way.REACHED)
        took = round(1000 * (time.monotonic() - started))
        test.add(Step.ROUTER, Mark.OK, Finding.REACHED, {"milliseconds": took, "version": version})
        yield router


def _ask_about_line(test: _Test, line: _Line, router: RouterApi) -> None:
    address = line.address
    if address is None and line.macs:
        address = leased_address(router, line.macs)
    if address is None:
        test.add(Step.PING, Mark.UNKNOWN, Finding.NO_ADDRESS)
    else:
        _ping_device(test, router, address)
    _look_for_device(test, line, router, address)
    if test.facts.ping is not None and test.facts.ping.bad:
        _ping_neighbours(test, line, router)


def _ping_device(test: _Test, router: RouterApi, address: str) -> None:
    try:
        ping = _ping(router, address, PINGS)
    except RouterProblem as problem:
        if problem.out_of_reach:
            raise
        test.add(Step.PING, Mark.UNKNOWN, problem.cause, words=problem.detail)
        return
    test.know(ping=ping)
    took = None if ping.milliseconds is None else round(ping.milliseconds, 1)
    told = {"address": address, "sent": ping.sent, "received": ping.received, "milliseconds": took}
    if ping.received == 0:
        test.add(Step.PING, Mark.FAILED, Finding.SILENT, told)
    elif ping.bad:
        test.add(Step.PING, Mark.WARNING, Finding.LOSES, {"loss": round(ping.loss), **told})
    else:
        test.add(Step.PING, Mark.OK, Finding.ANSWERS, told)


def _ping(router: RouterApi, address: str, count: int) -> Ping:
    """Send packets from the router, and read the sums of its last row. Raises RouterProblem."""
    router.timeout = PATIENCE + count
    rows = router.call("/ping", address=address, count=str(count), interval="100ms")
    router.timeout = PATIENCE
    told = next((row for row in reversed(rows) if "sent" in row), None)
    try:
        if told is None:
            raise ValueError("no sums")
        sent, received = int(told["sent"]), int(told.get("received", "0"))
        average = parse_duration(told.get("avg-rtt", ""))
    except (ValueError, NotAValue):
        raise RouterProblem(Cause.GARBAGE, "no sums in the answer to ping") from None
    return Ping(sent, min(received, sent), None if average is None else average.total_seconds() * 1000)


def _look_for_device(test: _Test, line: _Line, router: RouterApi, address: str | None) -> None:
    """Look whether the router has lately seen the device below IP: on the radio, by DHCP, by ARP."""
    found = find_device(router, line.macs, address)
    if found is not None:
        test.know(seen=True)
        test.add(Step.LINK, Mark.OK, Finding.SEEN, found)
        return
    mac = line.macs[0] if line.macs else ""
    if line.kind == "ppp" or (not line.macs and address is None):
        # The frames of PPPoE are no business of ARP or DHCP, and the radio is usually another box's.
        test.add(Step.LINK, Mark.UNKNOWN, Finding.NOTHING_TO_SEE)
        return
    test.know(seen=False)
    test.add(Step.LINK, Mark.FAILED, Finding.NOT_SEEN, {"mac": mac})


def _measure_rate(test: _Test, line: _Line, router: RouterApi) -> None:
    """Compare what goes through the line just now with what was sold."""
    kind = "queue" if line.static else line.kind
    found = measure(router, Line(line.service_id, line.nas_id or 0, line.user_name, kind, line.address))
    if found is None:
        test.add(Step.RATE, Mark.UNKNOWN, Finding.NO_COUNTER)
        return
    told = {"download": f"{found.download / 1e6:.1f}", "sold": f"{line.sold / 1e6:.1f}"}
    finding, mark = _JUDGED[found.judged(line.sold)]
    test.add(Step.RATE, mark, finding, told)


_JUDGED = {
    "reached": (Finding.RATE_REACHED, Mark.OK),
    "short": (Finding.RATE_SHORT, Mark.WARNING),
    "idle": (Finding.RATE_IDLE, Mark.UNKNOWN),
}


def _ping_neighbours(test: _Test, line: _Line, router: RouterApi) -> None:
    """Ask whether a few others of the same sector answer as badly: then it is not this subscriber's device."""
    if not line.sector:
        return
    with test.job.session() as session:
        sector = func.coalesce(func.nullif(AccountingSession.nas_port_id, ""), AccountingSession.called_station_id)
        addresses = session.scalars(
            select(AccountingSession.framed_ip)
            .where(
                AccountingSession.nas_id == line.nas_id,
                AccountingSession.ended_at.is_(None),
                AccountingSession.service_id.is_distinct_from(line.service_id),
                AccountingSession.framed_ip.is_not(None),
                sector == line.sector,
            )
            .order_by(AccountingSession.updated_at.desc())
            .limit(NEIGHBOURS)
        ).all()
    pings = [_ping(router, str(address), NEIGHBOUR_PINGS) for address in addresses]
    bad = sum(ping.loss >= max(LOSSY, 100 / NEIGHBOUR_PINGS - 1) for ping in pings)
    test.know(neighbours=len(pings), neighbours_bad=bad)


# What is left to be told.


def _add_missing(test: _Test, problem: RouterProblem, steps: tuple[Step, ...]) -> None:
    """Say at which step the router fell silent in the middle."""
    done = {step["step"] for step in test.steps}
    for step in steps:
        if step.value not in done:
            test.add(step, Mark.UNKNOWN, problem.cause, words=problem.detail)
            return


def _not_asked(test: _Test, *steps: Step) -> None:
    done = {step["step"] for step in test.steps}
    for step in steps:
        if step.value not in done:
            test.add(step, Mark.UNKNOWN, Finding.NOT_ASKED)


def _tell_of_others(test: _Test) -> None:
    facts = test.facts
    others = facts.sector if facts.sector != Others() else facts.router
    told = {"up": others.up, "lost": others.lost}
    if 2 * facts.neighbours_bad > facts.neighbours:
        told = {"pinged": facts.neighbours, "bad": facts.neighbours_bad}
        test.add(Step.SECTOR, Mark.FAILED, Finding.OTHERS_LOSE, told)
    elif others.dark:
        test.add(Step.SECTOR, Mark.FAILED, Finding.OTHERS_LOST, told)
    elif others == Others():
        test.add(Step.SECTOR, Mark.UNKNOWN, Finding.NO_OTHERS)
    else:
        test.add(Step.SECTOR, Mark.OK, Finding.OTHERS_FINE, told)
