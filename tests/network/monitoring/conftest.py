"""An operator with routers that are emulated, on a database of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from db.session import make_engine, make_sessions
from tests.factories import Isp
from tests.lab.routeros import EmulatedRouter, emulated_router, router_loop

__all__ = ["emulated_router", "router_loop"]


class WatchedIsp(Isp):
    """An operator whose routers have an API."""

    def router(self, router: EmulatedRouter | None, nas_id: int | None = None, **values: Any) -> int:
        """Register an emulated router's API at a NAS, by default a new one, and return the NAS's id."""
        if nas_id is None:
            count = len(self.fetch("SELECT FROM nas"))
            nas_id = self.nas(f"10.77.0.{count + 1}", name=f"Torre {count + 1}")
        password = router.password if router is not None else "secret"
        defaults = {
            "api_address": "127.0.0.1",
            "api_port": router.port if router is not None else 9,
            "api_user": router.user if router is not None else "admin",
            "api_password": self.settings.keyring.seal("router.password", password),
        }
        return self.insert("router", "nas_id", nas_id=nas_id, operator_id=self.operator_id, **{**defaults, **values})

    def recipient(self, kinds: list[str], language: str = "es", address: str = "noc@isp.example") -> int:
        return self.insert(
            "alert_recipient", operator_id=self.operator_id, name="NOC", channel="email", language=language,
            address=self.settings.keyring.seal("alert_recipient.address", address), kinds=kinds,
        )  # fmt: skip

    def subjects(self) -> list[str]:
        """Return the subjects of all notices in the order in which they were written."""
        return [subject for (subject,) in self.fetch("SELECT subject FROM notification ORDER BY id")]


@pytest.fixture
def isp(database) -> Iterator[WatchedIsp]:
    isp = WatchedIsp.create(database, timezone="America/Mexico_City", locale="es")
    yield isp
    isp.connection.close()


@pytest.fixture
def sessions(database):
    engine = make_engine(database.database_url.get_secret_value())
    yield make_sessions(engine)
    engine.dispose()
