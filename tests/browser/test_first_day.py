"""A stranger's first day, in Spanish: from the page to sign in to a subscriber who was cut, paid and is back.

She knows nothing but the list of first steps and the manual: each link and button that she presses is named there in
bold, and nothing that she reads on the way is English.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.clock import local_date, utc_now
from core.settings import Settings
from crm.accounts import make_platform
from crm.notices import send_due
from db.session import make_engine, make_sessions
from lab.mail import Mailbox
from lab.network import BlockingNetwork, Cpe
from lab.profile import NasProfile, Server
from lab.routeros.live import LiveRouter, RouterProfile
from lab.routeros.script_device import paste
from lab.subscriber import Method, Subscriber
from stack.installation import PROJECT
from stack.pieces import RunningPiece
from stack.programs import loader_piece, portal_piece, publisher_piece, worker_piece
from stack.radiusd import radiusd_piece
from stack.translations import read_catalogue
from tests.system.conftest import wait_until

pytestmark = pytest.mark.browser

PASSWORD = "tres antenas sobre el granero azul"
ADDRESS = "127.0.46.1"
GUIDE = PROJECT / "docs" / "guide" / "es"


def sheet(paid_until: date) -> bytes:
    """What she kept her clients in: semicolons, decimal commas, Windows's letters."""
    return (
        "Cliente;Usuario PPPoE;Contraseña;Plan;Velocidad;Teléfono;Correo;Domicilio;Latitud;Longitud;Vencimiento\r\n"
        f'María José Peña;mariajose;pe-1234;Hogar 10;10;55 1234 5678;mj@correo.example;Calle 5 de Mayo 12;"20,1011";'
        f'"-98,7591";{paid_until:%d/%m/%Y}\r\n'
        f"Ñandú Café S. de R.L.;nandu;pe-5678;Negocio 30;12,5;;;Av. Juárez 100;;;{paid_until:%d/%m/%Y}\r\n"
        "Sin contraseña;sinclave;;Hogar 10;10;;;;;;\r\n"
    ).encode("cp1252")


@dataclass
class Place:
    """Where it happens: the installation, its mail, and one router in the lab that nobody has registered."""

    settings: Settings
    system: Engine
    box: Mailbox
    network: BlockingNetwork
    router: LiveRouter

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.portal_port}"

    def mail_leaves(self) -> None:
        send_due(make_sessions(self.system), self.settings, utc_now())

    def dials(self, name: str, password: str) -> Cpe:
        cpe = self.network.add_subscriber(
            Subscriber(name, password, method=Method.CHAP, mac="02:00:00:00:46:01", redial_after=0.2, retry_after=0.5),
            "Torre Vieja",
        )
        self.network.dial(cpe)
        return cpe

    def eventually(self, cpe: Cpe, address_list: str) -> None:
        """Wait until the router has the session of a CPE on that list, by CoA or after it dialled again."""
        self.network.eventually(
            lambda: cpe.session is not None and cpe.session.grant.address_list == address_list, seconds=30
        )


@pytest.fixture(scope="module")
def place(installation: Settings) -> Iterator[Place]:
    with ExitStack() as stack:
        box = stack.enter_context(Mailbox())
        values = {"sign_up": True, "smtp_host": "127.0.0.1", "smtp_port": box.port, "smtp_security": "none"}
        settings = installation.model_copy(update=values)
        system = make_engine(settings.database_url.get_secret_value())
        stack.callback(system.dispose)
        with Session(system) as session:
            make_platform(session, "test", "Portico Cloud")
            session.commit()
        publisher = publisher_piece(settings)
        stack.enter_context(RunningPiece(publisher, settings.log_dir / "publisher.log"))
        wait_until((settings.image_dir / "current").exists, 30, "the first image")
        for piece in (radiusd_piece, loader_piece, worker_piece, portal_piece):
            made = piece(settings)
            stack.enter_context(RunningPiece(made, settings.log_dir / f"{made.name}.log"))
        network = stack.enter_context(BlockingNetwork())
        radius = Server("127.0.0.1", settings.auth_port, settings.acct_port)
        network.add_nas(NasProfile("Torre Vieja", ADDRESS, "not-set-up", radius, coa_port=0))
        profile = RouterProfile(api_port=0, users={"admin": "Ñu-8728"}, asks_radius=False, boot_seconds=0.1)
        yield Place(settings, system, box, network, network.add_router("Torre Vieja", profile))


