"""The help desk in the portal: from the first call to the stars, with what people and files do wrong."""

import io
import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.ticket_mail import link_of
from crm.ticket_upkeep import close_solved
from db.audit import Actor
from db.models import (
    HelpDesk,
    Incident,
    Mailbox,
    Notification,
    StoredFile,
    Subscriber,
    Ticket,
    TicketCategory,
    TicketEntry,
)
from tests.crm.test_files import picture
from tests.portal.conftest import add_service, add_subscriber, make_isp, post


@pytest.fixture
def luisa(system, installation, isp) -> int:
    subscriber_id = add_subscriber(system, isp, "Luisa <b>Peña</b>")
    with Session(system) as session:
        session.get_one(Subscriber, subscriber_id).email = "luisa@example.com"
        session.commit()
    add_service(system, installation, isp, subscriber_id, "luisa-1")
    return subscriber_id


@pytest.fixture
def support(sign_in):
    return sign_in("support")


def new_ticket(browser, subscriber_id: int, **values: object) -> int:
    typed = {
        "subject": "Sin señal",
        "text": "<script>alert(1)</script>",
        "category": "",
        "priority": "",
        "incident_id": "",
    }
    answer = post(browser, "/tickets/new", subscriber_id=subscriber_id, **{**typed, **values})
    assert answer.status_code == 302, answer.text
    return int(re.search(r"/tickets/(\d+)", answer.location)[1])


def ticket_of(system, ticket_id: int) -> Ticket:
    with Session(system) as session:
        return session.get_one(Ticket, ticket_id)


def hidden(page: str, name: str) -> str:
    return re.search(rf'name="{name}"[^>]*value="([^"]*)"', page)[1]


def change(browser, ticket_id: int, page: str, **values: object):
    typed = {"subject": "Sin señal", "category_id": "", "priority": "normal", "queue": "support", "assigned_id": "",
             "state": "open", "incident_id": "", "version": hidden(page, "change-version")}  # fmt: skip
    return post(
        browser,
        f"/tickets/{ticket_id}/edit",
        **{f"change-{name}": value for name, value in {**typed, **values}.items()},
    )


def test_a_call_becomes_a_ticket_with_all_that_is_known_beside_it(system, isp, luisa, support):
    assert f"/tickets/of/{luisa}" in support.get(f"/subscribers/{luisa}").text
    ticket_id = new_ticket(support, luisa, files=(io.BytesIO(picture("JPEG")), "techo.exe"))
    page = support.get(f"/tickets/{ticket_id}").text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "Luisa &lt;b&gt;" in page
    assert "luisa-1" in page
    assert "/explain/service/" in page
    assert "techo.jpg" in page
    assert f"#{ticket_of(system, ticket_id).number} Sin señal" in unescape(page)
    assert "Sin señal" in support.get(f"/tickets/of/{luisa}").text
    assert "Sin señal" in support.get("/").text  # on the home, due first


def test_a_file_is_handed_out_so_that_nothing_of_it_runs(system, isp, luisa, support, sign_in):
    ticket_id = new_ticket(support, luisa, files=(io.BytesIO(picture()), "a.png"))
    page = support.get(f"/tickets/{ticket_id}").text
    url = re.search(rf"/tickets/{ticket_id}/files/\d+", page)[0]
    answer = support.get(url)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"].startswith("inline")
    other = new_ticket(support, luisa)
    assert support.get(url.replace(str(ticket_id), str(other), 1)).status_code == 404
    text = new_ticket(support, luisa, files=(io.BytesIO(b"hola"), "a.html"))
    page = support.get(f"/tickets/{text}").text
    answer = support.get(re.search(rf"/tickets/{text}/files/\d+", page)[0])
    assert answer.headers["Content-Disposition"] == "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"MZ\x90\0", "kind of file"),
        (b"\x89PNG\r\n\x1a\nx", "damaged"),
        (b"", "needed"),
        (b"x" * 10_000_001, "too large"),
    ],
)
def test_a_file_that_is_not_taken_is_said_so_and_nothing_is_kept(system, luisa, support, content, words):
    typed = {"subject": "x", "text": "y", "category": "", "priority": "", "incident_id": "", "subscriber_id": luisa}
    with Session(system) as session:
        before = len(session.scalars(select(StoredFile.id)).all())
    answer = post(support, "/tickets/new", **typed, files=(io.BytesIO(content), "factura.pdf"))
    answer.request.environ["wsgi.input"].close()  # the browser's own copy of a large form
    assert answer.status_code == 422
    assert words in unescape(answer.text)
    with Session(system) as session:
        assert len(session.scalars(select(StoredFile.id)).all()) == before


