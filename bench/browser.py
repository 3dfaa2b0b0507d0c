"""A browser of the portal, for measuring how long its pages take."""

import http.client
import re
import time
from urllib.parse import urlencode


class Browser:
    """A signed-in browser that keeps its connection and its cookies."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookies: dict[str, str] = {}

    def sign_in(self, email: str, password: str) -> None:
        body = self._form("/sign-in", {"email": email, "password": password})
        self._request("POST", "/sign-in", body, status=302)

    def wait(self, path: str) -> str:
        """Return a page, once gunicorn, which listens at once, has loaded what it serves."""
        for _ in range(150):
            try:
                return self._request("GET", path)
            except OSError:
                self._connection.close()
                time.sleep(0.2)
        return self._request("GET", path)

    def time(self, path: str, count: int, typed: dict[str, str] | None = None) -> list[float]:
        """Return the milliseconds that each of `count` requests took, shortest first; with `typed` its form is sent."""
        method, body = ("GET", None) if typed is None else ("POST", self._form(path, typed))
        self._request(method, path, body)
        times = []
        for _ in range(count):
            begun = time.monotonic()
            self._request(method, path, body)
            times.append((time.monotonic() - begun) * 1e3)
        return sorted(times)

    def _form(self, path: str, typed: dict[str, str]) -> str:
        """Return what a browser sends for the form of a page."""
        page = self.wait(path)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None, page[:500]
        return urlencode({"csrf_token": token[1], **typed})

    def _request(self, method: str, path: str, body: str | None = None, status: int = 200) -> str:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        assert response.status == status, f"{method} {path}: {response.status}\n{text[:2000]}"
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return text


def quantile(times: list[float], share: float) -> float:
    """Return the time below which a share of sorted times is."""
    return times[min(len(times) - 1, int(len(times) * share))]
