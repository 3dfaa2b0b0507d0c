"""The portal's database role sees one operator's rows, whatever SQL it is made to run.

The tables come from PostgreSQL's own catalogue, so a table that somebody adds is held to this without being named here.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from core.settings import Settings
from db.migrate import migrate
from db.session import signed_operator, tenancy_key
from tests.factories import Isp

# Rows of the installation itself; the portal's role has no business in them at all.
CLOSED = {
    "alembic_version",
    "change_log",
    "follower",
    "journal_position",
    "node",
    "rollup_position",
    "tenancy_key",
    "vpn_server",
}


@pytest.fixture(scope="module")
def operators(installation: Settings, system_dsn: str) -> tuple[int, int]:
    """Two operators, each with a row in every table that holds operators' rows."""
    migrate(installation)
    mine, theirs = (Isp.create(installation, address) for address in ("10.1.0.1", "10.2.0.1"))
    with psycopg.connect(system_dsn) as connection:
        for isp in (mine, theirs):
            fill(connection, isp)
    mine.connection.close()
    theirs.connection.close()
    return mine.operator_id, theirs.operator_id


def fill(connection: psycopg.Connection, isp: Isp) -> None:
    """Give an operator a row in every table, by what each of them needs."""
    subscriber = connection.execute(
        "INSERT INTO subscriber (operator_id, name) VALUES (%s, 'S') RETURNING id", (isp.operator_id,)
    ).fetchone()[0]
    service = connection.execute(
        "INSERT INTO service (operator_id, subscriber_id, plan_id, access_method, name)"
        " VALUES (%s, %s, %s, 'mac', 'aa:bb:cc:00:00:01') RETURNING id",
        (isp.operator_id, subscriber, isp.plan_id),
    ).fetchone()[0]
    rows = {
        "staff": {"email": f"a@{isp.operator_id}.example", "name": "A", "password_hash": "x", "roles": ["manager"]},
        "leave_reason": {"title": "Moved"},
        "service_mac": {"service_id": service, "mac": "aa:bb:cc:00:00:01"},
        "seen_device": {"mac": "aa:bb:cc:00:00:02", "nas_id": isp.nas_id, "kind": "dhcp"},
        "nas_heard": {"nas_id": isp.nas_id, "last_packet_at": "2027-01-01Z"},
        "session": {
            "started_at": "2027-01-01Z", "nas_id": isp.nas_id, "acct_session_id": "1", "user_name": "u",
            "kind": "ppp", "updated_at": "2027-01-01Z",
        },
        "usage_hour": {"service_id": service, "hour": "2027-01-01Z"},
        "usage_period": {"service_id": service, "period_start": "2027-01-01Z", "period_end": "2027-02-01Z"},
        "auth_event": {
            "at": "2027-01-01Z", "nas_id": isp.nas_id, "user_name": "u", "kind": "ppp", "method": "pap",
            "outcome": "accept",
        },
        "terms": {"id": b"t", "content": "{}"},
        "usage_span": {"service_id": service, "span": "day", "begins": "2027-01-01Z", "ends": "2027-01-02Z"},
        "service_grant": {"service_id": service, "outcome": "accept"},
        "audit_entry": {"actor": "test", "action": "test", "entity": "test"},
    }  # fmt: skip
    rows |= {
        "account": {"country": "MX"},
        "licence": {"name": "Demo", "period": "demo", "made_by": "test"},
        "sign_up": {
            "name": "A", "email": "a@b.example", "language": "en", "token_hash": b"%d" % isp.operator_id,
            "expires_at": "2027-01-01Z",
        },
        "consent": {"asker_operator_id": isp.operator_id, "hours": 1},
        "account_request": {"name": "A", "email": "a@b.example", "words": "?"},
        "wholesale_price": {
            "reseller_id": isp.operator_id, "plan_id": isp.plan_id, "reseller_plan_id": isp.plan_id, "name": "P",
            "price": 1,
        },
        "wholesale_statement": {
            "reseller_id": isp.operator_id, "reseller": "R", "month": "2027-01-01", "lines": "[]", "total": 1,
            "currency": "USD",
        },
        "sample_row": {"entity": "subscriber", "entity_id": subscriber},
    }  # fmt: skip
    for table, values in rows.items():
        insert(connection, isp, table, values)
    order = connection.execute(
        "INSERT INTO enforcement_order (operator_id, nas_id, session_id, session_started_at, kind, cause)"
        " VALUES (%s, %s, %s, '2027-01-01Z', 'coa', 'staff') RETURNING id",
        (isp.operator_id, isp.nas_id, isp.nas_id),
    ).fetchone()[0]
    insert(connection, isp, "enforcement_attempt", {"order_id": order, "kind": "coa", "result": "ack"})
    fill_work_orders(connection, isp, subscriber)
    fill_routers(connection, isp, service)
    fill_vpn(connection, isp)
    fill_router_logins(connection, isp)
    fill_roles(connection, isp)
    fill_sign_in(connection, isp)
    fill_monitoring(connection, isp, service)
    fill_imports(connection, isp, service)
    fill_mass_changes(connection, isp, service)
    fill_circuits_and_pools(connection, isp, service)
    fill_billing(connection, isp, subscriber, service)
    fill_documents(connection, isp, subscriber)
    fill_dunning(connection, isp, subscriber)
    fill_help_desk(connection, isp)
    fill_messages(connection, isp, subscriber, service)
    fill_vouchers(connection, isp, subscriber, service)
    fill_self_service(connection, isp, subscriber, service)
    fill_reports_and_fields(connection, isp, subscriber)
    fill_sites(connection, isp)
    fill_webhooks(connection, isp)
    fill_api(connection, isp)
    fill_retention(connection, isp, subscriber)


