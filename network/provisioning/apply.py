"""Carrying differences out on a router, one service at a time.

Each step is one command and RouterOS does it whole or not at all; whoever dies between two of them leaves a smaller
difference behind, which the next comparison finds. A row that the router refuses is that service's problem, with
the router's own words; a router that stops answering ends the round, and what was done stays done.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from network.api import AsyncRouterApi
from network.problems import Cause, RouterProblem
from network.provisioning.diff import (
    LIST_FIELDS,
    LISTS,
    QUEUE_FIELDS,
    QUEUES,
    Add,
    Difference,
    Have,
    Remove,
    Set,
    Step,
)

LONG_LISTS = 60.0
"""Seconds that a router may take for all of its queues, or all of its address lists."""


@dataclass(slots=True)
class Applied:
    """What one round did."""

    done: list[Difference] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)  # by service, in the router's words


async def look(router: AsyncRouterApi) -> Have:
    """Read what a router holds. Raises RouterProblem."""
    before, router.timeout = router.timeout, max(router.timeout, LONG_LISTS)
    queues = await router.rows(QUEUES, *QUEUE_FIELDS)
    entries = await router.rows(LISTS, *LIST_FIELDS)
    router.timeout = before
    return Have(queues, entries)


async def apply(
    router: AsyncRouterApi,
    differences: Sequence[Difference],
    applied: Applied,
    each: Callable[[int, str], Awaitable[None]] | None = None,
) -> None:
    """Carry differences out; what is done and what was refused stands in `applied`, also when it ends early.

    `each` is told of every service as it is finished, with what was refused. Raises RouterProblem when the router
    can no longer be talked to, and whatever `each` raises.
    """
    for service_id, group in groupby(differences, lambda difference: difference.service_id):
        mine = list(group)
        try:
            for step in _merged(step for difference in mine for step in difference.steps):
                await _take(router, step)
        except RouterProblem as problem:
            if problem.out_of_reach:
                raise
            applied.refused[service_id] = problem.detail or problem.cause.value
        else:
            applied.done += mine
        if each is not None:
            await each(service_id, applied.refused.get(service_id, ""))


def _merged(steps: Iterator[Step]) -> Iterator[Step]:
    """Put what is set on the same row into one command: a queue never shows half of a change."""
    waiting: Set | None = None
    for step in steps:
        if isinstance(step, Set) and waiting is not None and (step.path, step.id) == (waiting.path, waiting.id):
            waiting = Set(step.path, step.id, {**waiting.fields, **step.fields})
            continue
        if waiting is not None:
            yield waiting
        waiting = step if isinstance(step, Set) else None
        if not isinstance(step, Set):
            yield step
    if waiting is not None:
        yield waiting


async def _take(router: AsyncRouterApi, step: Step) -> None:
    match step:
        case Add(path, fields):
            await router.add(path, **fields)
        case Set(path, id_, fields):
            await router.set(path, id_, **fields)
        case Remove(path, id_):
            try:
                await router.remove(path, id_)
            except RouterProblem as problem:
                if problem.cause is not Cause.NO_SUCH_ITEM:  # somebody was quicker
                    raise
