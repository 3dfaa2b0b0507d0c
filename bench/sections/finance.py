"""Pages of finance with three years of invoices, payments and books behind them."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import quote

import psycopg

from bench.browser import Browser, quantile
from bench.report import Section, Table, under
from bench.sections import Options
from bench.seed import OPERATOR, seed, without_indexes
from bench.site import Site, make_users, open_site
from db.migrate import migrate
from portal.auth import hasher
from stack.pieces import RunningPiece
from stack.programs import portal_piece

EMAIL, PASSWORD = "finance@bench.example", "correct horse battery staple"
MONTHS = 36
METHODS, CASHIERS = 4, 6


def measure(options: Options) -> Section:
    """Ask for the pages of finance over 20,000 services billed and paid for 36 months, one after the other."""
    services = options.scaled(20_000, 500)
    with open_site() as site, ExitStack() as stack:
        migrate(site.settings)
        seed(site.settings, make_users(services))
        seconds = _fill(site, services)
        stack.enter_context(RunningPiece(portal_piece(site.settings), site.settings.log_dir / "portal.log"))
        browser = Browser(site.settings.portal_port)
        browser.sign_in(EMAIL, PASSWORD)
        pages = _pages(services)
        measured = {name: browser.time(path, options.scaled(30, 3)) for name, path in pages.items()}
    slowest = max(measured, key=lambda name: quantile(measured[name], 0.95))
    return Section(
        "finance",
        f"Pages of finance, {services:,} services and {MONTHS} months",
        (under(f"p95 of the slowest page of finance ({slowest})", 150, quantile(measured[slowest], 0.95), "ms"),),
        (
            Table(
                ("page", "p50 ms", "p95 ms", "longest ms"),
                tuple(
                    (name, *(f"{quantile(times, share):.0f}" for share in (0.5, 0.95, 1.0)))
                    for name, times in measured.items()
                ),
            ),
        ),
        (
            f"{services * MONTHS:,} invoices of a line and a tax, each paid but for the latest, three ledger entries to"
            " each. Milliseconds from sending the request to the last octet of the page, over loopback, through"
            f" gunicorn, one request at a time. Filling the tables took {seconds:.0f} s.",
        ),
    )


def _pages(services: int) -> dict[str, str]:
    last = services - 7
    last_invoice = services * MONTHS - 7
    return {
        "finance today": "/reports/",
        "months, a year": "/reports/months",
        "months, three years": f"/reports/months?first={datetime.now(UTC).year - 3}-01-01",
        "aging": "/reports/aging",
        "income by plan": "/reports/income?by=plan",
        "income by way to pay": "/reports/income?by=method",
        "income by cashier": "/reports/income?by=cashier",
        "income by month": "/reports/income?by=month",
        "taxes": "/reports/taxes",
        "due dates": "/reports/due",
        "due dates, overdue": "/reports/due?standing=overdue",
        "journal": "/reports/journal",
        "invoices": "/invoices/",
        "invoices, page 150": "/invoices/?page=150",
        "invoices, overdue": "/invoices/?state=overdue",
        "invoices, largest open": "/invoices/?state=unpaid&sort=-open",
        "invoices of a name": f"/invoices/?q={quote(f'Subscriber {last}')}",
        "one invoice": f"/invoices/{last_invoice}",
        "payments": "/payments/",
        "payments of a cashier": "/payments/?cashier=2",
        "payments, found by reference": "/payments/?q=REF-77777",
        "one payment": f"/payments/{last_invoice - services}",
        "a new payment": f"/payments/new/{last}",
        "a subscriber's billing": f"/subscribers/{last}/billing/",
        "dunning tonight": "/billing/dunning/",
        "dunning, does not match": "/billing/dunning/disagreement",
        "cash desk": "/desk/",
        "cash desks": "/desk/all",
    }


def _fill(site: Site, services: int) -> float:
    """Write the history behind the services, as the billing run and cashiers would have; returns the seconds taken."""
    begun = time.monotonic()
    values = {"operator": OPERATOR, "services": services, "months": MONTHS, "methods": METHODS, "cashiers": CASHIERS}
    with _loading(site) as connection:
        for number in range(CASHIERS):
            email = EMAIL if number == 0 else f"cashier{number}@bench.example"
            connection.execute(
                "INSERT INTO staff (operator_id, email, name, password_hash, roles) VALUES (%s, %s, %s, %s, %s)",
                (OPERATOR, email, f"Cashier {number}", hasher.hash(PASSWORD) if number == 0 else "x", ["finance"]),
            )
        for statement in _SETTINGS:
            connection.execute(statement.encode(), values)
        with ThreadPoolExecutor(2) as pool:  # a table at a time for each core, the largest first
            list(pool.map(lambda table: _write(site, table, values), reversed(_HISTORY)))
        connection.execute("SET session_replication_role = origin")
        connection.execute("INSERT INTO finance_day SELECT * FROM finance_sums")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return time.monotonic() - begun


def _loading(site: Site) -> psycopg.Connection:
    """Return a connection on which rows are written without triggers: there would be a hundred million of them."""
    connection = psycopg.connect(site.database_url("portico"), autocommit=True)
    for name in ("work_mem", "maintenance_work_mem"):
        connection.execute(f"SET {name} = '512MB'".encode())
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET session_replication_role = replica")
    return connection


def _write(site: Site, table: str, values: dict[str, int]) -> None:
    with _loading(site) as connection:
        without_indexes(connection, table, _HISTORY[table], values)


_SETTINGS = (
    "UPDATE operator SET currency = 'MXN', timezone = 'America/Mexico_City', cut_off_day = 5 WHERE id = %(operator)s",
    "UPDATE rate_plan SET price = 300 WHERE operator_id = %(operator)s",
    "INSERT INTO billing_settings (operator_id, enabled, starts_on) VALUES (%(operator)s, true, '2020-01-01')",
    "INSERT INTO dunning_settings (operator_id, enabled, late_fees) VALUES (%(operator)s, true, false)",
    "INSERT INTO dunning_step (operator_id, days) VALUES (%(operator)s, -3), (%(operator)s, 1)",
    "INSERT INTO tax_rate (operator_id, name, rate, included) VALUES (%(operator)s, 'IVA', 16, false)",
    "INSERT INTO payment_method (operator_id, name, account) SELECT %(operator)s, 'Way ' || n,"
    " (ARRAY['cash','bank','card','bank'])[n] FROM generate_series(1, %(methods)s) AS n",
    "UPDATE service SET activated_at = now() - interval '3 years' WHERE operator_id = %(operator)s",
    """