class Stranger:
    """Somebody at a browser who reads Spanish, the first steps and the manual, and nothing else."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        manual = "\n".join(path.read_text(encoding="utf-8") for path in GUIDE.glob("*.md"))
        named = re.findall(r"\*\*([^*]+)\*\*", manual)
        self.named = {words.strip() for name in named for words in name.split("→")}
        self.english = {
            message.id
            for message in read_catalogue("es")
            if isinstance(message.id, str) and " " in message.id and message.string not in ("", message.id)
        }
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: dialog.accept())

    def reads(self) -> None:
        """Look at the page: it fits the window, and no line of it is in English."""
        page = self.page
        page.wait_for_load_state()  # a click may have begun a page that has no element yet
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth"), page.url
        lines = {line.strip() for line in page.locator("body").inner_text().splitlines()}
        assert not lines & self.english, (page.url, lines & self.english)

    def steps(self, title: str) -> None:
        """Go on where the first steps lead."""
        self.page.goto("/first-steps")
        self.reads()
        self.page.get_by_role("link", name=title, exact=True).click()
        self.reads()

    def done(self, count: int) -> None:
        self.page.goto("/first-steps")
        expect(self.page.get_by_text(f"{count} de 8 hechos")).to_be_visible()

    def follows(self, *names: str, within: Locator | None = None) -> None:
        """Go through the links that the manual names."""
        for name in names:
            assert name in self.named, f"the manual does not name {name!r}"
            named = re.compile(rf"^\s*{re.escape(name)}(\s+\w)?$")  # some show the key that does the same
            (within or self.page).get_by_role("link", name=named).first.click()
            self.reads()

    def presses(self, name: str, within: Locator | None = None) -> None:
        assert name in self.named, f"the manual does not name {name!r}"
        (within or self.page).get_by_role("button", name=name, exact=True).first.click()

    def fills(self, **fields: str) -> None:
        for name, value in fields.items():
            self.page.locator(f"[name={name}]").first.fill(value)


@pytest.fixture
def stranger(place: Place, chromium: Browser) -> Iterator[Stranger]:
    context = chromium.new_context(
        viewport={"width": 1440, "height": 900}, locale="es-MX", base_url=place.url, timezone_id="America/Mexico_City"
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    yield Stranger(page)
    expect.set_options(timeout=5_000)
    context.close()


def opens_an_account(her: Stranger, place: Place) -> None:
    page = her.page
    page.goto("/")
    her.reads()
    her.follows("Abrir una cuenta")
    page.get_by_label("Su nombre completo").fill("Lupita Hernández")
    page.get_by_label("Correo electrónico").fill("lupita@redmaya.example")
    her.presses("Enviarme el enlace")
    expect(page.get_by_role("heading", name="Revise su correo")).to_be_visible()
    her.reads()
    place.mail_leaves()
    page.goto(place.box.url)
    page.locator("article a").first.click()
    page.get_by_label("Nombre de su empresa").fill("Red Maya")
    expect(page.get_by_label("País")).to_have_value("MX")
    page.get_by_label("Su contraseña").fill(PASSWORD)
    page.get_by_label("La misma otra vez").fill(PASSWORD)
    her.reads()
    her.presses("Abrir la cuenta")
    expect(page.get_by_role("heading", name="Primeros pasos")).to_be_visible()
    her.done(0)


def enters_a_plan(her: Stranger) -> None:
    her.steps("Registre un plan")
    her.follows("Nuevo plan")
    her.page.get_by_label("Mensualidad").press_sequentially("1350,50")  # a comma, as half of the continent types it
    her.fills(name="Hogar 10", download="10", upload="2,5")
    her.presses("Guardar")
    expect(her.page.get_by_text("$1,350.50")).to_be_visible()
    expect(her.page.get_by_text("2.5 Mbit/s").first).to_be_visible()


def connects_the_router(her: Stranger, place: Place) -> None:
    page = her.page
    her.steps("Agregue un router")
    her.follows("Router nuevo")
    her.fills(name="Torre Vieja", address=ADDRESS, api_user="admin", api_password="Ñu-8728")
    her.fills(api_port=str(place.router.server.port))
    her.presses("Probar conexión")
    expect(page.locator("#test").get_by_text("El router no consulta a ningún servidor RADIUS")).to_be_visible()
    mark, words = (page.locator("#test .portal-lines li").first.locator("> span").nth(at) for at in (0, 1))
    assert abs(mark.bounding_box()["y"] - words.bounding_box()["y"]) < 12  # a mark stands beside its sentence
    her.reads()
    her.presses("Guardar")
    her.presses("Probar conexión")
    expect(page.get_by_text("En línea").first).to_be_visible()
    her.steps("Ejecute en el router el script de configuración")
    her.follows("Comandos sin túnel")
    her.presses("Mostrar secreto")
    commands = page.locator("#commands")
    expect(commands).to_contain_text("src-address=" + ADDRESS)
    her.reads()
    assert paste(place.router.box, commands.inner_text()) == []


def imports_her_clients(her: Stranger, paid_until: date) -> None:
    page = her.page
    her.steps("Registre el primer cliente")
    her.follows("Importación", "Nueva importación")
    file = {"name": "clientes.csv", "mimeType": "text/csv", "buffer": sheet(paid_until)}
    page.set_input_files("#files", [file])
    her.presses("Subir el archivo")
    expect(page.locator("#column-1")).to_have_value("login")
    expect(page.locator("#column-4")).to_have_value("rate")
    expect(page.locator("#column-10")).to_have_value("paid_until")
    her.reads()
    her.presses("Continuar")
    expect(page.get_by_text("12.5 Mbit/s / 12.5 Mbit/s").first).to_be_visible()
    her.reads()
    page.get_by_label("Mensualidad").fill("1250,50")
    her.presses("Usar")
    her.follows("Continuar")
    expect(page.get_by_text("No tiene contraseña")).to_be_visible()
    her.follows("Continuar")
    expect(page.get_by_text("Se registran 2 clientes con un servicio cada uno.")).to_be_visible()
    her.presses("Escribir la importación")
    expect(page.get_by_role("button", name="Deshacer toda la importación")).to_be_visible()
    her.reads()


def sees_one_on_line(her: Stranger, place: Place) -> Cpe:
    cpe = place.dials("mariajose", "pe-1234")
    place.eventually(cpe, "portico-active")
    her.steps("Vea en línea al primer cliente")
    wait_until(lambda: her.page.reload() and her.page.get_by_text("María José Peña").count(), 20, "the session")
    her.reads()
    return cpe


def bills(her: Stranger) -> None:
    page = her.page
    her.steps("Active la facturación")
    rules = page.locator("form", has=page.locator("[name=enabled]"))
    page.get_by_label("Facturar con Portico").check()
    expect(page.get_by_text("16 % incluido en los precios")).to_be_visible()
    her.presses("Guardar", within=rules)
    expect(page.get_by_text("Guardado.").first).to_be_visible()
    page.goto("/billing/dunning/")
    her.follows("Escalera")
    her.presses("Guardar", within=page.locator("form", has=page.locator("[name=enabled]")))
    her.reads()
    her.steps("Emita la primera factura")
    her.follows("Lo que sigue")
    her.presses("Emitir ahora")
    wait_until(lambda: page.goto("/invoices/") and page.get_by_text("María José Peña").count(), 30, "the invoice")
    her.reads()


def cuts_and_brings_back(her: Stranger, place: Place, cpe: Cpe) -> None:
    page = her.page
    page.get_by_role("link", name="María José Peña").first.click()
    her.follows("Resumen")
    her.follows("Suspender")
    page.locator("[name=cause]").select_option("overdue")
    her.reads()
    her.presses("Suspender")
    place.eventually(cpe, "portico-suspended")
    her.follows("Registrar pago")
    expect(page.locator("#effects").get_by_text("Reactiva mariajose de inmediato")).to_be_visible()
    her.reads()
    her.presses("Registrar pago")
    place.eventually(cpe, "portico-active")
    her.done(8)


def test_from_nothing_to_a_client_who_was_cut_and_paid(place: Place, stranger: Stranger) -> None:
    her, paid_until = stranger, local_date(utc_now(), ZoneInfo("America/Mexico_City")) + timedelta(days=2)
    opens_an_account(her, place)
    enters_a_plan(her)
    connects_the_router(her, place)
    imports_her_clients(her, paid_until)
    cpe = sees_one_on_line(her, place)
    bills(her)
    cuts_and_brings_back(her, place, cpe)
    on_a_phone(her)
    assert her.complaints == []


def on_a_phone(her: Stranger) -> None:
    """The pages of the day once more, 390 pixels wide."""
    her.page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/first-steps", "/subscribers/", "/sessions/", "/invoices/", "/billing/dunning/", "/imports/"):
        her.page.goto(path)
        her.reads()
