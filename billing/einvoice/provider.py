"""A provider over HTTP: three requests, JSON answers, a key in the header.

    PUT  {address}/documents/{key}          the XML; the same key again returns what became of the first
    GET  {address}/documents/{key}          what became of it; 404 when it was never seen
    POST {address}/documents/{key}/cancel   {"reason": …}

An answer is `{"state": "accepted" | "pending" | "refused" | "cancelled" | "cancel_refused", "fiscal_id", "document",
"reasons": […], "retry_after"}`. Anything else is trouble, and nothing is concluded from it: a page of a proxy in
between must not pass for an answer. An adapter for a provider with another API is a class like this one.
"""

import json
from typing import Any
from urllib.parse import quote

from billing.einvoice import Fate, Outcome, ProviderTrouble, Trouble
from crm.outbound import Answer, NoAnswer, NotAllowed, post

TIMEOUT = 10.0
"""Seconds for each answer."""
LONGEST_WAIT = 24 * 3600


class HttpProvider:
    """An operator's account. `local` allows addresses of this machine and of private networks."""

    def __init__(self, url: str, key: str, *, local: bool = False, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._local = local
        self._timeout = timeout

    def submit(self, key: str, number: str, xml: bytes) -> Outcome:
        return self._answered(self._ask("PUT", key, xml, "application/xml", number))

    def find(self, key: str) -> Outcome | None:
        answer = self._ask("GET", key)
        if answer.status == 404 and _json(answer).get("state") == "unknown":
            return None
        return self._answered(answer)

    def cancel(self, key: str, reason: str) -> Outcome:
        return self._answered(self._ask("POST", f"{key}/cancel", json.dumps({"reason": reason}).encode()))

    def _ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json", number: str = ""
    ) -> Answer:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        if body:
            headers["Content-Type"] = kind
        if number:
            headers["X-Document-Number"] = quote(number)
        url = f"{self._url}/documents/{path}"
        try:
            answer = post(url, body, headers, local=self._local, method=method, timeout=self._timeout)
        except (NotAllowed, NoAnswer) as problem:
            raise ProviderTrouble(Trouble.UNREACHABLE, str(problem)) from None
        if answer.status in (401, 403):
            raise ProviderTrouble(Trouble.KEY)
        if answer.status >= 500 or answer.status == 429:
            raise ProviderTrouble(Trouble.UNREACHABLE, f"HTTP {answer.status}")
        return answer

    def _answered(self, answer: Answer) -> Outcome:
        said = _json(answer)
        try:
            fate = Fate(str(said.get("state")))
            retry_after = min(max(int(said.get("retry_after") or 0), 0), LONGEST_WAIT)
        except (ValueError, TypeError):
            raise ProviderTrouble(Trouble.CONFUSED, f"HTTP {answer.status}") from None
        reasons = said.get("reasons")
        document = said.get("document")
        return Outcome(
            fate,
            str(said.get("fiscal_id") or "")[:100],
            document.encode() if isinstance(document, str) and document else None,
            "; ".join(str(each) for each in reasons)[:500] if isinstance(reasons, list) else "",
            retry_after,
        )


def _json(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ProviderTrouble(Trouble.CONFUSED, f"HTTP {answer.status}")
    return said
