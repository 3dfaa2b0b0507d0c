"""Message services of the lab: a local server that plays an SMS gateway, WhatsApp's Cloud API and Telegram's Bot API.

`POST /sms` takes any body, with the secret in the header `X-Api-Key`; `POST /whatsapp/<phone id>/messages` takes
what the Cloud API takes, refuses what it refuses, and answers in its words: a wrong token (code 190), a template that
was not approved (132001), a parameter with a line break (132018). `POST /bot<token>/sendMessage` knows the chats that
wrote to the bot, and answers as Telegram does where the token is wrong, the bot was blocked or the HTML is none that
it reads. Faults are attributes that a test sets.
"""

import html
import json
import re
import time
from typing import Any

from lab.web import WebRequest, WebServer


class Messengers(WebServer):
    """Both services, at a port of one address. A context manager; port 0 takes a free one.

    Faults: `answers` (a status that every request gets instead), `delay` (seconds before each answer), `moved` (where
    every request is sent on to).
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(_Handler, self, address, port)
        self.secret, self.token, self.template = "key", "token", "notice"
        self.texts: list[dict[str, Any]] = []
        """What was taken, in order: `path`, `type` and `body` of SMS; `to`, `language` and `text` of WhatsApp; `chat`
        and `text` of Telegram, as the reader sees it."""
        self.bot = "123456789:abcdefghijklmnopqrstuvwxyz"
        self.chats: set[int] = {4711}
        self.blocked: set[int] = set()
        self.asked = 0
        self.answers: int | None = None
        self.delay = 0.0
        self.moved: str | None = None


class _Handler(WebRequest):
    lab: Messengers
    methods = ("POST",)

    def serve(self, method: str) -> None:
        lab = self.lab
        lab.asked += 1
        time.sleep(lab.delay)
        content = self.body().decode()
        if lab.moved is not None:
            self._answer(302, {}, Location=lab.moved)
        elif lab.answers is not None and self.path.startswith("/bot"):
            self._bot_refuses(lab.answers, "Too Many Requests: retry after 30" if lab.answers == 429 else "Internal")
        elif lab.answers is not None:
            self._answer(lab.answers, {"error": {"message": "an internal error", "code": 1}})
        elif self.path.startswith("/sms"):
            self._sms(content)
        elif self.path.startswith("/whatsapp/"):
            self._whatsapp(content)
        elif self.path.startswith("/bot"):
            self._telegram(content)
        else:
            self._answer(404, {"error": "no such service"})

    def _sms(self, content: str) -> None:
        lab = self.lab
        if self.headers.get("X-Api-Key") != lab.secret:
            self._answer(401, {"error": "wrong key"})
            return
        lab.texts.append({"path": self.path, "type": self.headers["Content-Type"].split(";")[0], "body": content})
        self._answer(200, {"id": len(lab.texts)})

    def _whatsapp(self, content: str) -> None:
        lab = self.lab
        if self.headers.get("Authorization") != f"Bearer {lab.token}":
            self._refuse(401, 190, "Invalid OAuth access token")
            return
        try:
            said = json.loads(content)
            template = said["template"]
            [parameter] = template["components"][0]["parameters"]
            text, to, language = parameter["text"], said["to"], template["language"]["code"]
        except (ValueError, KeyError, IndexError, TypeError):
            self._refuse(400, 100, "Invalid parameter")
            return
        if template["name"] != lab.template:
            self._refuse(404, 132001, "Template name does not exist in the translation")
        elif not text or "\n" in text or "\t" in text or "     " in text:
            self._refuse(
                400, 132018, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
            )
        elif not to.isdigit():
            self._refuse(400, 131009, "Parameter value is not valid")
        else:
            lab.texts.append({"path": self.path, "to": to, "language": language, "text": text})
            self._answer(200, {"messaging_product": "whatsapp", "messages": [{"id": f"wamid.{len(lab.texts)}"}]})

    def _telegram(self, content: str) -> None:
        lab = self.lab
        if self.path != f"/bot{lab.bot}/sendMessage":
            self._bot_refuses(401, "Unauthorized")
            return
        said = json.loads(content)
        chat, text = int(said["chat_id"]), str(said["text"])
        if said.get("parse_mode") == "HTML":
            if found := re.search(r"<(?!/?(?:b|i|u|s|a|code|pre|strong|em)\b)|&(?!lt;|gt;|amp;|quot;|#)", text):
                self._bot_refuses(400, f"Bad Request: can't parse entities: at byte offset {found.start()}")
                return
            text = html.unescape(re.sub(r"<[^>]*>", "", text))
        if chat in lab.blocked:
            self._bot_refuses(403, "Forbidden: bot was blocked by the user")
        elif chat not in lab.chats:
            self._bot_refuses(400, "Bad Request: chat not found")
        elif not text.strip() or len(text) > 4096:
            self._bot_refuses(400, f"Bad Request: message {'is too long' if text.strip() else 'text is empty'}")
        else:
            lab.texts.append({"chat": chat, "text": text})
            self._answer(200, {"ok": True, "result": {"message_id": len(lab.texts), "chat": {"id": chat}}})

    def _bot_refuses(self, status: int, description: str) -> None:
        later = {"parameters": {"retry_after": 30}} if status == 429 else {}
        self._answer(status, {"ok": False, "error_code": status, "description": description} | later)

    def _refuse(self, status: int, code: int, message: str) -> None:
        self._answer(status, {"error": {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code}})

    def _answer(self, status: int, document: Any, **headers: str) -> None:
        self.answer(status, json.dumps(document).encode(), **headers)
