"""Credit for an outage: the days a service was without, at its price of a day, off its next invoice.

A day that was begun counts, when the outage lasted `LEAST` or longer; a month has thirty. Each service gets it once
for an incident, by a rule of the database, however often the job runs. It is a discount of one period, so it stands on
the invoice by name, and who changes plans or leaves loses nothing that was billed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Numeric, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.charges import DiscountTerms, add_discount
from billing.rules import BillingRules, rules_of
from core.clock import utc_now
from core.i18n import LANGUAGES, N_, translator
from core.money import rounded
from crm.currencies import in_books
from crm.incidents import concerned_services, services_at
from crm.jobs import JobFunction, RunningJob
from db.audit import Actor, record
from db.models import (
    Alert,
    Incident,
    IncidentCredit,
    IncidentMember,
    Operator,
    RatePlan,
    Service,
    ServiceBilling,
    Subscriber,
)

CREDIT = "incidents.credit"
LEAST = timedelta(hours=4)
DAYS_OF_MONTH = 30
BATCH = 50
_DAY = timedelta(days=1)
_DESCRIPTION = N_("Credit for the outage of %(day)s")


@dataclass(frozen=True, slots=True)
class CreditRow:
    """What one service would be given. `lost` is how long it was without."""

    service_id: int
    service: str
    subscriber_id: int
    subscriber: str
    lost: timedelta
    days: int
    amount: Decimal


def days_lost(lost: timedelta) -> int:
    """Return how many days are credited for a time without service, at most a month."""
    if lost < LEAST:
        return 0
    return min(-(-lost // _DAY), DAYS_OF_MONTH)


def credits_for(session: Session, rules: BillingRules, incident: Incident) -> list[CreditRow]:
    """Return what a closed incident would still give to whom, changing nothing."""
    lost = _lost(session, incident)
    rows = session.execute(
        select(
            Service.id, Service.name, Subscriber.id.label("subscriber_id"), Subscriber.name.label("subscriber"),
            literal_column(in_books("coalesce(service_billing.price, rate_plan.price)", "rate_plan"), Numeric).label(
                "price"
            ),
        )
        .join(Subscriber, Subscriber.id == Service.subscriber_id)
        .join(ServiceBilling, ServiceBilling.service_id == Service.id)
        .join(RatePlan, RatePlan.id == ServiceBilling.plan_id)
        .outerjoin(
            IncidentCredit, (IncidentCredit.service_id == Service.id) & (IncidentCredit.incident_id == incident.id)
        )
        .where(
            Service.operator_id == incident.operator_id,
            Service.id.in_(lost),
            ServiceBilling.stopped_on.is_(None),
            or_(Service.activated_at.is_(None), Service.activated_at < incident.closed_at),
            IncidentCredit.service_id.is_(None),
        )
        .order_by(Subscriber.name, Service.id)
    )  # fmt: skip
    found = []
    for row in rows:
        days = days_lost(lost[row.id])
        amount = rounded((row.price or Decimal(0)) * days / DAYS_OF_MONTH, rules.currency)
        if amount > 0:
            found.append(
                CreditRow(row.id, row.name, row.subscriber_id, row.subscriber, lost[row.id], days, amount)
            )  # fmt: skip
    return found


def total_of(rows: Sequence[CreditRow]) -> Decimal:
    return sum((row.amount for row in rows), Decimal(0))


def credited(session: Session, incident_id: int) -> tuple[int, Decimal]:
    """Return how many services were given something for an incident, and how much together."""
    row = session.execute(
        select(func.count(), func.coalesce(func.sum(IncidentCredit.amount), 0)).where(
            IncidentCredit.incident_id == incident_id
        )
    ).one()
    return row[0], Decimal(row[1])


def give_credits(
    session: Session, actor: Actor, rules: BillingRules, incident: Incident, rows: Sequence[CreditRow], now: datetime
) -> int:
    """Give services their credit, and return how many had not got it yet. The caller commits."""
    operator = session.get_one(Operator, incident.operator_id)
    given = 0
    for row in rows:
        values = {"days": row.days, "amount": row.amount, "staff_id": actor.staff_id, "operator_id": operator.id}
        made = session.execute(
            insert(IncidentCredit)
            .values(incident_id=incident.id, service_id=row.service_id, **values)
            .on_conflict_do_nothing()
            .returning(IncidentCredit.service_id)
        ).scalar()
        if made is None:
            continue
        service = session.get_one(Service, row.service_id)
        subscriber = session.get_one(Subscriber, row.subscriber_id)
        language = subscriber.language or operator.locale[:2]
        say = translator(language if language in LANGUAGES else "en")
        day = incident.opened_at.astimezone(rules.zone).date()
        terms = DiscountTerms(say(_DESCRIPTION) % {"day": day.isoformat()}, amount=row.amount, months=1)
        discount = add_discount(session, actor, rules, service, terms, now)
        credit = session.get_one(IncidentCredit, (incident.id, row.service_id))
        credit.discount_id = discount.id
        session.flush()
        record(session, actor, "incident.credit", "service", service.id, None, {
            "days": row.days, "amount": row.amount,
        })  # fmt: skip
        given += 1
    return given


def credit_incident(job: RunningJob) -> dict[str, object]:
    """Give all services of an incident their credit, batch by batch; begun again, it goes on where it was."""
    now, number = utc_now(), int(job.parameters["incident_id"])
    actor = Actor(job.operator_id, "incidents", job.staff_id)
    with job.session() as session:
        rules = rules_of(session, job.operator_id)
        rows = credits_for(session, rules, session.get_one(Incident, number))
    job.plan(len(rows))
    given = 0
    for first in range(0, len(rows), BATCH):
        job.check_cancelled()
        some = rows[first : first + BATCH]
        with job.session() as session:
            given += give_credits(session, actor, rules, session.get_one(Incident, number), some, now)
            session.commit()
        job.advance(len(some))
    job.log("info", "", N_("%(given)s services were credited."), given=given)
    return {"given": given}


def _lost(session: Session, incident: Incident) -> dict[int, timedelta]:
    """Return how long each service was without, where an incident that is over took it."""
    assert incident.closed_at is not None, "only what is over is credited"
    if incident.by_hand:
        lasted = incident.closed_at - incident.opened_at
        return dict.fromkeys(concerned_services(session, incident), lasted)
    lost: dict[int, timedelta] = {}
    if incident.scope == "network":
        for alert in session.scalars(select(Alert).where(Alert.incident_id == incident.id)):
            gone = (alert.closed_at or incident.closed_at) - alert.opened_at
            for service_id in services_at(session, incident.operator_id, [alert.nas_id]):
                lost[service_id] = max(lost.get(service_id, gone), gone)
        return lost
    for member in session.scalars(
        select(IncidentMember).where(
            IncidentMember.incident_id == incident.id, IncidentMember.service_id.is_not(None)
        )
    ):  # fmt: skip
        assert member.service_id is not None
        gone = (member.back_at or incident.closed_at) - member.ended_at
        lost[member.service_id] = max(lost.get(member.service_id, gone), gone)
    return lost


JOBS: Mapping[str, JobFunction] = {CREDIT: credit_incident}
