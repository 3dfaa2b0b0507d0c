"""Pictures for the documentation, taken of the demo that `make run` shows: each role's home, on a desktop."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from core.settings import BadSettings, Settings
from db.models import ROLES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTH, HEIGHT = 1440, 1000
CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def picture_homes(settings: Settings, directory: Path) -> list[Path]:
    """Take a picture of each role's home and return the files. Raises BadSettings where no demo runs here."""
    from playwright.sync_api import Error, sync_playwright

    try:
        logins = tomllib.loads((settings.data_dir / "demo.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSettings(f"{settings.data_dir} has no demo.toml; start the demo with `make run`") from None
    url = f"http://127.0.0.1:{settings.portal_port}"
    made = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            for role in ROLES:
                path = directory / f"home-{role}.png"
                _picture_home(browser, url, logins[role], path)
                made.append(path)
        except Error as problem:
            raise BadSettings(f"the portal at {url}: {problem.message.splitlines()[0]}") from None
        finally:
            browser.close()
    return made


def _picture_home(browser: "Browser", url: str, login: dict[str, str], path: Path) -> None:
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, locale="en")
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("[name=email]", login["email"])
    page.fill("[name=password]", login["password"])
    page.get_by_role("button", name="Sign in").click()
    page.locator("#tiles").wait_for()
    page.locator('button[name=language][value="en"]').click()  # whatever the person chose before
    page.locator('html[lang="en"] #tiles').wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    context.close()
