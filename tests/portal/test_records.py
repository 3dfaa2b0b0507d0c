"""Fields of an operator's own, documents, and personal data: kept, handed out and erased."""

import io
import json
import zipfile

import pytest
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.personal_data import ERASED, KEPT, REMOVED, NotErasable, erase_person, tables_about
from db.audit import Actor
from db.models import (
    AuditEntry,
    CustomField,
    CustomValue,
    Invoice,
    Lead,
    Notification,
    Quote,
    ReceivedMail,
    Service,
    ServiceMac,
    StoredFile,
    Subscriber,
    SubscriberDocument,
    Ticket,
    TicketEntry,
    WorkOrder,
    WorkOrderEvent,
)
from tests.portal.billing_isp import bill, billed_line, pay, start_billing
from tests.portal.conftest import add_service, add_subscriber, csrf_token, post


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def add(browser, **field):
    return post(browser, "/settings/fields", **{"subject": "subscriber", "kind": "text", "choices": "", **field})


def fields(system, isp):
    with Session(system) as session:
        found = session.scalars(select(CustomField).where(CustomField.operator_id == isp.operator_id))
        return {field.title: field.id for field in found}


def test_fields_of_each_kind_take_what_fits_and_say_what_does_not(sign_in, isp, system):
    manager = sign_in("manager")
    for title, kind in (("Mast", "number"), ("Since", "date"), ("Owner", "yes_no"), ("Remark", "text")):
        assert add(manager, title=title, kind=kind).status_code == 302
    assert add(manager, title="Zone", kind="choice", choices="North\nSouth\nNorth", required="yes").status_code == 302
    assert add(manager, title="zone").status_code == 422  # taken
    assert add(manager, title="Empty", kind="choice").status_code == 422
    assert add(sign_in("support"), title="Mine").status_code == 403
    ids = fields(system, isp)
    ana = add_subscriber(system, isp, "Ana")
    url = f"/subscribers/{ana}/record"
    typed = {"Mast": "1,50", "Since": "31/12/2026", "Owner": "Sí", "Remark": "<script>=1+1", "Zone": "north"}
    assert post(manager, url, **{f"custom-{ids[name]}": value for name, value in typed.items()}).status_code == 302
    with Session(system) as session:
        kept = dict(
            session.execute(
                select(CustomValue.field_id, CustomValue.value).where(CustomValue.subscriber_id == ana)
            ).all()
        )
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "subscriber.fields")).all()[-1]
    named = {name: kept[number] for name, number in ids.items()}
    assert named == {
        "Mast": "1.5", "Since": "2026-12-31", "Owner": "yes", "Remark": "<script>=1+1", "Zone": "North",
    }  # fmt: skip
    assert entry.after["Mast"] == "1.5"
    page = manager.get(url).text
    assert "&lt;script&gt;=1+1" in page
    bad = {"Mast": "tall", "Since": "yesterday", "Owner": "perhaps", "Zone": ""}
    answer = post(manager, url, **{f"custom-{ids[name]}": value for name, value in bad.items()})
    assert answer.status_code == 422
    assert answer.text.count("invalid-feedback") == 4
    assert 'value="tall"' in answer.text  # nothing typed is lost
    assert post(manager, f"/settings/fields/{ids['Mast']}/delete").status_code == 302
    assert "Mast" not in fields(system, isp)


def test_a_service_has_fields_too_but_not_another_subscribers(sign_in, isp, system, installation):
    manager = sign_in("manager")
    add(manager, title="Cable", subject="service")
    number = fields(system, isp)["Cable"]
    ana, leo = add_subscriber(system, isp, "Ana"), add_subscriber(system, isp, "Leo")
    line = add_service(system, installation, isp, ana, "ana")
    sent = {"service": line, f"custom-{number}": "30 m"}
    assert post(manager, f"/subscribers/{ana}/record", **sent).status_code == 302
    assert post(manager, f"/subscribers/{leo}/record", **sent).status_code == 404
    assert 'value="30 m"' in manager.get(f"/subscribers/{ana}/record").text


