"""Rows for tests, written straight into a real database by the role that row-level security does not bind."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from core.settings import Settings

_numbers = itertools.count(1)


@dataclass
class Isp:
    """An operator with a NAS at 127.0.0.1, to which tests add plans and services."""

    connection: psycopg.Connection[Any]
    settings: Settings
    operator_id: int = 0
    nas_id: int = 0
    plan_id: int = 0
    secret: str = "testing123"
    services: dict[str, int] = field(default_factory=dict)

    @classmethod
    def create(cls, settings: Settings, address: str | None = "127.0.0.1", **operator: Any) -> "Isp":
        """Create an operator with one plan (20/5 Mbit/s) and, unless `address` is None, one NAS; commits."""
        assert settings.database_url is not None
        connection = psycopg.connect(settings.database_url.get_secret_value(), autocommit=True)
        isp = cls(connection, settings)
        number = next(_numbers)
        isp.operator_id = isp.insert("operator", slug=f"isp{number}", name=f"ISP {number}", **operator)
        isp.plan_id = isp.plan()
        if address is not None:
            isp.nas_id = isp.nas(address)
        return isp

    def insert(self, table: str, returning: str = "id", **values: Any) -> int:
        values = {
            key: Jsonb(value) if key in ("windows", "steps", "bonus_hours", "extra") else value
            for key, value in values.items()
        }
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
            sql.Identifier(returning),
        )
        row = self.connection.execute(statement, list(values.values())).fetchone()
        assert row is not None
        return int(row[0])

    def update(self, table: str, row_id: int, **values: Any) -> None:
        statement = sql.SQL("UPDATE {} SET {} WHERE id = {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(key), sql.Placeholder()) for key in values),
            sql.Placeholder(),
        )
        self.connection.execute(statement, [*values.values(), row_id])

    def nas(self, address: str, **values: Any) -> int:
        sealed = self.settings.keyring.seal("nas.secret", self.secret)
        values = {"name": f"nas {address}", "secret": sealed, **values}
        return self.insert("nas", operator_id=self.operator_id, address=address, **values)

    def plan(self, **values: Any) -> int:
        values = {"name": f"plan {next(_numbers)}", "download": 20_000_000, "upload": 5_000_000, **values}
        return self.insert("rate_plan", operator_id=self.operator_id, **values)

    def service(self, name: str, password: str | None = "secret", **values: Any) -> int:
        """Create a subscriber with one service (PPPoE unless told otherwise) and return the service's id."""
        subscriber_id = values.pop("subscriber_id", None) or self.insert(
            "subscriber", operator_id=self.operator_id, name=f"Subscriber {name}"
        )
        sealed = self.settings.keyring.seal("service.password", password) if password is not None else None
        values = {"access_method": "pppoe", "plan_id": self.plan_id, **values}
        service_id = self.insert(
            "service",
            operator_id=self.operator_id,
            subscriber_id=subscriber_id,
            name=name,
            password=sealed,
            **values,
        )
        self.services[name] = service_id
        return service_id

    def fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, parameters).fetchall()
