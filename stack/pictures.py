"""Pictures for the documentation, taken of the demo that `make run` shows: each role's home, and the manual's pages.

Beside the manual's pictures stands what each shows in words (`pictures.json`). Tests compare these words with the pages
as they are now, so that a picture of a page that has changed since is found without looking at it.
"""

import io
import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from babel.messages.catalog import Catalog

from core.i18n import LANGUAGES
from core.settings import BadSettings, Settings
from db.models import ROLES
from stack.translations import read_catalogue, source_catalogue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTH, HEIGHT = 1440, 1000
CHROMIUM = "/usr/bin/chromium"
WORDS = "pictures.json"
_IN_MANUAL = {"width": 1180, "height": 760}
_ARGUMENTS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the manual: the page it shows.

    `follow` are patterns of addresses: the first link of that kind leads on, from page to page. `blank` pages look the
    same without any rows.
    """

    name: str
    path: str
    follow: tuple[str, ...] = ()
    blank: bool = False


MANUAL = (
    Picture("home", "/"),
    Picture("first-steps", "/first-steps", blank=True),
    Picture("router-new", "/routers/new", blank=True),
    Picture("router", "/routers/?q=Norte", (r"/routers/\d+",)),
    Picture("import-new", "/imports/new"),
    Picture("plan-new", "/plans/new", blank=True),
    Picture("subscriber", "/subscribers/?q=Yáñez", (r"/subscribers/\d+",)),
    Picture("explain", "/explain/?name=ale.yanez"),
    Picture("billing-settings", "/settings/billing/"),
    Picture("invoices", "/invoices/"),
    Picture("desk", "/desk/"),
    Picture("payment-new", "/subscribers/?q=Yáñez", (r"/subscribers/\d+", r"/payments/new/\d+")),
    Picture("dunning", "/billing/dunning/ladder"),
    Picture("tickets", "/tickets/"),
    Picture("ticket", "/tickets/", (r"/tickets/\d+",)),
    Picture("work-order", "/work-orders/", (r"/work-orders/\d+",)),
    Picture("calendar", "/work-orders/calendar"),
    Picture("voucher-batch", "/vouchers/batches/new", blank=True),
    Picture("captive-settings", "/settings/captive/"),
    Picture("messages", "/broadcasts/new", blank=True),
    Picture("monitoring", "/monitoring/"),
    Picture("map", "/map/"),
    Picture("reports", "/reports/all/", blank=True),
    Picture("months", "/reports/months"),
    Picture("staff", "/staff/"),
)


def picture_homes(settings: Settings, directory: Path) -> list[Path]:
    """Take a picture of each role's home and return the files. Raises BadSettings where no demo runs here."""
    made = []
    with _demo(settings) as (browser, url, logins):
        for role in ROLES:
            path = directory / f"home-{role}.png"
            _picture_home(browser, url, logins[role], path)
            made.append(path)
    return made


def picture_manual(settings: Settings, directory: Path) -> list[Path]:
    """Take the manual's pictures in each language into `directory`/LANGUAGE/pictures and return the files.

    Raises BadSettings where no demo runs here.
    """
    made, words = [], {}
    with _demo(settings) as (browser, url, logins):
        for language in (each for each in LANGUAGES if (directory / each).is_dir()):
            known = texts_of(language)
            page = browser.new_context(viewport=_IN_MANUAL, locale=language).new_page()  # type: ignore[arg-type]
            _sign_in(page, url, logins["manager"], language)
            for picture in MANUAL:
                open_picture(page, url, picture)
                path = directory / language / "pictures" / f"{picture.name}.webp"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_small(page.screenshot()))
                words[f"{language}/{picture.name}"] = words_shown(page, known)
                made.append(path)
            page.context.close()
    (directory / WORDS).write_text(json.dumps(words, ensure_ascii=False, indent=1, sort_keys=True) + "\n", "utf-8")
    return made


def open_picture(page: "Page", url: str, picture: Picture) -> None:
    """Open what a picture shows."""
    page.goto(f"{url}{picture.path}")
    for pattern in picture.follow:
        found = re.search(rf'href="({pattern})"', page.content())
        if found is None:
            raise BadSettings(f"{page.url} has no link to {pattern}")
        page.goto(url + found[1])
    page.wait_for_load_state("networkidle")


def words_shown(page: "Page", known: frozenset[str]) -> list[str]:
    """Return the headings, labels and buttons of a page that are texts of the catalogue."""
    shown = page.locator("main h2, main label, main th, .page-title, .page-header .btn, main .btn").all_inner_texts()
    return sorted({text for each in shown if (text := " ".join(each.split())) in known})


def texts_of(language: str) -> frozenset[str]:
    """Return every text that a reader of a language may see."""
    catalogue: Catalog = source_catalogue() if language == "en" else read_catalogue(language)
    found: set[str] = set()
    for message in catalogue:
        text = message.id if language == "en" else message.string
        found |= {each for each in (text if isinstance(text, (tuple, list)) else (text,)) if each}
    return frozenset(found)


def _small(picture: bytes) -> bytes:
    from PIL import Image

    kept = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").save(kept, "WEBP", quality=62, method=6)
    return kept.getvalue()


@contextmanager
def _demo(settings: Settings) -> "Iterator[tuple[Browser, str, dict[str, dict[str, str]]]]":
    """Yield a browser, the address of the demo's portal and its logins."""
    from playwright.sync_api import Error, sync_playwright

    try:
        logins = tomllib.loads((settings.data_dir / "demo.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSettings(f"{settings.data_dir} has no demo.toml; start the demo with `make run`") from None
    url = f"http://127.0.0.1:{settings.portal_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser, url, logins
        except Error as problem:
            raise BadSettings(f"the portal at {url}: {problem.message.splitlines()[0]}") from None
        finally:
            browser.close()


def _sign_in(page: "Page", url: str, login: dict[str, str], language: str) -> None:
    page.goto(f"{url}/sign-in")
    page.fill("[name=email]", login["email"])
    page.fill("[name=password]", login["password"])
    page.locator("form button[type=submit], form button.btn-primary").first.click()
    page.locator("#tiles").wait_for()
    page.locator(f'button[name=language][value="{language}"]').click()  # whatever the person chose before
    page.locator(f'html[lang="{language}"] #tiles').wait_for()


def _picture_home(browser: "Browser", url: str, login: dict[str, str], path: Path) -> None:
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
    page = context.new_page()
    _sign_in(page, url, login, "en")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    context.close()
