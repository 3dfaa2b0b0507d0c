"""The demo: an operator with staff, plans, NAS and some forty subscribers, made once, and how to try it.

Who they are stands in `stack.demo_people`; every password and secret is made at the first start, kept in `demo.toml`
(staff, and the line that shows how to authenticate) and in the database (services, NAS). The NAS are emulated routers,
too, whose API the portal knows (`stack.demo_lab`).
"""

import json
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.orm import Session

from aaa.quota import billing_period
from core.clock import local_date, utc_now
from core.crypto import Keyring
from core.settings import BadSettings, Settings
from crm.nas import SECRET_PURPOSE, NasTerms, create_nas, new_secret
from crm.plans import create_plan
from db.audit import Actor, record
from db.models import ROLES, Nas, Operator, RatePlan, Router, Service, ServiceMac, Staff, Subscriber, UsagePeriod
from db.session import make_engine
from network.routers import RouterTerms, attach_router
from stack.accounts import piece_account, write_private_file
from stack.demo_accounts import open_platform
from stack.demo_api import give_token
from stack.demo_billing import bill_demo
from stack.demo_captive import open_hotspot
from stack.demo_currencies import take_dollars
from stack.demo_desk import answer_demo
from stack.demo_fields import describe_demo
from stack.demo_gateways import open_einvoices, open_gateways, write_gateways
from stack.demo_lab import (
    SERVICE_PASSWORD,
    VIEJA,
    VIEJA_USER,
    nas_addresses,
    new_router_address,
    vieja_password,
    write_lab,
)
from stack.demo_messages import tell_demo
from stack.demo_outage import darken_demo
from stack.demo_pages import open_pages
from stack.demo_people import API_USER, IN_THE_DARK, LINES, NAS, NORTE, PLANS, PLAZA, STAFF, WAN, Line, new_password
from stack.demo_sites import place_demo
from stack.demo_usage import use_demo
from stack.demo_vouchers import code_to_try, make_vouchers
from stack.demo_webhooks import listen_demo
from stack.demo_work import work_demo

SLUG = "demo"
ZONE = ZoneInfo("America/Mexico_City")
CUT_OFF_DAY = 5
TEST_LINE = "demo"  # the service that is not behind the lab: for a person to try with radtest


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
            use_demo(session, operator.id, operator.timezone, utc_now())
            bill_demo(session, operator.id, utc_now())
            take_dollars(session, operator.id, utc_now())
            make_vouchers(session, operator.id, keyring, utc_now())
            answer_demo(session, operator.id, utc_now())
            work_demo(session, operator.id, keyring, settings.public_url, utc_now())
            place_demo(session, operator.id)
            darken_demo(session, operator.id, utc_now())
            describe_demo(session, operator.id)
            tell_demo(session, settings, operator.id, utc_now())
            give_token(session, keyring, operator.id, utc_now())
            open_gateways(session, operator.id, settings)
            listen_demo(session, settings, operator.id)
            open_einvoices(session, operator.id, settings, local_date(utc_now(), ZONE))
            pages = open_pages(session, operator.id, settings, new_password())
            platform = open_platform(session, operator.id, settings, new_password())
            hotspot = open_hotspot(session, operator.id, settings, keyring, PLAZA)
            session.commit()
            write_lab(session, operator.id, settings, keyring)
            write_gateways(session, operator.id, settings)
            at = f"{new_router_address(settings)}:{settings.lab_api_port}"
            new_router = f"{VIEJA}  {at}  {VIEJA_USER}  {vieja_password(settings)}"
            voucher = _try_voucher(session, operator.id, settings, keyring)
            try_it = _try_it(session, operator.id, settings, keyring)
            return Demo(logins, try_it, new_router, voucher, pages, hotspot, platform)
    finally:
        engine.dispose()


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
    for number, line in enumerate((*LINES, *IN_THE_DARK)):
        since = now - timedelta(days=6 if line.state == "pending" else 210 + 37 * number % 600)
        _add_line(session, operator, line, plans[line.plan], keyring, now, since)
    test = Line("Línea de prueba", TEST_LINE, "Hogar 20 Plus", NORTE, language="en")
    _add_line(session, operator, test, plans[test.plan], keyring, now, now - timedelta(days=210), session_limit=0)
    return operator


def _add_line(
    session: Session,
    operator: Operator,
    line: Line,
    plan: RatePlan,
    keyring: Keyring,
    now: datetime,
    since: datetime,
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
        created_at=since,
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
        created_at=since,
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


def _demo_file(settings: Settings) -> Path:
    return settings.data_dir / "demo.toml"


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
