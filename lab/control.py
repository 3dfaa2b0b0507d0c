"""Orders to a running network: from the timeline of a scenario, or as JSON lines through a Unix socket.

One order is an object with `do` and its arguments; one line comes back, `{"ok": true, …}` or `{"ok": false,
"error": "…"}`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lab.faults import Faults
from lab.nas import Refused
from lab.network import Network, UnknownName
from lab.routeros.faults import Faults as ApiFaults
from lab.routeros.live_traffic import StaticClient
from lab.routeros.script_device import terminal
from lab.scenario import BadScenario, read_subscribers
from lab.session import Session
from lab.subscriber import Demand


class BadOrder(Exception):
    """The order cannot be carried out; `str()` says why."""


async def perform(network: Network, order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one order and return what there is to tell. Raises BadOrder."""
    arguments = dict(order)
    name = arguments.pop("do", None)
    action = _ORDERS.get(str(name))
    if action is None:
        raise BadOrder(f"{name!r} is no order; there are {', '.join(_ORDERS)}")
    try:
        told: dict[str, Any] = await action(network, **arguments)
    except UnknownName as problem:
        raise BadOrder(f"{problem} is not in this network") from None
    except (TypeError, ValueError) as problem:
        raise BadOrder(str(problem).replace(f"{action.__name__}()", f"{name}:")) from None
    return told


async def _status(network: Network) -> dict[str, Any]:
    return {
        "hour": round(network.hour, 2),
        "nas": {
            name: {
                "powered": nas.powered,
                "sessions": len(nas.sessions),
                "requests": nas.counters.requests,
                "accepts": nas.counters.accepts,
                "rejects": nas.counters.rejects,
                "resends": nas.counters.resends,
                "timeouts": nas.counters.timeouts,
                "bad_replies": nas.counters.bad_replies,
                "accounting_forgotten": nas.counters.accounting_forgotten,
                "coa_requests": network.listeners[name].counters.requests,
                "coa_acks": network.listeners[name].counters.acks,
                "coa_naks": network.listeners[name].counters.naks,
                "coa_bad_requests": network.listeners[name].counters.bad_requests,
            }
            for name, nas in network.nas.items()
        },
        "routers": {
            name: {
                "api": f"{router.server.address}:{router.server.port}",
                "version": str(router.box.version),
                "connections": len(router.server.connections),
                "download": round(8 * router.traffic.throughput[1]),
                "upload": round(8 * router.traffic.throughput[0]),
            }
            for name, router in network.routers.items()
        },
    }


async def _sessions(network: Network, nas: str | None = None) -> dict[str, Any]:
    chosen = network.some_nas(nas)
    return {"sessions": [describe(session, each.profile.name) for each in chosen for session in each.sessions.values()]}


def describe(session: Session, nas: str) -> dict[str, Any]:
    """Return what can be told of a session, as JSON has it."""
    now = asyncio.get_running_loop().time()
    uploaded, downloaded = session.octets(now)
    return {
        "nas": nas,
        "id": session.id,
        "subscriber": session.subscriber.name,
        "user_name": session.user_name,
        "address": session.address,
        "rate": session.grant.rate_text,
        "address_list": session.grant.address_list,
        "seconds": int(now - session.started),
        "uploaded": uploaded,
        "downloaded": downloaded,
    }


async def _subscribers(network: Network, nas: str | None = None) -> dict[str, Any]:
    """Tell of each subscriber whether it is connected, and if not, why."""
    chosen = {each.profile.name for each in network.some_nas(nas)}
    return {
        "subscribers": [
            {
                "nas": at,
                "subscriber": name,
                "connected": cpe.session is not None,
                "dials": cpe.dials,
                "refused": cpe.last_refusal and cpe.last_refusal.cause,
                "message": cpe.last_refusal and cpe.last_refusal.message,
                "ended": cpe.last_cause and cpe.last_cause.name.lower(),
            }
            for (at, name), cpe in network.cpes.items()
            if at in chosen
        ]
    }


