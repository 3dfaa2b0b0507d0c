"""First steps: from an empty account to the first subscriber who is on line and billed.

Nothing is ticked by hand. Each step is done when the rows show it: a plan exists, a router answered, RADIUS heard it.
Samples that were added to look at count for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import Session

from core.i18n import N_
from db.models import (
    AccountingSession,
    BillingSettings,
    Invoice,
    Nas,
    NasHeard,
    RatePlan,
    Router,
    RouterState,
    SampleRow,
    Subscriber,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what to do, why, where, and what shows that it is done."""

    name: str
    title: str
    why: str
    endpoint: str
    icon: str
    shows: Callable[[int], Select[Any]]


def _of(model: Any, *conditions: ColumnElement[bool]) -> Callable[[int], Select[Any]]:
    return lambda operator_id: select(model.operator_id).where(model.operator_id == operator_id, *conditions)


def _real(model: Any, entity: str) -> Callable[[int], Select[Any]]:
    """Rows that are no samples."""

    def shows(operator_id: int) -> Select[Any]:
        sample = exists().where(
            SampleRow.operator_id == operator_id, SampleRow.entity == entity, SampleRow.entity_id == model.id
        )
        return select(model.operator_id).where(model.operator_id == operator_id, ~sample)

    return shows


STEPS = (
    Step(
        "plan", N_("Enter a rate plan"), N_("Its speeds and its price: what your subscribers buy from you."),
        "plans.index", "gauge", _real(RatePlan, "rate_plan"),
    ),
    Step(
        "router", N_("Add a router"), N_("Its address and a secret, or a tunnel if it has no public address."),
        "routers.index", "router", _of(Nas),
    ),
    Step(
        "api", N_("Let the router answer over its API"),
        N_("Then Portico reads its clients, watches it, and keeps its queues and backups."),
        "routers.index", "api", lambda operator_id: select(Router.operator_id)
        .join(RouterState, RouterState.nas_id == Router.nas_id)
        .where(Router.operator_id == operator_id, (RouterState.status == "online") | (RouterState.version != "")),
    ),
    Step(
        "radius", N_("Run the setup script on the router"),
        N_("Done as soon as its first RADIUS packet arrives here, accepted or not."), "vpn.index", "terminal-2",
        _of(NasHeard),
    ),
    Step(
        "subscriber", N_("Enter the first subscriber"),
        N_("By hand, or import all that the router knows: names, passwords and plans."), "subscribers.index",
        "user-plus", _real(Subscriber, "subscriber"),
    ),
    Step(
        "session", N_("See the first subscriber on line"),
        N_("They dial in, RADIUS accepts them, and accounting begins. Explain says why not, if not."), "sessions.index",
        "plug-connected", _of(AccountingSession, AccountingSession.service_id.is_not(None)),
    ),
    Step(
        "billing", N_("Switch billing on"),
        N_("Days, taxes and ways to pay are proposed for your country; look them over, then switch it on."),
        "billing_settings.index", "receipt-tax", _of(BillingSettings, BillingSettings.enabled.is_(True)),
    ),
    Step(
        "invoice", N_("Issue the first invoice"),
        N_("By itself on the day that the rules say, or now from a subscriber."),
        "invoices.index", "file-invoice", _real(Invoice, "invoice"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """Each step with whether it is done."""

    steps: tuple[tuple[Step, bool], ...]

    @property
    def done(self) -> int:
        return sum(done for _step, done in self.steps)

    @property
    def complete(self) -> bool:
        return self.done == len(self.steps)

    @property
    def following(self) -> Step | None:
        """The first step that is not done."""
        return next((step for step, done in self.steps if not done), None)


def progress_of(session: Session, operator_id: int) -> Progress:
    """Return how far an operator is, by one query."""
    row = session.execute(select(*(step.shows(operator_id).exists().label(step.name) for step in STEPS))).one()
    return Progress(tuple((step, bool(done)) for step, done in zip(STEPS, row, strict=True)))
