"""Who had this address at this time: asked by courts and abuse desks, so who asks is written down, too."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import ColumnElement, or_

from db.audit import record
from db.models import AccountingSession
from portal import context
from portal.permissions import Permission, requires
from portal.staff.sessions import ending, is_silent, prefixes_of, sessions_query

blueprint = Blueprint("addresses", __name__, url_prefix="/addresses")

SHOWN = 20

Asked = ipaddress.IPv4Address | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Found:
    """The sessions that held the address at the instant, and, where none did, the last before and the first after."""

    holders: Sequence[Any]
    before: Any
    after: Any


class NotAnAddress(ValueError):
    """What was typed is neither an IPv4 address nor an IPv6 address or prefix."""


@blueprint.get("/")
@requires(Permission.ADDRESSES_LOOKUP)
def index() -> ResponseReturnValue:
    """Show the form alone; a link or a bookmark asks nothing."""
    return render_template("staff/addresses/index.html", **_page("", _typed_now()))


@blueprint.post("/")
@requires(Permission.ADDRESSES_LOOKUP)
def look_up() -> ResponseReturnValue:
    typed = request.form.get("address", "").strip()[:64]
    when = request.form.get("at", "").strip()[:32]
    page = _page(typed, when)
    try:
        asked = parse_address(typed)
    except NotAnAddress:
        page["address_problem"] = _("This is neither an IPv4 address nor an IPv6 address or prefix.")
        return render_template("staff/addresses/index.html", **page), 422
    try:
        at = datetime.fromisoformat(when).replace(tzinfo=context.zone()).astimezone(UTC)
    except ValueError:
        page["at_problem"] = _("Enter a date and a time.")
        return render_template("staff/addresses/index.html", **page), 422
    reason = request.form.get("reason", "").strip()[:200]
    session = context.db()
    told = {"asked": str(asked), "at": at, "reason": reason}
    record(session, context.actor(), "address.lookup", "address", None, None, told)
    session.commit()
    page.update(asked=asked, at=at, reason=reason, found=who_had(asked, at))
    return render_template("staff/addresses/index.html", **page)


def parse_address(text: str) -> Asked:
    """Return what is asked for; an IPv6 address is the prefix of 128 bits. Raises NotAnAddress."""
    try:
        if "/" in text:
            network = ipaddress.ip_network(text, strict=False)
            if isinstance(network, ipaddress.IPv6Network):
                return network
            raise NotAnAddress(text)
        address = ipaddress.ip_address(text)
    except ValueError:
        raise NotAnAddress(text) from None
    return ipaddress.IPv6Network(address) if isinstance(address, ipaddress.IPv6Address) else address


def who_had(asked: Asked, at: datetime) -> Found:
    """Return who held an address at an instant: the whole of an IPv6 prefix, or a prefix around it."""
    holds = _holds(asked)
    started, ended = AccountingSession.started_at, AccountingSession.ended_at
    query = sessions_query().where(holds)
    session = context.db()
    holders = session.execute(
        query.where(started <= at, or_(ended.is_(None), ended >= at)).order_by(started.desc()).limit(SHOWN)
    ).all()
    if holders:
        return Found(holders, None, None)
    return Found(
        (),
        session.execute(query.where(started <= at).order_by(started.desc()).limit(1)).one_or_none(),
        session.execute(query.where(started > at).order_by(started).limit(1)).one_or_none(),
    )


def _holds(asked: Asked) -> ColumnElement[bool]:
    if isinstance(asked, ipaddress.IPv4Address):
        return AccountingSession.framed_ip == asked
    around = [prefix for prefix in prefixes_of(asked.network_address) if prefix.prefixlen <= asked.prefixlen]
    return or_(AccountingSession.delegated_ipv6_prefix.in_(around), AccountingSession.framed_ipv6_prefix.in_(around))


def _typed_now() -> str:
    return context.now().astimezone(context.zone()).strftime("%Y-%m-%dT%H:%M")


def _page(typed: str, when: str) -> dict[str, Any]:
    return {
        "typed": typed,
        "when": when,
        "zone": context.zone().key,
        "address_problem": None,
        "at_problem": None,
        "found": None,
        "reason": "",
        "ending": ending,
        "silent": is_silent,
    }
