"""An imported PPPoE secret from end to end: the router decides, Portico takes over, cuts by date, and restores.

Everything is real but the router, which is NAS and API in one and speaks both: the import, the taking over, the
invoice, the cut-off and the payment are those of every day.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session as OrmSession

from core.clock import utc_now
from crm.jobs import start_job
from db.audit import Actor
from db.models import BillingSettings, ImportBatch, Job, PaymentMethod, RatePlan, Service
from db.session import make_engine
from lab.network import Cpe
from lab.routeros.live import LiveRouter
from lab.session import Session
from lab.subscriber import Subscriber
from network.importing.jobs import READ, WRITE
from network.shadow import GIVE_BACK, TAKE_OVER
from tests.billing.isp import ZONE, BillingIsp
from tests.system.conftest import wait_until
from tests.system.test_enforcement import Site, seconds_until, site

__all__ = ["site"]

pytestmark = pytest.mark.system


@dataclass
class Imported:
    """A router with a secret that its subscriber dials in with, and the operator that imports it."""

    site: Site
    engine: Engine
    nas_id: int
    router: LiveRouter
    cpe: Cpe

    @property
    def actor(self) -> Actor:
        return Actor(self.site.isp.operator_id, "test")

    def job(self, kind: str, **parameters: object) -> Job:
        """Have the worker do a job, and return it as it ended."""
        with OrmSession(self.engine, expire_on_commit=False) as session:
            job_id = start_job(session, self.actor, kind, parameters).id
            session.commit()
        wait_until(
            lambda: self.site.isp.fetch("SELECT 1 FROM job WHERE id = %s AND state IN ('done', 'failed')", job_id),
            20, "the job",
        )  # fmt: skip
        with OrmSession(self.engine) as session:
            job = session.get_one(Job, job_id)
            assert job.state == "done"
            return job

    def import_secrets(self) -> int:
        """Import what the router has, and return the one service that came of it."""
        with OrmSession(self.engine) as session:
            batch = ImportBatch(
                operator_id=self.site.isp.operator_id, source="secrets", title="tower", state="reading",
                nas_id=self.nas_id,
            )  # fmt: skip
            session.add(batch)
            session.commit()
            batch_id = batch.id
        self.job(READ, batch_id=batch_id)
        self.job(WRITE, batch_id=batch_id)
        with OrmSession(self.engine) as session:
            return session.scalars(
                select(Service.id).where(Service.operator_id == self.site.isp.operator_id, Service.name == "ana.vieja")
            ).one()

    def redial(self) -> Session:
        before = self.cpe.session
        self.site.network.call(lambda _: self.cpe.redial())
        return wait_until(
            lambda: self.cpe.session if self.cpe.session is not before else None, 10, "the next login"
        )  # fmt: skip


@pytest.fixture
def imported(site: Site) -> Iterator[Imported]:
    nas_id, nas = site.nas()
    router = site.network.add_router(nas.profile.name)
    router.box.fill("/ppp/profile", {"name": "viejo", "rate-limit": "5M/20M"})
    router.box.fill("/ppp/secret", {"name": "ana.vieja", "password": "secret", "service": "pppoe", "profile": "viejo"})
    site.isp.insert(
        "router", "nas_id", nas_id=nas_id, operator_id=site.isp.operator_id, api_address=nas.profile.address,
        api_port=router.server.port, api_user="admin",
        api_password=site.settings.keyring.seal("router.password", "admin"),
    )  # fmt: skip
    cpe = site.network.add_subscriber(
        Subscriber("ana.vieja", "secret", mac="02:00:00:00:77:01", redial_after=0.3), nas.profile.name
    )
    engine = make_engine(site.settings.database_url.get_secret_value())
    yield Imported(site, engine, nas_id, router, cpe)
    engine.dispose()


def bill_and_let_the_date_pass(session: OrmSession, imported: Imported, service_id: int) -> BillingIsp:
    """Issue an invoice that was due three days ago."""
    isp, today = imported.site.isp, utc_now().astimezone(ZONE).date()
    isp.update("operator", isp.operator_id, timezone=ZONE.key, currency="MXN")
    service = session.get_one(Service, service_id)
    began = datetime.combine(today - timedelta(days=3), datetime.min.time(), ZONE).astimezone(UTC)
    service.activated_at, service.paid_until = began, None
    session.get_one(RatePlan, service.plan_id).price = Decimal(300)
    settings = {"cut_off": "anchor", "first_due_days": 0, "starts_on": today - timedelta(days=30)}
    session.add(BillingSettings(operator_id=isp.operator_id, enabled=True, **settings))
    cash = PaymentMethod(operator_id=isp.operator_id, name="Cash", account="cash")
    session.add(cash)
    session.flush()
    books = BillingIsp(session, isp.operator_id, imported.actor, cash.id)
    books.run(today)
    session.commit()
    return books


def test_an_imported_secret_is_cut_by_date_and_restored_by_a_payment_once_it_is_taken_over(imported: Imported):
    site, cpe = imported.site, imported.cpe
    service_id = imported.import_secrets()
    session = site.network.dial(cpe)
    assert isinstance(session, Session)
    assert session.local, "the router decides"

    imported.job(TAKE_OVER, nas_id=imported.nas_id)
    site.controller.settle()
    assert cpe.session is session, "a session that is up goes on"
    session = imported.redial()
    assert (session.local, session.grant.address_list) == (False, "portico-active")
    site.isp.services["ana.vieja"] = service_id
    wait_until(lambda: site.sessions("ana.vieja"), 10, "the session to be loaded")

    with OrmSession(imported.engine) as database:
        books = bill_and_let_the_date_pass(database, imported, service_id)
        seconds_until(lambda: site.address_list(cpe) == "portico-suspended", "the walled garden")
        assert cpe.session is session, "by CoA, without a new login"
        subscriber = database.get_one(Service, service_id).subscriber_id
        began = time.monotonic()
        books.pay(subscriber, "300", utc_now().astimezone(ZONE).date(), utc_now())
        database.commit()
        assert seconds_until(lambda: site.address_list(cpe) == "portico-active", "the payment", since=began) < 2

    imported.job(GIVE_BACK, nas_id=imported.nas_id)
    assert imported.redial().local, "and the router decides again"
