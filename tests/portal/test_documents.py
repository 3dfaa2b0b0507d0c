"""Documents in the staff's pages: printed, sent, made many at a time; the letterhead; keys of providers."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta

import pytest
import segno
from flask.testing import FlaskClient
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.batches import make_batch
from billing.links import LinkFor, link_key, signed
from billing.mailing import mail_receipts
from core.clock import utc_now
from core.settings import Settings
from crm.jobs import RunningJob, take_job
from db.models import (
    CreditNote,
    DocumentBatch,
    Gateway,
    Job,
    Letterhead,
    Notification,
    Operator,
    RenderedDocument,
    StoredFile,
    Subscriber,
)
from tests.portal.billing_isp import bill, billed_line, invoices_of, pay, start_billing, today
from tests.portal.conftest import Isp, csrf_token, make_isp, post

HOSTILE = (
    '<script>document.write("JS")</script><meta name="pdfkit-page-size" content="A0"><img src="file:///etc/hostname">'
)


@pytest.fixture
def paid(system: Engine, installation: Settings, isp: Isp) -> tuple[int, int]:
    """A subscriber with a name that is meant badly, and their payment."""
    methods = start_billing(system, isp, taxes=[("IVA", "16", False)])
    subscriber_id, _service_id = billed_line(system, installation, isp, "Ana Peña", 3)
    bill(system, isp)
    with Session(system) as session:
        subscriber = session.get_one(Subscriber, subscriber_id)
        session.get_one(Operator, isp.operator_id).cut_off_hour = 9
        subscriber.name, subscriber.email = f"Ana Peña {HOSTILE}", "ana@example.com"
        session.commit()
    return subscriber_id, pay(system, isp, subscriber_id, methods["Cash"], "400")


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def holds_code(reader: PdfReader, address: str) -> bool:
    """Tell whether the code that is drawn on a document is that of an address, point by point."""
    wanted = [[bool(point) for point in row] for row in segno.make(address, error="m").matrix]
    drawn = next(picture.image for picture in reader.pages[0].images if picture.image.width == picture.image.height)
    step, grey = drawn.width / len(wanted), drawn.convert("L")
    places = [int((number + 0.5) * step) for number in range(len(wanted))]
    return [[grey.getpixel((x, y)) < 128 for x in places] for y in places] == wanted


@pytest.mark.parametrize(("language", "word"), [("en", "Amount paid"), ("es", "Importe pagado")])
@pytest.mark.parametrize(("paper", "width"), [("a4", 595), ("ticket", 227)])
def test_a_receipt_says_who_paid_what_and_until_when(
    sign_in: Callable[..., FlaskClient],
    system: Engine,
    installation: Settings,
    isp: Isp,
    paid: tuple[int, int],
    language: str,
    word: str,
    paper: str,
    width: int,
) -> None:
    client = sign_in("finance")
    answer = client.get(f"/documents/receipts/{paid[1]}?language={language}&paper={paper}")
    assert answer.mimetype == "application/pdf"
    reader = PdfReader(io.BytesIO(answer.data))
    assert len(reader.pages) == 1
    size = reader.pages[0].mediabox
    assert round(float(size.width)) in (width, width - 1, width + 1)
    if paper == "ticket":
        shown: list[float] = []
        reader.pages[0].extract_text(
            visitor_text=lambda text, at, line, *_: shown.append(at[5] + line[5] * at[3]) if text.strip() else None
        )
        assert 0 < min(shown) < 20, "the roll ends below the last line"
    said = text_of(answer.data)
    assert word in said
    facts = {
        "en": ("Date of payment", "Paid by", "Plan", "Paid until", "Next cut-off", "Credit after this payment"),
        "es": (
            "Fecha de pago",
            "Forma de pago",
            "Plan",
            "Pagado hasta",
            "Próximo corte",
            "Saldo a favor después de este pago",
        ),
    }
    for part in (*facts[language], "400.00", "Home 20"):
        assert part in said, part
    assert re.search(r"Next cut-off \w+ \d+, \d{4}, 9:00.AM|Próximo corte \d+ \w+ \d{4}, 9:00", said), said
    with Session(system) as session:
        key = link_key(session, installation.keyring, isp.operator_id)
    path = f"/check/{signed(key, LinkFor.CHECK_RECEIPT, isp.operator_id, paid[1])}"
    assert holds_code(reader, installation.public_url + path)
    assert "This document is genuine" in client.get(path).text
    assert '<script>document.write("JS")' in said, "text, and not run"
    assert "file:///etc/hostname" in "".join(said.split())


def test_a_document_is_rendered_once_until_it_changes(
    sign_in: Callable[..., FlaskClient], system: Engine, paid: tuple[int, int]
) -> None:
    browser = sign_in("manager")
    first = browser.get(f"/documents/receipts/{paid[1]}").data
    assert browser.get(f"/documents/receipts/{paid[1]}").data == first
    with Session(system) as session:
        (kept,) = session.scalars(select(RenderedDocument).where(RenderedDocument.subject_id == paid[1])).all()
    answer = post(browser, f"/payments/{paid[1]}/void", **{"void-reason": "bounced"})
    assert answer.status_code == 302, answer.text
    again = browser.get(f"/documents/receipts/{paid[1]}").data
    assert "VOID" in text_of(again)
    with Session(system) as session:
        (now,) = session.scalars(select(RenderedDocument).where(RenderedDocument.subject_id == paid[1])).all()
    assert now.fingerprint != kept.fingerprint


def test_another_operators_document_is_not_found(
    sign_in: Callable[..., FlaskClient], system: Engine, installation: Settings, paid: tuple[int, int]
) -> None:
    stranger = sign_in("manager", make_isp(system, installation))
    assert stranger.get(f"/documents/receipts/{paid[1]}").status_code == 404
    assert stranger.get(f"/documents/mail/receipt/{paid[1]}").status_code == 404


def test_a_receipt_is_sent_again_with_a_link_that_opens_it(
    sign_in: Callable[..., FlaskClient], system: Engine, isp: Isp, paid: tuple[int, int]
) -> None:
    browser = sign_in("finance")
    answer = post(browser, f"/documents/mail/receipt/{paid[1]}", address="other@example.com")
    assert answer.status_code == 302
    with Session(system) as session:
        (mail,) = session.scalars(select(Notification).where(Notification.operator_id == isp.operator_id)).all()
    assert mail.shown_address == "other@example.com"
    link = next(word for word in mail.body.split() if "/documents/" in word)
    assert browser.get("/documents/" + link.split("/documents/")[1]).data.startswith(b"%PDF-")
    assert post(browser, f"/documents/mail/receipt/{paid[1]}", address="nobody").status_code == 422


def test_receipts_go_by_themselves_once_where_the_operator_wants_it(
    sign_in: Callable[..., FlaskClient], system: Engine, installation: Settings, isp: Isp, paid: tuple[int, int]
) -> None:
    post(sign_in("manager"), "/documents/letterhead", paper="ticket", email_receipts="y")
    for expected in (1, 0):
        with Session(system) as session:
            assert mail_receipts(session, installation.keyring, installation.public_url, utc_now()) == expected


def test_a_logo_is_kept_as_pixels_alone(sign_in: Callable[..., FlaskClient], system: Engine, isp: Isp) -> None:
    browser = sign_in("manager")
    picture = Image.new("RGB", (900, 300), "#0f4c81")
    written = io.BytesIO()
    picture.save(written, "JPEG", comment=b"<?php secret ?>")
    jpeg = written.getvalue()
    fields = {"csrf_token": csrf_token(browser), "paper": "a4", "logo": (io.BytesIO(jpeg), "logo.jpg")}
    assert browser.post("/documents/letterhead", data=fields).status_code == 302
    with Session(system) as session:
        logo = session.get_one(Letterhead, isp.operator_id).logo
    assert logo is not None
    assert logo.startswith(b"\x89PNG")
    assert b"secret" not in logo
    assert Image.open(io.BytesIO(logo)).size == (600, 200)
    for content in (b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\n broken", jpeg[:200]):
        fields = {"csrf_token": csrf_token(browser), "paper": "a4", "logo": (io.BytesIO(content), "logo.png")}
        assert browser.post("/documents/letterhead", data=fields).status_code == 422


def test_a_month_of_invoices_is_one_file(
    sign_in: Callable[..., FlaskClient], system: Engine, installation: Settings, isp: Isp, paid: tuple[int, int]
) -> None:
    browser = sign_in("finance")
    answer = post(browser, "/documents/many", kind="receipt", month=f"{today():%Y-%m}", paper="a4", file="zip")
    assert answer.status_code == 302
    with Session(system, expire_on_commit=False) as session:
        (job_id,) = session.scalars(select(Job.id).where(Job.operator_id == isp.operator_id)).all()
        job = take_job(session, job_id)
    assert job is not None
    for _time in range(2):  # and once more, as after a worker that died
        outcome = make_batch(RunningJob(system, installation, job))
    assert outcome["documents"] == 1
    with Session(system) as session:
        assert len(session.scalars(select(DocumentBatch).where(DocumentBatch.job_id == job_id)).all()) == 1
    packed = zipfile.ZipFile(io.BytesIO(browser.get(str(outcome["url"])).data))
    assert [packed.read(name)[:5] for name in packed.namelist()] == [b"%PDF-"]


def test_keys_of_a_provider_are_sealed_and_never_shown(
    sign_in: Callable[..., FlaskClient], system: Engine, isp: Isp
) -> None:
    browser = sign_in("manager")
    answer = post(browser, "/gateways/", kind="stripe", secret_key="sk_live_1234", webhook_secret="whsec_5678")
    assert answer.status_code == 302
    page = browser.get("/gateways/").text
    assert f"/webhooks/stripe/{isp.operator_id}" in page
    assert "sk_live_1234" not in page
    with Session(system) as session:
        (gateway,) = session.scalars(select(Gateway).where(Gateway.operator_id == isp.operator_id)).all()
    assert b"sk_live" not in gateway.secret_key
    assert not gateway.emulated
    assert post(sign_in("support"), "/gateways/", kind="stripe").status_code == 403


def test_a_long_month_is_packed_into_several_files(
    system: Engine,
    installation: Settings,
    isp: Isp,
    sign_in: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("billing.batches.MOST", 2)
    start_billing(system, isp)
    for name in ("Ana", "Luis", "Eva"):
        billed_line(system, installation, isp, name, 1)
    assert bill(system, isp) == 3
    browser = sign_in("finance")
    answer = post(browser, "/documents/many", kind="invoice", month=f"{today():%Y-%m}", paper="a4", file="zip")
    job_id = int(answer.headers["Location"].rsplit("/", 1)[-1])
    with Session(system, expire_on_commit=False) as session:
        job = take_job(session, job_id)
    assert job is not None
    outcome = make_batch(RunningJob(system, installation, job))
    assert (outcome["documents"], outcome["files"], outcome["url"]) == (3, 2, "/documents/many")
    with Session(system) as session:
        files = session.scalars(select(DocumentBatch).where(DocumentBatch.job_id == job_id).order_by("id")).all()
        packed = [(one.name, zipfile.ZipFile(io.BytesIO(one.content)).namelist()) for one in files]
    assert [(name, len(names)) for name, names in packed] == [
        (f"invoice-{today():%Y-%m}-1.zip", 2),
        (f"invoice-{today():%Y-%m}-2.zip", 1),
    ]
    page = browser.get("/documents/many").text
    assert all(name in page for name, _names in packed)
    monkeypatch.undo()
    outcome = run_batch(system, installation, browser, month=f"{today():%Y-%m}")
    printed = browser.get(str(outcome["url"]))
    assert (outcome["documents"], printed.mimetype) == (3, "application/pdf")
    assert [next(n for n in ("Ana", "Luis", "Eva") if n in page.extract_text())
            for page in PdfReader(io.BytesIO(printed.data)).pages] == ["Ana", "Luis", "Eva"]  # fmt: skip
    assert run_batch(system, installation, browser, month=f"{today() - timedelta(days=40):%Y-%m}") == {
        "documents": 0,
        "files": 0,
    }


def run_batch(system: Engine, installation: Settings, browser: FlaskClient, month: str) -> dict[str, object]:
    """Have a month's invoices put into one PDF, on rolls of paper."""
    answer = post(browser, "/documents/many", kind="invoice", month=month, paper="ticket", file="pdf")
    with Session(system, expire_on_commit=False) as session:
        job = take_job(session, int(answer.headers["Location"].rsplit("/", 1)[-1]))
    assert job is not None
    return make_batch(RunningJob(system, installation, job))


