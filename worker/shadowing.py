"""Shadow mode over time: what RADIUS would have answered, beside what routers decide by their own secrets.

Each minute, every router that still decides about imported secrets is read. Written down is each login that it let in
by itself, with what Portico would have said of that very login (device and router are known then), and each change of
what either of the two says. So an ISP sees for days whom taking over would change anything for, before it does.

A walled garden counts as a refusal here: neither lets anybody surf.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import shared_task
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session, joinedload

from aaa.authorize import authorize
from aaa.decision import Accept, Decision, Reject, WalledGarden
from aaa.facts import Access, AccessKind, Proof
from aaa.facts import Nas as AccessNas
from core.clock import utc_now
from core.crypto import Keyring, SecretUnreadable
from core.rates import RateLimit
from core.settings import read_settings
from crm.retention import is_held
from db.models import Nas, Operator, Router, Service, ShadowEvent, ShadowSecret
from db.session import make_engine
from network.access import access_of
from network.api import RouterAccess, open_router
from network.problems import RouterProblem
from network.shadow_look import ACCEPT, ASK, Login, Look, Said, look
from radius.facts import FactsReader, StoredService

AT_ONCE = 8
"""Routers that are read side by side: a dead one holds up one of these for its time-out."""
KEPT = timedelta(days=90)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Compared:
    """What a router and Portico say of one access."""

    there: Said
    here: Decision

    @property
    def differs(self) -> str:
        """Return `outcome`, `rate`, or nothing where taking over would change nothing."""
        if self.there.outcome == ASK:
            return ""
        surfs = isinstance(self.here, Accept)
        if surfs != (self.there.outcome == ACCEPT):
            return "outcome"
        pairs = zip(_speed(self.there.rate), _speed(_rate(self.here)), strict=True)
        return "rate" if surfs and not all(_alike(there, here) for there, here in pairs) else ""

    def columns(self) -> dict[str, Any]:
        """Return the columns of ShadowEvent."""
        there, here = _speed(self.there.rate), _speed(_rate(self.here))
        return {
            "there": self.there.outcome, "there_download": there[0], "there_upload": there[1],
            "outcome": _outcome(self.here), "reason": self.here.reason or "", "detail": self.here.detail,
            "download": here[0], "upload": here[1], "differs": self.differs,
        }  # fmt: skip


@shared_task
def follow_shadows() -> None:
    """Read all routers that decide about imported secrets, and write down what is new."""
    settings = read_settings()
    assert settings.database_url is not None, "the settings are complete"
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=AT_ONCE)
    try:
        if written := follow_all(engine, settings.keyring):
            log.info("shadows_followed", events=written)
    finally:
        engine.dispose()


def follow_all(engine: Engine, keyring: Keyring) -> int:
    """Do one round and return how many events were written; a router that fails is no other's business."""
    with Session(engine) as session:
        held = select(Service.id).where(Service.id == ShadowEvent.service_id, is_held(Service.subscriber_id)).exists()
        session.execute(delete(ShadowEvent).where(ShadowEvent.at < utc_now() - KEPT, ~held))
        session.commit()
        routers = [
            (router.nas_id, access) for router in session.scalars(_ROUTERS) if (access := _access(router, keyring))
        ]
    with ThreadPoolExecutor(AT_ONCE, "shadow") as threads:
        return sum(threads.map(lambda each: _follow(engine, *each), routers))


