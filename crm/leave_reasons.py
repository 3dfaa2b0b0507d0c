"""Why people leave: the reasons that an operator lets its staff choose from when a service ends.

The reason is kept with the service in the words that were chosen, so that taking one off the list changes no report.
An operator that has not written a list of its own has ours, in the operator's language.
"""

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.i18n import N_, translator
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import LeaveReason, Operator

MOST = 30
LONGEST = 80
FIRST = (
    N_("Moved away"),
    N_("Too expensive"),
    N_("Went to another provider"),
    N_("Not content with the service"),
    N_("Does not need it any more"),
    N_("Did not pay"),
    N_("Other reason"),
)


def reasons_of(session: Session, operator_id: int) -> list[str]:
    """Return the reasons that may be chosen, in the operator's order."""
    mine = select(LeaveReason.title).where(LeaveReason.operator_id == operator_id)
    found = list(session.scalars(mine.order_by(LeaveReason.position, LeaveReason.id)))
    if found:
        return found
    translate = translator(session.get_one(Operator, operator_id).locale)
    return [translate(title) for title in FIRST]


def change_reasons(session: Session, actor: Actor, lines: Iterable[str]) -> None:
    """Write the list anew, a reason a line; none at all is ours again. Raises Invalid (`reasons`)."""
    titles: dict[str, str] = {}
    for line in lines:
        title = " ".join(line.replace("\0", "").split())
        if title:
            titles.setdefault(title.casefold(), title)
    if len(titles) > MOST:
        raise Invalid(FieldProblem("reasons", Problem.LIMIT_REACHED, {"limit": str(MOST)}))
    if any(len(title) > LONGEST for title in titles.values()):
        raise Invalid(FieldProblem("reasons", Problem.TOO_LONG, {"limit": str(LONGEST)}))
    before = reasons_of(session, actor.operator_id)
    session.execute(delete(LeaveReason).where(LeaveReason.operator_id == actor.operator_id))
    session.add_all(
        LeaveReason(operator_id=actor.operator_id, title=title, position=position)
        for position, title in enumerate(titles.values())
    )
    session.flush()
    after = list(titles.values())
    record(session, actor, "leaving.reasons", "operator", actor.operator_id, {"reasons": before}, {"reasons": after})
