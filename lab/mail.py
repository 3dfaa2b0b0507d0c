"""The demo's mail: a server that takes whatever Portico sends, and a page on which a person reads it.

No mail leaves the machine. What came is kept in memory, the newest 200, and is gone when the demo stops. aiosmtpd
speaks SMTP; links in a mail can be clicked, and what is attached can be opened, as in any mail program.
"""

import html
import re
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast
from urllib.parse import quote

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from core.clock import utc_now
from lab.web import WebRequest, WebServer

KEPT = 200
_FILE = re.compile(r"/([0-9]{1,9})/([0-9]{1,3})")
_LINK = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it came."""

    number: int
    at: datetime
    recipients: tuple[str, ...]
    subject: str
    text: str
    attached: "tuple[Attachment, ...]" = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    kind: str
    content: bytes


class Mailbox:
    """A mail server and its page, at two ports of one address. A context manager; port 0 takes a free one.

    A fault that a test sets: `refuses` answers every recipient with that line, such as `451 later`.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0, page_port: int = 0) -> None:
        self.mails: deque[Mail] = deque(maxlen=KEPT)
        self.refuses: str | None = None
        self._count = 0
        self._guard = threading.Lock()
        self._controller = _Controller(self, hostname=address, port=port, data_size_limit=30_000_000)
        self._page = WebServer(_Page, self, address, page_port)

    @property
    def port(self) -> int:
        """Where mail is taken; known once it is open."""
        return self._controller.bound_port

    @property
    def url(self) -> str:
        return f"{self._page.url}/"

    def __enter__(self) -> "Mailbox":
        try:
            self._controller.start()
        except BaseException:
            self._page.close()
            raise
        self._page.__enter__()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._page.__exit__()
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refuses is not None:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        found = message_from_bytes(raw, policy=policy.default)
        part = found.get_body(("plain", "html"))
        text = str(part.get_content()) if part is not None else ""
        with self._guard:
            self._count += 1
            subject = str(found.get("Subject", ""))
            self.mails.appendleft(
                Mail(self._count, utc_now(), tuple(envelope.rcpt_tos), subject, text, _attachments(found))
            )
        return "250 OK"


class _Controller(Controller):
    """aiosmtpd's controller, which knows its port only where it was told one."""

    bound_port = 0

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.bound_port = cast("Any", self.server).sockets[0].getsockname()[1]
        self.port = self.bound_port
        super()._trigger_server()  # type: ignore[no-untyped-call]


class _Page(WebRequest):
    lab: Mailbox

    methods = ("GET",)

    def serve(self, method: str) -> None:
        if wanted := _FILE.fullmatch(self.path):
            self._send_file(int(wanted[1]), int(wanted[2]))
            return
        secured = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        spanish = (self.headers.get("Accept-Language") or "").lower().startswith("es")
        page = _page(list(self.lab.mails), "es" if spanish else "en")
        self.answer(200, page.encode(), "text/html; charset=utf-8", **secured)

    def _send_file(self, number: int, place: int) -> None:
        mail = next((mail for mail in list(self.lab.mails) if mail.number == number), None)
        if mail is None or place >= len(mail.attached):
            self.answer(404, b"no such file here", "text/plain")
            return
        file = mail.attached[place]
        named = f"attachment; filename*=UTF-8''{quote(file.name)}"  # RFC 6266; a page of a mail runs nowhere
        self.answer(200, file.content, file.kind, **{"Content-Disposition": named, "X-Content-Type-Options": "nosniff"})


def _attachments(mail: EmailMessage) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(part.get_filename() or "file", part.get_content_type(), cast("bytes", part.get_payload(decode=True)))
        for part in mail.iter_attachments()
        if not part.is_multipart()
    )


_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:50rem;margin:1rem auto;padding:0 1rem}"
    "article{border:1px solid #ccd;border-radius:6px;padding:.75rem 1rem;margin:1rem 0}"
    "h2{font-size:1.1rem;margin:0}small{color:#556}pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}"
)


_WORDS = {
    "en": ("Mail of the demo", "No mail yet. Reload the page when something was sent."),
    "es": ("Correo de la demo", "Todavía no hay correos. Recargue la página cuando se haya enviado algo."),
}
"""What the page says itself, for browsers of either language; the lab is outside the product and its catalogue."""


def _page(mails: list[Mail], language: str) -> str:
    title, empty = _WORDS[language]
    shown = "".join(
        f"<article><h2>{html.escape(mail.subject)}</h2>"
        f"<small>{html.escape(', '.join(mail.recipients))} · {mail.at:%H:%M:%S} UTC</small>"
        f"<pre>{_with_links(mail.text)}</pre>{_links(mail)}</article>"
        for mail in mails
    )
    nothing = f"<p>{empty}</p>"
    return (
        f"<!doctype html><html lang={language}><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{shown or nothing}</html>"
    )


def _links(mail: Mail) -> str:
    """Return as HTML where each file of a mail is, and how large."""
    return "".join(
        f"<p><a href='/{mail.number}/{place}'>{html.escape(file.name)}</a> ({len(file.content):,} octets)</p>"
        for place, file in enumerate(mail.attached)
    )


def _with_links(text: str) -> str:
    """Return a text as HTML in which its addresses are links."""
    parts, last = [], 0
    for found in _LINK.finditer(text):
        address = html.escape(found[0])
        parts += [html.escape(text[last : found.start()]), f'<a href="{address}">{address}</a>']
        last = found.end()
    return "".join([*parts, html.escape(text[last:])])
