"""Channels that apprise knows: Telegram, SMS services, Slack and a hundred more, each by an address of its own form.

apprise tells whether a service took a message, and says why not in a line for its log alone, which ends in the status
of HTTP. That is read, because a reader who blocked us must not look like a service that is away: the messages to
everybody else would wait with it.
"""

import importlib
import io
import logging
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from crm.delivery import Refused, TryAgain
from crm.outbound import Network, NoAnswer, NotAllowed, check_host, guarded

# Channels that would act on the machine that Portico runs on, and not on somebody's phone.
_LOCAL = frozenset(("dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"))
_STATUS = re.compile(r"\berror=(\d{3})\b")
# What says nothing about this very message: who we are (401, 403), where we ask (404, which of Telegram, Twilio and
# others means a wrong token or account), and that it was too slow or too much.
_OURS_TO_MEND = frozenset((401, 403, 404, 408, 429))


def send_by_apprise(
    address: str, subject: str, body: str, *, local: bool, networks: Sequence[Network] = (), final: Collection[int] = ()
) -> None:  # fmt: skip
    """Send to an address of apprise. Raises TryAgain, and Refused where it would be in vain.

    `final` are further statuses by which the service says that it will never take this message.
    """
    apprise = _apprise()
    asset = apprise.AppriseAsset(app_id="Portico", app_desc="Portico", app_url="", async_mode=False)
    channel = apprise.Apprise(asset=asset)
    if address.partition("://")[0].lower() in _LOCAL or not channel.add(address):
        raise Refused("the address of this channel is not understood")
    if not local:
        for host in _hosts(channel):
            try:
                check_host(host, 443, local=False, networks=networks)
            except NotAllowed as problem:
                raise Refused(str(problem)) from None
            except NoAnswer as problem:
                raise TryAgain(str(problem)) from None
    with _apprise_log() as said, guarded(local=local, networks=networks):
        # Said to be text, so that a channel that takes HTML or Markdown shows "<" and "*" as they are.
        taken = channel.notify(title=subject, body=body, body_format="text", interpret_escapes=False)
    if not taken:
        why = _first_line(said.getvalue()).replace(address, "…")
        found = _STATUS.search(why)
        status = int(found[1]) if found else 0
        mended_by_waiting = not 400 <= status < 500 or status in _OURS_TO_MEND
        raise (TryAgain if mended_by_waiting and status not in final else Refused)(
            why or "the channel did not take the message"
        )


def understands(address: str) -> bool:
    """Tell whether an address is one that apprise can send to, and not one that would act on this machine."""
    if address.partition("://")[0].lower() in _LOCAL:
        return False
    with _apprise_log():
        return _apprise().Apprise.instantiate(address, suppress_exceptions=True) is not None


def service_of(address: str) -> str:
    """Return the service and the host of an address, without any password in it."""
    plugin = _apprise().Apprise.instantiate(address)
    if plugin is None:
        return address.partition("://")[0] + "://"
    host = getattr(plugin, "host", None)
    return f"{plugin.service_name} ({host})" if host else str(plugin.service_name)


@cache
def _apprise() -> Any:
    """Return apprise, which takes a second to import: only who sends by it pays for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        apprise = importlib.import_module("apprise")
        apprise.Apprise.instantiate("json://localhost")  # its channels are read at the first use
    return apprise


def _hosts(channel: Iterable[Any]) -> list[str]:
    """Return the hosts that an apprise address names. Of a service with a host of its own, such as Twilio or Telegram,
    what stands in that place is a telephone number or a token."""
    return [
        host
        for plugin in channel
        for host in (
            plugin.host if any("{host}" in template for template in plugin.templates) else None,
            getattr(plugin, "smtp_host", None),
        )
        if host
    ]


@contextmanager
def _apprise_log() -> Iterator[io.StringIO]:
    """Collect apprise's warnings, which hold addresses, instead of letting them reach a log."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
