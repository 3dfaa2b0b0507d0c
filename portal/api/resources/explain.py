"""Why a name is let in or refused: what the page Explain says, in words and in values."""

from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from aaa.decision import Decision
from db.models import Service
from portal import context
from portal.api import frame
from portal.api.operations import operation
from portal.api.problems import ApiProblem, Kind, use_language
from portal.api.scopes import Scope
from portal.api.values import Given, PageAsked, Rate, Shown, string
from portal.reasons import decision_outcome, decision_sentence, event_sentence, explanation_lines
from portal.staff.explain import raw_connection
from radius.explain import PastRequest, explain_name, resolve_name, terms_of

TAG = "Services"
Outcome = Literal["accept", "garden", "reject"]


class FindingShown(Shown):
    """A rule of the decision, in the order in which they are asked, and what it found."""

    rule: str
    mark: Literal["passed", "changed", "stopped"]
    reason: str | None
    text: str = Field(description="A sentence in the language of Accept-Language.")


class GrantShown(Shown):
    """What a session is granted."""

    rate_download: Rate | None
    rate_upload: Rate | None
    address_list: str | None
    framed_ip: str | None
    pool: str | None


class RequestShown(Shown):
    """An Access-Request that came, and what became of it."""

    at: datetime
    nas_id: int
    mac: str | None
    outcome: Outcome
    reason: str | None
    text: str


class ExplanationShown(Shown):
    """What would happen if the name connected now."""

    name: str
    service_id: int | None = Field(description="Null: nothing is registered under it.")
    outcome: Outcome
    reason: str | None
    text: str
    findings: list[FindingShown]
    grant: GrantShown | None
    changes_at: datetime | None = Field(description="When time alone will change it.")
    open_sessions: int
    requests: list[RequestShown] = Field(description="The last ones, the newest first.")


class NameAsked(Given):
    """A user name, a MAC address in any spelling, or the concealed name of a voucher."""

    model_config = PageAsked.model_config

    name: string(253, 1)  # type: ignore[valid-type]


@operation("GET", "/explain", Scope.SERVICES_EXPLAIN, tag=TAG, summary="Explain what would happen to a name",
           answer=ExplanationShown)  # fmt: skip
def name(query: NameAsked) -> ExplanationShown:
    """The last request under that name is played through the rules that decide."""
    connection = raw_connection(frame.db())
    return _explained(resolve_name(connection, frame.token().operator_id, query.name))


@operation("GET", "/services/<int:service_id>/explain", Scope.SERVICES_EXPLAIN, tag=TAG,
           summary="Explain what would happen to a service", answer=ExplanationShown)  # fmt: skip
def service(service_id: int) -> ExplanationShown:
    found = frame.db().scalar(select(Service.name).where(Service.id == service_id, Service.state != "terminated"))
    if found is None:
        raise ApiProblem(Kind.NOT_FOUND)
    return _explained(found)


def _explained(known_as: str) -> ExplanationShown:
    connection, language = raw_connection(frame.db()), use_language()
    found = explain_name(connection, frame.token().operator_id, known_as, context.now())
    decision = found.explanation.decision
    return ExplanationShown(
        name=found.name,
        service_id=found.service.id if found.service is not None else None,
        outcome=decision_outcome(decision),
        reason=decision.reason.value if decision.reason else None,
        text=decision_sentence(found, language),
        findings=[
            FindingShown(
                rule=line.rule,
                mark=line.mark.value,
                reason=line.reason.value if line.reason else None,
                text=line.sentence,
            )
            for line in explanation_lines(found, language)
        ],
        grant=_grant(decision),
        changes_at=found.explanation.changes_at,
        open_sessions=len(found.sessions),
        requests=[_request(past, language) for past in found.requests],
    )


def _grant(decision: Decision) -> GrantShown | None:
    terms = terms_of(decision)
    if terms is None:
        return None
    return GrantShown(
        rate_download=terms.rate.download if terms.rate else None,
        rate_upload=terms.rate.upload if terms.rate else None,
        address_list=terms.address_list,
        framed_ip=terms.framed_ip,
        pool=terms.pool,
    )


def _request(past: PastRequest, language: str) -> RequestShown:
    return RequestShown(
        at=past.at,
        nas_id=past.nas_id,
        mac=past.mac,
        outcome=past.outcome,
        reason=past.reason.value if past.reason else None,
        text=event_sentence(past.outcome, past.reason, past.detail, language),
    )