def test_an_answer_goes_by_mail_and_waits_for_the_subscriber(system, luisa, support):
    ticket_id = new_ticket(support, luisa)
    page = support.get(f"/tickets/{ticket_id}").text
    answer = post(
        support, f"/tickets/{ticket_id}/answer", text="¿Qué luz?", state="waiting_subscriber",
        seen_entry=hidden(page, "seen_entry"),
    )  # fmt: skip
    assert answer.status_code == 302
    ticket = ticket_of(system, ticket_id)
    assert (ticket.state, ticket.first_met) == ("waiting_subscriber", True)
    with Session(system) as session:
        sent = session.scalars(select(Notification).where(Notification.subscriber_id == luisa)).one()
        assert sent.subject == f"[#{ticket.number}] Sin señal"
        assert sent.headers["Message-ID"].startswith("<portico-ticket-")
    # Somebody who still sees the page as it was before is shown the answer first.
    late = post(
        support, f"/tickets/{ticket_id}/answer", text="Otra", state="open", seen_entry=hidden(page, "seen_entry")
    )
    assert late.status_code == 409
    assert "¿Qué luz?" in unescape(late.text)
    assert "Otra</textarea>" in late.text
    again = post(
        support, f"/tickets/{ticket_id}/answer", text="Otra", state="open", seen_entry=hidden(late.text, "seen_entry")
    )
    assert again.status_code == 302


def test_notes_calls_and_handing_on_stand_in_the_ticket(system, luisa, support, sign_in):
    ticket_id = new_ticket(support, luisa)
    post(support, f"/tickets/{ticket_id}/note", **{"note-text": "Debe dos meses"})
    post(support, f"/tickets/{ticket_id}/call",
         **{"call-direction": "in", "call-minutes": "3", "call-said": "Dice que pagó"})  # fmt: skip
    assert (
        post(support, f"/tickets/{ticket_id}/escalate", **{"on-queue": "finance", "on-reason": " "}).status_code == 422
    )
    post(support, f"/tickets/{ticket_id}/escalate", **{"on-queue": "finance", "on-reason": "Pago sin aplicar"})
    page = unescape(sign_in("finance").get(f"/tickets/{ticket_id}").text)
    for words in ("Debe dos meses", "Dice que pagó", "Pago sin aplicar"):
        assert words in page, words
    assert "Dice que pagó" in unescape(support.get(f"/tickets/of/{luisa}").text)
    assert "Sin señal" in sign_in("finance").get("/tickets/?whose=queue").text
    assert "Sin señal" in sign_in("finance").get("/").text


def test_who_saves_second_is_told_what_the_first_changed(system, luisa, support):
    ticket_id = new_ticket(support, luisa)
    page = support.get(f"/tickets/{ticket_id}").text
    assert change(support, ticket_id, page, priority="urgent").status_code == 302
    second = change(support, ticket_id, page, queue="technical")
    assert second.status_code == 409
    assert "Urgent" in second.text
    ticket = ticket_of(system, ticket_id)
    assert (ticket.priority, ticket.queue) == ("urgent", "support")
    assert change(support, ticket_id, second.text, queue="technical", priority="urgent").status_code == 302
    assert post(support, f"/tickets/{ticket_id}/take", version="1").status_code == 409