def note(session: Session, nas: Nas, seen: Look) -> int:
    """Write down what a look at a router brought, and return how many events that were. The caller commits.

    An older look than the one that was noted last brings nothing: two workers may look at the same time.
    """
    rows = session.scalars(
        select(ShadowSecret)
        .where(ShadowSecret.operator_id == nas.operator_id, ShadowSecret.nas_id == nas.id,
               ShadowSecret.state == "local")
        .order_by(ShadowSecret.service_id)
        .with_for_update()
    ).all()  # fmt: skip
    rows = [row for row in rows if row.compared_at is None or row.compared_at < seen.at]
    connection: Any = session.connection().connection.driver_connection
    facts = FactsReader(connection, seen.at)
    services = {stored.service.id: stored for stored in facts.services([row.service_id for row in rows])}
    access_nas = AccessNas(nas.id, nas.operator_id, nas.name)
    events = 0
    for row in rows:
        stored = services[row.service_id]
        login = seen.logins.get(row.secret)
        if login is not None and not login.is_the_same(row.login):
            there = Said(ACCEPT, seen.of(row.secret).rate)
            _write(session, row, seen.at, Compared(there, _decide(stored, seen.at, access_nas, login)), login)
            row.login = login.note()
            events += 1
        compared = Compared(seen.of(row.secret), authorize(stored.service, stored.policy, seen.at))
        told = compared.columns()
        if told != row.compared:
            _write(session, row, seen.at, compared)
            row.compared, row.differs = told, compared.differs
            events += 1
        row.compared_at = seen.at
        row.seen, row.seen_at = seen.online.get(row.secret), seen.at
    return events


_ROUTERS = (
    select(Router)
    .join(Nas, Nas.id == Router.nas_id)
    .join(Operator, Operator.id == Router.operator_id)
    .where(
        Nas.enabled,
        Operator.active,
        select(ShadowSecret.service_id)
        .where(ShadowSecret.operator_id == Router.operator_id, ShadowSecret.nas_id == Router.nas_id,
               ShadowSecret.state == "local")
        .exists(),
    )
    .options(joinedload(Router.nas))
    .order_by(Router.nas_id)
)  # fmt: skip


def _follow(engine: Engine, nas_id: int, access: RouterAccess) -> int:
    try:
        with open_router(access) as api:
            seen = look(api, utc_now())
        with Session(engine) as session:
            nas = session.get(Nas, nas_id)
            events = note(session, nas, seen) if nas is not None else 0
            session.commit()
            return events
    except RouterProblem as problem:
        log.info("shadow_not_seen", nas_id=nas_id, cause=problem.cause.value)
    except Exception:  # one router must not end the round
        log.exception("shadow_failed", nas_id=nas_id)
    return 0


def _access(router: Router, keyring: Keyring) -> RouterAccess | None:
    try:
        return access_of(router, keyring)
    except SecretUnreadable:
        log.warning("router_password_unreadable", nas_id=router.nas_id)
        return None


def _decide(stored: StoredService, at: datetime, nas: AccessNas, login: Login) -> Decision:
    """Return what would have been said to a login. The router took its password, which we have from there."""
    access = Access(nas, stored.service.name, AccessKind.PPP, Proof.NOT_NEEDED, login.mac, login.session)
    return authorize(stored.service, stored.policy, at, access)


def _write(session: Session, row: ShadowSecret, at: datetime, compared: Compared, login: Login | None = None) -> None:
    session.add(
        ShadowEvent(
            operator_id=row.operator_id, nas_id=row.nas_id, service_id=row.service_id, secret=row.secret,
            at=at if login is None else login.since, kind="answer" if login is None else "login",
            mac=login.mac if login else None, address=login.address if login else None, **compared.columns(),
        )
    )  # fmt: skip


def _outcome(decision: Decision) -> str:
    match decision:
        case Accept():
            return "accept"
        case WalledGarden():
            return "garden"
        case Reject():
            return "reject"


def _rate(decision: Decision) -> RateLimit | None:
    return None if isinstance(decision, Reject) else decision.terms.rate


def _alike(there: int | None, here: int | None) -> bool:
    """Tell whether two speeds are one to people: 10240k is how some write the 10M of a plan."""
    return there == here or (there is not None and here is not None and there * 1000 == here * 1024)


def _speed(rate: RateLimit | None) -> tuple[int | None, int | None]:
    return (None, None) if rate is None else (rate.download, rate.upload)
