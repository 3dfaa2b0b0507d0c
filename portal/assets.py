"""Addresses of styles, scripts and pictures: they carry a hash of the content, so browsers may keep them a year."""

import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, url_for

STATIC = Path(__file__).resolve().parent / "static"


@cache
def _version(name: str, _changed: float) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a file in `static/`. A file that is not there gets an address without a version."""
    try:
        changed = (STATIC / name).stat().st_mtime
    except FileNotFoundError:
        return url_for("static", filename=name)
    return url_for("static", filename=name, v=_version(name, changed))


def install(app: Flask) -> None:
    app.jinja_env.globals["asset"] = asset