def fill_retention(connection: psycopg.Connection, isp: Isp, subscriber: int) -> None:
    insert(connection, isp, "retention_rule", {"kind": "sessions", "days": 365})
    insert(connection, isp, "retention_hold", {"subscriber_id": subscriber, "reason": "r", "author": "a"})
    insert(connection, isp, "retention_run", {"kind": "sessions", "before": "2027-01-01Z", "began_at": "2027-01-01Z"})
    gone = {"removed_at": "2027-01-01Z", "erase_at": "2027-01-31Z", "author": "a"}
    insert(connection, isp, "subscriber_removal", {"subscriber_id": subscriber, **gone})
    public = {"public_first": "203.0.113.1", "public_last": "203.0.113.2", "ports": 1000, "valid_from": "2027-01-01Z"}
    insert(connection, isp, "cgnat_plan", {"name": "n", "private": "100.64.0.0/27", "author": "a", **public})


def fill_api(connection: psycopg.Connection, isp: Isp) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    secret = {"prefix": "p", "secret_hash": b"h", "scopes": ["subscribers:read"]}
    token = insert(connection, isp, "api_token", {"staff_id": staff, "name": "t", **secret}, "id")
    answer = {"key": "k", "fingerprint": b"f", "status": 201, "headers": "{}", "body": "{}"}
    insert(connection, isp, "api_answer", {"token_id": token, **answer})


def fill_sign_in(connection: psycopg.Connection, isp: Isp) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    browser = {"staff_id": staff, "user_agent": "b", "seen_at": "2027-01-01Z"}
    device = insert(connection, isp, "login_device", {"token_hash": b"t", **browser}, "id")
    key = b"%d" % isp.operator_id
    insert(connection, isp, "login_session", {"device_id": device, "key_hash": key, "factor": "code", **browser})
    insert(connection, isp, "authenticator", {"staff_id": staff, "secret": b"sealed"})
    insert(connection, isp, "recovery_code", {"staff_id": staff, "code_hash": b"h"})
    key = {"staff_id": staff, "credential_id": b"c", "public_key": b"p", "name": "k"}
    insert(connection, isp, "passkey", key)
    insert(connection, isp, "sign_in_rule", {})


def fill_webhooks(connection: psycopg.Connection, isp: Isp) -> None:
    # No event is wanted, so that what this test writes later tells nobody.
    address = {"url": "https://isp.example/hook", "events": [], "secret": b"s"}
    endpoint = insert(connection, isp, "webhook_endpoint", address, "id")
    event = insert(connection, isp, "webhook_event", {"event": "ticket.opened", "data": "{}"}, "id")
    insert(connection, isp, "webhook_delivery", {"event_id": event, "endpoint_id": endpoint})


def fill_sites(connection: psycopg.Connection, isp: Isp) -> None:
    site = connection.execute(
        "INSERT INTO site (operator_id, name, latitude, longitude) VALUES (%s, 't', 1, 1) RETURNING id",
        (isp.operator_id,),
    ).fetchone()[0]
    insert(connection, isp, "sector", {"site_id": site, "name": "s"})
    insert(connection, isp, "map_settings", {})


