"""The pages of an operator's subscribers, under /my/<short name of the operator>/."""

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from portal.subscriber import account, frame, home, money, services, shell, sign_in, tickets

__all__ = ["account", "frame", "home", "money", "services", "shell", "sign_in", "tickets"]


def install(app: Flask) -> None:
    app.register_blueprint(frame.blueprint)
    app.before_request(_own_host)


def _own_host() -> ResponseReturnValue | None:
    """Lead who types the host name of an operator's own to its pages, and not to the sign-in of staff."""
    if request.path == "/" and request.method == "GET" and frame.portal_of(None, frame.host()) is not None:
        return redirect(url_for("my.root"))
    return None
