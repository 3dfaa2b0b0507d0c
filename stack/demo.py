"""The demo: an operator with staff, plans, NAS and some forty subscribers, made once, and the network they live in.

What stands here is the people and what they bought; every password and secret is made at the first start, kept in
`demo.toml` (staff, and the line that shows how to authenticate) and in the database (services, NAS). The lab's file
is written anew at each start from what the database says by then, so a password changed in the portal is one that
the subscriber, too, has changed. The NAS are emulated routers, too, whose API the portal knows; one router more,
with clients of its own that nobody has imported yet, waits for somebody to add it.
"""

import ipaddress
import json
import secrets
import string
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.orm import Session

from aaa.facts import CapAction
from aaa.quota import billing_period
from core.clock import local_date, utc_now
from core.crypto import Keyring
from core.rates import Burst
from core.settings import BadSettings, Settings
from crm.nas import SECRET_PURPOSE, NasTerms, create_nas, new_secret
from crm.plans import PlanTerms, Window, create_plan
from db.audit import Actor, record
from db.models import ROLES, Nas, Operator, RatePlan, Router, Service, ServiceMac, Staff, Subscriber, UsagePeriod
from db.session import make_engine
from network.access import PASSWORD_PURPOSE
from network.routers import RouterTerms, attach_router
from stack.accounts import piece_account, write_private_file
from stack.demo_accounts import open_platform
from stack.demo_api import give_token
from stack.demo_billing import bill_demo
from stack.demo_captive import fetches, hotspot_port, open_hotspot
from stack.demo_desk import answer_demo
from stack.demo_gateways import open_einvoices, open_gateways, write_gateways
from stack.demo_messages import tell_demo
from stack.demo_pages import open_pages
from stack.demo_sites import place_demo
from stack.demo_vouchers import code_to_try, make_vouchers
from stack.demo_work import work_demo

