"""What a person wrote in a mail: its words, without what the mail repeats of earlier ones.

Mails are written by machines of all ages. Whatever their headers and parts claim, reading them gives text: wrong
character sets become replacement characters, HTML becomes its words, and nothing here raises.

Nor does any mail take longer to read than its length: whoever knows the address of a mailbox may write to it.
"""

import html
import re
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from typing import cast

# What Python's parser of mails trips over, found in the wild: headers and character sets that nobody thought of.
_TRIPS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, MessageError)

_BLOCKS = frozenset(("p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "table", "blockquote", "hr"))
_UNSEEN = frozenset(("script", "style", "head", "title", "template"))
_TOKENS = re.compile(
    r"<!--(?:.*?-->|.*\Z)|<(?P<end>/?)(?P<tag>[a-z][a-z0-9]*)[^<>]*>|<[!?/][^<>]*>|(?P<words>[^<]+|<)",
    re.DOTALL | re.IGNORECASE,
)

# How mail programs introduce what they repeat, in the languages of our subscribers and their programs.
_INTRODUCTIONS = re.compile(
    r"""^[^\S\n]*(?:
        on\s.{6,200}\swrote:                                   # Gmail, Apple Mail, Thunderbird
      | (?:el|en)\s.{6,200}\s(?:escribió|escribi=C3=B3):?
      | (?:em|a)\s.{6,200}\sescreveu:
      | -{2,}\s*(?:original\ message|mensaje\ original|mensagem\ original|forwarded\ message|mensaje\ reenviado)\s*-{2,}
      | _{10,}
      | (?:from|de):\s.+\n\s*(?:sent|date|enviado|enviada|fecha|data)\b.*:.*
    )[^\S\n]*$""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content: bytes


def parse_mail(raw: bytes) -> EmailMessage:
    """Return a mail in the modern interface, whose parts decode themselves."""
    return message_from_bytes(raw, policy=policy.default)


def header(mail: EmailMessage, name: str) -> str:
    """Return a header on one line, empty where it is missing or beyond reading."""
    try:
        value = mail.get(name, "")
    except _TRIPS:  # the parser of a header trips over what nobody thought of
        return ""
    return " ".join(_clean(str(value)).split())


def text_of(mail: EmailMessage) -> str:
    """Return the words of a mail: its plain part, else what its HTML says."""
    try:
        part = mail.get_body(("plain", "html"))
    except _TRIPS:  # a tree of parts that contradicts itself
        part = None
    if part is None:
        return ""
    text = _decoded(cast("EmailMessage", part))
    if part.get_content_type() == "text/html":
        text = _words_of_html(text)
    return _clean(text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def split_quoted(text: str) -> tuple[str, str]:
    """Return what was written and what was repeated below it."""
    found = _INTRODUCTIONS.search(text)
    cut = found.start() if found else len(text)
    lines = text[:cut].rstrip().split("\n")
    while lines and (lines[-1].lstrip().startswith(">") or not lines[-1].strip()):
        lines.pop()
    written = "\n".join(lines).strip()
    if not written:
        return text.strip(), ""  # an answer between the quoted lines, or nothing else: better all of it
    return written, text[len("\n".join(lines)) :].strip()


def attachments_of(mail: EmailMessage) -> list[Attachment]:
    """Return the files that came with a mail, whatever they are. Small pictures of a signature are left out."""
    found = []
    for part in mail.walk():
        name = part.get_filename()
        if part.is_multipart() or (name is None and part.get_content_disposition() != "attachment"):
            continue
        content = None
        with suppress(*_TRIPS):  # a transfer encoding that is none
            content = part.get_payload(decode=True)
        if not isinstance(content, bytes) or not content:
            continue
        if part.get("Content-ID") and part.get_content_maintype() == "image" and len(content) < 10_000:
            continue
        found.append(Attachment(_clean(str(name or "file")), content))
    return found


def _decoded(part: EmailMessage) -> str:
    try:
        return str(part.get_content())
    except _TRIPS:  # a character set or an encoding that there is not
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _words_of_html(text: str) -> str:
    """Return what a reader of the HTML would see. `html.parser` takes minutes over tags that are never closed."""
    parts: list[str] = []
    unseen = 0
    for token in _TOKENS.finditer(text):
        tag = (token["tag"] or "").lower()
        if tag in _UNSEEN:
            unseen = max(0, unseen - 1) if token["end"] else unseen + 1
        elif tag in _BLOCKS:
            parts.append("\n")
        elif token["words"] and not unseen:
            parts.append(re.sub(r"\s+", " ", html.unescape(token["words"])))
    lines = [line.strip() for line in "".join(parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _clean(text: str) -> str:
    """Return text that PostgreSQL can hold: without NUL, other control characters and halves of surrogate pairs."""
    return "".join(
        character
        for character in text
        if character in "\n\t" or (character >= " " and not "\ud800" <= character <= "\udfff")
    )
