"""Shadow mode: who decides about an imported PPPoE secret, its router or Portico.

RouterOS asks RADIUS only for names that it has no secret of its own for (manual, RADIUS). So an imported client goes
on as before, decided by the router, until the secret there is disabled; and comes back to the router when it is
enabled again. What we disabled carries our marker, so that a secret that the ISP disabled itself is never enabled.

Every change is verified by reading again. One client that cannot be changed leaves the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from core.clock import utc_now
from core.i18n import N_
from crm.jobs import RunningJob
from db.audit import record
from db.models import Router, ShadowSecret
from network.access import access_of
from network.api import RouterApi, open_router
from network.importing.jobs import actor_of
from network.problems import RouterProblem
from network.words import ForeignText, Row

SECRETS, ACTIVE = "/ppp/secret", "/ppp/active"
MARKER = "portico:taken-over"
TAKE_OVER, GIVE_BACK, LOOK = "shadow.take_over", "shadow.give_back", "shadow.look"

GONE, NOT_OURS, UNCHANGED, AMBIGUOUS = "gone", "not_ours", "unchanged", "ambiguous"
PROBLEMS: Mapping[str, str] = {
    GONE: N_("The router has no such secret any more."),
    NOT_OURS: N_("The secret was not disabled by Portico, so it is left as it is."),
    UNCHANGED: N_("The router took the change, but the secret is as it was before."),
    AMBIGUOUS: N_("The router has several secrets of this name."),
}


class NotDone(Exception):
    """A secret could not be changed; `problem` is one of PROBLEMS or of network.problems.Cause."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail


def marked(comment: str) -> bool:
    return MARKER in comment.split()


def with_marker(comment: str) -> str:
    """Return a comment with our marker behind it; octets that are no UTF-8 stay what they are."""
    if marked(comment):
        return comment
    if isinstance(comment, ForeignText):
        return ForeignText(comment.octets + b" " + MARKER.encode())
    return f"{comment} {MARKER}".strip()


def without_marker(comment: str) -> str:
    if isinstance(comment, ForeignText):
        return ForeignText(comment.octets.replace(b" " + MARKER.encode(), b"").replace(MARKER.encode(), b""))
    return comment.replace(f" {MARKER}", "").replace(MARKER, "")


def take_over(api: RouterApi, name: str) -> None:
    """Disable a router's secret, so that the next login is asked of RADIUS. Raises NotDone and RouterProblem.

    A secret that is disabled already is left without our marker: giving back must not enable what others disabled.
    """
    secret = _secret(api, name)
    if _disabled(secret):
        return
    api.set(SECRETS, secret[".id"], disabled=True, comment=with_marker(secret.get("comment", "")))
    if not _disabled(_secret(api, name)):
        raise NotDone(UNCHANGED)


def give_back(api: RouterApi, name: str) -> None:
    """Enable a secret that we disabled. Raises NotDone and RouterProblem."""
    secret = _secret(api, name)
    if not _disabled(secret):
        return
    if not marked(secret.get("comment", "")):
        raise NotDone(NOT_OURS)
    api.set(SECRETS, secret[".id"], disabled=False, comment=without_marker(secret.get("comment", "")))
    if _disabled(_secret(api, name)):
        raise NotDone(UNCHANGED)


def sessions_seen(api: RouterApi) -> dict[str, dict[str, Any]]:
    """Return what /ppp/active shows of each name."""
    return seen_of(api.rows(ACTIVE, "name", "address", "caller-id", "radius"))


