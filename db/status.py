"""What every piece that uses PostgreSQL checks before it says that it is ready."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import psycopg

from core.settings import Settings
from core.status import Check, StatusServer, serve

MIGRATIONS = Path(__file__).resolve().parent / "migrations" / "versions"
IMAGE_AGE = 60.0
"""Seconds after which an image counts as old: the publisher writes down several times a minute that it is current."""


@cache
def newest_schema() -> str:
    """Return the revision that this code needs; told by the files, since Alembic takes more memory than a piece."""
    return max(each.name[:4] for each in MIGRATIONS.glob("[0-9]*.py"))


def database(url: str) -> Check:
    """Return the check that PostgreSQL answers, and has the schema of this code."""

    def check() -> str:
        with psycopg.connect(url, connect_timeout=3, application_name="status") as connection:
            row = connection.execute("SELECT schema_version()").fetchone()
        found = row[0] if row else None
        return "" if found == newest_schema() else f"schema {found}, not {newest_schema()}"

    return check


def redis_address(url: str) -> str:
    """Return the URL of a broker as redis-py reads it: Celery has another spelling for sockets."""
    return url.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")


def redis(url: str) -> Check:
    """Return the check that Redis answers."""

    def check() -> str:
        from redis import Redis

        client = Redis.from_url(redis_address(url), socket_timeout=3)
        try:
            client.ping()
        finally:
            client.close()
        return ""

    return check


def image(settings: Settings, url: str) -> Check:
    """Return the check that this node has an image, and that its publisher has lately found it current."""

    def check() -> str:
        if not (settings.image_dir / "current").exists():
            return "no image"
        with psycopg.connect(url, connect_timeout=3, application_name="status") as connection:
            query = "SELECT extract(epoch FROM image_age) FROM installation_health() WHERE node = %s"
            row = connection.execute(query, (settings.node,)).fetchone()
        if row is None or row[0] is None:
            return "the publisher has not said that it is current"
        return f"not looked after for {row[0]:.0f} s" if row[0] > IMAGE_AGE else ""

    return check


def serve_status(settings: Settings, piece: str, checks: Mapping[str, Check] | None = None) -> StatusServer:
    """Answer for this process, with the checks of every piece and its own."""
    assert settings.database_url is not None, "the settings are complete"
    return serve(
        settings.run_dir, piece, {"database": database(settings.database_url.get_secret_value()), **(checks or {})}
    )