def send(browser, ana, name, content, kind="identity"):
    data = {"csrf_token": csrf_token(browser), "kind": kind, "note": "front", "file": (io.BytesIO(content), name)}
    return browser.post(f"/subscribers/{ana}/documents", data=data, content_type="multipart/form-data")


def test_documents_are_what_they_are_and_shown_to_who_may_see_them(sign_in, isp, system):
    support, technical = sign_in("support"), sign_in("technical")
    ana = add_subscriber(system, isp, "Ana")
    assert send(support, ana, "id.jpg", picture()).status_code == 302
    assert send(support, ana, "id.pdf", b"MZ\x90\x00\x03 a program").status_code == 302
    assert send(support, ana, "page.jpg", b"<html><script>alert(1)</script>", "photo").status_code == 302
    assert send(technical, ana, "id.jpg", picture()).status_code == 403
    with Session(system) as session:
        [kept] = session.scalars(select(SubscriberDocument).where(SubscriberDocument.subscriber_id == ana)).all()
    assert (kept.kind, kept.note, kept.author) == ("identity", "front", isp.staff["support"])
    answer = support.get(f"/subscribers/documents/{kept.id}")
    assert answer.mimetype == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert technical.get(f"/subscribers/documents/{kept.id}").status_code == 403
    assert "id.jpg" not in technical.get(f"/subscribers/{ana}/record").text
    assert post(support, f"/subscribers/documents/{kept.id}/delete").status_code == 302
    with Session(system) as session:
        assert session.get(StoredFile, kept.file_id) is None


def test_all_that_is_known_of_a_person_is_handed_out_without_secrets(sign_in, isp, system, installation):
    manager = sign_in("manager")
    ana, other = add_subscriber(system, isp, "=Ana", phone="+52 55 1111 2222"), add_subscriber(system, isp, "Leo")
    line = add_service(system, installation, isp, ana, "ana")
    add_service(system, installation, isp, other, "leo")
    send(sign_in("support"), ana, "id.jpg", picture())
    answer = post(manager, f"/subscribers/{ana}/personal-data")
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    found = json.loads(archive.read("personal-data.json"))
    assert found["subscriber"][0]["phone"] == "+52 55 1111 2222"
    assert [row["id"] for row in found["service"]] == [line]
    assert "password" not in found["service"][0]
    assert "'=Ana" in archive.read("tables/subscriber.csv").decode()
    assert any(name.startswith("documents/") for name in archive.namelist())
    assert post(sign_in("support"), f"/subscribers/{ana}/personal-data").status_code == 403
    with Session(system) as session:
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.entity_id == ana)).all()
    assert "personal_data.export" in actions


def test_every_table_about_a_person_says_what_erasing_does_to_it():
    names = {table.name for table in tables_about()}
    assert names - ERASED - REMOVED - KEPT == set()
    assert not ERASED & REMOVED
    assert not (ERASED | REMOVED) & KEPT


def add_below(session, isp, ticket, lead, order):
    """Have words about Ana in tables that name her ticket, lead or order alone."""
    own = {"operator_id": isp.operator_id}
    mail = {"message_id": "m", "sender": "ana.rara@x.example", "subject": "Ana Rara", "outcome": "ticket"}
    offer = {"number": 1, "language": "es", "currency": "MXN", "lines": [], "taxes": [], "monthly": 0, "once": 0}
    day = utc_now().date()
    session.add_all(
        (
            TicketEntry(**own, ticket_id=ticket.id, kind="answer", author="Eva", body="Ana Rara", created_at=utc_now()),
            ReceivedMail(**own, ticket_id=ticket.id, **mail),
            WorkOrderEvent(**own, work_order_id=order.id, step="note", author="Eva", body="Ana Rara", at=utc_now()),
            Quote(**own, lead_id=lead.id, plan_id=isp.plan_id, made_on=day, valid_until=day, note="Ana Rara", **offer),
        )
    )


