"""The REST API, under /api/v1: what the portal can do, for programs."""

from flask import Flask
from flask_wtf import CSRFProtect

from portal.api import document, frame, problems, resources

__all__ = ["document", "frame", "install", "resources"]


def install(app: Flask, csrf: CSRFProtect) -> None:
    csrf.exempt(frame.blueprint)  # no cookie opens it, so a browser cannot be made to ask in somebody's name
    app.register_blueprint(frame.blueprint)
    problems.install(app)