def fill_reports_and_fields(connection: psycopg.Connection, isp: Isp, subscriber: int) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    when = {"report": "subscribers", "format": "xlsx", "every": "day", "hour": 7, "permission": "subscribers.view"}
    schedule = insert(connection, isp, "report_schedule", {"staff_id": staff, **when}, "id")
    insert(
        connection, isp, "report_sending", {"schedule_id": schedule, "period": "2027-01-01", "sent_at": "2027-01-01Z"}
    )
    field = insert(connection, isp, "custom_field", {"subject": "subscriber", "title": "t", "kind": "text"}, "id")
    insert(connection, isp, "custom_value", {"field_id": field, "subscriber_id": subscriber, "value": "v"})
    kept = {"name": "a.txt", "media_type": "text/plain", "size": 1, "sha256": "0", "content": b"x"}
    file = insert(connection, isp, "stored_file", kept, "id")
    document = {"subscriber_id": subscriber, "file_id": file, "kind": "other", "author": "a"}
    insert(connection, isp, "subscriber_document", document)


def fill_self_service(connection: psycopg.Connection, isp: Isp, subscriber: int, service: int) -> None:
    insert(connection, isp, "brand", {"name": "b"})
    insert(connection, isp, "self_service", {})
    insert(connection, isp, "subscriber_login", {"subscriber_id": subscriber})
    code = {"email": "s@isp.example", "code_hash": b"h", "expires_at": "2027-01-01Z"}
    insert(connection, isp, "sign_in_code", code)
    token = b"%d" % isp.operator_id
    link = {"subscriber_id": subscriber, "purpose": "first", "token_hash": token, "expires_at": "2027-01-01Z"}
    insert(connection, isp, "sign_in_link", link)
    wanted = {"kind": "phone", "wanted": "55", "code_hash": b"h", "expires_at": "2027-01-01Z"}
    insert(connection, isp, "contact_change", {"subscriber_id": subscriber, **wanted})
    insert(
        connection,
        isp,
        "plan_request",
        {"subscriber_id": subscriber, "service_id": service, "plan_id": isp.plan_id},
    )


def fill_vouchers(connection: psycopg.Connection, isp: Isp, subscriber: int, service: int) -> None:
    settings = {"code_key": b"k", "stock_subscriber_id": subscriber, "counter_subscriber_id": subscriber}
    insert(connection, isp, "voucher_settings", settings)
    terms = {"name": "b", "length": 8, "count": 1, "lasts": 60, "price": 1}
    batch = insert(connection, isp, "voucher_batch", terms, "id")
    voucher = {"service_id": service, "batch_id": batch, "number": 1, "lookup": "l"}
    insert(connection, isp, "voucher", voucher)
    insert(connection, isp, "voucher_sale", {"voucher_id": service, "batch_id": batch, "currency": "MXN", "price": 1})
    insert(connection, isp, "captive_settings", {})
    insert(connection, isp, "captive_hotspot", {"nas_id": isp.nas_id})
    method = insert(connection, isp, "payment_method", {"name": "captive", "account": "cash"}, "id")
    gateway = {"kind": "mercadopago", "method_id": method, "secret_key": b"k", "webhook_secret": b"w"}
    checkout = {
        "gateway_id": insert(connection, isp, "gateway", gateway, "id"), "subscriber_id": subscriber,
        "reference": f"captive-{isp.operator_id}", "currency": "MXN", "amount": 1,
    }  # fmt: skip
    bought = {"nas_id": isp.nas_id, "batch_id": batch, "key": "k", "language": "es"}
    bought["checkout_id"] = insert(connection, isp, "checkout", checkout, "id")
    insert(connection, isp, "captive_purchase", bought)
    paying = {"service_id": service, "checkout_id": bought["checkout_id"], "until": "2026-01-01T00:05:00Z"}
    insert(connection, isp, "paying_pass", paying)
    job = insert(connection, isp, "job", {"kind": "vouchers.print", "parameters": "{}"}, "id")
    insert(connection, isp, "voucher_print", {"batch_id": batch, "job_id": job, "content": b"x"})