def test_an_incident_that_is_put_on_a_ticket_stands_in_its_history_by_name(system, isp, luisa, support):
    ticket_id = new_ticket(support, luisa)
    with Session(system) as session:
        found = Incident(
            operator_id=isp.operator_id, scope="router", nas_id=isp.nas_id, before=9, lost=9, title="Poste caído"
        )
        found.opened_at = utc_now()
        session.add(found)
        session.commit()
        number = found.id
    page = support.get(f"/tickets/{ticket_id}").text
    assert change(support, ticket_id, page, incident_id=number, priority="low").status_code == 302
    assert f"<ins>#{number} Poste caído, tower-1</ins>" in support.get(f"/tickets/{ticket_id}").text
    with Session(system) as session:
        session.get_one(Incident, number).closed_at = utc_now()
        session.commit()


def test_a_ticket_that_is_solved_twice_is_told_of_once(system, isp, luisa, support):
    ticket_id = new_ticket(support, luisa)
    for _click in range(2):
        assert post(support, f"/tickets/{ticket_id}/solve").status_code == 302
    with Session(system) as session:
        mails = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).all()
    assert len(mails) == 1
    assert post(support, f"/tickets/{ticket_id}/take", version="²").status_code == 409
    assert support.get("/tickets/?category=²&q=²").status_code == 200


def test_what_breaches_soon_comes_first(system, isp, luisa, support):
    slow = new_ticket(support, luisa, subject="Puede esperar", priority="low")
    fast = new_ticket(support, luisa, subject="No puede esperar", priority="urgent")
    page = unescape(support.get("/tickets/?q=esperar").text)
    assert page.index("No puede esperar") < page.index("Puede esperar")
    [row] = (part for part in re.findall(r"<tr>.*?</tr>", page, re.S) if "No puede esperar" in part)
    shown = [cell for cell in re.findall(r"<td.*?</td>", row, re.S) if "portal-wide" not in cell]
    assert any("New" in cell for cell in shown), "a phone leaves out what is wide"
    with Session(system) as session:
        session.get_one(Ticket, slow).first_due_at = utc_now() - timedelta(hours=1)
        session.commit()
    page = unescape(support.get("/tickets/?whose=late").text)
    assert ("Puede esperar" in page, "No puede esperar" in page) == (True, False)
    post(support, f"/tickets/{fast}/close")
    assert "No puede esperar" not in support.get("/tickets/").text
    assert "No puede esperar" in support.get("/tickets/?state=all").text
    assert "Puede esperar" in support.get(f"/tickets/?q=%23{ticket_of(system, slow).number}&state=all").text


def test_the_list_is_exported_by_who_may(luisa, support, sign_in):
    new_ticket(support, luisa, subject="=HYPERLINK(1)")
    assert support.get("/tickets/?format=csv").status_code == 403
    content = sign_in("manager").get("/tickets/?format=csv").text
    assert "'=HYPERLINK(1)" in content


def test_merging_closes_one_and_keeps_its_words(system, isp, luisa, support):
    one, two = new_ticket(support, luisa, text="Primera"), new_ticket(support, luisa, text="Segunda")
    number = ticket_of(system, two).number
    assert post(support, f"/tickets/{one}/merge", **{"merge-into": "#999999"}).status_code == 422
    assert post(support, f"/tickets/{one}/merge", **{"merge-into": f"#{number}"}).status_code == 302
    page = support.get(f"/tickets/{two}").text
    assert "Primera" in page
    assert "Segunda" in page
    assert f"#{number}" in support.get(f"/tickets/{one}").text


