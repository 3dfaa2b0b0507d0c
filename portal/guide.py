"""The manuals: Markdown of `docs/` as pages of the portal, their sections to search in, and which page explains what.

The text is ours, and HTML in it is switched off all the same. A link leads to where the portal shows that page; one
that leads to a page which the portal does not show is left as plain text, so that no reader meets a dead end.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.treeprocessors import Treeprocessor
from markupsafe import Markup

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDE = DOCS / "guide"
FALLBACK = "en"
"""What readers see whose language has no manual."""

CHAPTERS = (
    "start",
    "router",
    "import",
    "plans",
    "subscriber",
    "connect",
    "billing",
    "payments",
    "cut-off",
    "tickets",
    "work-orders",
    "vouchers",
    "messages",
    "network",
    "reports",
    "people",
    "day",
    "words",
)
"""The chapters of the operator's manual in the order in which they are read; each is a file for each language."""

ADMINISTRATOR = (
    "administrator",
    "running",
    "settings",
    "backup",
    "high-availability",
    "scaling",
    "performance",
    "metrics",
    "accounts",
    "security",
    "threat-model",
    "permissions",
)
"""What whoever runs Portico reads; in English."""

CHAPTER_OF = {
    "home": "start",
    "first_steps": "start",
    "settings": "start",
    "licence": "start",
    "routers": "router",
    "nas": "router",
    "vpn": "router",
    "router_logins": "router",
    "backups": "router",
    "imports": "import",
    "shadow": "import",
    "provisioning": "import",
    "plans": "plans",
    "plan_items": "plans",
    "promotions": "plans",
    "pools": "plans",
    "subscribers": "subscriber",
    "removed": "subscriber",
    "records": "subscriber",
    "services": "subscriber",
    "leave_reasons": "subscriber",
    "retention": "subscriber",
    "sessions": "connect",
    "auth_events": "connect",
    "explain": "connect",
    "circuit": "connect",
    "enforcement": "cut-off",
    "dunning": "cut-off",
    "policy": "cut-off",
    "invoices": "billing",
    "billing_settings": "billing",
    "documents": "billing",
    "einvoices": "billing",
    "payments": "payments",
    "desk": "payments",
    "bank": "payments",
    "gateways": "payments",
    "collectors": "payments",
    "currencies": "payments",
    "tickets": "tickets",
    "ticket_reports": "tickets",
    "help_desk": "tickets",
    "work_orders": "work-orders",
    "work_settings": "work-orders",
    "technician": "work-orders",
    "leads": "work-orders",
    "sales": "work-orders",
    "equipment": "work-orders",
    "vouchers": "vouchers",
    "voucher_sales": "vouchers",
    "captive_settings": "vouchers",
    "messages": "messages",
    "message_texts": "messages",
    "broadcasts": "messages",
    "brand": "messages",
    "webhooks": "messages",
    "dashboard": "network",
    "monitoring": "network",
    "incidents": "network",
    "map": "network",
    "sites": "network",
    "sectors": "network",
    "cgnat": "network",
    "addresses": "network",
    "reports": "reports",
    "chart": "reports",
    "operations": "reports",
    "jobs": "reports",
    "people": "people",
    "roles": "people",
    "security": "people",
    "audit": "people",
    "account": "people",
    "api_tokens": "people",
    "resellers": "people",
}
"""The chapter that explains the pages of a blueprint."""

_SECTION = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)
_PICTURE = re.compile(r"pictures/([a-z0-9-]+\.webp)\Z")


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading, as plain text; the part before the first heading has no anchor."""

    anchor: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a manual: its title, what follows as HTML, and the same in sections."""

    name: str
    title: str
    html: Markup
    sections: tuple[Section, ...]

    @property
    def summary(self) -> str:
        """The first sentence."""
        return self.sections[0].text.partition(". ")[0].rstrip(".") + "." if self.sections[0].text else ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A section in which all words were found, with some words around the first."""

    page: Page
    section: Section
    around: str


def language_of_guide(language: str) -> str:
    """Return the language whose manual a reader gets."""
    return language if (GUIDE / language).is_dir() else FALLBACK


def chapter(language: str, name: str) -> Page | None:
    """Return a chapter of the operator's manual; None where there is none of that name."""
    return read_page(GUIDE / language_of_guide(language) / f"{name}.md") if name in CHAPTERS else None


def chapters(language: str) -> list[Page]:
    """Return the operator's manual in its order."""
    return [page for name in CHAPTERS if (page := chapter(language, name)) is not None]


def administrator_page(name: str) -> Page | None:
    """Return a page of the administrator's manual; None where there is none of that name."""
    return read_page(DOCS / f"{name}.md") if name in ADMINISTRATOR else None