async def _connect(network: Network, subscriber: str, nas: str | None = None) -> dict[str, Any]:
    cpe = network.find(subscriber, nas)
    outcome = await cpe.dial()
    if isinstance(outcome, Refused):
        return {"connected": False, "cause": outcome.cause, "message": outcome.message}
    return {"connected": True, "session": describe(outcome, cpe.nas.profile.name)}


async def _install(network: Network, subscriber: str, **described: Any) -> dict[str, Any]:
    """Put somebody new behind a NAS, as a technician puts up a CPE, and let it dial.

    `described` is what [[subscriber]] has in the file. Who is there already gets a CPE in place of the one before.
    """
    # `portico lab tell` reads what looks like a number as one.
    texts: dict[str, Any] = {name: str(described[name]) for name in ("password", "mac") if name in described}
    try:
        ((nas, wanted),) = read_subscribers({**described, **texts, "name": str(subscriber), "count": 1}, "install")
    except BadScenario as problem:
        raise BadOrder(str(problem)) from None
    network.remove_subscriber(wanted.name, nas)
    network.add_subscriber(wanted, nas)
    return await _connect(network, wanted.name, nas)


async def _hang_up(network: Network, subscriber: str, nas: str | None = None) -> dict[str, Any]:
    network.find(subscriber, nas).hang_up()
    return {}


async def _redial(network: Network, subscriber: str, nas: str | None = None) -> dict[str, Any]:
    network.find(subscriber, nas).redial()
    return {}


async def _demand(
    network: Network, subscriber: str, download: int, upload: int, nas: str | None = None
) -> dict[str, Any]:
    network.find(subscriber, nas).set_demand(Demand(int(download), int(upload)))
    return {}


async def _interim(network: Network, subscriber: str, nas: str | None = None) -> dict[str, Any]:
    cpe = network.find(subscriber, nas)
    if cpe.session is None:
        raise BadOrder(f"{subscriber} is not connected")
    cpe.nas.send_interim(cpe.session)
    return {}


async def _traffic(
    network: Network, subscriber: str, downloaded: int = 0, uploaded: int = 0, nas: str | None = None
) -> dict[str, Any]:
    """Count octets at once, as after a big download, and report them."""
    cpe = network.find(subscriber, nas)
    if cpe.session is None:
        raise BadOrder(f"{subscriber} is not connected")
    cpe.session.count(int(uploaded), int(downloaded))
    cpe.nas.send_interim(cpe.session)
    return {}


async def _power_cut(
    network: Network, nas: str | None = None, seconds: float | None = None, spread: float = 10.0
) -> dict[str, Any]:
    network.power_cut(nas, seconds=seconds, spread=spread)
    return {}


async def _power_on(network: Network, nas: str | None = None, spread: float = 10.0) -> dict[str, Any]:
    network.power_on(nas, spread=spread)
    return {}


async def _faults(network: Network, nas: str | None = None, **wanted: float | bool) -> dict[str, Any]:
    if unknown := set(wanted) - set(Faults.__dataclass_fields__):
        raise BadOrder(f"{min(unknown)!r} is no fault")
    for each in network.some_nas(nas):
        for name, value in wanted.items():
            setattr(each.faults, name, value)
    return {}


async def _local_secret(network: Network, nas: str, name: str, password: str | None = None) -> dict[str, Any]:
    """Add a local secret to a NAS, or take it away when there is no password."""
    for each in network.some_nas(nas):
        if nas in network.routers:
            secrets = network.routers[nas].box.table("/ppp/secret")
            for row in secrets.find(name=name):
                secrets.drop(row)
            if password is not None:
                network.routers[nas].box.fill("/ppp/secret", {"name": name, "password": password})
        elif password is None:
            each.terms.local_secrets.pop(name, None)
        else:
            each.terms.local_secrets[name] = password
    return {}


async def _reboot(network: Network, router: str) -> dict[str, Any]:
    network.router(router).box.reboot()
    return {}


async def _api_faults(network: Network, router: str, **wanted: Any) -> dict[str, Any]:
    """Let the API of a router misbehave: any field of `lab.routeros.faults`."""
    faults = network.router(router).box.faults
    for name, value in wanted.items():
        if name not in ApiFaults.__dataclass_fields__ or name == "traps":
            raise BadOrder(f"{name!r} is no fault of an API")
        setattr(faults, name, value.encode() if name == "garbage" else value)
    return {}


