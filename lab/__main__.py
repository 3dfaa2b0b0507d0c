"""`portico lab` (or `python -m lab`): run an emulated network, let a storm loose on an installation, try one login."""

import asyncio
import json
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import click

from aaa.facts import AccessKind
from core.settings import BadSettings, read_settings
from lab.control import BadOrder, control_socket, perform
from lab.gateways import Account, Providers
from lab.mail import Mailbox
from lab.nas import Nas, Refused
from lab.network import Network
from lab.profile import NasProfile, Server
from lab.scenario import BadScenario, Scenario, read_scenario
from lab.storm import Storm, ride
from lab.subscriber import Method, Subscriber

_methods = click.Choice([method.value for method in Method])
_STORM = Storm()
_kinds = click.Choice([kind.value for kind in AccessKind])


class NoDemo(click.ClickException):
    """There is nothing to run."""


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def command(context: click.Context) -> None:
    """Try Portico without hardware: emulated NAS with subscribers behind them, speaking real RADIUS.

    Without a command it runs the demo's network.
    """
    if context.invoked_subcommand is None:
        context.invoke(demo)


@command.command("run")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--for", "seconds", type=float, help="Stop after so many seconds; else on Ctrl-C.")
@click.option("--control", type=click.Path(path_type=Path), help="Take orders at this Unix socket.")
def run_command(scenario: Path, seconds: float | None, control: Path | None) -> None:
    """Run the network of a scenario file (see docs/lab.md)."""
    _run(_read(scenario), seconds, control)


@command.command("demo")
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option("--for", "seconds", type=float, help="Stop after so many seconds; else on Ctrl-C.")
def demo(scenario: Path | None = None, seconds: float | None = None) -> None:
    """Run the demo's network: `lab.toml` in the data directory, against this installation's radiusd."""
    try:
        settings = read_settings()
    except BadSettings as problem:
        raise NoDemo(str(problem)) from None
    path = scenario or settings.data_dir / "lab.toml"
    if not path.exists():
        raise NoDemo(f"{path} is not there; the demo's seeding writes it")
    address = "127.0.0.1" if settings.radius_address == "0.0.0.0" else settings.radius_address  # noqa: S104
    server = {"address": address, "auth_port": settings.auth_port, "acct_port": settings.acct_port}
    control = settings.run_dir / "lab.sock"
    accounts = _accounts(settings.data_dir / "providers.json")
    with ExitStack() as stack:
        if accounts:
            kept = settings.data_dir / "einvoices.jsonl"
            try:
                stack.enter_context(Providers(accounts, settings.lab_address, settings.lab_gateway_port, kept))
            except OSError as problem:
                raise click.ClickException(f"PORTICO_LAB_GATEWAY_PORT: {problem}") from None
            click.echo(f"lab: payment providers are at port {settings.lab_gateway_port}", err=True)
        try:
            box = Mailbox(settings.lab_address, settings.lab_mail_port, settings.lab_mail_page_port)
            click.echo(f"lab: the demo's mail is at {stack.enter_context(box).url}", err=True)
        except OSError as problem:  # another demo of this machine has the ports; mail waits then
            click.echo(f"lab: no mail is taken (PORTICO_LAB_MAIL_PORT, …PAGE_PORT): {problem}", err=True)
        _run(_read(path, server), seconds, control if control.parent.is_dir() else None)


@command.command("storm")
@click.option("--subscribers", default=50_000, show_default=True)
@click.option("--nas", default=50, show_default=True)
@click.option("--server", default="127.0.0.1", show_default=True)
@click.option("--auth-port", default=1812, show_default=True)
@click.option("--acct-port", default=1813, show_default=True)
@click.option("--secret", default=_STORM.secret, show_default=True)
@click.option("--name", default=_STORM.name, show_default=True, help="User name; n counts from 0.")
@click.option("--password", default=_STORM.password, show_default=True)
@click.option("--nas-address", default=_STORM.nas_address, show_default=True, help="n, hundreds, ones (1 to 100).")
@click.option("--method", type=_methods, default=Method.CHAP.value, show_default=True)
@click.option("--spread", default=_STORM.spread, show_default=True, help="Seconds within which all begin to dial.")
@click.option("--at-once", default=_STORM.logins_at_once, show_default=True, help="Logins a NAS negotiates at a time.")
@click.option("--pause", default=_STORM.pause, show_default=True, help="Seconds that the power is away.")
@click.option("--timeout", default=_STORM.timeout, show_default=True, help="Seconds before a request is sent again.")
def storm_command(
    subscribers: int,
    nas: int,
    server: str,
    auth_port: int,
    acct_port: int,
    secret: str,
    name: str,
    password: str,
    nas_address: str,
    method: str,
    spread: float,
    at_once: int,
    pause: float,
    timeout: float,
) -> None:
    """Connect everybody, cut the power, and time the return; prints JSON. Exit status 1 if not all came back."""
    _allow_many_sockets()
    storm = Storm(
        subscribers=subscribers,
        nas=nas,
        server=Server(server, auth_port, acct_port),
        secret=secret,
        name=name,
        password=password,
        nas_address=nas_address,
        method=Method(method),
        spread=spread,
        logins_at_once=at_once,
        pause=pause,
        timeout=timeout,
    )
    report = asyncio.run(ride(storm))
    click.echo(json.dumps(report.as_dict(), indent=2))
    sys.exit(0 if report.all_back else 1)