def test_a_mail_carries_the_pdf_where_the_operator_wants_it(
    sign_in: Callable[..., FlaskClient], system: Engine, isp: Isp, paid: tuple[int, int]
) -> None:
    browser = sign_in("manager")
    assert post(browser, f"/documents/mail/receipt/{paid[1]}", address="ana@example.com").status_code == 302
    assert post(browser, "/documents/letterhead", paper="a4", attach_pdf="y").status_code == 302
    assert post(browser, f"/documents/mail/receipt/{paid[1]}", address="ana@example.com").status_code == 302
    with Session(system) as session:
        query = select(Notification).where(Notification.operator_id == isp.operator_id).order_by(Notification.id)
        plain, attached = session.scalars(query).all()
        assert plain.file_id is None
        kept = session.get_one(StoredFile, attached.file_id)
        assert (kept.name, kept.media_type) == ("receipt-1.pdf", "application/pdf")
        assert "400.00" in text_of(kept.content)
        assert "/documents/" in attached.body, "the link stays"


def test_a_credit_note_shows_what_was_taken_back(
    sign_in: Callable[..., FlaskClient], system: Engine, paid: tuple[int, int]
) -> None:
    browser, invoice = sign_in("finance"), invoices_of(system, paid[0])[0]
    post(browser, f"/invoices/{invoice.id}/credit", **{"credit-amount": "116", "credit-reason": "two days off"})
    with Session(system) as session:
        note_id = session.scalars(select(CreditNote.id).where(CreditNote.invoice_id == invoice.id)).one()
    answer = browser.get(f"/documents/credit-notes/{note_id}?language=en")
    assert answer.status_code == 200
    said = text_of(answer.data)
    for part in ("two days off", "100.00", "16.00", "116.00"):
        assert part in said, part
