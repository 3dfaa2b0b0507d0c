"""The pages of an operator's subscribers, under /my/<short name of the operator>/."""

from flask import Flask, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from crm.brands import Branding, allowed_by, brand_of
from db.models import Operator
from portal import context
from portal.subscriber import account, contact, frame, home, money, push, services, shell, sign_in, tickets

__all__ = ["account", "contact", "frame", "home", "money", "push", "services", "shell", "sign_in", "tickets"]


def install(app: Flask) -> None:
    app.register_blueprint(frame.blueprint)
    app.before_request(_own_host)
    app.jinja_env.globals.update(subscriber_pages=_pages_of, subscriber_brand=_brand_of)


def _pages_of(operator: Operator) -> str | None:
    """Return where an operator's subscribers have their pages, for pages that are reached by a link alone."""
    if not allowed_by(context.open_for(operator.id), operator.id).enabled:
        return None
    return url_for("my.home", slug=operator.slug)


def _brand_of(operator: Operator) -> Branding:
    """Return the brand of an operator, for those pages."""
    return brand_of(context.open_for(operator.id), operator)


def _own_host() -> ResponseReturnValue | None:
    """Lead who types the host name of an operator's own to its pages, and not to the sign-in of staff.

    And note whose host it is where pages are opened by a link: there, no other operator's pages answer.
    """
    first = request.path == "/" and request.method == "GET"
    if first or request.blueprint == "pay":
        found = frame.portal_of(None, frame.host())
        g.host_of = found.id if found is not None else None
        if first and found is not None:
            return redirect(url_for("my.root"))
    return None
