"""The REST API, under /api/v1: what the portal can do, for programs."""

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.routing import IntegerConverter

from portal.api import document, frame, problems, resources

__all__ = ["document", "frame", "install", "resources"]


class _RowNumber(IntegerConverter):
    """A number that a row may have. Told by its digits alone, so that others are no address, whatever the method."""

    regex = r"[0-9]{1,18}"


def install(app: Flask, csrf: CSRFProtect) -> None:
    app.url_map.converters["row"] = _RowNumber
    csrf.exempt(frame.blueprint)  # no cookie opens it, so a browser cannot be made to ask in somebody's name
    app.register_blueprint(frame.blueprint)
    problems.install(app)
