"""The network of the demo, as the lab is told of it: `docs/lab.md` describes the file that is written here.

It is written anew at each start from what the database says by then, so a password changed in the portal is one that
the subscriber, too, has changed. One router more than the portal knows, with clients of its own that nobody has
imported yet, waits for somebody to add it.
"""

import ipaddress
import json
import tomllib
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import Keyring
from core.settings import Settings
from crm.nas import SECRET_PURPOSE
from db.models import Nas, Router, Service
from network.access import PASSWORD_PURPOSE
from stack.accounts import piece_account, write_private_file
from stack.demo_captive import fetches, hotspot_port
from stack.demo_people import LINES, NAS, PLAZA, ROUTERS, STRANGERS, Line, M, new_password

SERVICE_PASSWORD = "service.password"  # noqa: S105 - the name of a purpose
VIEJA = "Torre Vieja"  # the router that nobody has added yet
VIEJA_USER = "admin"


def nas_addresses(settings: Settings) -> list[str]:
    """Return the addresses of the demo's NAS: the lab's, and those that follow it."""
    first = ipaddress.ip_address(settings.lab_address)
    return [str(first + number) for number in range(len(NAS))]


def new_router_address(settings: Settings) -> str:
    """Return where the router is that nobody has added yet: after the NAS."""
    return str(ipaddress.ip_address(settings.lab_address) + len(NAS))


def write_lab(session: Session, operator_id: int, settings: Settings, keyring: Keyring) -> None:
    """Write the lab's file: what docs/lab.md describes, from what the database says now."""
    routers = {nas.name: nas for nas in session.scalars(select(Nas).where(Nas.operator_id == operator_id))}
    registered = session.scalars(select(Router).where(Router.operator_id == operator_id))
    apis = {router.nas_id: router for router in registered}
    services = {
        service.name: service
        for service in session.scalars(
            select(Service).where(Service.operator_id == operator_id, Service.state != "terminated")
        )
    }
    text = [
        "# The demo's network, written at every start.",
        *_table("[lab]", {"spread": 8.0, "day_seconds": 1800.0, "restlessness": 1.5}),
    ]
    for name, version, pools in NAS:
        nas = routers.get(name)
        if nas is None:
            continue
        profile = {
            "name": name,
            "address": str(nas.address),
            "secret": keyring.open(SECRET_PURPOSE, nas.secret),
            "coa_port": nas.coa_port,
            "version": version,
            "interim_update": 60,
        }
        text += _table("[[nas]]", profile)
        text += _table("[nas.pools]", pools)
        router = apis.get(nas.id)
        if router is not None:
            hotspot = {"hotspot_port": hotspot_port(settings)} if name == PLAZA else {}
            text += _table("[nas.router]", {**ROUTERS[name], "api_port": router.api_port, **hotspot})
            text += _table("[nas.router.users]", {router.api_user: keyring.open(PASSWORD_PURPOSE, router.api_password)})
    added = next((nas for nas in routers.values() if str(nas.address) == new_router_address(settings)), None)
    text += _new_router(settings, added, apis.get(added.id) if added is not None else None, keyring)
    for number, line in enumerate(LINES, 1):
        service = services.get(line.user)
        if service is not None and line.nas in routers:
            text += _table("[[subscriber]]", _subscriber(line, service, number, keyring))
    for number, stranger in enumerate(STRANGERS):
        if stranger["nas"] in routers:
            text += _table("[[subscriber]]", {**stranger, "retry_after": 60.0 + 25 * number})
    if apis:
        text += fetches(session, operator_id, settings, keyring, PLAZA)
    write_private_file(settings.data_dir / "lab.toml", "\n".join(text) + "\n", piece_account(settings))


def _new_router(settings: Settings, added: Nas | None, api: Router | None, keyring: Keyring) -> list[str]:
    """Describe a router as an ISP brings it: full of clients, and asking no RADIUS until somebody has `added` it."""
    users = {VIEJA_USER: vieja_password(settings)}
    if api is not None:
        users[api.api_user] = keyring.open(PASSWORD_PURPOSE, api.api_password)
    nas = {
        "name": VIEJA,
        "address": new_router_address(settings),
        "secret": "not-set-up" if added is None else keyring.open(SECRET_PURPOSE, added.secret),
        "coa_port": settings.lab_coa_port if added is None else added.coa_port,
        "version": "7.16",
    }
    router = {
        "identity": VIEJA,
        "api_port": settings.lab_api_port,
        "serial": "HEX0D3M0V13J",
        "asks_radius": added is not None,
        "scenario": "small",
        "scenario_seed": 4,
        "busy_queues": 10,
        "dialling_secrets": 8,
        "wan_demand": 10 * M,
    }
    return [
        *_table("[[nas]]", nas),
        *_table("[nas.pools]", {"default": "10.67.0.0/20"}),
        *_table("[nas.router]", router),
        *_table("[nas.router.users]", users),
    ]


def _subscriber(line: Line, service: Service, number: int, keyring: Keyring) -> dict[str, Any]:
    by_mac = line.method == "mac"
    described: dict[str, Any] = {
        "nas": line.nas,
        "name": line.user,
        "kind": line.kind,
        "method": "mac" if by_mac else line.proof,
        "mac": line.user if by_mac else (line.macs[0] if line.macs else f"a4:50:46:10:00:{number:02x}"),
        "download": line.demand[0],
        "upload": line.demand[1],
        "profile": line.profile,
        "redial_after": 3.0,
        "retry_after": 45.0,
    }
    if service.password is not None:
        described["password"] = keyring.open(SERVICE_PASSWORD, service.password)
    return described


def _table(header: str, values: dict[str, Any]) -> list[str]:
    """Return a TOML table; JSON's strings and numbers are TOML's, too."""
    keys = {key: key if key.replace("_", "").isalnum() and key.isascii() else json.dumps(key) for key in values}
    written = (f"{keys[key]} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return [header, *written, ""]


def vieja_password(settings: Settings) -> str:
    """Return the password of the router that nobody has added yet, which is made at the first start."""
    path = settings.data_dir / "demo-router.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["password"])
    except (FileNotFoundError, tomllib.TOMLDecodeError, KeyError):
        password = new_password()
        text = f"# The demo's router to add, {VIEJA}.\npassword = {json.dumps(password)}\n"
        write_private_file(path, text, piece_account(settings))
        return password
