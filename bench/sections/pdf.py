"""PDF: how long one document takes, from the rows to the file, where nothing is kept yet."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import psycopg
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from bench.browser import quantile
from bench.report import Section, Table, under
from bench.sections import Options
from bench.seed import OPERATOR, seed, system_url
from bench.site import make_users, open_site
from billing.documents import pdf_of
from billing.payments import PaymentTerms, register_payment
from billing.rules import rules_of
from billing.run import run_billing
from core.settings import Settings
from db.audit import Actor
from db.migrate import migrate
from db.models import Invoice, PaymentMethod
from db.session import make_engine, make_sessions

_BILLED = datetime(2027, 1, 27, 18, tzinfo=UTC)
_PAID = datetime(2027, 2, 1, 18, tzinfo=UTC)


def measure(options: Options) -> Section:
    """Render invoices and receipts on A4 and on the roll of a ticket printer, each one anew."""
    rounds = options.scaled(30, 3)
    with open_site() as site:
        migrate(site.settings)
        seed(site.settings, make_users(rounds))
        sessions = make_sessions(make_engine(system_url(site.settings)))
        invoices, payments = _documents(system_url(site.settings), sessions)
        measured = {
            f"{kind}, {paper}": _timed(partial(_render, sessions, site.settings, kind, paper), ids)
            for kind, ids in (("invoice", invoices), ("receipt", payments))
            for paper in ("a4", "ticket")
        }
        kept = _timed(partial(_render, sessions, site.settings, "invoice", "a4"), invoices)
    slowest = max(measured, key=lambda name: quantile(measured[name], 0.95))
    return Section(
        "pdf",
        "PDF of a document",
        (under(f"p95 of the slowest PDF ({slowest})", 1000, quantile(measured[slowest], 0.95), "ms"),),
        (
            Table(
                ("document", "p50 ms", "p95 ms", "longest ms"),
                tuple(
                    (name, *(f"{quantile(times, share):.0f}" for share in (0.5, 0.95, 1.0)))
                    for name, times in {**measured, "invoice, a4, kept": kept}.items()
                ),
            ),
        ),
        (f"{rounds} of each, one after the other: read from PostgreSQL, rendered by wkhtmltopdf, and kept.",),
    )


def _documents(url: str, sessions: sessionmaker[Session]) -> tuple[list[int], list[int]]:
    """Bill every service and pay each invoice; return the ids of invoices and payments."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE rate_plan SET price = 349")
        connection.execute("UPDATE operator SET currency = 'MXN', timezone = 'America/Mexico_City', cut_off_day = 1")
        connection.execute(
            "INSERT INTO billing_settings (operator_id, enabled, starts_on, first_due_days, legal_name, tax_id,"
            " address)"
            " VALUES (%s, true, '2027-02-01', 0, 'Redes del Valle SA de CV', 'RVA010203XY1', 'Av. Juárez 1, Toluca')",
            (OPERATOR,),
        )
        connection.execute(
            "INSERT INTO tax_rate (operator_id, name, rate, included) VALUES (%s, 'IVA', 16, false)", (OPERATOR,)
        )
    run_billing(sessions, OPERATOR, _BILLED)
    with sessions() as session:
        method = PaymentMethod(operator_id=OPERATOR, name="Cash", account="cash")
        session.add(method)
        session.flush()
        rules, actor, payments = rules_of(session, OPERATOR), Actor(OPERATOR, "bench"), []
        invoices = session.scalars(select(Invoice).order_by(Invoice.id)).all()
        for invoice in invoices:
            terms = PaymentTerms(invoice.subscriber_id, method.id, Decimal(invoice.total), "MXN", rules.today(_PAID))
            payments.append(register_payment(session, actor, rules, terms, _PAID).payment.id)
        session.commit()
        return [invoice.id for invoice in invoices], payments


def _render(sessions: sessionmaker[Session], settings: Settings, kind: str, paper: str, number: int) -> None:
    with sessions() as session:
        pdf_of(session, settings.keyring, OPERATOR, kind, number, settings.public_url, paper=paper)
        session.commit()


def _timed(render: Callable[[int], None], ids: list[int]) -> list[float]:
    """Return the milliseconds of each, shortest first."""
    times = []
    for number in ids:
        begun = time.monotonic()
        render(number)
        times.append((time.monotonic() - begun) * 1e3)
    return sorted(times)
