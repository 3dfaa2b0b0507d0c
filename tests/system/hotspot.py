"""A phone behind an emulated hotspot: its http goes to the router as to a proxy, from an address of its own."""

import html
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from lab.routeros.live import LiveRouter


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, source_address=(self._address, 0), **options)


class Browser:
    """A browser on a line, which has an address of its own."""

    def __init__(self, address: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", _From(address))

    def get(self, url: str, **headers: str) -> requests.Response:
        """Ask for a page. With a `Host`, as the router's redirect lets a request arrive that was for somebody else."""
        answer = self.session.get(url, headers=headers, timeout=10, allow_redirects=False)
        if answer.is_redirect:
            led = urljoin(url, answer.headers["Location"])
            return self.session.get(led, timeout=10)
        return answer


@dataclass
class Phone:
    """A browser without JavaScript: it follows redirects, and pages that say where to go on."""

    router: LiveRouter
    address: str
    portal: str
    language: str = "en"
    page: str = ""
    url: str = ""
    status: int = 0
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", _From(self.address))
        self.session.headers["Accept-Language"] = self.language

    def get(self, url: str, **form: str) -> str:
        """Ask for a page, or send a form to it; follow where it leads."""
        method, data = ("POST", form) if form else ("GET", None)
        self.seen = []
        for _ in range(10):
            hotspot = self.router.hotspot
            proxied = not url.startswith(self.portal)  # the portal is in the walled garden
            proxies = {"http": f"http://{hotspot.address}:{hotspot.port}"} if proxied else {}
            self.seen.append(url)
            answer = self.session.request(
                method, url, data=data, proxies=proxies, allow_redirects=False, timeout=10
            )  # fmt: skip
            self.page, self.url, self.status = answer.text, url, answer.status_code
            method, data = "GET", None
            led = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
            if answer.is_redirect:
                url = urljoin(url, answer.headers["Location"])
            elif led is not None:
                url = urljoin(url, html.unescape(led[1]))
            else:
                return self.page
        raise AssertionError(f"led in a circle: {self.seen}")

    def send(self, number: int = 0, **typed: str) -> str:
        """Fill in the page's form of that number and send it."""
        form = re.findall(r"<form.*?</form>", self.page, re.DOTALL)[number]
        action = html.unescape(re.search(r'action="([^"]+)"', form)[1])
        fields = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(
                r'<input(?! type="checkbox"| type="radio")[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form
            )
        }
        return self.get(urljoin(self.url, action), **{**fields, **typed})

    def surf(self) -> bool:
        """Tell whether the internet is there."""
        return "the internet: news.example" in self.get("http://news.example/")

    @property
    def at(self) -> str:
        """The path of the page that is shown."""
        return urlsplit(self.url).path
