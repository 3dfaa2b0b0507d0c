"""The storm after a power cut: everybody's session is gone and everybody dials at once.

All subscribers connect, the power fails behind every NAS, comes back, and the clock runs until the last one is
online again. The subscribers are those that exist in the installation; their names and passwords follow a pattern.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lab.client import Answer
from lab.nas import Refusal, Refused
from lab.network import Cpe, Network
from lab.profile import NasProfile, Server
from lab.session import Session
from lab.subscriber import Method, Subscriber

LOCAL = Server()
_DIAL_AGAIN = 3.0


@dataclass(frozen=True, slots=True)
class Storm:
    """What to let loose. `name`, `password` and `nas_address` are filled with the number `n` of each, from 0.

    `spread` is within how many seconds the CPEs find that the NAS is back; `logins_at_once` is how many each NAS
    negotiates at a time, `pause` how long the power is away.
    """

    subscribers: int = 50_000
    nas: int = 50
    server: Server = LOCAL
    secret: str = "testing123"  # noqa: S105 - a default for trying, named in the help
    name: str = "sub{n:06d}"
    password: str = "pw{n:06d}"  # noqa: S105
    nas_address: str = "127.1.{hundreds}.{ones}"
    method: Method = Method.CHAP
    spread: float = 5.0
    logins_at_once: int = 10
    timeout: float = 3.0
    patience: float = 300.0
    pause: float = 0.05


@dataclass(frozen=True, slots=True)
class Phase:
    """How one mass login went. Lengths are seconds; an answer's time runs from the first sending of its request."""

    online: int
    seconds: float
    logins_per_second: float
    answer_p50: float
    answer_p99: float
    answer_max: float
    rejected: int
    retransmissions: int
    unanswered: int
    accounting_forgotten: int


@dataclass(frozen=True, slots=True)
class StormReport:
    subscribers: int
    nas: int
    method: str
    connected: Phase
    returned: Phase

    @property
    def all_back(self) -> bool:
        """Whether everybody is online again and nobody was turned away."""
        return self.returned.online == self.subscribers and not self.returned.rejected

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "all_back": self.all_back}


async def ride(storm: Storm) -> StormReport:
    """Let the storm loose and return how it went. Raises OSError when a NAS's address cannot be had."""
    async with Network() as network:
        names = [f"storm-{number:03d}" for number in range(storm.nas)]
        answers: list[float] = []
        for number, name in enumerate(names):
            nas = network.add_nas(
                NasProfile(
                    name=name,
                    address=nas_address(storm, number),
                    secret=storm.secret,
                    server=storm.server,
                    coa_port=0,
                    timeout=storm.timeout,
                    interim_update=0,
                    logins_at_once=storm.logins_at_once,
                    pools=(("default", f"10.{number % 256}.0.0/16"),),
                )
            )
            nas.on_answer = lambda answer: _note(answers, answer)
        cpes = [
            network.add_subscriber(
                Subscriber(
                    name=storm.name.format(n=number),
                    password=storm.password.format(n=number),
                    method=storm.method,
                    mac=f"02{number:010x}",
                    redial_after=None,
                    retry_after=None,  # those turned away are counted and sent again below
                ),
                names[number % storm.nas],
            )
            for number in range(storm.subscribers)
        ]
        connected = await _mass_login(network, cpes, answers, storm)
        network.power_cut()
        answers.clear()
        await asyncio.sleep(storm.pause)
        for nas in network.nas.values():
            nas.power_on()
        returned = await _mass_login(network, cpes, answers, storm)
    return StormReport(storm.subscribers, storm.nas, storm.method.value, connected, returned)


def nas_address(storm: Storm, number: int) -> str:
    """Return the source address of a NAS of the storm; the installation must know it as one of its NAS."""
    return storm.nas_address.format(n=number, hundreds=number // 100, ones=number % 100 + 1)


def _note(answers: list[float], answer: Answer) -> None:
    answers.append(answer.seconds)


async def _mass_login(network: Network, cpes: Sequence[Cpe], answers: list[float], storm: Storm) -> Phase:
    loop = asyncio.get_running_loop()
    before = _totals(network)
    began = loop.time()
    rejected = 0
    done = loop.create_future()
    online = 0

    async def until_online(cpe: Cpe) -> None:
        nonlocal online, rejected
        outcome: Session | Refused = await cpe.dial()
        while isinstance(outcome, Refused) and loop.time() - began < storm.patience:
            if outcome.cause is Refusal.REJECTED:
                rejected += 1
            await asyncio.sleep(_DIAL_AGAIN)
            outcome = await cpe.dial()
        online += isinstance(outcome, Session)
        if online == len(cpes) and not done.done():
            done.set_result(loop.time())

    tasks: set[asyncio.Task[None]] = set()

    def start(cpe: Cpe) -> None:
        tasks.add(loop.create_task(until_online(cpe)))

    for position, cpe in enumerate(cpes):
        loop.call_later(storm.spread * position / len(cpes), start, cpe)
    try:
        ended = await asyncio.wait_for(done, storm.patience + storm.spread)
    except TimeoutError:
        ended = loop.time()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for nas in network.nas.values():
        await nas.settled()
    after = _totals(network)
    seconds = ended - began
    return Phase(
        online=sum(len(nas.sessions) for nas in network.nas.values()),
        seconds=round(seconds, 3),
        logins_per_second=round(online / seconds, 1),
        answer_p50=_quantile(answers, 0.5),
        answer_p99=_quantile(answers, 0.99),
        answer_max=_quantile(answers, 1.0),
        rejected=rejected,
        retransmissions=after.resends - before.resends,
        unanswered=after.timeouts - before.timeouts,
        accounting_forgotten=after.forgotten - before.forgotten,
    )


@dataclass(frozen=True, slots=True)
class _Totals:
    resends: int
    timeouts: int
    forgotten: int


def _totals(network: Network) -> _Totals:
    counters = [nas.counters for nas in network.nas.values()]
    return _Totals(
        sum(each.resends for each in counters),
        sum(each.timeouts for each in counters),
        sum(each.accounting_forgotten for each in counters),
    )


def _quantile(values: list[float], share: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 6)