def test_an_answer_to_what_was_merged_meanwhile_is_kept_and_shown_where_it_went(system, luisa, support):
    one, two = new_ticket(support, luisa), new_ticket(support, luisa, subject="La otra")
    page = support.get(f"/tickets/{one}").text
    post(support, f"/tickets/{one}/merge", **{"merge-into": str(ticket_of(system, two).number)})
    words = {"text": "Ya va el técnico", "state": "waiting_subscriber", "seen_entry": hidden(page, "seen_entry")}
    late = post(support, f"/tickets/{one}/answer", **words)
    assert late.status_code == 409
    assert "Ya va el técnico" in late.text
    assert f'action="/tickets/{two}/answer"' in late.text
    assert ticket_of(system, one).state == "closed"
    handed = post(support, f"/tickets/{one}/escalate", **{"on-queue": "technical", "on-reason": "Sin señal"})
    assert (handed.status_code, f'action="/tickets/{two}/escalate"' in handed.text) == (409, True)
    called = post(support, f"/tickets/{one}/call", **{"call-direction": "in", "call-said": "Llamó otra vez"})
    assert called.location == f"/tickets/{two}"


def test_the_link_of_a_mail_opens_the_ticket_and_takes_stars(system, app, luisa, support):
    ticket_id = new_ticket(support, luisa)
    post(support, f"/tickets/{ticket_id}/note", **{"note-text": "Solo para nosotros"})
    url = f"/ticket/{link_of(ticket_of(system, ticket_id))}"
    stranger = app.test_client()
    page = stranger.get(url).text
    assert "Sin señal" in page
    assert "Solo para nosotros" not in page
    assert post(stranger, f"{url}/rate", stars="5").status_code == 409  # not solved yet
    post(support, f"/tickets/{ticket_id}/solve")
    for stars, status in (("9", 400), ("x", 400), ("²", 400), ("4", 302)):
        assert post(stranger, f"{url}/rate", stars=stars, words="Rápido").status_code == status
    assert (ticket_of(system, ticket_id).satisfaction, ticket_of(system, ticket_id).satisfaction_words) == (4, "Rápido")
    assert "4 / 5" in support.get(f"/tickets/{ticket_id}").text
    assert post(stranger, url, text="Sigue igual", files=(io.BytesIO(b"hola"), "a.txt")).status_code == 302
    assert ticket_of(system, ticket_id).state == "open"
    with Session(system) as session:
        last = session.scalars(select(TicketEntry).where(TicketEntry.body == "Sigue igual")).one()
        assert (last.author, last.staff_id) == ("Luisa <b>Peña</b>", None)
    assert stranger.get(re.search(rf"{url}/files/\d+", stranger.get(url).text)[0]).data == b"hola"
    assert stranger.get(url[:-1] + ("a" if url[-1] != "a" else "b")).status_code == 404
    assert stranger.get("/ticket/nonsense").status_code == 404


def test_who_did_what_nobody_did_is_said_in_the_readers_language(system, isp, luisa, support, sign_in):
    ticket_id = new_ticket(support, luisa)
    post(support, f"/tickets/{ticket_id}/solve")
    with Session(system) as session:
        assert close_solved(session, Actor(isp.operator_id, "worker"), utc_now() + timedelta(days=30)) == 1
        session.commit()
    assert "<strong>Portico, by itself</strong>" in support.get(f"/tickets/{ticket_id}").text
    manager = sign_in("manager", isp)
    assert "Portico, by itself" in manager.get("/audit/").text
    post(manager, "/language", language="es")
    assert "Portico, por sí solo" in manager.get("/audit/").text


def test_another_operators_tickets_are_not_there(system, installation, luisa, support, sign_in):
    ticket_id = new_ticket(support, luisa)
    other = make_isp(system, installation)
    browser = sign_in("manager", other)
    for path in ("", "/answer", "/note", "/close", "/take"):
        answer = browser.get(f"/tickets/{ticket_id}") if not path else post(browser, f"/tickets/{ticket_id}{path}")
        assert answer.status_code == 404
    assert "Sin señal" not in browser.get("/tickets/?state=all").text


