"""The pages that somebody sees who is not let on: the login of a hotspot, and the reason why a line is closed."""

from flask import Flask

from portal.captive import buy, devices, frame, login, reasons

__all__ = ["buy", "devices", "frame", "login", "reasons"]


def install(app: Flask) -> None:
    app.register_blueprint(frame.blueprint)
    reasons.install(app)
    # Nobody is signed in on these pages, and a login goes to the router that the phone is at.
    app.extensions["csrf"].exempt(frame.blueprint)
