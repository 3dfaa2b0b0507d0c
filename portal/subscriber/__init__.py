"""The pages of an operator's subscribers, under /my/<short name of the operator>/."""

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from crm.brands import allowed_by
from db.models import Operator
from portal import context
from portal.subscriber import account, contact, frame, home, money, services, shell, sign_in, tickets

__all__ = ["account", "contact", "frame", "home", "money", "services", "shell", "sign_in", "tickets"]


def install(app: Flask) -> None:
    app.register_blueprint(frame.blueprint)
    app.before_request(_own_host)
    app.jinja_env.globals.update(subscriber_pages=_pages_of)


def _pages_of(operator: Operator) -> str | None:
    """Return where an operator's subscribers have their pages, for pages that are reached by a link alone."""
    if not allowed_by(context.open_for(operator.id), operator.id).enabled:
        return None
    return url_for("my.home", slug=operator.slug)


def _own_host() -> ResponseReturnValue | None:
    """Lead who types the host name of an operator's own to its pages, and not to the sign-in of staff."""
    if request.path == "/" and request.method == "GET" and frame.portal_of(None, frame.host()) is not None:
        return redirect(url_for("my.root"))
    return None