def test_an_unknown_sender_is_given_to_a_subscriber(system, isp, luisa, support):
    ticket_id = new_ticket(support, luisa)
    with Session(system) as session:
        ticket = session.get_one(Ticket, ticket_id)
        ticket.subscriber_id, ticket.sender = None, "luisa.p@otra.example"
        session.commit()
    assert "luisa.p@otra.example" in support.get("/tickets/?whose=unknown").text
    found = support.get(f"/tickets/{ticket_id}/subscriber?q=luisa").text
    assert f"/tickets/{ticket_id}/subscriber/{luisa}" in found
    post(support, f"/tickets/{ticket_id}/subscriber/{luisa}")
    assert ticket_of(system, ticket_id).subscriber_id == luisa


RULES = {
    **{f"day_{day}": "" for day in range(1, 8)},
    **{f"{priority}_{name}": "60" for priority in ("urgent", "high", "normal", "low") for name in ("first", "solve")},
    "reopen_days": "5", "close_days": "2",
}  # fmt: skip


def test_the_rules_are_the_managers(system, isp, sign_in, support):
    assert support.get("/help-desk/").status_code == 403
    manager = sign_in("manager")
    version = hidden(manager.get("/help-desk/").text, "version")
    wrong = post(manager, "/help-desk/", **{**RULES, "day_1": "9-8"}, version=version)
    assert wrong.status_code == 422
    assert "09:00-13:00" in wrong.text
    assert post(manager, "/help-desk/", **{**RULES, "day_1": "8-12,14-20"}, version=version).status_code == 302
    with Session(system) as session:
        desk = session.get_one(HelpDesk, isp.operator_id)
        assert (desk.hours, desk.close_days) == ({"1": [[480, 720], [840, 1200]]}, 2)
    post(manager, "/help-desk/", **RULES, version=version)  # as it was before
    with Session(system) as session:
        assert session.get_one(HelpDesk, isp.operator_id).hours != {}


def test_categories_and_canned_answers_are_used_in_tickets(system, isp, luisa, support, sign_in):
    manager = sign_in("manager")
    post(manager, "/help-desk/categories/new", name="Cámaras", queue="technical", priority="high", active="y")
    with Session(system) as session:
        query = select(TicketCategory.id).where(TicketCategory.name == "Cámaras")
        category = session.scalars(query.where(TicketCategory.operator_id == isp.operator_id)).one()
    ticket_id = new_ticket(support, luisa, category=category)
    assert (ticket_of(system, ticket_id).queue, ticket_of(system, ticket_id).priority) == ("technical", "high")
    wrong = post(manager, "/help-desk/canned/new", title="Hola", text_es="{contraseña}{clave}", text_en="", active="y")
    assert wrong.status_code == 422
    post(manager, "/help-desk/canned/new", title="Hola", text_es="", text_en="Hello {subscriber}", active="y")
    assert "Hello Luisa <b>Peña</b>" in unescape(support.get(f"/tickets/{ticket_id}").text)


@pytest.mark.parametrize(
    ("area", "field", "entered"),
    [
        ("categories", "name", {"name": "Postes", "queue": "technical", "priority": "high", "active": "y"}),
        ("canned", "title", {"title": "Postes", "text_es": "Ya vamos", "text_en": "", "active": "y"}),
    ],
)
def test_the_second_of_two_editors_sees_both_versions_and_chooses(system, sign_in, area, field, entered):
    manager, listed = sign_in("manager"), f"/help-desk/{area}"
    post(manager, f"{listed}/new", **entered)
    url = f"{listed}/{max(map(int, re.findall(rf'{listed}/([0-9]+)', manager.get(listed).text)))}"
    seen = hidden(manager.get(url).text, "version")
    assert post(manager, url, **{**entered, field: "Postes caídos"}, version=seen).status_code == 302
    refused = post(manager, url, **{**entered, field: "Torres"}, version=seen)
    assert refused.status_code == 409
    assert "stored: <ins>Postes caídos</ins> · yours: <ins>Torres</ins>" in refused.text
    assert 'value="Torres"' in refused.text
    assert "Postes caídos" in manager.get(listed).text
    taken = post(manager, url, **{**entered, field: "Torres"}, version=hidden(refused.text, "version"))
    assert taken.status_code == 302
    assert "Torres" in manager.get(listed).text