def data_sheet(language: str) -> Page:
    """Return the data sheet."""
    path = DOCS / f"data-sheet-{language}.md"
    return read_page(path if path.exists() else DOCS / "data-sheet.md")


def picture(language: str, name: str) -> Path | None:
    """Return the file of a picture of the manual; None where there is none."""
    path = GUIDE / language_of_guide(language) / "pictures" / name
    return path if _PICTURE.match(f"pictures/{name}") and path.is_file() else None


def search(language: str, words: str) -> list[Hit]:
    """Return the sections that have all these words, titles first. Accents and case do not count."""
    wanted = _plain(words).split()
    if not wanted:
        return []
    found: list[tuple[int, int, Hit]] = []
    for page in chapters(language):
        for section in page.sections:
            heading = _plain(f"{page.title} {section.title}")
            text = f"{heading} {_plain(section.text)}"
            if all(word in text for word in wanted):
                in_heading = sum(word in heading for word in wanted)
                found.append((-in_heading, len(found), Hit(page, section, _around(section.text, wanted))))
    return [hit for _rank, _order, hit in sorted(found, key=lambda each: each[:2])]


def read_page(path: Path) -> Page:
    """Return a page of `docs/`, rendered once for each state of its file."""
    return _rendered(path, path.stat().st_mtime_ns)


@cache
def _rendered(path: Path, _changed: int) -> Page:
    head, _line, rest = path.read_text(encoding="utf-8").partition("\n")
    markdown = Markdown(extensions=["tables", "toc", "def_list", "sane_lists", "fenced_code"], output_format="html")
    markdown.preprocessors.deregister("html_block")
    markdown.inlinePatterns.deregister("html")
    markdown.treeprocessors.register(_Addresses(markdown, path.relative_to(DOCS).as_posix()), "addresses", 0)
    html = markdown.convert(rest)
    pieces = _SECTION.split(html)
    sections = [Section("", "", _text(pieces[0]))]
    for anchor, title, content in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        sections.append(Section(anchor, _text(title), _text(content)))
    return Page(path.stem, head.lstrip("# ").strip(), Markup(html), tuple(sections))  # noqa: S704 - HTML is off in it


class _Addresses(Treeprocessor):  # type: ignore[misc]  # the library says no types
    """Turns the paths of links and pictures, which hold within `docs/`, into addresses of the portal."""

    def __init__(self, markdown: Markdown, page: str) -> None:
        super().__init__(markdown)
        self.page = PurePosixPath(page)

    def run(self, root: Element) -> None:
        for element in root.iter():
            if element.tag == "a":
                self._lead(element)
            elif element.tag == "img":
                self._show(element)
            elif element.tag == "table":
                element.set("class", "table table-sm")

    def _lead(self, link: Element) -> None:
        target, mark, anchor = (link.get("href") or "").partition("#")
        if not target and mark:
            return
        address = address_of(_joined(self.page.parent, target))
        if address is None:
            link.tag = "span"
            link.attrib.clear()
        else:
            link.set("href", address + mark + anchor)

    def _show(self, image: Element) -> None:
        found = _PICTURE.match(image.get("src") or "")
        if found and self.page.parent.parent.name == "guide":
            image.set("src", f"/help/pictures/{self.page.parent.name}/{found[1]}")
            image.set("loading", "lazy")
            image.set("class", "portal-picture")


def address_of(path: PurePosixPath) -> str | None:
    """Return where the portal shows a page of `docs/`; None where it does not."""
    name = path.stem
    if path.suffix != ".md":
        return None
    if path.parent.parent.name == "guide" and name in CHAPTERS:
        return f"/help/{name}"
    if path.as_posix() in ("guide/README.md", "guide/en/README.md", "guide/es/README.md"):
        return "/help/"
    return f"/help/administrator/{name}" if path.parent == PurePosixPath() and name in ADMINISTRATOR else None


def _joined(folder: PurePosixPath, target: str) -> PurePosixPath:
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if not parts:
                return PurePosixPath("..")  # outside of docs/
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def _text(html: str) -> str:
    return " ".join(Markup(html).striptags().split())  # noqa: S704 - is made into text


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _around(text: str, wanted: list[str], width: int = 160) -> str:
    at = max(0, min((place for word in wanted if (place := _plain(text).find(word)) >= 0), default=0) - width // 3)
    start = text.rfind(" ", 0, at) + 1 if at else 0
    piece = text[start : start + width]
    return ("… " if start else "") + piece.strip() + (" …" if start + width < len(text) else "")
