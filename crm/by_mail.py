"""E-mail: one message to the installation's mail server, which says whether it takes it, later or never (RFC 5321)."""

import base64
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

from core.i18n import N_, translator
from core.settings import Settings
from crm.delivery import Refused, TryAgain
from db.models import Notification

_LEAVE = N_("You do not want such messages? Unsubscribe here: %(url)s")


def send_by_mail(
    settings: Settings, notification: Notification, address: str, attached: tuple[str, str, bytes] | None
) -> None:
    if settings.smtp_host is None:
        raise TryAgain("PORTICO_SMTP_HOST is not set")
    mail = EmailMessage()
    mail["Subject"] = notification.subject
    mail["From"] = settings.smtp_sender
    mail["To"] = address
    mail["Date"] = format_datetime(notification.created_at)
    mail["Message-ID"] = (
        f"<portico-{notification.id}@{settings.smtp_sender.partition('@')[2].strip('<> ') or 'portico'}>"
    )
    mail["Content-Language"] = notification.language
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    for name, value in notification.headers.items():
        del mail[name]
        mail[name] = value
    body = notification.body
    if notification.unsubscribe:
        leave = f"{settings.public_url}/unsubscribe/{notification.unsubscribe}"
        mail["List-Unsubscribe"] = f"<{leave}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
        body += "\n\n" + translator(notification.language)(_LEAVE) % {"url": leave}
    mail.set_content(body)
    if attached is not None:
        name, media_type, content = attached
        main, _, sub = media_type.partition("/")
        mail.add_attachment(content, main, sub, filename=name)
    try:
        with _smtp(settings) as server:
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as problem:
        code, answer = next(iter(problem.recipients.values()))
        _refused(code, answer)
    except smtplib.SMTPResponseException as problem:
        _refused(problem.smtp_code, problem.smtp_error)
    except (OSError, smtplib.SMTPException) as problem:
        raise TryAgain(_words(problem)) from None


def _log_in(server: smtplib.SMTP, user: str, password: str) -> None:
    """Log in; smtplib takes no letters beyond ASCII, which AUTH PLAIN sends as UTF-8 (RFC 4616)."""
    if f"{user}{password}".isascii():
        server.login(user, password)
        return
    server.ehlo_or_helo_if_needed()
    secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    code, answer = server.docmd("AUTH", f"PLAIN {secret}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _smtp(settings: Settings) -> smtplib.SMTP:
    """Return a connection to the mail server, encrypted and signed in as the settings say."""
    assert settings.smtp_host is not None
    host, port, seconds = settings.smtp_host, settings.smtp_port, settings.smtp_timeout
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if settings.smtp_security == "tls":
        server = smtplib.SMTP_SSL(host, port, timeout=seconds, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=seconds)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=context)
        if settings.smtp_user is not None:
            password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
            _log_in(server, settings.smtp_user, password)
    except BaseException:
        server.close()
        raise
    return server


def _refused(code: int, answer: bytes | str) -> None:
    """Raise what a mail server's answer means. Being refused the login is ours to mend, so it is tried again."""
    words = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    kind = Refused if 500 <= code < 600 and code not in (530, 534, 535, 538) else TryAgain
    raise kind(f"{code} {' '.join(words.split())}")


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
