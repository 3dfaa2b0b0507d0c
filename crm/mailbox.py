"""Reading an operator's mailbox over IMAP (RFC 9051), a mail at a time.

Only what is not marked as seen is asked for. A mail is fetched without marking it (BODY.PEEK), becomes a ticket in a
transaction of its own, and is marked after the commit. Whatever happens in between, it is read again, known by its
Message-ID, and marked then. One that cannot be put down stays as it is and holds up no other.

The host is looked up once and must be a public address unless the installation says otherwise, as with every address
that an operator enters (`crm.outbound`).
"""

import imaplib
import re
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.crypto import Keyring, SecretUnreadable
from core.settings import Settings
from crm.incoming_mail import receive
from crm.notices import EMAIL, checked_address
from crm.outbound import Network, NoAnswer, NotAllowed, check_host
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Mailbox

PASSWORD_PURPOSE = "mailbox.password"  # noqa: S105
TIMEOUT = 20.0
LARGEST_MAIL = 35_000_000
"""Octets: what mail servers take, and more than ten files of which few are pictures."""
PORTS = {"tls": 993, "starttls": 143, "none": 143}
_SIZE = re.compile(rb"RFC822\.SIZE ([0-9]+)")

log = structlog.get_logger()


class MailboxTrouble(Exception):
    """The mailbox cannot be read now: `str()` is a short word for it and what the server said."""


@dataclass(frozen=True, slots=True)
class MailboxDetails:
    """What is entered for a mailbox. `password` is empty where the one that is kept is to stay."""

    address: str
    host: str
    port: int
    security: str
    user_name: str
    password: str = ""
    folder: str = "INBOX"
    active: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """What is needed to open a mailbox."""

    host: str
    port: int
    security: str
    user_name: str
    password: str
    folder: str
    local: bool
    networks: tuple[Network, ...] = ()


def save_mailbox(session: Session, actor: Actor, keyring: Keyring, details: MailboxDetails, seen: int) -> Mailbox:
    """Enter or change the mailbox of which version `seen` (0: none) was shown. Raises Invalid and ChangedMeanwhile.

    A password goes only where it was entered for: with another host, port or security it is asked for again.
    """
    mailbox = session.get(Mailbox, actor.operator_id, with_for_update=True)
    if (mailbox.version if mailbox else 0) != seen:
        raise ChangedMeanwhile
    problems: list[FieldProblem] = []
    address = details.address.strip()
    try:
        address = checked_address(EMAIL, address)
    except Invalid as invalid:
        problems += invalid.problems
    for name in ("host", "user_name", "folder"):
        value = getattr(details, name).strip()
        if not value:
            problems.append(FieldProblem(name, Problem.REQUIRED))
        elif len(value) > 200 or any(character in value for character in '\r\n\0"\\'):
            problems.append(FieldProblem(name, Problem.TOO_LONG, {"limit": "200"}))
    if details.security not in PORTS:
        problems.append(FieldProblem("security", Problem.UNKNOWN_CHOICE))
    if not 1 <= details.port <= 65535:
        problems.append(FieldProblem("port", Problem.OUT_OF_RANGE, {"low": "1", "high": "65535"}))
    where = (details.host.strip().lower(), details.port, details.security)
    if not details.password:
        if mailbox is None:
            problems.append(FieldProblem("password", Problem.REQUIRED))
        elif where != (mailbox.host, mailbox.port, mailbox.security):
            problems.append(FieldProblem("password", Problem.PASSWORD_AGAIN))
    if problems:
        raise Invalid(*problems)
    before = _values(mailbox) if mailbox else None
    if mailbox is None:
        mailbox = Mailbox(operator_id=actor.operator_id, version=0)
        session.add(mailbox)
    if details.password:
        mailbox.password = keyring.seal(PASSWORD_PURPOSE, details.password)
    mailbox.address, mailbox.user_name, mailbox.folder = address, details.user_name.strip(), details.folder.strip()
    mailbox.host, mailbox.port, mailbox.security = where
    mailbox.active, mailbox.trouble = details.active, ""
    mailbox.version += 1
    session.flush()
    after = _values(mailbox) | ({"password": "changed"} if details.password else {})
    record(session, actor, "mailbox.change", "operator", actor.operator_id, before, after)
    return mailbox


def delete_mailbox(session: Session, actor: Actor) -> None:
    """Read no mailbox any more. What came by it stays."""
    mailbox = session.get(Mailbox, actor.operator_id)
    if mailbox is not None:
        record(session, actor, "mailbox.delete", "operator", actor.operator_id, _values(mailbox), None)
        session.delete(mailbox)
        session.flush()


def access_of(mailbox: Mailbox, keyring: Keyring, settings: Settings) -> Access:
    """Return how a mailbox is opened. Raises MailboxTrouble when its password cannot be read."""
    try:
        password = keyring.open(PASSWORD_PURPOSE, mailbox.password)
    except SecretUnreadable:
        raise MailboxTrouble("password_unreadable") from None
    return Access(
        mailbox.host,
        mailbox.port,
        mailbox.security,
        mailbox.user_name,
        password,
        mailbox.folder,
        settings.local_gateways,
        settings.private_networks,
    )


def count_unseen(access: Access) -> int:
    """Return how many mails wait, which shows that the mailbox can be opened. Raises MailboxTrouble."""
    with _opened(access) as server:
        return len(_unseen(server))


