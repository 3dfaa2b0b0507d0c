"""What a person asks of one live session: end it, give it another rate, or believe no longer that it lives.

A person's order takes the place of the one that is open for the session, and the reconciler leaves its result alone
until the standing decision changes. Closing a session only says that it is over; nothing is sent to the NAS.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from aaa.decision import Terms
from aaa.documents import terms_document, terms_from_document
from core.rates import RateLimit
from db.audit import Actor, record
from db.models import AccountingSession, EnforcementOrder, ServiceGrant, TermsRecord
from radius.orders import Measure
from radius.terms import terms_id

OPEN_STATES = ("pending", "sent", "acked")


class SessionOver(Exception):
    """The session has ended by now."""


class TermsUnknown(Exception):
    """What the session was granted is not known, so a part of it cannot be changed."""


def disconnect(session: Session, actor: Actor, live: AccountingSession, now: datetime) -> EnforcementOrder:
    """Order a Disconnect-Request. A PPP client dials again at once, unless it is suspended. Raises SessionOver."""
    order = _order(session, actor, live, Measure.DISCONNECT, None, now)
    record(session, actor, "session.disconnect", "session", live.id, None, _told(live))
    return order


def change_rate(
    session: Session, actor: Actor, live: AccountingSession, rate: RateLimit, now: datetime
) -> EnforcementOrder:
    """Order a CoA-Request that gives this session another rate, until it ends or its service's terms change.

    Raises SessionOver, or TermsUnknown.
    """
    granted = granted_terms(session, live)
    if granted is None:
        raise TermsUnknown
    wanted = replace(granted, rate=rate)
    key = terms_id(wanted)
    session.execute(
        insert(TermsRecord)
        .values(operator_id=live.operator_id, id=key, content=terms_document(wanted))
        .on_conflict_do_nothing()
    )
    order = _order(session, actor, live, Measure.COA, key, now)
    told = {**_told(live), "download": rate.download, "upload": rate.upload}
    record(session, actor, "session.rate", "session", live.id, None, told)
    return order


def close(session: Session, actor: Actor, live: AccountingSession, now: datetime) -> None:
    """Take a session for over whose Stop was lost. Should the NAS report it again, it is open again.

    Raises SessionOver.
    """
    closed = session.execute(
        update(AccountingSession)
        .where(
            AccountingSession.id == live.id,
            AccountingSession.started_at == live.started_at,
            AccountingSession.ended_at.is_(None),
        )
        .values(ended_at=now, ended_by="staff")
        .returning(AccountingSession.id)
    ).all()
    if not closed:
        raise SessionOver
    session.execute(
        update(EnforcementOrder)
        .where(EnforcementOrder.session_id == live.id, EnforcementOrder.state.in_(OPEN_STATES))
        .values(state="cancelled", finished_at=now)
    )
    record(session, actor, "session.close", "session", live.id, None, _told(live))


def granted_terms(session: Session, live: AccountingSession) -> Terms | None:
    """Return what a session was granted, or, where that was never told, what its service is granted now."""
    key = live.terms_id
    if key is None and live.service_id is not None:
        key = session.scalar(select(ServiceGrant.terms_id).where(ServiceGrant.service_id == live.service_id))
    if key is None:
        return None
    found = session.get(TermsRecord, (live.operator_id, key))
    return terms_from_document(found.content) if found else None


def _order(
    session: Session, actor: Actor, live: AccountingSession, kind: Measure, terms: bytes | None, now: datetime
) -> EnforcementOrder:
    still_open = session.scalar(
        select(AccountingSession.id).where(
            AccountingSession.id == live.id,
            AccountingSession.started_at == live.started_at,
            AccountingSession.ended_at.is_(None),
        )
    )
    if still_open is None:
        raise SessionOver
    session.execute(
        update(EnforcementOrder)
        .where(EnforcementOrder.session_id == live.id, EnforcementOrder.state.in_(OPEN_STATES))
        .values(state="superseded", finished_at=now)
    )
    order = EnforcementOrder(
        operator_id=live.operator_id,
        nas_id=live.nas_id,
        session_id=live.id,
        session_started_at=live.started_at,
        service_id=live.service_id,
        kind=kind.value,
        cause="staff",
        terms_id=terms,
        requested_by=actor.name,
        created_at=now,
        next_attempt_at=now,
    )
    session.add(order)
    session.flush()
    return order


def _told(live: AccountingSession) -> dict[str, object]:
    return {"user_name": live.user_name, "acct_session_id": live.acct_session_id, "nas_id": live.nas_id}