def seen_of(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return what rows of /ppp/active say of each name: address, caller id, and whether RADIUS let it in."""
    return {
        row.get("name", ""): {
            "address": row.get("address", ""),
            "caller_id": row.get("caller-id", ""),
            "radius": row.get("radius") in ("true", "yes"),
        }
        for row in rows
    }


# The jobs.


def run_take_over(job: RunningJob) -> Mapping[str, object]:
    """Hand secrets of one router over to Portico. Parameters: `nas_id`, and `service_ids` or nothing for all."""
    return _change(job, "local", "portico")


def run_give_back(job: RunningJob) -> Mapping[str, object]:
    """Give secrets back to their router."""
    return _change(job, "portico", "local")


def run_look(job: RunningJob) -> Mapping[str, object]:
    """Look who of one router's secrets is online, and who let them in."""
    with job.session() as session:
        router = _router(job, session)
        rows = _chosen(job, session, "local", "portico")
        job.plan(len(rows))
        try:
            with _open(job, router) as api:
                seen = sessions_seen(api)
        except RouterProblem as problem:
            return _unreachable(job, problem, len(rows))
        now = utc_now()
        if rows:
            session.execute(
                update(ShadowSecret),
                [{"service_id": row.service_id, "seen": seen.get(row.secret), "seen_at": now} for row in rows],
            )
        session.commit()
        job.advance(len(rows))
    return {"online": sum(row.secret in seen for row in rows)}


def _change(job: RunningJob, before: str, after: str) -> Mapping[str, object]:
    step = take_over if after == "portico" else give_back
    with job.session() as session:
        router = _router(job, session)
        rows = _chosen(job, session, before)
        job.plan(len(rows))
        actor = actor_of(job, session)
        changed = 0
        try:
            with _open(job, router) as api:
                for row in rows:
                    job.check_cancelled()
                    problem = _try(api, step, row.secret)
                    row.problem, row.detail = problem or ("", "")
                    if problem is None:
                        row.state, row.changed_at = after, utc_now()
                        changed += 1
                        record(session, actor, f"shadow.{after}", "service", row.service_id, None, {"name": row.secret})
                    else:
                        job.log("error", row.secret, PROBLEMS.get(problem[0], N_("The router refused: %(detail)s")),
                                detail=problem[1] or problem[0])  # fmt: skip
                    # Each is kept by itself: it has happened on the router, whatever becomes of the next.
                    session.commit()
                    job.advance(0 if problem else 1, 1 if problem else 0)
        except RouterProblem as problem:
            session.commit()
            return _unreachable(job, problem, len(rows) - changed)
    return {"changed": changed}


def _try(api: RouterApi, step: Any, name: str) -> tuple[str, str] | None:
    """Return why a step could not be done with one secret; None: it was. Raises RouterProblem if the router is gone."""
    try:
        step(api, name)
    except NotDone as refused:
        return refused.problem, refused.detail
    except RouterProblem as problem:
        if problem.out_of_reach:
            raise
        return problem.cause.value, problem.detail[:200]
    return None


def _secret(api: RouterApi, name: str) -> Row:
    rows = api.rows(SECRETS, ".id", "name", "disabled", "comment", name=name)
    if not rows:
        raise NotDone(GONE)
    if len(rows) > 1:
        raise NotDone(AMBIGUOUS)
    return rows[0]


def _disabled(secret: Row) -> bool:
    return secret.get("disabled") in ("true", "yes")


def _router(job: RunningJob, session: Session) -> Router:
    return session.scalars(
        select(Router)
        .where(Router.nas_id == job.parameters["nas_id"], Router.operator_id == job.operator_id)
        .options(joinedload(Router.nas))
    ).one()


def _open(job: RunningJob, router: Router) -> AbstractContextManager[RouterApi]:
    return open_router(access_of(router, job.keyring))


def _chosen(job: RunningJob, session: Session, *states: str) -> Sequence[ShadowSecret]:
    query = select(ShadowSecret).where(
        ShadowSecret.operator_id == job.operator_id,
        ShadowSecret.nas_id == job.parameters["nas_id"],
        ShadowSecret.state.in_(states),
    )
    chosen: Iterable[int] | None = job.parameters.get("service_ids")
    if chosen is not None:
        query = query.where(ShadowSecret.service_id.in_(chosen))
    return session.scalars(query.order_by(ShadowSecret.secret)).all()


def _unreachable(job: RunningJob, problem: RouterProblem, rows: int) -> Mapping[str, object]:
    job.log("error", job.subject, N_("The router could not be read: %(cause)s. %(detail)s"),
            cause=problem.cause.value, detail=problem.detail[:500])  # fmt: skip
    job.advance(0, rows)
    return {"problem": problem.cause.value}