async def _api(network: Network, router: str, on: bool = True) -> dict[str, Any]:
    """Switch the API service of a router off or on; connections that are open end."""
    found = network.router(router)
    services = found.box.table("/ip/service")
    for name in ("api", "api-ssl"):
        row = services.first(name=name)
        if row is not None:
            services.change(row, {"disabled": "false" if on else "true"})
    if not on:
        found.server.drop_connections()
    return {}


async def _password(network: Network, router: str, password: str, user: str | None = None) -> dict[str, Any]:
    """Change the password of a user of a router: the first of its profile by default."""
    found = network.router(router)
    wanted = user or next(iter(found.profile.users))
    row = found.box.table("/user").first(name=wanted)
    if row is None:
        raise BadOrder(f"{router} has no user {wanted!r}")
    found.box.table("/user").change(row, {"password": password})
    found.server.drop_connections()
    return {}


async def _slow(network: Network, router: str, seconds: float = 0.0) -> dict[str, Any]:
    """Let each answer of a router's API begin so many seconds late; 0 ends it."""
    network.router(router).box.faults.reply_delay = float(seconds)
    return {}


async def _congest(network: Network, router: str, download: int = 0, upload: int = 0) -> dict[str, Any]:
    """Load a router's WAN with so many bit/s of others; 0 and 0 end it."""
    network.router(router).congest(int(download), int(upload))
    return {}


async def _client(network: Network, router: str, address: str, download: int = 0, upload: int = 0) -> dict[str, Any]:
    """Put a static client behind a router, or let the one that is there want more or less."""
    try:
        IPv4Address(address)
    except ValueError:
        raise BadOrder(f"{address!r} is no address") from None
    found, demand = network.router(router), Demand(int(download), int(upload))
    if address in found.traffic.clients:
        found.traffic.set_demand(address, demand)
    else:
        found.add_client(StaticClient(address, demand))
    return {}


async def _paste(network: Network, router: str, file: str = "", text: str = "") -> dict[str, Any]:
    """Paste a script into a router's terminal: what it prints, and what failed."""
    if file:
        try:
            text = await asyncio.to_thread(Path(file).read_text, "utf-8", "surrogateescape")
        except OSError as problem:
            raise BadOrder(f"{file}: {problem.strerror}") from None
    session = terminal(network.router(router).box)
    failures = await asyncio.to_thread(session.paste, text)  # a script may fetch, and that takes time
    return {"output": session.output, "failed": [str(each) for each in failures]}


async def _http(network: Network, router: str, address: str, destination: str = "198.51.100.80") -> dict[str, Any]:
    """Tell where a GET of somebody behind a router arrives: at its destination, at the captive page, or nowhere."""
    return {"reaches": network.router(router).http_from(address, destination)}


_ORDERS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "status": _status,
    "sessions": _sessions,
    "subscribers": _subscribers,
    "connect": _connect,
    "install": _install,
    "hang-up": _hang_up,
    "redial": _redial,
    "demand": _demand,
    "traffic": _traffic,
    "interim": _interim,
    "power-cut": _power_cut,
    "power-on": _power_on,
    "faults": _faults,
    "local-secret": _local_secret,
    "reboot": _reboot,
    "api": _api,
    "api-faults": _api_faults,
    "password": _password,
    "slow": _slow,
    "congest": _congest,
    "client": _client,
    "paste": _paste,
    "http": _http,
}


@asynccontextmanager
async def control_socket(network: Network, path: Path) -> AsyncIterator[None]:
    """Take orders at a Unix socket, as long as the context lasts. What lay there before is replaced."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(network, line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # the other side went away, or sent a line without end
            pass
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def _answer(network: Network, line: bytes) -> dict[str, Any]:
    try:
        order = json.loads(line)
        if not isinstance(order, dict):
            raise BadOrder("an order is an object")
        return {"ok": True, **await perform(network, order)}
    except json.JSONDecodeError as problem:
        return {"ok": False, "error": f"not JSON: {problem}"}
    except BadOrder as problem:
        return {"ok": False, "error": str(problem)}