INSERT INTO service_billing (service_id, operator_id, subscriber_id, plan_id, anchor_day, started_on, next_from,
    next_issue_on)
SELECT id, operator_id, subscriber_id, plan_id, 5, now()::date - 1000,
    date_trunc('month', now())::date + interval '1 month 4 days', date_trunc('month', now())::date + interval '1 month'
FROM service
""",
    # One in twenty has not paid the latest invoice.
    """
UPDATE service SET paid_until = date_trunc('month', now())::date
    + CASE WHEN id %% 20 = 0 THEN interval '4 days' ELSE interval '1 month 4 days' END
""",
    """
UPDATE service SET state = 'suspended', suspended_at = now(), suspension_cause = 'overdue'
WHERE paid_until < now()::date - 1
""",
)
_MADE = """
FROM (
    SELECT s.n AS service, m.n AS month, (m.n::bigint * %(services)s + s.n) AS id,
        (date_trunc('month', now()) - interval '1 month' * (%(months)s - 1 - m.n))::date + 1 AS issued,
        m.n = %(months)s - 1 AND s.n %% 20 = 0 AS owes
    FROM generate_series(0, %(months)s - 1) AS m (n), generate_series(1, %(services)s) AS s (n)
) AS made
"""
_HISTORY = {
    "invoice": f"""
INSERT INTO invoice (id, operator_id, subscriber_id, service_id, kind, prefix, number, issued_on, due_on, period_first,
    period_last, currency, net, tax, total, paid, details)
OVERRIDING SYSTEM VALUE
SELECT id, %(operator)s, service, service, 'period', 'F-', id, issued, issued + 3, issued + 3, issued + 33, 'MXN', 300,
    48, 348, CASE WHEN owes THEN 0 ELSE 348 END, '{{"issuer": {{"name": "Bench"}}, "subscriber": {{"name": "x"}}}}'
{_MADE}
""",
    "invoice_line": f"""
INSERT INTO invoice_line (invoice_id, position, operator_id, kind, description, plan_id, first, last, net, tax, total)
SELECT id, 1, %(operator)s, 'plan', 'Plan', 1 + service %% 20, issued + 3, issued + 33, 300, 48, 348 {_MADE}
""",
    "invoice_tax": f"""
INSERT INTO invoice_tax (invoice_id, position, operator_id, name, rate, base, amount)
SELECT id, 1, %(operator)s, 'IVA', 16, 300, 48 {_MADE}
""",
    "payment": f"""
INSERT INTO payment (id, operator_id, subscriber_id, method_id, prefix, number, currency, amount, unapplied, paid_on,
    reference, staff_id, created_at)
OVERRIDING SYSTEM VALUE
SELECT id, %(operator)s, service, 1 + service %% %(methods)s, 'R-', id, 'MXN', 348, 0,
    least(now()::date, issued + service %% 9), 'REF-' || id, 1 + service %% %(cashiers)s, issued
{_MADE} WHERE NOT owes
""",
    "payment_application": f"""
INSERT INTO payment_application (operator_id, payment_id, invoice_id, amount, created_at)
SELECT %(operator)s, id, id, 348, issued {_MADE} WHERE NOT owes
""",
    "ledger_entry": f"""
INSERT INTO ledger_entry (id, operator_id, number, booked_on, kind, source, source_id, currency, hash)
OVERRIDING SYSTEM VALUE
SELECT id * 3 + part, %(operator)s, id * 3 + part, issued, (ARRAY['invoice','payment','application'])[part + 1],
    (ARRAY['invoice','payment','payment'])[part + 1], id, 'MXN', '\\x00'
{_MADE}, generate_series(0, 2) AS part WHERE part = 0 OR NOT owes
""",
    "ledger_line": f"""
INSERT INTO ledger_line (entry_id, position, operator_id, account, subscriber_id, amount)
SELECT id * 3 + part, line.position, %(operator)s, line.account, CASE WHEN line.own THEN service END, line.amount
{_MADE}, (VALUES (0, 1, 'receivable', true, 348), (0, 2, 'income', false, -300), (0, 3, 'tax', false, -48),
    (1, 1, 'cash', false, 348), (1, 2, 'credit', true, -348), (2, 1, 'credit', true, 348),
    (2, 2, 'receivable', true, -348)) AS line (part, position, account, own, amount)
WHERE part = 0 OR NOT owes
""",
}
