"""Who had an address at an instant: the sessions that may have held it, and how certain each is.

Accounting tells when a session began. When it ended is known only where the router said so with a Stop; a session that
fell silent ended some time after it was last heard, and whoever reads the answer must see that. A clock that is wrong
on the other side (the log of a mail server, say) is allowed for by a margin: what fits only within it is told apart.
Nothing is guessed and nobody is left out who may have been it.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from db.models import AccountingSession, Nas, Service, Subscriber

MARGINS = (0, 30, 60, 300, 900, 3600)
"""Seconds that a clock may be wrong by, to choose from."""
MOST = 50
MISSED = 3
"""Interim updates in a row after which a session that fell silent is not taken for alive any more."""
_LONGEST_SILENCE = timedelta(hours=6)

Asked = ipaddress.IPv4Address | ipaddress.IPv6Network


class Certainty(StrEnum):
    """How sure it is that a session held its address at the instant."""

    CERTAIN = "certain"  # it had begun, and was heard at or after the instant
    LIKELY = "likely"  # it had begun and was last heard shortly before; when it ended nobody said
    POSSIBLE = "possible"  # it is open in the books, but was silent for long before the instant
    NEARBY = "nearby"  # only if a clock was wrong by no more than the margin


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that may have held the address, and whose it is."""

    session: AccountingSession
    certainty: Certainty
    nas: str | None
    service_id: int | None
    service: str | None
    subscriber_id: int | None
    subscriber: str | None


@dataclass(frozen=True, slots=True)
class Around:
    """Where nobody held it: the last session before and the first after."""

    before: Holder | None
    after: Holder | None


def certainty(session: AccountingSession, at: datetime, margin: timedelta) -> Certainty | None:
    """Return how sure it is that a session was there at an instant; None: it was not."""
    if session.started_at > at:
        return Certainty.NEARBY if session.started_at <= at + margin else None
    heard = session.updated_at
    silence = MISSED * timedelta(seconds=session.interim_interval)
    if session.ended_at is not None and session.ended_by == "stop":
        if session.ended_at >= at:
            return Certainty.CERTAIN
        return Certainty.NEARBY if session.ended_at >= at - margin else None
    if session.ended_at is not None:
        heard = min(heard, session.ended_at)
    if heard >= at:
        return Certainty.CERTAIN
    if heard + silence >= at:
        return Certainty.LIKELY
    if session.ended_at is None:
        return Certainty.POSSIBLE
    return Certainty.NEARBY if session.ended_at >= at - margin else None


def who_had(
    session: Session,
    operator_id: int,
    asked: Asked,
    at: datetime,
    margin: timedelta = timedelta(),
    nas_id: int | None = None,
) -> list[Holder]:
    """Return who may have held an address, the surest first: the whole of an IPv6 prefix, or a prefix around it."""
    started, ended = AccountingSession.started_at, AccountingSession.ended_at
    query = _sessions(operator_id, asked, nas_id).where(
        started <= at + margin, or_(ended.is_(None), ended >= at - margin - _LONGEST_SILENCE)
    )
    found = []
    for row in session.execute(query.order_by(started.desc()).limit(MOST)):
        sure = certainty(row.AccountingSession, at, margin)
        if sure is not None:
            found.append(_holder(row, sure))
    order = list(Certainty)
    return sorted(found, key=lambda holder: order.index(holder.certainty))


def around(session: Session, operator_id: int, asked: Asked, at: datetime, nas_id: int | None = None) -> Around:
    """Return the last that held an address before an instant, and the first after it."""
    started = AccountingSession.started_at
    query = _sessions(operator_id, asked, nas_id)
    before = session.execute(query.where(started <= at).order_by(started.desc()).limit(1)).one_or_none()
    after = session.execute(query.where(started > at).order_by(started).limit(1)).one_or_none()
    return Around(
        _holder(before, Certainty.NEARBY) if before else None, _holder(after, Certainty.NEARBY) if after else None
    )


def _holder(row: Any, sure: Certainty) -> Holder:
    return Holder(
        row.AccountingSession, sure, row.nas, row.service_id, row.service, row.subscriber_id, row.subscriber
    )  # fmt: skip


def prefixes_of(address: ipaddress.IPv6Address) -> Sequence[ipaddress.IPv6Network]:
    """Return the prefixes that a subscriber may have been given which hold an address: /128 to /32.

    They are compared for equality, because that is a comparison which row-level security lets an index serve.
    """
    return [ipaddress.IPv6Network((address, length), strict=False) for length in range(128, 31, -1)]


def _sessions(operator_id: int, asked: Asked, nas_id: int | None) -> Select[*tuple[Any, ...]]:
    query: Select[*tuple[Any, ...]] = (
        select(
            AccountingSession,
            Nas.name.label("nas"),
            Service.id.label("service_id"),
            Service.name.label("service"),
            Subscriber.id.label("subscriber_id"),
            Subscriber.name.label("subscriber"),
        )
        .outerjoin(Nas, Nas.id == AccountingSession.nas_id)
        .outerjoin(Service, Service.id == AccountingSession.service_id)
        .outerjoin(Subscriber, Subscriber.id == Service.subscriber_id)
        .where(AccountingSession.operator_id == operator_id, _holds(asked))
    )
    return query if nas_id is None else query.where(AccountingSession.nas_id == nas_id)


def _holds(asked: Asked) -> ColumnElement[bool]:
    if isinstance(asked, ipaddress.IPv4Address):
        return AccountingSession.framed_ip == asked
    around_it = [prefix for prefix in prefixes_of(asked.network_address) if prefix.prefixlen <= asked.prefixlen]
    return or_(
        AccountingSession.delegated_ipv6_prefix.in_(around_it), AccountingSession.framed_ipv6_prefix.in_(around_it)
    )