def test_the_rules_keep_what_the_second_of_two_editors_typed(system, isp, sign_in):
    manager = sign_in("manager")
    seen = hidden(manager.get("/help-desk/").text, "version")
    assert post(manager, "/help-desk/", **{**RULES, "close_days": "4"}, version=seen).status_code == 302
    refused = post(manager, "/help-desk/", **{**RULES, "urgent_first": "17"}, version=seen)
    assert refused.status_code == 409
    text = unescape(refused.text)
    assert "Urgent: First answer, minutes" in text
    assert ("<ins>4</ins>" in text, "<ins>17</ins>" in text) == (True, True)
    assert 'value="17"' in text
    taken = post(manager, "/help-desk/", **RULES, version=hidden(refused.text, "version"))
    assert taken.status_code == 302


def test_a_mailbox_is_kept_sealed_and_says_what_is_wrong_with_it(system, isp, sign_in):
    manager = sign_in("manager")
    typed = {"address": "soporte@valle.example", "host": "127.0.0.1", "port": "993", "security": "tls",
             "user_name": "u", "folder": "INBOX", "active": "y", "version": "0"}  # fmt: skip
    assert post(manager, "/help-desk/mailbox", **typed, password="").status_code == 422
    assert post(manager, "/help-desk/mailbox", **typed, password="geheim-77").status_code == 302
    page = manager.get("/help-desk/mailbox").text
    assert "geheim-77" not in page
    assert "not at a public address" in page  # told once, after saving: nobody looks at this machine through us
    with Session(system) as session:
        assert b"geheim-77" not in session.get_one(Mailbox, isp.operator_id).password
    moved = post(manager, "/help-desk/mailbox", **{**typed, "host": "evil.example", "version": "1"}, password="")
    assert moved.status_code == 422
    post(manager, "/help-desk/mailbox/delete")
    with Session(system) as session:
        assert session.get(Mailbox, isp.operator_id) is None


def test_the_report_counts_what_came_and_what_was_late(system, installation, sign_in):
    other = make_isp(system, installation)
    browser, subscriber = sign_in("manager", other), add_subscriber(system, other, "Ana")
    quick, slow, merged = (new_ticket(browser, subscriber) for _ in range(3))
    post(browser, f"/tickets/{quick}/solve")
    post(browser, f"/tickets/{merged}/merge", **{"merge-into": str(ticket_of(system, slow).number)})
    with Session(system) as session:
        solved, late = session.get_one(Ticket, quick), session.get_one(Ticket, slow)
        solved.created_at -= timedelta(hours=2)
        solved.satisfaction = 4
        late.first_due_at = utc_now() - timedelta(minutes=1)
        session.commit()
    page = unescape(browser.get("/tickets/reports/?by=queue").text)
    assert "4 of 5" in page
    assert re.search(r">1 / 0<", page)  # one first answer is late
    rows = browser.get("/tickets/reports/?by=queue&format=csv").text.splitlines()
    assert rows[1].split(",")[:5] == ["Support", "2", "1", "2.0", "2.0"]
    assert browser.get("/tickets/reports/?by=nonsense&days=x").status_code == 200


def test_the_desk_speaks_spanish(system, isp, luisa, sign_in):
    browser = sign_in("support")
    ticket_id = new_ticket(browser, luisa)
    browser.set_cookie("portico_language", "es")
    for url, words in (
        (f"/tickets/{ticket_id}", "Primera respuesta"),
        ("/tickets/", "Ticket nuevo"),
        ("/tickets/reports/", "mediana"),
    ):
        assert words in unescape(browser.get(url).text)