def read_mailbox(
    sessions: sessionmaker[Session], settings: Settings, operator_id: int, now: datetime, most: int = 50
) -> int:
    """Read what is new and return how many mails were put down. Notes trouble instead of raising it."""
    with sessions() as session:
        mailbox = session.get(Mailbox, operator_id)
        if mailbox is None or not mailbox.active:
            return 0
        own = {mailbox.address, parseaddr(settings.smtp_sender)[1]}
    done, trouble = 0, ""
    try:
        access = access_of(mailbox, settings.keyring, settings)
        with _opened(access) as server:
            for uid in _unseen(server):
                done += _read(server, uid, sessions, settings.keyring, operator_id, own, now)
                if done == most:
                    break
    except MailboxTrouble as problem:
        trouble = str(problem)[:300]
        log.warning("mailbox_not_read", operator_id=operator_id, why=trouble.partition(":")[0])
    with sessions() as session:
        values = {"trouble": trouble} | ({} if trouble else {"read_at": now})
        session.execute(update(Mailbox).where(Mailbox.operator_id == operator_id).values(values))
        session.commit()
    return done


def active_mailboxes(session: Session) -> list[int]:
    """Return the operators whose mailboxes are to be read."""
    return list(session.scalars(select(Mailbox.operator_id).where(Mailbox.active).order_by(Mailbox.operator_id)))


def _read(
    server: imaplib.IMAP4,
    uid: str,
    sessions: sessionmaker[Session],
    keyring: Keyring,
    operator_id: int,
    own: Collection[str],
    now: datetime,
) -> bool:
    """Put down one mail and mark it; False leaves it as it is, to be tried again."""
    size = _SIZE.search(
        b" ".join(part for part in _said(server.uid("FETCH", uid, "(RFC822.SIZE)")) if isinstance(part, bytes))
    )
    wanted = "(BODY.PEEK[])" if size is None or int(size[1]) <= LARGEST_MAIL else "(BODY.PEEK[HEADER])"
    parts = [part for part in _said(server.uid("FETCH", uid, wanted)) if isinstance(part, tuple)]
    if not parts:
        return False  # somebody else removed it
    try:
        with sessions() as session:
            receive(session, keyring, operator_id, parts[0][1], own, now)
            session.commit()
    except Exception as problem:  # noqa: BLE001 - whatever somebody sends, the mails behind it are read
        log.warning("mail_not_put_down", operator_id=operator_id, uid=uid, error=type(problem).__name__)
        return False
    _said(server.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))
    return True


def _unseen(server: imaplib.IMAP4) -> list[str]:
    found = _said(server.uid("SEARCH", "UNSEEN"))
    return found[0].decode("ascii").split() if found and isinstance(found[0], bytes) else []


@contextmanager
def _opened(access: Access) -> Iterator[imaplib.IMAP4]:
    """Yield a connection that is signed in and has chosen the folder. Raises MailboxTrouble, also for what follows."""
    server: imaplib.IMAP4 | None = None
    try:
        address = check_host(access.host, access.port, local=access.local, networks=access.networks)
        server = (
            _Tls(access.host, address, access.port)
            if access.security == "tls"
            else _Plain(access.host, address, access.port)
        )
        if access.security == "starttls":
            server.starttls(ssl.create_default_context())
        _sign_in(server, access)
        kind, answer = server.select(f'"{access.folder}"')
        if kind != "OK":
            raise MailboxTrouble(f"folder: {_words(answer[0])}")
        yield server
    except (NotAllowed, NoAnswer) as problem:
        raise MailboxTrouble(f"host: {problem}") from None
    except ssl.SSLError as problem:
        raise MailboxTrouble(f"tls: {problem.reason or type(problem).__name__}") from None
    except imaplib.IMAP4.error as problem:
        raise MailboxTrouble(f"server: {_words(problem)}") from None
    except OSError as problem:
        raise MailboxTrouble(f"connection: {problem.strerror or type(problem).__name__}") from None
    finally:
        if server is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                server.logout()


def _sign_in(server: imaplib.IMAP4, access: Access) -> None:
    """Sign in by SASL PLAIN (RFC 4616), which carries any password; LOGIN of imaplib carries ASCII alone."""
    try:
        if "AUTH=PLAIN" in server.capabilities:
            secret = f"\0{access.user_name}\0{access.password}".encode()
            server.authenticate("PLAIN", lambda _challenge: secret)
        else:
            server.login(access.user_name, access.password)
    except UnicodeEncodeError:
        raise MailboxTrouble("login: the server takes no such letters") from None
    except imaplib.IMAP4.error as problem:
        raise MailboxTrouble(f"login: {_words(problem)}") from None


class _Plain(imaplib.IMAP4):
    """A connection to the very address that was looked at; `host` stays the name that certificates are for."""

    def __init__(self, host: str, address: str, port: int) -> None:
        self._address = address
        super().__init__(host, port, TIMEOUT)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return socket.create_connection((self._address, self.port), timeout)


class _Tls(_Plain):
    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = super()._create_socket(timeout)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


def _said(answer: tuple[str, list[bytes | tuple[bytes, bytes] | None]]) -> list[bytes | tuple[bytes, bytes] | None]:
    kind, parts = answer
    if kind != "OK":
        raise MailboxTrouble(f"server: {_words(parts[0] if parts else b'')}")
    return parts


def _words(said: object) -> str:
    if isinstance(said, imaplib.IMAP4.error) and said.args:
        said = said.args[0]
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return " ".join(text.split())[:200]


def _values(mailbox: Mailbox) -> dict[str, object]:
    names = ("address", "host", "port", "security", "user_name", "folder", "active")
    return {name: getattr(mailbox, name) for name in names}