SLUG = "demo"
ZONE = ZoneInfo("America/Mexico_City")
CUT_OFF_DAY = 5
TEST_LINE = "demo"  # the service that is not behind the lab: for a person to try with radtest
SERVICE_PASSWORD = "service.password"  # noqa: S105 - the name of a purpose
M = 1_000_000
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Demo:
    """What a person needs to try the demo: who may sign in, and one line that asks radiusd."""

    logins: dict[str, tuple[str, str]]  # role: e-mail address, password
    try_it: str
    new_router: str
    voucher: str = ""
    subscriber: str = ""
    hotspot: str = ""
    platform: str = ""

    def lines(self) -> dict[str, str]:
        """Return what is printed when everything is up: a title and a text for each line."""
        staff = {role.capitalize(): f"{email}  {password}" for role, (email, password) in self.logins.items()}
        return {
            **staff,
            "Subscriber": self.subscriber,
            "Try it": self.try_it,
            "A voucher": self.voucher,
            "A hotspot": self.hotspot,
            "Platform": self.platform,
            "To add": self.new_router,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One demo subscriber and the service they have. `demand` is what they would use in bit/s, down and up."""

    name: str
    user: str
    plan: str
    nas: str
    method: str = "pppoe"
    state: str = "active"
    language: str = "es"
    phone: str | None = None
    kind: str = "ppp"
    proof: str = "chap"  # how the CPE sends its password
    demand: tuple[int, int] = (12 * M, 2 * M)
    cause: str | None = None
    note: str = ""
    framed_ip: str | None = None
    delegated_prefix: str | None = None
    cap_used: float = 0.0  # of the plan's cap, in the present period
    macs: tuple[str, ...] = ()
    profile: str = "home"


NORTE, SUR, PLAZA = "Torre Norte", "Torre Sur", "Plaza Hotspot"
NAS = (
    (NORTE, "7.16", {"default": "10.64.0.0/18", "hogar": "10.64.64.0/18", "negocio": "10.64.128.0/20"}),
    (SUR, "7.12", {"default": "10.65.0.0/18", "hogar": "10.65.64.0/18", "negocio": "10.65.128.0/20"}),
    (PLAZA, "6.49", {"default": "10.66.0.0/20"}),
)

# What each NAS is as a router, beside what makes it one: see lab.routeros.live.RouterProfile.
ROUTERS: dict[str, dict[str, Any]] = {
    NORTE: {"board": "CCR2004-1G-12S+2XS", "serial": "HEX0D3M0N0RT", "packages": ["wireless"], "scenario": "few",
            "scenario_seed": 11, "busy_queues": 4, "dialling_secrets": 2, "wan_demand": 60 * M},
    SUR: {"board": "RB5009UG+S+", "serial": "HEX0D3M0SUR0", "packages": ["wireless"], "scenario": "few",
          "scenario_seed": 12, "busy_queues": 3, "wan_demand": 25 * M},
    PLAZA: {"board": "hAP ac^2", "serial": "HEX0D3M0PLZA", "wan_demand": 8 * M},
}  # fmt: skip
WAN = {NORTE: (300 * M, 150 * M), SUR: (200 * M, 100 * M), PLAZA: (50 * M, 20 * M)}  # down and up
API_USER = "portico"
VIEJA = "Torre Vieja"  # the router that nobody has added yet
VIEJA_USER = "admin"

PLANS = (
    PlanTerms("Hogar 10", 10 * M, 3 * M, price=Decimal(249), pool="hogar"),
    PlanTerms(
        "Hogar 20 Plus",
        20 * M,
        6 * M,
        price=Decimal(349),
        pool="hogar",
        burst=Burst(30 * M, 10 * M, 15 * M, 4 * M, 16),
    ),
    PlanTerms("Hogar 50", 50 * M, 15 * M, price=Decimal(549), pool="hogar", interim_interval=timedelta(minutes=1)),
    PlanTerms(
        "Noche Libre 10",
        10 * M,
        3 * M,
        price=Decimal(279),
        pool="hogar",
        windows=(Window((1, 2, 3, 4, 5, 6, 7), time(23), time(6), 40 * M, 10 * M),),
    ),
    PlanTerms(
        "Ahorro 5 (50 GB)",
        5 * M,
        2 * M,
        price=Decimal(149),
        cap_octets=50 * GB,
        cap_action=CapAction.THROTTLE,
        throttle_download=1 * M,
        throttle_upload=512_000,
        interim_interval=timedelta(minutes=1),
    ),
    PlanTerms("Básico 20 GB", 8 * M, 2 * M, price=Decimal(129), cap_octets=20 * GB, cap_action=CapAction.BLOCK),
    PlanTerms(
        "Negocio 100",
        100 * M,
        50 * M,
        price=Decimal(1499),
        pool="negocio",
        priority=3,
        minimum_download=20 * M,
        minimum_upload=10 * M,
    ),
    PlanTerms(
        "Hotspot Plaza",
        5 * M,
        1 * M,
        price=Decimal(25),
        session_timeout=timedelta(hours=4),
        idle_timeout=timedelta(minutes=15),
    ),
)

LINES = (
    Line("José María Fernández-Villalobos de la Torre", "jm.fernandez", "Hogar 20 Plus", NORTE,
         phone="+52 55 4821 7730"),
    Line("Ana Lucía Rodríguez Peña", "ana.rodriguez", "Hogar 10", NORTE, proof="mschap2"),
    Line("Guadalupe Hernández Ximénez", "lupita.hx", "Hogar 10", NORTE, proof="pap"),
    Line("Miguel Ángel Ocampo Téllez", "miguel.ocampo", "Hogar 50", NORTE, demand=(45 * M, 9 * M)),
    Line("Ferretería El Tornillo Feliz, S.A. de C.V.", "ferreteria", "Negocio 100", NORTE, profile="business",
         demand=(60 * M, 30 * M), framed_ip="10.70.0.10", delegated_prefix="2001:db8:70:100::/56"),
    Line("María del Carmen Guerrero Ruiz", "mc.guerrero", "Noche Libre 10", NORTE, demand=(38 * M, 8 * M)),
    Line("Juan Pablo Itzá Canul", "jp.itza", "Hogar 10", NORTE, state="suspended", cause="overdue",
         note="two months unpaid", phone="+52 999 155 0142"),
    Line("Emily Carter", "emily.carter", "Hogar 50", NORTE, language="en", proof="mschap2",
         demand=(40 * M, 6 * M)),
    Line("Rosa Elena Zavala Ordóñez", "rosa.zavala", "Ahorro 5 (50 GB)", NORTE, cap_used=0.99, demand=(6 * M, 2 * M)),
    Line("Escuela Primaria Benito Juárez", "escuela.bj", "Negocio 100", NORTE, profile="business",
         demand=(70 * M, 12 * M), framed_ip="10.70.0.11"),
    Line("Luis Fernando Quintanilla", "lf.quintanilla", "Hogar 20 Plus", NORTE, demand=(26 * M, 4 * M)),
    Line("Teresa Ñáñez Bárcenas", "tere.nanez", "Hogar 10", NORTE, proof="mschap1"),
    Line("Ricardo Flores Magaña", "ricardo.fm", "Básico 20 GB", NORTE, cap_used=1.02),
    Line("Panadería La Espiga Dorada", "laespiga", "Hogar 50", NORTE, profile="business", demand=(18 * M, 5 * M)),
    Line("Sofía Montserrat Castañeda Ibarra", "sofia.castaneda", "Hogar 20 Plus", SUR),
    Line("Héctor Manuel Urrutia", "hector.urrutia", "Hogar 10", SUR),
    Line("Oliver Thompson", "oliver.thompson", "Hogar 20 Plus", SUR, language="en"),
    Line("Verónica Alejandra Domínguez", "vero.dominguez", "Hogar 50", SUR, demand=(35 * M, 10 * M),
         delegated_prefix="2001:db8:70:200::/56"),
    Line("Clínica Dental Sonríe", "clinica.sonrie", "Negocio 100", SUR, profile="business", demand=(35 * M, 20 * M)),
    Line("Arturo Benítez Coronado", "arturo.benitez", "Hogar 10", SUR, state="suspended", cause="overdue"),
    Line("Daniela Itzel Cruz Morales", "dani.cruz", "Noche Libre 10", SUR),
    Line("Jorge Luis Valdivia", "jl.valdivia", "Ahorro 5 (50 GB)", SUR, cap_used=0.41, demand=(6 * M, 1 * M)),
    Line("Patricia Elizondo Garza", "paty.elizondo", "Hogar 20 Plus", SUR, state="paused"),
    Line("Transportes Huasteca", "huasteca", "Hogar 50", SUR, profile="business", state="suspended", cause="abuse",
         note="spam reported from this line"),
    Line("Francisco Javier Mondragón Lira", "paco.mondragon", "Hogar 10", SUR, state="terminated"),
    Line("Alejandra Yáñez Pacheco", "ale.yanez", "Hogar 20 Plus", SUR, state="pending"),
    Line("Rancho San Isidro", "4c:5e:0c:1a:2b:01", "Hogar 20 Plus", SUR, method="mac", kind="dhcp"),
    Line("Ignacio Zaragoza Luna", "4c:5e:0c:1a:2b:02", "Hogar 10", SUR, method="mac", kind="dhcp"),
    Line("Beatriz Adriana Solís", "4c:5e:0c:1a:2b:03", "Hogar 10", NORTE, method="mac", kind="dhcp"),
    Line("Taller Mecánico Hermanos Paz", "4c:5e:0c:1a:2b:04", "Hogar 50", NORTE, method="mac", kind="dhcp",
         profile="business"),
    Line("Norma Angélica Trejo", "4c:5e:0c:1a:2b:05", "Hogar 10", SUR, method="mac", kind="dhcp", state="suspended",
         cause="staff", note="asked to wait until she moves"),
    Line("Biblioteca Municipal", "74:4d:28:90:11:01", "Hogar 50", NORTE, method="mac", kind="wireless"),
    Line("Rubén Darío Escalante", "74:4d:28:90:11:02", "Hogar 10", SUR, method="mac", kind="wireless"),
    Line("Gabriela Monserrath Peralta", "74:4d:28:90:11:03", "Hogar 10", SUR, method="mac", kind="wireless"),
    Line("Carlos Eduardo Nava", "plaza-carlos", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot"),
    Line("Ximena Arellano", "plaza-ximena", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot"),
    Line("Grace O’Connor", "plaza-grace", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot", language="en"),
    Line("Tomás Arreola", "plaza-tomas", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot", proof="pap"),
    Line("Lorena Bustamante", "plaza-lorena", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot"),
    Line("Puesto de Tacos Don Chuy", "plaza-donchuy", "Hotspot Plaza", PLAZA, method="hotspot", kind="hotspot",
         macs=("a4:50:46:00:00:01",)),
)  # fmt: skip

STAFF = {
    "manager": "Mariana Ochoa",
    "sales": "Iván Castellanos",
    "support": "Brenda Lagunes",
    "finance": "Raquel Santillán",
    "technical": "Efraín Cisneros",
}


def seed(settings: Settings) -> Demo:
    """Make the demo if it is not there, write the lab's file, and return how to try it.

    The settings must be complete. Raises BadSettings without a database, or when the lab has too few addresses.
    """
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    engine = make_engine(settings.database_url.get_secret_value())
    keyring = settings.keyring
    try:
        with Session(engine, expire_on_commit=False) as session:
            operator = session.scalar(select(Operator).where(Operator.slug == SLUG))
            if operator is None:
                operator = _make_operator(session, settings, keyring, utc_now())
            _register_routers(session, operator.id, settings, keyring)
            logins = _logins(session, operator.id, settings)
            session.flush()
            bill_demo(session, operator.id, utc_now())
            make_vouchers(session, operator.id, keyring, utc_now())
            answer_demo(session, operator.id, utc_now())
            work_demo(session, operator.id, keyring, utc_now())
            place_demo(session, operator.id)
            tell_demo(session, keyring, operator.id, utc_now())
            give_token(session, keyring, operator.id, utc_now())
            open_gateways(session, operator.id, settings)
            open_einvoices(session, operator.id, settings, local_date(utc_now(), ZONE))
            pages = open_pages(session, operator.id, settings, new_password())
            platform = open_platform(session, operator.id, settings, new_password())
            hotspot = open_hotspot(session, operator.id, settings, keyring, PLAZA)
            session.commit()
            _write_lab(session, operator.id, settings, keyring)
            write_gateways(session, operator.id, settings)
            at = f"{new_router_address(settings)}:{settings.lab_api_port}"
            new_router = f"{VIEJA}  {at}  {VIEJA_USER}  {_vieja_password(settings)}"
            voucher = _try_voucher(session, operator.id, settings, keyring)
            try_it = _try_it(session, operator.id, settings, keyring)
            return Demo(logins, try_it, new_router, voucher, pages, hotspot, platform)
    finally:
        engine.dispose()


def nas_addresses(settings: Settings) -> list[str]:
    """Return the addresses of the demo's NAS: the lab's, and those that follow it."""
    first = ipaddress.ip_address(settings.lab_address)
    return [str(first + number) for number in range(len(NAS))]


def new_router_address(settings: Settings) -> str:
    """Return where the router is that nobody has added yet: after the NAS."""
    return str(ipaddress.ip_address(settings.lab_address) + len(NAS))


def _register_routers(session: Session, operator_id: int, settings: Settings, keyring: Keyring) -> None:
    """Say how the API of each NAS of the lab is reached, where the portal does not know yet."""
    actor = Actor(operator_id, "demo")
    known = set(session.scalars(select(Router.nas_id).where(Router.operator_id == operator_id)))
    places = dict(zip(nas_addresses(settings), NAS, strict=True))
    for nas in session.scalars(select(Nas).where(Nas.operator_id == operator_id)):
        place = places.get(str(nas.address))
        if nas.id in known or place is None:
            continue
        down, up = WAN[place[0]]
        terms = RouterTerms(API_USER, api_port=settings.lab_api_port, wan_interface="ether1", wan_download=down,
                            wan_upload=up)  # fmt: skip
        attach_router(session, actor, keyring, nas, terms, new_secret())


def _make_operator(session: Session, settings: Settings, keyring: Keyring, now: datetime) -> Operator:
    operator = Operator(
        slug=SLUG,
        name="Demo Wireless",
        locale="en",
        currency="MXN",
        timezone=ZONE.key,
        cut_off_day=CUT_OFF_DAY,
        grace_days=3,
    )
    session.add(operator)
    session.flush()
    actor = Actor(operator.id, "demo")
    record(session, actor, "operator.create", "operator", operator.id, None, {"name": operator.name})
    routers = {}
    for (name, version, _pools), address in zip(NAS, nas_addresses(settings), strict=True):
        terms = NasTerms(name, address, coa_port=settings.lab_coa_port, notes=f"Demo: RouterOS {version} of the lab")
        routers[name] = create_nas(session, actor, keyring, terms, new_secret())
    plans = {terms.name: create_plan(session, actor, terms) for terms in PLANS}
    for line in LINES:
        _add_line(session, operator, line, plans[line.plan], keyring, now)
    test = Line("Línea de prueba", TEST_LINE, "Hogar 20 Plus", NORTE, language="en")
    _add_line(session, operator, test, plans[test.plan], keyring, now, session_limit=0)
    return operator


def _add_line(
    session: Session,
    operator: Operator,
    line: Line,
    plan: RatePlan,
    keyring: Keyring,
    now: datetime,
    session_limit: int = 1,
) -> None:
    subscriber = Subscriber(
        operator_id=operator.id,
        name=line.name,
        language=line.language,
        phone=line.phone or f"+52 55 {5000 + len(line.name) * 37 % 4000:04d} {len(line.user) * 691 % 10000:04d}",
        email=None if line.method == "mac" else f"{line.user}@example.com",
        address="Calle Hidalgo 12, Centro",
        notes="",
    )
    session.add(subscriber)
    session.flush()
    period_start, period_end = billing_period(CUT_OFF_DAY, now, ZONE)
    suspended = line.state == "suspended"
    has_password = line.method in ("pppoe", "hotspot")
    service = Service(
        operator_id=operator.id,
        subscriber_id=subscriber.id,
        plan_id=plan.id,
        access_method=line.method,
        name=line.user,
        password=keyring.seal(SERVICE_PASSWORD, new_password()) if has_password else None,
        state=line.state,
        suspended_at=now - timedelta(days=9, hours=3) if suspended else None,
        suspension_cause=line.cause,
        suspension_detail=line.note,
        management="manual" if line.profile == "business" else "automatic",
        paid_until=_paid_until(line, local_date(period_end, ZONE)),
        framed_ip=line.framed_ip,
        delegated_ipv6_prefix=line.delegated_prefix,
        session_limit=session_limit,
        mac_binding="fixed" if line.macs else "any",
        activated_at=None if line.state == "pending" else now - timedelta(days=200),
        terminated_at=now - timedelta(days=20) if line.state == "terminated" else None,
    )
    session.add(service)
    session.flush()
    for mac in line.macs:
        session.add(ServiceMac(service_id=service.id, operator_id=operator.id, mac=mac))
    if line.cap_used and plan.cap_octets is not None:
        used = int(plan.cap_octets * line.cap_used)
        session.add(
            UsagePeriod(
                service_id=service.id,
                operator_id=operator.id,
                period_start=period_start,
                period_end=period_end,
                octets_in=used // 8,
                octets_out=used - used // 8,
            )
        )


def _paid_until(line: Line, period_end: date) -> date | None:
    """Return a day far enough away that the demo is still alive when somebody comes back to it after months."""
    if line.state in ("pending", "terminated"):
        return None
    if line.cause == "overdue":
        return period_end - timedelta(days=63)
    return period_end + timedelta(days=364)


def new_password() -> str:
    """Return a password that can be read out on the telephone: no letters that are taken for digits."""
    alphabet = "".join(set(string.ascii_lowercase + string.digits) - set("l1o0i"))
    return "".join(secrets.choice(sorted(alphabet)) for _ in range(12))


def _demo_file(settings: Settings) -> Path:
    return settings.data_dir / "demo.toml"


def _vieja_password(settings: Settings) -> str:
    """Return the password of the router that nobody has added yet, which is made at the first start."""
    path = settings.data_dir / "demo-router.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["password"])
    except (FileNotFoundError, tomllib.TOMLDecodeError, KeyError):
        password = new_password()
        text = f"# The demo's router to add, {VIEJA}.\npassword = {json.dumps(password)}\n"
        write_private_file(path, text, piece_account(settings))
        return password


def _logins(session: Session, operator_id: int, settings: Settings) -> dict[str, tuple[str, str]]:
    """Return a login for each role. Those that the file does not keep, or whose person is gone, are made anew."""
    kept = _read_logins(_demo_file(settings))
    logins = {}
    for role in ROLES:
        email = f"{role}@demo.example"
        person = session.scalar(select(Staff).where(Staff.operator_id == operator_id, Staff.email == email))
        if person is not None and email in kept:
            logins[role] = (email, kept[email])
            continue
        logins[role] = (email, new_password())
        if person is None:
            person = Staff(operator_id=operator_id, email=email, name=STAFF[role], roles=[role])
            session.add(person)
        person.password_hash = PasswordHasher().hash(logins[role][1])
    lines = ["# Logins of the demo operator, made at its first start.", ""]
    for role, (email, password) in logins.items():
        lines += [f"[{role}]", f"email = {json.dumps(email)}", f"password = {json.dumps(password)}", ""]
    write_private_file(_demo_file(settings), "\n".join(lines), piece_account(settings))
    return logins


def _read_logins(path: Path) -> dict[str, str]:
    try:
        kept = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, tomllib.TOMLDecodeError):
        return {}
    return {str(entry["email"]): str(entry["password"]) for entry in kept.values()}


def _try_it(session: Session, operator_id: int, settings: Settings, keyring: Keyring) -> str:
    """Return a command that authenticates a demo subscriber from a NAS of this machine."""
    service = session.scalar(
        select(Service).where(
            Service.operator_id == operator_id, Service.name == TEST_LINE, Service.state != "terminated"
        )
    )
    nas = session.scalar(select(Nas).where(Nas.operator_id == operator_id, Nas.address == nas_addresses(settings)[0]))
    if service is None or service.password is None or nas is None:
        return "the demo's test line or first NAS was removed; sign in and add another"
    server = "127.0.0.1" if settings.radius_address == "0.0.0.0" else settings.radius_address  # noqa: S104
    password = keyring.open(SERVICE_PASSWORD, service.password)
    secret = keyring.open(SECRET_PURPOSE, nas.secret)
    # The last 1 makes radtest say that the caller speaks PPP, as RouterOS does for PPPoE.
    return f"radtest {TEST_LINE} {password} {server}:{settings.auth_port} 0 {secret} 1"


def _try_voucher(session: Session, operator_id: int, settings: Settings, keyring: Keyring) -> str:
    """Return a command that redeems a voucher as a hotspot does."""
    code = code_to_try(session, operator_id, keyring)
    nas = session.scalar(select(Nas).where(Nas.operator_id == operator_id, Nas.address == nas_addresses(settings)[0]))
    if code is None or nas is None:
        return "the vouchers to try are used up; make a batch under Vouchers"
    server = "127.0.0.1" if settings.radius_address == "0.0.0.0" else settings.radius_address  # noqa: S104
    asked = f"User-Name={code},User-Password=x,Service-Type=Login-User,Calling-Station-Id=02-00-00-00-00-01"
    secret = keyring.open(SECRET_PURPOSE, nas.secret)
    return f"echo {asked},Called-Station-Id=hotspot1 | radclient {server}:{settings.auth_port} auth {secret}"


def _write_lab(session: Session, operator_id: int, settings: Settings, keyring: Keyring) -> None:
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
    users = {VIEJA_USER: _vieja_password(settings)}
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


# Who is heard of in the help desk's list of refused requests.
STRANGERS: tuple[dict[str, Any], ...] = (
    {"nas": NORTE, "name": "miguel.ocampo2", "password": "unknown-here", "mac": "d4:01:c3:00:00:01"},
    {"nas": SUR, "name": "arturo.benites", "password": "misspelt-name", "mac": "d4:01:c3:00:00:02"},
    {"nas": SUR, "name": "ale.yanez", "password": "not-her-password", "mac": "d4:01:c3:00:00:03"},
    {"nas": SUR, "name": "new-cpe", "kind": "dhcp", "method": "mac", "mac": "4c:5e:0c:77:00:01"},
    {"nas": PLAZA, "name": "voucher-2019", "kind": "hotspot", "password": "expired", "mac": "a4:50:46:77:00:01"},
    {"nas": PLAZA, "name": "ximena", "kind": "hotspot", "password": "typed-in-a-hurry", "mac": "a4:50:46:77:00:02"},
    {"nas": NORTE, "name": "new-ap", "kind": "wireless", "method": "mac", "mac": "74:4d:28:90:22:01"},
)


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
