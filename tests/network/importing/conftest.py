"""An operator with a router, whose RouterOS side is emulated, and jobs done as a worker does them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.settings import Settings
from crm.jobs import start_job
from db.audit import Actor
from db.models import ImportBatch, ImportRow, Job, JobLine, Router
from db.session import make_engine
from lab.routeros import User
from network.access import PASSWORD_PURPOSE
from network.importing.jobs import READ, UNDO, WRITE
from network.jobs import JOBS
from tests.factories import Isp
from tests.lab.routeros import EmulatedRouter, emulated_router, router_loop
from worker.jobs import run_job

__all__ = ["emulated_router", "router_loop"]


@dataclass
class Importer:
    """An ISP that imports."""

    isp: Isp
    engine: Engine
    settings: Settings

    @property
    def actor(self) -> Actor:
        return Actor(self.isp.operator_id, "ana@isp.example")

    def connect(self, router: EmulatedRouter, user: str | None = None) -> None:
        """Enter how the NAS's API is reached."""
        password = LIMITED.password if user else router.password
        with Session(self.engine) as session:
            session.merge(
                Router(
                    nas_id=self.isp.nas_id,
                    operator_id=self.isp.operator_id,
                    api_address=router.address,
                    api_port=router.port,
                    api_user=user or router.user,
                    api_password=self.settings.keyring.seal(PASSWORD_PURPOSE, password),
                )
            )
            session.commit()

    def batch(self, source: str, **values: object) -> int:
        with Session(self.engine) as session:
            values = {"nas_id": self.isp.nas_id, "title": "tower-1", "state": "reading", **values}
            batch = ImportBatch(operator_id=self.isp.operator_id, source=source, **values)
            session.add(batch)
            session.commit()
            return batch.id

    def do(self, kind: str, **parameters: object) -> Job:
        """Queue a job and do it; return it as it ended."""
        with Session(self.engine, expire_on_commit=False) as session:
            job = start_job(session, self.actor, kind, parameters)
            session.commit()
        run_job(self.engine, self.settings, job.id, JOBS)
        with Session(self.engine, expire_on_commit=False) as session:
            return session.get_one(Job, job.id)

    def read(self, source: str, **values: object) -> int:
        batch = self.batch(source, **values)
        assert self.do(READ, batch_id=batch).state == "done"
        return batch

    def write(self, batch: int) -> Job:
        return self.do(WRITE, batch_id=batch)

    def undo(self, batch: int) -> Job:
        return self.do(UNDO, batch_id=batch)

    def rows(self, batch: int) -> dict[str, ImportRow]:
        with Session(self.engine, expire_on_commit=False) as session:
            rows = session.scalars(select(ImportRow).where(ImportRow.batch_id == batch).order_by(ImportRow.line))
            return {row.key: row for row in rows}

    def decide(self, batch: int, key: str, **values: object) -> None:
        with Session(self.engine) as session:
            row = session.scalars(select(ImportRow).where(ImportRow.batch_id == batch, ImportRow.key == key)).one()
            for name, value in values.items():
                setattr(row, name, value)
            session.commit()

    def lines(self, job: Job) -> list[str]:
        with Session(self.engine) as session:
            lines = session.scalars(select(JobLine).where(JobLine.job_id == job.id).order_by(JobLine.id))
            return [line.message % line.values for line in lines]


@pytest.fixture(scope="module")
def importers(installation: Settings) -> Iterator[Callable[[], Importer]]:
    assert installation.database_url is not None
    engine = make_engine(installation.database_url.get_secret_value())
    numbers = iter(range(1, 200))
    isps: list[Isp] = []

    def make() -> Importer:
        isps.append(Isp.create(installation, f"10.77.0.{next(numbers)}"))
        return Importer(isps[-1], engine, installation)

    yield make
    for isp in isps:
        isp.connection.close()
    engine.dispose()


@pytest.fixture
def importer(importers: Callable[[], Importer]) -> Importer:
    return importers()


LIMITED = User("limited-password", "limited", frozenset({"api", "read"}))
"""Somebody who may read, and not what is sensitive."""
