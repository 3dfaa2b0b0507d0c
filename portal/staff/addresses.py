"""Who had this address at this time: asked by courts and abuse desks, so who asks is written down, too.

A lookup needs a reason, such as the number of a court's letter, and stands in the audit log with what it found before
anybody sees the answer. A link or a bookmark asks nothing: it is a POST.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from flask import Blueprint, Response, abort, current_app, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from billing.pdf import A4, NotRendered, render_pdf
from crm.who_had import MARGINS, Around, Asked, Certainty, Holder, around, who_had
from db.audit import record
from db.models import CgnatPlan
from network.cgnat import Outside
from network.cgnat_plans import plans_of_private, plans_of_public, port_plan
from portal import context
from portal.formats import duration
from portal.i18n import reader_language
from portal.permissions import Permission, requires
from portal.staff.sessions import ending, is_silent

log = structlog.get_logger()

blueprint = Blueprint("addresses", __name__, url_prefix="/addresses")

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Nobody had an address of ours before, and margins around the first and last years that there are have no date."""

CERTAINTY_WORDS = {
    Certainty.CERTAIN: (_l("certain"), "green", "circle-check"),
    Certainty.LIKELY: (_l("likely, last heard shortly before"), "yellow", "help-circle"),
    Certainty.POSSIBLE: (_l("possible, it had long been silent"), "orange", "help-circle"),
    Certainty.NEARBY: (_l("only within the margin"), "secondary", "clock-question"),
}


class NotAnAddress(ValueError):
    """What was typed is neither an IPv4 address nor an IPv6 address or prefix."""


