"""NAS and the subscribers behind them: who is connected, who dials again, what a day of traffic looks like.

`Network` lives in an event loop. `BlockingNetwork` keeps one on a thread of its own, for tests and other callers
that have none.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from lab.attributes import TerminateCause
from lab.dynamic import DynamicListener
from lab.nas import Nas, Refused
from lab.profile import NasProfile
from lab.routeros.live import LiveRouter, RouterProfile
from lab.session import Session
from lab.subscriber import Demand, Profile, Subscriber, share_of_demand

Result = TypeVar("Result")

_TICK = 5.0
_BOOT_SPREAD = 3.0
_HOURS = 24
_FIRST_HOUR = 18.0  # a short look at a fresh network falls into the evening, when there is something to see


class UnknownName(LookupError):
    """No NAS or subscriber of that name is in this network."""


class Cpe:
    """The device at a subscriber's end. From the first dial until it hangs up it wants to be connected."""

    def __init__(self, network: "Network", subscriber: Subscriber, nas: Nas) -> None:
        self.subscriber = subscriber
        self.nas = nas
        self.session: Session | None = None
        self.last_refusal: Refused | None = None
        self.last_cause: TerminateCause | None = None
        self.dials = 0
        self._network = network
        self._wanted = False
        self._redial: asyncio.TimerHandle | None = None

    async def dial(self) -> Session | Refused:
        """Try once to connect. After a refusal or a lost session the CPE goes on by itself, as its subscriber says."""
        self._cancel_redial()
        self._wanted = True
        if self.session is not None:
            return self.session
        self.dials += 1
        outcome = await self.nas.login(self.subscriber)
        if isinstance(outcome, Refused):
            self.last_refusal = outcome
            self.dial_later(self.subscriber.retry_after)
        else:
            self.last_refusal = None
            self.session = outcome
            self._network.attach(outcome, self)
            if not self._wanted:  # it hung up while the NAS was asking
                self.nas.log_out(outcome)
        return outcome

    def dial_later(self, seconds: float | None) -> None:
        """Dial after some seconds; None is never."""
        self._cancel_redial()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._redial = loop.call_later(seconds, self._network.start_dialling, self)

    def hang_up(self) -> None:
        """Disconnect and stay away."""
        self._wanted = False
        self._cancel_redial()
        if self.session is not None:
            self.nas.log_out(self.session, TerminateCause.USER_REQUEST)

    def redial(self) -> None:
        """Disconnect and dial again at once, as after a restart of the CPE."""
        if self.session is not None:
            self.nas.log_out(self.session, TerminateCause.USER_REQUEST)
        self.dial_later(0)

    def set_demand(self, demand: Demand) -> None:
        """Want that much from now on, in this session and later ones."""
        self.subscriber.demand = demand
        self.subscriber.profile = Profile.STEADY
        if self.session is not None:
            self.nas.set_demand(self.session, demand)

    def ended(self, cause: TerminateCause | None) -> None:
        """Learn that the session is over; None is a power cut, after which the NAS is waited for."""
        self.session = None
        self.last_cause = cause
        if self._wanted and cause is not None:
            self.dial_later(self.subscriber.redial_after)

    def forget(self) -> None:
        self._wanted = False
        self._cancel_redial()

    @property
    def wanted(self) -> bool:
        return self._wanted

    def _cancel_redial(self) -> None:
        if self._redial is not None:
            self._redial.cancel()
            self._redial = None


