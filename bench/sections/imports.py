"""Imports: a router with thousands of clients read over its API, and what was found written and undone."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from bench.report import Section, Table, under
from bench.sections import Options
from bench.site import open_site
from core.crypto import Keyring
from core.settings import Settings
from crm.jobs import start_job
from crm.nas import NasTerms, create_nas
from crm.plans import PlanTerms, create_plan
from db.audit import Actor
from db.migrate import migrate
from db.models import ImportBatch, ImportRow, Job, Operator, Router
from db.session import make_engine
from lab.routeros import ApiServer, Box, User
from lab.routeros.scenarios import LARGE, SMALL, Size, fill
from network.access import PASSWORD_PURPOSE
from network.importing.files import recognise
from network.importing.jobs import READ, UNDO, WRITE
from network.importing.sources import csv_file
from network.importing.staging import stage
from network.jobs import JOBS
from worker.jobs import run_job

PASSWORD = "bench"


def measure(options: Options) -> Section:
    """Read 2,000 queues, 1,500 secrets and 800 leases, and import a file of 5,000 rows."""
    size, rows = (SMALL, 200) if options.quick else (LARGE, 5_000)
    with open_site() as site, _router(Box(users={"bench": User(PASSWORD)}), size) as (_address, port):
        migrate(site.settings)
        assert site.settings.database_url is not None
        engine = make_engine(site.settings.database_url.get_secret_value())
        importer = _Importer(engine, site.settings, port)
        table = [importer.import_from_router(source) for source in ("queues", "secrets", "leases")]
        table.append(importer.import_file(_spreadsheet(rows)))
        engine.dispose()
    longest = max(float(row[2]) + float(row[3]) for row in table)
    return Section(
        "imports",
        f"Imports, up to {rows:,} rows",
        (
            under(f"a file of {rows:,} rows, written", 30, float(table[-1][3]), "s"),
            under("the longest import, from the source to the last row", 30, longest, "s"),
        ),
        (Table(("source", "rows", "read and compared s", "written s", "undone s"), tuple(table)),),
        (
            "The router is an emulated one in the same process, read over a socket; comparing looks for doubles among"
            " the services that earlier imports made. Writing is the whole job: rules, one transaction with durable"
            " commit, progress, and the rows' own record. Every row that can be written is.",
        ),
    )


class _Importer:
    def __init__(self, engine: Engine, settings: Settings, port: int) -> None:
        self._engine = engine
        self._settings = settings
        self._keyring: Keyring = settings.keyring
        with Session(engine) as session:
            operator = Operator(slug="bench", name="Bench")
            session.add(operator)
            session.flush()
            self._actor = Actor(operator.id, "bench")
            self._plan_id = create_plan(session, self._actor, PlanTerms("Home 20", 20_000_000, 5_000_000)).id
            terms = NasTerms("tower", "10.99.0.1")
            nas = create_nas(session, self._actor, self._keyring, terms, "secret-of-the-nas")
            self._nas_id = nas.id
            session.add(
                Router(
                    nas_id=nas.id,
                    operator_id=operator.id,
                    api_address="127.0.0.1",
                    api_port=port,
                    api_user="bench",
                    api_password=self._keyring.seal(PASSWORD_PURPOSE, PASSWORD),
                )
            )
            session.commit()

    def import_from_router(self, source: str) -> tuple[str, str, str, str, str]:
        batch = self._batch(source, "reading")
        return self._import(f"router: {source}", batch, lambda: self._do(READ, batch))

    def import_file(self, octets: bytes) -> tuple[str, str, str, str, str]:
        batch = self._batch("csv", "columns")

        def read() -> None:
            upload = recognise({"clients.csv": octets})
            assert upload is not None
            file = csv_file.take_apart(upload.text)
            with Session(self._engine) as session:
                found = csv_file.candidates(file, csv_file.guess_columns(file))
                stage(session, self._keyring, session.get_one(ImportBatch, batch), found)
                session.commit()

        return self._import("CSV file", batch, read)

    def _import(self, name: str, batch: int, read: Callable[[], object]) -> tuple[str, str, str, str, str]:
        reading = _seconds(read)
        with Session(self._engine) as session:
            # What a person decides in the wizard: everything that has no plan gets one.
            session.execute(
                update(ImportRow)
                .where(ImportRow.batch_id == batch, ImportRow.plan_id.is_(None))
                .values(plan_id=self._plan_id)
            )
            rows = len(session.scalars(select(ImportRow.id).where(ImportRow.batch_id == batch)).all())
            session.commit()
        writing = _seconds(lambda: self._do(WRITE, batch))
        with Session(self._engine) as session:
            counts = session.get_one(ImportBatch, batch).counts
            assert counts["created"] + counts["updated"] > rows // 2, counts
        undoing = _seconds(lambda: self._do(UNDO, batch))
        return name, f"{rows:,}", f"{reading:.2f}", f"{writing:.2f}", f"{undoing:.2f}"

    def _batch(self, source: str, state: str) -> int:
        with Session(self._engine) as session:
            batch = ImportBatch(
                operator_id=self._actor.operator_id, source=source, title="bench", state=state, nas_id=self._nas_id,
                tie=source == "queues",
            )  # fmt: skip
            session.add(batch)
            session.commit()
            return batch.id

    def _do(self, kind: str, batch: int) -> None:
        with Session(self._engine) as session:
            job = start_job(session, self._actor, kind, {"batch_id": batch})
            session.commit()
            job_id = job.id
        run_job(self._engine, self._settings, job_id, JOBS)
        with Session(self._engine) as session:
            done = session.get_one(Job, job_id)
            assert done.state == "done", done.state
            assert "problem" not in done.outcome, done.outcome


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _spreadsheet(rows: int) -> bytes:
    lines = ["Nombre;Usuario;Contraseña;Velocidad;Teléfono;IP;Comentario"]
    lines += [
        f"Núñez Peña {number};cliente{number};clave{number};20/5;55{number:08d};10.{number >> 16}.{number >> 8 & 255}"
        f".{number & 255};calle {number}"
        for number in range(1, rows + 1)
    ]
    return "\n".join(lines).encode("cp1252")


@contextmanager
def _router(box: Box, size: Size) -> Iterator[tuple[str, int]]:
    """Run an emulated router on a loop of its own."""
    fill(box, size)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="router", daemon=True)
    thread.start()
    server = ApiServer(box, "127.0.0.1", 0)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server.address, server.port
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