class NotAPort(ValueError):
    """What was typed is no port, or stands where none can."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What a plan of ports says: the private address behind a public one and its port, and who had that."""

    plan: CgnatPlan
    private: ipaddress.IPv4Address | None
    sharing: int  # how many private addresses come out of the public one
    holders: Sequence[Holder] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lookup found. `outside` is what private IPv4 holders looked like from outside, by plan."""

    asked: Asked
    port: int | None
    at: datetime
    margin: timedelta
    reason: str
    holders: Sequence[Holder] = ()
    behind: Sequence[Behind] = ()
    outside: Sequence[tuple[CgnatPlan, Outside]] = ()
    around: Around = field(default_factory=lambda: Around(None, None))

    @property
    def everybody(self) -> list[Holder]:
        return [*self.holders, *(holder for each in self.behind for holder in each.holders)]


@blueprint.get("/")
@requires(Permission.ADDRESSES_LOOKUP)
def index() -> ResponseReturnValue:
    """Show the form alone; a link or a bookmark asks nothing."""
    return render_template("staff/addresses/index.html", **_page({"at": _typed_now()}))


@blueprint.post("/")
@requires(Permission.ADDRESSES_LOOKUP)
def look_up() -> ResponseReturnValue:
    typed = {name: request.form.get(name, "").strip()[:200] for name in ("address", "port", "at", "margin", "reason")}
    asked, port, at, problems = _read(typed)
    if asked is None or at is None or problems:
        return render_template("staff/addresses/index.html", **_page(typed, problems)), 422
    seconds = int(typed["margin"]) if typed["margin"] in {str(each) for each in MARGINS} else 0
    answer = find(asked, port, at, timedelta(seconds=seconds), typed["reason"])
    as_pdf = request.form.get("format") == "pdf"
    session = context.db()
    record(session, context.actor(), "address.lookup", "address", None, None, _told(answer, as_pdf=as_pdf))
    session.commit()
    if as_pdf:
        return _pdf(answer)
    return render_template("staff/addresses/index.html", **{**_page(typed), "answer": answer})


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


def split_port(address: str, port: str) -> tuple[str, int | None]:
    """Return address and port, which logs often write as one: `203.0.113.9:40117`. Raises NotAPort."""
    host, colon, behind = address.partition(":")
    if not port and colon and ":" not in behind and "." in host:
        address, port = host, behind
    if not port:
        return address, None
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65_535:
        raise NotAPort(port)
    return address, int(port)


def find(asked: Asked, port: int | None, at: datetime, margin: timedelta, reason: str) -> Answer:
    """Return who may have had an address, or a port of a public one, by the sessions and the plans of that time."""
    session, operator_id = context.db(), context.operator().id
    holders = who_had(session, operator_id, asked, at, margin)
    behind: list[Behind] = []
    outside: list[tuple[CgnatPlan, Outside]] = []
    if isinstance(asked, ipaddress.IPv4Address):
        behind = [
            _behind(plan, asked, port, at, margin)
            for plan in plans_of_public(session, operator_id, asked, at - margin, at + margin)
        ]
        outside = [(plan, port_plan(plan).outside(asked)) for plan in plans_of_private(session, operator_id, asked, at)]
    answer = Answer(asked, port, at, margin, reason, holders, behind, outside)
    if answer.everybody or behind:
        return answer
    return Answer(asked, port, at, margin, reason, around=around(session, operator_id, asked, at))


def _behind(
    plan: CgnatPlan, public: ipaddress.IPv4Address, port: int | None, at: datetime, margin: timedelta
) -> Behind:
    arithmetic = port_plan(plan)
    sharing = len(arithmetic.sharing(public))
    private = arithmetic.inside(public, port) if port is not None else None
    if private is None:
        return Behind(plan, None, sharing)
    # Of an instant at which the plan did not hold yet, or not any more, only what the margin reaches is its own.
    instant = max(at, plan.valid_from)
    instant = instant if plan.valid_until is None else min(instant, plan.valid_until)
    left = max(timedelta(), margin - abs(at - instant))
    holders = who_had(context.db(), context.operator().id, private, instant, left, plan.nas_id)
    return Behind(plan, private, sharing, holders)


def _read(typed: dict[str, str]) -> tuple[Asked | None, int | None, datetime | None, dict[str, str]]:
    """Return address, port and instant, and what is wrong with them."""
    problems: dict[str, str] = {}
    asked, port, at = None, None, None
    try:
        address, port = split_port(typed["address"], typed["port"])
        asked = parse_address(address)
        if port is not None and not isinstance(asked, ipaddress.IPv4Address):
            raise NotAPort(str(port))
    except NotAnAddress:
        problems["address"] = _("This is neither an IPv4 address nor an IPv6 address or prefix.")
    except NotAPort:
        problems["port"] = _("A port is a number from 1 to 65535, of an IPv4 address.")
    try:
        at = datetime.fromisoformat(typed["at"]).replace(tzinfo=context.zone()).astimezone(UTC)
        if not _EARLIEST <= at <= context.now() + timedelta(days=1):
            raise ValueError(typed["at"])
    except (ValueError, OverflowError):
        at = None
        problems["at"] = _("Enter a date and a time.")
    if not typed["reason"]:
        problems["reason"] = _("Say why you ask, such as the number of the letter. It is kept with the lookup.")
    return asked, port, at, problems


def _told(answer: Answer, *, as_pdf: bool) -> dict[str, Any]:
    """Return what the audit log keeps of a lookup: what was asked, why, and who was found."""
    found = [
        {
            "subscriber": holder.subscriber_id,
            "session": holder.session.id,
            "certainty": holder.certainty.value,
        }
        for holder in answer.everybody
    ]
    told: dict[str, Any] = {"asked": str(answer.asked), "at": answer.at, "reason": answer.reason, "found": found}
    if answer.port is not None:
        told["port"] = answer.port
    if answer.margin:
        told["margin"] = answer.margin
    return told | ({"paper": True} if as_pdf else {})


def _pdf(answer: Answer) -> ResponseReturnValue:
    html = render_template(
        "pdf/who_had.html",
        answer=answer,
        language=reader_language(),
        operator=context.operator().name,
        asked_by=context.staff().name,
        zone=context.zone().key,
        ending=ending,
        certainty=CERTAINTY_WORDS,
    )
    try:
        content = render_pdf(html, A4)
    except NotRendered:
        log.exception("answer_not_rendered")
        abort(503)
    headers = {"Content-Disposition": 'attachment; filename="address-lookup.pdf"', "Cache-Control": "no-store"}
    made: Response = current_app.response_class(content, mimetype="application/pdf", headers=headers)
    return made


def _typed_now() -> str:
    return context.now().astimezone(context.zone()).strftime("%Y-%m-%dT%H:%M:%S")


def _page(typed: dict[str, str], problems: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "typed": {"address": "", "port": "", "at": "", "margin": "60", "reason": "", **typed},
        "zone": context.zone().key,
        "problems": problems or {},
        "margins": [
            (str(seconds), duration(timedelta(seconds=seconds)) if seconds else _("none")) for seconds in MARGINS
        ],
        "answer": None,
        "ending": ending,
        "silent": is_silent,
        "certainty": CERTAINTY_WORDS,
    }