def test_a_person_is_taken_out_of_the_records_and_the_books_stay(sign_in, isp, system, installation):
    methods = start_billing(system, isp)
    ana, line = billed_line(system, installation, isp, "Ana Rara", 5)
    bill(system, isp)
    send(sign_in("support"), ana, "id.jpg", picture())
    actor = Actor(isp.operator_id, "test")
    with Session(system) as session:
        session.add(ServiceMac(service_id=line, operator_id=isp.operator_id, mac="aa:bb:cc:00:00:09"))
        now = utc_now()
        asked = {"number": 1, "source": "email", "subject": "Ana Rara", "priority": "normal", "queue": "support"}
        hers = {"operator_id": isp.operator_id, "subscriber_id": ana}
        ticket = Ticket(key="k", created_at=now, updated_at=now, **hers, **asked)
        lead = Lead(**hers, name="Ana Rara", state="won", closed_at=now)
        order = WorkOrder(**hers, number=1, kind="repair", title="Ana Rara", created_by="Eva", created_at=now)
        pdf = {"media_type": "application/pdf", "size": 1, "sha256": "-", "content": b"%"}
        attached = StoredFile(operator_id=isp.operator_id, name="Ana Rara.pdf", **pdf)
        session.add_all((ticket, lead, order, attached))
        session.flush()
        add_below(session, isp, ticket, lead, order)
        told = {"kind": "t", "channel": "email", "shown_address": "ana@x.example", "language": "es"}
        session.add(
            Notification(
                operator_id=isp.operator_id,
                subscriber_id=ana,
                address=b"x",
                subject="Ana Rara",
                body="Ana Rara",
                file_id=attached.id,
                **told,
            )
        )
        session.commit()
        person = session.get_one(Subscriber, ana)
        with pytest.raises(NotErasable, match="services"):
            erase_person(session, installation.keyring, actor, person)
        session.rollback()
        service = session.get_one(Service, line)
        service.state, service.terminated_at = "terminated", now
        session.commit()
        with pytest.raises(NotErasable, match="debt"):
            erase_person(session, installation.keyring, actor, person)
        session.rollback()
    pay(system, isp, ana, methods["Cash"], "300")
    refused = post(sign_in("manager"), f"/subscribers/{ana}/erase", name="Somebody")
    assert refused.headers["Location"].endswith("/record")
    started = post(sign_in("manager"), f"/subscribers/{ana}/erase", name="Ana Rara")
    assert "/jobs/" in started.headers["Location"]
    with Session(system) as session:
        erase_person(session, installation.keyring, actor, session.get_one(Subscriber, ana))
        session.commit()
        texts = json.dumps(
            [
                [str(value) for value in row]
                for table in tables_about()
                if table.name not in KEPT and "subscriber_id" in table.c
                for row in session.execute(select(table).where(table.c.subscriber_id == ana))
            ]
        )
        assert "Rara" not in texts
        assert "ana.rara" not in texts
        for table in (TicketEntry, ReceivedMail, WorkOrderEvent, Quote):
            [row] = session.execute(select(table.__table__).where(table.operator_id == isp.operator_id))
            assert "rara" not in str(row).lower()
        assert session.scalars(select(StoredFile.id).where(StoredFile.operator_id == isp.operator_id)).all() == []
        assert session.get_one(Subscriber, ana).name == f"– {ana}"
        count = select(func.count())
        assert session.scalar(count.select_from(ServiceMac).where(ServiceMac.service_id == line)) == 0
        assert session.scalar(count.select_from(SubscriberDocument).where(SubscriberDocument.subscriber_id == ana)) == 0
        invoice = session.scalars(select(Invoice).where(Invoice.subscriber_id == ana)).one()
        assert invoice.total == 300
