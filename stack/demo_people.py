"""Who lives in the demo, and what they bought: its NAS and routers, plans, lines, staff, and who asks in vain.

Nothing here is secret: `stack.demo` puts it into the database, `stack.demo_lab` into the network.
"""

import secrets
import string
from dataclasses import dataclass
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

from aaa.facts import CapAction
from core.rates import Burst
from crm.plans import PlanTerms, Window

M = 1_000_000
GB = 1_000_000_000


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

# Those of one sector whose power has failed: they are not behind the lab, so nobody dials in their place.
IN_THE_DARK = (
    Line("Tienda La Esperanza", "la.esperanza", "Hogar 20 Plus", SUR, profile="business"),
    Line("Marcela Islas Rentería", "marcela.islas", "Hogar 10", SUR),
    Line("Eusebio Téllez Ángeles", "eusebio.tellez", "Hogar 10", SUR),
    Line("Capilla de San Judas", "capilla.sj", "Hogar 10", SUR),
)

STAFF = {
    "manager": "Mariana Ochoa",
    "sales": "Iván Castellanos",
    "support": "Brenda Lagunes",
    "finance": "Raquel Santillán",
    "technical": "Efraín Cisneros",
}

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


def new_password() -> str:
    """Return a password that can be read out on the telephone: no letters that are taken for digits."""
    alphabet = "".join(set(string.ascii_lowercase + string.digits) - set("l1o0i"))
    return "".join(secrets.choice(sorted(alphabet)) for _ in range(12))