class Network:
    """Many NAS and their subscribers. Use it as `async with Network() as network:`.

    `day_seconds` is how long a day of the demand curves lasts; None keeps every demand as it is. With `restlessness`
    each connected subscriber restarts its CPE that many times in such a day, on average.
    """

    def __init__(self, *, day_seconds: float | None = None, restlessness: float = 0.0, seed: int | None = None) -> None:
        self.nas: dict[str, Nas] = {}
        self.listeners: dict[str, DynamicListener] = {}
        self.routers: dict[str, LiveRouter] = {}  # by the name of the NAS
        self.cpes: dict[tuple[str, str], Cpe] = {}
        self._day_seconds = day_seconds
        self._restlessness = restlessness
        self._random = random.Random(seed)
        self._seed = seed
        self._behind: dict[str, list[Cpe]] = {}
        self._by_session: dict[tuple[str, str], Cpe] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._began = 0.0

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        if self._day_seconds is not None:
            self._keep(self._live_the_day(self._day_seconds))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for cpe in self.cpes.values():
            cpe.forget()
        for router in self.routers.values():
            await router.close()
        for listener in self.listeners.values():
            listener.close()
        for nas in self.nas.values():
            nas.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add_nas(self, profile: NasProfile, *, reboots: int = 0) -> Nas:
        """Start a NAS and its CoA listener. Raises OSError when its address or port cannot be had."""
        nas = Nas(profile, reboots=reboots, seed=self._seed)
        self.listeners[profile.name] = DynamicListener(nas)
        nas.on_end = partial(self._ended, nas)
        self.nas[profile.name] = nas
        self._behind[profile.name] = []
        return nas

    async def add_router(self, nas: str, profile: RouterProfile) -> LiveRouter:
        """Make a NAS a router as well, with an API. Raises UnknownName, and OSError when its address cannot be had."""
        (found,) = self.some_nas(nas)
        router = LiveRouter(profile, found, self.listeners[nas])
        router.on_up = partial(self._power_on, found, _BOOT_SPREAD)
        self.routers[nas] = router
        await router.start()
        return router

    def router(self, name: str) -> LiveRouter:
        """Return the router of a NAS. Raises UnknownName where it has none."""
        if name not in self.routers:
            raise UnknownName(name)
        return self.routers[name]

    def add_subscriber(self, subscriber: Subscriber, nas: str) -> Cpe:
        """Put a subscriber behind a NAS; it does not dial yet. Raises UnknownName."""
        if nas not in self.nas:
            raise UnknownName(nas)
        cpe = Cpe(self, subscriber, self.nas[nas])
        self.cpes[nas, subscriber.name] = cpe
        self._behind[nas].append(cpe)
        return cpe

    def remove_subscriber(self, subscriber: str, nas: str) -> None:
        """Take the CPE of that subscriber away from a NAS, if it has one; its session ends."""
        cpe = self.cpes.pop((nas, subscriber), None)
        if cpe is not None:
            cpe.hang_up()
            self._behind[nas].remove(cpe)

    def find(self, subscriber: str, nas: str | None = None) -> Cpe:
        """Return the CPE of a subscriber, at that NAS or at any. Raises UnknownName."""
        for (at, name), cpe in self.cpes.items():
            if name == subscriber and nas in (None, at):
                return cpe
        raise UnknownName(subscriber)

    def some_nas(self, name: str | None) -> list[Nas]:
        """Return the NAS of that name, or all of them for None. Raises UnknownName."""
        if name is None:
            return list(self.nas.values())
        if name not in self.nas:
            raise UnknownName(name)
        return [self.nas[name]]

    def sessions(self) -> Iterator[tuple[Nas, Session]]:
        for nas in self.nas.values():
            for session in nas.sessions.values():
                yield nas, session

    def start_dialling(self, cpe: Cpe) -> None:
        """Let a CPE dial without waiting for what comes of it."""
        self._keep(cpe.dial())

    def dial_all(self, cpes: Iterable[Cpe] | None = None, *, spread: float = 0.0) -> None:
        """Let CPEs (all of them by default) dial, each at a moment of its own within `spread` seconds."""
        for cpe in self.cpes.values() if cpes is None else cpes:
            cpe.dial_later(self._random.uniform(0, spread))

    def power_cut(self, nas: str | None = None, *, seconds: float | None = None, spread: float = 10.0) -> None:
        """Cut the power of one NAS or of all; after `seconds` (None: not by itself) it is back."""
        cut = self.some_nas(nas)
        for each in cut:
            each.power_cut()
        if seconds is not None:
            for each in cut:
                asyncio.get_running_loop().call_later(seconds, self._power_on, each, spread)

    def power_on(self, nas: str | None = None, *, spread: float = 10.0) -> None:
        """Let one NAS or all boot; the CPEs that want to be connected dial within `spread` seconds."""
        for each in self.some_nas(nas):
            self._power_on(each, spread)

    def _power_on(self, nas: Nas, spread: float) -> None:
        nas.power_on()
        self.dial_all((cpe for cpe in self._behind[nas.profile.name] if cpe.wanted), spread=spread)

    def attach(self, session: Session, cpe: Cpe) -> None:
        """Note whose session it is, and give it the demand of the hour."""
        self._by_session[cpe.nas.profile.name, session.id] = cpe
        if self._day_seconds is not None and cpe.subscriber.profile is not Profile.STEADY:
            cpe.nas.set_demand(session, self._demand_now(cpe.subscriber))

    def _ended(self, nas: Nas, session: Session, cause: TerminateCause | None) -> None:
        cpe = self._by_session.pop((nas.profile.name, session.id), None)
        if cpe is not None and cpe.session is session:
            cpe.ended(cause)

    async def _live_the_day(self, day_seconds: float) -> None:
        while True:
            await asyncio.sleep(_TICK)
            restart = self._restlessness * _TICK / day_seconds
            for router in self.routers.values():
                router.traffic.share_out(self._share_now)
            for cpe in tuple(self.cpes.values()):
                if cpe.session is None:
                    continue
                if self._random.random() < restart:
                    cpe.redial()
                elif cpe.subscriber.profile is not Profile.STEADY:
                    cpe.nas.set_demand(cpe.session, self._demand_now(cpe.subscriber))

    @property
    def hour(self) -> float:
        """The hour of the emulated day, 0 to 24."""
        if self._day_seconds is None:
            return _FIRST_HOUR
        passed = (asyncio.get_running_loop().time() - self._began) / self._day_seconds
        return (_FIRST_HOUR + passed * _HOURS) % _HOURS

    def _demand_now(self, subscriber: Subscriber) -> Demand:
        share = self._share_now(subscriber.profile)
        return Demand(int(subscriber.demand.download * share), int(subscriber.demand.upload * share))

    def _share_now(self, profile: Profile) -> float:
        if profile is Profile.STEADY:
            return 1.0
        return share_of_demand(profile, self.hour) * self._random.uniform(0.3, 1.0)

    def _keep(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class BlockingNetwork:
    """A `Network` on a thread of its own, whose methods wait. Use it as `with BlockingNetwork() as network:`."""

    def __init__(self, network: Network | None = None) -> None:
        self._network = network or Network()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lab", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for(self._network.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait_for(self._network.__aexit__(kind, value, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, work: Coroutine[Any, Any, Result], seconds: float = 60.0) -> Result:
        """Run a coroutine in the network's loop and return its result. Raises TimeoutError."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def call(self, function: Callable[[Network], Result]) -> Result:
        """Call a function with the network inside its loop, where NAS, CPEs and sessions may be touched."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(function(self._network))
            except Exception as problem:  # noqa: BLE001 - handed to the caller, as result() does
                done.set_exception(problem)

        self._loop.call_soon_threadsafe(run)
        return done.result(60)

    def add_nas(self, profile: NasProfile, *, reboots: int = 0) -> Nas:
        return self.call(lambda network: network.add_nas(profile, reboots=reboots))

    def add_router(self, nas: str, profile: RouterProfile | None = None) -> LiveRouter:
        """Make a NAS a router as well; its API is at a free port unless the profile names one."""
        wanted = profile or RouterProfile(api_port=0, boot_seconds=0.1)
        return self.wait_for(self._network.add_router(nas, wanted))

    def add_subscriber(self, subscriber: Subscriber, nas: str) -> Cpe:
        return self.call(lambda network: network.add_subscriber(subscriber, nas))

    def coa_port(self, nas: str) -> int:
        """Return the port on which a NAS takes CoA, which is a free one where its profile says 0."""
        return self.call(lambda network: network.listeners[nas].port)

    def dial(self, cpe: Cpe) -> Session | Refused:
        return self.wait_for(cpe.dial())

    def connect(self, subscriber: Subscriber, nas: str) -> Session | Refused:
        """Put a subscriber behind a NAS and let it dial once."""
        return self.dial(self.add_subscriber(subscriber, nas))

    def hang_up(self, cpe: Cpe) -> None:
        self.call(lambda _: cpe.hang_up())

    def set_demand(self, cpe: Cpe, demand: Demand) -> None:
        self.call(lambda _: cpe.set_demand(demand))

    def power_cut(self, nas: str | None = None, *, seconds: float | None = None, spread: float = 10.0) -> None:
        self.call(lambda network: network.power_cut(nas, seconds=seconds, spread=spread))

    def power_on(self, nas: str | None = None, *, spread: float = 10.0) -> None:
        self.call(lambda network: network.power_on(nas, spread=spread))

    def eventually(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until `condition`, asked inside the loop, is true. Raises TimeoutError when it does not become so."""
        deadline = time.monotonic() + seconds
        while not self.call(lambda _: condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {seconds:g} s")
            time.sleep(0.01)