def fill_messages(connection: psycopg.Connection, isp: Isp, subscriber: int, service: int) -> None:
    insert(connection, isp, "message_settings", {})
    insert(connection, isp, "message_text", {"event": "incident", "channel": "sms", "language": "en", "body": "b"})
    insert(connection, isp, "message_preference", {"subscriber_id": subscriber})
    insert(connection, isp, "push_browser", {"subscriber_id": subscriber, "address_hash": b"h", "subscription": b"s"})
    insert(connection, isp, "broadcast", {"title": "t", "selection": "{}", "texts": "{}", "token": "t"})
    incident = connection.execute("SELECT id FROM incident WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    credit = {"incident_id": incident, "service_id": service, "days": 1, "amount": 1}
    insert(connection, isp, "incident_credit", credit)


def fill_help_desk(connection: psycopg.Connection, isp: Isp) -> None:
    insert(connection, isp, "help_desk", {"hours": "{}", "targets": "{}"})
    insert(connection, isp, "ticket_category", {"name": "c"})
    asked = {
        "number": 1, "source": "staff", "subject": "s", "priority": "normal", "queue": "support", "key": "k",
        "created_at": "2027-01-01Z", "updated_at": "2027-01-01Z",
    }  # fmt: skip
    ticket = insert(connection, isp, "ticket", asked, "id")
    said = {"ticket_id": ticket, "kind": "message", "author": "a", "created_at": "2027-01-01Z"}
    entry = insert(connection, isp, "ticket_entry", said, "id")
    kept = {"name": "a.txt", "media_type": "text/plain", "size": 1, "sha256": "0", "content": b"x"}
    file = insert(connection, isp, "stored_file", kept, "id")
    insert(connection, isp, "ticket_file", {"entry_id": entry, "file_id": file})
    insert(connection, isp, "canned_answer", {"title": "t", "texts": "{}"})
    read_from = {"address": "a@example.com", "host": "h", "port": 993, "user_name": "u", "password": b"sealed"}
    insert(connection, isp, "mailbox", read_from)
    insert(connection, isp, "received_mail", {"message_id": "m", "sender": "s", "subject": "s", "outcome": "ignored"})


def fill_dunning(connection: psycopg.Connection, isp: Isp, subscriber: int) -> None:
    insert(connection, isp, "dunning_settings", {})
    step = insert(connection, isp, "dunning_step", {"days": 1}, "id")
    insert(connection, isp, "dunning_text", {"step_id": step, "language": "en", "subject": "s", "body": "b"})
    invoice = connection.execute("SELECT id FROM invoice WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    done = {"invoice_id": invoice, "stage": "1 email", "subscriber_id": subscriber, "channel": "email"}
    insert(connection, isp, "dunning_done", {**done, "outcome": "sent"})
    line = {"fingerprint": "f", "file_name": "n", "booked_on": "2027-01-01", "amount": 1}
    insert(connection, isp, "bank_line", line)


def fill_work_orders(connection: psycopg.Connection, isp: Isp, subscriber: int) -> None:
    lead = insert(connection, isp, "lead", {"name": "L"}, "id")
    plan = connection.execute("SELECT id FROM rate_plan WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    days = {"made_on": "2027-01-01", "valid_until": "2027-01-09"}
    sums = {"currency": "USD", "lines": "[]", "taxes": "[]", "monthly": 1, "once": 0}
    offer = {"number": 1, "lead_id": lead, "plan_id": plan, "language": "en", **sums, **days}
    insert(connection, isp, "quote", offer)
    insert(connection, isp, "work_settings", {})
    insert(connection, isp, "work_checklist", {"kind": "repair", "items": "[]"})
    order = {"number": 1, "kind": "repair", "title": "t", "created_by": "a", "created_at": "2027-01-01Z"}
    work_order = insert(connection, isp, "work_order", {**order, "subscriber_id": subscriber}, "id")
    event = {"work_order_id": work_order, "step": "create", "author": "a", "at": "2027-01-01Z"}
    insert(connection, isp, "work_order_event", event)
    content = {"name": "f", "media_type": "image/png", "size": 1, "sha256": "s", "content": b"x"}
    file = insert(connection, isp, "stored_file", content, "id")
    photo = {"work_order_id": work_order, "file_id": file, "taken_at": "2027-01-01Z"}
    insert(connection, isp, "work_order_photo", photo, "file_id")
    material = insert(connection, isp, "material", {"name": "m", "unit": "m"}, "id")
    used = {"work_order_id": work_order, "material_id": material, "quantity": 1, "author": "a"}
    insert(connection, isp, "work_order_material", used)
    device = insert(connection, isp, "equipment", {"model": "m", "serial": "s"}, "id")
    insert(connection, isp, "equipment_move", {"equipment_id": device, "before": "", "after": "stock", "author": "a"})


def fill_circuits_and_pools(connection: psycopg.Connection, isp: Isp, service: int) -> None:
    insert(connection, isp, "circuit_test", {"service_id": service})
    pool = {"name": "p", "kind": "ipv4", "assignment": "fixed", "network": "10.0.0.0/24", "prefix_length": 32}
    insert(connection, isp, "address_pool", pool)
    insert(connection, isp, "router_pools", {"nas_id": isp.nas_id})


def fill_mass_changes(connection: psycopg.Connection, isp: Isp, service: int) -> None:
    change = insert(connection, isp, "mass_change", {"kind": "restore", "terms": "{}"}, "id")
    insert(connection, isp, "mass_change_row", {"mass_change_id": change, "service_id": service})


def fill_router_logins(connection: psycopg.Connection, isp: Isp) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    insert(connection, isp, "router_login", {"staff_id": staff, "name": "ana", "password": b"sealed"})
    insert(connection, isp, "router_group", {"role": "technical", "router_group": "read"})


def fill_roles(connection: psycopg.Connection, isp: Isp) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    link = {"staff_id": staff, "token_hash": b"h", "made_by": "a@isp.example", "expires_at": "2027-01-01Z"}
    insert(connection, isp, "staff_link", link)
    insert(connection, isp, "role_permission", {"role": "sales", "permission": "export", "allowed": False})


def fill_imports(connection: psycopg.Connection, isp: Isp, service: int) -> None:
    batch = insert(connection, isp, "import_batch", {"source": "csv", "title": "t", "state": "found"}, "id")
    insert(connection, isp, "import_row", {"batch_id": batch, "line": 1, "access_method": "pppoe", "name": "n"})
    secret = {"service_id": service, "nas_id": isp.nas_id, "secret": "s"}
    insert(connection, isp, "shadow_secret", secret)
    event = {"kind": "answer", "there": "accept", "outcome": "accept"}
    insert(connection, isp, "shadow_event", {**secret, **event})


def fill_routers(connection: psycopg.Connection, isp: Isp, service: int) -> None:
    insert(connection, isp, "router", {"nas_id": isp.nas_id, "api_user": "portico", "api_password": b"sealed"})
    insert(connection, isp, "router_state", {"nas_id": isp.nas_id})
    insert(connection, isp, "router_backup", {"nas_id": isp.nas_id, "content": b"sealed", "lines": 1})
    insert(connection, isp, "router_backup_state", {"nas_id": isp.nas_id, "tried_at": "2027-01-01Z"})
    insert(connection, isp, "router_sync", {"nas_id": isp.nas_id})
    insert(connection, isp, "router_queue", {"nas_id": isp.nas_id, "service_id": service})
    insert(connection, isp, "queue_drift", {"nas_id": isp.nas_id, "service_id": service, "field": "rate"})
    job = insert(connection, isp, "job", {"kind": "test"}, "id")
    insert(connection, isp, "job_line", {"job_id": job, "level": "info", "message": "m"})


def fill_monitoring(connection: psycopg.Connection, isp: Isp, service: int) -> None:
    for span in ("", "_5m", "_1h"):
        measured = {"nas_id": isp.nas_id, "at": "2027-01-01Z"}
        insert(connection, isp, f"router_sample{span}", {**measured, "polls": 1, "answered": 1})
        insert(connection, isp, f"interface_sample{span}", {**measured, "interface": "ether1"})
    insert(connection, isp, "waiting_device", {"nas_id": isp.nas_id, "mac": "aa:bb:cc:00:00:03", "source": "dhcp"})
    incident = insert(
        connection, isp, "incident", {"scope": "router", "nas_id": isp.nas_id, "before": 9, "lost": 9}, "id"
    )
    ended = {
        "incident_id": incident,
        "session_id": 1,
        "nas_id": isp.nas_id,
        "user_name": "u",
        "ended_at": "2027-01-01Z",
    }
    insert(connection, isp, "incident_member", ended)
    insert(connection, isp, "alert", {"nas_id": isp.nas_id, "kind": "router_down"})
    insert(
        connection, isp, "alert_recipient",
        {"name": "R", "channel": "email", "address": b"sealed", "kinds": ["router_down"]},
    )  # fmt: skip
    insert(
        connection, isp, "notification",
        {"kind": "alert", "channel": "email", "shown_address": "a", "address": b"sealed", "language": "en",
         "subject": "s", "body": "b"},
    )  # fmt: skip
    insert(connection, isp, "live_watch", {"service_id": service, "wanted_until": "2027-01-01Z"})


def fill_vpn(connection: psycopg.Connection, isp: Isp) -> None:
    values = {
        "nas_id": isp.nas_id, "kind": "wireguard", "address": f"10.200.0.{isp.operator_id + 1}",
        "public_key": f"key {isp.operator_id}", "api_password": b"sealed",
    }  # fmt: skip
    insert(connection, isp, "vpn_peer_state", {"peer_id": insert(connection, isp, "vpn_peer", values, "id")})


def fill_documents(connection: psycopg.Connection, isp: Isp, subscriber: int) -> None:
    insert(connection, isp, "letterhead", {"link_key": b"sealed"})
    job = insert(connection, isp, "job", {"kind": "documents.batch"}, "id")
    insert(connection, isp, "document_batch", {"job_id": job, "name": "x.zip", "documents": 1, "content": b"x"})
    insert(connection, isp, "document_mail", {"kind": "receipt", "subject_id": 1, "address": "a@example.com"})
    account = {"starts_on": "2027-01-01", "country": "MX", "provider_url": "https://x.example", "api_key": b"sealed"}
    insert(connection, isp, "einvoice_settings", account)
    insert(connection, isp, "einvoice", {"kind": "invoice", "subject_id": 1, "number": "F-1", "key": "k"})
    method = insert(connection, isp, "payment_method", {"name": "Online", "account": "card"}, "id")
    keys = {"kind": "stripe", "method_id": method, "secret_key": b"sealed", "webhook_secret": b"sealed"}
    gateway = insert(connection, isp, "gateway", keys, "id")
    begun = {"reference": f"r{isp.operator_id}", "currency": "USD", "amount": 1}
    insert(connection, isp, "checkout", {"gateway_id": gateway, "subscriber_id": subscriber, **begun})
    insert(connection, isp, "gateway_event", {"gateway_id": gateway, "event_id": "e", "kind": "k", "outcome": "o"})


def fill_billing(connection: psycopg.Connection, isp: Isp, subscriber: int, service: int) -> None:
    staff = connection.execute("SELECT min(id) FROM staff WHERE operator_id = %s", (isp.operator_id,)).fetchone()[0]
    day = {"starts_on": "2027-01-01"}
    insert(connection, isp, "billing_settings", day)
    insert(connection, isp, "tax_rate", {"name": "VAT", "rate": 16})
    insert(
        connection, isp, "service_billing",
        {
            "service_id": service, "subscriber_id": subscriber, "plan_id": isp.plan_id, "anchor_day": 1,
            "started_on": "2027-01-01", "next_from": "2027-02-01", "next_issue_on": "2027-02-01",
        },
    )  # fmt: skip
    sums = {"currency": "USD", "net": 1, "tax": 0, "total": 1}
    invoice = connection.execute(
        "WITH made AS (INSERT INTO invoice (operator_id, subscriber_id, kind, prefix, number, issued_on, due_on,"
        " currency, net, tax, total) VALUES (%s, %s, 'charges', '', 1, '2027-01-01', '2027-01-01', 'USD', 1, 0, 1)"
        " RETURNING id, operator_id), line AS (INSERT INTO invoice_line (invoice_id, position, operator_id, kind,"
        " description, net, tax, total) SELECT id, 1, operator_id, 'charge', 'x', 1, 0, 1 FROM made)"
        " INSERT INTO invoice_tax (invoice_id, position, operator_id, name, rate, base, amount)"
        " SELECT id, 1, operator_id, 'VAT', 0, 1, 0 FROM made RETURNING invoice_id",
        (isp.operator_id, subscriber),
    ).fetchone()[0]
    note = {"subscriber_id": subscriber, "invoice_id": invoice, "prefix": "", "number": 1, "issued_on": "2027-01-01"}
    insert(connection, isp, "credit_note", {**note, "reason": "x", **sums})
    days = {"first": "2027-01-01", "last": "2027-01-31", "net": 1}
    insert(connection, isp, "service_period", {"service_id": service, "plan_id": isp.plan_id, **days})
    charge = {"subscriber_id": subscriber, "kind": "one_off", "description": "x", "amount": 1, **day}
    insert(connection, isp, "charge", charge)
    insert(connection, isp, "plan_item", {"plan_id": isp.plan_id, "name": "TV"})
    insert(connection, isp, "coupon", {"code": "X", "description": "x", "percent": 1})
    insert(connection, isp, "discount", {"service_id": service, "description": "x", "percent": 1, **day})
    insert(connection, isp, "document_series", {"kind": "invoice"})
    insert(connection, isp, "ledger_account", {"account": "cash", "code": "101"})
    entry = insert(
        connection, isp, "ledger_entry",
        {"booked_on": "2027-01-01", "kind": "invoice", "source": "invoice", "source_id": invoice, "currency": "USD"},
        "id",
    )  # fmt: skip
    for position, (account, amount) in enumerate((("receivable", 1), ("income", -1)), 1):
        line = {"entry_id": entry, "position": position, "account": account, "amount": amount}
        insert(connection, isp, "ledger_line", line)
    method = insert(connection, isp, "payment_method", {"name": "Cash", "account": "cash"}, "id")
    insert(connection, isp, "collector", {"name": "C"})
    desk = insert(connection, isp, "cash_desk", {"staff_id": staff, "currency": "USD", "opening": 0}, "id")
    payment = insert(
        connection, isp, "payment",
        {
            "subscriber_id": subscriber, "method_id": method, "prefix": "", "number": 1, "currency": "USD",
            "amount": 1, "unapplied": 1, "paid_on": "2027-01-01",
        },
        "id",
    )  # fmt: skip
    insert(connection, isp, "payment_application", {"payment_id": payment, "invoice_id": invoice, "amount": 1})
    refund = {"payment_id": payment, "amount": 1, "refunded_on": "2027-01-01", "reason": "x"}
    insert(connection, isp, "refund", refund)
    insert(connection, isp, "cash_movement", {"desk_id": desk, "kind": "added", "amount": 1})
    insert(connection, isp, "foreign_currency", {"currency": "EUR"})
    insert(
        connection, isp, "exchange_rate", {"currency": "EUR", "books_currency": "USD", "day": "2027-01-01", "rate": 1}
    )
    insert(connection, isp, "foreign_cash", {"currency": "EUR", "kind": "added", "amount": 1, "value": 1})
    insert(connection, isp, "desk_currency", {"desk_id": desk, "currency": "EUR", "opening": 0})
    insert(connection, isp, "promise", {"service_id": service, "until": "2027-01-01"})
    rendered = {"kind": "invoice", "subject_id": invoice, "paper": "a4", "language": "en", "fingerprint": "x"}
    insert(connection, isp, "rendered_document", {**rendered, "content": b"x"})


def insert(
    connection: psycopg.Connection, isp: Isp, table: str, values: dict[str, object], returned: str = "operator_id"
) -> int:
    """Add a row of an operator and return one of its columns."""
    values = {**values, "operator_id": isp.operator_id}
    return connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            sql.Identifier(returned),
        ),
        list(values.values()),
    ).fetchone()[0]


def tables(connection: psycopg.Connection) -> list[str]:
    """Every table of the schema, partitions too."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
        " ORDER BY relname"
    )
    return [name for (name,) in rows]


def tenant_column(table: str) -> str:
    return "id" if table == "operator" else "operator_id"


@pytest.fixture
def portal(portal_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(portal_dsn) as connection:
        yield connection
        connection.rollback()


def act_for(connection: psycopg.Connection, installation: Settings, operator_id: int) -> None:
    signed = signed_operator(tenancy_key(installation.keyring), operator_id)
    connection.execute("SELECT set_config('portico.operator', %s, false)", (signed,))


def refused(connection: psycopg.Connection, statement: sql.Composable, *values: object) -> bool:
    """Tell whether PostgreSQL refuses a statement for want of rights."""
    try:
        with connection.transaction():
            connection.execute(statement, values or None)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def test_every_table_holds_rows_of_both_operators_or_is_closed(system_dsn, operators):
    with psycopg.connect(system_dsn) as system:
        partitions = {name for (name,) in system.execute("SELECT inhrelid::regclass::text FROM pg_inherits")}
        for table in set(tables(system)) - CLOSED - partitions:
            query = sql.SQL("SELECT DISTINCT {} FROM {}").format(
                sql.Identifier(tenant_column(table)), sql.Identifier(table)
            )
            assert {row[0] for row in system.execute(query)} >= set(operators), table


def test_the_portal_reads_its_operators_rows_and_no_others(system_dsn, portal, installation, operators):
    mine, _theirs = operators
    act_for(portal, installation, mine)
    with psycopg.connect(system_dsn) as system:
        names = tables(system)
    read = 0
    for table in names:
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
        if refused(portal, query):
            continue
        column = sql.Identifier(tenant_column(table))
        query = sql.SQL("SELECT {}, count(*) FROM {} GROUP BY 1").format(column, sql.Identifier(table))
        assert {row[0] for row in portal.execute(query)} == {mine}, table
        read += 1
    assert read >= 15


def test_the_installations_own_tables_are_closed_to_the_portal(system_dsn, portal, installation, operators):
    act_for(portal, installation, operators[0])
    with psycopg.connect(system_dsn) as system:
        assert set(tables(system)) >= CLOSED
    for table in CLOSED:
        assert refused(portal, sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))), table


def test_no_partition_is_open_beside_its_table(system_dsn, portal, installation, operators):
    act_for(portal, installation, operators[0])
    with psycopg.connect(system_dsn) as system:
        partitions = [name for (name,) in system.execute("SELECT inhrelid::regclass::text FROM pg_inherits")]
        tables_only = [name for name in partitions if name in tables(system)]
    assert len(tables_only) > 5
    for table in tables_only:
        assert refused(portal, sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))), table


def test_the_portal_changes_and_removes_no_row_of_another_operator(system_dsn, portal, installation, operators):
    mine, theirs = operators
    act_for(portal, installation, mine)
    with psycopg.connect(system_dsn) as system:
        names = sorted(set(tables(system)) - CLOSED - {"finance_sums"})  # a view of sums cannot be written
    for table in names:
        name, column = sql.Identifier(table), sql.Identifier(tenant_column(table))
        for statement in (
            sql.SQL("UPDATE {name} SET {changed} = {changed} WHERE {column} = %s"),
            sql.SQL("DELETE FROM {name} WHERE {column} = %s"),
        ):
            changed = sql.Identifier("name" if table == "operator" else "operator_id")
            query = statement.format(name=name, column=column, changed=changed)
            try:
                with portal.transaction(force_rollback=True):
                    assert portal.execute(query, (theirs,)).rowcount == 0, table
            except psycopg.errors.InsufficientPrivilege:
                pass
        assert refused(portal, sql.SQL("TRUNCATE {}").format(name)), table


def test_the_portal_gives_no_row_to_another_operator(portal, installation, operators):
    mine, theirs = operators
    act_for(portal, installation, mine)
    for table in ("subscriber", "service", "rate_plan", "nas", "staff"):
        query = sql.SQL("UPDATE {} SET operator_id = %s").format(sql.Identifier(table))
        assert refused(portal, query, theirs), table
    assert refused(portal, sql.SQL("INSERT INTO subscriber (operator_id, name) VALUES (%s, 'x')"), theirs)
    assert refused(
        portal,
        sql.SQL("INSERT INTO audit_entry (operator_id, actor, action, entity) VALUES (%s, 'x', 'x', 'x')"),
        theirs,
    )


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("{theirs}", id="no signature"),
        pytest.param("{theirs}:", id="empty signature"),
        pytest.param("{theirs}:{signature}", id="the signature of another operator"),
        pytest.param("{theirs} :{signature}", id="a blank"),
        pytest.param("0{mine}:{signature}", id="another spelling"),
        pytest.param("-1:{signature}", id="a negative number"),
        pytest.param("", id="nothing"),
    ],
)
def test_no_other_operator_can_be_claimed(portal, installation, operators, forged):
    mine, theirs = operators
    signature = signed_operator(tenancy_key(installation.keyring), mine).partition(":")[2]
    claim = forged.format(mine=mine, theirs=theirs, signature=signature)
    portal.execute("SELECT set_config('portico.operator', %s, false)", (claim,))
    assert portal.execute("SELECT count(*) FROM subscriber").fetchone() == (0,)
    assert portal.execute("SELECT portico_operator()").fetchone() == (None,)


def test_the_portal_cannot_become_a_role_that_sees_more(portal):
    for role in ("portico_owner", "portico_system", "postgres"):
        assert refused(portal, sql.SQL("SET ROLE {}").format(sql.Identifier(role))), role
    assert refused(portal, sql.SQL("ALTER TABLE subscriber DISABLE ROW LEVEL SECURITY"))
    assert refused(portal, sql.SQL("CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"))


def test_functions_that_run_as_the_owner_keep_to_the_operator(system_dsn, portal, installation, operators):
    mine, _theirs = operators
    act_for(portal, installation, mine)
    searches = {
        "subscriber": "SELECT search_subscribers('s')",
        "service": "SELECT search_services('aa:bb')",
        "payment": "SELECT search_payments('s', 100)",
        "invoice": "SELECT search_invoices('s', 100)",
    }
    for table, query in searches.items():
        found = {number for (number,) in portal.execute(query)}
        with psycopg.connect(system_dsn) as system:
            rows = system.execute(
                sql.SQL("SELECT id, operator_id FROM {} WHERE id = ANY (%s)").format(sql.Identifier(table)),
                (list(found),),
            ).fetchall()
        assert found
        assert {operator_id for _number, operator_id in rows} == {mine}
    found = {subscriber for subscriber, _service in portal.execute("SELECT * FROM search_people('s', 20)")}
    with psycopg.connect(system_dsn) as system:
        theirs = system.execute("SELECT operator_id FROM subscriber WHERE id = ANY (%s)", (list(found),)).fetchall()
    assert set(theirs) == {(mine,)}
    portal.execute("RESET portico.operator")
    assert portal.execute("SELECT * FROM search_people('s', 20)").fetchall() == []
    for query in searches.values():
        assert portal.execute(query).fetchall() == []


def test_only_the_functions_meant_for_it_run_as_the_owner_for_the_portal(system_dsn, operators):
    with psycopg.connect(system_dsn) as system:
        rows = system.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND has_function_privilege('portico_portal', oid, 'EXECUTE') AND prorettype <> 'trigger'::regtype"
        )
        assert {name for (name,) in rows} == {
            "captive_client", "captive_stranger", "installation_health", "installation_metrics", "licence_standing",
            "next_vpn_address", "open_account", "platform_contact", "platform_operators", "portico_operator",
            "portico_platform", "reseller_usage", "wholesale_counts",
            "schema_version", "search_invoices", "search_payments", "search_people", "search_services",
            "search_subscribers", "staff_login", "subscriber_portal", "subscribers_of_email",
        }  # fmt: skip