@command.command("login")
@click.argument("name")
@click.argument("password", default="")
@click.option("--method", type=_methods, default=Method.CHAP.value, show_default=True)
@click.option("--kind", type=_kinds, default=AccessKind.PPP.value, show_default=True)
@click.option("--mac", default="02:00:00:00:00:01", show_default=True)
@click.option("--mac-format", default="XX:XX:XX:XX:XX:XX", show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="The NAS's address.")
@click.option("--secret", default="testing123", show_default=True)
@click.option("--server", default="127.0.0.1", show_default=True)
@click.option("--auth-port", default=1812, show_default=True)
@click.option("--acct-port", default=1813, show_default=True)
@click.option("--hold", default=0.0, show_default=True, help="Stay connected for so many seconds.")
def login(
    name: str,
    password: str,
    method: str,
    kind: str,
    mac: str,
    mac_format: str,
    address: str,
    secret: str,
    server: str,
    auth_port: int,
    acct_port: int,
    hold: float,
) -> None:
    """Let one subscriber connect and hang up again; prints JSON. Exit status 1 if it was refused."""
    profile = NasProfile("lab-login", address, secret, Server(server, auth_port, acct_port))
    subscriber = Subscriber(name, password, AccessKind(kind), Method(method), mac, mac_format=mac_format)
    told = asyncio.run(_login(profile, subscriber, hold))
    click.echo(json.dumps(told, indent=2))
    sys.exit(0 if told["connected"] else 1)


@command.command("tell")
@click.argument("order")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--control", type=click.Path(path_type=Path), help="The lab's socket; the demo's by default.")
def tell(order: str, arguments: tuple[str, ...], control: Path | None) -> None:
    """Give an order to a running lab, such as `redial subscriber=ana` or `power-cut seconds=5`."""
    path = control or read_settings().run_dir / "lab.sock"
    wanted: dict[str, Any] = {"do": order}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator:
            raise click.UsageError(f"{argument!r} is not NAME=VALUE")
        wanted[key] = _value(value)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError as problem:
            raise click.ClickException(f"{path}: {problem.strerror}") from None
        connection.sendall(json.dumps(wanted).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    sys.exit(0 if answer["ok"] else 1)


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except json.JSONDecodeError:
        return written


def _read(path: Path, server: dict[str, Any] | None = None) -> Scenario:
    """Read a scenario; one that names no server gets the one given."""
    try:
        return read_scenario(path, server)
    except BadScenario as problem:
        raise click.ClickException(str(problem)) from None


def _accounts(path: Path) -> dict[str, Account]:
    """Return the operator's accounts with the payment providers that the lab plays; none without the file."""
    if not path.exists():
        return {}
    return {kind: Account(**values) for kind, values in json.loads(path.read_text()).items()}


def _run(scenario: Scenario, seconds: float | None, control: Path | None) -> None:
    _allow_many_sockets()
    try:
        asyncio.run(_live(scenario, seconds, control or scenario.control))
    except OSError as problem:
        raise click.ClickException(str(problem)) from None


async def _live(scenario: Scenario, seconds: float | None, control: Path | None) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(scenario.network())
        scenario.build(network)
        await scenario.build_routers(network)
        if control is not None:
            await stack.enter_async_context(control_socket(network, control))
        network.dial_all(spread=scenario.spread)
        click.echo(f"lab: {len(network.nas)} NAS, {len(network.cpes)} subscribers", err=True)
        for router in network.routers.values():
            served = f"{router.server.address}:{router.server.port}"
            click.echo(f"lab: the API of {router.nas.profile.name} is at {served}", err=True)
        timeline = loop.create_task(_follow(network, scenario))
        if seconds is None:
            await stopped.wait()
        else:
            loop.call_later(seconds, stopped.set)
            await stopped.wait()
        timeline.cancel()
        await asyncio.gather(timeline, return_exceptions=True)
        for cpe in network.cpes.values():
            cpe.hang_up()
        await asyncio.sleep(0.2)  # the Stops of an orderly end get out, and their answers are not waited for


async def _follow(network: Network, scenario: Scenario) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for event in sorted(scenario.events, key=lambda event: event.at):
        await asyncio.sleep(max(0.0, began + event.at - loop.time()))
        try:
            told = await perform(network, event.order)
        except BadOrder as problem:
            told = {"error": str(problem)}
        click.echo(f"lab: {event.at:g} s: {json.dumps(dict(event.order))} {json.dumps(told)}", err=True)


async def _login(profile: NasProfile, subscriber: Subscriber, hold: float) -> dict[str, Any]:
    nas = Nas(profile)
    try:
        began = asyncio.get_running_loop().time()
        outcome = await nas.login(subscriber)
        seconds = round(asyncio.get_running_loop().time() - began, 6)
        if isinstance(outcome, Refused):
            return {"connected": False, "cause": outcome.cause, "message": outcome.message, "seconds": seconds}
        grant = outcome.grant
        await asyncio.sleep(hold)
        nas.log_out(outcome)
        await nas.settled()
        return {
            "connected": True,
            "session": outcome.id,
            "address": outcome.address,
            "rate": grant.rate_text,
            "address_list": grant.address_list,
            "session_timeout": grant.session_timeout,
            "interim_interval": grant.interim_interval,
            "seconds": seconds,
        }
    finally:
        nas.close()


def _allow_many_sockets() -> None:
    """Raise the soft limit of open files to the hard one: each NAS takes several sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    command(prog_name="python -m lab")
