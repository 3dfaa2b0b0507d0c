"""The mails of sign-up. Their rows hold a link, so they are of a kind that no page of the portal can read again."""

from typing import Any

from flask import url_for
from flask_babel import force_locale
from flask_babel import gettext as _
from sqlalchemy import insert
from sqlalchemy.orm import Session

from crm.notices import EMAIL, Message, values_of
from crm.sign_up import LINK_HOLDS
from db.models import Notification
from portal import context

KIND = "account.link"


def send_link(session: Session, platform_id: int, name: str, email: str, language: str, token: str) -> None:
    """Queue the mail with the link by which an account is opened."""
    with force_locale(language):
        subject = str(_("Confirm your e-mail address"))
        body = "\n\n".join(
            (
                _("Hello %(name)s,", name=name),
                _("You asked for an account. Open this link, choose a password and name your company:"),
                _address("sign_up.opening", token=token),
                _("It works once, for %(hours)s hours.", hours=int(LINK_HOLDS.total_seconds() // 3600)),
                _("If it was not you, do nothing: without the link there is no account."),
            )
        )
    _queue(session, platform_id, Message(KIND, EMAIL, email, language, subject, body))


def send_known(session: Session, platform_id: int, name: str, email: str, language: str) -> None:
    """Queue the mail to somebody who has an account already: the page did not say so, since anybody may ask it."""
    with force_locale(language):
        subject = str(_("You have an account already"))
        body = "\n\n".join(
            (
                _("Hello %(name)s,", name=name),
                _("Somebody asked for an account with this e-mail address, which has one already. Sign in here:"),
                _address("auth.sign_in_page"),
                _("If you forgot the password, a manager of your company makes a new link for you."),
            )
        )
    _queue(session, platform_id, Message(KIND, EMAIL, email, language, subject, body))


def _address(endpoint: str, **values: Any) -> str:
    # Never what the request calls this host: a stranger could have a link of ours sent that leads to them.
    return f"{context.portal().settings.public_url}{url_for(endpoint, **values)}"


def _queue(session: Session, operator_id: int, message: Message) -> None:
    # Not `deliver()`, which reads the row's id back: our role may write this kind of message and not read it.
    values = values_of(context.keyring(), operator_id, message)
    session.execute(insert(Notification).values(**values).inline())
