"""Leaving messages that are not about the account, by the signed link in each of them; and coming back.

A page with a button, since programs that check mail open every link; and a POST without a page, which mail programs
send when somebody presses their own button (RFC 8058). That POST comes from another site and carries no token: the
signature in its address is what it needs.
"""

from flask import Blueprint, Flask, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from core.i18n import LANGUAGES
from crm.unsubscribing import is_genuine, read_link, set_subscribed
from db.audit import Actor
from db.models import MessagePreference, Operator, Subscriber
from portal import context
from portal.auth import limiter
from portal.i18n import LANGUAGE_COOKIE
from portal.permissions import public

blueprint = Blueprint("unsubscribe", __name__)


def _link_text() -> str:
    return str((request.view_args or {}).get("text", ""))


@blueprint.get("/unsubscribe/<text>")
@public
@limiter.limit("60 per minute", key_func=_link_text)
def page(text: str) -> ResponseReturnValue:
    session, operator, subscriber = _opened(text)
    kept = session.get(MessagePreference, subscriber.id)
    return render_template(
        "unsubscribe.html", operator=operator, text=text, left=kept is not None and kept.unsubscribed_at is not None
    )  # fmt: skip


@blueprint.post("/unsubscribe/<text>")
@public
@limiter.limit("20 per minute", key_func=_link_text)
def leave(text: str) -> ResponseReturnValue:
    """Leave; or come back, with the page's other button."""
    session, operator, subscriber = _opened(text)
    actor = Actor(operator.id, "subscriber", address=request.remote_addr)
    set_subscribed(session, actor, subscriber, wanted=request.form.get("do") == "return", now=context.now())
    session.commit()
    if request.form.get("List-Unsubscribe") == "One-Click":
        return "", 200
    return redirect(url_for(".page", text=text))


def _opened(text: str) -> tuple[Session, Operator, Subscriber]:
    """Return a session of the link's operator and whom it is about; 404 for what is no link of ours."""
    found = read_link(text)
    if found is None:
        abort(404)
    operator_id, subscriber_id = found
    person = context.signed_in_staff()
    if person is not None and person.operator_id != operator_id:
        # The request's session acts for the operator of who is signed in; this page is another's.
        context.close_db()
        g.staff = None
    session = context.open_for(operator_id)
    if not is_genuine(session, context.keyring(), text):
        abort(404)
    operator, subscriber = session.get(Operator, operator_id), session.get(Subscriber, subscriber_id)
    if operator is None or subscriber is None:
        abort(404)
    if subscriber.language in LANGUAGES and LANGUAGE_COOKIE not in request.cookies:
        g.language = subscriber.language
    return session, operator, subscriber


def install(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.extensions["csrf"].exempt(leave)
